//! What openat2(2) does within a root, for kernels before 5.6 and filters that know no better: component by component.
//!
//! Each name is opened by itself from a handle of the directory before it, and never through a link; what a link says is read from its own
//! handle and walked likewise. The way back up is kept as handles, so that `..` gives the directory that was come from, whoever moves it
//! meanwhile, and of the root the root. There is no way back to a path.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, PROC_SUPER_MAGIC, fstat, fstatfs, openat, readlinkat};
use rustix::io::Errno;

use super::inside::Reach;
use crate::sys::linux::mount;

/// How many links the kernel follows.
const LINKS: usize = 40;

const HANDLE: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A descriptor of `path` inside `root`, with the refusals of openat2(2).
///
/// # Errors
/// The system's: `ELOOP` for a link where none may be, and for those of procfs that lead past all paths; `EXDEV` for a mount.
pub(super) fn open(root: BorrowedFd<'_>, path: &Path, flags: OFlags, reach: Reach) -> io::Result<OwnedFd> {
    let follows = !flags.contains(OFlags::NOFOLLOW);
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mount = if reach == Reach::SameMount { Some(mount::number(root)?) } else { None };
    let reached = |file: OwnedFd| match mount {
        Some(mount) if mount::number(file.as_fd())? != mount => Err(io::Error::from(Errno::XDEV)),
        _ => Ok(file),
    };
    // The directories that it went through.
    let mut way: Vec<OwnedFd> = Vec::new();
    // The next name is the last.
    let mut ahead = names(path.as_os_str().as_bytes())?;
    let mut links = 0;
    loop {
        let here = way.last().map_or(root, AsFd::as_fd);
        let Some(name) = ahead.pop() else { return reached(openat(here, ".", flags, Mode::empty())?) };
        match &name[..] {
            b"." => continue,
            b".." => {
                way.pop();
                continue;
            }
            _ => {}
        }
        let last = ahead.is_empty();
        let name = OsStr::from_bytes(&name);
        let found = reached(openat(here, name, HANDLE, Mode::empty())?)?;
        match FileType::from_raw_mode(fstat(&found)?.st_mode) {
            FileType::Symlink if !last || follows => {
                links += 1;
                if reach == Reach::NoLinks || links > LINKS {
                    return Err(Errno::LOOP.into());
                }
                let target = readlinkat(&found, "", Vec::new())?;
                let target = target.as_bytes();
                if fstatfs(&found)?.f_type == PROC_SUPER_MAGIC && !is_plain(target) {
                    return Err(Errno::LOOP.into());
                }
                if target.starts_with(b"/") {
                    way.clear();
                }
                ahead.append(&mut names(target)?);
            }
            FileType::Directory if !last => way.push(found),
            _ if !last => return Err(Errno::NOTDIR.into()),
            FileType::Directory if flags.contains(OFlags::PATH) => return Ok(found),
            _ if flags.contains(OFlags::PATH | OFlags::DIRECTORY) => return Err(Errno::NOTDIR.into()),
            _ if flags.contains(OFlags::PATH) => return Ok(found),
            // Should it have become a link meanwhile, that is refused.
            _ => return reached(openat(here, name, flags, Mode::empty())?),
        }
    }
}

/// The names of a path, the first one last.
fn names(path: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    if path.is_empty() {
        return Err(Errno::NOENT.into());
    }
    let mut names: Vec<Vec<u8>> =
        path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect();
    if path.ends_with(b"/") {
        // It has to be a directory.
        names.push(b".".to_vec());
    }
    names.reverse();
    Ok(names)
}

/// Whether a link of procfs is one by name, as `self` and `mounts` are: those that lead to what a process has open, its root or its
/// namespaces say an absolute path, or a kind and a number.
fn is_plain(target: &[u8]) -> bool {
    !target.starts_with(b"/")
        && target.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicBool, Ordering};

    use proptest::prelude::*;
    use rustix::fs::openat2;

    use super::*;

    /// What came of it: device and number of what was found, or the error.
    fn outcome(opened: rustix::io::Result<OwnedFd>) -> Result<(u64, u64), Errno> {
        let about = fstat(opened?)?;
        Ok((about.st_dev, about.st_ino))
    }

    fn agree(root: BorrowedFd<'_>, path: &Path, flags: OFlags, reach: Reach) {
        // It cannot tell where `..` leads while somebody renames or mounts, whoever that is (`EAGAIN`).
        let by_kernel = loop {
            match openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), reach.flags()) {
                Err(Errno::AGAIN) => std::thread::yield_now(),
                done => break done,
            }
        };
        if by_kernel.as_ref().is_err_and(|error| *error == Errno::NOSYS) {
            return;
        }
        let walked = open(root, path, flags, reach);
        let walked = walked.map_err(|error| Errno::from_io_error(&error).unwrap());
        assert_eq!(outcome(walked), outcome(by_kernel), "{} {flags:?} {:?}", path.display(), reach.flags());
    }

    const FLAGS: [OFlags; 5] = [
        OFlags::PATH,
        OFlags::PATH.union(OFlags::DIRECTORY),
        OFlags::PATH.union(OFlags::NOFOLLOW),
        OFlags::RDONLY.union(OFlags::NONBLOCK),
        OFlags::WRONLY,
    ];
    const REACHES: [Reach; 3] = [Reach::Anywhere, Reach::SameMount, Reach::NoLinks];

    fn tree() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir_all(root.join("a/b/a")).unwrap();
        fs::write(root.join("file"), "").unwrap();
        fs::write(root.join("a/b/file"), "").unwrap();
        for (link, target) in [
            ("up", ".."),
            ("a/up", "../.."),
            ("a/b/top", "/"),
            ("a/top", "/a/b/"),
            ("round", "round"),
            ("a/round", "b/../round"),
            ("lost", "nowhere"),
            ("a/lost", "../a/nowhere/at"),
            ("to", "file"),
            ("a/to", "b/"),
            ("b", "a/b"),
            ("slash", "file/"),
            ("out", "/../../etc/passwd"),
        ] {
            symlink(target, root.join(link)).unwrap();
        }
        directory
    }

    #[test]
    fn what_the_kernel_finds_and_refuses_is_found_and_refused() {
        let tree = tree();
        let root = fs::File::open(tree.path()).unwrap();
        let known = ["a", "b", "file", "up", "top", "round", "lost", "to", "slash", "out", ".", "..", "", "none"];
        proptest!(|(
            names in prop::collection::vec(prop::sample::select(known.to_vec()), 0..7),
            flags in prop::sample::select(FLAGS.to_vec()),
            reach in prop::sample::select(REACHES.to_vec()),
        )| agree(root.as_fd(), Path::new(&names.join("/")), flags, reach));
    }

    #[test]
    fn links_of_procfs_that_lead_past_all_paths_and_mounts_are_refused_as_the_kernel_refuses_them() {
        let root = fs::File::open("/").unwrap();
        for path in [
            "proc/self/exe",
            "proc/self/root",
            "proc/self/root/etc",
            "proc/self/cwd/..",
            "proc/self/fd/0",
            "proc/self/ns/mnt",
            "proc/self/stat",
            "proc/thread-self/stat",
            "/proc/mounts",
            "proc/net/dev",
            "proc",
        ] {
            for reach in REACHES {
                for flags in FLAGS {
                    agree(root.as_fd(), Path::new(path), flags, reach);
                }
            }
        }
    }

    #[test]
    fn nothing_escapes_while_somebody_swaps_a_directory_for_a_link() {
        let tree = tree();
        let root = tree.path();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("file"), "outside").unwrap();
        symlink(outside.path(), root.join("a/link")).unwrap();
        let over = AtomicBool::new(false);
        let secret = rustix::fs::stat(outside.path().join("file")).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let flags = rustix::fs::RenameFlags::EXCHANGE;
                    let at = rustix::fs::CWD;
                    let _ = rustix::fs::renameat_with(at, root.join("a/b"), at, root.join("a/link"), flags);
                }
            });
            let handle = fs::File::open(root).unwrap();
            for _ in 0..2000 {
                for path in ["a/b/file", "a/b/a/../file", "a/b/../../a/b/file"] {
                    if let Ok(found) = open(handle.as_fd(), Path::new(path), OFlags::RDONLY, Reach::Anywhere) {
                        assert_ne!(fstat(&found).unwrap().st_ino, secret.st_ino);
                    }
                }
            }
            over.store(true, Ordering::Relaxed);
        });
    }
}
