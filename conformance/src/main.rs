//! Clause by clause: does an appc implementation do what the specification says?
fn main() {}
