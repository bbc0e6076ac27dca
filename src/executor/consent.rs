//! What the operator allows beyond what every app may: capabilities, system calls.
//!
//! `WORD[,WORD...]` is for every app, `NAME=WORD[,WORD...]` for one: on a command line NAME is an app of the pod, in the
//! configuration a prefix of images' names, which counts for images whose signatures were good.

use std::fmt;
use std::str::FromStr;

use super::plan::Consent;
use crate::schema::AcIdentifier;

/// Some words, and whom they are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// An app, or a prefix of images' names; nothing: every app.
    pub whom: Option<AcIdentifier>,
    /// Capabilities or system calls; `all` means each.
    pub words: Vec<String>,
}

impl FromStr for Allowance {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (whom, words) = match text.split_once('=') {
            Some((whom, words)) => {
                let whom = whom.parse().map_err(|_| format!("`{}` is no name", whom.escape_debug()))?;
                (Some(whom), words)
            }
            None => (None, text),
        };
        let words: Vec<String> = words.split(',').map(str::to_owned).collect();
        let word =
            |word: &&String| word.is_empty() || !word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        match words.iter().find(word) {
            Some(wrong) => Err(format!("`{}` is neither a word nor `all`", wrong.escape_debug())),
            None => Ok(Self { whom, words }),
        }
    }
}

impl fmt::Display for Allowance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(whom) = &self.whom {
            write!(f, "{whom}=")?;
        }
        f.write_str(&self.words.join(","))
    }
}

impl Consent {
    /// Adds capabilities, which may be written as `net_admin`.
    pub fn allow_capabilities(&mut self, allowance: &Allowance) {
        self.capabilities.extend(allowance.words.iter().map(|word| match word.to_ascii_uppercase() {
            all if all == "ALL" => "all".to_owned(),
            upper if upper.starts_with("CAP_") => upper,
            upper => format!("CAP_{upper}"),
        }));
    }

    /// Adds system calls.
    pub fn allow_calls(&mut self, allowance: &Allowance) {
        self.calls.extend(allowance.words.iter().cloned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowance_is_words_for_one_or_all() {
        let one: Allowance = "example.com/vpn=net_admin,CAP_NET_RAW".parse().unwrap();
        assert_eq!(one.whom.as_deref().map(|name| name.to_owned()).as_deref(), Some("example.com/vpn"));
        assert_eq!(one.to_string(), "example.com/vpn=net_admin,CAP_NET_RAW");
        let mut consent = Consent::default();
        consent.allow_capabilities(&one);
        consent.allow_capabilities(&"all".parse().unwrap());
        assert_eq!(consent.capabilities, ["CAP_NET_ADMIN", "CAP_NET_RAW", "all"]);
        for wrong in ["", "a=", "=a", "a,,b", "CAP-CHOWN", "A=b=c", "Upper Case=chown"] {
            assert!(wrong.parse::<Allowance>().is_err(), "{wrong}");
        }
    }
}
