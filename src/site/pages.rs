//! The pages that discovery asks.

use std::collections::BTreeMap;

use super::index::{Index, PATH, Section};
use crate::discovery::{MetaTag, TagName, tags};

/// What says that a page is ours to replace.
const OURS: &str = "<meta name=\"generator\" content=\"appc site\">";

/// A page: the tags that it needs, and whether images are lost without it.
pub(super) struct Page {
    pub(super) tags: Vec<(TagName, String)>,
    pub(super) needed: bool,
}

/// All pages by path: of each prefix and of all that is above it.
pub(super) fn pages(index: &Index) -> BTreeMap<String, Page> {
    let mut pages: BTreeMap<String, Page> = BTreeMap::new();
    for section in &index.sections {
        let mut of = section.prefix.as_str();
        loop {
            let page = pages.entry(path(of)).or_insert_with(|| Page { tags: Vec::new(), needed: false });
            page.needed |= of == section.prefix.as_str();
            page.tags.extend(section_tags(section));
            match of.rsplit_once('/') {
                Some((parent, _)) => of = parent,
                None => break,
            }
        }
    }
    pages
}

/// Where the page of a name is.
fn path(name: &str) -> String {
    match name.split_once('/') {
        Some((_, below)) => format!("{below}/index.html"),
        None => "index.html".to_owned(),
    }
}

fn section_tags(section: &Section) -> Vec<(TagName, String)> {
    let content = |url: &str| format!("{} {url}", section.prefix);
    let keys = section.keys.iter().map(|url| (TagName::PublicKeys, content(url)));
    [(TagName::Discovery, content(&section.template))].into_iter().chain(keys).collect()
}

/// The page as HTML.
pub(super) fn html(page: &Page) -> String {
    let tags: String = page.tags.iter().map(|(name, content)| tag(*name, content)).collect();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>App Container Images</title>\n{OURS}\n{tags}</head>\n\
         <body>\n<p>App Container Images are found here by name. <a href=\"/{PATH}\">What there is.</a></p>\n</body>\n</html>\n"
    )
}

fn tag(name: TagName, content: &str) -> String {
    let content = content.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
    format!("<meta name=\"{}\" content=\"{content}\">\n", name.as_str())
}

/// Whether a page that is there may be replaced.
pub(super) fn is_ours(there: &[u8]) -> bool {
    there.windows(OURS.len()).any(|window| window == OURS.as_bytes())
}

/// The tags that a page of somebody else's lacks, as they would stand in it.
pub(super) fn lacking(there: &[u8], page: &Page) -> String {
    let there = tags(there);
    let has = |name: TagName, content: &str| there.contains(&MetaTag { name, content: content.to_owned() });
    page.tags.iter().filter(|(name, content)| !has(*name, content)).map(|(name, content)| tag(*name, content)).collect()
}
