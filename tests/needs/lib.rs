//! What tests need of the machine that they run on, and what becomes of a test whose need is not met.
//!
//! A skip is not a pass: it is said on standard error, whatever the test runner captures; it is written to the file that
//! `APPC_SKIPPED` names, a line each, so that a run can count them; and it fails where `APPC_REQUIRE` names the need, as it
//! does where a machine is known to have it (`APPC_REQUIRE=root,pods,gpg`).

use std::fmt;
use std::io::Write;

/// What a test may need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// To be root.
    Root,
    /// A host that runs pods.
    Pods,
    /// Another, ordinary user who can start the programs under test.
    OrdinaryUser,
    /// Pods of an ordinary user.
    UserPods,
    /// Network namespaces, and the programs that fill them: `ip`, `nsenter`, `iptables`, the CNI plugins.
    Networks,
    /// Small file systems of one's own.
    Mounts,
    /// Overlays on a tmpfs, and trees that are stacked.
    Overlay,
    /// Extended attributes that can be set.
    Attributes,
    /// Limits of memory that are enforced.
    Limits,
    /// Control groups of version 2 that can be written.
    UnifiedGroups,
    /// A thousand connections a process.
    Connections,
    /// A program of the host: `busybox`, `setpriv`, `jq` and the like.
    Program,
    /// `gpg`.
    Gpg,
    /// GNU's `tar`.
    GnuTar,
    /// The Go `actool`.
    GoActool,
    /// The schema of SARIF, from elsewhere.
    SarifSchema,
    /// A processor with AVX2.
    Avx2,
    /// Linux.
    Linux,
    /// Another host, or another system.
    Elsewhere,
}

impl Need {
    const ALL: [(Self, &'static str); 19] = [
        (Self::Root, "root"),
        (Self::Pods, "pods"),
        (Self::OrdinaryUser, "ordinary-user"),
        (Self::UserPods, "user-pods"),
        (Self::Networks, "networks"),
        (Self::Mounts, "mounts"),
        (Self::Overlay, "overlay"),
        (Self::Attributes, "attributes"),
        (Self::Limits, "limits"),
        (Self::UnifiedGroups, "unified-groups"),
        (Self::Connections, "connections"),
        (Self::Program, "program"),
        (Self::Gpg, "gpg"),
        (Self::GnuTar, "gnu-tar"),
        (Self::GoActool, "go-actool"),
        (Self::SarifSchema, "sarif-schema"),
        (Self::Avx2, "avx2"),
        (Self::Linux, "linux"),
        (Self::Elsewhere, "elsewhere"),
    ];

    fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(need, _)| *need)
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(need, _)| need == self).map_or("?", |(_, name)| name);
        f.write_str(name)
    }
}

/// Says that a test, or a part of it, cannot be done here for want of `need`; the test then leaves.
///
/// # Panics
/// When `APPC_REQUIRE` names the need, or what is none.
pub fn skip(need: Need, reason: impl fmt::Display) {
    let required = std::env::var("APPC_REQUIRE").unwrap_or_default();
    for name in required.split(',').filter(|name| !name.is_empty()) {
        // What peers, which are no tests of Cargo's, are required by.
        if name == "peers" {
            continue;
        }
        let Some(known) = Need::named(name) else { panic!("APPC_REQUIRE names {name}, which no test needs") };
        assert!(known != need, "required, and not met: {need}: {reason}");
    }
    let thread = std::thread::current();
    let reason = reason.to_string();
    let line = format!("skipped: {need}: {}: {}\n", thread.name().unwrap_or("?"), reason.trim().replace('\n', "; "));
    // Not by the macros, whose text is captured. Who closed standard error does not want to know.
    let _ = std::io::stderr().write_all(line.as_bytes());
    if let Some(file) = std::env::var_os("APPC_SKIPPED") {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(file);
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the file that APPC_SKIPPED names");
    }
}

/// Whether the need is met; [`skip`] says so when not.
///
/// # Panics
/// As [`skip`] does.
#[must_use]
pub fn met(need: Need, there: bool, reason: impl fmt::Display) -> bool {
    if !there {
        skip(need, reason);
    }
    there
}
