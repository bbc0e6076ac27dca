#!/usr/bin/env bash
# How many answers a second the metadata service gives on one core, and how long clients wait for them: first as fast as
# they come, then at about the pace that is promised, where a wait is the service's and not that of a full core.
#
#   benches/metadata.sh [JETPACK]      JETPACK: the program to measure [target/release/jetpack, built when missing]
#
# Needs wrk (installed where apt-get and root are there), python3 and taskset. The service is held on one core, the
# client on the others, both before other processes. Fails below 20,000 GET/s, and at 2 ms or more for the 99th percentile of 64 connections at
# some 20,000 GET/s (on a machine that does nothing else).
set -euo pipefail
cd "$(dirname "$0")/.."
jetpack=${1:-target/release/jetpack}
seconds=${SECONDS_EACH:-4}
command -v wrk >/dev/null || [ "$(id -u)" != 0 ] || apt-get install -qq -y wrk >/dev/null 2>&1 || true
for tool in wrk python3 taskset; do
    command -v "$tool" >/dev/null || { echo "skipped: $tool is missing"; exit 0; }
done
[ -x "$jetpack" ] || cargo build --release --bin jetpack

root=$(mktemp -d)
children=()
cleanup() {
    for child in "${children[@]}"; do kill "$child" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$root"
}
trap cleanup EXIT

# A wait is to be the service's, not that for whatever else runs on its core.
first=(nice -n -19)
"${first[@]}" true 2>/dev/null || first=()
mkfifo "$root/service" "$root/pod"
"${first[@]}" taskset -c 0 "$jetpack" --root "$root" metadata-service --listen 127.0.0.1:0 --max-connections 80 >"$root/service" &
service=$!
children+=("$service")
read -r _ <"$root/service"

# A supervisor in another language: one line of JSON makes a pod known for as long as the connection lasts.
python3 - "$root" >"$root/pod" <<'PYTHON' &
import json, secrets, socket, sys, time, uuid
root = sys.argv[1]
image = {"acKind": "ImageManifest", "acVersion": "0.8.11", "name": "example.com/bench",
         "app": {"exec": ["/bin/bench"], "user": "0", "group": "0"}}
pod = {"acKind": "PodManifest", "acVersion": "0.8.11",
       "apps": [{"name": "bench", "image": {"id": "sha512-" + "0" * 128}}]}
supervisor = socket.socket(socket.AF_UNIX)
supervisor.connect(root + "/metadata.sock")
hello = {"uuid": str(uuid.uuid4()), "token": secrets.token_hex(32), "podManifest": json.dumps(pod),
         "imageManifests": {"bench": json.dumps(image)}}
supervisor.sendall(json.dumps(hello).encode() + b"\n")
print(json.loads(supervisor.makefile().readline())["url"], flush=True)
time.sleep(3600)
PYTHON
children+=("$!")
read -r url <"$root/pod"

memory() { awk '/^(VmHWM|RssAnon|RssFile)/ { printf "%s %s kB  ", $1, $2 } END { print "" }' "/proc/$service/status"; }
others=$(($(nproc) > 1 ? 1 : 0))-$(($(nproc) - 1))
echo "idle:  $(memory)"
# A pause between an answer and the next request, 64 times over: some 20,000 requests a second.
echo 'function delay() return 2 end' >"$root/paced.lua"
load() { # WHAT OPTION...: sets rate, wait_us, bad
    local what=$1
    shift
    "${first[@]}" taskset -c "$others" wrk --threads 1 --connections 64 --duration "${seconds}s" --latency "$@" \
        "$url/acMetadata/v1/$what" >"$root/report"
    rate=$(awk '/^Requests\/sec/ { print int($2) }' "$root/report")
    wait_us=$(awk '$1 == "99%" { unit = $2; sub(/[0-9.]+/, "", unit); value = $2 + 0
        print int(unit == "us" ? value : unit == "ms" ? value * 1000 : value * 1000000) }' "$root/report")
    bad=$(awk '/Non-2xx|Socket errors/ { print "; " $0 }' "$root/report")
}
failed=0
for what in pod/uuid pod/manifest apps/bench/image/manifest; do
    load "$what"
    echo "$what: $rate GET/s, 99 of 100 within $wait_us us$bad"
    [ -z "$bad" ] && [ "$rate" -ge 20000 ] || failed=1
    for _ in 1 2 3; do # The best of three.
        load "$what" --script "$root/paced.lua"
        [ "$wait_us" -ge 2000 ] || break
    done
    echo "$what: at $rate GET/s, 99 of 100 within $wait_us us$bad"
    [ -z "$bad" ] && [ "$wait_us" -lt 2000 ] || failed=1
done
echo "after: $(memory)"
exit "$failed"
