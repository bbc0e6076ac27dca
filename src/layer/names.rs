//! Files with several names, across the edge between a parent and what was changed.
//!
//! An image gives its names of one file one file, and knows nothing of its parent's. So where a file has a name that it did not
//! have, or one that was another's, all its names are carried; where names have parted, those of all but one of the files are.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::fs::FileType;

use super::compare::{Found, Key};
use super::stack::{Level, Named, about, inode, kind};
use crate::sys::beneath::{self, HANDLE};

/// Device and inode.
type Id = (u64, u64);

/// A name of a file that has several, or had.
#[derive(Debug)]
pub(super) struct File {
    pub(super) key: Key,
    /// The file.
    pub(super) is: Id,
    /// The parent's file of that name, where it is of the same kind.
    pub(super) was: Option<Id>,
}

/// Carries what is needed for names of one file to be names of one file again, and others not. Where only a part of the tree was
/// looked at, `rest` is where the rest is: the parent's, and the tree.
///
/// # Errors
/// The system's.
pub(super) fn settle(found: &mut Found, files: Vec<File>, rest: Option<(&Level, BorrowedFd<'_>)>) -> io::Result<()> {
    let mut together: BTreeMap<Id, Vec<&File>> = BTreeMap::new();
    for file in &files {
        together.entry(file.is).or_default().push(file);
    }
    let mut settled = HashSet::new();
    for (is, names) in &together {
        if names.iter().any(|file| file.was.is_none() || file.was != names[0].was) {
            settled.insert(*is);
            names.iter().for_each(|file| found.carry(file.key.clone(), "links"));
        }
    }
    // What was one file: the names that are what they were, by the files that they are now.
    let mut parted: BTreeMap<Id, BTreeMap<Id, Vec<Key>>> = BTreeMap::new();
    let mut seen = HashSet::new();
    for file in &files {
        if let (Some(was), false) = (file.was, settled.contains(&file.is) || found.carried.contains_key(&file.key)) {
            parted.entry(was).or_default().entry(file.is).or_default().push(file.key.clone());
            seen.insert(file.key.clone());
        }
    }
    if let Some((parent, tree)) = rest.filter(|_| !parted.is_empty()) {
        let mut others: HashMap<Id, Vec<Vec<u8>>> = parted.keys().map(|was| (*was, Vec::new())).collect();
        scan(parent, &mut Vec::new(), &mut others)?;
        for (was, paths) in others {
            for path in paths {
                let key = Key::of(&path);
                if seen.contains(&key) || found.carried.contains_key(&key) {
                    continue;
                }
                if let Some(is) = file_at(tree, &path)? {
                    parted.entry(was).or_default().entry(is).or_default().push(key);
                }
            }
        }
    }
    for files in parted.into_values().filter(|files| files.len() > 1) {
        let mut files: Vec<Vec<Key>> = files.into_values().collect();
        files.iter_mut().for_each(|keys| keys.sort());
        files.sort();
        files.into_iter().skip(1).flatten().for_each(|key| found.carry(key, "links"));
    }
    Ok(())
}

/// The paths of the files that are wanted.
fn scan(level: &Level, path: &mut Vec<u8>, wanted: &mut HashMap<Id, Vec<Vec<u8>>>) -> io::Result<()> {
    for name in level.names()? {
        let length = path.len();
        if length > 0 {
            path.push(b'/');
        }
        path.extend_from_slice(&name);
        match level.find(&name)? {
            Named::Directory(_, below) => scan(&below, path, wanted)?,
            Named::Other(about, _) => {
                if let Some(paths) = wanted.get_mut(&inode(&about)) {
                    paths.push(path.clone());
                }
            }
            Named::Nothing => {}
        }
        path.truncate(length);
    }
    Ok(())
}

/// The file at a path that was one's.
fn file_at(tree: BorrowedFd<'_>, path: &[u8]) -> io::Result<Option<Id>> {
    let slash = path.iter().rposition(|&byte| byte == b'/');
    let (above, name) = slash.map_or((&b""[..], path), |slash| (&path[..slash], &path[slash + 1..]));
    let directory = match beneath::open(tree, above, HANDLE) {
        Ok(directory) => directory,
        // Something else is there now.
        Err(error) if error.kind() == io::ErrorKind::NotFound || error.kind() == io::ErrorKind::NotADirectory => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let file = about(directory.as_fd(), name)?.filter(|about| kind(about) != FileType::Directory);
    Ok(file.as_ref().map(inode))
}
