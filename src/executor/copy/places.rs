//! What is copied and where it goes, as `cp` reads paths: `DIR/.` is what is in a directory, `NAME/` is a directory that is there.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use super::{Entry, LOOK};

const HANDLE: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// A path with its last name set apart; none where it ends in `.` or `..`, or is the root.
struct Words<'p> {
    above: &'p Path,
    name: Option<&'p OsStr>,
    /// A directory is meant: a slash stands behind the name.
    directory: bool,
}

impl<'p> Words<'p> {
    fn of(path: &'p Path) -> Self {
        let bytes = path.as_os_str().as_bytes();
        let end = bytes.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1);
        let start = bytes[..end].iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        let name = Some(&bytes[start..end]).filter(|name| !matches!(*name, b"" | b"." | b".."));
        let above = if start == 0 { &b"."[..] } else { &bytes[..start] };
        let path = |bytes: &'p [u8]| Path::new(OsStr::from_bytes(bytes));
        Self { above: path(above), name: name.map(OsStr::from_bytes), directory: end < bytes.len() }
    }
}

/// Opens paths of one side without a file's being touched, with [`OFlags::PATH`]: the host's, or an app's, where links stay inside.
pub trait Open: Fn(&Path, OFlags) -> io::Result<OwnedFd> {}
impl<F: Fn(&Path, OFlags) -> io::Result<OwnedFd>> Open for F {}

/// Paths of the host, as this process sees them.
fn on_host(path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    Ok(openat(CWD, path, flags, Mode::empty())?)
}

/// What is copied.
pub struct Source {
    /// A look at it.
    pub(super) fd: OwnedFd,
    /// The directory that it stands in and its name there, for one that may be a link.
    place: Option<(OwnedFd, CString)>,
    /// The name of its copy in a directory. None for what is in it.
    pub(super) called: Option<CString>,
}

impl Source {
    /// Of the host.
    pub fn on_host(path: &Path, follow: bool) -> io::Result<Self> {
        Self::new(path, follow, on_host)
    }

    /// What `open` finds at `path`.
    pub fn new(path: &Path, follow: bool, open: impl Open) -> io::Result<Self> {
        let words = Words::of(path);
        let Some(name) = words.name else { return Ok(Self { fd: open(path, HANDLE)?, place: None, called: None }) };
        let called = CString::new(name.as_bytes())?;
        if words.directory {
            return Ok(Self { fd: open(path, HANDLE)?, place: None, called: Some(called) });
        }
        let above = open(words.above, HANDLE)?;
        if follow {
            return Ok(Self { fd: open(path, OFlags::PATH | OFlags::CLOEXEC)?, place: None, called: Some(called) });
        }
        let fd = openat(&above, &*called, LOOK, Mode::empty())?;
        Ok(Self { fd, place: Some((above, called.clone())), called: Some(called) })
    }

    /// Where it stands.
    pub(super) fn entry<'a>(&'a self, target: &'a Target) -> Entry<'a> {
        let (from, name) = match &self.place {
            Some((from, name)) => (from, name.as_c_str()),
            None => (&self.fd, c"."),
        };
        Entry { from: from.as_fd(), name, to: target.directory.as_fd() }
    }
}

/// Where a copy goes.
pub struct Target {
    /// The directory that it comes to stand in.
    pub(super) directory: OwnedFd,
    /// The name that it gets there, where it does not keep its own.
    pub(super) name: Option<CString>,
}

impl Target {
    /// On the host.
    pub fn on_host(path: &Path) -> io::Result<Self> {
        Self::new(path, on_host)
    }

    /// A directory that `open` finds at `path`, or a new name in the directory above.
    pub fn new(path: &Path, open: impl Open) -> io::Result<Self> {
        let words = Words::of(path);
        let found = open(path, HANDLE);
        let error = match found {
            Ok(directory) => return Ok(Self { directory, name: None }),
            Err(error) => error,
        };
        let is = |errno: Errno| error.raw_os_error() == Some(errno.raw_os_error());
        match words.name {
            Some(name) if !words.directory && (is(Errno::NOENT) || is(Errno::NOTDIR) || is(Errno::LOOP)) => {
                Ok(Self { directory: open(words.above, HANDLE)?, name: Some(CString::new(name.as_bytes())?) })
            }
            _ if is(Errno::NOENT) => Err(io::Error::new(error.kind(), "there is no such directory")),
            _ => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_ends_in_a_name_a_directory_or_what_is_in_one() {
        let words = |path: &'static str| {
            let words = Words::of(Path::new(path));
            (words.above.to_str().unwrap(), words.name.map(|name| name.to_str().unwrap()), words.directory)
        };
        assert_eq!(words("a"), (".", Some("a"), false));
        assert_eq!(words("a/b//"), ("a/", Some("b"), true));
        assert_eq!(words("/a"), ("/", Some("a"), false));
        assert_eq!(words("a/."), ("a/", None, false));
        for content in [".", "..", "/", "./", "a/..", "//"] {
            assert_eq!(words(content).1, None, "{content}");
        }
    }
}
