#!/usr/bin/env bash
# Builds and installs ssh-eic, uninstalls it, or runs its demo in a sandbox.
set -euo pipefail
started_in=$PWD
cd "$(dirname "$0")"
# shellcheck source=contrib/tools.sh
. contrib/tools.sh

usage() {
    cat <<'TEXT'
Usage: ./install.sh [--binary FILE | --uninstall | --demo [--loopback]]

  (no flag)    build ssh-eic and install it under $PREFIX (default: ~/.local), with man pages and completions
  --binary     install this program instead of building one
  --uninstall  run "ssh-eic remove", then remove what was installed under $PREFIX and nothing else
  --demo       build it and show it against a fake AWS with real sshd processes as instances;
               installs nothing and cleans up
  --loopback   with --demo: use ports of 127.0.0.1 even if private namespaces are possible
TEXT
}

demo=no loopback=() binary='' uninstall=no
while [ $# -gt 0 ]; do
    case "$1" in
        --demo) demo=yes ;;
        --loopback) loopback=(--loopback) ;;
        --binary)
            [ $# -gt 1 ] || die "--binary needs a file"
            binary=$2
            shift
            ;;
        --uninstall) uninstall=yes ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; die "unknown flag: $1" ;;
    esac
    shift
done
[ ${#loopback[@]} -eq 0 ] || [ "$demo" = yes ] || die "--loopback goes with --demo"
case "$demo$uninstall${binary:+yes}" in
    nono | nonoyes | yesno | noyes) ;;
    *) usage >&2; die "one of --binary, --uninstall and --demo at a time" ;;
esac

absolute() { case "$1" in /*) printf '%s' "$1" ;; *) printf '%s/%s' "$started_in" "$1" ;; esac; }
prefix=$(absolute "${PREFIX:-$HOME/.local}")
# One line per installed file, "f PATH", and per created folder, "d PATH".
record=$prefix/share/ssh-eic/installed

uninstall() {
    [ -f "$record" ] || die "nothing is recorded as installed under $prefix" "set PREFIX as it was then"
    if [ -x "$prefix/bin/ssh-eic" ]; then
        # Before the program is deleted: ssh would go on calling it.
        "$prefix/bin/ssh-eic" remove ||
            die "ssh-eic remove failed, so nothing was uninstalled" "fix what it reports above, then run this again"
    fi
    local files folders path
    files=$(sed -n 's/^f //p' "$record")
    folders=$(sed -n 's/^d //p' "$record" | sort -r)
    while IFS= read -r path; do
        case "$path" in "$prefix"/*) rm -f -- "$path" ;; esac
    done <<<"$files"
    rm -f -- "$record"
    # Deepest first; a folder that contains other files is kept.
    while IFS= read -r path; do
        [ -z "$path" ] || rmdir -- "$path" 2>/dev/null || true
    done <<<"$folders"
    say "removed what was installed under $prefix"
    [ "$(id -u)" -ne 0 ] || say "other users of this machine run ssh-eic remove themselves, before this"
}
if [ "$uninstall" = yes ]; then
    uninstall
    exit
fi

need ssh openssh-client
if [ -z "$binary" ]; then
    need_rust
    need cc gcc
fi
if [ "$demo" = yes ]; then
    need sshd openssh-server
    need rsync rsync
    if [ "$(uname)" = Linux ] && [ "$(id -u)" -eq 0 ]; then
        need unshare util-linux
        need ip iproute2
    fi
fi
install_missing

if [ -z "$binary" ]; then
    target=$(cargo metadata --format-version 1 --no-deps --locked --offline 2>/dev/null |
        sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
    target=${target:-${CARGO_TARGET_DIR:-target}}
    use_rustc_wrapper
    say "building ssh-eic (four to eight minutes the first time on two cores: the AWS SDK is large)"
    if [ "$demo" = yes ]; then
        cargo_with_progress build --release --locked --package ssh-eic --package sandbox
        say "starting the sandbox"
        exec "$target/release/sandbox" demo "${loopback[@]}" --bin "$target/release"
    fi
    cargo_with_progress build --release --locked --package ssh-eic
    binary=$target/release/ssh-eic
else
    binary=$(absolute "$binary")
    [ -f "$binary" ] || die "there is no file $binary"
fi

recorded=()
# note LINE: appends to the record, as soon as its folder exists.
note() {
    recorded+=("$1")
    if [ -d "$(dirname "$record")" ]; then
        printf '%s\n' "${recorded[@]}" >>"$record"
        recorded=()
    fi
}
# make_folder PATH: creates it and its missing parents.
make_folder() {
    [ -d "$1" ] && return
    make_folder "$(dirname "$1")"
    mkdir "$1"
    note "d $1"
}
# put MODE FROM TO: replaces the file by rename, so that a running proxy keeps the old one.
put() {
    make_folder "$(dirname "$3")"
    note "f $3"
    install -m "$1" "$2" "$3.new"
    mv -f "$3.new" "$3"
}
make_folder "$(dirname "$record")"
put 755 "$binary" "$prefix/bin/ssh-eic"
put 644 man/ssh-eic.1 "$prefix/share/man/man1/ssh-eic.1"
put 644 man/ssh-eic-config.5 "$prefix/share/man/man5/ssh-eic-config.5"
put 644 contrib/completions/ssh-eic.bash "$prefix/share/bash-completion/completions/ssh-eic"
put 644 contrib/completions/_ssh-eic "$prefix/share/zsh/site-functions/_ssh-eic"
put 644 contrib/completions/ssh-eic.fish "$prefix/share/fish/vendor_completions.d/ssh-eic.fish"
# Files of an earlier version that this one does not install stay recorded, for --uninstall.
sort -u -o "$record" "$record"
say "installed $prefix/bin/ssh-eic, its man pages and completions for bash, zsh and fish"
case ":$PATH:" in
    *":$prefix/bin:"*) program=ssh-eic ;;
    *) program=$prefix/bin/ssh-eic; say "$prefix/bin is not on PATH: add it, or use the absolute path" ;;
esac
cat >&2 <<TEXT

zsh finds the completions with this before compinit:  fpath=($prefix/share/zsh/site-functions \$fpath)

Next:
    aws sso login                                          (or any other way to sign in to AWS)
    $program init --profile NAME --region REGION
    ssh NAME-OF-AN-INSTANCE
TEXT
