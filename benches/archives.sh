#!/bin/sh
# Archives, side by side with the Go actool, tar and sha512sum, on a layout of your own or on a Debian root made for it.
#
#   benches/archives.sh [LAYOUT]
#
# Without LAYOUT it takes debootstrap, root and the network. Trees are written to memory-backed storage (/dev/shm). What is made is removed.
set -eu
cd "$(dirname "$0")/.."
command -v hyperfine >/dev/null || { echo "skipped: hyperfine is not installed"; exit 0; }
cargo build --release --quiet --package appc --bin actool
ours=$PWD/target/release/actool

place=$(mktemp -d)
memory=$(mktemp -d /dev/shm/appc-bench.XXXXXX)
trap 'rm -rf "$place" "$memory"' EXIT INT TERM

if [ $# -gt 0 ]; then
    layout=$(realpath "$1")
else
    layout=$place/layout
    mkdir -p "$layout"
    debootstrap --variant=minbase --include=gcc,libc6-dev,python3,git,golang-go bookworm "$layout/rootfs" >/dev/null
    # The Go tool opens devices and pipes for reading, and hangs.
    find "$layout/rootfs" \( -type b -o -type c -o -type p -o -type s \) -delete
    echo '{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/debian"}' >"$layout/manifest"
fi
echo "layout: $(find "$layout" | wc -l) entries, $(du -sm --apparent-size "$layout" | cut -f1) MB"

"$ours" build --compression none "$layout" "$place/plain.aci" >/dev/null
"$ours" build "$layout" "$place/gzip.aci" >/dev/null
peak() { /usr/bin/time -f "peak memory of $1: %M KiB" "$ours" "$@" >/dev/null; }

if command -v actool >/dev/null && [ "$(realpath "$(command -v actool)")" != "$ours" ]; then
    actool build --overwrite "$layout" "$place/go.aci"
    ls -l "$place/gzip.aci" "$place/go.aci"
    hyperfine --warmup 1 --runs 3 -n "build, ours" "$ours build --overwrite $layout $place/o.aci" \
        -n "build, Go" "actool build --overwrite $layout $place/g.aci"
    hyperfine --warmup 1 --runs 5 -n "validate gzip, ours" "$ours validate -q $place/gzip.aci" \
        -n "validate gzip, Go" "actool validate $place/gzip.aci" \
        -n "validate gzip in one member, ours" "$ours validate -q $place/go.aci" \
        -n "validate gzip in one member, Go" "actool validate $place/go.aci"
else
    echo "skipped: the Go actool is not installed"
fi
hyperfine --warmup 1 --runs 5 -n "validate plain, ours" "$ours validate -q $place/plain.aci" \
    -n "SHA-512 alone" "sha512sum $place/plain.aci"
hyperfine --warmup 1 --runs 5 --prepare "rm -rf $memory/*; mkdir $memory/tar" \
    -n "hash, check and extract, ours" "$ours extract $place/gzip.aci $memory/image" \
    -n "extract, tar" "tar xzf $place/gzip.aci -C $memory/tar" \
    -n "inflate alone" "gzip -dc $place/gzip.aci >/dev/null" \
    -n "SHA-512 alone" "sha512sum $place/plain.aci"
rm -rf "$memory"/*
if [ -x /usr/bin/time ]; then
    peak validate -q "$place/gzip.aci"
    peak extract "$place/gzip.aci" "$memory/image"
    peak build --overwrite "$layout" "$place/o.aci"
fi
