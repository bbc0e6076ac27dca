//! Is a merged tree still what it was made of?

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd as _;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::merge::Merged;
use crate::store::{Damage, attributes, has_flags, has_list, walk};

/// Compares the tree `rootfs` with the trees that it was merged from, one open root a pass. What this user may not read is
/// not compared.
pub(super) fn compare(merged: &Merged, sources: &[File], rootfs: &Path) -> io::Result<Vec<Damage>> {
    let root = File::open(rootfs)?;
    let mut damage = Vec::new();
    let mut add = |path: &[u8], what: &str| {
        let place = format!("rendered rootfs/{}", String::from_utf8_lossy(path));
        damage.push(Damage { place, what: what.to_owned() });
    };
    for (path, source) in merged.paths() {
        match difference(&sources[source.pass], &root, path) {
            Ok(None) | Err(Errno::ACCESS) => {}
            Ok(Some(what)) => add(path, what),
            Err(Errno::NOENT) => add(path, "it is gone"),
            Err(error) => return Err(error.into()),
        }
    }
    walk(rootfs, |path, _| {
        let known = merged.has(path);
        if !known {
            add(path, "it belongs to no image");
        }
        known
    })?;
    Ok(damage)
}

fn difference(source: &File, root: &File, path: &[u8]) -> Result<Option<&'static str>, Errno> {
    let path = if path.is_empty() { b".".as_slice() } else { path };
    let was = rustix::fs::statat(source, path, AtFlags::SYMLINK_NOFOLLOW)?;
    let is = rustix::fs::statat(root, path, AtFlags::SYMLINK_NOFOLLOW)?;
    if (was.st_dev, was.st_ino) == (is.st_dev, is.st_ino) {
        return Ok(None);
    }
    if was.st_mode != is.st_mode {
        return Ok(Some("its kind or mode differs"));
    }
    if (was.st_uid, was.st_gid) != (is.st_uid, is.st_gid) {
        return Ok(Some("its owner differs"));
    }
    if time(&was) != time(&is) {
        return Ok(Some("its time differs"));
    }
    if has_flags(&is) {
        return Ok(Some("it has file flags"));
    }
    let kind = FileType::from_raw_mode(is.st_mode);
    if matches!(kind, FileType::CharacterDevice | FileType::BlockDevice) && was.st_rdev != is.st_rdev {
        return Ok(Some("it is another device"));
    }
    if matches!(kind, FileType::RegularFile | FileType::Directory) {
        if has_list(open(root, path)?.as_fd()).map_err(failed)? {
            return Ok(Some("it has an access control list"));
        }
        let attributes = |root: &File| attributes(open(root, path)?.as_fd()).map_err(failed);
        if attributes(source)? != attributes(root)? {
            return Ok(Some("its attributes differ"));
        }
    }
    match kind {
        FileType::RegularFile if was.st_size != is.st_size => Ok(Some("its size differs")),
        FileType::RegularFile => {
            Ok((!same_content(open(source, path)?, open(root, path)?)?).then_some("its content differs"))
        }
        FileType::Symlink => {
            let target = |root: &File| rustix::fs::readlinkat(root, path, Vec::new());
            Ok((target(source)? != target(root)?).then_some("it leads elsewhere"))
        }
        _ => Ok(None),
    }
}

fn open(root: &File, path: &[u8]) -> Result<File, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(root, path, flags, Mode::empty())?.into())
}

fn failed(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

fn same_content(mut was: File, mut is: File) -> Result<bool, Errno> {
    let (mut expected, mut found) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        let length = was.read(&mut expected).map_err(failed)?;
        if length == 0 {
            return Ok(true);
        }
        match is.read_exact(&mut found[..length]) {
            Ok(()) if expected[..length] == found[..length] => {}
            Ok(()) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(failed(error)),
        }
    }
}

// The fields' widths differ between systems.
#[allow(clippy::unnecessary_cast)]
fn time(stat: &Stat) -> (i64, i64) {
    (stat.st_mtime as i64, stat.st_mtime_nsec as i64)
}
