//! A root knows itself: where it was made, and that nobody else can write to it.
//!
//! ```text
//! <root>/identity    {"id","path","device","inode","boot"}
//! ```
//! Pods name what they have outside of their directories (jails, control groups, interfaces, mounts) by their UUID, and the
//! paths in their journals are absolute. In a copy of a root both are another root's: to undo them there would end the
//! original's pods. So a root that is not where it was made is no place for pods until somebody says that it is to be one
//! ([`adopt`]), and a journal is undone in the root only that it was written in.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use super::{Error, Kind};

use super::Result;

const FILE: &str = "identity";

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    id: Uuid,
    path: PathBuf,
    device: u64,
    inode: u64,
    /// Numbers of devices hold until the next boot, where it is known which that is.
    boot: Option<String>,
}

impl Identity {
    /// Of what stands at `root` now.
    fn of(root: &Path, id: Uuid) -> io::Result<Self> {
        let path = fs::canonicalize(root)?;
        let about = fs::metadata(&path)?;
        // Where the file system has a number of its own, it is that: one that is mounted again is the same.
        let device = rustix::fs::statvfs(&path).map(|about| about.f_fsid).ok().filter(|id| *id != 0);
        Ok(Self { id, device: device.unwrap_or(about.dev()), inode: about.ino(), boot: boot(), path })
    }

    /// Whether what stands there now is what this was written of.
    fn fits(&self, now: &Self) -> bool {
        let rebooted = self.boot.is_none() || self.boot != now.boot;
        (&self.path, self.inode) == (&now.path, now.inode) && (rebooted || self.device == now.device)
    }
}

fn boot() -> Option<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
}

fn failed(doing: &'static str, root: &Path) -> impl Fn(io::Error) -> Error {
    move |error| Error::new(Kind::Io, format!("{doing} the root {}", root.display())).because(error)
}

/// Makes the root where there is none, its owner's alone whatever the umask says.
///
/// # Errors
/// [`Kind::Io`]; those of [`check`] where there is one.
pub fn make(root: &Path) -> Result<()> {
    let failed = failed("make", root);
    if let Some(above) = root.parent() {
        fs::create_dir_all(above).map_err(&failed)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(root) {
        Ok(()) => fs::set_permissions(root, Permissions::from_mode(0o700)).map_err(failed),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => check(root),
        Err(error) => Err(failed(error)),
    }
}

/// Refuses a root that somebody else could write to: what is in it is run, by root of the host too.
///
/// # Errors
/// [`Kind::Unsafe`], with what mends it. A root that is not there is none.
pub fn check(root: &Path) -> Result<()> {
    let about = match fs::metadata(root) {
        Ok(about) => about,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at", root)(error)),
    };
    let refused = |why: String| Err(Error::new(Kind::Unsafe, format!("use the root {}", root.display())).because(why));
    let (owner, own) = (about.uid(), rustix::process::geteuid().as_raw());
    if owner != own {
        return refused(format!("it belongs to user {owner}, and this is user {own}: chown {own} {}", root.display()));
    }
    let mode = about.mode() & 0o7777;
    if mode & 0o022 != 0 {
        return refused(format!("its mode {mode:04o} lets others write to it: chmod go-w {}", root.display()));
    }
    Ok(())
}

/// Who the root is; nothing where it was not yet asked.
///
/// # Errors
/// [`Kind::Foreign`] when it is not where it was made, or does not say where.
pub fn identity(root: &Path) -> Result<Option<Uuid>> {
    let Some(kept) = read(root)? else { return Ok(None) };
    let now = Identity::of(root, kept.id).map_err(failed("look at", root))?;
    if kept.fits(&now) {
        return Ok(Some(kept.id));
    }
    let why = if kept.path == now.path {
        "it was put there as a copy, or restored: pods that came with it may be running elsewhere".to_owned()
    } else {
        format!("it was made at {}, and copied or moved here: its pods belong there", kept.path.display())
    };
    Err(Error::new(Kind::Foreign, format!("use the pods in {}", root.display())).because(why))
}

fn read(root: &Path) -> Result<Option<Identity>> {
    let path = root.join(FILE);
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            // Who it is cannot be told any more, as of a root that came from elsewhere.
            .map_err(|error| Error::new(Kind::Foreign, format!("read {}", path.display())).because(error)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(Error::new(Kind::Io, format!("read {}", path.display())).because(error)),
    }
}

/// The identity of a root; one that was not yet asked is given one.
///
/// # Errors
/// Those of [`make`] and [`identity`].
pub fn identify(root: &Path) -> Result<Uuid> {
    make(root)?;
    if let Some(id) = identity(root)? {
        return Ok(id);
    }
    let directory = File::open(root).map_err(failed("look at", root))?;
    // Of two that come here at once one writes.
    directory.lock().map_err(failed("lock", root))?;
    match identity(root)? {
        Some(id) => Ok(id),
        None => write(root, Uuid::new_v4()),
    }
}

/// Makes the root that stands here, wherever it came from, one of its own. Its pods have to be gone before.
///
/// # Errors
/// [`Kind::Io`].
pub fn adopt(root: &Path) -> Result<()> {
    check(root)?;
    write(root, Uuid::new_v4()).map(drop)
}

fn write(root: &Path, id: Uuid) -> Result<Uuid> {
    let now = Identity::of(root, id).map_err(failed("look at", root))?;
    let text = serde_json::to_vec(&now).map_err(|error| failed("name", root)(error.into()))?;
    super::replace(&root.join(FILE), &text)?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_and_a_root_that_was_moved_are_foreign_until_they_are_adopted() {
        let place = tempfile::tempdir().unwrap();
        let (first, second) = (place.path().join("first"), place.path().join("second"));
        let id = identify(&first).unwrap();
        assert_eq!(identify(&first).unwrap(), id);
        make(&second).unwrap();
        fs::copy(first.join(FILE), second.join(FILE)).unwrap();
        assert_eq!(*identity(&second).unwrap_err().kind(), Kind::Foreign);
        adopt(&second).unwrap();
        assert_ne!(identity(&second).unwrap(), Some(id));
        let moved = place.path().join("moved");
        fs::rename(&first, &moved).unwrap();
        assert_eq!(*identify(&moved).unwrap_err().kind(), Kind::Foreign);
        fs::rename(&moved, &first).unwrap();
        assert_eq!(identity(&first).unwrap(), Some(id));
    }

    #[test]
    fn numbers_of_devices_hold_until_the_next_boot() {
        let at = |device, boot: &str, path: &str| Identity {
            id: Uuid::nil(),
            path: path.into(),
            device,
            inode: 2,
            boot: Some(boot.to_owned()),
        };
        let kept = at(7, "a", "/r");
        assert!(kept.fits(&at(7, "a", "/r")) && kept.fits(&at(8, "b", "/r")));
        assert!(!kept.fits(&at(8, "a", "/r")) && !kept.fits(&at(8, "b", "/s")));
    }

    #[test]
    fn a_root_that_others_can_write_to_is_refused_with_what_mends_it() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("root");
        make(&root).unwrap();
        assert_eq!(fs::metadata(&root).unwrap().mode() & 0o7777, 0o700);
        fs::set_permissions(&root, Permissions::from_mode(0o775)).unwrap();
        let error = make(&root).unwrap_err();
        assert_eq!(*error.kind(), Kind::Unsafe);
        assert!(crate::error::chain(&error).contains("chmod go-w"), "{error}");
    }
}
