//! Files and directories that appear whole, under their names, or not at all.
//!
//! ```text
//!  what a user named, however large    Draft, DraftDirectory    .NAME.partial-XXXXXX  locked; one that nobody holds goes with the next
//!  small files of our own              replace, create          .NAME.new-PID-N       in directories that nobody lists
//! ```
//! All are made beside their place and get its name by a rename, or a link where nothing may be there yet. Whoever looks sees what was there before or all that is new.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(feature = "run")]
mod draft;

#[cfg(feature = "run")]
pub use draft::{Draft, DraftDirectory, Overwrite};

/// What of a small file is there after the host went down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The old one or the new one: it is on disk before it has its name.
    Synced,
    /// What the file system makes of a rename.
    Usual,
    /// Maybe nothing, which would not matter: no disk is waited for.
    Fleeting,
}

/// Makes the file `place` one with `content`, with what the umask leaves of `mode`.
///
/// # Errors
/// The system's. What was there is there then.
pub fn replace(place: &Path, mode: u32, content: &[u8], durability: Durability) -> io::Result<()> {
    let (fresh, mut file) = beside(place, mode)?;
    let written = file
        .write_all(content)
        .and_then(|()| if durability == Durability::Synced { file.sync_all() } else { Ok(()) })
        .and_then(|()| settle(&fresh, place, durability));
    if written.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    written
}

/// Makes the file `place`, which must not be there, with `content` and what the umask leaves of `mode`: nobody ever finds it empty, and
/// of several who try at once one succeeds.
///
/// # Errors
/// The system's; `AlreadyExists`.
#[cfg(feature = "run")]
pub fn create(place: &Path, mode: u32, content: &[u8]) -> io::Result<()> {
    let (fresh, mut file) = beside(place, mode)?;
    let written = file.write_all(content).and_then(|()| fs::hard_link(&fresh, place));
    let _ = fs::remove_file(&fresh);
    written
}

/// A new file beside `place`.
fn beside(place: &Path, mode: u32) -> io::Result<(PathBuf, File)> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = place.file_name().ok_or(io::ErrorKind::InvalidInput)?.display();
    loop {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let fresh = place.with_file_name(format!(".{name}.new-{}-{number}", std::process::id()));
        match OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh) {
            // Of one that was killed, which had our number.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            file => return Ok((fresh, file?)),
        }
    }
}

fn settle(fresh: &Path, place: &Path, durability: Durability) -> io::Result<()> {
    // ext4 writes a file out when a rename puts it over another, which waits for the disk; not when they change places.
    #[cfg(all(target_os = "linux", feature = "run"))]
    if durability == Durability::Fleeting && exchange(fresh, place).is_ok() {
        return fs::remove_file(fresh);
    }
    let _ = durability;
    fs::rename(fresh, place)
}

/// Has two files change places.
///
/// # Errors
/// The system's: not every file system can.
#[cfg(all(target_os = "linux", feature = "run"))]
pub(crate) fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_stays_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("file");
        for durability in [Durability::Synced, Durability::Usual, Durability::Fleeting] {
            for content in ["one", "two, longer", ""] {
                replace(&place, 0o600, content.as_bytes(), durability).unwrap();
                assert_eq!(fs::read_to_string(&place).unwrap(), content);
                assert_eq!(place.metadata().unwrap().permissions().mode() & 0o777, 0o600);
            }
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_replaced_stays_and_nothing_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("directory");
        fs::create_dir_all(place.join("full")).unwrap();
        assert!(replace(&place, 0o600, b"file", Durability::Usual).is_err());
        assert!(replace(Path::new("/"), 0o600, b"file", Durability::Usual).is_err());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        assert!(place.join("full").is_dir());
    }

    #[test]
    #[cfg(feature = "run")]
    fn of_many_who_create_one_file_one_does_and_it_is_never_seen_empty() {
        let directory = tempfile::tempdir().unwrap();
        for round in 0..50 {
            let place = directory.path().join(round.to_string());
            let made = std::thread::scope(|scope| {
                let looking = scope.spawn(|| {
                    loop {
                        if let Ok(content) = fs::read(&place) {
                            return content;
                        }
                    }
                });
                let made = [1_u8, 2, 3].map(|number| {
                    scope.spawn({
                        let place = &place;
                        move || create(place, 0o600, &[number; 99])
                    })
                });
                let made = made.map(|made| made.join().unwrap());
                assert_eq!(looking.join().unwrap(), fs::read(&place).unwrap());
                made
            });
            assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 1);
            assert_eq!(fs::read(&place).unwrap().len(), 99);
            let taken = |made: &&io::Error| made.kind() == io::ErrorKind::AlreadyExists;
            assert_eq!(made.iter().filter_map(|made| made.as_ref().err()).filter(taken).count(), 2);
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 50);
    }

    #[test]
    fn many_may_replace_one_file_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("file");
        std::thread::scope(|scope| {
            for number in 0..8_u8 {
                let place = &place;
                scope.spawn(move || {
                    (0..50).for_each(|_| replace(place, 0o600, &[number; 999], Durability::Fleeting).unwrap())
                });
            }
        });
        let content = fs::read(&place).unwrap();
        assert!(content.len() == 999 && content.iter().all(|byte| *byte == content[0]));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
