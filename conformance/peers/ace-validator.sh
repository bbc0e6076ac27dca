#!/bin/sh
# The ACE validator, the reference check of an executor from the app's view, under our executor: built from Debian's package, packed by
# our `actool build`, main and sidekick in one pod. Prints the validator's OK lines; ends with `skipped: <reason>` where it cannot run.
#
#   conformance/peers/ace-validator.sh [DIRECTORY OF actool AND jetpack]
#
# On FreeBSD it runs the program that ACE_VALIDATOR names, as contrib/freebsd/build.sh builds it elsewhere.
set -eu
cd "$(dirname "$0")/../.."

. conformance/peers/common.inc

system=$(uname -s | tr '[:upper:]' '[:lower:]')
case $system in linux | freebsd) ;; *) skip "no executor of ours runs on $system" ;; esac
[ "$(id -u)" = 0 ] || skip "needs root"
spec=/usr/share/gocode/src/github.com/appc/spec/ace
if [ -n "${ACE_VALIDATOR:-}" ]; then
    [ -f "$ACE_VALIDATOR" ] || skip "there is no $ACE_VALIDATOR"
elif [ "$system" != linux ]; then
    skip "ACE_VALIDATOR names no validator for $system; contrib/freebsd/build.sh builds one"
elif ! command -v go >/dev/null || [ ! -d "$spec" ]; then
    command -v apt-get >/dev/null || skip "needs Go and Debian's golang-github-appc-spec-dev"
    { apt-get update && apt-get install --yes --no-install-recommends golang-go golang-github-appc-spec-dev; } >/dev/null 2>&1 ||
        skip "failed to install golang-go and golang-github-appc-spec-dev"
fi

find_binaries "${1:-}"

work=$(mktemp -d)
cleanup() {
    "$bin/jetpack" --root "$work/root" gc >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap cleanup EXIT

if [ -n "${ACE_VALIDATOR:-}" ]; then
    cp "$ACE_VALIDATOR" "$work/ace-validator"
    chmod 755 "$work/ace-validator"
else
    GOPATH=/usr/share/gocode GO111MODULE=off CGO_ENABLED=0 GOCACHE="$work/cache" \
        go build -o "$work/ace-validator" github.com/appc/spec/ace || skip "the validator does not build with this Go"
fi

# One layout an app: the validator and its working directory, nothing else.
for app in main sidekick; do
    layout=$work/layout-$app
    mkdir -p "$layout/rootfs/opt/acvalidator"
    cp "$work/ace-validator" "$layout/rootfs/ace-validator"
    handlers=""
    if [ $app = main ]; then
        handlers='"eventHandlers": [
      { "name": "pre-start", "exec": ["/ace-validator", "prestart"] },
      { "name": "post-stop", "exec": ["/ace-validator", "poststop"] }
    ],'
    fi
    cat >"$layout/manifest" <<MANIFEST
{
  "acKind": "ImageManifest",
  "acVersion": "0.8.11",
  "name": "coreos.com/ace-validator-$app",
  "labels": [{ "name": "version", "value": "0.8.11" }, { "name": "os", "value": "$system" }, { "name": "arch", "value": "amd64" }],
  "app": {
    "exec": ["/ace-validator", "$app"],
    $handlers
    "user": "0",
    "group": "0",
    "workingDirectory": "/opt/acvalidator",
    "environment": [{ "name": "IN_ACE_VALIDATOR", "value": "correct" }],
    "mountPoints": [{ "name": "database", "path": "/db", "readOnly": false }]
  },
  "annotations": [
    { "name": "created", "value": "2016-08-01T00:00:00Z" },
    { "name": "homepage", "value": "https://github.com/appc/spec" }
  ]
}
MANIFEST
    "$bin/actool" build "$layout" "$work/$app.aci"
    "$bin/jetpack" --root "$work/root" fetch "$work/$app.aci" >"$work/$app.id"
done

cat >"$work/pod.json" <<POD
{
  "acKind": "PodManifest",
  "acVersion": "0.8.11",
  "apps": [
    {
      "name": "ace-validator-main",
      "image": { "name": "coreos.com/ace-validator-main", "id": "$(cat "$work/main.id")" },
      "mounts": [{ "volume": "database", "path": "/db" }],
      "annotations": [{ "name": "homepage", "value": "https://github.com/appc/spec/tree/master/ace" }, { "name": "added", "value": "by the pod" }]
    },
    {
      "name": "ace-validator-sidekick",
      "image": { "name": "coreos.com/ace-validator-sidekick", "id": "$(cat "$work/sidekick.id")" },
      "mounts": [{ "volume": "database", "path": "/db" }]
    }
  ],
  "volumes": [{ "name": "database", "kind": "empty" }],
  "annotations": [{ "name": "purpose", "value": "validation" }]
}
POD

status=0
"$bin/jetpack" --root "$work/root" run --pod-manifest "$work/pod.json" >"$work/out" 2>&1 || status=$?
cat "$work/out"
for phase in prestart main sidekick poststop; do
    grep -q "$phase OK" "$work/out" || { echo "ace-validator: $phase did not pass"; status=1; }
done
[ $status = 0 ] || { echo "ace-validator: failed (exit status $status)"; exit 1; }
echo "ace-validator: all four phases OK"
