//! What a sealed tree holds.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};

/// Calls `see` for every path below `rootfs`, the root (an empty path) first, parents before what is below them, and goes
/// into directories for which it answers `true`. No recursion, one descriptor at a time.
pub(crate) fn walk(rootfs: &Path, mut see: impl FnMut(&[u8], FileType) -> bool) -> io::Result<()> {
    let root = File::open(rootfs)?;
    if !see(b"", FileType::Directory) {
        return Ok(());
    }
    let mut waiting = vec![Vec::new()];
    while let Some(path) = waiting.pop() {
        for entry in Dir::read_from(open_directory(&root, &path)?)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let inner = join(&path, name);
            let kind = match entry.file_type() {
                FileType::Unknown => {
                    let stat = rustix::fs::statat(&root, inner.as_slice(), AtFlags::SYMLINK_NOFOLLOW)?;
                    FileType::from_raw_mode(stat.st_mode)
                }
                kind => kind,
            };
            if see(&inner, kind) && kind == FileType::Directory {
                waiting.push(inner);
            }
        }
    }
    Ok(())
}

/// A directory of a tree. Trees are sealed and private: the way to it was a way of directories when it was listed and still is.
fn open_directory(root: impl AsFd, path: &[u8]) -> io::Result<OwnedFd> {
    let path = if path.is_empty() { b".".as_slice() } else { path };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(root, path, flags, Mode::empty())?)
}

fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() }
}
