#!/usr/bin/env bash
# Builds and installs ssh-eic, or shows it at work in a sandbox.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=contrib/tools.sh
. contrib/tools.sh

usage() {
    cat <<'TEXT'
Usage: ./install.sh [--demo [--loopback]]

  (no flag)    build ssh-eic and install it under $PREFIX (default: ~/.local)
  --demo       build it, and show it at work against a pretended AWS whose instances are played by the real sshd;
               installs nothing of ours and cleans up after itself
  --loopback   with --demo: use ports of 127.0.0.1 even where private namespaces are possible
TEXT
}

demo=no loopback=()
while [ $# -gt 0 ]; do
    case "$1" in
        --demo) demo=yes ;;
        --loopback) loopback=(--loopback) ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; die "unknown flag: $1" ;;
    esac
    shift
done
[ ${#loopback[@]} -eq 0 ] || [ "$demo" = yes ] || die "--loopback goes with --demo"

need_rust
need ssh openssh-client
need cc gcc
if [ "$demo" = yes ]; then
    need sshd openssh-server
    need rsync rsync
    if [ "$(uname)" = Linux ] && [ "$(id -u)" -eq 0 ]; then
        need unshare util-linux
        need ip iproute2
    fi
fi
install_missing

target=$(cargo metadata --format-version 1 --no-deps --locked --offline 2>/dev/null |
    sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
target=${target:-${CARGO_TARGET_DIR:-target}}
say "building ssh-eic (the first time takes some minutes: the AWS SDK is large)"
if [ "$demo" = yes ]; then
    cargo_with_a_sign_of_life build --release --locked --package ssh-eic --package sandbox
    say "starting the sandbox"
    exec "$target/release/sandbox" demo "${loopback[@]}" --bin "$target/release"
fi
cargo_with_a_sign_of_life build --release --locked --package ssh-eic

prefix=${PREFIX:-$HOME/.local}
mkdir -p "$prefix/bin"
# A new file under the old name: a running proxy keeps the old one.
install -m 755 "$target/release/ssh-eic" "$prefix/bin/.ssh-eic.new"
mv -f "$prefix/bin/.ssh-eic.new" "$prefix/bin/ssh-eic"
put() { mkdir -p "$prefix/share/$2" && install -m 644 "$1" "$prefix/share/$2/$3"; }
put man/ssh-eic.1 man/man1 ssh-eic.1
put contrib/completions/ssh-eic.bash bash-completion/completions ssh-eic
put contrib/completions/_ssh-eic zsh/site-functions _ssh-eic
put contrib/completions/ssh-eic.fish fish/vendor_completions.d ssh-eic.fish
say "installed $prefix/bin/ssh-eic, its man page and completions for bash, zsh and fish"
case ":$PATH:" in
    *":$prefix/bin:"*) program=ssh-eic ;;
    *) program=$prefix/bin/ssh-eic; say "$prefix/bin is not on PATH; add it there, or use the whole path" ;;
esac
cat >&2 <<TEXT

Next:
    aws sso login                                          (or however you sign in to AWS)
    $program init --profile NAME --region REGION
    ssh NAME-OF-AN-INSTANCE
TEXT
