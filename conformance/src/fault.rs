//! Where an implementation can be broken on purpose: between the suite and the target, on the way in and on the way out.
//!
//! The suite hands everything over through these hooks. The usual fault is [`Sound`], which changes nothing; the mutants are the others. What
//! a target with a fault does is what a broken implementation would do, and no fault stands in the code of one.

use std::path::Path;

use serde_json::Value;

use crate::case::Page;
use crate::driver::{Answer, Values};
use crate::make::files::Entry;

/// A way to be broken. What is not written does no harm.
pub trait Fault: Send + Sync {
    /// The target reads another image manifest than the one that was packed; `image` is its short name.
    fn manifest(&self, _image: &str, _manifest: &mut Value) {}
    /// The target sees other files in an image than were packed.
    fn files(&self, _image: &str, _files: &mut Vec<Entry>) {}
    /// The target executes another pod than asked for.
    fn pod(&self, _pod: &mut Value) {}
    /// The target is started with other options than the case asks for.
    fn options(&self, _options: &mut Vec<String>) {}
    /// The target's packer sees another layout.
    fn layout(&self, _files: &mut Vec<Entry>) {}
    /// What changes of itself from one build to the next.
    fn between_builds(&self, _layout: &Path) {}
    /// The target's resolver reads another page at this path; `names` are the names that are asked for.
    fn page(&self, _path: &str, _names: &[&str], _page: &mut Page) {}
    /// The target does something else than asked for.
    fn action<'a>(&'a self, action: &'a str) -> &'a str {
        action
    }
    /// The target answers something else.
    fn answer(&self, _action: &str, _values: &Values, _answer: &mut Answer) {}
}

/// Nothing is broken.
pub struct Sound;

impl Fault for Sound {}
