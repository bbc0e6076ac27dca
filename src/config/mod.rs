//! What an administrator decides once: TOML files, and where each value came from.
//!
//! ```text
//! /etc/jetpack.toml (Linux), /usr/local/etc/jetpack.toml (FreeBSD)
//! $XDG_CONFIG_HOME/jetpack.toml, else $XDG_CONFIG_HOME/jetpack/config.toml   (~/.config where the variable is not set)
//! --config FILE                                    instead of both
//! variables that others set, too: https_proxy, http_proxy, all_proxy, no_proxy, NETCONFPATH, CNI_PATH
//! the command line's options
//! ```
//! What comes later holds. A file that is not there is no error, except the one that `--config` names. A key that nobody
//! knows is an error with the nearest known name, and so is a value of another type. A new key is one line of the list below.

mod places;
mod value;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use crate::error::Failure;
use crate::executor::consent::Allowance;
use crate::executor::freebsd::facts::LinuxRelease;
use crate::executor::level::Level;
use crate::executor::plan::Rootless;
use crate::render::Pull;
use crate::schema::suggest::nearest;

pub use places::registry_files;
use places::{credential_directories, default_root, files, own_directory, system_trust_directories};
use value::Value;
pub use value::{Block, parse_duration};

/// No configuration is larger, in bytes; what goes on behind that is something else.
const LARGEST: u64 = 1 << 20;

/// Gives what a variable of the environment says.
pub(crate) type Variables<'a> = dyn Fn(&str) -> Option<OsString> + 'a;

/// Why the configuration does not hold.
pub type Error = Failure<Kind>;

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The file is no TOML, or says what nobody understands.
    Invalid,
    /// The file cannot be read.
    Io,
}

/// A value and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting<T> {
    /// What holds.
    pub value: T,
    /// Who said so.
    pub origin: Origin,
}

/// Who said what holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody; it is the default.
    Default,
    /// A file.
    File {
        /// Its path.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// A variable of the environment.
    Environment(&'static str),
    /// The command line.
    CommandLine,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(variable) => write!(f, "${variable}"),
            Self::CommandLine => f.write_str("command line"),
        }
    }
}

/// The keys: name in the file, field, type, default.
macro_rules! settings {
    ($variable:ident; $($(#[doc = $doc:literal])+ $key:literal $field:ident: $type:ty = $default:expr $(, within $bounds:expr)?;)+) => {
        /// What holds for this call.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Config {
            $($(#[doc = $doc])+ pub $field: Setting<$type>,)+
            /// Files of the user's that could not be read for want of permission.
            pub unread: Vec<PathBuf>,
        }

        impl Config {
            /// What holds where nobody says anything.
            fn defaults($variable: &Variables<'_>) -> Self {
                Self { $($field: Setting { value: $default, origin: Origin::Default },)+ unread: Vec::new() }
            }

            /// Each key with its bounds, where it has them.
            #[cfg(test)]
            fn bounds() -> Vec<(&'static str, Option<std::ops::RangeInclusive<u64>>)> {
                vec![$(($key, [$($bounds)?].into_iter().next()),)+]
            }

            /// The names of all keys.
            pub const KEYS: &'static [&'static str] = &[$($key,)+];

            /// Each key with its value as JSON, who said so, and what it is about.
            pub fn facts(&self) -> Vec<(&'static str, serde_json::Value, &Origin, &'static str)> {
                vec![$(($key, self.$field.value.show(), &self.$field.origin, concat!($($doc,)+).trim_ascii()),)+]
            }

            fn set(&mut self, key: &str, value: &DeValue<'_>, origin: Origin) -> Result<(), String> {
                match key {
                    $($key => {
                        let value: $type = Value::read(value)?;
                        $(value::within(&value, $bounds)?;)?
                        self.$field = Setting { value, origin };
                    })+
                    _ => return Err(unknown(key)),
                }
                Ok(())
            }
        }
    };
}

/// The longest that servers are waited for, in seconds.
const DAY: u64 = 24 * 60 * 60;
/// The longest that anything is kept or waited for, in seconds: times are added to others, and must not leave what those can hold.
const CENTURY: u64 = 100 * 365 * DAY;

settings! {
    variable;
    /// Where images and pods are kept.
    "root" root: Option<PathBuf> = default_root(variable);
    /// When images are asked for elsewhere though they may be in the store: never, new (what is not there) or update.
    "pull" pull: Pull = Pull::New;
    /// How long `image gc` keeps what was imported and nobody needs.
    "image-grace" image_grace: Duration = Duration::from_secs(DAY), within 0..=CENTURY;
    /// Of what signatures are wanted: network (of all that comes over one), all (of files, too) or none.
    "signatures" signatures: Signatures = Signatures::Network;
    /// Where the keys are that this host's administrator, or this user, trusts, in root.d for all names and in prefix.d/PREFIX; `jetpack trust` writes there.
    "trust-directory" trust_directory: Option<PathBuf> = own_directory(variable).map(|own| own.join("trust"));
    /// Where the keys are that came with the system, or with the host for its users.
    "system-trust-directories" system_trust_directories: Vec<PathBuf> = system_trust_directories(variable);
    /// Which protections are switched off: tls (certificates are not checked), http (plain http will do), signature.
    "insecure" insecure: Vec<Protection> = Vec::new();
    /// Where files with credentials by host are, `*.toml` of mode 0600: tables `[[credential]]` with host, and user and password or token; a later directory wins.
    "credential-directories" credential_directories: Vec<PathBuf> = credential_directories(variable);
    /// Files in the form of containers-registries.conf(5) that say where images of registries are asked for, and which registries are blocked or
    /// to be spoken to without protection; the first that is there counts, with the directory of its name with `.d` behind it.
    "registry-files" registry_files: Vec<PathBuf> = registry_files(variable);
    /// Whether public servers may send us to private addresses.
    "private-redirects" private_redirects: bool = false;
    /// The proxy for https, as http://HOST:PORT.
    "https-proxy" https_proxy: Option<Proxy> = None;
    /// The proxy for plain http.
    "http-proxy" http_proxy: Option<Proxy> = None;
    /// Hosts, domains and blocks of addresses that are reached without a proxy.
    "no-proxy" no_proxy: Vec<String> = Vec::new();
    /// How long a connection may take to come about.
    "connect-timeout" connect_timeout: Duration = Duration::from_secs(20), within 1..=DAY;
    /// How long a server may be silent, or slower than 1 KiB/s.
    "idle-timeout" idle_timeout: Duration = Duration::from_secs(30), within 1..=DAY;
    /// How often a request is repeated after errors that may pass.
    "retries" retries: u32 = 3, within 0..=100;
    /// Who answers the questions of a pod's apps: own (its supervisor, inside its network), domain (the service that
    /// `jetpack metadata-service` is) or off.
    "metadata" metadata: Metadata = Metadata::Own;
    /// The unix socket of the domain service; nothing: `metadata.sock` below the root.
    "metadata-socket" metadata_socket: Option<PathBuf> = None;
    /// How far pods are kept apart from the host where --isolation does not say: chroot, shared, default or strict.
    "isolation" isolation: Level = Level::Default;
    /// What pods are connected to: networks by name, or none, or host; nothing: the network named default where there is
    /// one, else none.
    "network" network: Vec<String> = Vec::new();
    /// Capabilities beyond the default set that apps may have if they ask for them, as CAP_NET_ADMIN or all; behind
    /// `PREFIX=` those of images of such names whose signatures were good.
    "caps-allow" caps_allow: Vec<Allowance> = Vec::new();
    /// System calls that apps may use though pods have no need of them, likewise.
    "seccomp-allow" seccomp_allow: Vec<Allowance> = Vec::new();
    /// Devices of the host that volumes may be.
    "devices" devices: Vec<PathBuf> = Vec::new();
    /// Where the configurations of networks are (CNI).
    "cni-configurations" cni_configurations: PathBuf = crate::executor::plan::Cni::default().configurations;
    /// Where the plugins that make networks are (CNI); the first directory that has one counts.
    "cni-plugins" cni_plugins: Vec<PathBuf> = crate::executor::plan::Cni::default().plugins;
    /// On Linux: the IPv4 block of the network `default` where no file describes one, as 10.77.0.0/16. Where it is set, pods
    /// are connected to it unless they are told otherwise.
    "linux.network" linux_network: Option<Block<Ipv4Addr>> = None;
    /// On Linux: the IPv6 block of that network, as fd00:77::/64.
    "linux.network6" linux_network6: Option<Block<Ipv6Addr>> = None;
    /// On Linux: the bridge of that network.
    "linux.bridge" linux_bridge: String = crate::executor::plan::Bridge::default().name;
    /// On Linux: what carries the network `default` for who is not root: pasta, slirp4netns, auto (whichever is there) or none.
    "linux.rootless-network" linux_rootless_network: Rootless = Rootless::Auto;
    /// How long apps that are asked to stop may take before they are killed.
    "stop-grace" stop_grace: Duration = Duration::from_secs(10), within 0..=CENTURY;
    /// How long `gc` keeps pods that have ended.
    "pod-grace" pod_grace: Duration = Duration::ZERO, within 0..=CENTURY;
    /// A log of an app that is larger than this, in bytes, is moved aside; one older one is kept.
    "log-limit" log_limit: u64 = 16 << 20, within 1..=i64::MAX as u64;
    /// So many bytes of an image are transferred at most.
    "transfer-limit" transfer_limit: u64 = 16 << 30, within 1..=i64::MAX as u64;
    /// On FreeBSD: the IPv4 block of the network `default`, as 10.77.0.0/16. Where it is set, pods are connected to it
    /// unless they are told otherwise.
    "freebsd.network" freebsd_network: Option<Block<Ipv4Addr>> = None;
    /// On FreeBSD: the IPv6 block of the network `default`, as fd00:77::/64.
    "freebsd.network6" freebsd_network6: Option<Block<Ipv6Addr>> = None;
    /// On FreeBSD: the bridge of the network `default`.
    "freebsd.bridge" freebsd_bridge: String = "jetpack0".to_owned();
    /// On FreeBSD: the secure level of pods, 0 to 3.
    "freebsd.securelevel" freebsd_securelevel: u8 = 2, within 0..=3;
    /// On FreeBSD: what Linux programs are told is the release of their kernel, as 5.15.0 or 6.1.0-13-amd64.
    "freebsd.linux-release" freebsd_linux_release: LinuxRelease = LinuxRelease::default();
}

/// Of what signatures are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Signatures {
    /// Of all that comes over a network.
    Network,
    /// Of files named on a command line, too.
    All,
    /// Of nothing.
    None,
}

/// What is not checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Protection {
    /// Take any certificate: whoever is on the way can pose as the server
    Tls,
    /// Use plain http where https gives nothing, or where a URL says so
    Http,
    /// Take images that nobody trusted has signed
    Signature,
}

/// The address of a proxy, which may hold a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy(String);

impl fmt::Display for Proxy {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((before, host)) = self.0.rsplit_once('@') else { return f.write_str(&self.0) };
        let scheme = before.split_once("://").map_or(String::new(), |(scheme, _)| format!("{scheme}://"));
        write!(f, "{scheme}***@{host}")
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

/// Who answers the questions of a pod's apps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Metadata {
    /// Its supervisor, inside its own network
    Own,
    /// The service of this host that `jetpack metadata-service` is
    Domain,
    /// Nobody, which takes the pod out of conformance
    Off,
}

impl Config {
    /// What the system's and the user's files say, or `named` instead of both, where `variable` gives the environment.
    ///
    /// # Errors
    /// [`Kind::Invalid`] with file, line and column, [`Kind::Io`].
    pub fn load(named: Option<&Path>, variable: &Variables<'_>) -> Result<Self, Error> {
        let mut config = Self::defaults(variable);
        match named {
            Some(path) => config.read(path, true)?,
            None => {
                for (number, path) in files(variable).into_iter().enumerate() {
                    match config.read(&path, false) {
                        // In the home directory of somebody else, whose environment we have.
                        Err(error) if number > 0 && denied(&error) => config.unread.push(path),
                        read => read?,
                    }
                }
            }
        }
        let text = |name: &str| variable(name)?.into_string().ok().filter(|value| !value.is_empty());
        config.take_environment(&text);
        Ok(config)
    }

    /// What others set for all programs, nearer to the user than any file.
    fn take_environment(&mut self, variable: &dyn Fn(&str) -> Option<String>) {
        let first =
            |names: &[&'static str]| names.iter().find_map(|name| Some((variable(name)?, Origin::Environment(name))));
        let proxies = [
            (&mut self.https_proxy, ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]),
            (&mut self.http_proxy, ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]),
        ];
        for (setting, names) in proxies {
            if let Some((value, origin)) = first(&names) {
                *setting = Setting { value: Some(Proxy(value)), origin };
            }
        }
        if let Some((value, origin)) = first(&["no_proxy", "NO_PROXY"]) {
            let hosts = value.split([',', ' ']).map(str::trim).filter(|host| !host.is_empty());
            self.no_proxy = Setting { value: hosts.map(str::to_owned).collect(), origin };
        }
        if let Some((value, origin)) = first(&["NETCONFPATH"]) {
            self.cni_configurations = Setting { value: value.into(), origin };
        }
        if let Some((value, origin)) = first(&["CNI_PATH"]) {
            self.cni_plugins = Setting { value: std::env::split_paths(&value).collect(), origin };
        }
    }

    /// The proxies, by the names that a client knows them by.
    pub fn proxies(&self) -> BTreeMap<&'static str, String> {
        let address = |setting: &Setting<Option<Proxy>>| Some(setting.value.as_ref()?.0.clone());
        let hosts = Some(self.no_proxy.value.join(",")).filter(|hosts| !hosts.is_empty());
        let named = [
            ("https_proxy", address(&self.https_proxy)),
            ("http_proxy", address(&self.http_proxy)),
            ("no_proxy", hosts),
        ];
        named.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    fn read(&mut self, path: &Path, must: bool) -> Result<(), Error> {
        let failed = |error: io::Error| Error::new(Kind::Io, format!("read {}", path.display())).because(error);
        let mut text = String::new();
        match File::open(path).and_then(|file| file.take(LARGEST).read_to_string(&mut text)) {
            Ok(read) if read as u64 == LARGEST => Err(failed(io::ErrorKind::FileTooLarge.into())),
            Ok(_) => self.take(&text, path),
            Err(error) if !must && error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    fn take(&mut self, text: &str, path: &Path) -> Result<(), Error> {
        let refuse = |at: usize, why: &str| {
            let (line, column) = position(text, at);
            Error::new(Kind::Invalid, format!("understand {}:{line}:{column}", path.display())).because(why)
        };
        let table =
            DeTable::parse(text).map_err(|error| refuse(error.span().map_or(0, |span| span.start), error.message()))?;
        let mut waiting = vec![(String::new(), table.into_inner())];
        // By where they are; the first is told.
        let mut faults = BTreeMap::new();
        while let Some((prefix, table)) = waiting.pop() {
            for (key, value) in table {
                let name = format!("{prefix}{}", key.get_ref());
                let at = value.span().start;
                match value.into_inner() {
                    DeValue::Table(inner) if keys_below(&name).next().is_some() => {
                        waiting.push((format!("{name}."), inner));
                    }
                    _ if !Self::KEYS.contains(&name.as_str()) => {
                        faults.insert(key.span().start, unknown(&name));
                    }
                    value => {
                        let origin = Origin::File { path: path.to_owned(), line: position(text, key.span().start).0 };
                        if let Err(why) = self.set(&name, &value, origin) {
                            faults.insert(at, format!("`{name}`: {why}"));
                        }
                    }
                }
            }
        }
        faults.pop_first().map_or(Ok(()), |(at, why)| Err(refuse(at, &why)))
    }
}

/// Line and column, from 1, the column in characters.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.rfind('\n').map_or(before, |end| &before[end + 1..]);
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

/// The keys of the table `name`.
fn keys_below(name: &str) -> impl Iterator<Item = &'static str> {
    let name = name.to_owned();
    let below = move |key: &&str| key.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('.'));
    Config::KEYS.iter().copied().filter(below)
}

fn denied(error: &Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|source| source.kind() == io::ErrorKind::PermissionDenied)
}

fn unknown(key: &str) -> String {
    let below: Vec<_> = keys_below(key).collect();
    if !below.is_empty() {
        return format!("`{key}` is a table; its keys are {}", below.join(", "));
    }
    let tables = Config::KEYS.iter().filter_map(|key| Some(key.split_once('.')?.0));
    match nearest(key, Config::KEYS.iter().copied().chain(tables)) {
        Some(near) => format!("there is no key `{key}`; `{near}` is meant?"),
        None => format!("there is no key `{key}`; known are {}", Config::KEYS.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    use crate::error::chain;

    fn take(text: &str) -> Result<Config, String> {
        let mut config = Config::defaults(&|_| None);
        config.take(text, Path::new("/etc/jetpack.toml")).map_err(|error| chain(&error))?;
        Ok(config)
    }

    #[test]
    fn a_value_knows_its_file_and_line() {
        let config = take("# remark\npull = \"never\"\n\nimage-grace = \"2h\"\n").unwrap();
        assert_eq!((config.pull.value, config.pull.origin.to_string()), (Pull::Never, "/etc/jetpack.toml:2".into()));
        assert_eq!(config.image_grace.value, Duration::from_secs(7200));
        assert_eq!(config.image_grace.origin.to_string(), "/etc/jetpack.toml:4");
        assert_eq!(config.root.origin, Origin::Default);
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_name() {
        let error = take("pull = \"new\"\nimage-grase = \"2h\"\n").unwrap_err();
        assert_eq!(error, "understand /etc/jetpack.toml:2:1: there is no key `image-grase`; `image-grace` is meant?");
        assert!(take("colour = 1").unwrap_err().contains("known are root, pull"));
        assert!(take("[pull]\nx = 1").is_err());
        assert!(take("[freebds]\nbridge = \"x\"").unwrap_err().ends_with("`freebsd` is meant?"));
        assert!(take("freebsd = 3").unwrap_err().contains(":1:1: `freebsd` is a table; its keys are freebsd.network,"));
    }

    #[test]
    fn what_is_wrong_is_told_where_it_stands_the_first_of_several() {
        let error = take("# \u{e4}\nroot = \"/a\"\n\"pull\" =   'often'\nretries = -1\naaa = 1").unwrap_err();
        assert_eq!(error, "understand /etc/jetpack.toml:3:12: `pull`: `often` is none of never, new, update");
        let error = take("root = \"/a\"\nretries = 1 2\n").unwrap_err();
        assert!(error.starts_with("understand /etc/jetpack.toml:2:1"), "{error}");
        assert!(take("freebsd.bridge = 1").unwrap_err().contains(":1:18: `freebsd.bridge`: a string is due"));
    }

    #[test]
    fn a_value_of_another_type_or_form_is_refused() {
        for text in ["pull = 1", "pull = \"always\"", "root = \"relative\"", "image-grace = \"2 weeks\"", "root ="] {
            assert!(take(text).unwrap_err().starts_with("understand /etc/jetpack.toml:1"), "{text}");
        }
        for text in [
            "signatures = \"some\"",
            "retries = -1",
            "retries = 1.5",
            "retries = 5000000000",
            "private-redirects = 1",
            "system-trust-directories = \"/a\"",
            "system-trust-directories = [\"a\"]",
            "insecure = [\"tls\", \"everything\"]",
            "https-proxy = \"gopher://p:1\"",
            "cni-configurations = [\"/a\"]",
            "cni-plugins = \"/a\"",
            "freebsd.securelevel = 4",
            "freebsd.securelevel = 9",
            "freebsd.securelevel = 4294967295",
            "retries = 101",
            "idle-timeout = \"0s\"",
            "connect-timeout = \"18446744073709551615s\"",
            "stop-grace = \"40000d\"",
            "log-limit = 0",
            "transfer-limit = 9223372036854775808",
        ] {
            assert!(take(text).unwrap_err().starts_with("understand /etc/jetpack.toml:1"), "{text}");
        }
    }

    #[test]
    fn what_is_out_of_bounds_is_told_with_them() {
        let error = take("freebsd.securelevel = 9").unwrap_err();
        assert!(error.ends_with("`freebsd.securelevel`: 9 is out of range: 0 to 3 can be said here"), "{error}");
        let error = take("idle-timeout = \"2d\"").unwrap_err();
        assert!(error.ends_with("172800s is out of range: 1 to 86400 can be said here"), "{error}");
        assert_eq!(take("freebsd.securelevel = 3").unwrap().freebsd_securelevel.value, 3);
    }

    #[test]
    fn every_number_and_every_time_has_bounds_that_hold() {
        let mut measured = 0;
        for (key, bounds) in Config::bounds() {
            let say = |value: String| take(&format!("{key} = {value}")).map(drop);
            let number = |value: u64| say(value.to_string());
            let time = |value: u64| say(format!("\"{value}s\""));
            let reads = |said: Result<(), String>| said.map_or_else(|why| why.contains("out of range"), |()| true);
            // What takes any word takes a time for one.
            let words = say("\"word\"".to_owned()).is_ok();
            let say: &dyn Fn(u64) -> Result<(), String> = match () {
                () if !words && reads(number(1)) => &number,
                () if !words && reads(time(1)) => &time,
                () => continue,
            };
            let bounds = bounds.unwrap_or_else(|| panic!("{key} has no bounds"));
            let (least, most) = (*bounds.start(), *bounds.end());
            assert!(say(least).is_ok() && say(most).is_ok() && say(most + 1).is_err(), "{key}");
            assert!(least == 0 || say(least - 1).is_err(), "{key}");
            measured += 1;
        }
        assert_eq!(measured, Config::bounds().into_iter().filter(|(_, bounds)| bounds.is_some()).count());
    }

    #[test]
    fn lists_numbers_and_words_are_read() {
        let config = take("signatures = \"all\"\nretries = 7\nsystem-trust-directories = [\"/a\", \"/b\"]").unwrap();
        assert_eq!((config.signatures.value, config.retries.value), (Signatures::All, 7));
        assert_eq!(config.system_trust_directories.value, [Path::new("/a"), Path::new("/b")]);
    }

    #[test]
    fn variables_that_others_set_hold_against_files_and_passwords_are_not_shown() {
        let mut config =
            take("https-proxy = \"http://me:secret@p:1\"\nhttp-proxy = \"q:2\"\ninsecure = \"http\"").unwrap();
        config.take_environment(&|name| match name {
            "ALL_PROXY" => None,
            "HTTP_PROXY" => Some("r:3".to_owned()),
            "no_proxy" => Some("localhost, .corp".to_owned()),
            "CNI_PATH" => Some("/a:/b".to_owned()),
            _ => None,
        });
        let proxies = [("http_proxy", "r:3"), ("https_proxy", "http://me:secret@p:1"), ("no_proxy", "localhost,.corp")];
        assert_eq!(config.proxies(), proxies.map(|(name, value)| (name, value.to_owned())).into());
        assert_eq!(config.http_proxy.origin.to_string(), "$HTTP_PROXY");
        assert_eq!(config.insecure.value, [Protection::Http]);
        assert_eq!(config.cni_plugins.value, [Path::new("/a"), Path::new("/b")]);
        let shown: Vec<_> = config.facts().into_iter().map(|(key, value, ..)| (key, value)).collect();
        assert!(shown.contains(&("https-proxy", json!("http://***@p:1"))), "{shown:?}");
    }
}
