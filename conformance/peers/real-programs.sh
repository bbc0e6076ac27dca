#!/usr/bin/env bash
# Programs as Debian ships them, run by our executor on Linux: nginx behind a forwarded port, redis with a volume that outlives
# its pod and a client beside it over localhost, lighttpd on a socket that it finds open, packages installed by root with the
# default capabilities, pods one after another. Ends with `skipped: <reason>` where it cannot run.
#
#   conformance/peers/real-programs.sh [DIRECTORY OF actool AND jetpack]
set -euo pipefail
cd "$(dirname "$0")/../.."

source conformance/peers/common.inc

[ "$(uname -s)" = Linux ] || skip "the pods are run by the Linux executor"
[ "$(id -u)" = 0 ] || skip "needs root"
need curl curl
need iptables iptables
need /usr/lib/cni/bridge containernetworking-plugins

find_binaries "${1:-}"

work=$(mktemp -d)
net=jetpack-peer-$$
# The network namespace stands for the host's own: no interface and no rule of the host's is touched.
jetpack() { NETCONFPATH="$work/net.d" nsenter --net="/run/netns/$net" "$bin/jetpack" --root "$work/root" "$@"; }
cleanup() {
    for pod in $(jetpack list --no-legend 2>/dev/null | cut -d' ' -f1); do
        jetpack stop --force "$pod" >/dev/null 2>&1 || true
        jetpack rm "$pod" >/dev/null 2>&1 || true
    done
    ip netns del "$net" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
ip netns add "$net" || skip "no network namespaces here"
nsenter --net="/run/netns/$net" ip link set lo up
until_it_answers() { # COMMAND...
    for _ in $(seq 200); do "$@" >/dev/null 2>&1 && return; sleep 0.05; done
    fail "no answer: $*"
}

layout=$work/layout
mkdir "$layout" "$work/net.d" "$work/data"
debian_root "$layout/rootfs"
package=$(find "$layout/rootfs/var/cache/apt/archives" -name 'adduser_*.deb' | head -n 1)
cp "$package" "$layout/rootfs/package.deb" 2>/dev/null || echo "skipped: installing a package: none was kept"
rm -rf "$layout/rootfs/var/cache/apt/archives"
echo "hello from nginx" >"$layout/rootfs/var/www/html/index.html"
mkdir "$layout/rootfs/srv/www"
echo "hello from lighttpd" >"$layout/rootfs/srv/www/index.html"
cat >"$layout/rootfs/etc/lighttpd/activated.conf" <<'CONF'
server.document-root = "/srv/www"
server.port = 4080
server.systemd-socket-activation = "enable"
index-file.names = ( "index.html" )
CONF
cat >"$layout/manifest" <<'MANIFEST'
{
  "acKind": "ImageManifest", "acVersion": "0.8.11", "name": "conformance.test/debian",
  "labels": [{ "name": "os", "value": "linux" }],
  "app": { "exec": ["/bin/sh"], "user": "0", "group": "0",
    "ports": [
      { "name": "http", "protocol": "tcp", "port": 80 },
      { "name": "activated", "protocol": "tcp", "port": 4080, "socketActivated": true }
    ] }
}
MANIFEST
"$bin/actool" build --no-compression "$layout" "$work/debian.aci"
rm -rf "$layout"
image=$("$bin/jetpack" --root "$work/root" fetch "$work/debian.aci" | tail -n 1)

cat >"$work/net.d/front.conflist" <<CONF
{"cniVersion": "0.4.0", "name": "front", "plugins": [
  {"type": "bridge", "bridge": "jp0", "isGateway": true, "ipMasq": true,
   "ipam": {"type": "host-local", "dataDir": "$work/leases", "ranges": [[{"subnet": "10.88.78.0/24"}]]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
CONF

echo "nginx behind a forwarded port"
jetpack run -d --name nginx --net front --port http=8080 --exec /usr/sbin/nginx "$image" -- -g 'daemon off;' >/dev/null
get() { nsenter --net="/run/netns/$net" curl -fsS --max-time 2 "$1"; }
until_it_answers get http://10.88.78.1:8080/
[ "$(get http://10.88.78.1:8080/)" = "hello from nginx" ] || fail "nginx says something else"
jetpack stop nginx >/dev/null
jetpack rm nginx
if nsenter --net="/run/netns/$net" iptables-save | grep -q 10.88.78; then fail "rules are left"; fi

echo "redis keeps its data in a volume, says when it is ready, and serves an app beside it"
redis() { # NAME
    jetpack run -d --name "$1" --net none --volume "data,kind=host,source=$work/data" --mount volume=data,target=/data \
        --annotation appc.io/executor/supports-systemd-notify=true --exec /usr/bin/redis-server "$image" \
        -- --dir /data --appendonly yes --supervised systemd >/dev/null
    jetpack status --wait-ready "$1" >/dev/null
}
redis one
jetpack exec one redis-cli set word kept >/dev/null
jetpack stop one >/dev/null
jetpack rm one
redis two
[ "$(jetpack exec two redis-cli get word)" = kept ] || fail "redis has lost its data"
jetpack stop two >/dev/null
jetpack rm two
cat >"$work/pod.json" <<JSON
{"acKind": "PodManifest", "acVersion": "0.8.11", "apps": [
  {"name": "server", "image": {"id": "$image"}, "app": {"exec": ["redis-server", "--save", ""], "user": "redis", "group": "redis"}},
  {"name": "client", "image": {"id": "$image"}, "app": {"user": "nobody", "group": "nogroup", "exec": ["/bin/sh", "-c",
    "until redis-cli ping >/dev/null 2>&1; do sleep 0.05; done; redis-cli incr n; redis-cli incr n; redis-cli shutdown nosave"]}}]}
JSON
said=$(jetpack run --rm --net none --pod-manifest "$work/pod.json" | grep -xE '[0-9]+' | tr '\n' ' ')
[ "$said" = "1 2 " ] || fail "the client heard: $said"

echo "lighttpd on a socket of the host's that it finds open"
jetpack run -d --name light --net none --port activated=127.0.0.1:8081 --exec /usr/sbin/lighttpd "$image" \
    -- -D -f /etc/lighttpd/activated.conf >/dev/null
until_it_answers get http://127.0.0.1:8081/
[ "$(get http://127.0.0.1:8081/)" = "hello from lighttpd" ] || fail "lighttpd says something else"
jetpack stop light >/dev/null
jetpack rm light

echo "root with the default capabilities manages users and packages"
jetpack run --rm --net none "$image" -- -c 'set -e
    useradd --create-home --shell /bin/sh ann
    su ann -c "touch ~/hers && test -O ~/hers"
    chown ann:ann /srv/www && mknod /tmp/null c 1 3 && chmod 4755 /bin/true
    if [ -e /package.deb ]; then dpkg --install /package.deb; fi
    dpkg-reconfigure --frontend=noninteractive debconf
    tar --create --file /tmp/all.tar --directory /etc . && mkdir /tmp/all && tar --extract --same-owner --file /tmp/all.tar --directory /tmp/all
    echo managed' | tail -n 1 | grep -qx managed || fail "root cannot do its work"

echo "pods one after another"
for _ in $(seq "${PODS:-100}"); do jetpack run --rm --net none --stdout null --exec /bin/true "$image"; done
[ -z "$(jetpack list --no-legend)" ] || fail "pods are left"
echo OK
