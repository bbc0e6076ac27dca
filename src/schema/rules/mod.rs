//! What a schema cannot say: uniqueness, references, ranges across keys, names from other worlds.
//!
//! Rules look at the document as it stands, not at typed values: a fault in one place must not hide those in another.
//! They pass over what has the wrong form; the schema has told that.

mod app;
mod isolators;
mod lists;
mod paths;
mod pod;

use std::collections::HashMap;

use super::AcIdentifier;
use super::findings::Findings;
use super::json::{Node, Span};
use super::shape::SHAPES;
use super::validate::Profile;
use super::walk::short;

pub(super) use isolators::Place;

/// Rules for an image manifest.
pub(super) fn image(root: &Node<'_>, findings: &mut Findings) {
    version(root, findings);
    if let Some(name) = root.get("name") {
        url_like(name, findings);
    }
    lists::labels(root.list("labels"), findings);
    lists::annotations(root.list("annotations"), "im.ann.unique", findings);
    if let Some(app) = root.get("app") {
        app::check(app, findings);
    }
    for dependency in root.list("dependencies") {
        lists::labels(dependency.list("labels"), findings);
    }
    for path in root.list("pathWhitelist") {
        paths::clean(path, findings);
    }
}

/// Rules for a pod manifest.
pub(super) fn pod(root: &Node<'_>, profile: Profile, findings: &mut Findings) {
    version(root, findings);
    pod::check(root, profile, findings);
}

/// Rules for the value of one isolator, wherever it stands.
pub(super) fn isolator(isolator: &Node<'_>, findings: &mut Findings) {
    if let (Some(name), Some(value)) = (isolator.text("name"), isolator.get("value")) {
        isolators::value(name, value, findings);
    }
}

/// types.acversion.tagged, types.acversion.major.
fn version(root: &Node<'_>, findings: &mut Findings) {
    let Some(node) = root.get("acVersion") else { return };
    let Some(text) = node.as_str().filter(|text| *text != crate::SPEC_VERSION) else { return };
    let Ok(version) = semver::Version::parse(text) else {
        numbers_beyond(node, text, findings);
        return;
    };
    let ours = semver::Version::parse(crate::SPEC_VERSION).expect("the specification's version is well-formed");
    if version.major != ours.major {
        findings
            .error("types.acversion.major", node.span, format!("version {version} is not compatible with {ours}"))
            .help(format!("a manifest for this specification has a version {}.x", ours.major));
    } else if (version.minor, version.patch) > (ours.minor, ours.patch) {
        findings.warning("types.acversion.tagged", node.span, format!("version {version} is newer than {ours}"));
    }
}

/// A version of the right form whose numbers are too large to be held.
fn numbers_beyond(node: &Node<'_>, text: &str, findings: &mut Findings) {
    if !SHAPES.definition("acVersion").pattern.as_ref().is_some_and(|pattern| pattern.matches(text)) {
        return;
    }
    let (text, ours) = (short(text), crate::SPEC_VERSION);
    if text.starts_with("0.") {
        findings.warning("types.acversion.tagged", node.span, format!("version {text} is newer than {ours}"));
    } else {
        findings.error("types.acversion.major", node.span, format!("version {text} is not compatible with {ours}"));
    }
}

/// im.name.urllike.
fn url_like(name: &Node<'_>, findings: &mut Findings) {
    let Some(text) = name.as_str() else { return };
    let host = text.split('/').next().unwrap_or_default();
    if !host.contains('.') && host != "localhost" && text.parse::<AcIdentifier>().is_ok() {
        findings
            .warning("im.name.urllike", name.span, format!("`{}` does not begin with a host", short(text)))
            .label("discovery cannot find it")
            .help("name images as URLs without scheme: `example.com/name`");
    }
}

/// Says where a text stands a second time. `items` are the texts with their places.
fn unique<'n, 'd: 'n>(
    items: impl IntoIterator<Item = &'n Node<'d>>,
    findings: &mut Findings,
    clause: &'static str,
    what: &str,
) {
    // Looking through a few is quicker than hashing them; the many of an attacker must not be looked through.
    const FEW: usize = 16;
    let mut few: Vec<(&str, Span)> = Vec::new();
    let mut many: HashMap<&str, Span> = HashMap::new();
    for item in items {
        let Some(text) = item.as_str() else { continue };
        let first = few.iter().find(|(other, _)| *other == text).map(|(_, span)| span).or_else(|| many.get(text));
        if let Some(first) = first {
            findings
                .error(clause, item.span, format!("{what} `{}` is given twice", short(text)))
                .related(*first, "given first");
        } else if few.len() < FEW {
            few.push((text, item.span));
        } else {
            many.insert(text, item.span);
        }
    }
}

/// The values of `key` in the objects of a list.
fn each<'n, 'd>(items: &'n [Node<'d>], key: &'static str) -> impl Iterator<Item = &'n Node<'d>> {
    items.iter().filter_map(move |item| item.get(key))
}
