//! Extended attributes from one file to another.

use std::io;
use std::os::fd::AsFd;

use rustix::io::Errno;

use crate::sys::xattr;

/// Gives an open file or directory the attributes of another that are to be kept, and no others.
///
/// What this user may not read is not listed to him, and what he may not change (`security.*` without privilege) stays as
/// it is: the tree he copies from was made with the same rights.
pub(crate) fn copy(from: impl AsFd, to: impl AsFd, keep: impl Fn(&[u8]) -> bool) -> io::Result<()> {
    let (from, to) = (from.as_fd(), to.as_fd());
    let mut wanted = xattr::list(from)?;
    wanted.retain(|name| keep(name));
    for name in xattr::list(to)?.iter().filter(|name| !wanted.contains(name)) {
        unless_refused(xattr::remove(to, name))?;
    }
    for name in wanted {
        unless_refused(xattr::set(to, &name, &xattr::get(from, &name)?))?;
    }
    Ok(())
}

fn unless_refused(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP)) => {
            Ok(())
        }
        done => done,
    }
}
