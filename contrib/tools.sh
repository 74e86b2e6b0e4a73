# shellcheck shell=bash
# Sourced by install.sh, tests/run and contrib/bench/peers: installs missing programs, or names their packages.

say() { printf '==> %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$1" >&2; [ $# -lt 2 ] || printf 'hint: %s\n' "$2" >&2; exit 1; }

# need PROGRAM PACKAGE: records the Debian package of a missing program.
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

# need_module MODULE PACKAGE: the same for a Python module.
need_module() {
    local python
    for python in /usr/bin/python3 python3; do
        "$python" -W ignore -c "import $1" >/dev/null 2>&1 && return
    done
    missing_programs+=("python3's $1")
    missing_packages+=("$2")
}

# need_library LIBRARY PACKAGE: the same for a shared library.
need_library() {
    PATH="$PATH:/usr/sbin:/sbin" ldconfig -p 2>/dev/null | grep -qF "$1" ||
        { missing_programs+=("$1") && missing_packages+=("$2"); }
}

# Installs what these recorded; without root or apt-get, prints the command instead.
install_missing() {
    [ ${#missing_programs[@]} -gt 0 ] || return 0
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        die "missing programs: ${missing_programs[*]}" \
            "install them with your package manager; on Debian and Ubuntu: sudo apt-get install ${missing_packages[*]}"
    fi
    say "installing ${missing_packages[*]}"
    # The package of sshd would start a server; the sandbox starts its own sshd processes.
    local policy=/usr/sbin/policy-rc.d made_policy=no status=0
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy" && made_policy=yes
    fi
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing_packages[@]}" >/dev/null; } || status=$?
    if [ "$made_policy" = yes ]; then rm -f "$policy"; fi
    [ "$status" -eq 0 ] || die "apt-get could not install ${missing_packages[*]}" "see its output above"
}

need_rust() {
    command -v cargo >/dev/null 2>&1 || die "there is no cargo on PATH" "install Rust: https://rustup.rs"
    local wanted have
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
    have=$(rustc --version | cut -d' ' -f2)
    [ "$(printf '%s\n%s\n' "$wanted" "${have%%-*}" | sort -V | head -n 1)" = "$wanted" ] ||
        die "this needs Rust $wanted or newer, and rustc is $have" "rustup update stable"
}

# Lets cargo call rustc through contrib/rustc-wrapper, unless the user has a wrapper of their own, such as sccache.
use_rustc_wrapper() {
    [ -z "${RUSTC_WRAPPER+set}${CARGO_BUILD_RUSTC_WRAPPER+set}" ] || return 0
    local folder=$PWD
    local configs=("${CARGO_HOME:-$HOME/.cargo}/config" "${CARGO_HOME:-$HOME/.cargo}/config.toml")
    while :; do
        configs+=("${folder%/}/.cargo/config" "${folder%/}/.cargo/config.toml")
        [ "$folder" != / ] || break
        folder=$(dirname "$folder")
    done
    ! grep -qs 'rustc-wrapper' "${configs[@]}" || return 0
    export RUSTC_WRAPPER=$PWD/contrib/rustc-wrapper
}

# Runs cargo and reports progress: on a terminal cargo's own bar, elsewhere every 20 s the crate that is being compiled.
cargo_with_progress() {
    if [ -t 2 ]; then
        cargo "$@"
        return
    fi
    local log ticker status=0
    log=$(mktemp)
    (
        seconds=0
        while sleep 20; do
            seconds=$((seconds + 20))
            done=$(grep -cE '^ *(Compiling|Checking) ' "$log") || continue
            crate=$(sed -nE 's/^ *(Compiling|Checking) ([^ ]+).*/\2/p' "$log" | tail -n 1)
            # The last crate to start is not always the one that takes long: only one takes minutes.
            ! grep -qE '(Compiling|Checking) aws-sdk-ec2 ' "$log" || crate="aws-sdk-ec2 (1.2 million lines) and $crate"
            grep -qE '^ *Finished ' "$log" || say "building: $done crates started, now $crate, $seconds s"
        done
    ) &
    ticker=$!
    cargo "$@" 2> >(tee "$log" >&2) || status=$?
    kill "$ticker" 2>/dev/null || true
    wait "$ticker" 2>/dev/null || true
    rm -f "$log"
    return "$status"
}
