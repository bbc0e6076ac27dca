//! Paths: written plainly, and targets that do not get into each other's way.

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
    let mut seen: Vec<(AbsPath, &Node<'d>)> = Vec::new();
    for node in nodes {
        clean(node, findings);
        let Some(path) = node.as_str().and_then(|text| text.parse::<AbsPath>().ok()) else { continue };
        if let Some(first @ ("proc" | "sys" | "dev")) = path.components().next() {
            findings.warning("x.mount.system", node.span, format!("hides what the executor provides at `/{first}`"));
        }
        // More than this many mounts are compared with the first ones only: the work must stay bounded.
        if let Some((other, first)) = seen.iter().find(|(other, _)| other.contains(&path) || path.contains(other)) {
            let same = other.clean() == path.clean();
            let (message, words) = if same {
                (format!("`{}` is a target twice", short(&path)), "given first")
            } else {
                (format!("`{}` and `{}` overlap", short(&path), short(other)), "the other stands")
            };
            findings.error("vol.target.overlap", node.span, message).related(first.span, words);
        }
        if seen.len() < 1000 {
            seen.push((path, node));
        }
    }
}
