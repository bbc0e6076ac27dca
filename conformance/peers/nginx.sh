#!/usr/bin/env bash
# Discovery and fetch against nginx, with keys and signatures by gpg, beside the Go actool where there is one.
# Prints `OK` lines and ends with 0, or with the first thing that is not so.
set -euo pipefail
cd "$(dirname "$0")/../.."

source conformance/peers/common.inc
for program in nginx openssl gpg; do need $program $program; done
find_binaries "${1:-}"

work=$(mktemp -d)
nginx_pid=
finish() {
    [ -z "$nginx_pid" ] || kill "$nginx_pid" 2>/dev/null || true
    gpgconf --homedir "$work/gpg" --kill all 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT
fail() { echo "FAILED: $*"; cat "$work/err" 2>/dev/null || true; exit 1; }

# A certificate that signed itself, as people make them.
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
    -keyout "$work/key.pem" -out "$work/cert.pem" 2>/dev/null
port=$((20000 + RANDOM % 20000))
mkdir -p "$work/www/files/localhost" "$work/layout/rootfs/bin" "$work/gpg" "$work/tmp"
chmod 755 "$work" && chmod 700 "$work/gpg"
cat >"$work/nginx.conf" <<CONF
daemon off; error_log $work/error.log; pid $work/nginx.pid;
$([ "$(id -u)" = 0 ] && echo "user root;")
events {}
http {
    access_log $work/access.log;
    client_body_temp_path $work/tmp; proxy_temp_path $work/tmp; fastcgi_temp_path $work/tmp;
    uwsgi_temp_path $work/tmp; scgi_temp_path $work/tmp;
    server {
        listen 127.0.0.1:$port ssl;
        ssl_certificate $work/cert.pem; ssl_certificate_key $work/key.pem;
        root $work/www;
        location = / { default_type text/html; try_files /index.html =404; }
        location /moved { return 302 /; }
        location /broken { return 503; }
        location /private { auth_basic "private"; auth_basic_user_file $work/users; default_type text/html; try_files /index.html =404; }
    }
}
CONF
cat >"$work/www/index.html" <<PAGE
<!DOCTYPE html><html><head><title>images</title>
<meta name="ac-discovery" content="localhost https://localhost:$port/files/{name}-{version}.{ext}">
<meta name="ac-discovery" content="localhost https://localhost:$port/other/{name}-{os}-{arch}.{ext}">
<meta name="ac-discovery-pubkeys" content="localhost https://localhost:$port/files/keys.asc">
</head></html>
PAGE
echo "me:$(openssl passwd -apr1 secret)" >"$work/users"

cat >"$work/layout/manifest" <<'MANIFEST'
{"acKind":"ImageManifest","acVersion":"0.8.11","name":"localhost/app","labels":[{"name":"version","value":"1.0"}],
 "app":{"exec":["/bin/app"],"user":"0","group":"0"}}
MANIFEST
head -c 3000000 /dev/urandom >"$work/layout/rootfs/bin/app"
aci=$work/www/files/localhost/app-1.0.aci
"$bin/actool" build "$work/layout" "$aci" >"$work/id"

gpg() { command gpg --homedir "$work/gpg" --batch --yes --quiet --pinentry-mode loopback --passphrase '' "$@" 2>>"$work/gpg.log"; }
gpg --quick-gen-key signer@localhost rsa3072 sign never
gpg --armor --export signer@localhost >"$work/www/files/keys.asc"
gpg --armor --local-user signer@localhost --output "$aci.asc" --detach-sign "$aci"
fingerprint=$(gpg --with-colons --list-keys signer@localhost | awk -F: '/^fpr:/ { print $10; exit }')

nginx -c "$work/nginx.conf" -p "$work" 2>>"$work/error.log" &
nginx_pid=$!
for _ in $(seq 50); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
    kill -0 "$nginx_pid" 2>/dev/null || { cat "$work/error.log"; fail "nginx did not start"; }
    sleep 0.1
done

export SSL_CERT_FILE=$work/cert.pem XDG_CONFIG_HOME=$work/config
unset https_proxy http_proxy all_proxy HTTPS_PROXY HTTP_PROXY ALL_PROXY
jetpack() { "$bin/jetpack" --root "$work/root" "$@" 2>"$work/err"; }
discover() { "$bin/actool" discover --port "$port" "$@" 2>"$work/err"; }

names=(localhost/app:1.0 localhost/moved:1.0 localhost/a/b/c,version=2,os=linux,arch=amd64)
for name in "${names[@]}"; do
    discover "$name" >"$work/ours" || fail "discovery of $name"
    [ "$(grep -c '^ACI: https://localhost' "$work/ours")" = 2 ] || fail "endpoints of $name"
    if [ -x /usr/bin/actool ] && /usr/bin/actool version 2>/dev/null | grep -q . ; then
        for form in "" --json; do
            discover $form "$name" >"$work/ours"
            # The Go tool prints the steps of its walk among the endpoints.
            /usr/bin/actool discover $form --port "$port" "$name" 2>/dev/null | grep -v '^discover .* walk:' >"$work/theirs"
            diff "$work/ours" "$work/theirs" || fail "the Go actool prints something else for $name"
        done
    fi
done
echo "OK discovery"

discover localhost/broken >/dev/null && fail "a 503 ended well"
discover localhost/private -v >/dev/null || fail "a 401 is no reason to stop"
mkdir -p "$work/config/jetpack/auth.d"
printf '[[credential]]\nhost = "localhost:%s"\nuser = "me"\npassword = "secret"\n' "$port" >"$work/config/jetpack/auth.d/local.toml"
chmod 600 "$work/config/jetpack/auth.d/local.toml"
discover -v localhost/private >/dev/null && grep -q 'answered 200 from https://localhost:[0-9]*/private' "$work/err" ||
    fail "credentials were not enough"
echo "OK errors and credentials"

jetpack fetch --port "$port" localhost/app:1.0 >/dev/null && fail "an image nobody vouches for was taken"
grep -q "$fingerprint" "$work/err" || fail "the error does not say which key was wanted"
jetpack trust add --port "$port" --fingerprint "$fingerprint" localhost/app >/dev/null || fail "trust"
jetpack fetch --port "$port" localhost/app:1.0 >"$work/fetched" || fail "fetch"
diff "$work/id" "$work/fetched" || fail "another image than was built"
: >"$work/access.log"
jetpack fetch --port "$port" localhost/app:1.0 >"$work/again" || fail "second fetch"
diff "$work/fetched" "$work/again" || fail "the second fetch gave another image"
grep -q '"GET /files/localhost/app-1.0.aci HTTP/1.1" 304' "$work/access.log" || fail "the image was transferred again"
echo "OK signed fetch, unchanged by ETag"

head -c 1000 "$aci" >"$work/www/files/localhost/app-2.0.aci" && cp "$aci.asc" "$work/www/files/localhost/app-2.0.aci.asc"
jetpack fetch --port "$port" localhost/app:2.0 >/dev/null && fail "a truncated image was taken"
cp "$aci" "$work/www/files/localhost/app-3.0.aci" && cp "$aci.asc" "$work/www/files/localhost/app-3.0.aci.asc"
jetpack fetch --port "$port" localhost/app:3.0 >/dev/null && fail "an image of another version was taken"
[ "$(jetpack images | grep -c sha512)" = 1 ] || fail "the store is not as it was"
echo "OK bad images leave the store as it was"
