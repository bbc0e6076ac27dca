//! Trees as streams, on hosts whose file system sends and receives them.

use std::io::{Read, Write};

use super::{Draft, Result, TreeName};

/// A sealed tree as a stream tells of it. The numbers are the file system's own: a tree that was received has those of the one
/// that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Which it is.
    pub guid: u64,
    /// The tree that it began as, and which that is.
    pub base: Option<(TreeName, u64)>,
}

/// What is sent.
#[derive(Clone, Debug)]
pub enum Sent<'s> {
    /// A tree; as the difference to its base where the other side has that. `plain`: in a form that every pool takes.
    Tree {
        /// The tree.
        name: &'s TreeName,
        /// Whether its base is left out.
        difference: bool,
        /// Whether nothing is kept of how blocks are stored: compression, size.
        plain: bool,
    },
    /// What is missing of one that broke, as the other side's token says.
    Rest {
        /// The token.
        token: &'s str,
    },
}

/// How far a tree has come that is received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Not at all.
    None,
    /// In part; the token says to the sending side which.
    Partly(String),
    /// All of it came; it was not looked at and is not published.
    Whole,
}

/// Sends and receives trees.
pub trait Streams: Send + Sync {
    /// What a sealed tree is; nothing where it is not there.
    fn snapshot(&self, name: &TreeName) -> Result<Option<Snapshot>>;

    /// Writes a stream.
    fn send(&self, what: &Sent<'_>, into: &mut dyn Write) -> Result<()>;

    /// Receives a stream that is to become `expected`. `goes_on`: behind what came of it before, else that is thrown away. What
    /// has come stays, also where it breaks, until it is sealed or [abandoned](Streams::abandon).
    ///
    /// # Errors
    /// [`Kind::Missing`](super::Kind::Missing) where its base is not here; [`Kind::Refused`](super::Kind::Refused) where it
    /// is another stream or needs what this host does not have; [`Kind::Io`](super::Kind::Io).
    fn receive(&self, name: &TreeName, expected: &Snapshot, goes_on: bool, from: &mut dyn Read) -> Result<()>;

    /// How far a tree has come.
    fn progress(&self, name: &TreeName) -> Result<Progress>;

    /// A tree of which all has come: nobody has looked at it. It goes when it is dropped unsealed.
    fn whole(&self, name: &TreeName) -> Result<Box<dyn Draft>>;

    /// The trees that have come in part, or as a whole without being published.
    fn unfinished(&self) -> Result<Vec<TreeName>>;

    /// Throws away what has come of a tree.
    fn abandon(&self, name: &TreeName) -> Result<()>;
}
