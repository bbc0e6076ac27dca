//! Names that the specification borrows from elsewhere. One name a line, sorted.

use std::sync::LazyLock;

static SYSCALLS: LazyLock<Vec<&str>> = LazyLock::new(|| include_str!("syscalls.txt").lines().collect());
static ERRNOS: LazyLock<Vec<&str>> = LazyLock::new(|| include_str!("errno.txt").lines().collect());
static CAPABILITIES: LazyLock<Vec<&str>> = LazyLock::new(|| include_str!("capabilities.txt").lines().collect());

/// System calls of Linux on any of its architectures.
pub fn syscalls() -> &'static [&'static str] {
    &SYSCALLS
}

/// Error codes of Linux, those of POSIX.1-2001 and C99 among them.
pub fn errnos() -> &'static [&'static str] {
    &ERRNOS
}

/// Capabilities of Linux.
pub fn capabilities() -> &'static [&'static str] {
    &CAPABILITIES
}

/// Whether a sorted table holds a name.
pub fn holds(table: &[&str], name: &str) -> bool {
    table.binary_search(&name).is_ok()
}

/// Operating systems with their architectures, in the specification's names (im.labels.osarch.known).
pub const OS_ARCH: [(&str, &[&str]); 3] = [
    ("linux", &["amd64", "i386", "aarch64", "aarch64_be", "armv6l", "armv7l", "armv7b", "ppc64", "ppc64le", "s390x"]),
    ("freebsd", &["amd64", "i386", "arm", "aarch64"]),
    ("darwin", &["x86_64", "i386"]),
];

/// Protocols above IP, for im.app.ports.protocol.l4.
pub const PROTOCOLS: [&str; 6] = ["tcp", "udp", "sctp", "dccp", "udplite", "icmp"];

/// Wildcards of the specification's own for system calls to remove.
pub const REMOVE_WILDCARDS: [&str; 1] = ["@appc.io/empty"];

/// Wildcards of the specification's own for system calls to retain.
pub const RETAIN_WILDCARDS: [&str; 1] = ["@appc.io/all"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_sorted_and_hold_what_everybody_knows() {
        for (table, name) in [(syscalls(), "openat2"), (errnos(), "EPERM"), (capabilities(), "CAP_SYS_ADMIN")] {
            assert!(table.is_sorted());
            assert!(holds(table, name));
            assert!(!holds(table, ""));
        }
    }
}
