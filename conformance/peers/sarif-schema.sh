#!/usr/bin/env bash
# Holds `actool validate --format sarif` against the standard's own schema, as another project's package carries it.
# Ends with `skipped: <reason>` where that package cannot be had.
set -euo pipefail
cd "$(dirname "$0")/../.."

package=serde-sarif
version=0.8.0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Fetched, never compiled: its schema is all that is wanted.
mkdir "$work/src" && : >"$work/src/lib.rs"
cat >"$work/Cargo.toml" <<END
[package]
name = "schema"
version = "0.0.0"
edition = "2024"
[dependencies]
$package = "=$version"
END
cargo fetch --quiet --manifest-path "$work/Cargo.toml" || { echo "skipped: $package cannot be fetched"; exit 0; }
manifest=$(cargo metadata --offline --format-version 1 --manifest-path "$work/Cargo.toml" |
    tr ',' '\n' | sed -n "s/.*\"manifest_path\":\"\(.*$package-$version\/Cargo.toml\)\".*/\1/p" | head -n 1)
SARIF_SCHEMA=$(dirname "$manifest")/src/schema.json
[ -s "$SARIF_SCHEMA" ] || { echo "FAILED: $package $version has no schema"; exit 1; }
export SARIF_SCHEMA
cargo test --quiet --workspace --locked --test all validate::sarif -- --nocapture | tee "$work/out"
! grep -q skipped "$work/out" || { echo "FAILED: the test did not use the schema"; exit 1; }
