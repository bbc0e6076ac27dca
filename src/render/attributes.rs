//! Extended attributes from one file to another.
//!
//! What this user may not read is not listed to him, and what he may not set (`trusted.*`, `security.*` without
//! privilege) stays behind: the tree he copies from was made with the same rights.

use std::fs::File;
use std::io;

/// Copies the attributes of an open file or directory.
#[cfg(target_os = "linux")]
pub(super) fn copy(from: &File, to: &File) -> io::Result<()> {
    use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fsetxattr};
    let names = read_all(|buffer| flistxattr(from, buffer))?;
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let value = read_all(|buffer| fgetxattr(from, name, buffer))?;
        may_be_refused(fsetxattr(to, name, &value, XattrFlags::empty()))?;
    }
    Ok(())
}

/// Copies the attributes of an open file or directory.
#[cfg(not(target_os = "linux"))]
pub(super) fn copy(_: &File, _: &File) -> io::Result<()> {
    Ok(())
}

#[cfg(target_os = "linux")]
fn read_all(read: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> io::Result<Vec<u8>> {
    // The kernel's own bound for a value and for a list of names.
    const LARGEST: usize = 64 << 10;
    let mut buffer = vec![0; 1 << 10];
    loop {
        match read(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            Err(rustix::io::Errno::RANGE) if buffer.len() < LARGEST => buffer.resize(LARGEST, 0),
            Err(rustix::io::Errno::OPNOTSUPP) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(target_os = "linux")]
fn may_be_refused(done: rustix::io::Result<()>) -> io::Result<()> {
    use rustix::io::Errno;
    match done {
        Ok(()) | Err(Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
