//! Images into a stream.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};

use super::frames::{ARCHIVE, BLOCKS, END, FAILED, INDEX, TREE, Writer};
use super::{Announced, Base, Blocks, Error, Head, Index, Kind, Result, Token, local, streams};
use crate::schema::ImageId;
use crate::store::{Image, Sent, Store, Streams, TreeName};

/// What the other side has already.
#[derive(Clone, Debug, Default)]
pub enum LeftOut {
    /// Nothing that is known of.
    #[default]
    Nothing,
    /// All that the images depend on.
    Dependencies,
    /// These images, and all that they depend on.
    Since(Vec<Image>),
}

/// Images that are sent.
#[derive(Clone, Debug)]
pub struct Export {
    /// The images; what they depend on goes along.
    pub images: Vec<Image>,
    /// What does not.
    pub left_out: LeftOut,
    /// Whether blocks are sent so that any pool can take them: neither compressed as they lie in the pool nor larger than 128 KiB.
    pub plain: bool,
    /// Where to go on.
    pub resume: Option<Token>,
}

/// A tree that is sent.
struct Item {
    name: TreeName,
    /// Whether its base is on the other side by then.
    difference: bool,
    /// The image that it is the tree of; none where it was rendered.
    image: Option<Image>,
}

impl Store {
    /// Writes images, with all that they depend on, as a stream for another store on ZFS. An error that comes after the stream's
    /// beginning is told to the other side, too.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] where trees are no datasets; [`Kind::Missing`] for what is not in the store any more.
    pub fn export_stream(&self, export: &Export, into: impl Write) -> Result<()> {
        let streams = streams(self)?;
        let (items, index) = self.items(streams, export)?;
        let failed = |error: io::Error| Error::new(Kind::Local, "write the stream").because(error);
        let index = serde_json::to_vec(&index).map_err(|error| failed(error.into()))?;
        let mut writer = Writer::new(into).map_err(failed)?;
        writer.frame(INDEX, &index).map_err(failed)?;
        for item in &items {
            let resume = export.resume.as_ref().filter(|token| token.tree == item.name);
            if let Err(error) = send(streams, &mut writer, item, resume, export.plain) {
                // Who reads no more cannot be told.
                let _ = writer.frame(FAILED, crate::error::chain(&error).as_bytes());
                return Err(error);
            }
        }
        writer.frame(END, &[]).map_err(failed)
    }

    fn items(&self, streams: &dyn Streams, export: &Export) -> Result<(Vec<Item>, Index)> {
        let mut there: HashSet<TreeName> = HashSet::new();
        let named: HashSet<&ImageId> = export.images.iter().map(Image::id).collect();
        match &export.left_out {
            LeftOut::Nothing => {}
            LeftOut::Dependencies => {
                for (name, of) in
                    export.images.iter().map(|image| self.trees_of(image)).collect::<Result<Vec<_>>>()?.concat()
                {
                    if !named.contains(of.id()) && name.image_id().is_some() {
                        there.insert(name);
                    }
                }
            }
            LeftOut::Since(images) => {
                for image in images {
                    there.extend(self.trees_of(image)?.into_iter().map(|(name, _)| name));
                }
            }
        }
        let mut left_out: Vec<String> =
            there.iter().filter(|name| name.image_id().is_some()).map(ToString::to_string).collect();
        let mut items = Vec::new();
        let mut trees = Vec::new();
        let mut known: HashSet<TreeName> = there.clone();
        let mut waiting = export.resume.as_ref().map(|token| &token.tree);
        for image in &export.images {
            for (name, of) in self.trees_of(image)? {
                if !known.insert(name.clone()) {
                    continue;
                }
                if waiting.is_some_and(|first| *first != name) {
                    left_out.extend(name.image_id().map(|_| name.to_string()));
                    continue;
                }
                waiting = None;
                let missing = || {
                    Error::new(Kind::Missing, format!("send the tree {name}"))
                        .because("it is not a dataset of this store")
                };
                let snapshot = streams.snapshot(&name).map_err(local)?.ok_or_else(missing)?;
                let base = snapshot.base.as_ref().filter(|(base, _)| known.contains(base));
                let manifest = of.manifest();
                trees.push(Announced {
                    tree: name.to_string(),
                    of: name.image_id().is_none().then(|| of.id().to_string()),
                    name: manifest.name.to_string(),
                    labels: manifest
                        .labels()
                        .iter()
                        .map(|label| (label.name.to_string(), label.value.clone()))
                        .collect(),
                    guid: snapshot.guid,
                    base: base.map(|(tree, guid)| Base { tree: tree.to_string(), guid: *guid }),
                });
                let difference = base.is_some();
                let image = name.image_id().map(|_| of);
                items.push(Item { name, difference, image });
            }
        }
        if let Some(token) = waiting {
            let missing = Error::new(Kind::Missing, format!("go on with the tree {token}"));
            return Err(missing.because("it is of none of these images: name those that were sent before"));
        }
        left_out.sort();
        Ok((items, Index { trees, left_out }))
    }

    /// The trees that an image comes to, each with its image: those of what it depends on first, the rendered one last.
    fn trees_of(&self, image: &Image) -> Result<Vec<(TreeName, Image)>> {
        let failed = |error: crate::render::Error| {
            let kind = if *error.kind() == crate::render::Kind::Missing { Kind::Missing } else { Kind::Local };
            Error::new(kind, format!("send image {}", image.id())).because(error)
        };
        // What is sent is what is run.
        self.flattened(image).map_err(failed)?;
        let plan = self.plan(image).map_err(failed)?;
        let mut trees = Vec::new();
        let mut seen = HashSet::new();
        for pass in plan.passes.iter().filter(|pass| seen.insert(&pass.image)) {
            trees.push((TreeName::image(&pass.image), self.image(&pass.image).map_err(local)?));
        }
        let whole = plan.tree();
        if whole.image_id().is_none() {
            trees.push((whole, image.clone()));
        }
        Ok(trees)
    }
}

fn send<W: Write>(
    streams: &dyn Streams,
    writer: &mut Writer<W>,
    item: &Item,
    resume: Option<&Token>,
    plain: bool,
) -> Result<()> {
    let failed = |error: io::Error| Error::new(Kind::Local, format!("send the tree {}", item.name)).because(error);
    let rest = resume.map(|token| token.zfs.as_deref());
    let blocks = match rest {
        None => Blocks::Whole,
        Some(Some(_)) => Blocks::Rest,
        Some(None) => Blocks::There,
    };
    let archive = match &item.image {
        Some(image) => Some((image, open(image, resume)?)),
        None => None,
    };
    let head = Head {
        tree: item.name.to_string(),
        blocks,
        archive_from: archive.as_ref().map_or(0, |(_, (_, from, _))| *from),
        archive_bytes: archive.as_ref().map_or(0, |(_, (_, _, whole))| *whole),
        origin: archive.as_ref().map(|(image, _)| image.origin().clone()),
    };
    writer.frame(TREE, &serde_json::to_vec(&head).map_err(|error| failed(error.into()))?).map_err(failed)?;
    let mut part = writer.part(BLOCKS);
    let sent = match rest {
        None => Some(Sent::Tree { name: &item.name, difference: item.difference, plain }),
        Some(token) => token.map(|token| Sent::Rest { token }),
    };
    if let Some(sent) = sent {
        streams.send(&sent, &mut part).map_err(local)?;
    }
    part.end().map_err(failed)?;
    if let Some((_, (file, from, whole))) = archive {
        let mut part = writer.part(ARCHIVE);
        io::copy(&mut file.take(whole - from), &mut part).map_err(failed)?;
        part.end().map_err(failed)?;
    }
    Ok(())
}

/// The archive from where the other side has it, and how long it is.
fn open(image: &Image, resume: Option<&Token>) -> Result<(File, u64, u64)> {
    let failed =
        |error: io::Error| Error::new(Kind::Local, format!("read the archive of {}", image.id())).because(error);
    let mut file = image.archive().map_err(local)?;
    let whole = file.metadata().map_err(failed)?.len();
    let from = resume.map_or(0, |token| token.archive);
    if from > whole {
        let why = format!("{from} bytes are said to be there, and it has {whole}");
        return Err(Error::new(Kind::Refused, format!("go on with image {}", image.id())).because(why));
    }
    file.seek(SeekFrom::Start(from)).map_err(failed)?;
    Ok((file, from, whole))
}
