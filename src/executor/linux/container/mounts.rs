//! What a container's mounts are: options as mount(8) has them, put into the kernel's terms.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::oci::bundle;
use crate::sys::linux::mount::Attributes;

/// A mount, as it is carried out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Mount {
    /// What.
    pub source: Source,
    /// Where, in the rootfs.
    pub target: PathBuf,
    /// Bits of mount_setattr(2) that are set.
    pub set: u64,
    /// Those that are cleared.
    pub clear: u64,
    /// Flags that are set for it and all mounts below it.
    pub(crate) set_below: u64,
    /// Flags that are cleared for it and all mounts below it.
    pub(crate) clear_below: u64,
    /// Flags of mount(2) for propagation, in this order, and whether for all mounts below too.
    pub propagation: Vec<(u64, bool)>,
    /// Whether what the rootfs has there is copied into it.
    pub(crate) copy_up: bool,
    /// How its ids are mapped.
    pub ids: Option<super::super::steps::IdMap>,
}

/// What is mounted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// What is mounted there already is given other attributes.
    #[default]
    Itself,
    /// A path of the host.
    Bind {
        /// The path.
        path: PathBuf,
        /// With what is mounted below it.
        recursive: bool,
    },
    /// A file system.
    New {
        /// Its kind.
        kind: String,
        /// Its options, flags without a value.
        options: Vec<(String, Option<String>)>,
    },
    /// The control groups, each tree by its directory.
    Groups {
        /// The directory's name; where it is empty, the one tree itself.
        trees: Vec<(String, PathBuf)>,
        /// Further names of some.
        links: Vec<(String, String)>,
    },
}

impl Mount {
    /// What it does, in words that read on after "failed to".
    pub(crate) fn describe(&self) -> String {
        let what = match &self.source {
            Source::Itself => "remount".to_owned(),
            Source::Bind { path, .. } => format!("mount {} at", path.display()),
            Source::New { kind, .. } => format!("mount {kind} at"),
            Source::Groups { .. } => "mount the control groups at".to_owned(),
        };
        format!("{what} {} in the rootfs", self.target.display())
    }
}

const RDONLY: u64 = Attributes::MOUNT_ATTR_RDONLY.bits() as u64;
const NOSUID: u64 = Attributes::MOUNT_ATTR_NOSUID.bits() as u64;
const NODEV: u64 = Attributes::MOUNT_ATTR_NODEV.bits() as u64;
const NOEXEC: u64 = Attributes::MOUNT_ATTR_NOEXEC.bits() as u64;
const NOATIME: u64 = Attributes::MOUNT_ATTR_NOATIME.bits() as u64;
const STRICTATIME: u64 = Attributes::MOUNT_ATTR_STRICTATIME.bits() as u64;
const NODIRATIME: u64 = Attributes::MOUNT_ATTR_NODIRATIME.bits() as u64;
const NOSYMFOLLOW: u64 = Attributes::MOUNT_ATTR_NOSYMFOLLOW.bits() as u64;
/// All kinds of access times; to set one the others are cleared.
const ATIME: u64 = Attributes::MOUNT_ATTR__ATIME.bits() as u64;

/// What is set and cleared by an option of a single mount; with an `r` before it, by the same of all below.
const ATTRIBUTES: [(&str, u64, u64); 17] = [
    ("ro", RDONLY, 0),
    ("rw", 0, RDONLY),
    ("nosuid", NOSUID, 0),
    ("suid", 0, NOSUID),
    ("nodev", NODEV, 0),
    ("dev", 0, NODEV),
    ("noexec", NOEXEC, 0),
    ("exec", 0, NOEXEC),
    ("noatime", NOATIME, ATIME),
    ("atime", 0, NOATIME),
    ("strictatime", STRICTATIME, ATIME),
    ("relatime", 0, ATIME),
    ("nostrictatime", 0, ATIME),
    ("nodiratime", NODIRATIME, 0),
    ("diratime", 0, NODIRATIME),
    ("nosymfollow", NOSYMFOLLOW, 0),
    ("symfollow", 0, NOSYMFOLLOW),
];

/// Of a file system as a whole.
const WHOLE: [&str; 8] = ["sync", "dirsync", "lazytime", "mand", "async", "nolazytime", "nomand", "silent"];

const PROPAGATION: [(&str, u64, bool); 8] = [
    ("private", libc::MS_PRIVATE, false),
    ("rprivate", libc::MS_PRIVATE, true),
    ("slave", libc::MS_SLAVE, false),
    ("rslave", libc::MS_SLAVE, true),
    ("shared", libc::MS_SHARED, false),
    ("rshared", libc::MS_SHARED, true),
    ("unbindable", libc::MS_UNBINDABLE, false),
    ("runbindable", libc::MS_UNBINDABLE, true),
];

/// Those that say nothing here.
const NOTHING: [&str; 7] = ["defaults", "norelatime", "loud", "acl", "noacl", "iversion", "noiversion"];

/// All that options may be, as `features` tells.
pub fn known() -> Vec<String> {
    let mut known: Vec<String> = ATTRIBUTES.iter().map(|(name, ..)| (*name).to_owned()).collect();
    known.extend(ATTRIBUTES.iter().map(|(name, ..)| format!("r{name}")));
    known.extend(WHOLE.iter().chain(&NOTHING).map(|name| (*name).to_owned()));
    known.extend(PROPAGATION.iter().map(|(name, ..)| (*name).to_owned()));
    known.extend(["bind", "rbind", "remount", "tmpcopyup", "idmap", "ridmap"].map(str::to_owned));
    known.sort_unstable();
    known.dedup();
    known
}

/// How the propagation of this name is set, and whether below too.
pub(crate) fn propagation(name: &str) -> Option<(u64, bool)> {
    PROPAGATION.iter().find(|(known, ..)| *known == name).map(|(_, flag, below)| (*flag, *below))
}

/// What the mount comes to in a bundle in `directory`. Control groups are the compiler's own business.
///
/// # Errors
/// In words, what is wrong with it.
pub(crate) fn mount(asked: &bundle::Mount, directory: &Path) -> Result<Mount, String> {
    let target = Path::new("/").join(&asked.destination);
    let mut mount = Mount { target, ..Mount::default() };
    let kind = asked.kind.as_deref().unwrap_or_default();
    let (mut bind, mut recursive, mut remount) = (kind == "bind", false, false);
    let mut data: Vec<(String, Option<String>)> = Vec::new();
    let mut mapped = false;
    for option in &asked.options {
        let attribute = |name: &str| ATTRIBUTES.iter().find(|(known, ..)| *known == name);
        if let Some((_, set, clear)) = attribute(option) {
            (mount.set, mount.clear) = (mount.set & !clear | set, mount.clear & !set | clear);
        } else if let Some(found) = propagation(option) {
            mount.propagation.push(found);
        } else if let Some((_, set, clear)) = option.strip_prefix('r').and_then(attribute) {
            (mount.set_below, mount.clear_below) = (mount.set_below & !clear | set, mount.clear_below & !set | clear);
        } else {
            match option.as_str() {
                "bind" => bind = true,
                "rbind" => (bind, recursive) = (true, true),
                "remount" => remount = true,
                "tmpcopyup" => mount.copy_up = true,
                "idmap" | "ridmap" => mapped = true,
                nothing if NOTHING.contains(&nothing) => {}
                whole if WHOLE.contains(&whole) => data.push((whole.to_owned(), None)),
                other => match other.split_once('=') {
                    Some((name, value)) => data.push((name.to_owned(), Some(value.to_owned()))),
                    None => data.push((other.to_owned(), None)),
                },
            }
        }
    }
    if mapped || !asked.uid_mappings.is_empty() {
        mount.ids = Some(super::compile::ids(&asked.uid_mappings, &asked.gid_mappings));
    }
    if mount.copy_up && kind != "tmpfs" {
        return Err("tmpcopyup is for tmpfs only".to_owned());
    }
    mount.source = if remount {
        Source::Itself
    } else if bind {
        let source = asked.source.as_ref().ok_or("a bind mount has no source")?;
        // What a file system would be told, a bind mount has nobody to tell.
        Source::Bind { path: directory.join(source), recursive }
    } else {
        if kind.is_empty() {
            return Err("it has no type and is no bind mount".to_owned());
        }
        let source = asked.source.as_deref().and_then(Path::to_str).unwrap_or(kind);
        let system = ["proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2"].contains(&kind);
        if mount.set & RDONLY != 0 && !system {
            data.push(("ro".to_owned(), None));
        }
        // All are instances of their own nowadays, and a flag of that name is not known everywhere.
        data.retain(|(name, _)| !(kind == "devpts" && name == "newinstance"));
        data.insert(0, ("source".to_owned(), Some(source.to_owned())));
        Source::New { kind: kind.to_owned(), options: data }
    };
    Ok(mount)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: &str, source: &str, options: &[&str]) -> Result<Mount, String> {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let kind = Some(kind.to_owned()).filter(|kind| !kind.is_empty());
        let asked = bundle::Mount {
            destination: "/x".into(),
            kind,
            source: Some(source.into()),
            options,
            ..Default::default()
        };
        mount(&asked, Path::new("/bundle"))
    }

    #[test]
    fn the_last_of_two_options_that_contradict_each_other_counts() {
        let mount = of("tmpfs", "t", &["ro", "nosuid", "rw", "noatime", "relatime", "size=1k", "sync"]).unwrap();
        assert_eq!((mount.set, mount.clear & RDONLY, mount.clear & ATIME), (NOSUID, RDONLY, ATIME));
        let options = [("source", Some("t")), ("size", Some("1k")), ("sync", None)];
        let options = options.map(|(name, value)| (name.to_owned(), value.map(str::to_owned))).to_vec();
        assert_eq!(mount.source, Source::New { kind: "tmpfs".to_owned(), options });
    }

    #[test]
    fn a_bind_mount_is_known_by_type_or_option_and_its_source_is_from_the_bundle_on() {
        for (kind, options, recursive) in
            [("bind", vec![], false), ("", vec!["rbind", "rro"], true), ("none", vec!["bind"], false)]
        {
            let mount = of(kind, "data", &options).unwrap();
            assert_eq!(mount.source, Source::Bind { path: "/bundle/data".into(), recursive }, "{kind}");
            assert_eq!(mount.set_below, if recursive { RDONLY } else { 0 });
        }
        assert_eq!(of("", "x", &["rshared"]).unwrap_err(), "it has no type and is no bind mount");
        assert_eq!(of("tmpfs", "x", &["rshared", "remount"]).unwrap().propagation, [(libc::MS_SHARED, true)]);
    }
}
