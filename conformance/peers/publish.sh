#!/usr/bin/env bash
# A site made by `actool publish` and filled by `jetpack push` over HTTP, served by nginx and by Python, fetched back by jetpack and found by
# the Go actool where there is one; signify and minisign check each other's work and ours.
# Prints `OK` lines and ends with 0, or with the first thing that is not so.
set -euo pipefail
cd "$(dirname "$0")/../.."

source conformance/peers/common.inc
need nginx nginx-light
for program in openssl gpg python3 jq; do need $program $program; done
need signify-openbsd signify-openbsd
need minisign minisign
find_binaries "${1:-}"

work=$(mktemp -d)
pids=()
finish() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    gpgconf --homedir "$work/gpg" --kill all 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT
fail() { echo "FAILED: $*"; cat "$work/err" 2>/dev/null || true; exit 1; }

openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
    -keyout "$work/key.pem" -out "$work/cert.pem" 2>/dev/null
port=$((20000 + RANDOM % 20000))
mkdir -p "$work/www" "$work/pushed" "$work/gpg" "$work/tmp" "$work/images"
chmod 755 "$work" && chmod 700 "$work/gpg"
echo "me:$(openssl passwd -apr1 secret)" >"$work/users"
cat >"$work/nginx.conf" <<CONF
daemon off; error_log $work/error.log; pid $work/nginx.pid;
$([ "$(id -u)" = 0 ] && echo "user root;")
events {}
http {
    access_log $work/access.log; types { text/html html; }
    client_body_temp_path $work/tmp; proxy_temp_path $work/tmp; fastcgi_temp_path $work/tmp;
    uwsgi_temp_path $work/tmp; scgi_temp_path $work/tmp;
    ssl_certificate $work/cert.pem; ssl_certificate_key $work/key.pem;
    server { listen 127.0.0.1:$port ssl; root $work/www; gzip on; }
    server {
        listen 127.0.0.1:$((port + 1)) ssl; root $work/pushed; client_max_body_size 0;
        dav_methods PUT DELETE MKCOL COPY; create_full_put_path on;
        limit_except GET { auth_basic "publishers"; auth_basic_user_file $work/users; }
    }
}
CONF
# `limit_except` stands in a location.
sed -i 's/^        limit_except \(.*\)$/        location \/ { limit_except \1 }/' "$work/nginx.conf"
await() { # PORT LOG
    for _ in $(seq 50); do
        (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return
        sleep 0.1
    done
    cat "$2"; fail "no server on port $1"
}
nginx -c "$work/nginx.conf" -p "$work" 2>>"$work/error.log" &
pids+=($!)
cat >"$work/serve.py" <<'PYTHON'
import http.server, ssl, sys, functools
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[2])
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[3], sys.argv[4])
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
PYTHON
python3 "$work/serve.py" $((port + 2)) "$work/www" "$work/cert.pem" "$work/key.pem" 2>"$work/python.log" &
pids+=($!)
await "$port" "$work/error.log"; await $((port + 2)) "$work/python.log"

export SSL_CERT_FILE=$work/cert.pem XDG_CONFIG_HOME=$work/config GNUPGHOME=$work/gpg
unset https_proxy http_proxy all_proxy HTTPS_PROXY HTTP_PROXY ALL_PROXY
mkdir -p "$work/config/jetpack/auth.d"
printf '[[credential]]\nhost = "localhost:%s"\nuser = "me"\npassword = "secret"\n' $((port + 1)) >"$work/config/jetpack/auth.d/local.toml"
chmod 600 "$work/config/jetpack/auth.d/local.toml"
actool() { "$bin/actool" "$@" 2>"$work/err"; }
jetpack() { "$bin/jetpack" "$@" 2>"$work/err"; }

image() { # FILE NAME VERSION
    rm -rf "$work/layout" && mkdir -p "$work/layout/rootfs/bin"
    head -c 40000 /dev/urandom >"$work/layout/rootfs/bin/app"
    jq -n --arg name "$2" --arg version "$3" '{acKind: "ImageManifest", acVersion: "0.8.11", name: $name,
        labels: [{name: "version", value: $version}, {name: "os", value: "linux"}, {name: "arch", value: "amd64"}],
        app: {exec: ["/bin/app"], user: "0", group: "0"}}' >"$work/layout/manifest"
    actool build --overwrite "$work/layout" "$1" >/dev/null || fail "build $2"
}

# Each program's signatures hold for the others.
image "$work/one.aci" localhost/apps/one 1.0.0
signify-openbsd -G -n -p "$work/s.pub" -s "$work/s.sec"
minisign -G -W -p "$work/m.pub" -s "$work/m.sec" >/dev/null
actool sign --signify-key "$work/s.sec" "$work/one.aci" || fail "sign"
signify-openbsd -V -q -p "$work/s.pub" -m "$work/one.aci" || fail "signify does not take our signature"
actool sign --signify-key "$work/m.sec" "$work/one.aci" || fail "sign"
minisign -V -q -p "$work/m.pub" -m "$work/one.aci" || fail "minisign does not take our signature"
rm "$work"/one.aci.*
signify-openbsd -S -s "$work/s.sec" -m "$work/one.aci"
actool verify --keyring "$work/s.pub" "$work/one.aci" >/dev/null || fail "a signature of signify"
rm "$work"/one.aci.*
for form in -H -l; do
    minisign -S $form -s "$work/m.sec" -m "$work/one.aci" >/dev/null </dev/null
    actool verify --keyring "$work/m.pub" "$work/one.aci" >/dev/null || fail "a signature of minisign $form"
done
head -c 1000 "$work/one.aci" >"$work/other.aci" && cp "$work/one.aci.minisig" "$work/other.aci.minisig"
actool verify --keyring "$work/m.pub" "$work/other.aci" >/dev/null && fail "a signature over something else was taken"
rm "$work"/*.aci.minisig
echo "OK signify and minisign"

# Fifty images, signed by both kinds of keys.
command gpg --batch --quiet --pinentry-mode loopback --passphrase '' --quick-gen-key signer@localhost ed25519 sign never 2>>"$work/gpg.log"
for number in $(seq 50); do
    image "$work/images/$number.aci" "localhost/apps/app$((number % 10))" "1.$((number / 10)).0"
done
publish() { actool publish "$work/www" --prefix localhost/apps "$@"; }
publish --url "https://localhost:$port/aci" --key signer@localhost --signify-key "$work/s.sec" "$work"/images/*.aci >"$work/published" || fail "publish"
[ "$(wc -l <"$work/published")" = 50 ] || fail "not all were published"
cp -a "$work/www" "$work/before"
publish --key signer@localhost --signify-key "$work/s.sec" "$work"/images/*.aci >"$work/again" || fail "publish again"
[ "$(grep -c '(unchanged)' "$work/again")" = 50 ] && diff -r "$work/before" "$work/www" || fail "publishing again changed something"
echo "OK fifty images published"

fingerprint=$(command gpg --with-colons --list-keys signer@localhost 2>/dev/null | awk -F: '/^fpr:/ { print $10; exit }')
signify_key=$(sed -n 2p "$work/s.pub")
for way in "openpgp $port $fingerprint" "signify $((port + 2)) $signify_key"; do
    read -r kind at key <<<"$way"
    # What the pages say is where nginx is, as with a server for pages and another for files.
    jetpack --root "$work/root-$kind" trust add --prefix "localhost/apps" --port "$at" --fingerprint "$key" localhost/apps >/dev/null || fail "trust $kind"
    for number in $(seq 50); do
        jetpack --root "$work/root-$kind" fetch --port "$at" "localhost/apps/app$((number % 10)):1.$((number / 10)).0,os=linux,arch=amd64" >>"$work/fetched-$kind" || fail "fetch $number by $kind"
    done
    diff <(cut -d' ' -f1 "$work/published" | sort) <(sort "$work/fetched-$kind") || fail "other images than were published"
    jetpack --root "$work/root-$kind" trust remove "$(jetpack --root "$work/root-$kind" trust list | awk '{ print $1; exit }')" >/dev/null || fail "trust remove"
done
jetpack --root "$work/root" trust add --prefix localhost/apps "$work/s.pub" >/dev/null || fail "trust a file"
jetpack --root "$work/root" fetch --port "$port" localhost/apps/app0,os=linux,arch=amd64 >/dev/null || fail "the latest"
jetpack --root "$work/root" images | grep -q '1\.5\.0' || fail "the latest is another"
: >"$work/access.log"
jetpack --root "$work/root" fetch --port "$port" localhost/apps/app0,os=linux,arch=amd64 >/dev/null || fail "fetch again"
grep -q 'app0-latest-linux-amd64.aci HTTP/1.1" 304' "$work/access.log" || fail "the image was transferred again"
echo "OK fifty images fetched by name from nginx and by pages of Python, by keys of OpenPGP and of signify"

if [ -x /usr/bin/actool ]; then
    # The Go tool knows no other port for a host of its own certificate but the one given.
    /usr/bin/actool discover --json --port "$port" localhost/apps/app1:1.2.0,os=linux,arch=amd64 2>/dev/null | grep -v '^discover .* walk:' >"$work/theirs" || true
    actool discover --json --port "$port" localhost/apps/app1:1.2.0,os=linux,arch=amd64 >"$work/ours" || fail "discover"
    diff "$work/ours" "$work/theirs" || fail "the Go actool finds something else"
    [ "$(jq -r '.ACIEndpoints[0].ACI' "$work/theirs")" = "https://localhost:$port/aci/localhost/apps/app1-1.2.0-linux-amd64.aci" ] || fail "the Go actool finds nothing"
    echo "OK the Go actool finds the images"
fi

# By chunks: of an image that was built again what is new in it, from a server that gives parts, and all of it from one that does not.
mkdir -p "$work/large/rootfs"
# So large that a few of the longest chunks are a small part: where they end is chance.
for number in $(seq 120); do head -c 100000 /dev/urandom >"$work/large/rootfs/$number"; done
large() { # FILE VERSION
    find "$work/large/rootfs" -exec touch -d @1000000000 {} +
    jq -n --arg version "$2" '{acKind: "ImageManifest", acVersion: "0.8.11", name: "localhost/apps/large",
        labels: [{name: "version", value: $version}, {name: "os", value: "linux"}, {name: "arch", value: "amd64"}]}' >"$work/large/manifest"
    actool build --overwrite "$work/large" "$1" || fail "build the large one"
}
one=$(large "$work/large-1.aci" 1.0.0)
head -c 100000 /dev/urandom >"$work/large/rootfs/20"
two=$(large "$work/large-2.aci" 2.0.0)
publish --chunks --signify-key "$work/s.sec" "$work/large-1.aci" >/dev/null || fail "publish by chunks"
of_nginx() { jetpack --root "$work/root" fetch --port "$port" localhost/apps/large,os=linux,arch=amd64; }
of_python() { jetpack --root "$work/root-python" fetch "https://localhost:$((port + 2))/aci/localhost/apps/large-$1-linux-amd64.aci"; }
[ "$(of_nginx)" = "$one" ] && [ "$(of_python 1.0.0)" = "$one" ] || fail "fetch the large one"
publish --chunks --signify-key "$work/s.sec" "$work/large-2.aci" >/dev/null || fail "publish by chunks again"
: >"$work/access.log"
[ "$(of_nginx)" = "$two" ] || fail "fetch by chunks"
grep -q ' fetched, the rest was here$' "$work/err" || fail "it was not fetched by chunks"
sent=$(awk '/large-/ { sum += $10 } END { print sum }' "$work/access.log")
[ "$sent" -lt $(($(stat -c %s "$work/large-2.aci") / 4)) ] || fail "$sent bytes were moved"
[ "$(of_python 2.0.0)" = "$two" ] || fail "fetch from a server without parts"
grep -q 'is fetched whole: the server gives no parts' "$work/err" || fail "no word of a server without parts"
echo "OK by chunks from nginx, $sent bytes of $(stat -c %s "$work/large-2.aci"), and whole from Python"

# By HTTP.
root=https://localhost:$((port + 1))
push() { jetpack --root "$work/root" push --prefix localhost/apps --signify-key "$work/s.sec" "$@"; }
mv "$work/config/jetpack/auth.d/local.toml" "$work/local.toml"
push "$root" "$work/images/1.aci" >/dev/null && fail "a push without credentials"
grep -q "auth.d" "$work/err" || fail "no word of credentials"
mv "$work/local.toml" "$work/config/jetpack/auth.d/local.toml"
for number in 1 11 2; do push "$root" "$work/images/$number.aci" >/dev/null || fail "push"; done
jetpack --root "$work/pulled" fetch --port $((port + 1)) localhost/apps/app1:1.1.0,os=linux,arch=amd64 >/dev/null || fail "fetch what was pushed"
grep -q '"COPY ' "$work/access.log" || fail "the latest was sent a second time"
echo "OK pushed by PUT with credentials, fetched by name"

# What the site says of itself holds at any moment.
whole() { # DIRECTORY
    local file digest
    [ -f "$1/index.json" ] || return 0
    jq -r '.sections[].images[] | .sha512 as $digest | .files[] | "\($digest) \(.)"' "$1/index.json" >"$work/named" || fail "the index is broken"
    while read -r digest file; do
        echo "$digest  $1/$file" | sha512sum --check --quiet - || fail "$file is not what the index says"
        actool verify --keyring "$work/s.pub" "$1/$file" "$1/$file.sig" >/dev/null || fail "the signature of $file"
    done <"$work/named"
    jq -r '.sections[].images[] | .sha512 as $digest | .chunks[]? | "\($digest) \(.)"' "$1/index.json" >"$work/mapped"
    while read -r digest file; do
        [ "$(head -n 1 "$1/$file.chunks" | jq -r .sha512)" = "$digest" ] || fail "the map of $file"
    done <"$work/mapped"
}
whole "$work/pushed"
for round in $(seq 50); do
    image "$work/again.aci" localhost/apps/app1 1.1.0
    (exec "$bin/jetpack" --root "$work/root" push --chunks --signify-key "$work/s.sec" "$root" "$work/again.aci") >/dev/null 2>&1 &
    victim=$!
    sleep "0.$(printf %03d $((RANDOM % 250)))"
    kill -9 "$victim" 2>/dev/null || true
    wait "$victim" 2>/dev/null || true
    sleep 0.02
    whole "$work/pushed"
done
push --chunks "$root" "$work/again.aci" >/dev/null || fail "a push behind those that were killed"
whole "$work/pushed"
[ -s "$work/mapped" ] || fail "no map was pushed"
jq -e '[.sections[].moving // [] | length] | add == 0' "$work/pushed/index.json" >/dev/null || fail "something is unfinished"
jetpack --root "$work/pulled" fetch --port $((port + 1)) localhost/apps/app1:1.1.0,os=linux,arch=amd64 >/dev/null || fail "fetch behind those that were killed"
echo "OK fifty pushes killed at random moments left a whole site"
