#!/usr/bin/env bash
# A Debian image that is built again from nothing with three changed packages, fetched by jetpack from nginx over loopback HTTPS where the
# one before is: bytes moved, by nginx' own count, and seconds. Once with times of files as the build leaves them, once with those
# behind SOURCE_DATE_EPOCH set to it; beside rsync of the same two files, where it is installed.
#   benches/delta.sh      takes debootstrap, root, the network and 6 GB; nginx, gpg, openssl, perl. What is made is removed.
# The three packages are the worst that packages can be: every byte of every file of theirs stands somewhere else.
set -euo pipefail
cd "$(dirname "$0")/.."
for program in debootstrap nginx openssl gpg perl; do
    command -v "$program" >/dev/null || { echo "skipped: $program is not installed"; exit 0; }
done
[ "$(id -u)" = 0 ] || { echo "skipped: debootstrap takes root"; exit 0; }
bin=${BIN:-target/release}
[ -x "$bin/jetpack" ] && [ -x "$bin/actool" ] || cargo build --quiet --release --locked --package appc --bins
bin=$(cd "$bin" && pwd)
suite=bookworm
include=build-essential,python3,git,jq,less,nginx-light,vim
changed="jq less vim"

work=$(mktemp -d)
nginx_pid=
finish() {
    [ -z "$nginx_pid" ] || kill "$nginx_pid" 2>/dev/null || true
    gpgconf --homedir "$work/gpg" --kill all 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT
chmod 755 "$work"
mkdir -p "$work/debs" "$work/www" "$work/gpg" "$work/tmp" "$work/images"
chmod 700 "$work/gpg"

layout() { # NUMBER
    mkdir -p "$work/$1"
    debootstrap --variant=minbase --cache-dir="$work/debs" --include=$include $suite "$work/$1/rootfs" >"$work/log" 2>&1 ||
        { tail -n 3 "$work/log"; echo "skipped: debootstrap failed, most likely without a mirror"; exit 0; }
    # An executor brings its own devices; what apt may fetch again is no part of an image.
    find "$work/$1/rootfs/dev" -mindepth 1 -delete
    rm -rf "$work/$1/rootfs/var/lib/apt/lists" "$work/$1"/rootfs/var/cache/apt/archives/*.deb
    echo '{"acKind":"ImageManifest","acVersion":"0.8.11","name":"localhost/debian","labels":[{"name":"version","value":"'"$1"'"},
        {"name":"os","value":"linux"},{"name":"arch","value":"amd64"}],"app":{"exec":["/bin/sh"],"user":"0","group":"0"}}' >"$work/$1/manifest"
}
export SOURCE_DATE_EPOCH
SOURCE_DATE_EPOCH=$(date +%s)
layout 1
layout 2
for package in $changed; do
    while read -r path; do
        file=$work/2/rootfs$path
        [ -f "$file" ] && [ ! -L "$file" ] || continue
        perl -0777 -i -pe '$_ = reverse' "$file"
        echo "$path"
    done <"$work/2/rootfs/var/lib/dpkg/info/$package.list" >>"$work/changed"
    sed -i "/^Package: $package\$/,/^\$/s/^Version: .*/&+b1/" "$work/2/rootfs/var/lib/dpkg/status"
done
sed "s|^/||" "$work/changed" | tar cf - -C "$work/2/rootfs" -T - | wc -c |
    awk -v of="$(du -sm --apparent-size "$work/2" | cut -f1)" -v p="$changed" '{ printf "image: %d MB unpacked; %s, all of them changed: %.1f MB\n", of, p, $1 / 1e6 }'
for number in 1 2; do
    env -u SOURCE_DATE_EPOCH "$bin/actool" build "$work/$number" "$work/images/asis-$number.aci" >/dev/null
    "$bin/actool" build "$work/$number" "$work/images/epoch-$number.aci" >/dev/null
    rm -rf "${work:?}/$number"
done

export GNUPGHOME=$work/gpg
gpg --batch --quiet --pinentry-mode loopback --passphrase '' --quick-gen-key signer@localhost ed25519 sign never 2>/dev/null
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
    -keyout "$work/key.pem" -out "$work/cert.pem" 2>/dev/null
port=$((20000 + RANDOM % 20000))
cat >"$work/nginx.conf" <<CONF
daemon off; error_log $work/error.log; pid $work/nginx.pid; user root;
events {}
http {
    log_format sent '\$bytes_sent'; access_log $work/sent sent; sendfile on;
    client_body_temp_path $work/tmp; proxy_temp_path $work/tmp; fastcgi_temp_path $work/tmp;
    uwsgi_temp_path $work/tmp; scgi_temp_path $work/tmp;
    server { listen 127.0.0.1:$port ssl; ssl_certificate $work/cert.pem; ssl_certificate_key $work/key.pem; root $work/www; }
}
CONF
nginx -c "$work/nginx.conf" -p "$work" 2>>"$work/error.log" &
nginx_pid=$!
for _ in $(seq 50); do (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break; sleep 0.1; done
export SSL_CERT_FILE=$work/cert.pem XDG_CONFIG_HOME=$work/config
unset https_proxy http_proxy all_proxy HTTPS_PROXY HTTP_PROXY ALL_PROXY
gpg --armor --export signer@localhost >"$work/key.asc"
"$bin/jetpack" trust add --prefix localhost "$work/key.asc" >/dev/null 2>&1

publish() { "$bin/actool" publish "$work/www" --prefix localhost --url "https://localhost:$port/aci" --key signer@localhost "$@" >/dev/null; }
fetch() { # WHAT ROOT FILE
    : >"$work/sent"
    local start end
    start=$(date +%s.%N)
    "$bin/jetpack" --root "$2" fetch --port "$port" localhost/debian >"$work/id" 2>"$work/said" || { cat "$work/said"; exit 1; }
    end=$(date +%s.%N)
    sleep 0.2
    [ "$(cat "$work/id")" = "$("$bin/actool" id "$3")" ] || { echo "another image came"; exit 1; }
    awk -v what="$1" -v of="$(stat -c %s "$3")" -v s="$start" -v e="$end" \
        '{ sent += $1 } END { printf "%s: %.1f of %.1f MB moved, %.1f %%, in %d requests; %.2f s\n", what, sent / 1e6, of / 1e6, 100 * sent / of, NR, e - s }' "$work/sent"
}
for kind in epoch asis; do
    rm -rf "$work/www" "$work/root" && mkdir "$work/www"
    publish --chunks "$work/images/$kind-1.aci"
    [ $kind = epoch ] && said="times behind SOURCE_DATE_EPOCH set to it" || said="times as the build leaves them"
    echo "$said:"
    fetch "  the first image" "$work/root" "$work/images/$kind-1.aci"
    cp -a "$work/root" "$work/other"
    publish --chunks "$work/images/$kind-2.aci"
    fetch "  the rebuilt one, by chunks" "$work/root" "$work/images/$kind-2.aci"
    find "$work/www" -name '*.chunks' -delete
    fetch "  the same without a map" "$work/other" "$work/images/$kind-2.aci"
    rm -rf "$work/other"
    if command -v rsync >/dev/null; then
        mkdir -p "$work/rsync" && cp "$work/images/$kind-1.aci" "$work/rsync/image.aci"
        cp "$work/images/$kind-2.aci" "$work/image.aci"
        rsync --no-whole-file --stats "$work/image.aci" "$work/rsync/image.aci" | tr -d , | awk '/^Total bytes (sent|received)/ { sum += $4 } END { printf "  rsync of the files: %.1f MB moved\n", sum / 1e6 }'
    fi
done
