//! File flags (`chflags(1)`).

use std::io;
use std::path::Path;

use super::{c_path, check};

/// Takes all flags off what is at `path`, a link itself: `uchg` and its like, which keep even root from removing a file and
/// which a process in a jail can set on UFS. Those of the superuser go up to secure level 0.
///
/// # Errors
/// The kernel's: `EOPNOTSUPP` where the file system has no flags.
pub fn clear(path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    // SAFETY: the path lives across the call.
    check(unsafe { libc::lchflags(path.as_ptr(), 0) })
}
