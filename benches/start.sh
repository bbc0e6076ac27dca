#!/usr/bin/env bash
# How long a pod of a static `true` takes, beside runc and crun with the same rootfs; what many pods cost, prepared and running.
# Needs root, hyperfine, a release build.
# usage: benches/start.sh [RUNS [PODS]]
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${1:-50}
pods=${2:-1000}
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
printf '#include <unistd.h>\nint main(void) { for (;;) pause(); }\n' >"$work/pause.c"
for name in true pause; do cc -static -O2 -o "$work/image/rootfs/bin/$name" "$work/$name.c"; done
cat >"$work/image/manifest" <<'JSON'
{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/true","labels":[{"name":"os","value":"linux"}],
 "app":{"exec":["/bin/true"],"user":"0","group":"0"}}
JSON
"$actool" build "$work/image" "$work/true.aci"
root=$work/root
image=$("$jetpack" --root "$root" fetch "$work/true.aci")

cp -a "$work/image/rootfs" "$work/bundle/rootfs"
runtimes=()
for runtime in runc crun; do
    command -v "$runtime" >/dev/null || continue
    (cd "$work/bundle" && rm -f config.json && "$runtime" spec)
    sed -i 's/"terminal": true/"terminal": false/; s|"sh"|"/bin/true"|' "$work/bundle/config.json"
    if "$runtime" run --bundle "$work/bundle" probe >/dev/null 2>&1; then
        runtimes+=("$runtime")
    else
        echo "skipped: $runtime does not run here"
    fi
done
# Taken in turns, so that whatever else the machine does meets all of them alike. A prepared pod runs once: each run gets
# its own, made before the clock starts.
timed() { # NAME COMMAND...
    local name=$1 start=${EPOCHREALTIME/[.,]/}
    shift
    "$@" >/dev/null 2>&1
    echo $((${EPOCHREALTIME/[.,]/} - start)) >>"$work/took.$name"
}
for _ in $(seq "$runs"); do
    for runtime in "${runtimes[@]}"; do timed "$runtime run" "$runtime" run --bundle "$work/bundle" bench; done
    timed "jetpack run --rm" "$jetpack" --root "$root" run --rm "$image"
    "$jetpack" --root "$root" prepare --pod-name bench "$image" >/dev/null
    timed "jetpack run-prepared --rm" "$jetpack" --root "$root" run-prepared --rm bench
done
for took in "$work"/took.*; do
    sort -n "$took" | awk -v name="${took##*/took.}" '{ us[NR] = $1 }
        END { printf "%s: median %.2f ms, best %.2f ms of %d\n", name, us[int((NR + 1) / 2)] / 1000, us[1] / 1000, NR }'
done

# Many pods: list of 1,000, removal of one among 10 and among 1,000.
many() {
    local root=$work/many-$1
    "$jetpack" --root "$root" fetch "$work/true.aci" >/dev/null
    for _ in $(seq "$1"); do "$jetpack" --root "$root" prepare "$image" >/dev/null; done
    hyperfine -N --warmup 2 --runs 10 -n "list of $1" "$jetpack --root $root list"
    hyperfine -N --warmup 2 --runs 40 --prepare "$jetpack --root $root prepare --pod-name bench $image" -n "rm among $1" \
        "$jetpack --root $root rm bench"
    for pod in $("$jetpack" --root "$root" list --no-legend | cut -d' ' -f1); do "$jetpack" --root "$root" rm "$pod" >/dev/null; done
}
many 10
many "$pods"

# Many running pods: how fast they start, what one takes of memory (the supervisor and the pod's first process), and what
# all of them take of a processor while they do nothing.
running() {
    local root=$work/running start stop
    "$jetpack" --root "$root" fetch "$work/true.aci" >/dev/null
    start=$(date +%s%N)
    for _ in $(seq "$1"); do "$jetpack" --root "$root" run -d --stdout null --stderr null --exec /bin/pause "$image" >/dev/null; done
    stop=$(date +%s%N)
    sleep 2
    local processes
    processes=$(pgrep -f "^($jetpack --root $root|jetpack-init)")
    awk -v pods="$1" -v ns=$((stop - start)) 'BEGIN { printf "%d pods: %.0f a second\n", pods, pods * 1e9 / ns }'
    for pid in $processes; do cat "/proc/$pid/smaps_rollup" 2>/dev/null; done |
        awk -v pods="$1" '/^Pss:/ { pss += $2 } /^Private_Dirty:/ { own += $2 } /^Rss:/ { rss += $2 }
            END { printf "a pod: %.2f MB proportional, %.2f MB its own, %.2f MB resident in two processes\n",
                pss / pods / 1024, own / pods / 1024, rss / pods / 1024 }'
    ticks() { for pid in $processes; do cat "/proc/$pid/stat" 2>/dev/null; done | awk '{ ticks += $14 + $15 } END { print ticks }'; }
    local before
    before=$(ticks)
    sleep 10
    echo "at rest: $(($(ticks) - before)) ticks of $(getconf CLK_TCK) a second, in 10 s"
    hyperfine -N --warmup 2 --runs 10 -n "list of $1 running" "$jetpack --root $root list"
    start=$(date +%s%N)
    for pod in $("$jetpack" --root "$root" list --no-legend | cut -d' ' -f1); do
        "$jetpack" --root "$root" stop --force "$pod" >/dev/null
        "$jetpack" --root "$root" rm "$pod" >/dev/null
    done
    stop=$(date +%s%N)
    awk -v pods="$1" -v ns=$((stop - start)) 'BEGIN { printf "stopped and removed: %.0f a second\n", pods * 1e9 / ns }'
}
running "$pods"
