//! Isolators: scopes, how often one may stand, names of system calls, errors and capabilities, amounts.

use crate::schema::AcIdentifier;
use crate::schema::findings::Findings;
use crate::schema::isolator::{self, Scope};
use crate::schema::json::{Node, Span, Value};
use crate::schema::quantity::{Lenient, Quantity};
use crate::schema::tables::{REMOVE_WILDCARDS, RETAIN_WILDCARDS, capabilities, errnos, holds, syscalls};
use crate::schema::text;
use crate::schema::walk::short;

/// Where a list of isolators stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::schema) enum Place {
    /// In an app.
    App,
    /// In a pod.
    Pod,
}

/// Rules for a list of isolators.
pub(super) fn check(list: &[Node<'_>], place: Place, findings: &mut Findings) {
    let mut seen: Vec<(&str, Span)> = Vec::new();
    for isolator in list {
        let Some(node) = isolator.get("name") else { continue };
        let Some(name) = node.as_str() else { continue };
        let Some(known) = isolator::known(name) else {
            // One that is no name at all has been told.
            if name.parse::<AcIdentifier>().is_ok() {
                findings
                    .warning(
                        "iso.unknown.ignore",
                        node.span,
                        format!("isolator `{}` is not known and ignored", short(name)),
                    )
                    .meant(name, isolator::KNOWN.iter().map(|known| known.name));
            }
            continue;
        };
        scope(known, place, node.span, findings);
        occurrence(known, node.span, &seen, findings);
        // The first of each name is all that is asked for.
        if seen.iter().all(|(other, _)| *other != name) {
            seen.push((name, node.span));
        }
        if let Some(value) = isolator.get("value") {
            self::value(name, value, findings);
        }
    }
}

fn scope(known: &isolator::Known, place: Place, span: Span, findings: &mut Findings) {
    let (clause, message) = match (known.scope, place) {
        (Scope::Pod, Place::App) => (scope_clause(known.name), "is for pods, not for apps"),
        (Scope::App, Place::Pod) => (scope_clause(known.name), "is for apps, not for pods"),
        _ => return,
    };
    findings.error(clause, span, format!("isolator `{}` {message}", known.name));
}

fn scope_clause(name: &str) -> &'static str {
    match name {
        "os/linux/seccomp-remove-set" => "iso.seccomp-remove.scope",
        "os/linux/seccomp-retain-set" => "iso.seccomp-retain.scope",
        "os/linux/capabilities-remove-set" | "os/linux/capabilities-retain-set" => "iso.caps.scope",
        "os/unix/sysctl" => "sysctl.scope",
        _ => "iso.scope",
    }
}

/// An isolator that stands twice, or excludes an earlier one.
fn occurrence(known: &isolator::Known, span: Span, seen: &[(&str, Span)], findings: &mut Findings) {
    let name = known.name;
    let earlier = |name: &str| seen.iter().find(|(other, _)| *other == name).map(|(_, span)| *span);
    if let Some(first) = earlier(name) {
        let finding = match single_clause(name).filter(|_| known.single) {
            Some(clause) => findings.error(clause, span, format!("isolator `{name}` is given twice")),
            None => {
                let message = format!("isolator `{name}` is given twice; the last one counts");
                findings.warning("x.isolator.duplicate", span, message)
            }
        };
        finding.related(first, "given first");
    }
    let rival = match name {
        "os/linux/seccomp-remove-set" => "os/linux/seccomp-retain-set",
        "os/linux/seccomp-retain-set" => "os/linux/seccomp-remove-set",
        "os/linux/capabilities-remove-set" => "os/linux/capabilities-retain-set",
        "os/linux/capabilities-retain-set" => "os/linux/capabilities-remove-set",
        _ => return,
    };
    if let (Some(first), None) = (earlier(rival), earlier(name)) {
        let clause = single_clause(name).unwrap_or("iso.caps.exclusive");
        findings
            .error(clause, span, format!("`{name}` and `{rival}` exclude each other"))
            .related(first, "the other stands");
    }
}

fn single_clause(name: &str) -> Option<&'static str> {
    match name {
        "os/linux/seccomp-remove-set" => Some("iso.seccomp-remove.single"),
        "os/linux/seccomp-retain-set" => Some("iso.seccomp-retain.single"),
        "os/linux/selinux-context" => Some("iso.selinux.single"),
        "os/linux/apparmor-profile" => Some("iso.apparmor.single"),
        "os/unix/sysctl" => Some("sysctl.single"),
        _ => None,
    }
}

/// Rules for the value of the isolator of a name.
pub(super) fn value(name: &str, value: &Node<'_>, findings: &mut Findings) {
    match name {
        "os/linux/seccomp-remove-set" => seccomp(value, &REMOVE, findings),
        "os/linux/seccomp-retain-set" => seccomp(value, &RETAIN, findings),
        "os/linux/capabilities-remove-set" => {
            capability_names(value, "iso.caps-remove.set", findings);
            if let Some(set) = value.get("set")
                && matches!(&set.value, Value::Array(items) if items.is_empty())
            {
                findings.warning("iso.caps-remove.set", set.span, "removes nothing: the set is empty");
            }
        }
        "os/linux/capabilities-retain-set" => capability_names(value, "iso.caps-retain.set", findings),
        "resource/cpu" => resource(value, Unit::Divisible, findings),
        "resource/memory" => resource(value, Unit::Whole, findings),
        "resource/block-bandwidth" => device_limit(value, "res.block-bandwidth.limit", findings),
        "resource/block-iops" => device_limit(value, "res.block-iops.limit", findings),
        "resource/network-bandwidth" => device_limit(value, "res.network-bandwidth.limit", findings),
        _ => {}
    }
}

struct Seccomp {
    set: &'static str,
    wildcard: &'static str,
    masks: &'static str,
    errno: &'static str,
    wildcards: &'static [&'static str],
}

const REMOVE: Seccomp = Seccomp {
    set: "iso.seccomp-remove.set.nonempty",
    wildcard: "iso.seccomp-remove.set.wildcard",
    masks: "iso.seccomp-remove.empty",
    errno: "iso.seccomp-remove.errno.form",
    wildcards: &REMOVE_WILDCARDS,
};

const RETAIN: Seccomp = Seccomp {
    set: "iso.seccomp-retain.set.nonempty",
    wildcard: "iso.seccomp-retain.set.wildcard",
    masks: "iso.seccomp-retain.all",
    errno: "iso.seccomp-retain.errno.form",
    wildcards: &RETAIN_WILDCARDS,
};

fn seccomp(value: &Node<'_>, rules: &Seccomp, findings: &mut Findings) {
    let set = value.list("set");
    for node in set {
        let Some(name) = node.as_str().filter(|name| !name.is_empty()) else { continue };
        if name.starts_with('@') {
            wildcard(node, name, rules, findings);
        } else if !name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_')) {
            let finding =
                findings.error(rules.set, node.span, format!("`{}` is not the name of a system call", short(name)));
            finding.meant(name, syscalls().iter().copied());
        } else if !holds(syscalls(), name) {
            findings
                .warning(rules.set, node.span, format!("system call `{}` is not known", short(name)))
                .meant(name, syscalls().iter().copied());
        }
    }
    let masking = set.iter().find(|node| node.as_str().is_some_and(|name| rules.wildcards.contains(&name)));
    if let Some(node) = masking.filter(|_| set.len() > 1) {
        let name = node.as_str().unwrap_or_default();
        findings
            .warning(rules.masks, node.span, format!("`{name}` masks all other entries of the set"))
            .help("let it stand alone");
    }
    if let Some(node) = value.get("errno")
        && let Some(code) = node.as_str()
        && code.starts_with('E')
        && code[1..].bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
        && code.len() > 1
        && !holds(errnos(), code)
    {
        findings
            .error(rules.errno, node.span, format!("error code `{}` is not known", short(code)))
            .meant(code, errnos().iter().copied());
    }
}

/// An entry that stands for several system calls: `@scope/name`. The scope `appc.io` is the specification's.
fn wildcard(node: &Node<'_>, name: &str, rules: &Seccomp, findings: &mut Findings) {
    match name[1..].split_once('/') {
        None | Some(("", _) | (_, "")) => {
            findings
                .error(rules.wildcard, node.span, format!("`{}` is not a scope and a name", short(name)))
                .help("write `@scope/name`");
        }
        Some(("appc.io", _)) if !rules.wildcards.contains(&name) => {
            let message = format!("`{}` is not defined, and the scope is the specification's", short(name));
            let finding = findings.error("iso.seccomp.scope-ns", node.span, message);
            finding.help(format!("here there is only `{}`", rules.wildcards.join("`, `")));
        }
        Some(("appc.io", _)) => {}
        Some((scope, _)) => {
            let message = format!("`{}` is for executors that know the scope `{}`", short(name), short(scope));
            findings.note("iso.seccomp.scope-ns", node.span, message);
        }
    }
}

fn capability_names(value: &Node<'_>, clause: &'static str, findings: &mut Findings) {
    for node in value.list("set") {
        let Some(name) = node.as_str() else { continue };
        let well_formed = name
            .strip_prefix("CAP_")
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'));
        if well_formed && !holds(capabilities(), name) {
            findings
                .warning(clause, node.span, format!("capability `{}` is not known", short(name)))
                .meant(name, capabilities().iter().copied());
        }
    }
}

/// Whether there is less of a resource than one of its unit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    /// Processors.
    Divisible,
    /// Bytes, operations.
    Whole,
}

/// request and limit of processor time or memory.
fn resource(value: &Node<'_>, unit: Unit, findings: &mut Findings) {
    if !matches!(value.value, Value::Object(_)) {
        return;
    }
    if value.get("request").is_none() && value.get("limit").is_none() {
        let finding = findings.error("x.resource.empty", value.span, "neither `request` nor `limit` is given");
        finding.help("give at least one of them");
    }
    let request = value.get("request").and_then(|node| Some((node, amount(node, unit, findings)?)));
    let limit = value.get("limit").and_then(|node| Some((node, amount(node, unit, findings)?)));
    if let (Some((node, request)), Some((other, limit))) = (request, limit)
        && request > limit
    {
        findings
            .error("x.resource.order", node.span, format!("request {request} is above limit {limit}"))
            .related(other.span, "the limit stands");
    }
}

fn device_limit(value: &Node<'_>, clause: &'static str, findings: &mut Findings) {
    if let Some(limit) = value.get("limit") {
        amount(limit, Unit::Whole, findings);
    }
    if let Some(request) = value.get("request") {
        let finding = findings.error(clause, request.span, "this isolator takes a `limit`, no `request`");
        finding.help("leave `request` out");
    }
}

/// The amount that a node says; what is wrong beyond its pattern, or written in a way that the text does not have, is told.
fn amount(node: &Node<'_>, unit: Unit, findings: &mut Findings) -> Option<Quantity> {
    let text = match &node.value {
        Value::String(text) => text.as_ref(),
        Value::Number(text) => text,
        _ => return None,
    };
    match text.parse::<Quantity>() {
        Ok(amount) => {
            let number = matches!(node.value, Value::Number(_)).then_some(Lenient::Number);
            if let Some(lenient) = amount.lenient().or(number) {
                let how = match lenient {
                    Lenient::Number => "as a number",
                    Lenient::Sign => "with a sign",
                    Lenient::Small => "in parts smaller than thousandths",
                    Lenient::Exponent => "with an exponent",
                    Lenient::Point => "with a point at its edge",
                };
                findings
                    .warning(
                        "x.quantity.form",
                        node.span,
                        format!("the amount is written {how}, which the text does not have"),
                    )
                    .help(format!("write \"{}\"", amount.canonical()));
            } else if unit == Unit::Whole && !amount.is_whole() {
                let message =
                    format!("`{}` is not a whole number: {} thousandths of one", short(text), amount.millis());
                let finding = findings.warning("x.quantity.part", node.span, message);
                if let Some(number) = text.strip_suffix('m') {
                    finding
                        .help(format!("`m` is a thousandth; did you mean \"{number}M\" (millions) or \"{number}Mi\"?"));
                }
            }
            Some(amount)
        }
        Err(crate::schema::quantity::Fault::TooLarge) => {
            let fault = text::too_large(text);
            findings.error(fault.clause, node.span, fault.message);
            None
        }
        Err(_) => None,
    }
}
