//! Images of registries: found by name, converted as they come, stored by content, pinned by digest.

use std::error::Error as StdError;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::thread;
use std::time::SystemTime;

use url::Url;

use super::cached;
use super::remote::{Event, Remote};
use super::{Error, Kind};
use crate::aci::{Compression, ReadOptions};
use crate::config::Signatures;
use crate::discovery::RegistryName;
use crate::oci::registry::{Found, Registry, Shelf};
use crate::oci::{self, Conversion, Form, ImportOptions, Layers};
use crate::store::{Accept, Image, Import, Store};
use crate::transport::{Entry, Validators};
use crate::trust::{CosignKey, registry_is_trusted};

impl Remote {
    /// The image that this name gave the last time, if the store still has it.
    pub fn pinned(&self, name: &RegistryName, store: &Store) -> Option<Image> {
        cached::recall(&self.cache, &address(name)?, store).map(|known| known.image)
    }

    /// Brings the image of this name into the store: all layers as one. What the store has of that very digest is not
    /// transferred again.
    ///
    /// # Errors
    /// [`Kind::NotFound`], [`Kind::Unavailable`]; [`Kind::Unsigned`] where nobody trusts the registry and that is wanted;
    /// [`Kind::Refused`] where the image is not valid. The store is then as it was.
    pub fn by_registry(&self, name: &RegistryName, store: &Store) -> Result<Image, Error> {
        let failed = |error: oci::Error| {
            let kind = match error.kind() {
                oci::Kind::Missing => Kind::NotFound,
                oci::Kind::Io | oci::Kind::Refused => Kind::Unavailable,
                _ => Kind::Refused,
            };
            Error::new(kind, format!("fetch {name}")).because(error)
        };
        let keys = self.keys_for(name)?;
        let trusted = self.is_trusted(name, &keys)?;
        let unreached = |place: &RegistryName, error: &oci::Error| (self.tell)(&Event::Unreached(place, error));
        let reached = self.registries.find(name, &oci::host_platforms(), self.watch.as_ref(), &unreached);
        let (registry, found) = reached.map_err(failed)?;
        // Before anything else that the registry says is looked at.
        let signer = self.signer(name, &keys, &registry, &found, failed)?;
        let digest = found.digest();
        let address = address(name);
        if let Some(address) = &address
            && let Some(known) = cached::recall(&self.cache, address, store)
            && known.entry.validators.etag.as_deref() == Some(digest.as_str())
        {
            (self.tell)(&Event::Unchanged(address));
            return Ok(known.image);
        }
        if let Some(address) = &address {
            (self.tell)(&Event::Image(address));
        }
        let partials = store.partials().map_err(|error| error.of_kind(Kind::Local))?;
        let tell = self.tell.clone();
        let waiting = Arc::new(move |blob: &str| tell(&Event::Waiting(blob)));
        let shelf = Shelf { whole: self.blobs.clone(), partials, waiting };
        let image = registry.image(found, shelf).map_err(failed)?;
        let mut notes = Vec::new();
        if let Some(platform) = image.second_choice() {
            notes.push(format!("the image is for {platform}: there is none for this system"));
        }
        if let Some(signer) = signer {
            notes.push(format!("signed by the key {}, trusted for {}", signer.id(), signer.prefix()));
        } else if !trusted {
            notes.push(format!("nobody has signed it: the word of the registry {} is all there is", name.place()));
        }
        let stored = self.convert(name, &image, notes, store).map_err(|error| match error {
            Broken::Image(error) => {
                let error = failed(error);
                if *error.kind() != Kind::Unavailable {
                    registry.forget();
                }
                error
            }
            Broken::Store(error) => {
                registry.forget();
                let kind = if *error.kind() == crate::store::Kind::Io { Kind::Local } else { Kind::Refused };
                error.of_kind(kind)
            }
        })?;
        if let Some(address) = address {
            let entry = Entry {
                validators: Validators { etag: Some(digest.to_string()), last_modified: None },
                fresh_until: SystemTime::UNIX_EPOCH,
                note: cached::note(&stored, &[]),
                body: Vec::new(),
                url: address.clone(),
                public: false,
            };
            self.cache.remember(vec![(address, Some(entry))]);
        }
        Ok(stored)
    }

    /// The keys of which one has to have signed images of this name.
    fn keys_for(&self, name: &RegistryName) -> Result<Vec<CosignKey>, Error> {
        let keys = self.keys.cosign_keys().map_err(|error| {
            Error::new(Kind::Local, format!("find out who is to have signed {name}")).because(error)
        })?;
        let unwanted = self.policy == Signatures::None;
        Ok(keys.into_iter().filter(|key| !unwanted && key.covers(&name.place())).collect())
    }

    /// Which of `keys` has signed the image. That none has is an error, where there are any.
    fn signer<'k>(
        &self,
        name: &RegistryName,
        keys: &'k [CosignKey],
        registry: &Registry,
        found: &Found,
        failed: impl Fn(oci::Error) -> Error,
    ) -> Result<Option<&'k CosignKey>, Error> {
        if keys.is_empty() {
            return Ok(None);
        }
        let signer = registry.signed_by(&found.digests(), &name.place(), keys).map_err(failed)?;
        signer.map(Some).ok_or_else(|| {
            let ids: Vec<String> = keys.iter().map(CosignKey::id).collect();
            let why =
                format!("no signature of it under this name is by a key that is trusted for it: {}", ids.join(", "));
            Error::new(Kind::Unsigned, format!("fetch {name}")).clause("disc.sigpolicy").because(why)
        })
    }

    /// Whether the registry's word is taken for images of this name, or that of a key.
    fn is_trusted(&self, name: &RegistryName, keys: &[CosignKey]) -> Result<bool, Error> {
        if !keys.is_empty() {
            return Ok(true);
        }
        let local = |error: crate::trust::Error| {
            Error::new(Kind::Local, format!("find out whether {name} is trusted")).because(error)
        };
        let trusted = registry_is_trusted(&self.keys.registries().map_err(local)?, &name.place());
        if trusted || !self.strict {
            return Ok(trusted);
        }
        let error = Error::new(Kind::Unsigned, format!("fetch {name}")).clause("disc.sigpolicy");
        let why = format!("nobody signs images of registries, and {} is not one whose word is taken", name.place());
        Err(error.because(why))
    }

    /// Writes the image on one thread and imports it on another, through a pipe.
    fn convert(&self, name: &RegistryName, image: &Layers, notes: Vec<String>, store: &Store) -> Result<Image, Broken> {
        let options = ImportOptions {
            form: Form::Squash,
            name: None,
            version: None,
            compression: Compression::None,
            read: ReadOptions::default(),
        };
        let mut conversion = Conversion::new(image, options).map_err(Broken::Image)?;
        let digest = image.digest().map(|digest| format!("@{digest}")).unwrap_or_default();
        let shown = name.to_string();
        let source = format!("{}{digest}", shown.split('@').next().unwrap_or_default());
        let (reader, mut writer) =
            io::pipe().map_err(|error| Broken::Image(oci::Error::new(oci::Kind::Io, "make a pipe").because(error)))?;
        thread::scope(|scope| {
            let writing = scope.spawn(move || {
                let written = conversion.stream(&mut writer);
                let _ = writer.flush();
                // The reader sees the end only when this is gone.
                drop(writer);
                written
            });
            let accept = Accept::new(move |_, origin| -> Result<(), Box<dyn StdError + Send + Sync>> {
                origin.notes.extend(notes.iter().cloned());
                Ok(())
            });
            let imported = store.import(reader, Import { accept: Some(accept), ..Import::new(source) });
            let written = writing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            match (imported, written) {
                // A store that gave up closes the pipe, which is no fault of who writes; a writer that gave up is the reason.
                (Err(error), Err(broken)) if *broken.kind() == oci::Kind::Io => {
                    let closed = crate::error::is_of(&broken, io::ErrorKind::BrokenPipe);
                    Err(if closed { Broken::Store(error) } else { Broken::Image(broken) })
                }
                (_, Err(broken)) => Err(Broken::Image(broken)),
                (imported, Ok(_)) => imported.map_err(Broken::Store),
            }
        })
    }
}

/// Whose fault it is.
enum Broken {
    Image(oci::Error),
    Store(crate::store::Error),
}

/// What the image is remembered under.
fn address(name: &RegistryName) -> Option<Url> {
    Url::parse(&name.to_string()).ok()
}
