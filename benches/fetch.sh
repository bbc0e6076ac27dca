#!/usr/bin/env bash
# jetpack fetch of a large signed image from loopback HTTPS, beside hashing and inflating alone, and beside
# `curl | tar xz` plus `sha512sum`; then the same fetch again. Needs nginx, gpg, openssl, curl.
#   benches/fetch.sh [MEGABYTES]      600 unless told; memory-backed storage where there is room
set -euo pipefail
cd "$(dirname "$0")/.."
megabytes=${1:-600}
for program in nginx openssl gpg curl; do
    command -v "$program" >/dev/null || { echo "skipped: $program is not installed"; exit 0; }
done
bin=${BIN:-target/release}
[ -x "$bin/jetpack" ] && [ -x "$bin/actool" ] || cargo build --quiet --release --locked --package appc --bins
bin=$(cd "$bin" && pwd)

base=${TMPDIR:-/tmp}
room=$(df --output=avail -m /dev/shm 2>/dev/null | tail -1 || echo 0)
[ "$room" -lt $((megabytes * 4)) ] || base=/dev/shm
work=$(mktemp -d -p "$base")
nginx_pid=
finish() {
    [ -z "$nginx_pid" ] || kill "$nginx_pid" 2>/dev/null || true
    gpgconf --homedir "$work/gpg" --kill all 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

mkdir -p "$work/layout/rootfs" "$work/www" "$work/gpg" "$work/tmp" "$work/out"
chmod 755 "$work" && chmod 700 "$work/gpg"
echo '{"acKind":"ImageManifest","acVersion":"0.8.11","name":"localhost/big","app":{"exec":["/x"],"user":"0","group":"0"}}' \
    >"$work/layout/manifest"
# This system's own programs and libraries compress as those of images do.
find /usr/bin /usr/lib /usr/share /usr/sbin -xdev -type f -size -8M 2>/dev/null | head -60000 |
    { n=0; while read -r file && [ "$n" -lt $((megabytes * 1024)) ]; do
        echo "$file"; size=$(stat -c %s "$file" 2>/dev/null || echo 0); n=$((n + size / 1024 + 1)); done; } |
    tar cf - -T - 2>/dev/null | tar xf - -C "$work/layout/rootfs" 2>/dev/null || true
"$bin/actool" build "$work/layout" "$work/www/big.aci" >/dev/null
rm -rf "$work/layout"
gzip -dc "$work/www/big.aci" | wc -c | awk '{ printf "image: %d MB unpacked\n", $1 / 1e6 }'

gpg() { command gpg --homedir "$work/gpg" --batch --yes --quiet --pinentry-mode loopback --passphrase '' "$@" 2>/dev/null; }
gpg --quick-gen-key signer@localhost ed25519 sign never
gpg --armor --export signer@localhost >"$work/key.asc"
gpg --armor --output "$work/www/big.aci.asc" --detach-sign "$work/www/big.aci"
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
    -keyout "$work/key.pem" -out "$work/cert.pem" 2>/dev/null
port=$((20000 + RANDOM % 20000))
cat >"$work/nginx.conf" <<CONF
daemon off; error_log $work/error.log; pid $work/nginx.pid;
$([ "$(id -u)" = 0 ] && echo "user root;")
events {}
http {
    access_log off; sendfile on;
    client_body_temp_path $work/tmp; proxy_temp_path $work/tmp; fastcgi_temp_path $work/tmp;
    uwsgi_temp_path $work/tmp; scgi_temp_path $work/tmp;
    server { listen 127.0.0.1:$port ssl; ssl_certificate $work/cert.pem; ssl_certificate_key $work/key.pem; root $work/www; }
}
CONF
echo "<meta name=ac-discovery content='localhost https://localhost:$port/big.{ext}'>" >"$work/www/index.html"
nginx -c "$work/nginx.conf" -p "$work" 2>>"$work/error.log" &
nginx_pid=$!
for _ in $(seq 50); do (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break; sleep 0.1; done

export SSL_CERT_FILE=$work/cert.pem XDG_CONFIG_HOME=$work/config
"$bin/jetpack" trust add --prefix localhost "$work/key.asc" >/dev/null 2>&1
url=https://localhost:$port/big.aci

seconds() { local start end; start=$(date +%s.%N); "$@" >/dev/null; end=$(date +%s.%N); awk "BEGIN { print $end - $start }"; }
best() { for _ in 1 2 3; do rm -rf "$work/out" "$work/root"; mkdir "$work/out"; seconds "$@"; done | sort -n | head -1; }
fetch() { "$bin/jetpack" --root "$work/root" fetch --port "$port" localhost/big; }
alone() { "$bin/actool" id "$work/www/big.aci"; }
inflate() { gzip -dc "$work/www/big.aci" >/dev/null; }
peer() { curl -sS --cacert "$work/cert.pem" "$url" | tee >(sha512sum >"$work/sum") | tar xz -C "$work/out"; }

alone=$(best alone)
fetched=$(best fetch)
fetch >/dev/null
again=$(for _ in 1 2 3 4 5; do seconds fetch; done | sort -n | head -1)
echo "hash and inflate alone (actool id): $alone s"
echo "jetpack fetch, verified, rendered:  $fetched s: $(awk "BEGIN { printf \"%.2f\", $fetched / $alone }") times   [bound: 1.4 times]"
echo "jetpack fetch again, unchanged:     $again s   [bound: 0.05 s]"
echo "inflate alone (gzip):               $(best inflate) s"
echo "curl | tar xz, and sha512sum:       $(best peer) s"
