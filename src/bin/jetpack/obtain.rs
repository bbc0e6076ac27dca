//! The image that a command line names: out of the store, out of a file, or from elsewhere.

use std::path::Path;

use appc::render::{Fetcher, Pull, Resolver};
use appc::store::{Image, ImageRef, Kind, Store, Wanted};

use crate::context::Context;
use crate::error::CommandError;
use crate::remote;

/// An image reference, for the command line's parser.
pub fn reference(text: &str) -> Result<ImageRef, String> {
    text.parse().map_err(|error| format!("failed to {}", appc::error::chain(&error)))
}

/// Looks in the store, brings a file in, or fetches, as `pull` says; then the image is rendered and ready to run.
/// Fails with the store as it was: an image that cannot be rendered is not kept if it was not there before.
pub fn obtain(context: &Context, store: &Store, reference: &ImageRef, pull: Pull) -> Result<Image, CommandError> {
    obtain_whole(context, store, reference, pull, pull)
}

/// The same; what the image depends on is looked for as `dependencies` says.
pub fn obtain_whole(
    context: &Context,
    store: &Store,
    reference: &ImageRef,
    pull: Pull,
    dependencies: Pull,
) -> Result<Image, CommandError> {
    let before = store.list()?;
    let (image, fetched) = look(context, store, reference, pull)?;
    let fetcher = context.fetcher();
    let resolver = Resolver { store, fetcher: fetcher.as_deref(), pull: dependencies };
    // What was there goes on being the tree that it was.
    let rendered = if fetched { store.render(&image, &resolver) } else { store.rendered_by(&image, &resolver) };
    if let Err(error) = rendered {
        let id = image.id().clone();
        drop(image);
        if before.iter().all(|listed| listed.id != id) {
            store.remove(&id, &context.uses()?)?;
        }
        return Err(error.into());
    }
    Ok(image)
}

/// The same without what it depends on.
pub fn obtain_alone(context: &Context, store: &Store, reference: &ImageRef, pull: Pull) -> Result<Image, CommandError> {
    look(context, store, reference, pull).map(|(image, _)| image)
}

/// The image, and whether it came in just now.
fn look(context: &Context, store: &Store, reference: &ImageRef, pull: Pull) -> Result<(Image, bool), CommandError> {
    match reference {
        ImageRef::File(path) => Ok((import(context, store, path)?, true)),
        ImageRef::Url(url) => Ok((remote::remote(context)?.by_url(url, &Wanted::default(), store)?, true)),
        ImageRef::Name(name) if pull != Pull::Never => {
            if pull == Pull::New {
                match find(store, reference) {
                    Err(error) if *error.kind() == Kind::Missing => {}
                    found => return Ok((found?, false)),
                }
            }
            let wanted = Wanted { name: Some(name.name.clone()), labels: name.labels.clone(), ..Wanted::default() };
            match fetch(context, store, reference, |fetcher| fetcher.fetch(&wanted, store)) {
                Ok(image) => Ok((image, true)),
                Err(error) => Err(match here(name.name.as_str()) {
                    Some(hint) => error.hint(hint),
                    None => error,
                }),
            }
        }
        _ => Ok((find(store, reference)?, false)),
    }
}

/// What may have been meant by a name that is a file's or a directory's here, too.
fn here(name: &str) -> Option<String> {
    let path = Path::new(name);
    if path.join("manifest").is_file() {
        return Some(format!("./{name} is an image layout: `actool build {name} {name}.aci` makes an image of it"));
    }
    path.exists().then(|| format!("./{name} names what is here"))
}

/// The image in the store, with a word where a name fits several.
pub fn find(store: &Store, reference: &ImageRef) -> appc::store::Result<Image> {
    let found = store.look_up(reference)?;
    if !found.older.is_empty() {
        let older = found.older.len();
        eprintln!("jetpack: {reference} is {}, the newest import; {older} older ones fit too", found.image.id());
    }
    Ok(found.image)
}

fn import(context: &Context, store: &Store, path: &Path) -> Result<Image, CommandError> {
    let image = remote::remote(context)?.by_file(path, &Wanted::default(), store)?;
    for note in &image.origin().notes {
        eprintln!("jetpack: {}: {note}", path.display());
    }
    Ok(image)
}

fn fetch(
    context: &Context,
    store: &Store,
    reference: &ImageRef,
    fetch: impl FnOnce(&dyn Fetcher) -> Result<Image, Box<dyn std::error::Error + Send + Sync>>,
) -> Result<Image, CommandError> {
    let Some(fetcher) = context.fetcher() else { return Ok(find(store, reference)?) };
    let failed =
        |error| appc::render::Error::new(appc::render::Kind::Missing, format!("fetch {reference}")).because(error);
    Ok(fetch(&*fetcher).map_err(failed)?)
}
