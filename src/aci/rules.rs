//! What an image archive may hold: the rules on names, kinds and their order, entry by entry.

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

use super::tar::{Entry, Kind, printable};
use super::{Error, Findings, Kind as Fault, ReadOptions, Result};
use crate::diagnostic::Diagnostic;

/// Names that are accepted. Each takes 9 bytes of a table that is never more than half empty, so that memory stays bounded.
const MAX_ENTRIES: u64 = 1_500_000;
/// Findings that are kept; one that floods the report tells no more than the first hundreds did.
const MAX_FOUND: usize = 1000;
/// Bytes of names and messages in them.
const MAX_TOLD: usize = 1 << 20;
/// Bytes of a name that are accepted: far more than any system can have.
const MAX_NAME: usize = 64 << 10;

/// What a tar stream is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// An image: `manifest` and `rootfs`.
    Image,
    /// Changes of a root file system, which may name anything below it, and anything twice.
    Layer,
}

/// The rules, and what they remember of the entries before.
pub(super) struct Rules {
    pub(super) form: Form,
    findings: Findings,
    max_size: u64,
    max_manifest: u64,
    /// Names as keyed hashes, so that an archive cannot make two collide; the lowest two bits tell a [`Seen`].
    seen: HashSet<u64, BuildHasherDefault<Prehashed>>,
    key: RandomState,
    /// The directory that the entry before was in.
    parent: Vec<u8>,
    /// Bytes of all files, holes counted.
    size: u64,
    /// Bytes of names and messages in `found`.
    told: usize,
    pub(super) found: Vec<Diagnostic>,
}

/// What is at a name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    Directory,
    /// Only entries below it were seen.
    Implied,
    Other,
}

impl Seen {
    const ALL: [Self; 3] = [Self::Directory, Self::Implied, Self::Other];

    /// The key under which a name with this hash is remembered as this.
    fn of(self, hash: u64) -> u64 {
        (hash & !3) | self as u64
    }
}

/// A name's hash is that of its parts, so that those of all directories above it come up on the way.
fn hash_part(hasher: &mut impl Hasher, part: &[u8]) {
    hasher.write(part);
    hasher.write_u8(b'/');
}

impl Rules {
    pub(super) fn new(options: &ReadOptions, form: Form) -> Self {
        Self {
            form,
            findings: options.findings,
            max_size: options.max_size,
            max_manifest: options.max_manifest,
            seen: HashSet::default(),
            key: RandomState::new(),
            parent: Vec::new(),
            size: 0,
            told: 0,
            found: Vec::new(),
        }
    }

    /// Keeps a warning or note.
    pub(super) fn warn(&mut self, found: Diagnostic) {
        if self.found.len() < MAX_FOUND && self.told < MAX_TOLD {
            self.told += found.message.len() + found.place.entry.as_ref().map_or(0, String::len);
            self.found.push(found);
        }
    }

    /// Stops with an error, or keeps it, as was asked for.
    pub(super) fn broken(
        &mut self,
        clause: &'static str,
        entry: Option<&Entry>,
        what: impl Into<String>,
    ) -> Result<()> {
        let name = entry.map(Entry::display_name);
        match self.findings {
            Findings::Fail => {
                let doing = name.map_or("read the archive".into(), |name| format!("read the entry `{name}`"));
                Err(Error::new(Fault::Invalid, doing).clause(clause).because(what.into()))
            }
            Findings::Collect => {
                let found = Diagnostic::error(clause, what);
                self.warn(match name {
                    Some(name) => found.entry(name),
                    None => found,
                });
                Ok(())
            }
        }
    }

    /// Stops with what is wrong with the stream behind the archive's end, or keeps it, as was asked for.
    pub(super) fn broken_behind(&mut self, error: Error) -> Result<()> {
        match (self.findings, told(&error)) {
            (Findings::Collect, Some(found)) => {
                self.warn(found.loose_in_go());
                Ok(())
            }
            _ => Err(error),
        }
    }

    /// Tidies the names of `entry` and holds it against all rules. Tells whether it keeps them.
    pub(super) fn entry(&mut self, entry: &mut Entry) -> Result<bool> {
        self.size = self.size.saturating_add(entry.size);
        if self.size > self.max_size {
            return Err(self.limit(entry, format!("more than {} bytes of files", self.max_size)));
        }
        if entry.name.len() > MAX_NAME || entry.target.len() > MAX_NAME {
            return Err(self.limit(entry, format!("a name of more than {MAX_NAME} bytes")));
        }
        if self.form == Form::Layer {
            return self.change(entry);
        }
        let mut sound = true;
        match tidy(&entry.name) {
            Ok(name) => entry.name = name,
            Err(what) => {
                self.wrong(entry, "x.aci.entry-name", what)?;
                return Ok(false);
            }
        }
        let placed = self.top_level(entry)?;
        sound &= placed;
        // What is below `manifest` has been told.
        sound &= entry.name.starts_with(b"manifest/") || self.parents(entry)?;
        sound &= self.once(entry)?;
        // What may not be there at all is told once.
        sound &= placed && self.link(entry)?;
        Ok(sound)
    }

    /// Tidies the names in a layer. Its readers take absolute ones to begin at the root of the tree, wherever that is.
    fn change(&mut self, entry: &mut Entry) -> Result<bool> {
        match tidy(rooted(&entry.name)) {
            Ok(name) => entry.name = name,
            Err(what) => return self.wrong(entry, "x.aci.entry-name", what),
        }
        match entry.kind {
            Kind::Hardlink => match tidy(rooted(&entry.target)) {
                Ok(target) => entry.target = target,
                Err(what) => {
                    return self.wrong(entry, "x.aci.hardlink", &format!("the target of the hard link: {what}"));
                }
            },
            _ => return self.link(entry),
        }
        Ok(true)
    }

    /// What can only be said when all entries are known.
    pub(super) fn end(&mut self) -> Result<()> {
        if self.form == Form::Layer {
            return Ok(());
        }
        for (name, clause) in [("manifest", "aci.toplevel.two"), ("rootfs", "aci.rootfs.dir")] {
            if !matches!(self.at(name.as_bytes()), Some(Seen::Directory | Seen::Other)) {
                self.broken(clause, None, format!("there is no entry `{name}`"))?;
            }
        }
        Ok(())
    }

    fn top_level(&mut self, entry: &Entry) -> Result<bool> {
        let top = entry.name.split(|&byte| byte == b'/').next().unwrap_or(b"");
        let alone = top.len() == entry.name.len();
        match top {
            b"." if entry.kind != Kind::Directory => {
                self.wrong(entry, "x.aci.entry-parent", "the archive's own directory is not a directory")
            }
            b"." => Ok(true),
            b"rootfs" if alone && entry.kind != Kind::Directory => {
                self.wrong(entry, "aci.rootfs.dir", "`rootfs` is not a directory")
            }
            b"rootfs" => Ok(true),
            b"manifest" if !alone => self.wrong(entry, "aci.toplevel.noextra", "it is below `manifest`"),
            b"manifest" if entry.kind != Kind::File => {
                self.wrong(entry, "aci.manifest.regular", "`manifest` is not a regular file")
            }
            b"manifest" if entry.size > self.max_manifest => {
                self.wrong(entry, "x.aci.limits", &format!("the manifest is larger than {} bytes", self.max_manifest))
            }
            b"manifest" => Ok(true),
            _ => self.wrong(entry, "aci.toplevel.noextra", "only `manifest` and `rootfs` may be at the top"),
        }
    }

    /// Every part of the name before the last is a directory, or is implied to be one.
    fn parents(&mut self, entry: &Entry) -> Result<bool> {
        let Some(slash) = entry.name.iter().rposition(|&byte| byte == b'/') else { return Ok(true) };
        let parent = &entry.name[..slash];
        if parent == self.parent {
            return Ok(true);
        }
        // Each part is hashed once, however deep it is.
        let mut hasher = self.key.build_hasher();
        let mut end = 0;
        for part in parent.split(|&byte| byte == b'/') {
            end += part.len() + 1;
            hash_part(&mut hasher, part);
            match self.seen_as(hasher.finish()) {
                Some(Seen::Other) => {
                    let what = format!("`{}` above it is not a directory", printable(&entry.name[..end - 1]));
                    return self.wrong(entry, "x.aci.entry-parent", &what);
                }
                Some(_) => {}
                None => self.remember(hasher.finish(), Seen::Implied, entry)?,
            }
        }
        self.parent.clear();
        self.parent.extend_from_slice(&entry.name[..slash]);
        Ok(true)
    }

    fn once(&mut self, entry: &Entry) -> Result<bool> {
        let now = if entry.kind == Kind::Directory { Seen::Directory } else { Seen::Other };
        match (self.at(&entry.name), now) {
            (None, _) => self.remember(self.hash(&entry.name), now, entry).map(|()| true),
            (Some(Seen::Implied), Seen::Directory) => {
                let hash = self.hash(&entry.name);
                self.seen.remove(&Seen::Implied.of(hash));
                self.seen.insert(Seen::Directory.of(hash));
                Ok(true)
            }
            (Some(Seen::Implied), _) => {
                self.wrong(entry, "x.aci.entry-parent", "there are entries below it, and it is not a directory")
            }
            (Some(_), _) => self.wrong(entry, "aci.nodup", "the name occurs twice"),
        }
    }

    fn link(&mut self, entry: &mut Entry) -> Result<bool> {
        match entry.kind {
            Kind::Symlink if entry.target.is_empty() || entry.target.contains(&0) => {
                self.wrong(entry, "x.aci.entry-name", "it is a symbolic link to nothing")
            }
            Kind::Hardlink => match tidy(&entry.target) {
                Err(what) => self.wrong(entry, "x.aci.hardlink", &format!("the target of the hard link: {what}")),
                Ok(target) => {
                    let there = target.starts_with(b"rootfs/") && target != entry.name;
                    let there = there && self.at(&target) == Some(Seen::Other);
                    entry.target = target;
                    if there {
                        return Ok(true);
                    }
                    let target = printable(&entry.target);
                    self.wrong(entry, "x.aci.hardlink", &format!("`{target}` is no earlier file below `rootfs`"))
                }
            },
            _ => Ok(true),
        }
    }

    fn hash(&self, name: &[u8]) -> u64 {
        let mut hasher = self.key.build_hasher();
        name.split(|&byte| byte == b'/').for_each(|part| hash_part(&mut hasher, part));
        hasher.finish()
    }

    fn at(&self, name: &[u8]) -> Option<Seen> {
        self.seen_as(self.hash(name))
    }

    fn seen_as(&self, hash: u64) -> Option<Seen> {
        Seen::ALL.into_iter().find(|seen| self.seen.contains(&seen.of(hash)))
    }

    fn remember(&mut self, hash: u64, seen: Seen, entry: &Entry) -> Result<()> {
        self.seen.insert(seen.of(hash));
        if self.seen.len() as u64 > MAX_ENTRIES {
            return Err(self.limit(entry, format!("more than {MAX_ENTRIES} names")));
        }
        Ok(())
    }

    fn wrong(&mut self, entry: &Entry, clause: &'static str, what: &str) -> Result<bool> {
        self.broken(clause, Some(entry), what)?;
        Ok(false)
    }

    fn limit(&self, entry: &Entry, what: String) -> Error {
        let mut name = entry.display_name();
        name.truncate(name.char_indices().nth(200).map_or(name.len(), |(at, _)| at));
        Error::new(Fault::TooBig, format!("read the entry `{name}`")).clause("x.aci.limits").because(what)
    }
}

/// An error that is the archive's fault, as a finding.
pub(super) fn told(error: &Error) -> Option<Diagnostic> {
    let mut message = format!("failed to {}", error.doing());
    if let Some(source) = std::error::Error::source(error) {
        message = format!("{message}: {}", crate::error::chain(source));
    }
    error.clause_id().map(|clause| Diagnostic::error(clause, message))
}

/// A name without the slashes before it; the root's own is `.`.
fn rooted(name: &[u8]) -> &[u8] {
    let slashes = name.iter().take_while(|&&byte| byte == b'/').count();
    if slashes > 0 && slashes == name.len() { b"." } else { &name[slashes..] }
}

/// A name without `./`, doubled and trailing slashes; `.` where nothing is left.
fn tidy(name: &[u8]) -> Result<Vec<u8>, &'static str> {
    match name {
        [] => return Err("the name is empty"),
        [b'/', ..] => return Err("the name is absolute"),
        _ if name.contains(&0) => return Err("the name holds a NUL byte"),
        _ => {}
    }
    let mut tidy = Vec::with_capacity(name.len());
    for part in name.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err("the name holds `..`"),
            part => {
                if !tidy.is_empty() {
                    tidy.push(b'/');
                }
                tidy.extend_from_slice(part);
            }
        }
    }
    if tidy.is_empty() {
        tidy.push(b'.');
    }
    Ok(tidy)
}

/// The keys are hashes already. What differs in the two lowest bits alone lies side by side.
#[derive(Default)]
struct Prehashed(u64);

impl Hasher for Prehashed {
    fn write_u64(&mut self, key: u64) {
        self.0 = (key & !3).rotate_right(2);
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only whole hashes are keys here");
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
