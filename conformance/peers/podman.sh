#!/usr/bin/env bash
# podman's quick tour over jetpack-oci, and word for word over another runtime that runs here: what both say is compared.
# podman.sh [DIRECTORY WITH THE BINARIES]; OTHER=RUNTIME names the other one.
set -euo pipefail
cd "$(dirname "$0")/../.."
source conformance/peers/common.inc
[ "$(id -u)" = 0 ] || skip "needs root"
need podman podman
need conmon conmon
need runc runc
need /bin/busybox busybox-static
find_binaries "$@"

work=$(mktemp -d)
chmod 711 "$work"
runtimes=()
over() { # RUNTIME: podman's commands go by it from now on
    runtime=$1
    # As words, for what a shell of its own calls.
    real=(podman --storage-driver vfs --root "$work/storage" --runroot "$work/run" --tmpdir "$work/tmp" --cgroup-manager cgroupfs
        --events-backend file --runtime "$runtime")
}
podman() { command "${real[@]}" "$@"; }
clean() {
    for runtime in "${runtimes[@]}"; do
        over "$runtime"
        podman rm --all --force --time 0 >/dev/null 2>&1 || true
        podman pod rm --all --force >/dev/null 2>&1 || true
    done
    umount "$work/storage/vfs" 2>/dev/null || true
    # podman's own, above those of its containers and of what watches them.
    for tree in /sys/fs/cgroup /sys/fs/cgroup/*; do
        if [ -d "$tree/libpod_parent" ]; then find "$tree/libpod_parent" -depth -type d -exec rmdir {} + 2>/dev/null || true; fi
    done
    rm -rf "$work"
}
trap clean EXIT
mkdir -p "$work/bin" "$work/image/bin" "$work/image/tmp" "$work/image/etc"
ln -s "$bin/jetpack" "$work/bin/jetpack-oci"
cp /bin/busybox "$work/image/bin/busybox"
# What a pod's first container runs, and no more.
printf '#!/bin/sh\nexec sleep 1000\n' >"$work/image/bin/pause"
chmod +x "$work/image/bin/pause"
for name in sh cat echo id sleep true false ls env hostname touch kill pwd grep wc head test; do ln -s busybox "$work/image/bin/$name"; done
# podman's shared memory and its defaults are this host's business and the same for both.
export CONTAINERS_CONF="$work/containers.conf"
cat >"$CONTAINERS_CONF" <<END
[containers]
log_driver = "k8s-file"
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime_supports_nocgroups = ["jetpack-oci", "runc", "crun"]
runtime_supports_json = ["jetpack-oci", "runc", "crun"]
END

runtimes=("$work/bin/jetpack-oci")
over "${runtimes[0]}"
tar -C "$work/image" -c . | podman import --change 'CMD ["/bin/sh"]' - tour >"$work/log" 2>&1 || skip "podman imports nothing here: $(tail -n 1 "$work/log")"
# With groups where the runtime has them as podman does, else without.
works() { podman run --rm "$@" tour true >"$work/log" 2>&1; }
flags=()
pick() {
    local way
    for way in "--network none" "--network none --cgroups disabled" "--network none --cgroups disabled --security-opt seccomp=unconfined"; do
        read -ra flags <<<"$way"
        works "${flags[@]}" && return 0
    done
    return 1
}
pick || {
    said=$(tail -n 1 "$work/log")
    over runc
    if works --network none || works --network none --cgroups disabled; then fail "podman runs over runc, and not over jetpack-oci: $said"; fi
    skip "podman runs nothing here: $said"
}

# One line a step: what it said, its exit status, with names and numbers that differ from run to run taken out.
step() { # WHAT COMMAND...
    local what=$1 status=0 said
    shift
    said=$("$@" 2>&1 | tr -d '\0') || status=$?
    # Ids are different each time, and what is wrong each runtime says in its own words.
    said=$(sed -E 's/\b([0-9a-f]{64}|[0-9a-f]{12})\b/ID/g; s/^Error: .*: (OCI .*)$/Error: \1/' <<<"$said")
    printf '%s: [%s] %s\n' "$what" "$status" "$said"
}
until_it() { # COMMAND...: within ten seconds
    for _ in $(seq 100); do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.1
    done
    echo "never: $*"
    return 1
}
state() { podman inspect --format '{{.State.Status}} {{.State.ExitCode}}' "$1"; }
ended() { [ "$(podman inspect --format '{{.State.Status}}' "$1")" = exited ]; }
logged() { podman logs "$1" | grep -q "$2"; }

tour() {
    step "run" podman run --rm "${flags[@]}" tour echo hello
    step "exit status" podman run --rm "${flags[@]}" tour sh -c 'exit 7'
    step "signal" podman run --rm "${flags[@]}" tour sh -c 'kill -9 $$'
    step "no program" podman run --rm "${flags[@]}" tour /none
    step "not a program" podman run --rm "${flags[@]}" tour /etc
    step "who and where" podman run --rm "${flags[@]}" --user 7:8 --workdir /tmp --hostname box --env A=b tour sh -c 'id -u; id -g; pwd; hostname; echo $A'
    step "read-only" podman run --rm "${flags[@]}" --read-only tour touch /x
    step "capabilities" podman run --rm "${flags[@]}" --cap-drop all --cap-add chown tour grep Cap /proc/self/status
    step "no new privileges" podman run --rm "${flags[@]}" --security-opt no-new-privileges tour grep NoNewPrivs /proc/self/status
    step "limits" podman run --rm "${flags[@]}" --ulimit nofile=77:99 --ulimit nproc=1024:1024 tour grep 'open files' /proc/self/limits
    step "tmpfs" podman run --rm "${flags[@]}" --tmpfs /scratch:size=64k tour grep /scratch /proc/mounts
    mkdir -p "$work/data"
    echo inside >"$work/data/file"
    step "volume" podman run --rm "${flags[@]}" --volume "$work/data:/data:ro" tour sh -c 'cat /data/file; touch /data/x'
    step "named volume" podman run --rm "${flags[@]}" --volume named:/v tour sh -c 'echo kept >/v/f'
    step "named volume again" podman run --rm "${flags[@]}" --volume named:/v tour cat /v/f
    step "volume rm" podman volume rm named
    step "standard input" sh -c 'echo typed | "$@"' sh "${real[@]}" run --rm -i "${flags[@]}" tour cat
    step "masked" podman run --rm "${flags[@]}" tour sh -c 'cat /proc/keys 2>&1 | wc -c; touch /proc/sys/kernel/x'
    step "init" podman run --rm "${flags[@]}" --pid host tour sh -c 'test $$ != 1 && echo others'

    step "detach" podman run --detach --name one "${flags[@]}" tour sh -c 'trap "echo bye; exit 3" TERM; echo started; while true; do sleep 0.1; done'
    step "logged" until_it logged one started
    step "state" state one
    step "exec" podman exec one sh -c 'echo in; head -c 5 /proc/1/cmdline | cat -v; exit 5'
    step "exec as" podman exec --user 9 --workdir /tmp --env B=c one sh -c 'id -u; pwd; echo $B'
    step "exec -d" podman exec --detach one touch /detached
    step "detached" until_it podman exec one test -e /detached
    step "exec -t" podman exec --tty one sh -c 'test -t 0 && echo a terminal'
    step "exec none" podman exec one /none
    step "cp in" podman cp "$work/data/file" one:/copied
    step "cp seen" podman exec one cat /copied
    step "cp out" sh -c '"$@" && cat '"$work/out" sh "${real[@]}" cp one:/copied "$work/out"
    step "top" sh -c '"$@" | tail -n +2 | wc -l' sh "${real[@]}" top one hpid
    step "diff" sh -c '"$@" | grep -E "copied|detached" | sort' sh "${real[@]}" diff one
    step "ps" podman ps --format '{{.Names}} {{.Image}}'
    if [ "${flags[*]}" = "--network none" ]; then
        step "pause" podman pause one
        step "paused" state one
        step "unpause" podman unpause one
        step "stats" sh -c '"$@" | grep -c one' sh "${real[@]}" stats --no-stream --format '{{.Name}}' one
        step "update" podman update --pids-limit 77 one
        step "bounds" podman run --rm "${flags[@]}" --memory 64m --pids-limit 55 tour true
    fi
    step "kill" podman kill --signal CONT one
    step "stop" podman stop --time 10 one
    step "stopped" until_it ended one
    step "state after" state one
    step "logs" podman logs one
    step "start again" podman start one
    step "restart" podman restart --time 5 one
    step "rm running" podman rm one
    step "rm" podman rm --force --time 0 one

    step "create" podman create --name two "${flags[@]}" tour sh -c 'echo from start; exit 4'
    step "init" podman init two
    step "initialized" state two
    step "start -a" podman start --attach two
    step "rm two" podman rm two

    step "health" podman run --detach --name three "${flags[@]}" --health-cmd 'test -e /well' --health-interval disable tour sleep 1000
    step "ill" podman healthcheck run three
    step "touch" podman exec three touch /well
    step "well" podman healthcheck run three
    step "rm three" podman rm --force --time 0 three

    step "terminal" podman run --rm --tty "${flags[@]}" tour sh -c 'test -t 1 && echo a terminal; test -e /dev/console && echo console'
    for number in $(seq 8); do podman run --detach --name "many$number" "${flags[@]}" tour sleep 1000 >/dev/null & done
    wait
    step "many" sh -c '"$@" | wc -l' sh "${real[@]}" ps --quiet
    step "rm many" sh -c '"$@" | wc -l' sh "${real[@]}" rm --all --force --time 0
}

# Pods take an image with a program that waits, and their containers join its namespaces.
pods() {
    step "pod" podman pod create --name pod --network none --infra-image tour --infra-command /bin/pause --share ipc,net,uts
    step "in pod" podman run --detach --pod pod --name first tour sh -c 'hostname >/dev/shm/name; sleep 1000'
    step "shared" until_it podman run --rm --pod pod tour cat /dev/shm/name
    step "pod ps" podman pod ps --format '{{.Name}} {{.NumberOfContainers}}'
    step "pod stop" podman pod stop --time 0 pod
    step "pod rm" podman pod rm --force pod
}

other=${OTHER:-runc}
tour >"$work/ours"
if [ "${flags[*]}" = "--network none" ]; then pods >>"$work/ours"; fi
[ -z "$(podman ps --all --quiet)" ] || fail "containers are left: $(podman ps --all)"
over "$other"
if ! works "${flags[@]}"; then
    cat "$work/ours"
    echo "skipped: the same over $other, which runs nothing here: $(tail -n 1 "$work/log")"
    said=$(grep -c . "$work/ours")
    echo "ok: $said lines of podman's tour over jetpack-oci"
    exit 0
fi
runtimes+=("$other")
tour >"$work/theirs"
if [ "${flags[*]}" = "--network none" ]; then pods >>"$work/theirs"; fi
diff -u "$work/theirs" "$work/ours" >"$work/differences" || {
    cat "$work/differences"
    fail "podman says other things over jetpack-oci than over $other"
}
echo "ok: $(grep -c '^[a-z -]*: \[' "$work/ours") steps of podman's tour (${flags[*]}), word for word as over $other"
