#!/bin/sh
# An OCI image from a registry on loopback into a store, beside `skopeo copy` and `umoci unpack`, which do the same in two steps.
#
#   benches/oci.sh [OCI-LAYOUT:TAG]
#
# Without an image it makes one of some 600 MB in four layers: text and noise, many small files and some large ones. What is
# made is removed. The aim: at most half of what the two take one after the other.
set -eu
cd "$(dirname "$0")/.."
for program in hyperfine skopeo umoci docker-registry openssl python3; do
    command -v "$program" >/dev/null || { echo "skipped: $program is not installed"; exit 0; }
done
[ "$(id -u)" = 0 ] || { echo "skipped: needs root, as umoci does"; exit 0; }
if [ -n "${BIN:-}" ]; then
    bin=$(realpath "$BIN")
else
    cargo build --release --quiet --package appc --bin actool --bin jetpack
    bin=$PWD/target/release
fi

place=$(mktemp -d)
registry=
clean() {
    [ -z "$registry" ] || kill "$registry" 2>/dev/null || true
    rm -rf "$place"
}
trap clean EXIT INT TERM

image=${1:-}
if [ -z "$image" ]; then
    python3 - "$place/made" <<'END'
import gzip, hashlib, io, json, os, random, sys, tarfile
place = sys.argv[1]
os.makedirs(place + "/blobs/sha256")
random.seed(1)
words = [random.randbytes(6).hex() for _ in range(5000)]
def blob(data):
    name = hashlib.sha256(data).hexdigest()
    open(f"{place}/blobs/sha256/{name}", "wb").write(data)
    return {"digest": "sha256:" + name, "size": len(data)}
layers, diff_ids = [], []
for layer in range(4):
    out = io.BytesIO()
    tar = tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT)
    def add(name, data):
        info = tarfile.TarInfo(name)
        info.size, info.mtime, info.mode = len(data), 1700000000, 0o644
        tar.addfile(info, io.BytesIO(data))
    for number in range(5000):
        text = " ".join(random.choices(words, k=random.randint(100, 1500))).encode()
        add(f"usr/share/{layer}/{number % 100}/{number}", text)
    for number in range(8):
        add(f"usr/lib/{layer}/{number}", random.randbytes(6 << 20) + bytes(1 << 20) + b"text and more " * (400 << 10 >> 4))
    tar.close()
    data = out.getvalue()
    diff_ids.append("sha256:" + hashlib.sha256(data).hexdigest())
    layers.append({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", **blob(gzip.compress(data, 6))})
config = {"os": "linux", "architecture": "amd64", "config": {"Cmd": ["/x"]}, "rootfs": {"type": "layers", "diff_ids": diff_ids}}
manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **blob(json.dumps(config).encode())}, "layers": layers}
index = {"schemaVersion": 2, "manifests": [{"mediaType": manifest["mediaType"], **blob(json.dumps(manifest).encode()),
         "annotations": {"org.opencontainers.image.ref.name": "1"}}]}
json.dump(index, open(place + "/index.json", "w"))
open(place + "/oci-layout", "w").write('{"imageLayoutVersion":"1.0.0"}')
END
    image=$place/made:1
fi

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
    -keyout "$place/key.pem" -out "$place/cert.pem" 2>/dev/null
cat >"$place/registry.yml" <<END
version: 0.1
log: { level: error }
storage: { filesystem: { rootdirectory: $place/registry } }
http: { addr: "127.0.0.1:$port", tls: { certificate: $place/cert.pem, key: $place/key.pem } }
END
docker-registry serve "$place/registry.yml" >"$place/registry.log" 2>&1 &
registry=$!
for _ in 1 2 3 4 5 6 7 8 9 10; do
    python3 -c "import socket; socket.create_connection(('127.0.0.1', $port))" 2>/dev/null && break
    sleep 0.3
done
name=docker://localhost:$port/made:1
skopeo copy --dest-tls-verify=false "oci:$image" "$name" >/dev/null
echo "image: $(du -sm --apparent-size "$place/registry" | cut -f1) MB compressed"

export SSL_CERT_FILE="$place/cert.pem"
hyperfine --warmup 1 --runs "${RUNS:-3}" --prepare "rm -rf $place/work $place/root; mkdir $place/work" \
    -n "jetpack fetch" "$bin/jetpack --root $place/root fetch $name" \
    -n "skopeo copy, umoci unpack" "skopeo copy --src-tls-verify=false $name oci:$place/work/layout:1 && umoci unpack --image $place/work/layout:1 $place/work/bundle"
hyperfine --warmup 1 --runs "${RUNS:-3}" --prepare "rm -rf $place/work; mkdir $place/work" \
    -n "actool import, from a layout" "$bin/actool import $image $place/work/a.aci --name example.com/a" \
    -n "actool import, not compressed" "$bin/actool import $image $place/work/a.aci --name example.com/a --compression none" \
    -n "umoci unpack, from a layout" "umoci unpack --image $image $place/work/bundle"
if [ -x /usr/bin/time ]; then
    rm -rf "$place/root"
    /usr/bin/time -f "peak memory of jetpack fetch: %M KiB" "$bin/jetpack" --root "$place/root" fetch "$name" >/dev/null
fi
