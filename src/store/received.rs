//! Images whose trees came by a stream: nothing of them is believed before archive and tree were compared.

use std::error::Error as StdError;
use std::fs::File;
use std::path::Path;

use crate::schema::{ImageId, ImageManifest};

use super::import::{New, manifest, refused};
use super::incoming::Incoming;
use super::layout::Store;
use super::{Error, Image, Kind, OF_MANIFEST, Origin, Partial, Result, Streams, TreeName, verify};

/// Judges an image when all of it has come: what its manifest says, where its archive is, what is known of it, to which it adds.
pub type Vouch<'v> = &'v dyn Fn(&ImageManifest, &Path, &mut Origin) -> Result<(), Box<dyn StdError + Send + Sync>>;

/// An image that came as a stream and a file.
pub struct Received<'r> {
    /// What it is said to be.
    pub id: &'r ImageId,
    /// Holds the archive, all of it.
    pub archive: &'r Partial,
    /// What the other side knew of it.
    pub origin: Origin,
    /// A check of the caller's own.
    pub vouch: Vouch<'r>,
}

/// The name under which what has come of a tree is kept and locked.
fn key(tree: &TreeName) -> String {
    format!("tree {tree}")
}

impl Store {
    /// What has come of the archive of a tree that is received; nobody else receives it as long as this value lives.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub(crate) fn receiving(&self, tree: &TreeName, waiting: &dyn Fn()) -> Result<Partial> {
        self.prepare()?;
        let opened = self.partials()?.open(&key(tree), waiting);
        opened
            .map(|(partial, _)| partial)
            .map_err(|error| Error::new(Kind::Io, format!("keep what comes of {tree}")).because(error))
    }

    /// How much of the archive of a tree has come that is received.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub(crate) fn received_of(&self, tree: &TreeName) -> Result<u64> {
        Ok(self.partials()?.held(&key(tree)))
    }

    /// Takes a tree of which all has come: the archive is hashed, and the tree compared with it entry by entry. Then both are
    /// published as an import's are. A tree that is not the archive's is thrown away.
    ///
    /// # Errors
    /// [`Kind::Refused`] with the clause, [`Kind::Io`].
    pub(crate) fn adopt(&self, streams: &dyn Streams, received: Received<'_>) -> Result<Image> {
        let Received { id, archive, mut origin, vouch } = received;
        let doing = format!("take image {id} from the stream");
        let failed = |error: std::io::Error| Error::new(Kind::Io, doing.clone()).because(error);
        let work = {
            let _held = self.hold_shared()?;
            Incoming::new(self.root(), "image")?
        };
        let draft = streams.whole(&TreeName::image(id))?;
        let path = archive.path();
        let file = File::open(&path).map_err(failed)?;
        let compared = verify::compare(file, draft.path(), &origin)?.map_err(|error| refused(&doing, error))?;
        let different =
            |why: String| Error::new(Kind::Refused, doing.clone()).clause("aci.id.uncompressed").because(why);
        if compared.summary.image_id != *id {
            return Err(different(format!("the archive that came with it is {}", compared.summary.image_id)));
        }
        if let Some(first) = compared.damage.first() {
            let more = match compared.damage.len() {
                1 => String::new(),
                several => format!(", and {} more", several - 1),
            };
            let why = format!("the files are not those of the archive: {}: {}{more}", first.place, first.what);
            return Err(different(why));
        }
        let (manifest, told) = manifest(&compared.summary.manifest, &doing)?;
        vouch(&manifest, &path, &mut origin).map_err(|why| Error::new(Kind::Refused, doing.clone()).because(why))?;
        origin.notes.retain(|note| !note.starts_with(OF_MANIFEST));
        let (summary, implied) = (compared.summary, compared.implied);
        archive.give(&work.path().join("archive")).map_err(failed)?;
        self.publish(New { work, draft, summary, implied, manifest, told, origin }, true, &doing)
    }

    /// Publishes a tree that was rendered elsewhere, if `same` finds it to be what it would be here. Says whether it was.
    ///
    /// # Errors
    /// [`Kind::Io`], and those of `same`.
    pub(crate) fn adopt_rendered(
        &self,
        streams: &dyn Streams,
        tree: &TreeName,
        same: impl FnOnce(&Path) -> Result<bool>,
    ) -> Result<bool> {
        let draft = streams.whole(tree)?;
        let same = same(draft.path())?;
        if same {
            self.seal_tree(draft, tree)?;
        }
        Ok(same)
    }

    /// Throws away what interrupted streams left whose transfer is kept no more.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub(super) fn sweep_received(&self) -> Result<()> {
        let Some(streams) = self.trees().streams() else { return Ok(()) };
        let partials = self.partials()?;
        for tree in streams.unfinished()? {
            if !partials.has(&key(&tree)) {
                streams.abandon(&tree)?;
            }
        }
        Ok(())
    }
}
