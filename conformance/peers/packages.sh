#!/usr/bin/env bash
# Makes what is released, twice, and holds it against what Debian, FreeBSD's ports and CycloneDX ask of it.
#
#   conformance/peers/packages.sh [DIRECTORY with actool and jetpack]
set -euo pipefail
cd "$(dirname "$0")/../.."
. conformance/peers/common.inc
need jq jq
need dpkg-deb dpkg
need lintian lintian
need xz xz-utils
need strip binutils
find_binaries "${1:-}"
work=$(mktemp -d)
# What is looked at is the packages; debug information would only make them large.
mkdir "$work/bin"
for program in actool jetpack; do strip -o "$work/bin/$program" "$bin/$program"; done
bin=$work/bin
trap 'rm -rf "$work"' EXIT
export SOURCE_DATE_EPOCH=1700000000
# Fast is enough for what is compared.
export XZ_OPT=-0 DPKG_DEB_COMPRESSOR_LEVEL=0 DPKG_DEB_THREADS_MAX=1

for turn in 1 2; do
    contrib/release.sh --binaries "$bin" --output "$work/$turn" >"$work/files"
    (umask 077 && contrib/debian/build.sh --binaries "$bin" --output "$work/$turn" 2>"$work/log") >>"$work/files" || { cat "$work/log"; fail "no Debian package"; }
done
diff -r "$work/1" "$work/2" || fail "two turns differ"
(cd "$work/1" && sha256sum --check --quiet SHA256SUMS && sha512sum --check --quiet SHA512SUMS)
echo "passed: the same bytes twice: $(ls "$work/1" | wc -l) files"

# The archive is what it says, and its programs are those that were built.
mkdir "$work/archive"
tar -xf "$work"/1/appc-*-linux-gnu.tar.xz --strip-components=1 -C "$work/archive"
for program in actool jetpack; do
    cmp "$bin/$program" "$work/archive/usr/local/bin/$program" || fail "another $program"
    [ -s "$work/archive/usr/local/share/man/man1/$program.1.gz" ] || fail "no manual of $program"
    bash -n "$work/archive/usr/local/share/bash-completion/completions/$program"
done

# Every crate that is built has a licence and a checksum, and what depends on it is there.
for bom in "$work"/1/*.cdx.json; do
    jq --exit-status '
        .bomFormat == "CycloneDX" and (.components | length) > 100
        and all(.components[] | select(.name != "appc-codec"); (.licenses | length) == 1 and (.hashes | length) == 1)
        and (([.components[]["bom-ref"], .metadata.component["bom-ref"]] | sort) == ([.dependencies[].ref] | sort))
        and (([.dependencies[].dependsOn[]] | unique) - [.dependencies[].ref] == [])
        and all(.components[].name; . != "proptest" and . != "criterion")' "$bom" >/dev/null || fail "$(basename "$bom") has gaps"
done
echo "passed: the bill of materials is whole"

# Debian: installed into a root of its own, looked at by lintian, taken away again without a rest.
package=$(ls "$work"/1/*.deb)
root=$work/root
mkdir -p "$root/var/lib/dpkg/info" "$root/var/lib/dpkg/updates"
: >"$root/var/lib/dpkg/status"
as_root() { dpkg --root="$root" --force-script-chrootless --force-depends --force-not-root --log=/dev/null "$@" >"$work/log" 2>&1 || { cat "$work/log"; fail "dpkg $*"; }; }
if [ "$(id -u)" = 0 ]; then
    # Scripts would speak to the host's own systemd.
    mkdir "$work/none" && dpkg-deb --raw-extract "$package" "$work/none/appc" && rm "$work"/none/appc/DEBIAN/p*
    dpkg-deb --root-owner-group --build "$work/none/appc" "$work/none.deb" >/dev/null
    as_root --install "$work/none.deb"
    "$root/usr/bin/jetpack" version --json | jq --exit-status .jetpack >/dev/null
    "$root/usr/bin/actool" version --json | jq --exit-status .actool >/dev/null
    as_root --purge appc
    [ -z "$(find "$root/usr" -type f 2>/dev/null)" ] || fail "something stays: $(find "$root/usr" -type f)"
fi
dpkg-deb --control "$package" "$work/control"
for script in postinst prerm postrm; do sh -n "$work/control/$script"; done
# Whoever packages it says who he is by DEBEMAIL.
nobody=bogus-mail-host,bogus-mail-host-in-debian-changelog,root-in-contact
lintian --allow-root --fail-on error --suppress-tags "$nobody" "$package" >"$work/lintian" 2>&1 ||
    { cat "$work/lintian"; fail "lintian"; }
echo "passed: the Debian package"

if command -v systemd-analyze >/dev/null; then
    mkdir -p "$work/units"
    # A unit whose program is not there is refused.
    for unit in contrib/systemd/*.service contrib/systemd/*.timer; do
        sed "s,/usr/bin,$bin," "$unit" >"$work/units/$(basename "$unit")"
    done
    systemd-analyze verify --man=no "$work"/units/* 2>"$work/log" || { cat "$work/log"; fail "the units"; }
    echo "passed: the units"
fi

# The port: every crate of the lock file is named, and what it lists is what is staged.
cp -r contrib/port "$work/port"
(cd "$work/port" && ./crates.sh "$OLDPWD/Cargo.lock")
[ "$(grep -c '^source = .*registry' Cargo.lock)" = "$(wc -l <"$work/port/Makefile.crates")" ] || fail "crates.sh leaves crates out"
contrib/stage.sh "$bin" "$work/stage" /usr/local
(cd "$work/stage/usr/local" && find bin share -type f ! -path 'share/doc/*' ! -path 'share/man/*' |
    sed 's,zsh/vendor-completions,zsh/site-functions,' | sort) >"$work/staged"
grep -v '^@' contrib/port/pkg-plist | sort | diff - "$work/staged" || fail "pkg-plist lists other files than are staged"
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
grep -q "^DISTVERSION=	$version$" contrib/port/Makefile || fail "the port is of another version than $version"
sh -n contrib/port/files/jetpack.in
# portlint's own rules, as far as they can be told without a ports tree.
awk 'length($0) > 80 { exit 1 }' contrib/port/pkg-descr || fail "pkg-descr has lines of more than 80 columns"
! grep -nE '^[A-Z_]+=  *[^	]|[ 	]+$' contrib/port/Makefile || fail "the port's Makefile wants tabs behind = and no space at ends"
comment=$(sed -n 's/^COMMENT=	//p' contrib/port/Makefile)
[ ${#comment} -le 70 ] || fail "COMMENT has more than 70 characters"
case $comment in [A-Z]*[!.]) ;; *) fail "COMMENT begins with a capital and has no full stop" ;; esac
order=$(sed -nE 's/^(PORTNAME|DISTVERSION|CATEGORIES|MAINTAINER|COMMENT|WWW|LICENSE|LICENSE_FILE|ONLY_FOR_ARCHS|USES|USE_GITHUB|USE_RC_SUBR)=.*/\1/p' contrib/port/Makefile | tr '\n' ' ')
[ "$order" = "PORTNAME DISTVERSION CATEGORIES MAINTAINER COMMENT WWW LICENSE LICENSE_FILE ONLY_FOR_ARCHS USES USE_GITHUB USE_RC_SUBR " ] ||
    fail "the port's variables stand in another order: $order"
echo "passed: the port"
