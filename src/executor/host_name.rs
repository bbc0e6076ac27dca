//! Names of hosts, which are written into files that apps read line by line.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A host's name or a domain: words of letters, digits, hyphens and underscores with dots between them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostName(String);

impl FromStr for HostName {
    type Err = NoHostName;

    fn from_str(text: &str) -> Result<Self, NoHostName> {
        let fits = |word: &str| {
            let ends = word.starts_with('-') || word.ends_with('-');
            let letters = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
            (1..=63).contains(&word.len()) && letters && !ends
        };
        // A dot at the end says that nothing is to be added.
        let words = text.strip_suffix('.').unwrap_or(text);
        if text.len() <= 253 && words.split('.').all(fits) { Ok(Self(text.to_owned())) } else { Err(NoHostName) }
    }
}

impl TryFrom<String> for HostName {
    type Error = NoHostName;

    fn try_from(text: String) -> Result<Self, NoHostName> {
        text.parse()
    }
}

impl From<HostName> for String {
    fn from(name: HostName) -> Self {
        name.0
    }
}

impl Borrow<str> for HostName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Why a text is no [`HostName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoHostName;

impl fmt::Display for NoHostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a host name is letters, digits and hyphens in words of at most 63, with dots between them")
    }
}

impl std::error::Error for NoHostName {}

#[cfg(test)]
mod tests {
    use super::HostName;

    #[test]
    fn what_would_be_more_than_a_name_in_a_file_is_none() {
        for text in ["a", "db.example.com", "my_db", "Example.com.", &"x".repeat(63)] {
            assert_eq!(text.parse::<HostName>().unwrap().to_string(), text);
        }
        for text in ["", ".", "a..b", "bad host", "x\n1.2.3.4 evil", "x#", "-a", "a-", "caf\u{e9}", &"x".repeat(64)] {
            assert!(text.parse::<HostName>().is_err(), "{text:?}");
        }
    }
}
