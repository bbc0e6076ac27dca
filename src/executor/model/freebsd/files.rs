//! Files of the model: one tree of paths, seen through its mounts.

use std::io;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Inner, refuse};
use crate::executor::freebsd::system::{Found, Hidden};

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Node {
    /// A directory.
    Directory,
    /// A file and what it says.
    File(String),
    /// A symbolic link.
    Link(PathBuf),
    /// A socket.
    Socket,
}

/// The rule sets that a system brings, whose rules the model does not keep.
const DEFAULT_SETS: usize = 5;

/// How many links are followed before it is a loop, as in the kernel.
const LINKS: usize = 32;

impl Inner {
    /// The path under which the node is kept: nullfs shows another place.
    fn place(&self, path: &Path) -> PathBuf {
        let mut path = path.to_owned();
        // Each round leaves one mount towards an older one, so this ends.
        let mut until = self.state.mounts.len();
        loop {
            let above = self.state.mounts[..until].iter().enumerate().rev();
            let found = above
                .filter(|(_, mount)| path.starts_with(&mount.on))
                .max_by_key(|(position, mount)| (mount.on.components().count(), *position));
            match found {
                Some((position, mount)) if mount.kind == "nullfs" => {
                    let rest = path.strip_prefix(&mount.on).map(Path::to_owned).unwrap_or_default();
                    path = Path::new(&mount.from).join(rest);
                    until = position;
                }
                _ => return path,
            }
        }
    }

    /// The mount that a path is on.
    fn mount_of(&self, path: &Path) -> Option<usize> {
        let on = |(_, mount): &(usize, &crate::executor::freebsd::system::Mounted)| path.starts_with(&mount.on);
        let all = self.state.mounts.iter().enumerate().filter(on);
        all.max_by_key(|(position, mount)| (mount.on.components().count(), *position)).map(|(position, _)| position)
    }

    pub(super) fn read_only(&self, path: &Path) -> bool {
        self.mount_of(path).is_some_and(|mount| self.state.mounts[mount].read_only)
    }

    pub(super) fn node(&self, path: &Path) -> Option<Node> {
        if let Some(mount) = self.mount_of(path)
            && self.state.mounts[mount].kind == "devfs"
        {
            let inside = path.strip_prefix(&self.state.mounts[mount].on).unwrap_or(path);
            return match inside.to_str() {
                Some("" | "fd") => Some(Node::Directory),
                Some("mem") if self.state.device_rules.values().skip(DEFAULT_SETS).any(Vec::is_empty) => {
                    Some(Node::File(String::new()))
                }
                Some("ptmx") if !self.state.modules.contains("pty") => None,
                Some("null" | "zero" | "full" | "random" | "urandom" | "console" | "ptmx") => {
                    Some(Node::File(String::new()))
                }
                _ => None,
            };
        }
        self.state.files.get(&self.place(path)).cloned()
    }

    pub(super) fn is_directory(&self, path: &Path) -> bool {
        self.node(path) == Some(Node::Directory)
    }

    /// Where a path leads, links followed.
    pub(super) fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        let mut at = PathBuf::from("/");
        let mut rest: Vec<PathBuf> = components(path);
        rest.reverse();
        let mut links = 0;
        while let Some(component) = rest.pop() {
            if component == Path::new("..") {
                at.pop();
                continue;
            }
            let next = at.join(&component);
            match self.node(&next) {
                None => return refuse(libc::ENOENT),
                Some(Node::Link(target)) => {
                    links += 1;
                    if links > LINKS {
                        return refuse(libc::ELOOP);
                    }
                    if target.is_absolute() {
                        at = PathBuf::from("/");
                    }
                    let mut more = components(&target);
                    more.reverse();
                    rest.extend(more);
                }
                Some(Node::File(_) | Node::Socket) if !rest.is_empty() => return refuse(libc::ENOTDIR),
                Some(_) => at = next,
            }
        }
        Ok(at)
    }

    pub(super) fn look(&self, path: &Path, follow_links: bool) -> io::Result<Found> {
        let path = if follow_links { self.resolve(path)? } else { self.plain(path)? };
        Ok(match self.node(&path) {
            Some(Node::Directory) => Found::Directory,
            Some(Node::Socket) => Found::Other,
            _ => Found::File,
        })
    }

    /// The path, if no component of it is a link.
    fn plain(&self, path: &Path) -> io::Result<PathBuf> {
        let mut at = PathBuf::from("/");
        for component in components(path) {
            at.push(component);
            match self.node(&at) {
                None => return refuse(libc::ENOENT),
                Some(Node::Link(_)) => return refuse(libc::ELOOP),
                Some(_) => {}
            }
        }
        Ok(at)
    }

    pub(super) fn make_directory(&mut self, path: &Path) -> io::Result<()> {
        let mut at = PathBuf::from("/");
        for component in components(path) {
            at.push(component);
            match self.node(&at) {
                Some(Node::Directory) => {}
                Some(_) => return refuse(libc::ENOTDIR),
                None => self.put(&at, Node::Directory)?,
            }
        }
        Ok(())
    }

    fn put(&mut self, path: &Path, node: Node) -> io::Result<()> {
        if self.read_only(path) {
            return refuse(libc::EROFS);
        }
        if self.state.free == 0 {
            return refuse(libc::ENOSPC);
        }
        let place = self.place(path);
        self.state.files.insert(place, node);
        Ok(())
    }

    pub(super) fn make_target(&mut self, root: &Path, inside: &Path, file: bool) -> io::Result<Option<Hidden>> {
        self.plain(root)?;
        let all = components(inside);
        let mut at = root.to_owned();
        let mut hidden = None;
        for (number, component) in all.iter().enumerate() {
            at.push(component);
            let last = number + 1 == all.len();
            match self.node(&at) {
                Some(Node::Link(_)) => return refuse(libc::ELOOP),
                Some(Node::Directory) if last && file => return refuse(libc::EISDIR),
                Some(Node::File(_) | Node::Socket) if !last => return refuse(libc::ENOTDIR),
                Some(Node::Socket) if file => return refuse(libc::EINVAL),
                Some(Node::File(_)) if file => hidden = Some(Hidden::File),
                Some(Node::File(_) | Node::Socket) => {
                    self.put(&at, Node::Directory)?;
                    hidden = Some(Hidden::File);
                }
                Some(Node::Directory) if last => {
                    let place = self.place(&at);
                    let inside = self.state.files.keys().any(|path| path != &place && path.starts_with(&place));
                    hidden = inside.then_some(Hidden::Content);
                }
                Some(Node::Directory) => {}
                None => self.put(&at, if last && file { Node::File(String::new()) } else { Node::Directory })?,
            }
        }
        Ok(hidden)
    }

    pub(super) fn write_file(&mut self, root: &Path, inside: &Path, text: &str, replace: bool) -> io::Result<bool> {
        self.plain(root)?;
        if let Some(parent) = inside.parent() {
            self.make_target(root, parent, false).map(drop)?;
        }
        let at = root.join(inside.strip_prefix("/").unwrap_or(inside));
        match self.node(&at) {
            Some(Node::Directory) => refuse(libc::EISDIR),
            Some(Node::Link(_)) if !replace => Ok(false),
            Some(Node::File(_) | Node::Socket) if !replace => Ok(false),
            _ => self.put(&at, Node::File(text.to_owned())).map(|()| true),
        }
    }

    pub(super) fn copy_tree(&mut self, from: &Path, into: &Path) -> io::Result<()> {
        let from = self.plain(from)?;
        self.make_directory(into)?;
        let inside: Vec<_> = self
            .state
            .files
            .iter()
            .filter_map(|(path, node)| Some((path.strip_prefix(&from).ok()?.to_owned(), node.clone())))
            .filter(|(path, _)| !path.as_os_str().is_empty())
            .collect();
        for (path, node) in inside {
            self.put(&into.join(path), node)?;
        }
        Ok(())
    }
}

fn components(path: &Path) -> Vec<PathBuf> {
    path.components()
        .filter(|component| matches!(component, Component::Normal(_) | Component::ParentDir))
        .map(|component| PathBuf::from(component.as_os_str()))
        .collect()
}
