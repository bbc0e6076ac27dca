//! Paths: written plainly, and targets that do not get into each other's way.

use std::collections::HashMap;

use crate::schema::AbsPath;
use crate::schema::findings::Findings;
use crate::schema::json::Node;
use crate::schema::walk::short;

/// x.path.clean: `//` and `.` say nothing, and hide what is meant.
pub(super) fn clean(node: &Node<'_>, findings: &mut Findings) {
    let Some(path) = node.as_str().and_then(|text| text.parse::<AbsPath>().ok()) else { return };
    let spare = path.as_str().contains("//") || path.split('/').any(|part| part == ".");
    if spare {
        findings
            .warning("x.path.clean", node.span, format!("`{}` is not written plainly", short(&path)))
            .help(format!("write `{}`", path.clean()));
    }
}

/// Targets of mounts in one app: none is another or lies in it, none covers what the executor provides.
pub(super) fn targets<'n, 'd: 'n>(nodes: impl Iterator<Item = &'n Node<'d>>, findings: &mut Findings) {
    let mut tree = Tree::default();
    for node in nodes {
        clean(node, findings);
        let Some(text) = node.as_str() else { continue };
        let Ok(path) = text.parse::<AbsPath>() else { continue };
        if let Some(first @ ("proc" | "sys" | "dev")) = path.components().next() {
            findings.warning("x.mount.system", node.span, format!("hides what the executor provides at `/{first}`"));
        }
        // Components as the document has them, so that the tree can keep them.
        let parts = text.split('/').filter(|part| !part.is_empty() && *part != ".");
        if let Some((same, other)) = tree.add(parts, node) {
            let (message, words) = if same {
                (format!("`{}` is a target twice", short(&path)), "given first")
            } else {
                let other = short(other.as_str().unwrap_or_default());
                (format!("`{}` and `{other}` overlap", short(&path)), "the other stands")
            };
            findings.error("vol.target.overlap", node.span, message).related(other.span, words);
        }
    }
}

/// Targets by their components: what lies in the way of another is found on its own way, however many there are.
struct Tree<'n, 'd> {
    steps: HashMap<(usize, &'n str), usize>,
    places: Vec<Here<'n, 'd>>,
}

/// A place in the tree.
#[derive(Default)]
struct Here<'n, 'd> {
    /// The first target that is this place.
    target: Option<&'n Node<'d>>,
    /// The first target that is this place or below it.
    within: Option<&'n Node<'d>>,
}

impl Default for Tree<'_, '_> {
    fn default() -> Self {
        Self { steps: HashMap::new(), places: vec![Here::default()] }
    }
}

impl<'n, 'd> Tree<'n, 'd> {
    /// Adds a target; gives an earlier one that it overlaps with, and whether that is the same place.
    fn add(&mut self, parts: impl Iterator<Item = &'n str>, node: &'n Node<'d>) -> Option<(bool, &'n Node<'d>)> {
        let (mut at, mut above) = (0, None);
        for part in parts {
            above = above.or(self.places[at].target);
            self.places[at].within.get_or_insert(node);
            let next = self.places.len();
            at = *self.steps.entry((at, part)).or_insert(next);
            if at == next {
                self.places.push(Here::default());
            }
        }
        let here = &mut self.places[at];
        let found = here.target.map(|same| (true, same)).or(above.or(here.within).map(|other| (false, other)));
        here.within.get_or_insert(node);
        here.target.get_or_insert(node);
        found
    }
}
