//! What lies on top of what (decision 27), without touching anything.

use std::collections::BTreeMap;
use std::ops::Bound;

/// What a path of a merged tree is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The pass that brings it, counted from the lowest; for a directory, the one whose metadata holds.
    pub pass: usize,
    /// Whether it is a directory.
    pub directory: bool,
}

/// A tree put together from several. Paths are relative to the root file system; parents come before what is below
/// them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    paths: BTreeMap<Vec<u8>, Source>,
}

/// A path of one tree that is to be laid over.
#[derive(Clone, Copy, Debug)]
pub struct Laid<'a> {
    /// Relative to the root file system; empty for the root itself.
    pub path: &'a [u8],
    /// Whether it is a directory.
    pub directory: bool,
    /// A directory that has no entry of its own in the archive: it says nothing about metadata where there is one already.
    pub implied: bool,
}

impl Merged {
    /// Lays one path over what is there. Parents have to be laid before what is below them.
    pub(crate) fn lay(&mut self, pass: usize, laid: Laid<'_>) {
        let source = Source { pass, directory: laid.directory };
        match self.paths.get_mut(laid.path) {
            None => {
                self.paths.insert(laid.path.to_owned(), source);
            }
            Some(there) if there.directory && laid.directory => {
                if !laid.implied {
                    *there = source;
                }
            }
            Some(there) => {
                let was_directory = there.directory;
                *there = source;
                if was_directory {
                    self.remove_below(laid.path);
                }
            }
        }
    }

    /// All paths, parents first.
    pub(crate) fn paths(&self) -> impl DoubleEndedIterator<Item = (&[u8], Source)> {
        self.paths.iter().map(|(path, source)| (path.as_slice(), *source))
    }

    /// What `path` is made from.
    pub(super) fn source(&self, path: &[u8]) -> Option<Source> {
        self.paths.get(path).copied()
    }

    /// Whether there is anything at `path`.
    pub(crate) fn has(&self, path: &[u8]) -> bool {
        self.paths.contains_key(path)
    }

    fn remove_below(&mut self, path: &[u8]) {
        let first = [path, b"/"].concat();
        // `0` follows `/`: all that begins with `path/` lies between both.
        let end = [path, b"0"].concat();
        let range = (Bound::Included(first), Bound::Excluded(end));
        let below: Vec<Vec<u8>> = self.paths.range(range).map(|(path, _)| path.clone()).collect();
        for path in below {
            self.paths.remove(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(passes: &[&[(&str, bool)]]) -> Vec<(String, usize)> {
        let mut merged = Merged::default();
        for (pass, paths) in passes.iter().enumerate() {
            for (path, directory) in *paths {
                merged.lay(pass, Laid { path: path.as_bytes(), directory: *directory, implied: false });
            }
        }
        merged.paths().map(|(path, source)| (String::from_utf8_lossy(path).into_owned(), source.pass)).collect()
    }

    #[test]
    fn directories_merge_and_take_the_later_metadata() {
        let seen = merged(&[&[("a", true), ("a/x", false)], &[("a", true), ("a/y", false)]]);
        assert_eq!(seen, [("a".into(), 1), ("a/x".into(), 0), ("a/y".into(), 1)]);
    }

    #[test]
    fn what_is_no_directory_replaces_one_with_all_below_and_nothing_beside() {
        let lower: &[(&str, bool)] = &[("a", true), ("a/x", true), ("a/x/y", false), ("a-b", false), ("a0", false)];
        let seen = merged(&[lower, &[("a", false)]]);
        assert_eq!(seen, [("a".into(), 1), ("a-b".into(), 0), ("a0".into(), 0)]);
    }

    #[test]
    fn a_directory_replaces_what_is_none() {
        let seen = merged(&[&[("a", false)], &[("a", true), ("a/x", false)]]);
        assert_eq!(seen, [("a".into(), 1), ("a/x".into(), 1)]);
    }

    #[test]
    fn an_implied_directory_leaves_the_metadata_of_the_one_below() {
        let mut merged = Merged::default();
        merged.lay(0, Laid { path: b"a", directory: true, implied: false });
        merged.lay(1, Laid { path: b"a", directory: true, implied: true });
        assert_eq!(merged.paths().next().unwrap().1.pass, 0);
    }
}
