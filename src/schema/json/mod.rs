//! Reads JSON and remembers where every value stands.
//!
//! Strict: RFC 8259, no byte-order mark, UTF-8 only, no key twice in an object, no lone surrogates, bounded depth.
//! What leaves the document readable is told and reading goes on; a syntax error ends it.

mod lines;
mod read;

use std::borrow::Cow;

pub use lines::Lines;
pub use read::{MAX_DEPTH, read};

/// A range of bytes in the document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// Offset of the first byte.
    pub start: usize,
    /// Offset behind the last byte.
    pub end: usize,
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Node<'a> {
    /// Where it stands.
    pub span: Span,
    /// What it is.
    pub value: Value<'a>,
}

/// A JSON value. Numbers stay as they were written.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number as written.
    Number(&'a str),
    /// A string, its escapes resolved.
    String(Cow<'a, str>),
    /// A list.
    Array(Vec<Node<'a>>),
    /// An object in the order of the document; a key may stand twice.
    Object(Vec<Member<'a>>),
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Member<'a> {
    /// The key, its escapes resolved.
    pub key: Cow<'a, str>,
    /// Where the key stands, quotes included.
    pub key_span: Span,
    /// What it has.
    pub node: Node<'a>,
}

impl<'a> Node<'a> {
    /// The last value of a key, as a reader that lets the last one win sees it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.members().iter().rev().find(|member| member.key == key).map(|member| &member.node)
    }

    /// The members of an object; none of anything else.
    pub fn members(&self) -> &[Member<'a>] {
        match &self.value {
            Value::Object(members) => members,
            _ => &[],
        }
    }

    /// The items of a list; none of anything else.
    pub fn items(&self) -> &[Self] {
        match &self.value {
            Value::Array(items) => items,
            _ => &[],
        }
    }

    /// The items of the list that a key has.
    pub fn list(&self, key: &str) -> &[Self] {
        self.get(key).map_or(&[], Self::items)
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The text of the string that a key has.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }

    /// The number of an integer written as one.
    pub fn as_integer(&self) -> Option<i128> {
        match self.value {
            // `-0` is a fraction to most readers.
            Value::Number(text) if text != "-0" => text.parse().ok(),
            _ => None,
        }
    }

    /// What kind of value it is, with its article.
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        }
    }

    /// The JSON pointer (RFC 6901) of the innermost value that holds a place; a key belongs to its value.
    pub fn pointer(&self, at: Span) -> String {
        let holds = |span: Span| span.start <= at.start && at.end <= span.end;
        let (mut pointer, mut node) = (String::new(), self);
        loop {
            // Both are in the order of the document, and may be long and asked often.
            let step = match &node.value {
                Value::Array(items) => {
                    let after = items.partition_point(|item| item.span.start <= at.start);
                    after.checked_sub(1).filter(|index| holds(items[*index].span)).map(|index| {
                        let item = &items[index];
                        (Cow::Owned(index.to_string()), item, item.span)
                    })
                }
                Value::Object(members) => {
                    let after = members.partition_point(|member| member.key_span.start <= at.start);
                    after
                        .checked_sub(1)
                        .map(|index| &members[index])
                        .filter(|member| holds(member.key_span) || holds(member.node.span))
                        .map(|member| (Cow::Borrowed(member.key.as_ref()), &member.node, member.node.span))
                }
                _ => None,
            };
            let Some((step, inner, span)) = step else { return pointer };
            pointer.push('/');
            pointer.push_str(&step.replace('~', "~0").replace('/', "~1"));
            if !holds(span) {
                return pointer;
            }
            node = inner;
        }
    }
}

/// Something wrong with the text itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// Where.
    pub span: Span,
    /// What is wrong, in one sentence without full stop.
    pub message: String,
    /// Where the other half of the matter stands: the first of two keys.
    pub first: Option<Span>,
}

/// What can be wrong with the text itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// It is no JSON.
    Syntax,
    /// A byte-order mark, or bytes that are no UTF-8.
    Encoding,
    /// A surrogate without its other half.
    Surrogate,
    /// A key twice in an object.
    DuplicateKey,
    /// Nested deeper than [`MAX_DEPTH`].
    Depth,
    /// A number that no 64-bit float can hold.
    Number,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_know_where_they_stand() {
        let text = br#"{"a": [1, {"b/~": "x"}]}"#;
        let (root, faults) = read(text);
        let root = root.unwrap();
        assert!(faults.is_empty());
        let inner = root.list("a")[1].get("b/~").unwrap();
        assert_eq!(&text[inner.span.start..inner.span.end], b"\"x\"");
        assert_eq!(root.pointer(inner.span), "/a/1/b~1~0");
        assert_eq!(root.pointer(root.members()[0].key_span), "/a");
        assert_eq!(root.pointer(root.span), "");
    }
}
