//! What is being written beside the place where it will appear: files and directories under hidden names.
//!
//! Whoever writes one holds its lock, so one that nobody holds was left by a process that was killed, and the next that writes to
//! the same place takes it away.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use tempfile::{Builder, NamedTempFile, TempDir};

/// Letters and digits at the end of such a name.
const RANDOM: usize = 6;

/// A file that will be called `name` in `parent`, with what the umask leaves of `mode`.
pub(crate) fn file(parent: &Path, name: &OsStr, mode: u32) -> io::Result<NamedTempFile> {
    make(parent, name, |builder| {
        let file = builder.permissions(Permissions::from_mode(mode)).tempfile_in(parent)?;
        let lock = file.as_file().try_clone()?;
        Ok((file, lock))
    })
    .map(|(file, _)| file)
}

/// A directory for nobody else that will be called `name` in `parent`, and its handle, which holds the lock.
pub(crate) fn directory(parent: &Path, name: &OsStr) -> io::Result<(TempDir, File)> {
    make(parent, name, |builder| {
        let directory = builder.tempdir_in(parent)?;
        let lock = File::open(directory.path())?;
        Ok((directory, lock))
    })
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
        let (directory, _lock) = self::directory(place.path(), OsStr::new("a.aci")).unwrap();
        let file = self::file(place.path(), OsStr::new("a.aci"), 0o666).unwrap();
        let mut expected: Vec<OsString> = kept.map(OsString::from).into();
        expected.extend([directory.path(), file.path()].map(|path| path.file_name().unwrap().to_owned()));
        expected.sort();
        assert_eq!(names(place.path()), expected);
    }
}
