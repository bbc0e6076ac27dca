#!/usr/bin/env bash
# How long a pod and a container of a static `true` take from start to end, beside crun, runc and podman with the same root file
# system, taken in turns; then what many pods cost, prepared and running. Needs root; stands alone, so that it can be taken to
# another system. Where this host has control groups of both versions, which crun does not take, all of it runs where version 2 alone
# is mounted.
# usage: benches/start.sh [RUNS [PODS]]          PODS of 0: without many pods
#   JETPACK, ACTOOL       the programs [target/release/jetpack, actool]
#   CRUN, RUNC, PODMAN    peers [those of the path]
#   TRUE, PAUSE           static programs that end at once, and never [made by cc]
#   USER_ID               somebody without root who starts pods, too [65534]
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
runs=${1:-50}
pods=${2:-1000}
jetpack=${JETPACK:-$here/target/release/jetpack}
actool=${ACTOOL:-$here/target/release/actool}
user=${USER_ID:-65534}
skipped() { echo "skipped: $*"; }
[ "$(id -u)" = 0 ] || { skipped "needs root"; exit 0; }
if [ ! -x "$jetpack" ] || [ ! -x "$actool" ]; then
    [ -z "${JETPACK:-}${ACTOOL:-}" ] || { skipped "$jetpack and $actool are not both there"; exit 0; }
    (cd "$here" && cargo build --release -p appc --bins)
fi
tree() { stat -f -c %T /sys/fs/cgroup 2>/dev/null; }
if [ "$(tree)" != cgroup2fs ] && [ -z "${BENCH_APART:-}" ] && unshare -m true 2>/dev/null; then
    echo "control groups of version 2 are mounted for this alone"
    BENCH_APART=1 exec unshare -m sh -c 'umount -l /sys/fs/cgroup 2>/dev/null; mount -t cgroup2 cgroup2 /sys/fs/cgroup; exec "$@"' sh "$0" "$@"
fi

work=$(mktemp -d)
trap 'umount -l "$work/podman/overlay" 2>/dev/null; rm -rf "$work"' EXIT
chmod 755 "$work"
mkdir -p "$work/image/rootfs/bin" "$work/at" "$work/bin"

# The two programs.
for name in true pause; do
    given=$(printenv "${name^^}" || true)
    if [ -n "$given" ]; then
        install -m 755 "$given" "$work/image/rootfs/bin/$name"
    elif command -v cc >/dev/null; then
        body='return 0;'
        [ "$name" = true ] || body='for (;;) pause();'
        printf '#include <unistd.h>\nint main(void) { %s }\n' "$body" >"$work/$name.c"
        cc -static -O2 -o "$work/image/rootfs/bin/$name" "$work/$name.c"
    else
        skipped "there is no cc, and ${name^^} is not given"
        exit 0
    fi
done
cat >"$work/image/manifest" <<'JSON'
{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/true","labels":[{"name":"os","value":"linux"}],
 "app":{"exec":["/bin/true"],"user":"0","group":"0"}}
JSON
"$actool" build "$work/image" "$work/true.aci" >/dev/null
chmod 644 "$work/true.aci"
root=$work/root
image=$("$jetpack" --root "$root" fetch "$work/true.aci")
ln -s "$(realpath "$jetpack")" "$work/bin/jetpack-oci"
mkdir "$work/image/rootfs/"{proc,sys,dev}

# A bundle that NAME's own `spec` makes, so that each runs what it recommends; it runs ARGUMENT.
bundle() { # DIRECTORY PROGRAM ARGUMENT [OPTION...]
    local directory=$1 program=$2 argument=$3
    shift 3
    mkdir -p "$directory"
    cp -a "$work/image/rootfs" "$directory/"
    (cd "$directory" && rm -f config.json && "$program" spec "$@")
    sed -i "s/\"terminal\": true/\"terminal\": false/; s|\"sh\"|\"$argument\"|" "$directory/config.json"
}
whole() { # RUNTIME BUNDLE [OPTION...]: a container's life, command by command
    local runtime=$1 bundle=$2
    shift 2
    "$runtime" "$@" create --bundle "$bundle" bench-life
    "$runtime" "$@" start bench-life
    "$runtime" "$@" kill bench-life KILL
    "$runtime" "$@" delete --force bench-life
}
as_user() { setpriv --reuid "$user" --regid "$user" --clear-groups env HOME="$work/home" XDG_RUNTIME_DIR="$work/home" "$@"; }

names=()
declare -A commands before
add() { # NAME COMMAND...: as one of those that are taken in turns, if it works
    local name=$1 why
    shift
    if ! why=$({ eval "${before[$name]:-:}" && eval "$*"; } 2>&1 >/dev/null </dev/null); then
        skipped "$name: $(tail -n 1 <<<"$why")"
        return
    fi
    names+=("$name")
    commands[$name]=$*
}

add "jetpack run --rm" "'$jetpack' --root '$root' run --rm '$image'"
# A prepared pod runs once: each run gets its own, made before the clock starts.
before["jetpack run-prepared --rm"]="'$jetpack' --root '$root' prepare --pod-name bench '$image' >/dev/null"
add "jetpack run-prepared --rm" "'$jetpack' --root '$root' run-prepared --rm bench"
add "jetpack run --rm --memory" "'$jetpack' --root '$root' run --rm --memory 64M '$image'"
runtimes=(jetpack-oci)
declare -A program=([jetpack-oci]=$work/bin/jetpack-oci)
for peer in crun runc; do
    variable=${peer^^}
    found=$(command -v "${!variable:-$peer}" || true)
    if [ -n "$found" ]; then
        runtimes+=("$peer")
        program[$peer]=$found
    else
        skipped "$peer is not here"
    fi
done
bounded=true
for runtime in "${runtimes[@]}"; do
    at=${program[$runtime]}
    bundle "$work/$runtime" "$at" /bin/true
    bundle "$work/$runtime-pause" "$at" /bin/pause
    if ! "$at" run --bundle "$work/$runtime" bench-probe >/dev/null 2>"$work/why"; then
        bounded=false
        echo "without bounds of devices, as $runtime cannot set them: $(tail -n 1 "$work/why")"
        "$at" delete --force bench-probe >/dev/null 2>&1 || true
    fi
done
for runtime in "${runtimes[@]}"; do
    at=${program[$runtime]}
    if ! $bounded; then
        # Devices are bounded by a program of the kernel's in version 2, which not every machine lets root have: all do without.
        for config in "$work/$runtime/config.json" "$work/$runtime-pause/config.json"; do
            awk '/"resources": \{/ { skip = 1 } skip { opens += gsub(/[{[]/, "&"); opens -= gsub(/[}\]]/, "&"); if (!opens) skip = 0; next } { print }' \
                "$config" >"$work/config" && mv "$work/config" "$config"
        done
    fi
    add "$runtime run" "'$at' run --bundle '$work/$runtime' bench-run"
    add "$runtime create, start, kill, delete" "whole '$at' '$work/$runtime-pause'"
    if [ -d /run/systemd/system ]; then
        add "$runtime --systemd-cgroup run" "'$at' --systemd-cgroup run --bundle '$work/$runtime' bench-systemd"
    fi
done
podman=$(command -v "${PODMAN:-podman}" || true)
if [ -n "$podman" ]; then
    store="--root $work/podman --runroot $work/podman-run --cgroup-manager cgroupfs --events-backend none"
    add "podman run --rm" "'$podman' $store run --rm --log-driver none --network none --ulimit host --rootfs '$work/runc/rootfs' /bin/true"
else
    skipped "podman is not here"
fi
# Without root.
mkdir -p "$work/home"
chown "$user:$user" "$work/home"
if mine=$(as_user "$jetpack" --root "$work/home/root" fetch "$work/true.aci" 2>"$work/why"); then
    add "jetpack run --rm, user" "as_user '$jetpack' --root '$work/home/root' run --rm '$mine'"
else
    skipped "a user's jetpack: $(tail -n 1 "$work/why")"
fi
for runtime in "${runtimes[@]}"; do
    [ "$runtime" != jetpack-oci ] || continue
    at=${program[$runtime]}
    bundle "$work/$runtime-user" "$at" /bin/true --rootless
    sed -i "s/\"hostID\": 0/\"hostID\": $user/" "$work/$runtime-user/config.json"
    chown -R "$user:$user" "$work/$runtime-user"
    add "$runtime run, user" "as_user '$at' --root '$work/home/$runtime' run --bundle '$work/$runtime-user' bench-user"
done

# Taken in turns, so that whatever else the machine does meets all of them alike. What processes take of processors is counted of all
# that were waited for.
taken() { # of the children of this shell, in milliseconds
    local line user system all=0 time
    times >"$work/times"
    { read -r line; read -r user system; } <"$work/times"
    for time in "$user" "$system"; do
        [[ $time =~ ^([0-9]+)m([0-9]+)[.,]([0-9]{3})s$ ]]
        all=$((all + BASH_REMATCH[1] * 60000 + BASH_REMATCH[2] * 1000 + 10#${BASH_REMATCH[3]}))
    done
    taken=$all
}
for ((run = 0; run < runs; run++)); do
    for name in "${names[@]}"; do
        eval "${before[$name]:-:}"
        taken
        earlier=$taken
        start=${EPOCHREALTIME/[.,]/}
        eval "${commands[$name]}" >/dev/null 2>&1 </dev/null
        stop=${EPOCHREALTIME/[.,]/}
        taken
        echo "$((stop - start)) $((taken - earlier))" >>"$work/at/$name"
    done
done
summary() { # NAME: best, median and mean processor time, in microseconds
    sort -n "$work/at/$1" | awk '{ us[NR] = $1; ms += $2 } END { printf "%d %d %d\n", us[1], us[int((NR + 1) / 2)], ms * 1000 / NR }'
}
for name in "${names[@]}"; do
    summary "$name" | awk -v name="$name" '{ printf "%-42s best %7.2f ms, median %7.2f ms, processor %7.2f ms\n", name, $1 / 1000, $2 / 1000, $3 / 1000 }'
done
against() { # NAME PEER: what of the peer's NAME takes: by the best, the median and the processor time
    [ -f "$work/at/$1" ] && [ -f "$work/at/$2" ] || return 0
    printf '%s %s\n' "$(summary "$1")" "$(summary "$2")" | awk -v name="$1" -v peer="$2" \
        'function part(a, b) { return b ? sprintf("%.2f", a / b) : "-" } { printf "| %s | `%s` | %s | %s | %s |\n", name, peer, part($1, $4), part($2, $5), part($3, $6) }'
}
printf '\n| what | beside | best | median | processor |\n| --- | --- | --- | --- | --- |\n'
for peer in crun runc; do
    for name in "jetpack run --rm" "jetpack run-prepared --rm" "jetpack run --rm --memory" "jetpack-oci run"; do
        against "$name" "$peer run"
    done
    against "jetpack run --rm --memory" "$peer --systemd-cgroup run"
    against "jetpack-oci --systemd-cgroup run" "$peer --systemd-cgroup run"
    against "jetpack-oci create, start, kill, delete" "$peer create, start, kill, delete"
    against "jetpack run --rm, user" "$peer run, user"
done
against "jetpack run --rm" "podman run --rm"
[ "$pods" -gt 0 ] || exit 0
command -v hyperfine >/dev/null || { skipped "many pods: hyperfine is not here"; exit 0; }

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
