#!/usr/bin/env bash
# A whole Debian root file system as an image: made by debootstrap, packed by the Go actool and by ours, in every compression, run by our
# executor. Its shell names the system and its exit status comes through. Ends with `skipped: <reason>` where it cannot run.
#
#   conformance/peers/debian-root.sh [DIRECTORY OF actool AND jetpack]
set -euo pipefail
cd "$(dirname "$0")/../.."

source conformance/peers/common.inc

[ "$(uname -s)" = Linux ] || skip "the pod is run by the Linux executor"
[ "$(id -u)" = 0 ] || skip "needs root"
find_binaries "${1:-}"

work=$(mktemp -d)
cleanup() {
    "$bin/jetpack" --root "$work/root" gc >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap cleanup EXIT

layout=$work/layout
mkdir "$layout"
debian_root "$layout/rootfs"
rm -rf "$layout/rootfs/var/cache/apt/archives"
cat >"$layout/manifest" <<'MANIFEST'
{
  "acKind": "ImageManifest",
  "acVersion": "0.8.11",
  "name": "conformance.test/debian",
  "labels": [{ "name": "os", "value": "linux" }, { "name": "arch", "value": "amd64" }],
  "app": { "exec": ["/bin/sh"], "user": "0", "group": "0" }
}
MANIFEST

"$bin/actool" build --no-compression "$layout" "$work/ours-plain.aci"
"$bin/actool" build "$layout" "$work/ours-gzip.aci"
if command -v actool >/dev/null; then
    timeout 120 actool build "$layout" "$work/go-gzip.aci" || echo "the Go actool failed to build"
else
    echo "skipped: packing with the Go actool: not installed"
fi
bzip2 -1 --keep --stdout "$work/ours-plain.aci" >"$work/ours-bzip2.aci" 2>/dev/null || rm -f "$work/ours-bzip2.aci"
xz -0 --keep --stdout "$work/ours-plain.aci" >"$work/ours-xz.aci" 2>/dev/null || rm -f "$work/ours-xz.aci"

failed=0
first=""
for image in "$work"/*.aci; do
    name=$(basename "$image" .aci)
    root=$work/root
    id=$("$bin/jetpack" --root "$root" fetch "$image")
    status=0
    out=$("$bin/jetpack" --root "$root" run "$id" -- -c '. /etc/os-release; echo $NAME; exit 7' 2>"$work/err") || status=$?
    if [ "$out" = "Debian GNU/Linux" ] && [ $status = 7 ]; then
        echo "$name: $out, exit status $status, ${id:0:20}..."
    else
        echo "$name: FAILED: printed \"$out\", exit status $status"
        cat "$work/err"
        failed=1
    fi
    case $name in
    ours-*)
        first=${first:-$id}
        [ "$id" = "$first" ] || { echo "$name: FAILED: compression changed the image ID"; failed=1; }
        ;;
    esac
done
[ $failed = 0 ] || exit 1
echo "debian-root: all passed"
