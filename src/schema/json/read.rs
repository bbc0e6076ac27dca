//! The reader: from bytes to values with their places, and what is wrong with the text.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::{Fault, FaultKind, Member, Node, Span, Value};

/// How deep arrays and objects may nest.
pub const MAX_DEPTH: usize = 128;

const NOT_UTF8: &str = "bytes that are not UTF-8";

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
        } else if matches!(self.text, [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, 1..=0x7f, ..] | [1..=0x7f, 0, ..]) {
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
                self.fault(FaultKind::Encoding, at, end, NOT_UTF8);
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
        let found = match self.text.get(self.at..).and_then(|rest| rest.utf8_chunks().next()) {
            Some(chunk) => match chunk.valid().chars().next() {
                Some(c) => format!("`{}`", c.escape_debug()),
                None => {
                    self.fault(FaultKind::Encoding, self.at, self.at + chunk.invalid().len(), NOT_UTF8);
                    return Stop;
                }
            },
            None => "the end of the document".to_owned(),
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
