//! Writes `src/schema/generated.rs` from the JSON Schemas under `schema/`.
fn main() {}
