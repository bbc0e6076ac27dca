# Daily commands; `just` lists them. Each is one line that can be typed without just as well.

# What a change has to pass before it is worth a test.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings
    cargo clippy --package appc --lib --no-default-features --locked -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked
    cargo clippy --manifest-path fuzz/Cargo.toml --no-default-features --target-dir target/fuzz --locked -- -D warnings

# The tests whose names hold AREA; all of them without one.
test AREA="":
    cargo test --workspace --locked {{ AREA }}

# Real pods, started and looked into.
pods NAME="":
    cargo test --package appc --locked --test all pods::{{ NAME }}

# What programs say, written anew into the snapshots; `git diff` shows what changed.
snapshots:
    SNAPSHOTS=overwrite cargo test --package appc --locked --test all snapshots::
    SNAPSHOTS=overwrite cargo test --package appc-conformance --locked --test snapshots

# The conformance cases of an area, against this host's executor.
suite AREA="":
    cargo run --release --package appc-conformance -- run {{ if AREA == "" { "" } else { "--area " + AREA } }}

# The same pods on the model of FreeBSD.
model AREA="":
    cargo run --release --package appc-conformance -- run --target jetpack-model-freebsd {{ if AREA == "" { "" } else { "--area " + AREA } }}

# A comparison of benches/NAME.sh, release builds side by side.
bench NAME:
    cargo build --release --locked
    benches/{{ NAME }}.sh

# A Debian with systemd in an emulator: suite and pods inside.
debian *OPTIONS:
    cargo build --release --locked --workspace
    conformance/vm/debian.sh {{ OPTIONS }}

# Licences, advisories and doubles among the dependencies.
deny:
    cargo deny check

# All of it, as CI does.
ci:
    .ci/run
