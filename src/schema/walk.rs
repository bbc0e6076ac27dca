//! Holds a document against the schemas and tells every difference, with the clause that it breaks.

use super::findings::Findings;
use super::json::{Node, Span, Value};
use super::shape::{SHAPES, Shape, Shapes};
use super::suggest::nearest;
use super::tables::{capabilities, errnos};
use super::text;
use crate::diagnostic::Severity;

/// Holds `node` against the definition `name`.
pub(super) fn check(name: &str, node: &Node<'_>, findings: &mut Findings) {
    let shapes: &'static Shapes = &SHAPES;
    let shape = shapes.definition(name);
    Walk { shapes, findings, unknown: 0 }.against(shape, node, shape.clause(""), shape.clause(""));
}

struct Walk<'f> {
    shapes: &'static Shapes,
    findings: &'f mut Findings,
    /// Unknown keys so far.
    unknown: usize,
}

/// Unknown keys that are held against the known ones of their place: no person writes more, and comparing is dear.
const COMPARED: usize = 10_000;
/// Known keys shorter than this have too many neighbours for a likeness to mean anything.
const LIKENESS: usize = 4;

impl Walk<'_> {
    /// A value at a place that a schema describes.
    fn place(&mut self, shape: &'static Shape, node: &Node<'_>, outer: &'static str) {
        let clause = shape.clause(outer);
        self.against(shape, node, clause, clause);
    }

    /// `place` is the clause of the place, for values of the wrong type; `content` that of what the value says.
    fn against(&mut self, shape: &'static Shape, node: &Node<'_>, place: &'static str, content: &'static str) {
        if !shape.types.is_empty() && !self.is_of_type(shape, node, place) {
            return;
        }
        match &node.value {
            Value::String(text) => self.string(shape, text, node.span, content),
            Value::Number(_) => self.number(shape, node, content),
            Value::Bool(value) => {
                if shape.always.is_some_and(|always| always != *value) {
                    self.findings.error(content, node.span, "must be true").label("write `true`");
                }
            }
            Value::Array(items) => self.array(shape, items, node.span, content),
            Value::Object(_) => self.object(shape, node, content),
            Value::Null => {}
        }
        if let Some(target) = shape.target {
            let target = self.shapes.shape(target);
            self.against(target, node, place, target.clause(place));
        }
    }

    fn is_of_type(&mut self, shape: &Shape, node: &Node<'_>, clause: &'static str) -> bool {
        let fits = shape.types.iter().any(|kind| match &node.value {
            Value::Null => false,
            Value::Bool(_) => *kind == "boolean",
            Value::Number(text) => *kind == "number" || (*kind == "integer" && is_integer(text)),
            Value::String(_) => *kind == "string",
            Value::Array(_) => *kind == "array",
            Value::Object(_) => *kind == "object",
        });
        if fits {
            return true;
        }
        let expected = shape.types.iter().map(|kind| article(kind)).collect::<Vec<_>>().join(" or ");
        if let (Value::Number(text), true) = (&node.value, shape.types.contains(&"integer")) {
            self.findings
                .error(clause, node.span, format!("`{}` must be written as an integer", short(text)))
                .label("without sign, fraction or exponent");
            return false;
        }
        let finding = self.findings.error(clause, node.span, format!("expected {expected}, found {}", node.kind()));
        match &node.value {
            Value::Null => {
                finding.help("leave the key out where there is nothing to say");
            }
            Value::Number(text) if shape.types == ["string"] => {
                finding.help(format!("write it in double quotes: \"{}\"", short(text)));
            }
            Value::String(text) if shape.types == ["integer"] && is_integer(text) => {
                finding.help(format!("write it without quotes: {}", short(text)));
            }
            Value::String(text) if shape.types == ["boolean"] && (text == "true" || text == "false") => {
                finding.help(format!("write it without quotes: {text}"));
            }
            Value::String(_) | Value::Object(_) if shape.types == ["array"] => {
                finding.help("put it into square brackets");
            }
            _ => {}
        }
        false
    }

    fn string(&mut self, shape: &Shape, text: &str, span: Span, clause: &'static str) {
        if text.chars().take(shape.min_length).count() < shape.min_length {
            self.findings.error(clause, span, "must not be empty");
        }
        if !shape.choices.is_empty() && !shape.choices.contains(&text) {
            let fault = text::no_choice(shape.name, text, &shape.choices, clause);
            self.findings.error(fault.clause, span, fault.message).meant(text, shape.choices.iter().copied());
        }
        if shape.pattern.as_ref().is_some_and(|pattern| !text::fits_plainly(shape.name, text) && !pattern.matches(text))
        {
            let fault = text::explain(shape.name, text, clause);
            let finding = self.findings.error(fault.clause, span, fault.message);
            if let Some(help) = fault.help {
                finding.help(help);
            }
            match shape.name {
                "capability" => {
                    let rest = match text.split_at_checked(4) {
                        Some((head, rest)) if head.eq_ignore_ascii_case("CAP_") => rest,
                        _ => text,
                    };
                    finding.meant(&format!("CAP_{rest}"), capabilities().iter().copied());
                }
                "errno" => {
                    finding.meant(text, errnos().iter().copied());
                }
                _ => {}
            }
        }
    }

    fn number(&mut self, shape: &Shape, node: &Node<'_>, clause: &'static str) {
        let Value::Number(text) = node.value else { return };
        let bound = match (shape.minimum, shape.maximum) {
            (None, None) => return,
            (Some(least), Some(most)) => format!("from {least} to {most}"),
            (Some(least), None) => format!("at least {least}"),
            (None, Some(most)) => format!("at most {most}"),
        };
        // What is counted is held in 64 bits; only a lower bound makes a quantity.
        let most = shape.maximum.or_else(|| shape.types.contains(&"integer").then_some(i128::from(u64::MAX)));
        let inside = node.as_integer().map_or_else(
            || !is_integer(text) && !text.starts_with('-'),
            |value| shape.minimum.is_none_or(|least| value >= least) && most.is_none_or(|most| value <= most),
        );
        if !inside {
            self.findings.error(clause, node.span, format!("`{}` is out of range", short(text))).label(bound);
        }
    }

    fn array(&mut self, shape: &'static Shape, items: &[Node<'_>], span: Span, clause: &'static str) {
        if items.len() < shape.min_items {
            self.findings.error(clause, span, "must not be empty");
        }
        if let Some(inner) = shape.items {
            let inner = self.shapes.shape(inner);
            for item in items {
                self.place(inner, item, clause);
            }
        }
    }

    fn object(&mut self, shape: &'static Shape, node: &Node<'_>, clause: &'static str) {
        for key in &shape.required {
            if node.get(key).is_none() {
                let property = shape.property(key).map(|property| self.shapes.shape(property));
                let clause = shape.missing.or_else(|| property.map(|p| p.clause(clause))).unwrap_or(clause);
                let end = node.span.start + 1;
                self.findings.error(clause, Span { start: node.span.start, end }, format!("`{key}` is missing"));
            }
        }
        for member in node.members() {
            if let Some(property) = shape.property(&member.key) {
                self.place(self.shapes.shape(property), &member.node, clause);
            } else if let Some(values) = shape.values {
                self.place(self.shapes.shape(values), &member.node, clause);
            } else if !shape.properties.is_empty() && !shape.refused.contains(&member.key.as_ref()) {
                self.unknown(shape, &member.key, member.key_span);
            }
        }
        if let Some(case) = node.text("name").and_then(|name| shape.by_name.iter().find(|(case, _)| *case == name))
            && let Some(value) = node.get("value")
        {
            self.place(self.shapes.shape(case.1), value, clause);
        }
    }

    fn unknown(&mut self, shape: &Shape, key: &str, span: Span) {
        let known = || shape.properties.iter().map(|(name, _)| *name);
        if let Some(right) = known().find(|name| name.eq_ignore_ascii_case(key)) {
            self.findings
                .warning("x.json.key-case", span, format!("key `{}` is ignored: keys are case-sensitive", short(key)))
                .help(format!("write `{right}`"));
            return;
        }
        self.unknown += 1;
        let meant = (self.unknown <= COMPARED).then(|| nearest(key, known())).flatten();
        // The text allows keys that it does not know. One that is nearly a known one is a slip, and what was meant is lost.
        let severity = match meant {
            Some(right) if right.len() >= LIKENESS => Severity::Warning,
            _ => Severity::Note,
        };
        let message = format!("key `{}` is not known and ignored", short(key));
        let finding = self.findings.add(severity, "x.json.unknown-key", span, message);
        if let Some(right) = meant {
            finding.help(format!("did you mean `{right}`?"));
        }
    }
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    text != "-0" && !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn article(kind: &str) -> &str {
    match kind {
        "boolean" => "a boolean",
        "integer" => "an integer",
        "number" => "a number",
        "string" => "a string",
        "array" => "a list",
        "object" => "an object",
        other => other,
    }
}

/// A text cut to what fits in a message, without control characters.
pub(super) fn short(text: &str) -> String {
    const MOST: usize = 80;
    let mut out: String = text.chars().take(MOST).flat_map(show).collect();
    if text.chars().nth(MOST).is_some() {
        out.push('…');
    }
    out
}

fn show(c: char) -> Vec<char> {
    if c.is_control() { c.escape_default().collect() } else { vec![c] }
}
