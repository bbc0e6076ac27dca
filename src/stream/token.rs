//! Where a stream that broke goes on.

use std::fmt;
use std::str::FromStr;

use crate::store::TreeName;

/// What the receiving side says to the sending one: `TREE:BYTES:TOKEN`, the first tree that is not whole, how much of its
/// archive is there, and what zfs says of its dataset (`-` where that is whole).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub(super) tree: TreeName,
    pub(super) archive: u64,
    pub(super) zfs: Option<String>,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.tree, self.archive, self.zfs.as_deref().unwrap_or("-"))
    }
}

impl FromStr for Token {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "it is no token of a stream that broke".to_owned();
        let mut words = text.trim().split(':');
        let (Some(tree), Some(archive), Some(zfs), None) = (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(wrong());
        };
        let tree = TreeName::read(tree).ok_or_else(wrong)?;
        let archive = archive.parse().map_err(|_| wrong())?;
        // It becomes an argument of a program.
        let plain = |text: &str| {
            text.starts_with(|c: char| c.is_ascii_digit())
                && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        };
        let zfs = match zfs {
            "-" => None,
            token if plain(token) => Some(token.to_owned()),
            _ => return Err(wrong()),
        };
        Ok(Self { tree, archive, zfs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_and_nothing_else() {
        let id = format!("sha512-{}", "a".repeat(128));
        for text in [format!("{id}:17:1-e6-e0-789c"), format!("{id}:0:-"), format!("plan-{}:0:1-a", "b".repeat(64))] {
            assert_eq!(text.parse::<Token>().unwrap().to_string(), text);
        }
        for text in ["", "x:0:-", &format!("{id}:-1:-"), &format!("{id}:0:-R"), &format!("{id}:0:1 -n"), &id] {
            assert!(text.parse::<Token>().is_err(), "{text}");
        }
    }
}
