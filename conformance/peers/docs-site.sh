#!/usr/bin/env bash
# The documentation as a site in a real browser, headless: each page is drawn, wide and narrow, and no link of it leads nowhere. Ends with
# `skipped: <reason>` where there is no mdbook or no Chromium; MDBOOK names one that is not on the PATH.
#
#   conformance/peers/docs-site.sh [SITE]
set -euo pipefail
cd "$(dirname "$0")/../.."

source conformance/peers/common.inc

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ $# -gt 0 ]; then
    site=$(realpath "$1")
else
    command -v "${MDBOOK:-mdbook}" >/dev/null || skip "needs mdbook (cargo install mdbook)"
    site=$work/site
    sh contrib/site.sh "$site" >"$work/log" 2>&1 || { cat "$work/log"; fail "mdbook"; }
fi
# Where links of the site lead: to a file of it, or out of it by a whole URL.
broken=0
for page in "$site"/*.html; do
    name=$(basename "$page")
    case $name in print.html | 404.html | toc.html) continue ;; esac
    while read -r target; do
        case $target in '' | \#* | http://* | https://* | mailto:* | javascript:*) continue ;; esac
        file=${target%%#*} anchor=${target#*#}
        [ -e "$site/${file:-$name}" ] || { echo "docs-site: $name: $target leads nowhere"; broken=1; continue; }
        [ "$anchor" = "$target" ] || grep -q "id=\"$anchor\"" "$site/$file" || { echo "docs-site: $name: $target: no such heading"; broken=1; }
    done < <(grep -o 'href="[^"]*"' "$page" | sed 's/^href="//; s/"$//')
done
[ "$broken" = 0 ] || exit 1

browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
if [ -z "$browser" ]; then
    command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] || skip "needs Chromium"
    need chromium chromium
    browser=$(command -v chromium)
fi

# A page fits when nothing but what scrolls by itself, tables and command lines, is wider than the window.
failed=0
for page in "$site"/*.html; do
    name=$(basename "$page")
    case $name in print.html | 404.html | toc.html) continue ;; esac
    cat >>"$page" <<'SCRIPT'
<script>
addEventListener("load", () => {
    const said = document.createElement("p");
    const fits = document.documentElement.scrollWidth <= innerWidth;
    const drawn = document.querySelectorAll("main h1").length === 1 && document.querySelector("main").innerText.length > 200;
    const styled = getComputedStyle(document.querySelector("#mdbook-menu-bar, #menu-bar")).position !== "static";
    said.textContent = `verdict drawn=${drawn} fits=${fits} styled=${styled}`;
    document.body.append(said);
});
</script>
SCRIPT
    for width in 500 1400; do
        timeout 60 "$browser" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --user-data-dir="$work/profile" --virtual-time-budget=3000 \
            --host-resolver-rules="MAP * ~NOTFOUND" --window-size=$width,1000 --dump-dom "file://$page" >"$work/dom" 2>/dev/null ||
            fail "the browser, at $name"
        verdict=$(grep -o 'verdict drawn=[a-z]* fits=[a-z]* styled=[a-z]*' "$work/dom" | tail -1)
        [ "$verdict" = "verdict drawn=true fits=true styled=true" ] || { echo "docs-site: $name at $width: ${verdict:-not drawn}"; failed=1; }
    done
done
[ "$failed" = 0 ] && echo "docs-site: $(find "$site" -maxdepth 1 -name '*.html' | wc -l) pages, wide and narrow"
exit $failed
