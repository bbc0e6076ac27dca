//! The `app` section of images and pods.

use super::{Place, each, isolators, paths, unique};
use crate::schema::findings::Findings;
use crate::schema::json::Node;
use crate::schema::tables::PROTOCOLS;
use crate::schema::walk::short;

/// Rules for an `app` section.
pub(super) fn check(app: &Node<'_>, findings: &mut Findings) {
    unique(each(app.list("environment"), "name"), findings, "x.env.unique", "variable");
    unique(each(app.list("eventHandlers"), "name"), findings, "im.app.eventhandlers.unique", "handler");
    unique(each(app.list("mountPoints"), "name"), findings, "x.mountpoints.unique", "mount point");
    unique(each(app.list("ports"), "name"), findings, "pm.ports.name.unique", "port");
    paths::targets(each(app.list("mountPoints"), "path"), findings);
    if let Some(directory) = app.get("workingDirectory") {
        paths::clean(directory, findings);
    }
    for owner in ["user", "group"].iter().filter_map(|key| app.get(key)) {
        identity(owner, findings);
    }
    for port in app.list("ports") {
        self::port(port, findings);
    }
    isolators::check(app.list("isolators"), Place::App, findings);
}

/// A number as user or group that no system has (im.app.user.numeric), or a path that is not plain.
fn identity(node: &Node<'_>, findings: &mut Findings) {
    let Some(text) = node.as_str() else { return };
    if text.starts_with('/') {
        paths::clean(node, findings);
    } else if !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && text.parse::<crate::id::Id>().is_err()
    {
        findings.warning("im.app.user.numeric", node.span, format!("`{}` is beyond all ids", short(text)));
    }
}

/// A port of an app or of a pod.
pub(super) fn port(port: &Node<'_>, findings: &mut Findings) {
    if let Some(node) = port.get("protocol")
        && let Some(text) = node.as_str()
        && !text.is_empty()
        && !PROTOCOLS.contains(&text)
    {
        findings
            .warning("im.app.ports.protocol.l4", node.span, format!("`{}` is not a layer-4 protocol", short(text)))
            .meant(text, PROTOCOLS);
    }
    let first = port.get("port").and_then(Node::as_integer);
    if let (Some(first), Some(node)) = (first, port.get("count"))
        && let Some(count) = node.as_integer()
        && (1..=65535).contains(&first)
        && (1..=i128::from(u64::MAX)).contains(&count)
        && first + count - 1 > 65535
    {
        let message = format!("ports {first} to {} pass 65535", first + count - 1);
        findings.error("im.app.ports.count", node.span, message);
    }
}
