//! The image that changes come to.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use super::compare::{Carried, Found, Key, Wanted, compare};
use super::stack::{Level, Named, about, enter};
use super::{Error, Kind, Left, Result, shown};
use crate::aci::build::{ArchiveWriter, time, write_archive};

use crate::aci::{self, Compression, Sha512, Time};
use crate::diagnostic::Diagnostic;

/// A list of more bytes is no manifest that anybody reads.
const LONGEST_LIST: usize = 8 << 20;

/// How an image is made of what was changed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Commit {
    /// Whether it holds everything, and depends on nothing.
    pub flat: bool,
    /// `SOURCE_DATE_EPOCH`.
    pub epoch: Option<i64>,
    /// The newest time of what went in besides the parent.
    pub newest: Option<Time>,
}

/// What an image is, apart from its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// It depends on its parent.
    Derived {
        /// Where the parent has what it has not: all paths that are left.
        whitelist: Vec<String>,
    },
    /// It holds everything.
    Flat {
        /// Why, where that was not asked for.
        because: Option<String>,
    },
}

impl Commit {
    /// Writes the image archive of what was changed to `out`, with the manifest that `manifest` makes when it is known what the image
    /// is like. Gives what was left out of it.
    ///
    /// # Errors
    /// [`Kind::Io`] naming the path; what `manifest` says. What was written by then is of no use.
    pub(crate) fn write(
        &self,
        left: &Left<'_>,
        manifest: impl FnOnce(&Form) -> Result<Vec<u8>>,
        out: impl Write + Send,
    ) -> Result<Vec<Diagnostic>> {
        let parent = Level::root(left.layers).map_err(|error| failed("look at the parent's files", error))?;
        let latest = match self.epoch {
            Some(seconds) => Time { seconds, nanos: 0 },
            None => {
                let mut latest = self.newest.unwrap_or(Time { seconds: i64::MIN, nanos: 0 });
                newest(&parent, &mut latest).map_err(|error| failed("look at the parent's files", error))?;
                latest
            }
        };
        let (form, found) = self.decide(left, latest)?;
        let manifest = manifest(&form)?;
        let written = write_archive::<Sha512, _>(Compression::Gzip, None, out, |archive| {
            archive.manifest(&manifest, latest.seconds)?;
            let mut tree = Writer { root: left.root, parent: &parent, way: Vec::new() };
            found.carried.iter().try_for_each(|(key, carried)| tree.write(archive, key, carried, latest))
        });
        let (_, archive) = written.map_err(|error| Error::new(Kind::Io, "make the image").because(error))?;
        Ok(archive.diagnostics)
    }

    fn decide(&self, left: &Left<'_>, latest: Time) -> Result<(Form, Found)> {
        let everything = || compare(left, Wanted::Everything, Some(latest));
        if self.flat {
            return Ok((Form::Flat { because: None }, everything()?));
        }
        let found = compare(left, Wanted::Changes, Some(latest))?;
        if found.removed.is_empty() {
            return Ok((Form::Derived { whitelist: Vec::new() }, found));
        }
        // The specification has no other way to say that something is gone.
        let everything = everything()?;
        match whitelist(&everything) {
            Ok(whitelist) => Ok((Form::Derived { whitelist }, found)),
            Err(why) => Ok((Form::Flat { because: Some(why) }, everything)),
        }
    }
}

/// The paths that a list has to name for all to be kept: whatever has nothing below it. It says why there is no such list.
fn whitelist(everything: &Found) -> Result<Vec<String>, String> {
    let mut list = Vec::new();
    let mut length = 0;
    let mut keys = everything.carried.keys().peekable();
    while let Some(key) = keys.next() {
        if keys.peek().is_some_and(|next| next.is_below(key)) || key.path().is_empty() {
            continue;
        }
        let path = String::from_utf8(key.path())
            .map_err(|error| format!("{} is no text, and no list can name it", shown(error.as_bytes())))?;
        length += path.len() + 4;
        list.push(format!("/{path}"));
    }
    if length > LONGEST_LIST {
        return Err(format!("the list of what is left would be of {} MB", length >> 20));
    }
    // An empty list is no list.
    if list.is_empty() { Err("nothing is left, which no list can say".to_owned()) } else { Ok(list) }
}

/// The newest time in a tree.
fn newest(level: &Level, latest: &mut Time) -> io::Result<()> {
    if let Some(about) = level.about()? {
        *latest = time(&about).max(*latest);
    }
    for name in level.names()? {
        match level.find(&name)? {
            Named::Directory(_, below) => newest(&below, latest)?,
            Named::Other(about, _) => *latest = time(&about).max(*latest),
            Named::Nothing => {}
        }
    }
    Ok(())
}

/// Writes what is carried, directory by directory.
struct Writer<'a> {
    root: BorrowedFd<'a>,
    parent: &'a Level,
    /// The directories on the way to what was written last.
    way: Vec<(Vec<u8>, OwnedFd)>,
}

impl Writer<'_> {
    fn write(
        &mut self,
        archive: &mut ArchiveWriter<'_, '_>,
        key: &Key,
        carried: &Carried,
        latest: Time,
    ) -> aci::Result<()> {
        let path = key.path();
        let failed = |error: io::Error| aci::Error::new(aci::Kind::Io, format!("read {}", shown(&path))).because(error);
        let when = |time: Time| carried.time.unwrap_or(time).min(latest);
        let inside = if path.is_empty() { b"rootfs".to_vec() } else { [b"rootfs/", &path[..]].concat() };
        let slash = path.iter().rposition(|&byte| byte == b'/');
        let (above, name) = slash.map_or((&b""[..], &path[..]), |slash| (&path[..slash], &path[slash + 1..]));
        let name = if path.is_empty() { &b"."[..] } else { name };
        let gone = || failed(io::Error::other("it is gone"));
        if carried.parents {
            let level = self.parent.at(above).map_err(failed)?.ok_or_else(gone)?;
            let (about, directory) = match level.find(name).map_err(failed)? {
                Named::Directory(about, _) => (about, level.holder(name).map_err(failed)?.ok_or_else(gone)?),
                Named::Other(about, directory) => (about, directory),
                Named::Nothing => return Err(gone()),
            };
            return archive.place(directory, OsStr::from_bytes(name), &about, &inside, when);
        }
        let directory = self.directory(above).map_err(failed)?;
        let about = about(directory, name).map_err(failed)?.ok_or_else(gone)?;
        archive.place(directory, OsStr::from_bytes(name), &about, &inside, when)
    }

    /// The directory at a path of the tree, by way of those that are open already.
    fn directory(&mut self, path: &[u8]) -> io::Result<BorrowedFd<'_>> {
        let names: Vec<&[u8]> = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()).collect();
        let common = self.way.iter().zip(&names).take_while(|((way, _), name)| way == *name).count();
        self.way.truncate(common);
        for name in &names[common..] {
            let from = self.way.last().map_or(self.root, |(_, directory)| directory.as_fd());
            let directory = enter(from, name)?;
            self.way.push((name.to_vec(), directory));
        }
        Ok(self.way.last().map_or(self.root, |(_, directory)| directory.as_fd()))
    }
}

fn failed(doing: &str, error: io::Error) -> Error {
    Error::new(Kind::Io, doing).because(error)
}
