#!/usr/bin/env bash
# The store's costs: importing a big image against hashing and inflating alone, listing many images, rendering where the
# layers are there, collecting. Prints one line a measurement; the bounds that the project sets itself stand behind.
#
#   benches/store.sh [IMAGE.aci]      an image of some 600 MB unpacked; without one, of this host's /usr/share and /usr/lib
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${BIN:-$PWD/target/release}
[ -x "$bin/jetpack" ] && [ -x "$bin/actool" ] || cargo build --quiet --release --locked --package appc --bins
jetpack=$bin/jetpack actool=$bin/actool
# In memory where there is room, as the bound is about what is computed; on disks creating files may cost more than all else.
base=${TMPDIR:-/tmp}
room=$(df --output=avail -m /dev/shm 2>/dev/null | tail -1 || echo 0)
[ -n "${TMPDIR:-}" ] || [ "$room" -lt 6000 ] || base=/dev/shm
work=$(mktemp -d -p "$base"); trap 'rm -rf "$work"' EXIT
root=$work/store

# Seconds that a command takes, the best of three; $before runs before each and is not counted.
seconds() {
    local best=999999999 begin end
    for _ in 1 2 3; do
        ${before:-true} >/dev/null
        begin=$(date +%s%N); "$@" >/dev/null; end=$(date +%s%N)
        (( (end - begin) / 1000 < best )) && best=$(( (end - begin) / 1000 ))
    done
    awk "BEGIN { printf \"%.3f\", $best / 1000000 }"
}
ratio() { awk "BEGIN { printf \"%.2f\", $1 / $2 }"; }
image() { # NAME FURTHER-KEYS LAYOUT
    printf '{"acKind":"ImageManifest","acVersion":"0.8.11","name":"%s"%s}' "$1" "$2" >"$3/manifest"
}

big=${1:-}
if [ -z "$big" ]; then
    mkdir -p "$work/big/rootfs/usr"
    cp -a /usr/share /usr/lib "$work/big/rootfs/usr/" 2>/dev/null || true
    image example.com/big "" "$work/big"
    big=$work/big.aci
    "$actool" build "$work/big" "$big" >/dev/null
    rm -rf "$work/big"
fi

fresh() { rm -rf "$root" "$work/tree"; mkdir "$work/tree"; sync; }
gzip -t "$big" 2>/dev/null && unpack=(gzip -dc "$big") || unpack=(cat "$big")
inflated=$work/inflated
"${unpack[@]}" >"$inflated"
hash_alone=$(seconds sha512sum "$inflated")
inflate_alone=$(seconds "${unpack[@]}")
both=$(seconds "$actool" id "$big")
peer=$(before=fresh seconds tar xf "$big" -C "$work/tree")
import=$(before=fresh seconds "$jetpack" --root "$root" fetch "$big")
slower=$(awk "BEGIN { print ($hash_alone > $inflate_alone) ? $hash_alone : $inflate_alone }")
echo "import: $import s; sha512sum alone $hash_alone s, inflating alone (gzip) $inflate_alone s, actool id $both s; ratio to" \
     "the slower of hashing and inflating $(ratio "$import" "$slower"), to actool id $(ratio "$import" "$both")   [bound: 1.3]; tar xf alone, without hash or copy of the archive $peer s"
rm -f "$inflated"

id=$("$jetpack" --root "$root" images --json | sed -n 's/.*"id": "\(.*\)".*/\1/p')
mkdir -p "$work/app/rootfs"
name=$("$jetpack" --root "$root" images --json | sed -n 's/.*"name": "\(.*\)".*/\1/p')
image example.com/app ",\"dependencies\":[{\"imageName\":\"$name\",\"imageID\":\"$id\"}]" "$work/app"
"$actool" build "$work/app" "$work/app.aci" >/dev/null
used=$(du -sk "$root" | cut -f1)
rendered=$(seconds "$jetpack" --root "$root" fetch --pull never "$work/app.aci")
grown=$(( $(du -sk "$root" | cut -f1) - used ))
echo "rendering on top of it: $rendered s, the store grew by $grown KiB   [bound: no copy of the layer]"

milliseconds() { local begin; begin=$(date +%s%N); "$@" >/dev/null; echo $(( ($(date +%s%N) - begin) / 1000000 )); }
for number in 2500 10000; do
    many=$work/many-$number
    "$jetpack" --root "$many" fetch "$work/app.aci" --no-render >/dev/null
    python3 - "$many" "$number" <<'PYTHON'
# Many images as the store keeps them, made by hand: importing each takes its time.
import hashlib, json, os, shutil, sys
images = os.path.join(sys.argv[1], "images")
first = os.path.join(images, os.listdir(images)[0])
manifest = json.load(open(os.path.join(first, "manifest")))
for number in range(int(sys.argv[2])):
    directory = os.path.join(images, "sha512-" + hashlib.sha512(str(number).encode()).hexdigest())
    os.mkdir(directory)
    manifest.update(name=f"example.com/image-{number}", labels=[{"name": "version", "value": "1"}])
    manifest.pop("dependencies", None)
    json.dump(manifest, open(os.path.join(directory, "manifest"), "w"))
    shutil.copy(os.path.join(first, "origin"), directory)
PYTHON
    cold=$(milliseconds "$jetpack" --root "$many" images)
    listed=$("$jetpack" --root "$many" images | wc -l)
    warm=$(seconds "$jetpack" --root "$many" images)
    echo "images: $warm s for $((listed - 1)) images ($cold ms for the run that makes the index)   [bound: 0.2 s]"
    collect=$(milliseconds "$jetpack" --root "$many" image gc)
    echo "image gc: $collect ms for $((listed - 1)) images   [bound: linear in what it frees]"
done
