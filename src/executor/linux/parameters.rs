//! Kernel parameters that a pod can have of its own: those of its namespaces.

use std::path::{Path, PathBuf};

use crate::executor::level::Level;

/// Where a parameter is below `/proc/sys`. As sysctl(8) has it, the first separator says which one is meant, so that
/// `net/ipv4/conf/eth0.1/forwarding` has an interface with a dot.
pub fn path(key: &str) -> PathBuf {
    let slashes = match key.find(['.', '/']) {
        Some(first) => key[first..].starts_with('/'),
        None => false,
    };
    if slashes { PathBuf::from(key) } else { PathBuf::from(key.replace('.', "/")) }
}

/// Why a pod cannot have the parameter, when it cannot (`sysctl.forbidden`).
pub fn forbidden(key: &str, own_network: bool) -> Option<&'static str> {
    let path = path(key);
    let text = path.to_string_lossy();
    if text.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
        return Some("it is no key");
    }
    const IPC: [&str; 9] = [
        "kernel/msgmax",
        "kernel/msgmnb",
        "kernel/msgmni",
        "kernel/sem",
        "kernel/shmall",
        "kernel/shmmax",
        "kernel/shmmni",
        "kernel/shm_rmid_forced",
        "kernel/auto_msgmni",
    ];
    if text.starts_with("net/") {
        return if own_network { None } else { Some("the pod shares the host's network") };
    }
    if IPC.contains(&text.as_ref()) || text.starts_with("fs/mqueue/") || text == "kernel/domainname" {
        return None;
    }
    Some("it is not one that a pod has of its own")
}

/// Why a kernel parameter that pods have of their own is the host's at this level.
pub fn of_the_host(key: &str, level: Level) -> Option<&'static str> {
    let path = path(key);
    match path.starts_with("net") {
        true => None,
        false if path == Path::new("kernel/domainname") => {
            (!level.own_name()).then_some("the pod shares the host's name")
        }
        false => (!level.own_ipc()).then_some("the pod shares the host's IPC"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_parameters_of_the_pods_namespaces_are_allowed() {
        for key in
            ["net.ipv4.tcp_keepalive_time", "kernel.shmmax", "fs.mqueue.msg_max", "net/ipv4/conf/eth0.1/forwarding"]
        {
            assert_eq!(forbidden(key, true), None, "{key}");
        }
        for key in ["kernel.panic", "vm.swappiness", "net.ipv4..x", "net/../kernel/panic", "", "kernel.hostname"] {
            assert!(forbidden(key, true).is_some(), "{key}");
        }
        assert!(forbidden("net.ipv4.ip_forward", false).is_some());
    }

    #[test]
    fn what_a_level_shares_is_not_set() {
        let shared =
            |key| [Level::Chroot, Level::Shared, Level::Default].map(|level| of_the_host(key, level).is_some());
        assert_eq!(shared("kernel.shmmax"), [true, false, false]);
        assert_eq!(shared("fs/mqueue/msg_max"), [true, false, false]);
        assert_eq!(shared("kernel.domainname"), [true, true, false]);
        assert_eq!(shared("net.ipv4.ip_forward"), [false, false, false]);
    }

    #[test]
    fn the_first_separator_decides() {
        assert_eq!(path("net/ipv4/conf/eth0.1/forwarding"), PathBuf::from("net/ipv4/conf/eth0.1/forwarding"));
        assert_eq!(path("net.ipv4.ip_forward"), PathBuf::from("net/ipv4/ip_forward"));
    }
}
