//! The image that a command line names: out of the store, out of a file, or from elsewhere.

use std::path::Path;

use appc::discovery::RegistryName;
use appc::fetch;
use appc::render::{Pull, Rendered, Resolver};
use appc::store::{Image, ImageRef, Kind, OF_MANIFEST, Store, Wanted};

use crate::context::Context;
use crate::error::CommandError;
use crate::remote::{self, Deferred};

/// An image reference, for the command line's parser.
pub fn reference(text: &str) -> Result<ImageRef, String> {
    text.parse().map_err(|error| format!("failed to {}", appc::error::chain(&error)))
}

/// An image that is ready to run. While a value of it lives, nobody collects any of it.
pub struct Obtained {
    /// The image.
    pub image: Image,
    /// Its root file system.
    pub rendered: Rendered,
}

/// Looks in the store, brings a file in, or fetches, as `pull` says; then the image is rendered and ready to run.
/// Fails with the store as it was: an image that cannot be rendered is not kept if it was not there before.
pub fn obtain(context: &Context, store: &Store, reference: &ImageRef, pull: Pull) -> Result<Obtained, CommandError> {
    whole(context, store, look(context, store, reference, Some(pull))?, pull)
}

/// Renders an image that was looked up; what it depends on is looked for as `dependencies` says.
pub fn whole(
    context: &Context,
    store: &Store,
    (image, fetched): (Image, bool),
    dependencies: Pull,
) -> Result<Obtained, CommandError> {
    let fetcher = Deferred::new(context);
    let resolver = Resolver { store, fetcher: Some(&fetcher), pull: dependencies };
    // What was there goes on being the tree that it was.
    let rendered = if fetched { store.render(&image, &resolver) } else { store.rendered_by(&image, &resolver) };
    match rendered {
        Ok(rendered) => Ok(Obtained { image, rendered }),
        Err(error) => {
            let clean = || -> Result<(), CommandError> {
                if image.is_new() {
                    let id = image.id().clone();
                    drop(image);
                    store.remove(&id, &context.uses()?)?;
                }
                Ok(())
            };
            Err(CommandError::from(error).and(clean()))
        }
    }
}

/// The image without what it depends on, and whether it came in just now. Without `pull` it has to come from elsewhere.
pub fn look(
    context: &Context,
    store: &Store,
    reference: &ImageRef,
    pull: Option<Pull>,
) -> Result<(Image, bool), CommandError> {
    let found = look_up(context, store, reference, pull)?;
    // What its manifest says in vain is lost each time that it is run.
    for note in found.0.origin().notes.iter().filter(|note| note.starts_with(OF_MANIFEST)) {
        eprintln!("jetpack: warning: {reference}: {note}");
    }
    Ok(found)
}

fn look_up(
    context: &Context,
    store: &Store,
    reference: &ImageRef,
    pull: Option<Pull>,
) -> Result<(Image, bool), CommandError> {
    match reference {
        ImageRef::File(path) => Ok((import(context, store, path)?, true)),
        ImageRef::Url(url) => Ok((remote::remote(context)?.by_url(url, &Wanted::default(), store)?, true)),
        ImageRef::Registry(name) => of_registry(context, store, name, pull),
        ImageRef::Name(name) if pull != Some(Pull::Never) => {
            if pull == Some(Pull::New) {
                match find(store, reference) {
                    Err(error) if *error.kind() == Kind::Missing => {}
                    found => return Ok((found?, false)),
                }
            }
            let failed = |error: fetch::Error| {
                let error =
                    CommandError::from(fetch::Error::new(*error.kind(), format!("fetch {reference}")).because(error));
                match here(name.name.as_str()) {
                    Some(hint) => error.hint(hint),
                    None => error,
                }
            };
            match remote::remote(context)?.by_name(name, &Wanted::default(), store) {
                Ok(image) => Ok((image, true)),
                // What came and is wrong is another matter.
                Err(error)
                    if pull == Some(Pull::Update)
                        && matches!(error.kind(), fetch::Kind::NotFound | fetch::Kind::Unavailable) =>
                {
                    let Ok(image) = find(store, reference) else { return Err(failed(error)) };
                    let why = appc::error::chain(&error);
                    eprintln!("jetpack: {reference} cannot be had, the one in the store is taken: {why}");
                    Ok((image, false))
                }
                Err(error) => Err(failed(error)),
            }
        }
        _ => Ok((find(store, reference)?, false)),
    }
}

/// An image of a registry: what its name gave the last time, or what it gives now. What is not known of it is told.
fn of_registry(
    context: &Context,
    store: &Store,
    name: &RegistryName,
    pull: Option<Pull>,
) -> Result<(Image, bool), CommandError> {
    let remote = remote::remote(context)?;
    let pinned = remote.pinned(name, store);
    match (pull, pinned) {
        (Some(Pull::New | Pull::Never), Some(image)) => Ok((image, false)),
        (Some(Pull::Never), None) => {
            let missing = appc::store::Error::new(Kind::Missing, format!("find image {name}"));
            Err(missing.because("it was not fetched before").into())
        }
        (_, pinned) => match (remote.by_registry(name, store), pinned) {
            (Ok(image), _) => {
                for note in image.origin().notes.iter().filter(|note| !note.starts_with(OF_MANIFEST)) {
                    eprintln!("jetpack: {name}: {note}");
                }
                Ok((image, true))
            }
            (Err(error), Some(image)) if pull == Some(Pull::Update) && *error.kind() == fetch::Kind::Unavailable => {
                let why = appc::error::chain(&error);
                eprintln!("jetpack: {name} cannot be had, the one in the store is taken: {why}");
                Ok((image, false))
            }
            (Err(error), _) => Err(error.into()),
        },
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
        let older = match found.older.len() {
            1 => "an older one fits too".to_owned(),
            several => format!("{several} older ones fit too"),
        };
        eprintln!("jetpack: {reference} is {}, the newest import; {older}", found.image.id());
    }
    Ok(found.image)
}

fn import(context: &Context, store: &Store, path: &Path) -> Result<Image, CommandError> {
    let image = remote::remote(context)?.by_file(path, &Wanted::default(), store)?;
    for note in image.origin().notes.iter().filter(|note| !note.starts_with(OF_MANIFEST)) {
        eprintln!("jetpack: {}: {note}", path.display());
    }
    Ok(image)
}
