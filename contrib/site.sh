#!/bin/sh
# The documentation as a site, by mdbook: `contrib/site.sh DIRECTORY`. What pages say of files outside of docs/ leads to the repository.
set -eu
cd "$(dirname "$0")/.."
out=${1:?usage: contrib/site.sh DIRECTORY}
mkdir -p "$out"
out=$(realpath "$out")
"${MDBOOK:-mdbook}" build --dest-dir "$out" docs
repository=$(sed -n 's/^repository = "\(.*\)"/\1/p' Cargo.toml)
# mdbook has made .html of .md, whether it has such a page or not.
find "$out" -name '*.html' -exec sed -E -i.before \
    -e "s#(href=\"|\()\.\./([A-Za-z/._-]*)\.html#\\1$repository/blob/main/\\2.md#g" \
    -e "s#(href=\"|\()\.\./([A-Za-z/._-]+)\"#\\1$repository/blob/main/\\2\"#g" {} +
find "$out" -name '*.before' -delete
