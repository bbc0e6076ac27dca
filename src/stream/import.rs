//! Images out of a stream.

use std::error::Error as _;
use std::io::{self, Read};
use std::path::Path;

use jiff::Timestamp;

use super::frames::{ARCHIVE, BLOCKS, END, INDEX, PartReader, Reader, TREE, of_part};
use super::{Announced, Blocks, Error, Head, Index, Kind, Result, Token, local, streams};
use crate::schema::ImageId;
use crate::store::{self, Image, Origin, Partial, Progress, Received, Snapshot, Store, Streams, TreeName, Vouch};

/// The most trees that a stream may announce.
const MOST_TREES: usize = 1 << 14;
/// The most that is taken over of what the other side noted of an image.
const MOST_NOTES: usize = 100;
/// The longest note and name of a source.
const LONGEST_NOTE: usize = 4096;

/// What came of a tree, or keeps it from coming.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome<'o> {
    /// An image is in the store that was not there.
    Taken(&'o Image),
    /// It was there; what came of it was passed over.
    Known(&'o ImageId),
    /// An image's root file system came as one tree, too.
    Rendered(&'o ImageId),
    /// It did, and is not taken for this reason: it is made here when the image is run.
    NotRendered(&'o ImageId, &'o str),
    /// Another process receives the same.
    Waiting(&'o TreeName),
}

/// What is done with a stream.
pub struct Import<'i> {
    /// Judges each image when all of it has come.
    pub vouch: Vouch<'i>,
    /// Hears of what is done.
    pub tell: &'i dyn Fn(&Outcome<'_>),
}

/// Where streams that broke go on: one for each tree that has come in part.
///
/// # Errors
/// [`Kind::Unsupported`], [`Kind::Local`].
pub fn tokens(store: &Store) -> Result<Vec<Token>> {
    let streams = streams(store)?;
    let mut tokens = Vec::new();
    for tree in streams.unfinished().map_err(local)? {
        let archive = store.received_of(&tree).map_err(local)?;
        match streams.progress(&tree).map_err(local)? {
            Progress::None => {}
            Progress::Partly(token) => tokens.push(Token { tree, archive, zfs: Some(token) }),
            Progress::Whole => tokens.push(Token { tree, archive, zfs: None }),
        }
    }
    Ok(tokens)
}

impl Store {
    /// Takes images out of a stream, one after the other; those before one that breaks or is refused stay.
    ///
    /// # Errors
    /// [`Kind::Unsupported`]; [`Kind::Interrupted`] where the stream broke, [`Kind::Malformed`], [`Kind::Refused`],
    /// [`Kind::Missing`] where something was left out that is not here.
    pub fn import_stream(&self, from: impl Read, import: &Import<'_>) -> Result<()> {
        let streams = streams(self)?;
        let mut reader = Reader::new(from)?;
        let index: Index = document(&reader.expect(INDEX)?)?;
        if index.trees.len() > MOST_TREES || index.left_out.len() > MOST_TREES {
            return Err(malformed("it announces more trees than anybody has"));
        }
        for name in &index.left_out {
            let id: ImageId = name.parse().map_err(|_| malformed("what is left out is no image"))?;
            if self.try_image(&id).map_err(local)?.is_none() {
                let missing = Error::new(Kind::Missing, format!("find image {id}"));
                return Err(missing.because("it was left out of the stream, and this store does not have it"));
            }
        }
        let announced: Vec<Tree> = index.trees.into_iter().map(Tree::read).collect::<Result<_>>()?;
        for tree in announced {
            let head: Head = document(&reader.expect(TREE)?)?;
            if head.tree != tree.name.to_string() {
                return Err(malformed("a tree comes that is not the one announced"));
            }
            let coming = Coming { store: self, streams, import, tree: &tree, head: &head };
            match &tree.of {
                None => coming.image(&mut reader)?,
                Some(of) => coming.rendered(of, &mut reader)?,
            }
        }
        reader.expect(END).map(drop)
    }
}

/// A tree that was announced.
struct Tree {
    name: TreeName,
    of: Option<ImageId>,
    snapshot: Snapshot,
}

impl Tree {
    fn read(announced: Announced) -> Result<Self> {
        let name = |text: &str| TreeName::read(text).ok_or_else(|| malformed("what it announces is no tree"));
        let tree = name(&announced.tree)?;
        let of =
            announced.of.map(|id| id.parse().map_err(|_| malformed("a tree is rendered of no image"))).transpose()?;
        if tree.image_id().is_some() == of.is_some() {
            return Err(malformed("it does not say of which image a tree is"));
        }
        let base = announced.base.map(|base| Ok((name(&base.tree)?, base.guid))).transpose()?;
        Ok(Self { name: tree, of, snapshot: Snapshot { guid: announced.guid, base } })
    }
}

/// A tree that is coming.
struct Coming<'c> {
    store: &'c Store,
    streams: &'c dyn Streams,
    import: &'c Import<'c>,
    tree: &'c Tree,
    head: &'c Head,
}

impl Coming<'_> {
    fn tell(&self, outcome: &Outcome<'_>) {
        (self.import.tell)(outcome);
    }

    fn image<R: Read>(&self, reader: &mut Reader<R>) -> Result<()> {
        let Some(id) = self.tree.name.image_id() else { return Err(malformed("a tree is no image's")) };
        // One that is damaged counts as none: it is put out of the way by what comes.
        let known = || self.store.try_image(&id).is_ok_and(|image| image.is_some());
        let mut partial = None;
        if !known() {
            partial = Some(self.receiving()?);
        }
        let Some(mut partial) = partial.filter(|_| !known()) else {
            reader.part(BLOCKS).skip()?;
            reader.part(ARCHIVE).skip()?;
            self.tell(&Outcome::Known(&id));
            return Ok(());
        };
        self.begin_archive(&mut partial)?;
        let came = self
            .blocks(reader.part(BLOCKS))
            .map_err(|error| interrupted(error, &self.tree.name))
            .and_then(|()| self.archive(reader.part(ARCHIVE), &mut partial));
        if let Err(error) = came {
            if *error.kind() == Kind::Interrupted {
                partial.keep_any();
            }
            return Err(error);
        }
        let origin = self.origin()?;
        let received = Received { id: &id, archive: &partial, origin, vouch: self.import.vouch };
        let image = self.store.adopt(self.streams, received).map_err(local)?;
        self.tell(&Outcome::Taken(&image));
        Ok(())
    }

    fn rendered<R: Read>(&self, of: &ImageId, reader: &mut Reader<R>) -> Result<()> {
        let failed = |error: crate::render::Error| {
            Error::new(Kind::Local, format!("decide what {of} is made of")).because(error)
        };
        let image = self.store.image(of).map_err(local)?;
        let name = &self.tree.name;
        let there = || self.store.trees().find(name).is_some();
        let wanted = !there() && self.store.plan(&image).map_err(failed)?.tree() == *name;
        if there() {
            return reader.part(BLOCKS).skip().map(drop);
        }
        let mut part = reader.part(BLOCKS);
        if !wanted {
            self.tell(&Outcome::NotRendered(of, "it would be made of other images here"));
            return part.skip().map(drop);
        }
        let mut partial = self.receiving()?;
        self.begin_archive(&mut partial)?;
        match self.blocks(&mut part) {
            Ok(()) => {}
            Err(error) => {
                let kind = *error.kind();
                let error = interrupted(error, name);
                if *error.kind() == Kind::Interrupted {
                    partial.keep_any();
                }
                // What was sent is at fault, or the way: else it is a tree that this pool cannot have, as its base came here in another way.
                if kind == store::Kind::Refused || matches!(error.kind(), Kind::Interrupted | Kind::Malformed) {
                    return Err(error);
                }
                self.streams.abandon(name).map_err(local)?;
                self.tell(&Outcome::NotRendered(of, &crate::error::chain(&error)));
                return part.skip().map(drop);
            }
        }
        let same = |tree: &Path| {
            let compared = self.store.renders_to(&image, &tree.join("rootfs"));
            compared.map_err(|error| error.of_kind(store::Kind::Io))
        };
        let same = self.store.adopt_rendered(self.streams, name, same).map_err(local)?;
        self.tell(&if same { Outcome::Rendered(of) } else { Outcome::NotRendered(of, "its files are others") });
        Ok(())
    }

    fn receiving(&self) -> Result<Partial> {
        self.store.receiving(&self.tree.name, &|| self.tell(&Outcome::Waiting(&self.tree.name))).map_err(local)
    }

    /// What came of the archive before is what the other side leaves out.
    fn begin_archive(&self, partial: &mut Partial) -> Result<()> {
        let there = partial.held().map_or(0, |(bytes, _)| bytes);
        match self.head.archive_from {
            0 => partial.begin(Some("received by a stream")).map_err(|error| self.unkept(error)),
            from if from == there => {
                partial.resume();
                Ok(())
            }
            from => Err(self.refused(&format!("it begins behind {from} bytes of the archive, and {there} are here"))),
        }
    }

    fn blocks<R: Read>(&self, mut part: R) -> store::Result<()> {
        let progress = self.streams.progress(&self.tree.name)?;
        let refused = |why: &str| {
            Err(store::Error::new(store::Kind::Refused, format!("receive the tree {}", self.tree.name)).because(why))
        };
        match (self.head.blocks, progress) {
            (Blocks::Whole, _) => {}
            (Blocks::Rest, Progress::Partly(_)) => {}
            (Blocks::There, Progress::Whole) => {
                return match part.read(&mut [0]) {
                    Ok(0) => Ok(()),
                    Ok(_) => refused("there is more of it than was announced"),
                    Err(error) => {
                        Err(store::Error::new(store::Kind::Io, format!("receive the tree {}", self.tree.name))
                            .because(error))
                    }
                };
            }
            _ => return refused("it goes on with what is not here; all of it is needed"),
        }
        let goes_on = self.head.blocks == Blocks::Rest;
        self.streams.receive(&self.tree.name, &self.tree.snapshot, goes_on, &mut part)?;
        // What zfs has not read of it is behind its end.
        io::copy(&mut part, &mut io::sink()).map(drop).map_err(|error| {
            store::Error::new(store::Kind::Io, format!("receive the tree {}", self.tree.name)).because(error)
        })
    }

    fn archive<R: Read>(&self, mut part: PartReader<'_, R>, partial: &mut Partial) -> Result<()> {
        let there = partial.held().map_or(0, |(bytes, _)| bytes);
        let left = self.head.archive_bytes.saturating_sub(there);
        // One more than there is to be, so that more is seen.
        partial
            .fill(&mut part.by_ref().take(left.saturating_add(1)))
            .map_err(of_part)?
            .map_err(|error| self.unkept(error))?;
        match partial.held().map_or(0, |(bytes, _)| bytes) == self.head.archive_bytes {
            true => part.skip().map(drop),
            false => Err(self.refused("its archive is not as long as was announced")),
        }
    }

    /// What the other side knew of the image. Who signed it is not for a stream to say.
    fn origin(&self) -> Result<Origin> {
        let Some(mut origin) = self.head.origin.clone() else {
            return Err(malformed("it does not say where an image is from"));
        };
        origin.imported = Timestamp::now();
        origin.signed_by.clear();
        origin.source = short(&origin.source);
        origin.notes.truncate(MOST_NOTES);
        origin.notes.iter_mut().for_each(|note| *note = short(note));
        Ok(origin)
    }

    fn refused(&self, why: &str) -> Error {
        Error::new(Kind::Refused, format!("receive {}", self.tree.name)).because(why)
    }

    fn unkept(&self, error: io::Error) -> Error {
        Error::new(Kind::Local, format!("keep what comes of {}", self.tree.name)).because(error)
    }
}

fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(LONGEST_NOTE).collect()
}

/// Where the stream itself broke, and not what it is made into, it may go on.
fn interrupted(error: store::Error, tree: &TreeName) -> Error {
    let of_stream = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    let ours = of_stream.and_then(|error| error.get_ref()).and_then(|inner| inner.downcast_ref::<Error>());
    match ours {
        Some(ours) => Error::new(*ours.kind(), format!("receive {tree}")).because(crate::error::chain(ours)),
        None => local(error),
    }
}

fn document<'d, T: serde::Deserialize<'d>>(bytes: &'d [u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| Error::new(Kind::Malformed, "read the stream").because(error))
}

fn malformed(why: &str) -> Error {
    Error::new(Kind::Malformed, "read the stream").because(why)
}
