//! Kernel parameters that a pod can have of its own: those of its namespaces.

use std::path::PathBuf;

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
    fn the_first_separator_decides() {
        assert_eq!(path("net/ipv4/conf/eth0.1/forwarding"), PathBuf::from("net/ipv4/conf/eth0.1/forwarding"));
        assert_eq!(path("net.ipv4.ip_forward"), PathBuf::from("net/ipv4/ip_forward"));
    }
}
