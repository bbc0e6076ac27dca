//! What a key can have: how it is written in a file and shown again.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use toml::de::DeValue;

use super::{Metadata, Protection, Proxy, Signatures};
use crate::executor::consent::Allowance;
use crate::executor::freebsd::facts::LinuxRelease;
use crate::executor::level::Level;
use crate::executor::plan::Rootless;
use crate::render::Pull;

/// A type that a key can have.
pub(super) trait Value: Sized {
    fn read(value: &DeValue<'_>) -> Result<Self, String>;
    fn show(&self) -> serde_json::Value;
}

impl Value for Option<PathBuf> {
    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let path = PathBuf::from(text(value)?);
        if path.is_absolute() { Ok(Some(path)) } else { Err(format!("`{}` is not an absolute path", path.display())) }
    }

    fn show(&self) -> serde_json::Value {
        json!(self.as_ref().map(|path| path.to_string_lossy()))
    }
}

impl Value for PathBuf {
    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        // Nothing but a path is read as one.
        Option::<Self>::read(value).map(Option::unwrap_or_default)
    }

    fn show(&self) -> serde_json::Value {
        json!(self.to_string_lossy())
    }
}

impl Value for Option<Proxy> {
    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let text = text(value)?;
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let known =
            |url: &url::Url| url.has_host() && ["http", "https", "socks4", "socks4a", "socks5"].contains(&url.scheme());
        // The value may hold a password and is not repeated.
        match url::Url::parse(&whole).is_ok_and(|url| known(&url)) {
            true => Ok(Some(Proxy(text.to_owned()))),
            false => Err("this is no proxy; `http://proxy.example.com:3128` is one".to_owned()),
        }
    }

    fn show(&self) -> serde_json::Value {
        json!(self.as_ref().map(Proxy::to_string))
    }
}

impl Value for Vec<Protection> {
    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let words = Vec::<String>::read(value)?;
        let protection = |word: &String| match word.as_str() {
            "tls" => Ok(Protection::Tls),
            "http" => Ok(Protection::Http),
            "signature" => Ok(Protection::Signature),
            other => Err(format!("`{other}` is none of tls, http, signature")),
        };
        words.iter().map(protection).collect()
    }

    fn show(&self) -> serde_json::Value {
        json!(self)
    }
}

impl Value for Vec<PathBuf> {
    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let entries = value.as_array().ok_or_else(|| format!("a list is due, this is of type {}", value.type_str()))?;
        let paths = entries.iter().map(|entry| Option::<PathBuf>::read(entry.get_ref()));
        Ok(paths.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    fn show(&self) -> serde_json::Value {
        self.iter().map(|path| path.to_string_lossy()).collect()
    }
}

/// Addresses: the first of them, and the bits that all have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block<A>(pub A, pub u8);

/// Blocks of addresses of one family, large enough for a bridge and a pod.
macro_rules! blocks {
    ($($address:ty, $bits:literal, $wrong:literal;)*) => {$(
        impl Value for Option<Block<$address>> {
            fn read(value: &DeValue<'_>) -> Result<Self, String> {
                let text = text(value)?;
                let block = text.split_once('/').and_then(|(address, prefix)| {
                    let prefix = prefix.parse().ok().filter(|prefix| (8..=$bits - 2).contains(prefix))?;
                    Some(Block(address.parse().ok()?, prefix))
                });
                block.map(Some).ok_or_else(|| format!(concat!("`{}` is ", $wrong), text))
            }

            fn show(&self) -> serde_json::Value {
                json!(self.map(|Block(address, prefix)| format!("{address}/{prefix}")))
            }
        }
    )*};
}

blocks! {
    Ipv4Addr, 32, "no block of IPv4 addresses such as 10.77.0.0/16";
    Ipv6Addr, 128, "no block of IPv6 addresses such as fd00:77::/64";
}

impl Value for String {
    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        text(value).map(str::to_owned)
    }

    fn show(&self) -> serde_json::Value {
        json!(self)
    }
}

impl Value for LinuxRelease {
    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        text(value)?.to_owned().try_into()
    }

    fn show(&self) -> serde_json::Value {
        json!(self)
    }
}

impl Value for bool {
    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        value.as_bool().ok_or_else(|| format!("true or false is due, this is of type {}", value.type_str()))
    }

    fn show(&self) -> serde_json::Value {
        json!(self)
    }
}

/// A whole number that is not negative.
macro_rules! numbers {
    ($($type:ty),*) => {$(
        impl Value for $type {
            fn read(value: &DeValue<'_>) -> Result<Self, String> {
                let number = value.as_integer().and_then(|number| <$type>::from_str_radix(number.as_str(), number.radix()).ok());
                number.ok_or_else(|| "a whole number is due, not negative and not too large".to_owned())
            }

            fn show(&self) -> serde_json::Value {
                json!(self)
            }
        }
    )*};
}

numbers!(u8, u32, u64);

/// What has an upper and a lower bound: numbers, and times in seconds.
pub(super) trait Measure: Value {
    fn measure(&self) -> u64;
}

impl Measure for u8 {
    fn measure(&self) -> u64 {
        (*self).into()
    }
}

impl Measure for u32 {
    fn measure(&self) -> u64 {
        (*self).into()
    }
}

impl Measure for u64 {
    fn measure(&self) -> u64 {
        *self
    }
}

impl Measure for Duration {
    fn measure(&self) -> u64 {
        self.as_secs()
    }
}

/// Whether a value is within its bounds.
pub(super) fn within(value: &impl Measure, bounds: RangeInclusive<u64>) -> Result<(), String> {
    match bounds.contains(&value.measure()) {
        true => Ok(()),
        false => {
            let said = value.show();
            let said = said.as_str().map_or_else(|| said.to_string(), str::to_owned);
            Err(format!("{said} is out of range: {} to {} can be said here", bounds.start(), bounds.end()))
        }
    }
}

/// A word of a few.
macro_rules! words {
    ($($type:ident { $($word:literal => $value:ident),* })*) => {$(
        impl Value for $type {
            fn read(value: &DeValue<'_>) -> Result<Self, String> {
                match text(value)? {
                    $($word => Ok(Self::$value),)*
                    other => Err(format!("`{other}` is none of {}", [$($word),*].join(", "))),
                }
            }

            fn show(&self) -> serde_json::Value {
                json!(self)
            }
        }
    )*};
}

words! {
    Level { "chroot" => Chroot, "shared" => Shared, "default" => Default, "strict" => Strict }
    Signatures { "network" => Network, "all" => All, "none" => None }
    Pull { "never" => Never, "new" => New, "update" => Update }
    Metadata { "own" => Own, "domain" => Domain, "off" => Off }
    Rootless { "auto" => Auto, "pasta" => Pasta, "slirp4netns" => Slirp4netns, "none" => None }
}

impl Value for Vec<Allowance> {
    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        Vec::<String>::read(value)?.iter().map(|text| text.parse()).collect()
    }

    fn show(&self) -> serde_json::Value {
        self.iter().map(Allowance::to_string).collect()
    }
}

impl Value for Vec<String> {
    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        // One word may stand alone.
        if let Some(word) = value.as_str() {
            return Ok(vec![word.to_owned()]);
        }
        let due = || format!("a word or a list of words is due, this is of type {}", value.type_str());
        value.as_array().ok_or_else(due)?.iter().map(|entry| Ok(text(entry.get_ref())?.to_owned())).collect()
    }

    fn show(&self) -> serde_json::Value {
        json!(self)
    }
}

impl Value for Duration {
    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        parse_duration(text(value)?)
    }

    fn show(&self) -> serde_json::Value {
        json!(format!("{}s", self.as_secs()))
    }
}

fn text<'a>(value: &'a DeValue<'_>) -> Result<&'a str, String> {
    value.as_str().ok_or_else(|| format!("a string is due, this is of type {}", value.type_str()))
}

/// A length of time: a number and `s`, `m`, `h` or `d`.
///
/// # Errors
/// A sentence about what is due.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[number.len()..] {
        "s" | "" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        other => return Err(format!("`{other}` is no unit of time; s, m, h and d are")),
    };
    let number: u64 = number.parse().map_err(|_| format!("`{text}` is no time; `90s`, `30m`, `24h`, `7d` are"))?;
    number.checked_mul(unit).map(Duration::from_secs).ok_or_else(|| format!("`{text}` is longer than anybody can wait"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(parse_duration("7d"), Ok(Duration::from_secs(7 * 86400)));
        assert_eq!(parse_duration("5"), Ok(Duration::from_secs(5)));
        for text in ["", "s", "-1s", "1w", "1.5h", "99999999999999999d"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
