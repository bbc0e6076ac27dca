//! A tree as a sequence of bytes, or how one differs from another: what the model's streams hold.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Timespec, Timestamps, Uid};
use serde::{Deserialize, Serialize};

use crate::store::remove_tree;
use crate::sys::xattr;

/// The longest description of an entry.
const LONGEST: u32 = 1 << 20;

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    path: Vec<u8>,
    is: Is,
    mode: u32,
    owner: (u32, u32),
    time: (i64, i64),
    attributes: BTreeMap<String, Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Is {
    Gone,
    Directory,
    File(u64),
    Name(Vec<u8>),
    Link(Vec<u8>),
    Other(u64),
}

/// Writes `tree`, or what of it differs from `from`.
pub(super) fn write(tree: &Path, from: Option<&Path>, into: &mut dyn Write) -> io::Result<()> {
    let now = entries(tree)?;
    let before: BTreeMap<Vec<u8>, Entry> = from
        .map(entries)
        .transpose()?
        .unwrap_or_default()
        .into_iter()
        .map(|entry| (entry.path.clone(), entry))
        .collect();
    let kept: std::collections::BTreeSet<&[u8]> = now.iter().map(|entry| entry.path.as_slice()).collect();
    for gone in before.values().filter(|entry| !kept.contains(entry.path.as_slice())) {
        put(&Entry { is: Is::Gone, ..gone.clone() }, into)?;
    }
    for entry in &now {
        let path = tree.join(OsStr::from_bytes(&entry.path));
        // Directories always: what is made in one on the other side changes its time.
        if entry.is != Is::Directory && before.get(&entry.path) == Some(entry) && same(entry, &path, from)? {
            continue;
        }
        put(entry, into)?;
        if let Is::File(size) = entry.is {
            io::copy(&mut File::open(path)?.take(size), into)?;
        }
    }
    Ok(())
}

fn same(entry: &Entry, path: &Path, from: Option<&Path>) -> io::Result<bool> {
    match (&entry.is, from) {
        (Is::File(_), Some(from)) => Ok(fs::read(path)? == fs::read(from.join(OsStr::from_bytes(&entry.path)))?),
        _ => Ok(true),
    }
}

fn put(entry: &Entry, into: &mut dyn Write) -> io::Result<()> {
    let text = serde_json::to_vec(entry)?;
    into.write_all(&u32::try_from(text.len()).map_err(io::Error::other)?.to_le_bytes())?;
    into.write_all(&text)
}

/// All below `tree` and itself, parents first.
fn entries(tree: &Path) -> io::Result<Vec<Entry>> {
    let mut all = Vec::new();
    let mut names: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    let mut left = vec![PathBuf::new()];
    while let Some(inside) = left.pop() {
        let path = tree.join(&inside);
        let about = fs::symlink_metadata(&path)?;
        let inside_bytes = inside.as_os_str().as_bytes().to_vec();
        let kind = about.file_type();
        let is = if kind.is_dir() {
            let mut below: Vec<PathBuf> =
                fs::read_dir(&path)?.map(|entry| Ok(inside.join(entry?.file_name()))).collect::<io::Result<_>>()?;
            below.sort();
            left.extend(below.into_iter().rev());
            Is::Directory
        } else if let (true, Some(first)) = (about.nlink() > 1, names.get(&about.ino())) {
            Is::Name(first.clone())
        } else if kind.is_symlink() {
            Is::Link(fs::read_link(&path)?.as_os_str().as_bytes().to_vec())
        } else if kind.is_file() {
            Is::File(about.len())
        } else {
            Is::Other(about.rdev())
        };
        if about.nlink() > 1 && !kind.is_dir() {
            names.entry(about.ino()).or_insert_with(|| inside_bytes.clone());
        }
        let attributes = if kind.is_dir() || kind.is_file() { of_file(&File::open(&path)?)? } else { BTreeMap::new() };
        all.push(Entry {
            path: inside_bytes,
            is,
            mode: about.mode(),
            owner: (about.uid(), about.gid()),
            time: (about.mtime(), about.mtime_nsec()),
            attributes,
        });
    }
    Ok(all)
}

fn of_file(file: &File) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let all = crate::store::attributes(file.as_fd())?;
    Ok(all.into_iter().map(|(name, value)| (String::from_utf8_lossy(&name).into_owned(), value)).collect())
}

/// Makes what was written of the directory `tree`, which holds what it was the difference to.
pub(super) fn read(from: &mut dyn Read, tree: &Path) -> io::Result<()> {
    let mut directories = Vec::new();
    loop {
        let mut length = [0; 4];
        match from.read_exact(&mut length) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            other => other?,
        }
        let length = u32::from_le_bytes(length);
        if length > LONGEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut text = vec![0; length as usize];
        from.read_exact(&mut text)?;
        let entry: Entry = serde_json::from_slice(&text)?;
        let path = inside(tree, &entry.path)?;
        let there = fs::symlink_metadata(&path).ok();
        let directory = entry.is == Is::Directory;
        match there {
            Some(about) if about.is_dir() && !directory => remove_tree(&path)?,
            Some(about) if !about.is_dir() => fs::remove_file(&path)?,
            _ => {}
        }
        match &entry.is {
            Is::Gone => continue,
            Is::Directory => {
                if !path.is_dir() {
                    fs::create_dir(&path)?;
                }
                directories.push(entry);
                continue;
            }
            Is::File(size) => {
                let copied = io::copy(&mut from.take(*size), &mut File::create_new(&path)?)?;
                if copied != *size {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            Is::Name(first) => {
                fs::hard_link(inside(tree, first)?, &path)?;
                continue;
            }
            Is::Link(target) => symlink(OsStr::from_bytes(target), &path)?,
            Is::Other(device) => {
                rustix::fs::mknodat(CWD, &path, kind(entry.mode)?, Mode::RUSR, *device)?;
            }
        }
        dress(&path, &entry)?;
    }
    // From below upwards: what is made in a directory changes its time.
    directories.iter().rev().try_for_each(|entry| dress(&inside(tree, &entry.path)?, entry))
}

// The field's width differs between systems.
#[allow(clippy::useless_conversion)]
fn kind(mode: u32) -> io::Result<FileType> {
    Ok(FileType::from_raw_mode(mode.try_into().map_err(io::Error::other)?))
}

fn inside(tree: &Path, path: &[u8]) -> io::Result<PathBuf> {
    let path = Path::new(OsStr::from_bytes(path));
    match path.components().all(|component| matches!(component, Component::Normal(_))) {
        true => Ok(tree.join(path)),
        false => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn dress(path: &Path, entry: &Entry) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(entry.owner.0), Gid::from_raw(entry.owner.1));
    if rustix::process::geteuid().is_root() {
        rustix::fs::chownat(CWD, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    if matches!(entry.is, Is::Directory | Is::File(_)) {
        let file = File::open(path)?;
        for (name, value) in &entry.attributes {
            xattr::set(file.as_fd(), name.as_bytes(), value)?;
        }
    }
    if !matches!(entry.is, Is::Link(_)) {
        fs::set_permissions(path, fs::Permissions::from_mode(entry.mode & 0o7777))?;
    }
    let time = Timespec { tv_sec: entry.time.0, tv_nsec: entry.time.1 };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}
