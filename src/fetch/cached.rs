//! Which image a URL gave the last time, and whose signature it had.

use serde::{Deserialize, Serialize};

use crate::schema::ImageId;
use crate::store::{Image, Store};
use crate::transport::{Cache, Entry, Validators};
use url::Url;

/// What is remembered of an image's transfer.
#[derive(Serialize, Deserialize)]
struct Note {
    image: String,
    signed_by: Vec<String>,
}

/// An image that a URL gave before and that the store still has.
pub(super) struct Known {
    pub(super) entry: Entry,
    pub(super) image: Image,
    pub(super) signed_by: Vec<String>,
}

/// The image that `url` gave, if the store still has it.
pub(super) fn recall(cache: &Cache, url: &Url, store: &Store) -> Option<Known> {
    let entry = cache.get(url)?;
    let note: Note = serde_json::from_str(&entry.note).ok()?;
    let id: ImageId = note.image.parse().ok()?;
    // A store that cannot give the image is asked again by those who import into it.
    let image = store.try_image(&id).ok()??;
    Some(Known { entry, image, signed_by: note.signed_by })
}

/// What to note of a transfer that may have to be taken up again; nothing where the server gives no way to know that it is the same.
pub(super) fn resumable(validators: &Validators) -> Option<String> {
    validators.if_range()?;
    serde_json::to_string(&(&validators.etag, &validators.last_modified)).ok()
}

/// What was noted of it.
pub(super) fn validators(note: &str) -> Option<Validators> {
    let (etag, last_modified) = serde_json::from_str(note).ok()?;
    Some(Validators { etag, last_modified })
}

/// What to remember.
pub(super) fn note(image: &Image, signed_by: &[String]) -> String {
    let note = Note { image: image.id().to_string(), signed_by: signed_by.to_vec() };
    serde_json::to_string(&note).unwrap_or_default()
}
