//! From a name to URLs: where an image, its signature and its keys can be had.
//!
//! ```text
//! example.com/project/app:1.0,os=linux
//!   -> https://example.com/project/app?ac-discovery=1   tags? else
//!   -> https://example.com/project?ac-discovery=1       tags? else
//!   -> https://example.com/?ac-discovery=1              tags? else there is none
//! <meta name="ac-discovery" content="example.com https://storage.example.com/{name}-{version}-{os}-{arch}.{ext}">
//!   -> https://storage.example.com/example.com/project/app-1.0-linux-amd64.aci and .aci.asc
//! ```
//! Pure: pages come through [`Fetch`], which follows redirects and keeps all rules of transport.
//! What a page says is not believed further than this: it names URLs for names below its prefix.
//!
//! Clauses: disc.*, im.name.discovered; decisions 30 to 37.

mod meta;
mod name;
mod registry;
mod resolve;
mod template;

pub use meta::{MetaTag, TagName};
pub use name::{ImageName, Platform};
pub use registry::RegistryName;
pub use resolve::{Discovered, Endpoint, Fetch, Options, Page, Seek, Step, discover};
pub use template::Link;
#[cfg(all(feature = "net", feature = "run", unix))]
pub(crate) use {meta::tags, template::render};

/// What went wrong while finding out where an image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Not a name with labels.
    Name,
    /// No page on the way up to the host says where the image is.
    NotFound,
    /// A server could not be asked, or did not answer as a server should.
    Unreachable,
    /// The image fetched is not the one asked for.
    AnotherImage,
}

/// Why an image's place could not be found, or why the image found is not taken.
pub type Error = crate::error::Failure<Kind>;
