//! What layers of changes come to, without touching anything.
//!
//! A [`Tree`] takes the entries of one layer after the other, by name and number alone, as they would change a root file system:
//! later entries replace earlier ones, directories merge, whiteouts hide what lower layers brought and never what their own layer
//! brings, parents that are symbolic links lead where they point to within the tree, hard links name files and not paths. What is
//! to be written, then, is an [`Emission`]: of one layer what it changed, or of the whole tree all that is left.
//!
//! Invariants: every name is below the root and was tidied by the reader; memory is bounded by [`MAX_NODES`] and by the
//! limits of what layers are read with.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use super::{Error, Kind, Result};
use crate::aci::{Entry, printable};

#[cfg(test)]
mod laws;
mod way;

use way::{Blocked, Way};

/// Files and directories of all layers together, those among them that only names of others imply.
pub(super) const MAX_NODES: usize = 2_000_000;
/// Directories above each other: those of the longest path that Linux takes.
const MAX_DEPTH: usize = 2048;
/// Bytes of all paths together, which links can make longer than the names that layers have.
const MAX_PATHS: usize = 512 << 20;

/// One entry of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The name that it is about, relative to the root; `.` for the root itself.
    pub name: Vec<u8>,
    /// What it does there.
    pub what: What,
    /// Its number in the layer, from zero.
    pub number: u32,
}

/// What an entry of a layer does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A directory that is like this.
    Directory(Arc<Entry>),
    /// A symbolic link to this.
    Symlink(Vec<u8>),
    /// A file, device or pipe.
    File,
    /// Another name for what is at this one.
    Hardlink(Vec<u8>),
    /// Nothing of lower layers is at the name any more.
    Whiteout,
    /// Nothing of lower layers is in the directory any more.
    Opaque,
}

/// An entry of a layer, by numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Source {
    /// The layer, from the lowest.
    pub layer: usize,
    /// The entry in it.
    pub number: u32,
}

/// What is to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Emission {
    /// Directories, parents before what is in them; those without an entry only have a name.
    pub directories: Vec<(Vec<u8>, Option<Arc<Entry>>)>,
    /// All else by the entry that brings it: the names that it has, the first with the content, the others as hard links.
    pub files: BTreeMap<Source, Vec<Vec<u8>>>,
    /// The names that stay, where something that lower layers brought does not.
    pub keep: Option<Vec<Vec<u8>>>,
}

/// A root file system as it grows.
#[derive(Debug)]
pub struct Tree {
    nodes: Vec<Node>,
    inodes: Vec<Inode>,
    layer: usize,
    /// What this layer brought.
    touched: Vec<usize>,
    /// What of lower layers this one took away, and the files among it.
    removed: Vec<Vec<u8>>,
    moved: HashMap<Vec<u8>, usize>,
    /// Directories in which there is nothing of lower layers any more.
    emptied: HashSet<usize>,
    /// Bytes of the paths of all nodes, and how many are accepted.
    bytes: usize,
    most_bytes: usize,
}

#[derive(Debug)]
struct Node {
    parent: usize,
    name: Vec<u8>,
    /// The layer that said last what this is, and the one that brought it first.
    layer: usize,
    born: usize,
    /// Directories above it.
    depth: usize,
    /// Bytes of its path.
    length: usize,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Directory { entry: Option<Arc<Entry>>, children: BTreeMap<Vec<u8>, usize> },
    Leaf(usize),
}

#[derive(Debug)]
struct Inode {
    source: Source,
    symlink: Option<Vec<u8>>,
    /// All that ever had this content.
    names: Vec<usize>,
}

const ROOT: usize = 0;

impl Default for Tree {
    fn default() -> Self {
        let content = Content::Directory { entry: None, children: BTreeMap::new() };
        let root = Node { parent: ROOT, name: Vec::new(), layer: 0, born: 0, depth: 0, length: 0, content };
        Self {
            nodes: vec![root],
            inodes: Vec::new(),
            layer: 0,
            touched: Vec::new(),
            removed: Vec::new(),
            moved: HashMap::new(),
            emptied: HashSet::new(),
            bytes: 0,
            most_bytes: MAX_PATHS,
        }
    }
}

impl Tree {
    /// Takes all entries of one layer; layers are counted from zero.
    ///
    /// # Errors
    /// [`Kind::Invalid`] with the rule that an entry breaks, [`Kind::TooBig`].
    pub fn lay<'i>(&mut self, layer: usize, items: impl IntoIterator<Item = &'i Item>) -> Result<()> {
        self.layer = layer;
        self.touched.clear();
        self.removed.clear();
        self.moved.clear();
        self.emptied.clear();
        for item in items {
            self.item(item)?;
        }
        Ok(())
    }

    /// What the layer that was laid last changed, and the names that stay where it hid something.
    pub fn changes(&self) -> Emission {
        let mut seen = HashSet::new();
        let mut emission = Emission::default();
        let touched = self.touched.iter().copied().filter(|node| seen.insert(*node) && self.is_there(*node));
        let mut touched: Vec<(Vec<u8>, usize)> = touched.map(|node| (self.path(node), node)).collect();
        if !touched.iter().any(|(_, node)| *node == ROOT) {
            // What is laid on top says what the root is like.
            touched.push((Vec::new(), ROOT));
        }
        // A path is a prefix of what is below it, so parents come first.
        touched.sort();
        for (path, node) in touched {
            self.emit(path, node, &mut emission, true);
        }
        let hides = self.removed.iter().any(|path| !self.replaced(path));
        emission.keep = hides.then(|| self.kept());
        emission
    }

    /// All that is left of all layers.
    pub fn whole(&self) -> Emission {
        let mut emission = Emission::default();
        self.walk(ROOT, &mut Vec::new(), &mut |path, node| self.emit(path.to_vec(), node, &mut emission, false));
        emission
    }

    /// The entry that brings what is at `path`, links followed.
    pub fn file(&self, path: &[u8]) -> Option<Source> {
        let node = self.find(path, true).ok()??;
        match self.nodes[node].content {
            Content::Leaf(inode) if self.inodes[inode].symlink.is_none() => Some(self.inodes[inode].source),
            _ => None,
        }
    }

    fn item(&mut self, item: &Item) -> Result<()> {
        let source = Source { layer: self.layer, number: item.number };
        match &item.what {
            What::Directory(entry) => self.directory(item, Arc::clone(entry)),
            What::Symlink(target) => {
                self.leaf(item, Inode { source, symlink: Some(target.clone()), names: Vec::new() })
            }
            What::File => self.leaf(item, Inode { source, symlink: None, names: Vec::new() }),
            What::Hardlink(target) => self.hard_link(item, target),
            What::Whiteout => {
                // What no way leads to is hidden already.
                if let Ok(Some(node)) = self.find(&item.name, false)
                    && node != ROOT
                {
                    self.hide_children(node);
                    self.hide(node);
                }
                Ok(())
            }
            What::Opaque => {
                if let Ok(Some(node)) = self.find(&item.name, true) {
                    self.hide_children(node);
                }
                Ok(())
            }
        }
    }

    fn directory(&mut self, item: &Item, entry: Arc<Entry>) -> Result<()> {
        let Some((parent, name)) = self.enter(item)? else {
            let layer = self.layer;
            self.nodes[ROOT].layer = layer;
            if let Content::Directory { entry: there, .. } = &mut self.nodes[ROOT].content {
                *there = Some(entry);
            }
            self.touched.push(ROOT);
            return Ok(());
        };
        match self.child(parent, &name) {
            Some(node) if self.is_directory(node) => {
                self.nodes[node].layer = self.layer;
                if let Content::Directory { entry: there, .. } = &mut self.nodes[node].content {
                    *there = Some(entry);
                }
                self.touched.push(node);
                Ok(())
            }
            _ => {
                let content = Content::Directory { entry: Some(entry), children: BTreeMap::new() };
                self.put(parent, name, content, item).map(drop)
            }
        }
    }

    fn leaf(&mut self, item: &Item, inode: Inode) -> Result<()> {
        let Some((parent, name)) = self.enter(item)? else {
            return Err(wrong(item, "the root is a directory"));
        };
        self.inodes.push(inode);
        self.name(parent, name, self.inodes.len() - 1, item)
    }

    fn name(&mut self, parent: usize, name: Vec<u8>, inode: usize, item: &Item) -> Result<()> {
        let node = self.put(parent, name, Content::Leaf(inode), item)?;
        self.inodes[inode].names.push(node);
        Ok(())
    }

    fn hard_link(&mut self, item: &Item, target: &[u8]) -> Result<()> {
        let broken = |what: String| {
            Error::new(Kind::Invalid, format!("apply `{}`", printable(&item.name)))
                .clause("x.oci.hardlink")
                .because(what)
        };
        let found = self.find(target, false).ok().flatten();
        let inode = match found.map(|node| &self.nodes[node].content) {
            Some(Content::Leaf(inode)) => Some(*inode),
            Some(Content::Directory { .. }) => {
                return Err(broken(format!("its target `{}` is a directory", printable(target))));
            }
            // A file that this very layer takes away by its old name: it was moved.
            None => self.moved.get(target).copied(),
        };
        let inode = inode.ok_or_else(|| broken(format!("no layer so far has its target `{}`", printable(target))))?;
        let Some((parent, name)) = self.enter(item)? else { return Err(wrong(item, "the root is a directory")) };
        self.name(parent, name, inode, item)
    }

    /// Puts something new in a directory; what was there goes.
    fn put(&mut self, parent: usize, name: Vec<u8>, content: Content, item: &Item) -> Result<usize> {
        let depth = self.nodes[parent].depth + 1;
        let length = self.nodes[parent].length + 1 + name.len();
        self.bytes += length;
        let limit = match () {
            () if self.nodes.len() >= MAX_NODES => format!("more than {MAX_NODES} files and directories"),
            () if depth > MAX_DEPTH => format!("more than {MAX_DEPTH} directories above each other"),
            () if self.bytes > self.most_bytes => format!("paths of more than {} bytes in all", self.most_bytes),
            () => String::new(),
        };
        if !limit.is_empty() {
            let mut name = printable(&item.name);
            name.truncate(name.char_indices().nth(200).map_or(name.len(), |(at, _)| at));
            let error = Error::new(Kind::TooBig, format!("apply `{name}`")).clause("x.oci.limits");
            return Err(error.because(limit));
        }
        if let Some(there) = self.child(parent, &name) {
            self.take_away(there);
        }
        let node = self.nodes.len();
        self.nodes.push(Node {
            parent,
            name: name.clone(),
            layer: self.layer,
            born: self.layer,
            depth,
            length,
            content,
        });
        if let Content::Directory { children, .. } = &mut self.nodes[parent].content {
            children.insert(name, node);
        }
        self.touched.push(node);
        Ok(node)
    }

    /// Takes away a node with all below it, and remembers what of it is of lower layers.
    fn take_away(&mut self, node: usize) {
        let (mut removed, mut moved) = (Vec::new(), Vec::new());
        self.walk(node, &mut self.path(node), &mut |path, node| {
            if self.nodes[node].born < self.layer {
                removed.push(path.to_vec());
                if let Content::Leaf(inode) = self.nodes[node].content {
                    moved.push((path.to_vec(), inode));
                }
            }
        });
        self.removed.extend(removed);
        self.moved.extend(moved);
        let (parent, name) = (self.nodes[node].parent, self.nodes[node].name.clone());
        if let Content::Directory { children, .. } = &mut self.nodes[parent].content {
            children.remove(&name);
        }
    }

    /// Takes away what of a node and below it is of lower layers, and tells whether something stays: what this layer brought, and
    /// the directories above it, which become this layer's.
    fn hide(&mut self, node: usize) -> bool {
        let mut stays = self.nodes[node].layer == self.layer;
        let children = self.children(node);
        let mut holds = !children.is_empty();
        // What was emptied before holds what this layer brought, and nothing else.
        if !self.emptied.contains(&node) {
            let stay = children.into_iter().filter(|child| self.hide(*child)).count();
            holds = stay > 0;
        }
        if !stays && !holds {
            self.take_away(node);
        } else if !stays {
            self.removed.push(self.path(node));
            let layer = self.layer;
            self.nodes[node].layer = layer;
            if let Content::Directory { entry, .. } = &mut self.nodes[node].content {
                *entry = None;
            }
            self.touched.push(node);
            stays = true;
        }
        stays
    }

    /// Takes away all that lower layers have in a directory. Once is enough: nothing of lower layers comes back.
    fn hide_children(&mut self, node: usize) {
        if self.emptied.insert(node) {
            for child in self.children(node) {
                self.hide(child);
            }
        }
    }

    /// The directory that an entry is to stand in, made where it is missing, and its name there; nothing for the root.
    fn enter(&mut self, item: &Item) -> Result<Option<(usize, Vec<u8>)>> {
        let (above, name) = split(&item.name);
        if name.is_empty() || name == b"." {
            return Ok(None);
        }
        let name = name.to_vec();
        let mut way = Way::new(above);
        let mut at = ROOT;
        while let Some(part) = way.next(&mut at, |node| self.nodes[node].parent) {
            at = match self.child(at, &part) {
                None => {
                    let content = Content::Directory { entry: None, children: BTreeMap::new() };
                    self.put(at, part, content, item)?
                }
                Some(node) => self.step(node, at, &mut way).map_err(|what| wrong(item, what))?,
            };
        }
        Ok(Some((at, name)))
    }

    /// What is at a path; the last part is followed where it is a symbolic link and `follow` says so.
    fn find(&self, path: &[u8], follow: bool) -> std::result::Result<Option<usize>, Blocked> {
        let (above, name) = split(path);
        let mut way = Way::new(if follow { path } else { above });
        let mut at = ROOT;
        while let Some(part) = way.next(&mut at, |node| self.nodes[node].parent) {
            let Some(node) = self.child(at, &part) else { return Ok(None) };
            if follow && way.is_over() && !self.is_symlink(node) {
                return Ok(Some(node));
            }
            at = match self.step(node, at, &mut way) {
                Ok(node) => node,
                // Below what is no directory there is nothing.
                Err(Blocked::By(_)) => return Ok(None),
                Err(links) => return Err(links),
            };
        }
        if follow || name.is_empty() || name == b"." {
            return Ok(Some(at));
        }
        Ok(self.child(at, name))
    }

    /// From a directory into `node`, or along it where it is a symbolic link.
    fn step(&self, node: usize, from: usize, way: &mut Way) -> std::result::Result<usize, Blocked> {
        match &self.nodes[node].content {
            Content::Directory { .. } => Ok(node),
            Content::Leaf(inode) => match &self.inodes[*inode].symlink {
                Some(target) => way.follow(target, from),
                None => Err(Blocked::By(self.path(node))),
            },
        }
    }

    fn child(&self, node: usize, name: &[u8]) -> Option<usize> {
        match &self.nodes[node].content {
            Content::Directory { children, .. } => children.get(name).copied(),
            Content::Leaf(_) => None,
        }
    }

    fn children(&self, node: usize) -> Vec<usize> {
        match &self.nodes[node].content {
            Content::Directory { children, .. } => children.values().copied().collect(),
            Content::Leaf(_) => Vec::new(),
        }
    }

    fn is_directory(&self, node: usize) -> bool {
        matches!(self.nodes[node].content, Content::Directory { .. })
    }

    fn is_symlink(&self, node: usize) -> bool {
        matches!(self.nodes[node].content, Content::Leaf(inode) if self.inodes[inode].symlink.is_some())
    }

    /// Whether a node still hangs in the tree.
    fn is_there(&self, mut node: usize) -> bool {
        while node != ROOT {
            let Node { parent, name, .. } = &self.nodes[node];
            if self.child(*parent, name) != Some(node) {
                return false;
            }
            node = *parent;
        }
        true
    }

    fn path(&self, mut node: usize) -> Vec<u8> {
        let mut parts = Vec::new();
        while node != ROOT {
            parts.push(self.nodes[node].name.as_slice());
            node = self.nodes[node].parent;
        }
        parts.reverse();
        parts.join(&b'/')
    }

    /// Calls `visit` with path and number of a node and of all below it, parents first, sorted.
    fn walk(&self, node: usize, path: &mut Vec<u8>, visit: &mut dyn FnMut(&[u8], usize)) {
        visit(path, node);
        if let Content::Directory { children, .. } = &self.nodes[node].content {
            for (name, child) in children {
                let length = path.len();
                if length > 0 {
                    path.push(b'/');
                }
                path.extend_from_slice(name);
                self.walk(*child, path, visit);
                path.truncate(length);
            }
        }
    }

    fn emit(&self, path: Vec<u8>, node: usize, emission: &mut Emission, changes: bool) {
        match &self.nodes[node].content {
            Content::Directory { entry, .. } => emission.directories.push((path, entry.clone())),
            Content::Leaf(inode) => {
                let inode = &self.inodes[*inode];
                let names = emission.files.entry(inode.source).or_default();
                if changes && inode.source.layer < self.layer {
                    // A file of a lower layer with a new name comes again, under all its names, so that it stays one file.
                    if names.is_empty() {
                        let there = inode.names.iter().copied().filter(|node| self.is_there(*node));
                        names.extend(there.map(|node| self.path(node)));
                        names.sort();
                        names.dedup();
                    }
                } else {
                    names.push(path);
                }
            }
        }
    }

    /// Whether what was at `path` goes by what is there now, without being listed as gone.
    fn replaced(&self, path: &[u8]) -> bool {
        let mut at = ROOT;
        for part in path.split(|&byte| byte == b'/') {
            match self.child(at, part) {
                Some(node) if self.is_directory(node) => at = node,
                Some(_) => return true,
                None => return false,
            }
        }
        true
    }

    /// The names that stay: of all but directories, and of those in which nothing is. The others stay with what is in them.
    fn kept(&self) -> Vec<Vec<u8>> {
        let mut kept = Vec::new();
        self.walk(ROOT, &mut Vec::new(), &mut |path, node| {
            if node != ROOT && self.children(node).is_empty() {
                kept.push(path.to_vec());
            }
        });
        kept
    }
}

/// What is before the last slash and what is behind it.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

fn wrong(item: &Item, what: impl fmt::Display) -> Error {
    Error::new(Kind::Invalid, format!("apply `{}`", printable(&item.name)))
        .clause("x.oci.parent")
        .because(what.to_string())
}

/// What is left of an image's entries where whitelists keep only some of them. A file whose first name goes lives on under the
/// first of its other names that stays.
pub fn kept(items: Vec<Item>, keeps: impl Fn(&[u8]) -> bool) -> Vec<Item> {
    // Names that go, by the entry that brings what they name; and of each such entry what it does and which name has that now.
    let mut gone: HashMap<Vec<u8>, u32> = HashMap::new();
    let mut contents: HashMap<u32, (What, Option<Vec<u8>>)> = HashMap::new();
    let mut left = Vec::new();
    for mut item in items {
        let stays = keeps(if item.name == b"." { b"" } else { &item.name });
        if let What::Hardlink(target) = &item.what
            && let Some(number) = gone.get(target).copied()
            && let Some((what, now)) = contents.get_mut(&number)
        {
            match now {
                Some(now) => item.what = What::Hardlink(now.clone()),
                None if stays => {
                    *now = Some(item.name.clone());
                    (item.number, item.what) = (number, what.clone());
                }
                None => {
                    gone.insert(item.name, number);
                    continue;
                }
            }
        }
        if stays {
            left.push(item);
            continue;
        }
        let content = match item.what {
            What::Directory(_) => continue,
            // A name that goes of a file that stays.
            What::Hardlink(target) => (What::File, Some(target)),
            what => (what, None),
        };
        contents.insert(item.number, content);
        gone.insert(item.name, item.number);
    }
    left
}
