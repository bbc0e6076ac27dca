//! How one file of a site becomes another: its signatures and its map with it, so that what is there is whole at any moment.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::names::ENDINGS;
use super::{Content, Error, Kind, Place, Result};
use crate::chunks::{self, Map};

/// A file of an image, and what it is made of.
pub(super) struct Write {
    pub(super) path: String,
    /// A file of this host, where the image is given.
    pub(super) source: Option<PathBuf>,
    /// A file of the site that is it already, or will be by then.
    pub(super) there: Option<String>,
    pub(super) sha512: String,
    pub(super) bytes: u64,
    /// By ending; the old one is replaced by them.
    pub(super) signatures: BTreeMap<String, Vec<u8>>,
    /// The map of its chunks, if it is to have one.
    pub(super) map: Option<Vec<u8>>,
    /// Only signatures or map are others.
    pub(super) same_image: bool,
}

/// Where the map of a file's chunks is.
pub(super) fn map_of(path: &str) -> String {
    format!("{path}{}", chunks::ENDING)
}

/// The map of a file's chunks, if it is of the file with this digest.
pub(super) fn read_map(place: &mut dyn Place, path: &str, sha512: &str) -> Result<Option<Vec<u8>>> {
    let map = place.read(&map_of(path))?;
    Ok(map.filter(|map| Map::parse(map).is_ok_and(|map| map.sha512 == sha512)))
}

/// Puts a small file there, unless it is there already.
pub(super) fn put_if_other(place: &mut dyn Place, path: &str, bytes: &[u8]) -> Result<()> {
    match place.read(path)?.is_some_and(|there| there == bytes) {
        true => Ok(()),
        false => place.put(path, &Content::Bytes(bytes)),
    }
}

/// Signatures of both, then the image, then the signatures of it alone. A map is there with its own image only: one of another leads
/// whoever takes it astray.
pub(super) fn write(place: &mut dyn Place, write: &Write) -> Result<()> {
    let Write { path, source, there, sha512, bytes, signatures, map, same_image } = write;
    let at = |ending: &str| format!("{path}{ending}");
    if *same_image {
        for (ending, signature) in signatures {
            put_if_other(place, &at(ending), signature)?;
        }
        return map.as_ref().map_or(Ok(()), |map| put_if_other(place, &map_of(path), map));
    }
    if place.read(&map_of(path))?.is_some() {
        place.remove(&map_of(path))?;
    }
    let mut replaced = Vec::new();
    for ending in ENDINGS {
        let old = place.read(&at(ending))?;
        match (signatures.get(ending), old) {
            (Some(signature), Some(old)) if *signature != old => {
                let both = [signature.as_slice(), b"\n", &old].concat();
                place.put(&at(ending), &Content::Bytes(&both))?;
                replaced.push((ending, signature));
            }
            (Some(signature), None) => place.put(&at(ending), &Content::Bytes(signature))?,
            (None, Some(_)) => place.remove(&at(ending))?,
            _ => {}
        }
    }
    let content = source.as_ref().map(|source| Content::File(source, sha512, *bytes));
    match (there, &content) {
        (Some(there), content) => place.copy(there, path, content.as_ref())?,
        (None, Some(content)) => place.put(path, content)?,
        (None, None) => return Err(Error::new(Kind::Corrupt, format!("find what {path} is"))),
    }
    for (ending, signature) in replaced {
        place.put(&at(ending), &Content::Bytes(signature))?;
    }
    map.as_ref().map_or(Ok(()), |map| place.put(&map_of(path), &Content::Bytes(map)))
}

/// The image first, so that there is none without its signature.
pub(super) fn remove(place: &mut dyn Place, path: &str) -> Result<()> {
    place.remove(path)?;
    ENDINGS.iter().chain([&chunks::ENDING]).try_for_each(|ending| place.remove(&format!("{path}{ending}")))
}
