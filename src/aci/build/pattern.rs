//! Patterns of names: `*`, `?`, `[a-z]` within a name, `**` over any number of directories, `\` before what is meant plainly.

/// A pattern for paths without a leading slash. Names are bytes.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    parts: Vec<Vec<u8>>,
}

impl Pattern {
    /// Reads a pattern; one without a slash in it matches at any depth, a leading slash ties it to the top.
    pub(super) fn new(text: &[u8]) -> Result<Self, &'static str> {
        let anchored = text.starts_with(b"/");
        let mut parts: Vec<_> =
            text.split(|&byte| byte == b'/').filter(|part| !part.is_empty()).map(<[u8]>::to_vec).collect();
        if parts.is_empty() {
            return Err("it matches nothing");
        }
        if parts.iter().any(|part| !closed(part)) {
            return Err("a `[` is without its `]`, or a `\\` without what follows it");
        }
        if parts.len() == 1 && !anchored {
            parts.insert(0, b"**".to_vec());
        }
        Ok(Self { parts })
    }

    /// Whether it matches all of `path`.
    pub(super) fn matches(&self, path: &[u8]) -> bool {
        let names: Vec<_> = path.split(|&byte| byte == b'/').collect();
        paths(&self.parts, &names)
    }
}

fn paths(parts: &[Vec<u8>], names: &[&[u8]]) -> bool {
    match (parts, names) {
        ([], []) => true,
        ([part, rest @ ..], _) if part == b"**" => (0..=names.len()).any(|skipped| paths(rest, &names[skipped..])),
        ([part, rest @ ..], [name, below @ ..]) => matches(part, name) && paths(rest, below),
        _ => false,
    }
}

fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=name.len()).any(|skipped| matches(rest, &name[skipped..])),
        ([b'?', rest @ ..], [_, after @ ..]) => matches(rest, after),
        ([b'\\', plain, rest @ ..], [byte, after @ ..]) => plain == byte && matches(rest, after),
        ([b'[', ..], [byte, after @ ..]) => match set(&pattern[1..]) {
            Some((set, rest)) => contains(set, *byte) && matches(rest, after),
            None => false,
        },
        ([plain, rest @ ..], [byte, after @ ..]) => plain == byte && matches(rest, after),
        _ => false,
    }
}

/// What stands before the closing bracket, which is not the first byte, and what follows it.
fn set(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = 1 + usize::from(matches!(text.first(), Some(b'!' | b'^')));
    let end = text.iter().skip(start).position(|&byte| byte == b']')? + start;
    Some((&text[..end], &text[end + 1..]))
}

fn contains(set: &[u8], byte: u8) -> bool {
    let (negated, mut set) = match set {
        [b'!' | b'^', rest @ ..] => (true, rest),
        _ => (false, set),
    };
    let mut found = false;
    loop {
        match set {
            [low, b'-', high, rest @ ..] => {
                found |= (*low..=*high).contains(&byte);
                set = rest;
            }
            [one, rest @ ..] => {
                found |= *one == byte;
                set = rest;
            }
            [] => return found != negated,
        }
    }
}

fn closed(mut part: &[u8]) -> bool {
    loop {
        part = match part {
            [] => return true,
            [b'\\'] => return false,
            [b'\\', _, rest @ ..] => rest,
            [b'[', rest @ ..] => match set(rest) {
                Some((_, rest)) => rest,
                None => return false,
            },
            [_, rest @ ..] => rest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn a_pattern_matches_what_it_says_and_nothing_else() {
        for (pattern, path, expected) in [
            ("*.pyc", "usr/lib/a.pyc", true),
            ("*.pyc", "usr/lib/a.py", false),
            ("cache", "var/cache", true),
            ("/cache", "var/cache", false),
            ("var/cache/*", "var/cache/apt", true),
            ("var/cache/*", "var/cache/apt/x", false),
            ("var/**/x", "var/x", true),
            ("var/**/x", "var/a/b/x", true),
            ("/etc/[a-c]?[!x]", "etc/bqy", true),
            ("/etc/[a-c]?[!x]", "etc/bqx", false),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("[]]", "]", true),
        ] {
            assert_eq!(
                Pattern::new(pattern.as_bytes()).unwrap().matches(path.as_bytes()),
                expected,
                "{pattern} {path}"
            );
        }
        for wrong in ["", "/", "a[b", "a\\"] {
            assert!(Pattern::new(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
