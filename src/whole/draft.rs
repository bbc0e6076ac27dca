//! What is being written beside the place where it will appear: files and directories under hidden names.
//!
//! Whoever writes one holds its lock, so one that nobody holds was left by a process that was killed, and the next that writes to
//! the same place takes it away. A signal that ends the process takes it away, too ([`crate::sys::unfinished`]).

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use tempfile::{Builder, NamedTempFile, TempDir};

/// Letters and digits at the end of such a name.
const RANDOM: usize = 6;
/// What others may do in a directory that has its name.
const OPEN: u32 = 0o755;

/// What becomes of a file that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overwrite {
    /// It stays, and nothing is written.
    Refuse,
    /// The new one takes its place.
    Replace,
}

impl Overwrite {
    /// As somebody asked for, or did not.
    pub fn asked(replace: bool) -> Self {
        if replace { Self::Replace } else { Self::Refuse }
    }
}

/// A file that does not yet have its name. Dropped unpublished, it is gone.
#[derive(Debug)]
pub struct Draft {
    file: NamedTempFile,
    place: PathBuf,
}

impl Draft {
    /// One that will be at `place`, with what the umask leaves of `mode`.
    ///
    /// # Errors
    /// The system's; `InvalidInput` where `place` has no name.
    pub fn new(place: &Path, mode: u32) -> io::Result<Self> {
        let (parent, name) = split(place)?;
        let (file, _) = make(parent, name, |builder| {
            let file = builder.permissions(Permissions::from_mode(mode)).tempfile_in(parent)?;
            let lock = file.as_file().try_clone()?;
            Ok((file, lock))
        })?;
        Ok(Self { file, place: place.to_owned() })
    }

    /// What is written to.
    pub fn file(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// Gives it its name.
    ///
    /// # Errors
    /// The system's; `AlreadyExists` where something is there that is not to be replaced.
    pub fn publish(self, overwrite: Overwrite) -> io::Result<()> {
        let published = match overwrite {
            Overwrite::Replace => self.file.persist(&self.place),
            Overwrite::Refuse => self.file.persist_noclobber(&self.place),
        };
        published.map(drop).map_err(|error| error.error)
    }
}

/// A directory, its owner's alone, that does not yet have its name. Dropped unpublished, it is gone with all in it.
#[derive(Debug)]
pub struct DraftDirectory {
    directory: TempDir,
    handle: File,
    place: PathBuf,
}

impl DraftDirectory {
    /// One that will be at `place`.
    ///
    /// # Errors
    /// The system's; `InvalidInput` where `place` has no name, `AlreadyExists` where something is there.
    pub fn new(place: &Path) -> io::Result<Self> {
        let (parent, name) = split(place)?;
        if place.symlink_metadata().is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let (directory, handle) = make(parent, name, |builder| {
            let directory = builder.tempdir_in(parent)?;
            let lock = File::open(directory.path())?;
            Ok((directory, lock))
        })?;
        Ok(Self { directory, handle, place: place.to_owned() })
    }

    /// Where it is by now.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// It, opened.
    pub fn handle(&self) -> &File {
        &self.handle
    }

    /// Gives it its name, and lets everybody look into it.
    ///
    /// # Errors
    /// The system's; `AlreadyExists` where something came up there.
    pub fn publish(self) -> io::Result<()> {
        self.handle.set_permissions(Permissions::from_mode(OPEN))?;
        rename(self.path(), &self.place)?;
        // It is no longer where the guard would look for it.
        let _ = self.directory.keep();
        Ok(())
    }

    /// Gives its name to the directory `name` in it, and takes the rest away.
    ///
    /// # Errors
    /// As for all of it.
    pub fn publish_part(self, name: &str) -> io::Result<()> {
        rename(&self.path().join(name), &self.place)
    }
}

fn split(place: &Path) -> io::Result<(&Path, &OsStr)> {
    let name = place.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it has no name"))?;
    Ok((place.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")), name))
}

/// Gives a directory its name, unless something has it.
#[cfg(target_os = "linux")]
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
}

/// There is no way to forbid replacing: an empty directory that came up since would be, and nothing else.
#[cfg(not(target_os = "linux"))]
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

fn make<T: AsRef<Path>>(
    parent: &Path,
    name: &OsStr,
    make: impl Fn(&mut Builder<'_, '_>) -> io::Result<(T, File)>,
) -> io::Result<(T, File)> {
    let mut prefix = OsString::from(".");
    prefix.push(name);
    prefix.push(".partial-");
    sweep(parent, prefix.as_bytes());
    let mut builder = Builder::new();
    builder.prefix(&prefix).rand_bytes(RANDOM);
    loop {
        let (made, lock) = make(&mut builder)?;
        crate::sys::unfinished::note(made.as_ref());
        // Where there are no locks nobody sweeps either.
        if lock.lock().is_err() || is_at(&lock, made.as_ref()) {
            return Ok((made, lock));
        }
        // A sweep found it in the moment before it was locked.
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let place = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    file.metadata().map(place).ok() == path.symlink_metadata().map(place).ok()
}

/// Removes what killed processes left. What cannot be removed stays: it is in nobody's way.
fn sweep(parent: &Path, prefix: &[u8]) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let random = name.as_bytes().strip_prefix(prefix).filter(|random| random.len() == RANDOM);
        if random.is_none_or(|random| !random.iter().all(u8::is_ascii_alphanumeric)) {
            continue;
        }
        // Other users' are none of ours, and a pipe of that name must not be waited for.
        let ours = entry.metadata().is_ok_and(|found| found.uid() == rustix::process::geteuid().as_raw());
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let flags = i32::try_from(flags.bits()).unwrap_or(0);
        let Ok(file) = OpenOptions::new().read(true).custom_flags(flags).open(entry.path()) else { continue };
        if ours && file.try_lock().is_ok() && is_at(&file, &entry.path()) {
            let is_directory = file.metadata().is_ok_and(|found| found.is_dir());
            let _ = if is_directory { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(place: &Path) -> Vec<OsString> {
        let mut names: Vec<_> = fs::read_dir(place).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_a_killed_process_left_goes_with_the_next_and_nothing_else_does() {
        let place = tempfile::tempdir().unwrap();
        let kept = [".a.aci.partial-1234567", ".a.aci.partial-12.456", ".a.aciABCDEF", ".b.aci.partial-123456"];
        for name in kept {
            fs::write(place.path().join(name), "").unwrap();
        }
        fs::create_dir_all(place.path().join(".a.aci.partial-000001/rootfs/deep")).unwrap();
        fs::write(place.path().join(".a.aci.partial-000002"), "half").unwrap();
        let directory = DraftDirectory::new(&place.path().join("a.aci")).unwrap();
        let file = Draft::new(&place.path().join("a.aci"), 0o666).unwrap();
        let mut expected: Vec<OsString> = kept.map(OsString::from).into();
        expected.extend([directory.path(), file.file.path()].map(|path| path.file_name().unwrap().to_owned()));
        expected.sort();
        assert_eq!(names(place.path()), expected);
    }
}
