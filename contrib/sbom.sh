#!/usr/bin/env bash
# Prints what the programs are made of as CycloneDX 1.5 (JSON): every crate that is built for a target, with version, licence,
# checksum and where it comes from. Of the same Cargo.lock it is the same, byte for byte.
#
#   contrib/sbom.sh [TARGET]        x86_64-unknown-linux-gnu, x86_64-unknown-freebsd [this host's]
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
command -v jq >/dev/null || { echo "sbom.sh: needs jq" >&2; exit 1; }
target=${1:-$(rustc --version --verbose | sed -n 's/^host: //p')}

# Checksums stand in the lock file alone.
checksums=$(awk '/^name = / { name = $3 } /^version = / { version = $3 } /^checksum = / { print name, version, $3 }' Cargo.lock |
    tr -d '"' | jq --raw-input --null-input '[inputs | split(" ") | { key: (.[0] + "@" + .[1]), value: .[2] }] | from_entries')
cargo metadata --format-version 1 --locked --filter-platform "$target" |
    jq --sort-keys --argjson checksums "$checksums" --arg target "$target" '
        . as $all
        | ($all.packages | map({ key: .id, value: . }) | from_entries) as $packages
        | ($all.packages[] | select(.name == "appc" and .source == null)) as $root
        | ($all.resolve.nodes | map({ key: .id, value: . }) | from_entries) as $nodes
        # What only tests are made of is not in the programs.
        | def needs($id): [$nodes[$id].deps[] | select(any(.dep_kinds[]; .kind != "dev")) | .pkg];
          def reach($known; $new): if ($new | length) == 0 then $known
              else ($known + $new) as $all | reach($all; [$new[] | needs(.)[]] | unique | . - $all) end;
          def purl: "pkg:cargo/" + .name + "@" + .version;
          reach([]; [$root.id]) as $used
        | {
            bomFormat: "CycloneDX", specVersion: "1.5", version: 1,
            metadata: {
                component: { type: "application", "bom-ref": ($root | purl), name: $root.name, version: $root.version,
                    licenses: [{ expression: $root.license }], purl: ($root | purl) },
                properties: [{ name: "cargo:target", value: $target }]
            },
            components: ([$used[] | $packages[.] | select(.id != $root.id) | . as $crate | {
                type: "library", "bom-ref": purl, name, version, purl: purl,
                licenses: [(if .license then { expression: (.license | gsub("/"; " OR ")) } else empty end)],
                hashes: [($checksums[.name + "@" + .version] // empty) | { alg: "SHA-256", content: . }],
                externalReferences: [(.repository // empty) | { type: "vcs", url: . }]
            }] | sort_by(.purl)),
            dependencies: ([$used[] | . as $id | { ref: ($packages[$id] | purl), dependsOn: ([needs($id)[] | $packages[.] | purl] | unique) }]
                | sort_by(.ref))
        }'
