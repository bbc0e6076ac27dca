#!/usr/bin/env bash
# The report's HTML page in a real browser, headless: it draws every clause, filters, fits a narrow window, and asks no network for anything.
# Ends with `skipped: <reason>` where there is no Chromium.
#
#   conformance/peers/report-page.sh [REPORT.html]
set -euo pipefail
cd "$(dirname "$0")/../.."

source conformance/peers/common.inc

browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
if [ -z "$browser" ]; then
    command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] || skip "needs Chromium"
    { apt-get update && apt-get install --yes --no-install-recommends chromium; } >/dev/null 2>&1 || skip "failed to install chromium"
    browser=$(command -v chromium) || skip "needs Chromium"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ $# -gt 0 ]; then
    cp "$1" "$work/index.html"
elif [ -n "${BIN:-}" ]; then
    "$BIN/appc-conformance" run --target actool --area types --report "$work" >/dev/null
else
    cargo run --quiet --release --locked --package appc-conformance -- run --target actool --area types --report "$work" >/dev/null
fi

if grep -Eq '(src|href)="(https?:)?//' "$work/index.html"; then
    echo "report-page: the page names something outside itself"
    exit 1
fi

# What the page says of itself once it is drawn, and after its filter was used.
cp "$work/index.html" "$work/asked.html"
cat >>"$work/asked.html" <<'SCRIPT'
<script>
const drawn = document.querySelectorAll("details").length;
const fits = document.documentElement.scrollWidth <= window.innerWidth;
const first = document.querySelector("details");
first.open = true;
first.dispatchEvent(new Event("toggle"));
const unfolded = first.children.length === 2;
at("text").value = first.id;
draw();
const left = document.querySelectorAll("details").length;
const reachable = [...document.querySelectorAll("summary, select, input, table button")].every(one => one.tabIndex >= 0);
const all = drawn === data.clauses.length;
document.body.append(make("p", {}, `verdict all=${all} fits=${fits} unfolded=${unfolded} filtered=${left >= 1 && left < drawn} reachable=${reachable}`));
</script>
SCRIPT

failed=0
for width in 500 1400; do
    timeout 60 "$browser" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --user-data-dir="$work/profile" \
        --host-resolver-rules="MAP * ~NOTFOUND" --window-size=$width,1000 --dump-dom "file://$work/asked.html" >"$work/dom" 2>/dev/null ||
        { echo "report-page: the browser failed"; exit 1; }
    verdict=$(grep -o 'verdict all=[a-z]* [a-z= ]*' "$work/dom" | tail -1)
    echo "report-page: at $width: ${verdict:-no verdict: the page did not draw}"
    [ "$verdict" = "verdict all=true fits=true unfolded=true filtered=true reachable=true" ] || failed=1
done
exit $failed
