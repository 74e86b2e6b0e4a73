# shellcheck shell=bash
# Sourced by install.sh, tests/run and contrib/bench/peers: sees to it that programs are there, or says which package
# has them.

say() { printf '==> %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$1" >&2; [ $# -lt 2 ] || printf 'hint: %s\n' "$2" >&2; exit 1; }

# need PROGRAM PACKAGE: notes the Debian package of a program that is missing.
missing_programs=() missing_packages=()
need() {
    PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null 2>&1 && return
    missing_programs+=("$1")
    missing_packages+=("$2")
}

# need_file FILE PACKAGE: the same for a file.
need_file() {
    [ -e "$1" ] || { missing_programs+=("$1") && missing_packages+=("$2"); }
}

# need_module MODULE PACKAGE: the same for a module of Python, the system's first.
need_module() {
    local python
    for python in /usr/bin/python3 python3; do
        "$python" -W ignore -c "import $1" >/dev/null 2>&1 && return
    done
    missing_programs+=("python3's $1")
    missing_packages+=("$2")
}

# Installs what these noted where that is possible without asking, and stops with words where it is not.
install_missing() {
    [ ${#missing_programs[@]} -gt 0 ] || return 0
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        die "missing programs: ${missing_programs[*]}" \
            "install them with your package manager; on Debian and Ubuntu: sudo apt-get install ${missing_packages[*]}"
    fi
    say "installing ${missing_packages[*]}"
    # The package of sshd would start a server for the whole machine; here it is only a program that plays instances.
    local policy=/usr/sbin/policy-rc.d made_policy=no status=0
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy" && made_policy=yes
    fi
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing_packages[@]}" >/dev/null; } || status=$?
    if [ "$made_policy" = yes ]; then rm -f "$policy"; fi
    [ "$status" -eq 0 ] || die "apt-get could not install ${missing_packages[*]}" "see its words above"
}

need_rust() {
    command -v cargo >/dev/null 2>&1 || die "there is no cargo on PATH" "install Rust: https://rustup.rs"
    local wanted have
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
    have=$(rustc --version | cut -d' ' -f2)
    [ "$(printf '%s\n%s\n' "$wanted" "${have%%-*}" | sort -V | head -n 1)" = "$wanted" ] ||
        die "this needs Rust $wanted or newer, and rustc is $have" "rustup update stable"
}

# Runs cargo with a sign of life: on a terminal cargo's own, elsewhere a line now and then.
cargo_with_a_sign_of_life() {
    if [ -t 2 ]; then
        cargo "$@"
        return
    fi
    (
        seconds=0
        while sleep 20; do
            seconds=$((seconds + 20))
            say "still building after $seconds s (the AWS SDK takes two to five minutes on two cores)"
        done
    ) &
    local ticker=$! status=0
    cargo "$@" || status=$?
    kill "$ticker" 2>/dev/null || true
    wait "$ticker" 2>/dev/null || true
    return "$status"
}
