//! Why a string does not match its pattern: the clause that is broken, in words.

use super::quantity::{self, Quantity};
use super::walk::short;

/// What is wrong with a string.
pub(super) struct Fault {
    pub clause: &'static str,
    pub message: String,
    pub help: Option<String>,
}

impl Fault {
    fn new(clause: &'static str, message: impl Into<String>) -> Self {
        Self { clause, message: message.into(), help: None }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Whether `text` matches the pattern of a definition in the way that nearly all do: a regular expression takes far longer
/// to say so, and longer still to be compiled. What this leaves open the pattern decides.
pub(super) fn fits_plainly(definition: &str, text: &str) -> bool {
    let bytes = text.as_bytes();
    match definition {
        "acIdentifier" => words(bytes, IDENTIFIER.separators.as_bytes()),
        "acName" => words(bytes, NAME.separators.as_bytes()),
        "acVersion" => text == crate::SPEC_VERSION,
        "absPath" => bytes.first() == Some(&b'/') && !bytes.contains(&0) && !bytes.windows(2).any(|two| two == b".."),
        "imageId" => text
            .strip_prefix("sha512-")
            .is_some_and(|hex| hex.len() == 128 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))),
        "envName" => {
            bytes.first().is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_')
                && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(byte))
        }
        "capability" => text
            .strip_prefix("CAP_")
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')),
        "errno" => {
            bytes.len() > 1
                && bytes[0] == b'E'
                && bytes.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
        }
        "octalMode" => matches!(bytes.len(), 3 | 4) && bytes.iter().all(|byte| matches!(byte, b'0'..=b'7')),
        "selinuxPart" => !bytes.is_empty() && bytes.iter().all(u8::is_ascii_alphanumeric),
        "quantity" => {
            let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
            digits > 0 && matches!(&text[digits..], "" | "m" | "k" | "M" | "G" | "Ki" | "Mi" | "Gi")
        }
        _ => false,
    }
}

/// Words of lower-case letters and digits, joined by single separators.
fn words(text: &[u8], separators: &[u8]) -> bool {
    let mut before = true;
    text.iter().all(|byte| {
        let separator = separators.contains(byte);
        let fits = byte.is_ascii_lowercase() || byte.is_ascii_digit() || (separator && !before);
        before = separator;
        fits
    }) && !before
}

/// Explains why `text` does not match the pattern of a definition. `clause` is that of the place.
pub(super) fn explain(definition: &str, text: &str, clause: &'static str) -> Fault {
    match definition {
        "acIdentifier" => name(text, &IDENTIFIER),
        "acName" => name(text, &NAME),
        "acVersion" if text.is_empty() => Fault::new("types.acversion.nonempty", "the version is empty")
            .help(format!("write the version of the specification: \"{}\"", crate::SPEC_VERSION)),
        "acVersion" => Fault::new(clause, format!("`{}` is not a SemVer 2.0.0 version", short(text)))
            .help("three numbers without leading zeros, as in \"0.8.11\""),
        "imageId" => image_id(text),
        "absPath" => path(text, clause),
        "envName" => Fault::new(clause, format!("`{}` is not a name of an environment variable", short(text)))
            .help("letters, digits, `_`, `.` and `-`, beginning with a letter or `_`"),
        "octalMode" => Fault::new(clause, format!("`{}` is not a mode of three or four octal digits", short(text)))
            .help("as in \"0755\""),
        "ipv4" => Fault::new(clause, format!("`{}` is not an IPv4 address", short(text)))
            .help("four numbers from 0 to 255, as in \"127.0.0.1\""),
        "errno" => Fault::new(clause, format!("`{}` is not an error code", short(text)))
            .help("an upper-case name that begins with E, as in \"EPERM\""),
        "capability" => Fault::new(clause, format!("`{}` is not the name of a capability", short(text)))
            .help("an upper-case name that begins with CAP_, as in \"CAP_NET_ADMIN\""),
        "selinuxPart" => Fault::new(clause, format!("`{}` is empty or holds a colon", short(text)))
            .help("only the level may hold colons"),
        "quantity" => amount(text),
        _ => Fault::new(clause, format!("`{}` is not of the right form", short(text))),
    }
}

/// Why `text` is not what the definition of this name in the schemas asks for, in words for a person.
pub fn why_not(definition: &str, text: &str) -> String {
    refusal(definition, text).1
}

/// Why a text is not what `definition` says, and the clause that it breaks; none where the place decides it.
pub fn refusal(definition: &str, text: &str) -> (&'static str, String) {
    let fault = explain(definition, text, "");
    let words = match fault.help {
        Some(help) => format!("{}; {help}", fault.message),
        None => fault.message,
    };
    (fault.clause, words)
}

/// Explains why `text` is none of the choices of a definition.
pub(super) fn no_choice(definition: &str, text: &str, choices: &[&str], clause: &'static str) -> Fault {
    let other_kind = text == "ImageManifest" || text == "PodManifest";
    if matches!(definition, "imageManifestKind" | "podManifestKind") && !other_kind {
        let alnum = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        return if alnum {
            Fault::new("types.ackind.defined", format!("kind `{}` is not defined", short(text)))
        } else {
            Fault::new("types.ackind.alnum", format!("`{}` is not an alphanumeric name of a kind", short(text)))
        };
    }
    let choices = choices.iter().map(|choice| format!("`{choice}`")).collect::<Vec<_>>().join(" or ");
    Fault::new(clause, format!("`{}` is not {choices}", short(text)))
}

struct Name {
    what: &'static str,
    separators: &'static str,
    nonempty: &'static str,
    charset: &'static str,
    edges: &'static str,
    regex: &'static str,
}

const IDENTIFIER: Name = Name {
    what: "an AC identifier",
    separators: "-._~/",
    nonempty: "types.acidentifier.nonempty",
    charset: "types.acidentifier.charset",
    edges: "types.acidentifier.edges",
    regex: "types.acidentifier.regex",
};

const NAME: Name = Name {
    what: "an AC name",
    separators: "-",
    nonempty: "types.acname.nonempty",
    charset: "types.acname.charset",
    edges: "types.acname.edges",
    regex: "types.acname.regex",
};

fn name(text: &str, rules: &Name) -> Fault {
    let separator = |c: char| rules.separators.contains(c);
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || separator(c);
    let what = rules.what;
    let fault = if text.is_empty() {
        return Fault::new(rules.nonempty, format!("{what} cannot be empty"));
    } else if let Some(c) = text.chars().find(|c| !allowed(*c)) {
        Fault::new(rules.charset, format!("`{}` is not {what}: `{}` is not allowed", short(text), c.escape_debug()))
    } else if text.starts_with(separator) || text.ends_with(separator) {
        Fault::new(rules.edges, format!("`{}` is not {what}: it begins or ends with a separator", short(text)))
    } else {
        Fault::new(rules.regex, format!("`{}` is not {what}: two separators stand side by side", short(text)))
    };
    match mended(text, rules) {
        Some(mended) => fault.help(format!("`{mended}` would be one")),
        None => fault,
    }
}

/// The nearest text that is one: lower case, foreign letters as hyphens, no separators beside each other or at the edges.
fn mended(text: &str, rules: &Name) -> Option<String> {
    if text.len() > 255 {
        return None;
    }
    let mut out = String::new();
    for c in text.chars().map(|c| c.to_ascii_lowercase()) {
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            out.push(c);
        } else if out.ends_with(|last: char| last.is_ascii_alphanumeric()) {
            out.push(if rules.separators.contains(c) { c } else { '-' });
        }
    }
    let trimmed = out.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
    (!trimmed.is_empty()).then(|| trimmed.to_owned())
}

fn image_id(text: &str) -> Fault {
    let Some((algorithm, value)) = text.split_once('-').filter(|(_, value)| !value.contains('-')) else {
        return Fault::new(
            "types.imageid.form",
            format!("`{}` is not an algorithm and a value with a hyphen between", short(text)),
        )
        .help("`sha512-` and 128 lower-case hex digits");
    };
    if algorithm != "sha512" {
        return Fault::new("types.imageid.algo", format!("`{}` is not an algorithm for image ids", short(algorithm)))
            .help("the only one is `sha512`");
    }
    let fault = |message: String| Fault::new("types.imageid.hex", message);
    if let Some(c) = value.chars().find(|c| !matches!(c, '0'..='9' | 'a'..='f')) {
        let message = format!("`{}` is not a lower-case hex digit", c.escape_debug());
        return if c.is_ascii_hexdigit() {
            fault(message).help("write the digits in lower case")
        } else {
            fault(message)
        };
    }
    fault(format!("{} hex digits where sha512 has 128", value.len()))
        .help("short forms are for looking images up on the command line")
}

fn path(text: &str, clause: &'static str) -> Fault {
    if !text.starts_with('/') {
        return Fault::new(clause, format!("`{}` is not an absolute path", short(text))).help("begin it with `/`");
    }
    if text.contains('\0') {
        return Fault::new(clause, "a path cannot hold NUL");
    }
    Fault::new(clause, format!("`{}` goes up with `..`", short(text))).help("write the path that is meant")
}

fn amount(text: &str) -> Fault {
    let Err(fault) = text.parse::<Quantity>() else {
        return Fault::new("res.quantity.plain", format!("`{}` is not an amount", short(text)));
    };
    if fault == quantity::Fault::TooLarge {
        return too_large(text);
    }
    let number_end = text.find(|c: char| !matches!(c, '0'..='9' | '.' | '+' | '-')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(number_end);
    let clause = match suffix {
        _ if number.matches('.').count() > 1 || number == "." => "res.quantity.small",
        _ if fault == quantity::Fault::Negative || number.is_empty() || suffix.is_empty() => "res.quantity.plain",
        _ if suffix.ends_with(['i', 'I']) => "res.quantity.binary",
        _ => "res.quantity.metric",
    };
    let fault = Fault::new(clause, format!("`{}` is not an amount: {fault}", short(text)));
    match super::suggest::nearest(suffix, ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]) {
        Some(near) if suffix.len() == 2 => fault.help(format!("did you mean `{number}{near}`?")),
        _ => fault,
    }
}

/// An amount beyond what 63 bits hold.
pub(super) fn too_large(text: &str) -> Fault {
    Fault::new("res.quantity.integer", format!("`{}` is larger than 9223372036854775807", short(text)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::schema::shape::SHAPES;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn what_fits_plainly_fits_the_pattern(
            text in prop_oneof![
                "[a-z0-9A-Z/._~ -]{0,6}", "E[A-Z0-9a]{0,3}", "CAP_[A-Z_0a]{0,3}", "[0-9.]{0,3}[mkKMGTEi\n]{0,3}", "[0-8]{2,5}",
                "sha512-[0-9a-f]{127,129}", "[A-Za-z_][A-Z_.\n-]{0,3}", "/[/.a\u{0}]{0,5}", "[a:\n]{0,3}",
            ],
        ) {
            for name in [
                "acIdentifier", "acName", "acVersion", "absPath", "imageId", "envName", "capability", "errno", "octalMode",
                "selinuxPart", "quantity",
            ] {
                let pattern = SHAPES.definition(name).pattern.as_ref().expect("the definition has a pattern");
                prop_assert!(!fits_plainly(name, &text) || pattern.matches(&text), "{name}: {text:?}");
            }
        }
    }
}
