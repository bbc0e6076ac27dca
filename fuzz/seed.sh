#!/usr/bin/env bash
# Seeds the corpora from the fixtures.
set -euo pipefail
cd "$(dirname "$0")"
mkdir -p corpus/manifest corpus/pod corpus/isolator corpus/quantity
for file in ../fixtures/manifests/*/*.json; do
    name=$(basename "$(dirname "$file")")-$(basename "$file")
    if grep -q PodManifest "$file"; then cp "$file" "corpus/pod/$name"; else cp "$file" "corpus/manifest/$name"; fi
    grep -oE '\{"?name"?[^{}]*\}|"[0-9.]+([a-zA-Z]{0,2})"' "$file" | head -3 | while read -r piece; do
        case $piece in
            \"*) printf '%s' "${piece//\"/}" >"corpus/quantity/$name" ;;
            *) printf '%s' "$piece" >"corpus/isolator/$name" ;;
        esac
    done || true
done
printf '{"name":"resource/cpu","value":{"limit":"1"}}' >corpus/isolator/cpu
printf '{"name":"os/linux/seccomp-retain-set","value":{"set":["read"],"errno":"EPERM"}}' >corpus/isolator/seccomp
printf '1.5Gi' >corpus/quantity/binary
printf '300m' >corpus/quantity/milli
# Archives in every form that GNU tar and the compressors make, with what only some headers can say.
mkdir -p corpus/archive
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
mkdir -p "$place/rootfs/dir"
cp ../fixtures/manifests/good/smallest-image.json "$place/manifest"
printf 'content' >"$place/rootfs/dir/file"
ln "$place/rootfs/dir/file" "$place/rootfs/hard"
ln -s dir/file "$place/rootfs/soft"
mkfifo "$place/rootfs/pipe"
truncate -s 100000 "$place/rootfs/holes"
printf 'x' >>"$place/rootfs/holes"
long=$(printf 'n%.0s' $(seq 120))
printf 'y' >"$place/rootfs/$long"
for format in v7 ustar gnu oldgnu posix; do
    tar --format=$format --sparse -C "$place" -cf "corpus/archive/$format.tar" manifest rootfs 2>/dev/null || true
done
for tool in gzip bzip2 xz zstd; do
    if command -v $tool >/dev/null; then $tool -c corpus/archive/posix.tar >"corpus/archive/posix.$tool"; fi
done
# Two members, one of them with nothing in it.
{ cat corpus/archive/posix.gzip; printf '' | gzip -c; } >corpus/archive/members.gzip
