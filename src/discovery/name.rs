//! What a person writes to name an image that is to be found: `NAME[:VERSION][,label=value]...`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::{Error, Kind};
use crate::schema::{AcIdentifier, Difference, refusal};

/// A name and the labels asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageName {
    /// The image's name.
    pub name: AcIdentifier,
    /// Labels that the image must have, with just these values. A version asked for is one of them.
    pub labels: BTreeMap<AcIdentifier, String>,
}

impl ImageName {
    /// The value of a label asked for.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| label.as_str() == name).map(|(_, value)| value.as_str())
    }

    /// Whether an image of this name with these labels is what was asked for, and if not how it differs.
    ///
    /// Where `os` or `arch` was not asked for, the host's was filled in, so that an image made for another is not the one
    /// meant; one that names none is.
    pub fn check<'l>(
        &self,
        host: &Platform,
        name: &str,
        labels: impl IntoIterator<Item = (&'l str, &'l str)>,
    ) -> Result<(), Error> {
        let differs = |clause, why: String| {
            Err(Error::new(Kind::AnotherImage, format!("take the image for `{self}`")).clause(clause).because(why))
        };
        let has: BTreeMap<&str, &str> = labels.into_iter().collect();
        let difference = Difference::find(Some(&self.name), &self.labels, name, |label| has.get(label).copied());
        if let Some(difference) = difference {
            let clause = match difference {
                Difference::Name { .. } => "disc.match",
                Difference::Label { .. } => "disc.match.rule",
            };
            return differs(clause, difference.to_string());
        }
        for (label, wanted) in host.labels() {
            let value = has.get(label).copied().filter(|value| self.label(label).is_none() && *value != wanted);
            if let Some(value) = value {
                let why =
                    format!("its label `{label}` is `{value}`, this host's is `{wanted}`, and no other was asked for");
                return differs("disc.match.rule", why);
            }
        }
        Ok(())
    }
}

impl FromStr for ImageName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = || Error::new(Kind::Name, format!("read the image name `{}`", text.escape_debug()));
        let (app, rest) = text.split_once(',').map_or((text, None), |(app, rest)| (app, Some(rest)));
        let (name, version) = app.split_once(':').map_or((app, None), |(name, version)| (name, Some(version)));
        let name = identifier(name).map_err(|(clause, why)| refuse().clause(clause).because(why))?;
        let mut labels = BTreeMap::new();
        let version = version.map(|version| ("version", version));
        let others = rest.into_iter().flat_map(|rest| rest.split(','));
        let others = others.map(|part| {
            part.split_once('=')
                .ok_or_else(|| refuse().because(format!("`{}` is not label=value", part.escape_debug())))
        });
        for part in version.map(Ok).into_iter().chain(others) {
            let (label, value) = part?;
            let key = identifier(label).map_err(|(clause, why)| refuse().clause(clause).because(why))?;
            if label == "name" {
                return Err(refuse().clause("im.labels.notname").because("no label can be called `name`"));
            }
            if value.is_empty() {
                return Err(refuse().because(format!("there is no value for `{label}`")));
            }
            if label == "version" && value.contains(':') {
                return Err(refuse().because("a second colon: one may stand behind the name"));
            }
            if labels.insert(key, value.to_owned()).is_some() {
                return Err(refuse().clause("im.labels.unique").because(format!("`{label}` is given twice")));
            }
        }
        Ok(Self { name, labels })
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(version) = self.label("version") {
            write!(f, ":{version}")?;
        }
        for (label, value) in self.labels.iter().filter(|(label, _)| label.as_str() != "version") {
            write!(f, ",{}={value}", label.as_str())?;
        }
        Ok(())
    }
}

/// The identifier, or which clause the text breaks, and how.
fn identifier(text: &str) -> Result<AcIdentifier, (&'static str, String)> {
    text.parse().map_err(|_| refusal("acIdentifier", text))
}

/// An operating system and an architecture, in the specification's names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// `linux`, `freebsd`, ...
    pub os: String,
    /// `amd64`, `i386`, `aarch64`, ...
    pub arch: String,
}

impl Platform {
    /// What this program was built for.
    pub fn host() -> Self {
        let little = cfg!(target_endian = "little");
        let arch = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "x86" => "i386",
            "aarch64" if little => "aarch64",
            "aarch64" => "aarch64_be",
            "arm" if little => "armv7l",
            "arm" => "armv7b",
            "powerpc64" if little => "ppc64le",
            "powerpc64" => "ppc64",
            other => other,
        };
        Self { os: std::env::consts::OS.to_owned(), arch: arch.to_owned() }
    }

    /// As labels.
    pub(super) fn labels(&self) -> [(&'static str, &str); 2] {
        [("os", &self.os), ("arch", &self.arch)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Platform {
        Platform { os: "linux".to_owned(), arch: "amd64".to_owned() }
    }

    #[test]
    fn names_are_read_as_the_go_tool_reads_them() {
        let name: ImageName = "example.com/reduce-worker:1.0.0,channel=alpha,a=b".parse().unwrap();
        assert_eq!(name.label("version"), Some("1.0.0"));
        assert_eq!(name.label("channel"), Some("alpha"));
        assert_eq!(name.to_string(), "example.com/reduce-worker:1.0.0,a=b,channel=alpha");
        assert_eq!(name.to_string().parse::<ImageName>().unwrap(), name);
        assert_eq!("a,version=1".parse::<ImageName>().unwrap(), "a:1".parse().unwrap());
    }

    #[test]
    fn what_is_no_name_is_refused_with_the_reason() {
        for (text, why) in [
            ("", "cannot be empty"),
            (":1", "cannot be empty"),
            ("Example.com", "`E` is not allowed; `example.com` would be one"),
            ("a//b", "two separators"),
            ("../a", "begins or ends with a separator"),
            ("a:", "no value for `version`"),
            ("a:1:2", "second colon"),
            ("a,os", "not label=value"),
            ("a,", "not label=value"),
            ("a,os=", "no value for `os`"),
            ("a,=x", "cannot be empty"),
            ("a,name=b", "no label can be called"),
            ("a:1,version=2", "given twice"),
            ("a,x=1,x=1", "given twice"),
            ("a\u{1b}[31m", "\\u{1b}"),
        ] {
            let error = text.parse::<ImageName>().unwrap_err();
            assert!(crate::error::chain(&error).contains(why), "{text}: {error:?}");
        }
    }

    #[test]
    fn labels_asked_for_must_be_there_and_others_may_be_anything() {
        let wanted: ImageName = "a:1".parse().unwrap();
        assert!(wanted.check(&host(), "a", [("version", "1"), ("channel", "x"), ("os", "linux")]).is_ok());
        assert!(wanted.check(&host(), "b", [("version", "1")]).is_err());
        assert!(wanted.check(&host(), "a", [("version", "2")]).is_err());
        assert!(wanted.check(&host(), "a", []).is_err());
    }

    #[test]
    fn the_version_latest_is_for_templates_only() {
        assert!("a".parse::<ImageName>().unwrap().check(&host(), "a", [("version", "7")]).is_ok());
        assert!("a:latest".parse::<ImageName>().unwrap().check(&host(), "a", [("version", "7")]).is_err());
    }

    #[test]
    fn an_image_for_another_system_is_taken_only_when_asked_for() {
        let labels = [("os", "freebsd"), ("arch", "amd64")];
        assert!("a".parse::<ImageName>().unwrap().check(&host(), "a", labels).is_err());
        assert!("a,os=freebsd".parse::<ImageName>().unwrap().check(&host(), "a", labels).is_ok());
        assert!("a".parse::<ImageName>().unwrap().check(&host(), "a", []).is_ok());
    }
}
