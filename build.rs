//! How the binaries are linked.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = |what: &str| std::env::var(format!("CARGO_CFG_TARGET_{what}")).unwrap_or_default();
    // At a fixed address the loader has nothing to relocate: 25,000 relocations in 160 pages are 0.5 ms of every start,
    // and memory that no two pods share. Libraries, heap and stacks stay at random places.
    if target("OS") == "linux" && target("ENV") == "gnu" && target("ARCH") == "x86_64" {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
}
