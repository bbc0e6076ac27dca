//! Files as cases write them, and laying them out on disk.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::Deserialize;

/// An entry of an archive's list: the name of a usual one, or a description.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
#[allow(clippy::large_enum_variant)] // a handful a case
pub enum Listed {
    /// `manifest` or `rootfs`.
    Usual(String),
    /// Any entry.
    Entry(Entry),
}

/// A file, wherever it is to stand.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Entry {
    /// In an archive the entry's name as it is; elsewhere the path below the root.
    pub path: String,
    /// `file` (the default), `dir`, `symlink`, `hardlink`, `character`, `block`, `fifo`, `global` (a PAX global header), `other` (an unknown type).
    pub kind: String,
    /// The text of a file.
    pub text: String,
    /// Where a link leads.
    pub to: String,
    /// Permissions in octal, 0644 or 0755 by default.
    pub mode: Option<String>,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Seconds, with a fraction where wanted.
    pub mtime: Option<String>,
    /// Extended attributes.
    pub xattrs: BTreeMap<String, String>,
    /// Device numbers.
    pub device: Option<(u32, u32)>,
    /// PAX records of the entry as they are.
    pub pax: BTreeMap<String, String>,
    /// A size in the header that is not the text's.
    pub size: Option<u64>,
}

impl Entry {
    /// The permission bits.
    pub fn bits(&self) -> u32 {
        let usual = if self.kind == "dir" { 0o755 } else { 0o644 };
        self.mode.as_deref().and_then(|mode| u32::from_str_radix(mode, 8).ok()).unwrap_or(usual)
    }

    /// Seconds and nanoseconds of the modification time; a fixed time when none is given, so that archives come out the same.
    pub fn time(&self) -> (u64, u32) {
        let text = self.mtime.as_deref().unwrap_or("1400000000");
        let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let nanoseconds = format!("{fraction:0<9}")[..9].parse().unwrap_or(0);
        (seconds.parse().unwrap_or(0), nanoseconds)
    }
}

/// Makes files below a directory of the host. Parents are made; times of directories are set last.
#[cfg(unix)]
pub fn lay_out(dir: &Path, files: &[Entry]) -> io::Result<()> {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps};

    for file in files {
        let path = dir.join(file.path.trim_start_matches('/'));
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        match file.kind.as_str() {
            "dir" => fs::create_dir_all(&path)?,
            "symlink" => symlink(&file.to, &path)?,
            "hardlink" => fs::hard_link(dir.join(file.to.trim_start_matches('/')), &path)?,
            "fifo" => rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o644), 0)?,
            "character" => {
                let (major, minor) = file.device.unwrap_or((1, 3));
                rustix::fs::mknodat(
                    CWD,
                    &path,
                    FileType::CharacterDevice,
                    Mode::from_raw_mode(0o644),
                    rustix::fs::makedev(major, minor),
                )?;
            }
            _ => fs::write(&path, &file.text)?,
        }
        if (file.uid, file.gid) != (0, 0) {
            std::os::unix::fs::lchown(&path, Some(file.uid), Some(file.gid))?;
        }
        if file.kind != "symlink" && file.kind != "hardlink" {
            fs::set_permissions(&path, fs::Permissions::from_mode(file.bits()))?;
        }
        for (name, value) in &file.xattrs {
            xattr::set(&path, name, value.as_bytes())?;
        }
    }
    for file in files.iter().rev().filter(|file| file.mtime.is_some()) {
        let (seconds, nanoseconds) = file.time();
        let time = Timespec { tv_sec: seconds as _, tv_nsec: nanoseconds as _ };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(CWD, dir.join(file.path.trim_start_matches('/')), &times, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}
