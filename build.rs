//! How the programs are linked.

#![forbid(unsafe_code)]

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = |what: &str| std::env::var(format!("CARGO_CFG_TARGET_{what}")).unwrap_or_default();
    if target("OS") == "linux" && target("ENV") == "gnu" {
        // 35,000 places of a program that may lie anywhere have to be written to before it begins: 0.7 ms of the start of a pod,
        // which takes seven, and 0.6 MB in every supervisor, none of it shared. Its heap, stacks and libraries stay at places of the
        // kernel's choice.
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
}
