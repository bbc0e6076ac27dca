#!/usr/bin/env bash
# Lays down what is installed, as packages of any system want it: programs, manual pages, completions, documentation.
#
#   contrib/stage.sh BINARIES DIRECTORY PREFIX [ASK]
#
#   BINARIES   the directory with the programs that are installed: target/release
#   DIRECTORY  what takes the place of /; made if need be
#   PREFIX     /usr, /usr/local
#   ASK        the directory with programs that run here, which print manual pages and completions [BINARIES]
#
# Modes and times do not depend on who does it: SOURCE_DATE_EPOCH, where it is set, is the time of all of it.
set -euo pipefail
[ $# -ge 3 ] || { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit 2; }
here=$(dirname "$(readlink -f "$0")")/..
binaries=$(readlink -f "$1") ask=$(readlink -f "${4:-$1}")
mkdir -p "$2"
root=$(readlink -f "$2") prefix=${3#/}
umask 022

# FreeBSD has its manual in PREFIX/man before 14, and in PREFIX/share/man from 15 on; both are looked at there.
share=$root/$prefix/share
install -d "$root/$prefix/bin" "$share/man/man1" "$share/doc/appc" "$share/bash-completion/completions" \
    "$share/zsh/vendor-completions" "$share/fish/vendor_completions.d"
for program in actool jetpack; do
    install -m 755 "$binaries/$program" "$root/$prefix/bin/$program"
    "$ask/$program" completions bash >"$share/bash-completion/completions/$program"
    "$ask/$program" completions zsh >"$share/zsh/vendor-completions/_$program"
    "$ask/$program" completions fish >"$share/fish/vendor_completions.d/$program.fish"
    "$ask/$program" man "$share/man/man1" >/dev/null
done
# Without name and time of the file in it.
find "$share/man" -name '*.1' -exec gzip -9n {} +
install -m 644 "$here"/README.md "$here"/SECURITY.md "$here"/CHANGELOG.md "$here"/LICENSE "$here"/docs/*.md "$share/doc/appc"
find "$root" -type d -exec chmod 755 {} +
find "$share" -type f -exec chmod 644 {} +
if [ -n "${SOURCE_DATE_EPOCH:-}" ]; then
    find "$root" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
fi
