//! Extended attributes from one file to another.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;

use rustix::io::Errno;

use crate::sys::xattr;

/// Copies the attributes of an open file or directory.
///
/// What this user may not read is not listed to him, and what he may not set (`security.*` without privilege) stays behind:
/// the tree he copies from was made with the same rights.
pub(super) fn copy(from: &File, to: &File) -> io::Result<()> {
    for name in xattr::list(from.as_fd())? {
        let value = xattr::get(from.as_fd(), &name)?;
        match xattr::set(to.as_fd(), &name, &value) {
            Err(error) if !may_be_refused(&error) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn may_be_refused(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP))
}
