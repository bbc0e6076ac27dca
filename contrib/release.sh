#!/usr/bin/env bash
# Makes what is released: an archive for this system, and one for FreeBSD where that can be built here, each with its bill of
# materials (CycloneDX), the sources, and the checksums of all.
#
#   contrib/release.sh [--output DIRECTORY] [--binaries DIRECTORY] [--freebsd]
#
#   --output    where to [target/dist]; what is there of the same names is replaced
#   --binaries  programs that are built already, in place of a release build
#   --freebsd   also build for FreeBSD, by contrib/freebsd/build.sh
#
# The same sources, toolchain and place give the same bytes: times are those of the commit, names are sorted, owners are 0.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
output=${CARGO_TARGET_DIR:-target}/dist binaries= freebsd=false
while [ $# -gt 0 ]; do
    case $1 in
        --output) output=$2; shift ;;
        --binaries) binaries=$2; shift ;;
        --freebsd) freebsd=true ;;
        -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
        *) echo "release.sh: unknown option $1 (--help tells which there are)" >&2; exit 2 ;;
    esac
    shift
done
mkdir -p "$output"
output=$(readlink -f "$output")
if [ -z "${SOURCE_DATE_EPOCH:-}" ]; then SOURCE_DATE_EPOCH=$(git log -1 --format=%ct); fi
export SOURCE_DATE_EPOCH LC_ALL=C TZ=UTC
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
host=$(rustc --version --verbose | sed -n 's/^host: //p')
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ -z "$binaries" ]; then
    # Where it was built is nobody's business, and would be the only difference between two builds.
    RUSTFLAGS="${RUSTFLAGS:-} --remap-path-prefix=$PWD=/appc --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo" \
        cargo build --release --locked --package appc --bins >&2
    binaries=${CARGO_TARGET_DIR:-target}/release
fi

archive() { # NAME DIRECTORY
    tar --create --directory "$2" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --format=ustar "$1" |
        xz --threads=1 >"$output/$1.tar.xz.new"
    mv "$output/$1.tar.xz.new" "$output/$1.tar.xz"
}
release() { # TARGET BINARIES PREFIX
    local name=appc-$version-$1
    contrib/stage.sh "$2" "$work/$name" "$3" "$binaries"
    contrib/sbom.sh "$1" >"$output/$name.cdx.json"
    archive "$name" "$work"
    files+=("$name.tar.xz" "$name.cdx.json")
}

files=()
release "$host" "$binaries" /usr/local
if $freebsd; then
    # Its last line is the reason where it cannot be built here.
    built=$(contrib/freebsd/build.sh --binaries)
    case $built in *SKIPPED*) echo "$built" >&2; exit 1 ;; esac
    release x86_64-unknown-freebsd "$(dirname "$(grep '/jetpack$' <<<"$built")")" /usr/local
fi
git archive --format=tar --prefix="appc-$version/" HEAD | xz --threads=1 >"$output/appc-$version.tar.xz"
files+=("appc-$version.tar.xz")
cd "$output"
sha256sum "${files[@]}" >SHA256SUMS
sha512sum "${files[@]}" >SHA512SUMS
printf '%s\n' "${files[@]/#/$output/}" "$output/SHA256SUMS" "$output/SHA512SUMS"
