//! URL templates: one pass of plain substitution, so that what is put in is never expanded again.

use std::collections::BTreeMap;
use std::fmt;

use url::Url;

/// A URL as it was written or rendered, and as it is understood. Programs print what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    text: String,
    url: Url,
}

impl Link {
    /// An absolute URL of any scheme, without blanks or control characters.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(bad) = text.chars().find(|c| c.is_whitespace() || c.is_control()) {
            return Err(format!("`{}` in a URL", bad.escape_debug()));
        }
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        Ok(Self { text: text.to_owned(), url })
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// As understood.
    pub fn url(&self) -> &Url {
        &self.url
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Puts `values` into `template`. Fails, saying why, for anything in braces that is not the name of a value.
pub fn render(template: &str, values: &BTreeMap<&str, &str>) -> Result<Link, String> {
    let mut text = String::with_capacity(template.len() + 64);
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        let (plain, braces) = rest.split_at(at);
        text.push_str(plain);
        let Some(inside) = braces.strip_prefix('{') else {
            return Err("a `}` without `{`".to_owned());
        };
        let Some((variable, after)) = inside.split_once('}') else {
            return Err("a `{` without `}`".to_owned());
        };
        let Some(value) = values.get(variable) else {
            return Err(unknown(variable));
        };
        encode(value, &Position::after(&text), variable == "name", &mut text);
        rest = after;
    }
    text.push_str(rest);
    Link::parse(&text)
}

fn unknown(variable: &str) -> String {
    const OPERATORS: &str = "+#./;?&=,!@|";
    let name = variable.escape_debug();
    if variable.starts_with(|c| OPERATORS.contains(c)) {
        return format!("`{{{name}}}` has an RFC 6570 operator, which cannot be rendered");
    }
    if variable.contains([',', '*', ':']) {
        return format!("`{{{name}}}` is an RFC 6570 expression, which cannot be rendered");
    }
    format!("there is no value for `{{{name}}}`")
}

/// Where in a URL a value is put: what must be escaped depends on it.
enum Position {
    /// Before the path: scheme, user, host.
    Authority,
    Path,
    /// Query or fragment.
    Query,
}

impl Position {
    fn after(text: &str) -> Self {
        if text.contains(['?', '#']) {
            return Self::Query;
        }
        match text.split_once("://") {
            Some((_, rest)) if rest.contains('/') => Self::Path,
            Some(_) => Self::Authority,
            None => Self::Path,
        }
    }
}

/// Escapes what has a meaning of its own at this place. In a name slashes stay.
fn encode(value: &str, position: &Position, is_name: bool, into: &mut String) {
    let also_plain = match position {
        Position::Authority => "",
        Position::Path => "!$&'()*+,;=:@",
        Position::Query => "!$'()*,:@?",
    };
    for byte in value.bytes() {
        let unreserved = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let plain = also_plain.as_bytes().contains(&byte) || is_name && byte == b'/';
        match unreserved || plain {
            true => into.push(char::from(byte)),
            false => into.push_str(&format!("%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(template: &str, values: &[(&str, &str)]) -> Result<String, String> {
        render(template, &values.iter().copied().collect()).map(|link| link.to_string())
    }

    #[test]
    fn a_value_is_never_expanded_again() {
        let values = [("name", "example.com/a"), ("version", "{os}"), ("os", "linux")];
        assert_eq!(rendered("https://x/{version}-{os}", &values).unwrap(), "https://x/%7Bos%7D-linux");
    }

    #[test]
    fn the_name_keeps_its_slashes_and_other_values_lose_theirs() {
        let values = [("name", "example.com/a/b"), ("version", "../1/2")];
        assert_eq!(
            rendered("https://{name}-{version}.aci", &values).unwrap(),
            "https://example.com/a/b-..%2F1%2F2.aci"
        );
    }

    #[test]
    fn a_value_cannot_become_another_host_or_another_argument() {
        let values = [("os", "a@evil.example/"), ("version", "1+b&x=y#z")];
        assert!(rendered("https://{os}.example.com/", &values).is_err());
        assert_eq!(rendered("https://h/{version}", &values).unwrap(), "https://h/1+b&x=y%23z");
        assert_eq!(rendered("https://h/?v={version}", &values).unwrap(), "https://h/?v=1%2Bb%26x%3Dy%23z");
    }

    #[test]
    fn what_cannot_be_rendered_says_why() {
        for (template, why) in [
            ("https://h/{+name}", "operator"),
            ("https://h/{?version}", "operator"),
            ("https://h/{name:3}", "expression"),
            ("https://h/{flavour}", "no value for `{flavour}`"),
            ("https://h/{name", "without `}`"),
            ("https://h/name}", "without `{`"),
            ("/{name}", "relative URL"),
        ] {
            let error = rendered(template, &[("name", "n"), ("version", "1")]).unwrap_err();
            assert!(error.contains(why), "{template}: {error}");
        }
    }

    #[test]
    fn a_link_is_printed_as_it_was_written() {
        let written = "hdfs://Storage.Example.COM:443/a";
        assert_eq!(Link::parse(written).unwrap().to_string(), written);
    }
}
