#!/usr/bin/env bash
# Our validator beside the Go one: 1000 manifests in one call, and one manifest from start to exit. Needs hyperfine and Debian's
# appc-spec. Prints both ratios; fails when 1000 take more than a fifth of the Go tool's time, or one takes longer than there.
set -euo pipefail
cd "$(dirname "$0")/.."
go=${GO_ACTOOL:-/usr/bin/actool}
for needed in hyperfine python3 "$go"; do
    command -v "$needed" >/dev/null || { echo "skipped: there is no $needed"; exit 0; }
done
cargo build --release --quiet --package appc --bin actool
ours=${CARGO_TARGET_DIR:-target}/release/actool
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for n in $(seq 1000); do
    sed "s|example.com/app\"|example.com/app$n\"|" fixtures/manifests/good/image.json >"$work/$n.json"
done

# compare NAME FILE... : the ratio of the medians, theirs over ours
compare() {
    local name=$1; shift
    hyperfine --shell=none --warmup 3 --runs 30 --export-json "$work/$name.result" \
        "$ours validate -q $*" "$go validate $*" >/dev/null 2>&1
    python3 - "$name" "$work/$name.result" <<'PYTHON'
import json, sys
ours, theirs = (run["median"] for run in json.load(open(sys.argv[2]))["results"])
print(f"{sys.argv[1]}: ours {ours * 1000:.2f} ms, Go {theirs * 1000:.2f} ms: {theirs / ours:.1f} times as fast")
open(sys.argv[2] + ".ratio", "w").write(str(theirs / ours))
PYTHON
}
# The Go tool refuses isolators and whitelists that ours knows; both must say the same about what is measured.
"$ours" validate -q "$work"/*.json && "$go" validate "$work"/*.json
compare thousand "$work"/*.json
compare single "$work/1.json"
python3 - "$work" <<'PYTHON'
import sys
ratio = lambda name: float(open(f"{sys.argv[1]}/{name}.result.ratio").read())
sys.exit(0 if ratio("thousand") >= 5 and ratio("single") >= 1 else "validate.sh: slower than promised")
PYTHON
