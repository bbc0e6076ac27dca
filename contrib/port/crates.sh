#!/bin/sh
# Writes what the ports tree has to know of the crates, by the lock file: Makefile.crates beside this one.
#
#   contrib/port/crates.sh [Cargo.lock]
set -eu
lock=$(realpath "${1:-$(dirname "$0")/../../Cargo.lock}")
cd "$(dirname "$0")"
{
    printf 'CARGO_CRATES='
    awk '/^name = / { name = $3 } /^version = / { version = $3 } /^source = .*registry/ { print name "-" version }' "$lock" |
        tr -d '"' | LC_ALL=C sort | awk '{ printf "%s\t%s", (NR > 1 ? " \\\n\t" : ""), $0 } END { print "" }'
} >Makefile.crates
