#!/usr/bin/env bash
# jetpack-oci beside runc and crun. OCI_RUNTIME_TOOLS names a checkout of github.com/opencontainers/runtime-tools: its validation programs
# are built and run against each of the three. Nothing that either of the others passes fails with us.
# oci-runtime.sh [--table FILE] [DIRECTORY WITH THE BINARIES]
set -euo pipefail
here=$PWD
cd "$(dirname "$0")/../.."
source conformance/peers/common.inc
[ "$(id -u)" = 0 ] || skip "needs root"
table=()
if [ "${1:-}" = --table ]; then
    table=(--table "$(cd "$here" && realpath "$2")")
    shift 2
fi
[ -n "${OCI_RUNTIME_TOOLS:-}" ] ||
    skip "OCI_RUNTIME_TOOLS names no checkout of opencontainers/runtime-tools, which Debian has without the programs"
need runc runc
need crun crun
need python3 python3
need /bin/busybox busybox-static
find_binaries "$@"

work=$(mktemp -d)
# Users of a namespace have to find their root.
chmod 711 "$work"
clean() {
    ended=$?
    [ "$ended" = 0 ] || tail -n 3 "$work"/*.log 2>/dev/null || true
    rm -rf --one-file-system "$work"
}
trap clean EXIT
need go golang-go
tools=$(cd "$here" && realpath "$OCI_RUNTIME_TOOLS")
mkdir "$work/programs"
(cd "$tools" && CGO_ENABLED=0 go build -mod=vendor -trimpath -o "$work/programs/" ./cmd/runtimetest ./validation/...) >"$work/build.log" 2>&1 ||
    skip "$(go version) does not build $OCI_RUNTIME_TOOLS: $(tail -n 1 "$work/build.log")"
# Whatever a runtime mounts, and does not take away, is gone with this namespace.
unshare --mount --propagation private python3 conformance/peers/oci_runtime.py --jetpack "$bin/jetpack" --work "$work" --programs "$work/programs" --sources "$tools/validation" "${table[@]}"
