//! Reads JSON and remembers where every value stands.
//!
//! Strict: RFC 8259, no byte-order mark, UTF-8 only, no key twice in an object, no lone surrogates, bounded depth.
//! What leaves the document readable is told and reading goes on; a syntax error ends it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// How deep arrays and objects may nest.
pub const MAX_DEPTH: usize = 128;

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

/// Reads a document. No value means that the text is no JSON; the faults say why.
pub fn read(text: &[u8]) -> (Option<Node<'_>>, Vec<Fault>) {
    let mut reader = Reader { text, at: 0, faults: Vec::new() };
    let root = reader.document();
    (root.ok(), reader.faults)
}

/// The fault has been noted, reading cannot go on.
struct Stop;

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    faults: Vec<Fault>,
}

impl<'a> Reader<'a> {
    fn document(&mut self) -> Result<Node<'a>, Stop> {
        if self.text.starts_with(b"\xef\xbb\xbf") {
            self.fault(FaultKind::Encoding, 0, 3, "begins with a byte-order mark");
            self.at = 3;
        } else if self.text.starts_with(b"\xff\xfe") || self.text.starts_with(b"\xfe\xff") {
            self.fault(FaultKind::Encoding, 0, 2, "is UTF-16, not UTF-8");
            return Err(Stop);
        }
        self.space();
        let node = self.value(0)?;
        self.space();
        if self.at < self.text.len() {
            // What stands before it can be read all the same.
            self.unexpected("the end of the document");
        }
        Ok(node)
    }

    fn value(&mut self, depth: usize) -> Result<Node<'a>, Stop> {
        let start = self.at;
        let value = match self.peek() {
            Some(b'{') => self.object(depth)?,
            Some(b'[') => self.array(depth)?,
            Some(b'"') => Value::String(self.string()?),
            Some(b'-' | b'0'..=b'9') => Value::Number(self.number()?),
            Some(b't') if self.word("true") => Value::Bool(true),
            Some(b'f') if self.word("false") => Value::Bool(false),
            Some(b'n') if self.word("null") => Value::Null,
            _ => return Err(self.unexpected("a value")),
        };
        Ok(Node { span: Span { start, end: self.at }, value })
    }

    fn deeper(&mut self, depth: usize) -> Result<usize, Stop> {
        if depth == MAX_DEPTH {
            let message = format!("nests deeper than {MAX_DEPTH} levels");
            self.fault(FaultKind::Depth, self.at, self.at + 1, message);
            return Err(Stop);
        }
        self.at += 1;
        self.space();
        Ok(depth + 1)
    }

    fn array(&mut self, depth: usize) -> Result<Value<'a>, Stop> {
        let depth = self.deeper(depth)?;
        let mut items = Vec::new();
        if self.take(b']') {
            return Ok(Value::Array(items));
        }
        loop {
            items.push(self.value(depth)?);
            self.space();
            if self.take(b']') {
                return Ok(Value::Array(items));
            }
            if !self.take(b',') {
                return Err(self.unexpected("`,` or `]`"));
            }
            self.space();
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value<'a>, Stop> {
        let depth = self.deeper(depth)?;
        let mut members: Vec<Member<'a>> = Vec::new();
        if !self.take(b'}') {
            loop {
                if self.peek() != Some(b'"') {
                    return Err(self.unexpected("a key in double quotes"));
                }
                let start = self.at;
                let key = self.string()?;
                let key_span = Span { start, end: self.at };
                self.space();
                if !self.take(b':') {
                    return Err(self.unexpected("`:`"));
                }
                self.space();
                let node = self.value(depth)?;
                members.push(Member { key, key_span, node });
                self.space();
                if self.take(b'}') {
                    break;
                }
                if !self.take(b',') {
                    return Err(self.unexpected("`,` or `}`"));
                }
                self.space();
            }
        }
        self.duplicates(&members);
        Ok(Value::Object(members))
    }

    fn duplicates(&mut self, members: &[Member<'a>]) {
        let mut again = |first: &Member<'a>, second: &Member<'a>| {
            self.faults.push(Fault {
                kind: FaultKind::DuplicateKey,
                span: second.key_span,
                message: format!("key `{}` is given twice", second.key),
                first: Some(first.key_span),
            });
        };
        // Quadratic is quickest for the objects of manifests, and unbearable for those of an attacker.
        if members.len() <= 16 {
            for (index, member) in members.iter().enumerate() {
                if let Some(first) = members[..index].iter().find(|other| other.key == member.key) {
                    again(first, member);
                }
            }
        } else {
            let mut seen: HashMap<&str, &Member<'a>> = HashMap::with_capacity(members.len());
            for member in members {
                match seen.entry(member.key.as_ref()) {
                    Entry::Occupied(first) => again(first.get(), member),
                    Entry::Vacant(free) => {
                        free.insert(member);
                    }
                }
            }
        }
    }

    fn number(&mut self) -> Result<&'a str, Stop> {
        let start = self.at;
        self.take(b'-');
        match self.peek() {
            Some(b'0') => {
                self.at += 1;
                if matches!(self.peek(), Some(b'0'..=b'9')) {
                    return Err(self.syntax(start, "a number begins with a zero"));
                }
            }
            Some(b'1'..=b'9') => self.digits(),
            _ => return Err(self.unexpected("a digit")),
        }
        if self.take(b'.') {
            if !matches!(self.peek(), Some(b'0'..=b'9')) {
                return Err(self.unexpected("a digit"));
            }
            self.digits();
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if !matches!(self.peek(), Some(b'0'..=b'9')) {
                return Err(self.unexpected("a digit"));
            }
            self.digits();
        }
        let text = std::str::from_utf8(&self.text[start..self.at]).expect("digits, signs and letters are ASCII");
        // Fewer digits than this and no exponent cannot leave the range.
        let doubtful = text.len() > 300 || text.bytes().any(|byte| matches!(byte, b'e' | b'E'));
        if doubtful && !text.parse::<f64>().is_ok_and(f64::is_finite) {
            self.fault(FaultKind::Number, start, self.at, "a number beyond what readers can hold");
        }
        Ok(text)
    }

    fn digits(&mut self) {
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, Stop> {
        let open = self.at;
        self.at += 1;
        let mut start = self.at;
        let mut built: Option<String> = None;
        loop {
            match self.peek() {
                None => {
                    return Err(self.syntax(open, "a string without its closing quote"));
                }
                Some(b'"') => {
                    let rest = self.utf8(start);
                    self.at += 1;
                    return Ok(match built {
                        None => rest,
                        Some(mut text) => {
                            text.push_str(&rest);
                            Cow::Owned(text)
                        }
                    });
                }
                Some(b'\\') => {
                    let before = self.utf8(start);
                    let text = built.get_or_insert_with(String::new);
                    text.push_str(&before);
                    let c = self.escape()?;
                    built.get_or_insert_with(String::new).push(c);
                    start = self.at;
                }
                Some(0..0x20) => {
                    return Err(self.syntax(self.at, "a control character in a string must be escaped"));
                }
                Some(_) => self.at += 1,
            }
        }
    }

    /// The text from `start` to here; bytes that are no UTF-8 are told and replaced.
    fn utf8(&mut self, start: usize) -> Cow<'a, str> {
        let bytes = &self.text[start..self.at];
        match std::str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(error) => {
                let at = start + error.valid_up_to();
                let end = at + error.error_len().unwrap_or(1);
                self.fault(FaultKind::Encoding, at, end, "bytes that are not UTF-8");
                String::from_utf8_lossy(bytes)
            }
        }
    }

    fn escape(&mut self) -> Result<char, Stop> {
        let start = self.at;
        self.at += 1;
        let c = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(start),
            _ => return Err(self.syntax(start, "an unknown escape in a string")),
        };
        self.at += 1;
        Ok(c)
    }

    fn unicode(&mut self, start: usize) -> Result<char, Stop> {
        let high = self.hex(start)?;
        if let Some(c) = char::from_u32(high) {
            return Ok(c);
        }
        let after = self.at;
        if high < 0xdc00 && self.text[self.at..].starts_with(b"\\u") {
            self.at += 1;
            let low = self.hex(after)?;
            if (0xdc00..0xe000).contains(&low)
                && let Some(c) = char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00))
            {
                return Ok(c);
            }
            self.at = after;
        }
        self.fault(FaultKind::Surrogate, start, self.at, "a surrogate without its other half");
        Ok(char::REPLACEMENT_CHARACTER)
    }

    /// The four digits behind a `u`.
    fn hex(&mut self, start: usize) -> Result<u32, Stop> {
        self.at += 1;
        let digits = self.text.get(self.at..self.at + 4).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let Some(digits) = digits else {
            return Err(self.syntax(start, "`\\u` needs four hex digits"));
        };
        self.at += 4;
        Ok(digits.iter().fold(0, |code, digit| code * 16 + char::from(*digit).to_digit(16).unwrap_or(0)))
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let here = self.peek() == Some(byte);
        self.at += usize::from(here);
        here
    }

    fn word(&mut self, word: &str) -> bool {
        let here = self.text[self.at..].starts_with(word.as_bytes());
        self.at += if here { word.len() } else { 0 };
        here
    }

    fn unexpected(&mut self, expected: &str) -> Stop {
        let found = match self.text.get(self.at..).map(|rest| rest.utf8_chunks().next()) {
            Some(Some(chunk)) => chunk
                .valid()
                .chars()
                .next()
                .map_or_else(|| "bytes that are not UTF-8".to_owned(), |c| format!("`{}`", c.escape_debug())),
            _ => "the end of the document".to_owned(),
        };
        self.syntax(self.at, format!("expected {expected}, found {found}"))
    }

    fn syntax(&mut self, start: usize, message: impl Into<String>) -> Stop {
        self.fault(FaultKind::Syntax, start, start + 1, message);
        Stop
    }

    fn fault(&mut self, kind: FaultKind, start: usize, end: usize, message: impl Into<String>) {
        let len = self.text.len();
        let span = Span { start: start.min(len), end: end.min(len) };
        self.faults.push(Fault { kind, span, message: message.into(), first: None });
    }
}

/// Lines of a text, for turning offsets into places.
pub struct Lines<'a> {
    text: &'a [u8],
    starts: Vec<usize>,
    /// The place that was asked for last, as offset, line and column: what follows is counted from there.
    last: (usize, usize, usize),
}

impl<'a> Lines<'a> {
    /// Finds the lines of a text.
    pub fn new(text: &'a [u8]) -> Self {
        let breaks = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(0).chain(breaks).collect(), last: (0, 1, 1) }
    }

    /// Line of an offset, from 1.
    pub fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset)
    }

    /// Line and column of an offset, in characters, both from 1. Quick where offsets are asked for in their order.
    pub fn place(&mut self, offset: usize) -> (u32, u32) {
        let line = self.line(offset);
        let end = offset.min(self.text.len());
        let (from, column) = match self.last {
            (at, last, column) if last == line && at <= end => (at, column),
            _ => (self.starts[line - 1], 1),
        };
        let column = column + String::from_utf8_lossy(&self.text[from..end]).chars().count();
        self.last = (end, line, column);
        (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
    }
}

impl Lines<'_> {
    /// How many characters of a place stand on its first line, at least one; `None` for an empty document.
    pub fn length(&self, span: Span) -> Option<u32> {
        let marked = self.text.get(span.start..span.end)?;
        let line = marked.split(|byte| *byte == b'\n').next()?;
        u32::try_from(String::from_utf8_lossy(line).trim_end().chars().count().max(1)).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kinds(text: &[u8]) -> Vec<FaultKind> {
        read(text).1.into_iter().map(|fault| fault.kind).collect()
    }

    /// The tree without places, as another reader would have it.
    fn plain(node: &Node<'_>) -> serde_json::Value {
        match &node.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Number(text) => serde_json::from_str(text).unwrap(),
            Value::String(text) => text.as_ref().into(),
            Value::Array(items) => items.iter().map(plain).collect(),
            Value::Object(members) => members.iter().map(|m| (m.key.to_string(), plain(&m.node))).collect(),
        }
    }

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

    #[test]
    fn every_fault_of_a_readable_document_is_told() {
        let text = b"\xef\xbb\xbf{\"a\": 1, \"a\": \"\\ud800\", \"b\": \"\xff\", \"c\": 1e999}";
        use FaultKind::*;
        assert_eq!(kinds(text), [Encoding, Surrogate, Encoding, Number, DuplicateKey]);
    }

    #[test]
    fn keys_that_differ_by_spelling_only_are_duplicates() {
        assert_eq!(kinds(br#"{"a": 1, "\u0061": 2}"#), [FaultKind::DuplicateKey]);
        let many: Vec<String> = (0..1000).map(|n| format!("\"{n}\": 0")).collect();
        assert_eq!(kinds(format!("{{{}, \"7\": 1}}", many.join(",")).as_bytes()), [FaultKind::DuplicateKey]);
    }

    #[test]
    fn deep_nesting_ends_reading() {
        let deep = |n: usize| [b"[".repeat(n), b"]".repeat(n)].concat();
        assert!(read(&deep(MAX_DEPTH)).0.is_some());
        assert_eq!(kinds(&deep(MAX_DEPTH + 1)), [FaultKind::Depth]);
        assert_eq!(kinds(&vec![b'['; 10_000_000]), [FaultKind::Depth]);
    }

    #[test]
    fn what_is_no_json_is_a_syntax_error() {
        for text in [
            "",
            " ",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "{a:1}",
            "01",
            "1.",
            ".5",
            "1e",
            "+1",
            "-",
            "nul",
            "\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\n\"",
            "[1 2]",
            "'a'",
            "NaN",
            "// x\n1",
            "\u{feff}",
        ] {
            let (root, faults) = read(text.as_bytes());
            assert!(root.is_none(), "{text:?}");
            assert!(faults.iter().any(|fault| fault.kind == FaultKind::Syntax), "{text:?}");
        }
    }

    #[test]
    fn columns_count_characters() {
        let text = "{\n \"ä\": [x".as_bytes();
        let fault = read(text).1.remove(0);
        assert_eq!(Lines::new(text).place(fault.span.start), (2, 8));
    }

    proptest! {
        #[test]
        fn what_another_reader_accepts_is_read_the_same(text in r#"[\[\]{}":,a1.e\\u0-9dD ntruefals-]{0,24}"#) {
            let (root, faults) = read(text.as_bytes());
            match serde_json::from_str::<serde_json::Value>(&text) {
                Ok(other) => {
                    let root = root.ok_or_else(|| TestCaseError::fail("not read"))?;
                    prop_assert_eq!(plain(&root), other);
                }
                Err(_) => prop_assert!(!faults.is_empty()),
            }
        }

        #[test]
        fn no_bytes_make_the_reader_fall_over(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let (root, faults) = read(&bytes);
            prop_assert!(root.is_some() || !faults.is_empty());
        }
    }
}
