#!/usr/bin/env bash
# Holds our validator against the Go actool on generated cases; arguments go to actool-diff. Needs Debian's package appc-spec.
set -euo pipefail
cd "$(dirname "$0")/../.."
actool=${GO_ACTOOL:-/usr/bin/actool}
if [ ! -x "$actool" ]; then
    echo "skipped: there is no $actool (Debian package appc-spec)"
    exit 0
fi
[ -z "${BIN:-}" ] || exec "$BIN/actool-diff" --actool "$actool" --cases "${CASES:-500}" "$@"
exec cargo run --release --quiet --package actool-diff -- --actool "$actool" --cases "${CASES:-500}" "$@"
