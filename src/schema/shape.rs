//! The JSON Schemas as the validator uses them: read once, with the clauses that their parts serve.
//!
//! Only what our schemas use is read; a test holds this reading against a full JSON Schema implementation.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use super::json::{self, Node, Value};

const FILES: [&str; 4] = [
    include_str!("../../schema/types.json"),
    include_str!("../../schema/isolators.json"),
    include_str!("../../schema/image-manifest.json"),
    include_str!("../../schema/pod-manifest.json"),
];

/// All shapes of all files.
pub(super) static SHAPES: LazyLock<Shapes> = LazyLock::new(Shapes::read);

/// The shapes, found by number; a number is as good as a reference into a schema.
pub(super) struct Shapes {
    all: Vec<Shape>,
    by_name: HashMap<&'static str, usize>,
}

/// What a schema says about a value.
#[derive(Default)]
pub(super) struct Shape {
    /// The definition's name; empty for one written in place.
    pub name: &'static str,
    /// The clauses it serves.
    pub clauses: Vec<&'static str>,
    /// The clause of a missing property, where the definition has one for all.
    pub missing: Option<&'static str>,
    /// The definition that it refers to.
    pub target: Option<usize>,
    /// The types that it allows; all where none is named.
    pub types: Vec<&'static str>,
    /// Properties that an object must have.
    pub required: Vec<&'static str>,
    /// Properties that it must not have; a rule says why.
    pub refused: Vec<&'static str>,
    /// Properties that it knows.
    pub properties: Vec<(&'static str, usize)>,
    /// What every other property is; `None` where any will do.
    pub values: Option<usize>,
    /// What the items of a list are.
    pub items: Option<usize>,
    /// How many items a list has at least.
    pub min_items: usize,
    /// How long a string is at least.
    pub min_length: usize,
    /// What a string looks like.
    pub pattern: Option<Pattern>,
    /// What a string can be.
    pub choices: Vec<&'static str>,
    /// Bounds of a number.
    pub minimum: Option<i128>,
    /// Bounds of a number.
    pub maximum: Option<i128>,
    /// The one boolean it can be.
    pub always: Option<bool>,
    /// What `value` is, by the text of `name`.
    pub by_name: Vec<(&'static str, usize)>,
}

/// A regular expression, compiled when first needed.
pub(super) struct Pattern(LazyLock<regress::Regex, Box<dyn FnOnce() -> regress::Regex + Send>>);

impl Pattern {
    fn new(text: &'static str) -> Self {
        Self(LazyLock::new(Box::new(move || {
            regress::Regex::new(text).expect("the schemas' patterns are tested to compile")
        })))
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        self.0.find(text).is_some()
    }
}

impl Shapes {
    /// The definition of a name.
    pub(super) fn definition(&self, name: &str) -> &Shape {
        &self.all[self.by_name[name]]
    }

    /// The shape of a number.
    pub(super) fn shape(&self, number: usize) -> &Shape {
        &self.all[number]
    }

    fn read() -> Self {
        let mut shapes = Self { all: Vec::new(), by_name: HashMap::new() };
        let files: Vec<Node<'static>> =
            FILES.iter().map(|file| json::read(file.as_bytes()).0.expect("the schemas are JSON")).collect();
        let definitions: Vec<(&'static str, &Node<'static>)> = files
            .iter()
            .filter_map(|file| file.get("$defs"))
            .flat_map(|defs| defs.members())
            .map(|member| (borrowed(&member.key), &member.node))
            .collect();
        for (name, _) in &definitions {
            shapes.by_name.insert(name, shapes.all.len());
            shapes.all.push(Shape { name, ..Shape::default() });
        }
        for (number, (_, node)) in definitions.iter().enumerate() {
            let mut shape = shapes.parse(node);
            shape.name = shapes.all[number].name;
            shapes.all[number] = shape;
        }
        shapes
    }

    fn add(&mut self, node: &Node<'static>) -> usize {
        let shape = self.parse(node);
        self.all.push(shape);
        self.all.len() - 1
    }

    fn parse(&mut self, node: &Node<'static>) -> Shape {
        let mut shape = Shape::default();
        for member in node.members() {
            let value = &member.node;
            match member.key.as_ref() {
                "x-clauses" => shape.clauses = texts(value),
                "x-missing" => shape.missing = text(value),
                "$ref" => {
                    let name = text(value).and_then(|target| target.rsplit('/').next()).unwrap_or_default();
                    shape.target = Some(self.by_name[name]);
                }
                "type" => shape.types = text(value).map_or_else(|| texts(value), |one| vec![one]),
                "required" => shape.required = texts(value),
                "not" => shape.refused = value.get("required").map(texts).unwrap_or_default(),
                "properties" => {
                    shape.properties = value.members().iter().map(|m| (borrowed(&m.key), self.add(&m.node))).collect();
                }
                "additionalProperties" if !value.members().is_empty() => shape.values = Some(self.add(value)),
                "items" => shape.items = Some(self.add(value)),
                "minItems" => shape.min_items = size(value),
                "minLength" => shape.min_length = size(value),
                "pattern" => shape.pattern = text(value).map(Pattern::new),
                "enum" => shape.choices = texts(value),
                "minimum" => shape.minimum = value.as_integer(),
                "maximum" => shape.maximum = value.as_integer(),
                "const" => shape.always = Some(value.value == Value::Bool(true)),
                "allOf" => shape.by_name = value.items().iter().filter_map(|case| self.case(case)).collect(),
                _ => {}
            }
        }
        shape
    }

    /// One `if name is ... then value is ...`.
    fn case(&mut self, case: &Node<'static>) -> Option<(&'static str, usize)> {
        let name = case.get("if")?.get("properties")?.get("name")?.get("const").and_then(text)?;
        let value = case.get("then")?.get("properties")?.get("value")?;
        Some((name, self.add(value)))
    }
}

impl Shape {
    /// The clause of a value at a place: the shape's own one of the place's family (`iso.seccomp-retain`) if it has
    /// one, else its first; the place's where it has none, or only a rule of ours that any clause is better than.
    pub(super) fn clause(&self, place: &'static str) -> &'static str {
        let family = |clause: &str| clause.match_indices('.').nth(1).map_or(clause.len(), |(at, _)| at);
        match self.clauses.first() {
            None => place,
            // Nearly all have one, and this is asked for every value of a document.
            Some(own) if self.clauses.len() == 1 && !own.starts_with("x.") => own,
            Some(own) if own.starts_with("x.") && !place.is_empty() => place,
            Some(own) => {
                let near = self.clauses.iter().find(|clause| clause[..family(clause)] == place[..family(place)]);
                near.copied().unwrap_or(own)
            }
        }
    }

    /// Whether a property of this name is known.
    pub(super) fn property(&self, key: &str) -> Option<usize> {
        self.properties.iter().find(|(name, _)| *name == key).map(|(_, shape)| *shape)
    }
}

/// The text of a key or string of the schemas, which live as long as the program.
#[allow(clippy::ptr_arg, reason = "what lives for ever is what the Cow borrows, not the Cow")]
fn borrowed(text: &Cow<'static, str>) -> &'static str {
    match text {
        Cow::Borrowed(text) => text,
        // Escapes occur in patterns only.
        Cow::Owned(text) => Box::leak(text.clone().into_boxed_str()),
    }
}

fn text(node: &Node<'static>) -> Option<&'static str> {
    match &node.value {
        Value::String(text) => Some(borrowed(text)),
        _ => None,
    }
}

fn texts(node: &Node<'static>) -> Vec<&'static str> {
    node.items().iter().filter_map(text).collect()
}

fn size(node: &Node<'static>) -> usize {
    node.as_integer().and_then(|size| usize::try_from(size).ok()).unwrap_or(0)
}
