#!/usr/bin/env bash
# How long a pod of a static `true` takes, beside runc and crun with the same rootfs. Needs root, hyperfine, a release build.
# usage: benches/start.sh [RUNS]
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${1:-50}
jetpack=$PWD/target/release/jetpack
actool=$PWD/target/release/actool
[ "$(id -u)" = 0 ] || { echo "skipped: needs root"; exit 0; }
for program in hyperfine cc; do
    command -v "$program" >/dev/null || { echo "skipped: $program is not here"; exit 0; }
done
[ -x "$jetpack" ] || cargo build --release --bins

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/image/rootfs/bin" "$work/bundle"
echo 'int main(void) { return 0; }' >"$work/true.c"
cc -static -O2 -o "$work/image/rootfs/bin/true" "$work/true.c"
cat >"$work/image/manifest" <<'JSON'
{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/true","labels":[{"name":"os","value":"linux"}],
 "app":{"exec":["/bin/true"],"user":"0","group":"0"}}
JSON
"$actool" build "$work/image" "$work/true.aci"
root=$work/root
image=$("$jetpack" --root "$root" fetch "$work/true.aci")

commands=(-n "jetpack run --rm" "$jetpack --root $root run --rm $image")
# A prepared pod runs once: each run gets its own, made before the clock starts.
hyperfine_prepared=(--prepare "$jetpack --root $root prepare $image >$work/uuid" -n "jetpack run-prepared"
    "$jetpack --root $root run-prepared --rm \$(cat $work/uuid)")
cp -a "$work/image/rootfs" "$work/bundle/rootfs"
for runtime in runc crun; do
    command -v "$runtime" >/dev/null || continue
    (cd "$work/bundle" && rm -f config.json && "$runtime" spec)
    sed -i 's/"terminal": true/"terminal": false/; s|"sh"|"/bin/true"|' "$work/bundle/config.json"
    if "$runtime" run --bundle "$work/bundle" probe >/dev/null 2>&1; then
        commands+=(-n "$runtime run" "$runtime run --bundle $work/bundle bench")
    else
        echo "skipped: $runtime does not run here"
    fi
done
hyperfine -N --warmup 5 --runs "$runs" "${commands[@]}"
hyperfine --warmup 5 --runs "$runs" "${hyperfine_prepared[@]}"

# Many pods: list of 1,000, removal of one among 10 and among 1,000.
many() {
    local root=$work/many-$1
    "$jetpack" --root "$root" fetch "$work/true.aci" >/dev/null
    for _ in $(seq "$1"); do "$jetpack" --root "$root" prepare "$image" >/dev/null; done
    hyperfine -N --warmup 2 --runs 10 -n "list of $1" "$jetpack --root $root list"
    hyperfine --runs 10 --prepare "$jetpack --root $root prepare $image >$work/uuid" -n "rm among $1" \
        "$jetpack --root $root rm \$(cat $work/uuid)"
}
many 10
many 1000
