#!/usr/bin/env bash
# Makes a Debian package of the programs, by nothing but dpkg-deb.
#
#   contrib/debian/build.sh [--output DIRECTORY] [--binaries DIRECTORY]
#
#   --output    where to [target/dist]
#   --binaries  programs that are built already, in place of a release build
#
# DEBFULLNAME and DEBEMAIL name another maintainer. Prints the path of the package. The same programs give the same bytes.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
output=${CARGO_TARGET_DIR:-target}/dist binaries=
while [ $# -gt 0 ]; do
    case $1 in
        --output) output=$2; shift ;;
        --binaries) binaries=$2; shift ;;
        -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
        *) echo "build.sh: unknown option $1 (--help tells which there are)" >&2; exit 2 ;;
    esac
    shift
done
command -v dpkg-deb >/dev/null || { echo "build.sh: needs dpkg-deb" >&2; exit 1; }
if [ -z "$binaries" ]; then
    cargo build --release --locked --package appc --bins >&2
    binaries=${CARGO_TARGET_DIR:-target}/release
fi
if [ -z "${SOURCE_DATE_EPOCH:-}" ]; then SOURCE_DATE_EPOCH=$(git log -1 --format=%ct); fi
export SOURCE_DATE_EPOCH
umask 022
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)-1
maintainer="${DEBFULLNAME:-The appc authors} <${DEBEMAIL:-root@localhost.localdomain}>"
architecture=$(dpkg --print-architecture)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/appc

contrib/stage.sh "$binaries" "$root" /usr
strip --remove-section=.comment "$root"/usr/bin/*
documents=$root/usr/share/doc/appc
# Debian has the licence once, and the changes packed.
rm "$documents/LICENSE"
gzip -9n <"$documents/CHANGELOG.md" >"$documents/changelog.gz"
rm "$documents/CHANGELOG.md"
gzip -9n >"$documents/changelog.Debian.gz" <<END
appc ($version) unstable; urgency=medium

  * Built from its sources; what changed stands in changelog.gz.

 -- $maintainer  $(date --utc --rfc-email --date="@$SOURCE_DATE_EPOCH")
END
cat >"$documents/copyright" <<END
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: appc
Source: https://github.com/appc/appc

Files: *
Copyright: 2026 The appc authors
License: Apache-2.0
 On Debian systems the whole text stands in /usr/share/common-licenses/Apache-2.0.
END
install -D -m 644 -t "$root/usr/lib/systemd/system" contrib/systemd/*.service contrib/systemd/*.timer
install -D -m 644 contrib/systemd/tmpfiles.conf "$root/usr/lib/tmpfiles.d/jetpack.conf"

mkdir "$root/DEBIAN"
# The C library that the programs were linked against, from what they name of it.
libc=$(readelf --version-info --wide "$root"/usr/bin/* | grep -o 'GLIBC_2\.[0-9]*' | sort -Vu | tail -n 1)
cat >"$root/DEBIAN/control" <<END
Package: appc
Version: $version
Architecture: $architecture
Maintainer: $maintainer
Section: admin
Priority: optional
Installed-Size: $(du --summarize --apparent-size --block-size=1024 "$root/usr" | cut -f 1)
Depends: libc6 (>= ${libc#GLIBC_}), libgcc-s1 (>= 4.2)
Recommends: uidmap, slirp4netns | passt, containernetworking-plugins, dbus-user-session, ca-certificates
Suggests: slirp4netns | passt
Homepage: https://github.com/appc/appc
Description: App Container tools and runtime
 actool makes, checks, signs and converts App Container Images; jetpack
 fetches them by name and runs them as pods, with namespaces, control groups
 and seccomp, as root and as an ordinary user. Images of OCI registries can
 be run, too.
END
cat >"$root/DEBIAN/postinst" <<'END'
#!/bin/sh
set -e
if [ "$1" = configure ] && command -v systemd-tmpfiles >/dev/null; then
    systemd-tmpfiles --create jetpack.conf || true
fi
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || true
fi
END
cat >"$root/DEBIAN/prerm" <<'END'
#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
    systemctl disable --now jetpack-gc.timer jetpack-metrics.timer || true
fi
END
cat >"$root/DEBIAN/postrm" <<'END'
#!/bin/sh
set -e
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || true
fi
# Images and pods are data, as those of a database: purging says where they are and leaves them.
if [ "$1" = purge ] && [ -d /var/lib/jetpack ]; then
    echo "images and pods stay in /var/lib/jetpack"
fi
END
chmod 755 "$root"/DEBIAN/p*
(cd "$root" && find usr -type f -print0 | LC_ALL=C sort --zero-terminated | xargs --null md5sum) >"$root/DEBIAN/md5sums"
find "$root" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
mkdir -p "$output"
package=$(readlink -f "$output")/appc_${version}_$architecture.deb
dpkg-deb --root-owner-group --build "$root" "$package" >&2
echo "$package"
