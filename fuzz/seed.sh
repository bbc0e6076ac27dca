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
