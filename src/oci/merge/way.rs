//! A way through a tree, as the kernel would go it: part by part, upwards and along symbolic links, and never out at the top.

use std::collections::VecDeque;
use std::fmt;

use super::{MAX_DEPTH, ROOT};
use crate::aci::printable;

/// Symbolic links on one way, as Linux counts them.
const MAX_LINKS: usize = 40;

/// Why a way leads nowhere.
pub(super) enum Blocked {
    /// What is no directory stands there.
    By(Vec<u8>),
    /// Symbolic links, round and round.
    Links,
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::By(path) => write!(f, "`{}` above it is not a directory", printable(path)),
            Self::Links => f.write_str("too many symbolic links lie on the way to it"),
        }
    }
}

/// A way through the tree, part by part.
pub(super) struct Way {
    rest: VecDeque<Vec<u8>>,
    links: usize,
}

impl Way {
    pub(super) fn new(path: &[u8]) -> Self {
        Self { rest: parts(path).collect(), links: 0 }
    }

    /// Whether the part that was given last is the last one.
    pub(super) fn is_over(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next part that is a name; `..` leads up from `at`, and at the root nowhere.
    pub(super) fn next(&mut self, at: &mut usize, above: impl Fn(usize) -> usize) -> Option<Vec<u8>> {
        loop {
            let part = self.rest.pop_front()?;
            if part != b".." {
                return Some(part);
            }
            *at = above(*at);
        }
    }

    /// Goes along a symbolic link that stands in the directory `from`.
    pub(super) fn follow(&mut self, target: &[u8], from: usize) -> Result<usize, Blocked> {
        self.links += 1;
        let parts: Vec<Vec<u8>> = parts(target).collect();
        if self.links > MAX_LINKS || self.rest.len() + parts.len() > MAX_DEPTH {
            return Err(Blocked::Links);
        }
        for part in parts.into_iter().rev() {
            self.rest.push_front(part);
        }
        Ok(if target.starts_with(b"/") { ROOT } else { from })
    }
}

fn parts(path: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    path.split(|&byte| byte == b'/').filter(|part| !part.is_empty() && *part != b".").map(<[u8]>::to_vec)
}
