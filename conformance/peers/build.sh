#!/usr/bin/env bash
# Images built on a Debian root by its own package manager: a package is purged, put back by the Makefiles of share/examples/nginx (GNU make
# and bmake), and served. What is published runs where there is nothing else, and is the tree that was built. Ends with
# `skipped: <reason>` where it cannot run.
#
#   conformance/peers/build.sh [DIRECTORY OF actool AND jetpack]
set -euo pipefail
cd "$(dirname "$0")/../.."

source conformance/peers/common.inc

[ "$(uname -s)" = Linux ] || skip "the pods are run by the Linux executor"
[ "$(id -u)" = 0 ] || skip "needs root"
need make make
need bmake bmake
find_binaries "${1:-}"

work=$(mktemp -d)
jetpack() { "$bin/jetpack" --root "$work/root" --insecure=signature "$@"; }
cleanup() {
    jetpack stop --force nginx >/dev/null 2>&1 || true
    jetpack gc --grace 0s >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap cleanup EXIT
took() { echo "$1 (${SECONDS}s)"; }

mkdir "$work/layout"
debian_root "$work/layout/rootfs"
cat >"$work/layout/manifest" <<'MANIFEST'
{ "acKind": "ImageManifest", "acVersion": "0.8.11", "name": "example.com/full",
  "labels": [{ "name": "os", "value": "linux" }, { "name": "arch", "value": "amd64" }] }
MANIFEST
cp --recursive share "$work/share"
mkdir -p "$work/share/examples/nginx/debs"
cp "$work"/layout/rootfs/var/cache/apt/archives/*nginx*.deb "$work/share/examples/nginx/debs/"
"$bin/actool" build --no-compression "$work/layout" "$work/full.aci" >/dev/null
rm -rf "$work/layout"
took "a Debian root is packed"

# A package goes: hundreds of files, and directories with them.
jetpack build --name example.com/debian "$work/full.aci" -- \
    sh -c 'dpkg --purge nginx-light nginx nginx-common libnginx-mod-http-echo && test ! -e /usr/sbin/nginx' >"$work/debian" 2>"$work/err" ||
    { cat "$work/err"; fail "the package cannot be purged"; }
jetpack image cat-manifest example.com/debian | jq --exit-status '.pathWhitelist | length > 1000' >/dev/null || fail "no list of what is left"
took "a package is purged: $(jetpack image cat-manifest example.com/debian | jq '.pathWhitelist | length') paths are left"

# By both makes; dpkg makes hard links to files of the parent's, and renames them.
example=$work/share/examples/nginx
one=$(make --no-print-directory -C "$example" JETPACK="$bin/jetpack --root $work/root" 2>"$work/err") || { cat "$work/err"; fail "GNU make"; }
grep -q "Setting up nginx-light" "$work/err" || fail "the package was not installed"
other=$(bmake -C "$example" JETPACK="$bin/jetpack --root $work/root" BUILD_ARGS="--no-cache --keep" 2>"$work/err") ||
    { cat "$work/err"; fail "bmake"; }
[[ $(tail -n 1 <<<"$one") = sha512-* && $(tail -n 1 <<<"$other") = sha512-* ]] || fail "no image IDs: $one, $other"
pod=$(sed -n 's/^jetpack: the pod is kept: //p' "$work/err")
took "make and bmake install it again"

# Published: three archives, fetched where there is nothing else.
for image in example.com/full example.com/debian example.com/nginx; do
    jetpack image export "$image" "$work/published.aci"
    "$bin/jetpack" --root "$work/elsewhere" --insecure=signature fetch "$work/published.aci" >/dev/null 2>"$work/err" ||
        { cat "$work/err"; fail "$image cannot be fetched"; }
    rm "$work/published.aci"
done
"$bin/jetpack" --root "$work/elsewhere" image render example.com/nginx "$work/rendered"
jetpack export "$pod" "$work/left.aci"
"$bin/actool" extract "$work/left.aci" "$work/left"
rm "$work/left.aci"
# What the executor shows besides, and times; all else is compared: kinds, modes, owners, links, devices, contents.
tree() { # DIRECTORY
    local not=(\( -path ./.build -o -path ./.share -o -path ./etc/hosts -o -path ./etc/resolv.conf \) -prune -o)
    (cd "$1/rootfs" && {
        find . -mindepth 1 "${not[@]}" -printf '%p %y %m %U:%G %l\n'
        find . -mindepth 1 "${not[@]}" -type f -printf '%p %n\n'
        find . -mindepth 1 "${not[@]}" -type f -exec sha256sum {} +
    } | sort)
}
diff <(tree "$work/rendered") <(tree "$work/left") >"$work/differences" || { head -n 20 "$work/differences"; fail "the trees differ"; }
took "fetched elsewhere it is the tree that was built: $(find "$work/left/rootfs" -mindepth 1 | wc -l) paths"

jetpack run --detach --name nginx example.com/nginx >/dev/null 2>"$work/err" || { cat "$work/err"; fail "nginx does not start"; }
for _ in $(seq 100); do
    page=$(jetpack exec nginx -- bash -c 'exec 3<>/dev/tcp/127.0.0.1/80; printf "GET / HTTP/1.0\r\n\r\n" >&3; cat <&3' 2>"$work/err" || true)
    case $page in *"Built by jetpack"*) break ;; esac
    sleep 0.1
done
case $page in *"Built by jetpack"*) took "nginx serves its page" ;; *) cat "$work/err"; fail "nginx says: $page" ;; esac
echo "build: all passed"
