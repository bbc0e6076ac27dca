// Generated from the JSON Schemas under `schema/` by `cargo run -p schema-codegen`. Do not edit.
///An absolute path without `..` and without NUL.
#[derive(::serde::Serialize, Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[serde(transparent)]
pub struct AbsPath(::std::string::String);
impl ::std::ops::Deref for AbsPath {
    type Target = ::std::string::String;
    fn deref(&self) -> &::std::string::String {
        &self.0
    }
}
impl ::std::convert::From<AbsPath> for ::std::string::String {
    fn from(value: AbsPath) -> Self {
        value.0
    }
}
impl ::std::str::FromStr for AbsPath {
    type Err = self::error::ConversionError;
    fn from_str(
        value: &str,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        static PATTERN: ::std::sync::LazyLock<::regress::Regex> = ::std::sync::LazyLock::new(||
        { ::regress::Regex::new("^(?![\\s\\S]*/\\.\\.(/|$))/[^\\u0000]*$").unwrap() });
        if !crate::schema::text::fits_plainly("absPath", value) && PATTERN.find(value).is_none() {
            return Err(
                "doesn't match pattern \"^(?![\\s\\S]*/\\.\\.(/|$))/[^\\u0000]*$\""
                    .into(),
            );
        }
        Ok(Self(value.to_string()))
    }
}
impl ::std::convert::TryFrom<&str> for AbsPath {
    type Error = self::error::ConversionError;
    fn try_from(
        value: &str,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        value.parse()
    }
}
impl ::std::convert::TryFrom<::std::string::String> for AbsPath {
    type Error = self::error::ConversionError;
    fn try_from(
        value: ::std::string::String,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        value.parse()
    }
}
impl<'de> ::serde::Deserialize<'de> for AbsPath {
    fn deserialize<D>(deserializer: D) -> ::std::result::Result<Self, D::Error>
    where
        D: ::serde::Deserializer<'de>,
    {
        ::std::string::String::deserialize(deserializer)?
            .parse()
            .map_err(|e: self::error::ConversionError| {
                <D::Error as ::serde::de::Error>::custom(e.to_string())
            })
    }
}
///A name that can stand in a URL: lower-case letters and digits in words, the words joined by one of `-._~/`.
#[derive(::serde::Serialize, Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[serde(transparent)]
pub struct AcIdentifier(::std::string::String);
impl ::std::ops::Deref for AcIdentifier {
    type Target = ::std::string::String;
    fn deref(&self) -> &::std::string::String {
        &self.0
    }
}
impl ::std::convert::From<AcIdentifier> for ::std::string::String {
    fn from(value: AcIdentifier) -> Self {
        value.0
    }
}
impl ::std::str::FromStr for AcIdentifier {
    type Err = self::error::ConversionError;
    fn from_str(
        value: &str,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        static PATTERN: ::std::sync::LazyLock<::regress::Regex> = ::std::sync::LazyLock::new(||
        { ::regress::Regex::new("^[a-z0-9]+([-._~/][a-z0-9]+)*$").unwrap() });
        if !crate::schema::text::fits_plainly("acIdentifier", value) && PATTERN.find(value).is_none() {
            return Err(
                "doesn't match pattern \"^[a-z0-9]+([-._~/][a-z0-9]+)*$\"".into(),
            );
        }
        Ok(Self(value.to_string()))
    }
}
impl ::std::convert::TryFrom<&str> for AcIdentifier {
    type Error = self::error::ConversionError;
    fn try_from(
        value: &str,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        value.parse()
    }
}
impl ::std::convert::TryFrom<::std::string::String> for AcIdentifier {
    type Error = self::error::ConversionError;
    fn try_from(
        value: ::std::string::String,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        value.parse()
    }
}
impl<'de> ::serde::Deserialize<'de> for AcIdentifier {
    fn deserialize<D>(deserializer: D) -> ::std::result::Result<Self, D::Error>
    where
        D: ::serde::Deserializer<'de>,
    {
        ::std::string::String::deserialize(deserializer)?
            .parse()
            .map_err(|e: self::error::ConversionError| {
                <D::Error as ::serde::de::Error>::custom(e.to_string())
            })
    }
}
///A name that can be a host name: lower-case letters and digits in words, the words joined by one hyphen.
#[derive(::serde::Serialize, Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[serde(transparent)]
pub struct AcName(::std::string::String);
impl ::std::ops::Deref for AcName {
    type Target = ::std::string::String;
    fn deref(&self) -> &::std::string::String {
        &self.0
    }
}
impl ::std::convert::From<AcName> for ::std::string::String {
    fn from(value: AcName) -> Self {
        value.0
    }
}
impl ::std::str::FromStr for AcName {
    type Err = self::error::ConversionError;
    fn from_str(
        value: &str,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        static PATTERN: ::std::sync::LazyLock<::regress::Regex> = ::std::sync::LazyLock::new(||
        { ::regress::Regex::new("^[a-z0-9]+(-[a-z0-9]+)*$").unwrap() });
        if !crate::schema::text::fits_plainly("acName", value) && PATTERN.find(value).is_none() {
            return Err("doesn't match pattern \"^[a-z0-9]+(-[a-z0-9]+)*$\"".into());
        }
        Ok(Self(value.to_string()))
    }
}
impl ::std::convert::TryFrom<&str> for AcName {
    type Error = self::error::ConversionError;
    fn try_from(
        value: &str,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        value.parse()
    }
}
impl ::std::convert::TryFrom<::std::string::String> for AcName {
    type Error = self::error::ConversionError;
    fn try_from(
        value: ::std::string::String,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        value.parse()
    }
}
impl<'de> ::serde::Deserialize<'de> for AcName {
    fn deserialize<D>(deserializer: D) -> ::std::result::Result<Self, D::Error>
    where
        D: ::serde::Deserializer<'de>,
    {
        ::std::string::String::deserialize(deserializer)?
            .parse()
            .map_err(|e: self::error::ConversionError| {
                <D::Error as ::serde::de::Error>::custom(e.to_string())
            })
    }
}
///The version of the specification that a manifest follows, as SemVer 2.0.0.
#[derive(::serde::Serialize, Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[serde(transparent)]
pub struct AcVersion(::std::string::String);
impl ::std::ops::Deref for AcVersion {
    type Target = ::std::string::String;
    fn deref(&self) -> &::std::string::String {
        &self.0
    }
}
impl ::std::convert::From<AcVersion> for ::std::string::String {
    fn from(value: AcVersion) -> Self {
        value.0
    }
}
impl ::std::str::FromStr for AcVersion {
    type Err = self::error::ConversionError;
    fn from_str(
        value: &str,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        static PATTERN: ::std::sync::LazyLock<::regress::Regex> = ::std::sync::LazyLock::new(||
        {
            ::regress::Regex::new(
                    "^(0|[1-9][0-9]*)\\.(0|[1-9][0-9]*)\\.(0|[1-9][0-9]*)(-(0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)(\\.(0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*))*)?(\\+[0-9A-Za-z-]+(\\.[0-9A-Za-z-]+)*)?$",
                )
                .unwrap()
        });
        if !crate::schema::text::fits_plainly("acVersion", value) && PATTERN.find(value).is_none() {
            return Err(
                "doesn't match pattern \"^(0|[1-9][0-9]*)\\.(0|[1-9][0-9]*)\\.(0|[1-9][0-9]*)(-(0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)(\\.(0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*))*)?(\\+[0-9A-Za-z-]+(\\.[0-9A-Za-z-]+)*)?$\""
                    .into(),
            );
        }
        Ok(Self(value.to_string()))
    }
}
impl ::std::convert::TryFrom<&str> for AcVersion {
    type Error = self::error::ConversionError;
    fn try_from(
        value: &str,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        value.parse()
    }
}
impl ::std::convert::TryFrom<::std::string::String> for AcVersion {
    type Error = self::error::ConversionError;
    fn try_from(
        value: ::std::string::String,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        value.parse()
    }
}
impl<'de> ::serde::Deserialize<'de> for AcVersion {
    fn deserialize<D>(deserializer: D) -> ::std::result::Result<Self, D::Error>
    where
        D: ::serde::Deserializer<'de>,
    {
        ::std::string::String::deserialize(deserializer)?
            .parse()
            .map_err(|e: self::error::ConversionError| {
                <D::Error as ::serde::de::Error>::custom(e.to_string())
            })
    }
}
///One remark for tools and people, such as when an image was made.
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug, Eq, PartialEq)]
pub struct Annotation {
    ///What the annotation is called.
    pub name: AcIdentifier,
    ///What it says. `created` holds a timestamp, `homepage` and `documentation` an http or https URL, `appc.io/executor/supports-systemd-notify` `true` or `false`.
    pub value: ::std::string::String,
    #[serde(flatten)]
    pub extra: ::serde_json::Map<::std::string::String, ::serde_json::Value>,
}
///Annotations; no name stands twice.
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug, Eq, PartialEq)]
#[serde(transparent)]
pub struct Annotations(pub ::std::vec::Vec<Annotation>);
impl ::std::ops::Deref for Annotations {
    type Target = ::std::vec::Vec<Annotation>;
    fn deref(&self) -> &::std::vec::Vec<Annotation> {
        &self.0
    }
}
impl ::std::convert::From<Annotations> for ::std::vec::Vec<Annotation> {
    fn from(value: Annotations) -> Self {
        value.0
    }
}
impl ::std::convert::From<::std::vec::Vec<Annotation>> for Annotations {
    fn from(value: ::std::vec::Vec<Annotation>) -> Self {
        Self(value)
    }
}
///How an app is run: as whom, with which arguments, environment, mounts, ports and limits.
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug, Eq, PartialEq)]
pub struct App {
    ///Environment variables; no name stands twice.
    #[serde(default, skip_serializing_if = "::std::vec::Vec::is_empty")]
    pub environment: ::std::vec::Vec<EnvironmentVariable>,
    ///Programs to run before and after the main one; one of a name.
    #[serde(
        rename = "eventHandlers",
        default,
        skip_serializing_if = "::std::vec::Vec::is_empty"
    )]
    pub event_handlers: ::std::vec::Vec<EventHandler>,
    ///The program and its arguments, word by word.
    #[serde(default, skip_serializing_if = "::std::vec::Vec::is_empty")]
    pub exec: ::std::vec::Vec<::std::string::String>,
    ///The group the app runs as: a name in the image, a number, or a path whose group counts.
    pub group: NonEmptyString,
    ///What the app is granted and denied.
    #[serde(default, skip_serializing_if = "::std::vec::Vec::is_empty")]
    pub isolators: ::std::vec::Vec<crate::schema::isolator::Isolator>,
    ///Places that the app wants volumes at.
    #[serde(
        rename = "mountPoints",
        default,
        skip_serializing_if = "::std::vec::Vec::is_empty"
    )]
    pub mount_points: ::std::vec::Vec<MountPoint>,
    ///Ports that the app listens on.
    #[serde(default, skip_serializing_if = "::std::vec::Vec::is_empty")]
    pub ports: ::std::vec::Vec<Port>,
    ///Further groups of the app's processes.
    #[serde(
        rename = "supplementaryGIDs",
        default,
        skip_serializing_if = "::std::vec::Vec::is_empty"
    )]
    pub supplementary_gids: ::std::vec::Vec<u32>,
    ///Whom the app runs as: a name in the image, a number, or a path whose owner counts.
    pub user: NonEmptyString,
    ///Remarks of the user's own; executors do not act on them.
    #[serde(
        rename = "userAnnotations",
        skip_serializing_if = "::std::option::Option::is_none"
    )]
    pub user_annotations: ::std::option::Option<StringMap>,
    ///Labels of the user's own; executors do not act on them.
    #[serde(
        rename = "userLabels",
        skip_serializing_if = "::std::option::Option::is_none"
    )]
    pub user_labels: ::std::option::Option<StringMap>,
    ///Where the app starts, inside its root file system.
    #[serde(rename = "workingDirectory", default = "defaults::app_working_directory")]
    pub working_directory: AbsPath,
    #[serde(flatten)]
    pub extra: ::serde_json::Map<::std::string::String, ::serde_json::Value>,
}
///An AppArmor profile of the host by name.
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug, Eq, PartialEq)]
pub struct ApparmorProfile {
    ///The profile's name.
    pub profile: NonEmptyString,
    #[serde(flatten)]
    pub extra: ::serde_json::Map<::std::string::String, ::serde_json::Value>,
}
///The name of a Linux capability.
#[derive(::serde::Serialize, Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[serde(transparent)]
pub struct Capability(::std::string::String);
impl ::std::ops::Deref for Capability {
    type Target = ::std::string::String;
    fn deref(&self) -> &::std::string::String {
        &self.0
    }
}
impl ::std::convert::From<Capability> for ::std::string::String {
    fn from(value: Capability) -> Self {
        value.0
    }
}
impl ::std::str::FromStr for Capability {
    type Err = self::error::ConversionError;
    fn from_str(
        value: &str,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        static PATTERN: ::std::sync::LazyLock<::regress::Regex> = ::std::sync::LazyLock::new(||
        { ::regress::Regex::new("^CAP_[A-Z_]+$").unwrap() });
        if !crate::schema::text::fits_plainly("capability", value) && PATTERN.find(value).is_none() {
            return Err("doesn't match pattern \"^CAP_[A-Z_]+$\"".into());
        }
        Ok(Self(value.to_string()))
    }
}
impl ::std::convert::TryFrom<&str> for Capability {
    type Error = self::error::ConversionError;
    fn try_from(
        value: &str,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        value.parse()
    }
}
impl ::std::convert::TryFrom<::std::string::String> for Capability {
    type Error = self::error::ConversionError;
    fn try_from(
        value: ::std::string::String,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        value.parse()
    }
}
impl<'de> ::serde::Deserialize<'de> for Capability {
    fn deserialize<D>(deserializer: D) -> ::std::result::Result<Self, D::Error>
    where
        D: ::serde::Deserializer<'de>,
    {
        ::std::string::String::deserialize(deserializer)?
            .parse()
            .map_err(|e: self::error::ConversionError| {
                <D::Error as ::serde::de::Error>::custom(e.to_string())
            })
    }
}
///Linux capabilities by name.
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug, Eq, PartialEq)]
pub struct CapabilitySet {
    ///The capabilities.
    pub set: ::std::vec::Vec<Capability>,
    #[serde(flatten)]
    pub extra: ::serde_json::Map<::std::string::String, ::serde_json::Value>,
}
///An image that another one is built upon.
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug, Eq, PartialEq)]
pub struct Dependency {
    ///Which image it must be.
    #[serde(rename = "imageID", skip_serializing_if = "::std::option::Option::is_none")]
    pub image_id: ::std::option::Option<ImageId>,
    ///What the image is called.
    #[serde(rename = "imageName")]
    pub image_name: AcIdentifier,
    ///What the image's labels must say.
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub labels: ::std::option::Option<Labels>,
    ///How many bytes it has as transferred.
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub size: ::std::option::Option<u64>,
    #[serde(flatten)]
    pub extra: ::serde_json::Map<::std::string::String, ::serde_json::Value>,
}
///How much is allowed on all devices or interfaces.
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug, Eq, PartialEq)]
pub struct DeviceLimit {
    ///Says that it holds for every device; always true.
    pub default: bool,
    ///What is allowed.
    pub limit: crate::schema::quantity::Quantity,
    #[serde(flatten)]
    pub extra: ::serde_json::Map<::std::string::String, ::serde_json::Value>,
}
///The name of an environment variable.
#[derive(::serde::Serialize, Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[serde(transparent)]
pub struct EnvName(::std::string::String);
impl ::std::ops::Deref for EnvName {
    type Target = ::std::string::String;
    fn deref(&self) -> &::std::string::String {
        &self.0
    }
}
impl ::std::convert::From<EnvName> for ::std::string::String {
    fn from(value: EnvName) -> Self {
        value.0
    }
}
impl ::std::str::FromStr for EnvName {
    type Err = self::error::ConversionError;
    fn from_str(
        value: &str,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        static PATTERN: ::std::sync::LazyLock<::regress::Regex> = ::std::sync::LazyLock::new(||
        { ::regress::Regex::new("^[A-Za-z_][A-Za-z0-9_.-]*$").unwrap() });
        if !crate::schema::text::fits_plainly("envName", value) && PATTERN.find(value).is_none() {
            return Err("doesn't match pattern \"^[A-Za-z_][A-Za-z0-9_.-]*$\"".into());
        }
        Ok(Self(value.to_string()))
    }
}
impl ::std::convert::TryFrom<&str> for EnvName {
    type Error = self::error::ConversionError;
    fn try_from(
        value: &str,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        value.parse()
    }
}
impl ::std::convert::TryFrom<::std::string::String> for EnvName {
    type Error = self::error::ConversionError;
    fn try_from(
        value: ::std::string::String,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        value.parse()
    }
}
impl<'de> ::serde::Deserialize<'de> for EnvName {
    fn deserialize<D>(deserializer: D) -> ::std::result::Result<Self, D::Error>
    where
        D: ::serde::Deserializer<'de>,
    {
        ::std::string::String::deserialize(deserializer)?
            .parse()
            .map_err(|e: self::error::ConversionError| {
                <D::Error as ::serde::de::Error>::custom(e.to_string())
            })
    }
}
///One environment variable.
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug, Eq, PartialEq)]
pub struct EnvironmentVariable {
    ///What the variable is called.
    pub name: EnvName,
    ///Its value, taken literally.
    pub value: ::std::string::String,
    #[serde(flatten)]
    pub extra: ::serde_json::Map<::std::string::String, ::serde_json::Value>,
}
///The name of an error code, or nothing.
#[derive(::serde::Serialize, Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[serde(transparent)]
pub struct Errno(::std::string::String);
impl ::std::ops::Deref for Errno {
    type Target = ::std::string::String;
    fn deref(&self) -> &::std::string::String {
        &self.0
    }
}
impl ::std::convert::From<Errno> for ::std::string::String {
    fn from(value: Errno) -> Self {
        value.0
    }
}
impl ::std::str::FromStr for Errno {
    type Err = self::error::ConversionError;
    fn from_str(
        value: &str,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        static PATTERN: ::std::sync::LazyLock<::regress::Regex> = ::std::sync::LazyLock::new(||
        { ::regress::Regex::new("^(E[A-Z0-9]+)?$").unwrap() });
        if !crate::schema::text::fits_plainly("errno", value) && PATTERN.find(value).is_none() {
            return Err("doesn't match pattern \"^(E[A-Z0-9]+)?$\"".into());
        }
        Ok(Self(value.to_string()))
    }
}
impl ::std::convert::TryFrom<&str> for Errno {
    type Error = self::error::ConversionError;
    fn try_from(
        value: &str,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        value.parse()
    }
}
impl ::std::convert::TryFrom<::std::string::String> for Errno {
    type Error = self::error::ConversionError;
    fn try_from(
        value: ::std::string::String,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        value.parse()
    }
}
impl<'de> ::serde::Deserialize<'de> for Errno {
    fn deserialize<D>(deserializer: D) -> ::std::result::Result<Self, D::Error>
    where
        D: ::serde::Deserializer<'de>,
    {
        ::std::string::String::deserialize(deserializer)?
            .parse()
            .map_err(|e: self::error::ConversionError| {
                <D::Error as ::serde::de::Error>::custom(e.to_string())
            })
    }
}
///A program that is run at a moment of an app's life.
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug, Eq, PartialEq)]
pub struct EventHandler {
    ///The program and its arguments, word by word.
    pub exec: ::std::vec::Vec<::std::string::String>,
    ///The moment.
    pub name: EventHandlerName,
    #[serde(flatten)]
    pub extra: ::serde_json::Map<::std::string::String, ::serde_json::Value>,
}
///When a handler runs: before the main program starts, or after it has ended.
#[derive(
    ::serde::Deserialize,
    ::serde::Serialize,
    Clone,
    Copy,
    Debug,
    Eq,
    Hash,
    Ord,
    PartialEq,
    PartialOrd
)]
pub enum EventHandlerName {
    #[serde(rename = "pre-start")]
    PreStart,
    #[serde(rename = "post-stop")]
    PostStop,
}
impl ::std::fmt::Display for EventHandlerName {
    fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
        match *self {
            Self::PreStart => f.write_str("pre-start"),
            Self::PostStop => f.write_str("post-stop"),
        }
    }
}
impl ::std::str::FromStr for EventHandlerName {
    type Err = self::error::ConversionError;
    fn from_str(
        value: &str,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        match value {
            "pre-start" => Ok(Self::PreStart),
            "post-stop" => Ok(Self::PostStop),
            _ => Err("invalid value".into()),
        }
    }
}
impl ::std::convert::TryFrom<&str> for EventHandlerName {
    type Error = self::error::ConversionError;
    fn try_from(
        value: &str,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        value.parse()
    }
}
impl ::std::convert::TryFrom<::std::string::String> for EventHandlerName {
    type Error = self::error::ConversionError;
    fn try_from(
        value: ::std::string::String,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        value.parse()
    }
}
///A port of an app that is reachable on the host.
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug, Eq, PartialEq)]
pub struct ExposedPort {
    ///The host address it is reachable at; all of them unless given.
    #[serde(rename = "hostIP", skip_serializing_if = "::std::option::Option::is_none")]
    pub host_ip: ::std::option::Option<Ipv4>,
    ///The (first) number on the host.
    #[serde(rename = "hostPort")]
    pub host_port: PortNumber,
    ///The app port's name.
    pub name: AcName,
    ///What the port is inside the pod, in place of what images say.
    #[serde(rename = "podPort", skip_serializing_if = "::std::option::Option::is_none")]
    pub pod_port: ::std::option::Option<Port>,
    #[serde(flatten)]
    pub extra: ::serde_json::Map<::std::string::String, ::serde_json::Value>,
}
///What an image is known by: the SHA-512 of its uncompressed archive in lower-case hex, after `sha512-`.
#[derive(::serde::Serialize, Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[serde(transparent)]
pub struct ImageId(::std::string::String);
impl ::std::ops::Deref for ImageId {
    type Target = ::std::string::String;
    fn deref(&self) -> &::std::string::String {
        &self.0
    }
}
impl ::std::convert::From<ImageId> for ::std::string::String {
    fn from(value: ImageId) -> Self {
        value.0
    }
}
impl ::std::str::FromStr for ImageId {
    type Err = self::error::ConversionError;
    fn from_str(
        value: &str,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        static PATTERN: ::std::sync::LazyLock<::regress::Regex> = ::std::sync::LazyLock::new(||
        { ::regress::Regex::new("^sha512-[0-9a-f]{128}$").unwrap() });
        if !crate::schema::text::fits_plainly("imageId", value) && PATTERN.find(value).is_none() {
            return Err("doesn't match pattern \"^sha512-[0-9a-f]{128}$\"".into());
        }
        Ok(Self(value.to_string()))
    }
}
impl ::std::convert::TryFrom<&str> for ImageId {
    type Error = self::error::ConversionError;
    fn try_from(
        value: &str,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        value.parse()
    }
}
impl ::std::convert::TryFrom<::std::string::String> for ImageId {
    type Error = self::error::ConversionError;
    fn try_from(
        value: ::std::string::String,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        value.parse()
    }
}
impl<'de> ::serde::Deserialize<'de> for ImageId {
    fn deserialize<D>(deserializer: D) -> ::std::result::Result<Self, D::Error>
    where
        D: ::serde::Deserializer<'de>,
    {
        ::std::string::String::deserialize(deserializer)?
            .parse()
            .map_err(|e: self::error::ConversionError| {
                <D::Error as ::serde::de::Error>::custom(e.to_string())
            })
    }
}
///What an image is, what it is made of and how the app in it is run.
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug, Eq, PartialEq)]
pub struct ImageManifest {
    ///Says that this is an image manifest.
    #[serde(rename = "acKind")]
    pub ac_kind: ImageManifestKind,
    ///The version of the specification that the manifest follows.
    #[serde(rename = "acVersion")]
    pub ac_version: AcVersion,
    ///Remarks for tools and people.
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub annotations: ::std::option::Option<Annotations>,
    ///How the app is run; an image without it serves as a dependency.
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub app: ::std::option::Option<App>,
    ///Images laid down before this one, in this order.
    #[serde(default, skip_serializing_if = "::std::vec::Vec::is_empty")]
    pub dependencies: ::std::vec::Vec<Dependency>,
    ///What tells it from other images of its name.
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub labels: ::std::option::Option<Labels>,
    ///What the image is called; the start of discovery.
    pub name: AcIdentifier,
    ///All paths of the final root file system; without entries everything stays.
    #[serde(
        rename = "pathWhitelist",
        default,
        skip_serializing_if = "::std::vec::Vec::is_empty"
    )]
    pub path_whitelist: ::std::vec::Vec<AbsPath>,
    #[serde(flatten)]
    pub extra: ::serde_json::Map<::std::string::String, ::serde_json::Value>,
}
///The kind of an image manifest.
#[derive(
    ::serde::Deserialize,
    ::serde::Serialize,
    Clone,
    Copy,
    Debug,
    Eq,
    Hash,
    Ord,
    PartialEq,
    PartialOrd
)]
pub enum ImageManifestKind {
    ImageManifest,
}
impl ::std::fmt::Display for ImageManifestKind {
    fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
        match *self {
            Self::ImageManifest => f.write_str("ImageManifest"),
        }
    }
}
impl ::std::str::FromStr for ImageManifestKind {
    type Err = self::error::ConversionError;
    fn from_str(
        value: &str,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        match value {
            "ImageManifest" => Ok(Self::ImageManifest),
            _ => Err("invalid value".into()),
        }
    }
}
impl ::std::convert::TryFrom<&str> for ImageManifestKind {
    type Error = self::error::ConversionError;
    fn try_from(
        value: &str,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        value.parse()
    }
}
impl ::std::convert::TryFrom<::std::string::String> for ImageManifestKind {
    type Error = self::error::ConversionError;
    fn try_from(
        value: ::std::string::String,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        value.parse()
    }
}
///An IPv4 address as four decimal numbers.
#[derive(::serde::Serialize, Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[serde(transparent)]
pub struct Ipv4(::std::string::String);
impl ::std::ops::Deref for Ipv4 {
    type Target = ::std::string::String;
    fn deref(&self) -> &::std::string::String {
        &self.0
    }
}
impl ::std::convert::From<Ipv4> for ::std::string::String {
    fn from(value: Ipv4) -> Self {
        value.0
    }
}
impl ::std::str::FromStr for Ipv4 {
    type Err = self::error::ConversionError;
    fn from_str(
        value: &str,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        static PATTERN: ::std::sync::LazyLock<::regress::Regex> = ::std::sync::LazyLock::new(||
        {
            ::regress::Regex::new(
                    "^((25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])\\.){3}(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])$",
                )
                .unwrap()
        });
        if !crate::schema::text::fits_plainly("ipv4", value) && PATTERN.find(value).is_none() {
            return Err(
                "doesn't match pattern \"^((25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])\\.){3}(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])$\""
                    .into(),
            );
        }
        Ok(Self(value.to_string()))
    }
}
impl ::std::convert::TryFrom<&str> for Ipv4 {
    type Error = self::error::ConversionError;
    fn try_from(
        value: &str,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        value.parse()
    }
}
impl ::std::convert::TryFrom<::std::string::String> for Ipv4 {
    type Error = self::error::ConversionError;
    fn try_from(
        value: ::std::string::String,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        value.parse()
    }
}
impl<'de> ::serde::Deserialize<'de> for Ipv4 {
    fn deserialize<D>(deserializer: D) -> ::std::result::Result<Self, D::Error>
    where
        D: ::serde::Deserializer<'de>,
    {
        ::std::string::String::deserialize(deserializer)?
            .parse()
            .map_err(|e: self::error::ConversionError| {
                <D::Error as ::serde::de::Error>::custom(e.to_string())
            })
    }
}
///One fact that tells images of a name apart, such as its version, os or arch.
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug, Eq, PartialEq)]
pub struct Label {
    ///What the label is called; never `name`.
    pub name: AcIdentifier,
    ///What it says; any string.
    pub value: ::std::string::String,
    #[serde(flatten)]
    pub extra: ::serde_json::Map<::std::string::String, ::serde_json::Value>,
}
///Labels; no name stands twice.
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug, Eq, PartialEq)]
#[serde(transparent)]
pub struct Labels(pub ::std::vec::Vec<Label>);
impl ::std::ops::Deref for Labels {
    type Target = ::std::vec::Vec<Label>;
    fn deref(&self) -> &::std::vec::Vec<Label> {
        &self.0
    }
}
impl ::std::convert::From<Labels> for ::std::vec::Vec<Label> {
    fn from(value: Labels) -> Self {
        value.0
    }
}
impl ::std::convert::From<::std::vec::Vec<Label>> for Labels {
    fn from(value: ::std::vec::Vec<Label>) -> Self {
        Self(value)
    }
}
///A volume at a path of an app.
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug, Eq, PartialEq)]
pub struct Mount {
    ///A volume of this app alone, in place of the pod's of that name.
    #[serde(
        rename = "appVolume",
        skip_serializing_if = "::std::option::Option::is_none"
    )]
    pub app_volume: ::std::option::Option<Volume>,
    ///Where it stands in the app's root file system.
    pub path: AbsPath,
    ///The volume's name.
    pub volume: AcName,
    #[serde(flatten)]
    pub extra: ::serde_json::Map<::std::string::String, ::serde_json::Value>,
}
///A place that an app wants a volume at.
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug, Eq, PartialEq)]
pub struct MountPoint {
    ///What the place is called.
    pub name: AcName,
    ///Where it is inside the root file system.
    pub path: AbsPath,
    ///Whether the app only reads there.
    #[serde(rename = "readOnly", default)]
    pub read_only: bool,
    #[serde(flatten)]
    pub extra: ::serde_json::Map<::std::string::String, ::serde_json::Value>,
}
///A string of at least one character.
#[derive(::serde::Serialize, Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[serde(transparent)]
pub struct NonEmptyString(::std::string::String);
impl ::std::ops::Deref for NonEmptyString {
    type Target = ::std::string::String;
    fn deref(&self) -> &::std::string::String {
        &self.0
    }
}
impl ::std::convert::From<NonEmptyString> for ::std::string::String {
    fn from(value: NonEmptyString) -> Self {
        value.0
    }
}
impl ::std::str::FromStr for NonEmptyString {
    type Err = self::error::ConversionError;
    fn from_str(
        value: &str,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        if value.chars().count() < 1usize {
            return Err("shorter than 1 characters".into());
        }
        Ok(Self(value.to_string()))
    }
}
impl ::std::convert::TryFrom<&str> for NonEmptyString {
    type Error = self::error::ConversionError;
    fn try_from(
        value: &str,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        value.parse()
    }
}
impl ::std::convert::TryFrom<::std::string::String> for NonEmptyString {
    type Error = self::error::ConversionError;
    fn try_from(
        value: ::std::string::String,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        value.parse()
    }
}
impl<'de> ::serde::Deserialize<'de> for NonEmptyString {
    fn deserialize<D>(deserializer: D) -> ::std::result::Result<Self, D::Error>
    where
        D: ::serde::Deserializer<'de>,
    {
        ::std::string::String::deserialize(deserializer)?
            .parse()
            .map_err(|e: self::error::ConversionError| {
                <D::Error as ::serde::de::Error>::custom(e.to_string())
            })
    }
}
///Permission bits in three or four octal digits.
#[derive(::serde::Serialize, Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[serde(transparent)]
pub struct OctalMode(::std::string::String);
impl ::std::ops::Deref for OctalMode {
    type Target = ::std::string::String;
    fn deref(&self) -> &::std::string::String {
        &self.0
    }
}
impl ::std::convert::From<OctalMode> for ::std::string::String {
    fn from(value: OctalMode) -> Self {
        value.0
    }
}
impl ::std::str::FromStr for OctalMode {
    type Err = self::error::ConversionError;
    fn from_str(
        value: &str,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        static PATTERN: ::std::sync::LazyLock<::regress::Regex> = ::std::sync::LazyLock::new(||
        { ::regress::Regex::new("^[0-7]{3,4}$").unwrap() });
        if !crate::schema::text::fits_plainly("octalMode", value) && PATTERN.find(value).is_none() {
            return Err("doesn't match pattern \"^[0-7]{3,4}$\"".into());
        }
        Ok(Self(value.to_string()))
    }
}
impl ::std::convert::TryFrom<&str> for OctalMode {
    type Error = self::error::ConversionError;
    fn try_from(
        value: &str,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        value.parse()
    }
}
impl ::std::convert::TryFrom<::std::string::String> for OctalMode {
    type Error = self::error::ConversionError;
    fn try_from(
        value: ::std::string::String,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        value.parse()
    }
}
impl<'de> ::serde::Deserialize<'de> for OctalMode {
    fn deserialize<D>(deserializer: D) -> ::std::result::Result<Self, D::Error>
    where
        D: ::serde::Deserializer<'de>,
    {
        ::std::string::String::deserialize(deserializer)?
            .parse()
            .map_err(|e: self::error::ConversionError| {
                <D::Error as ::serde::de::Error>::custom(e.to_string())
            })
    }
}
///An app in a pod: an image, and what the pod says about running it.
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug, Eq, PartialEq)]
pub struct PodApp {
    ///Remarks that override the image's.
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub annotations: ::std::option::Option<Annotations>,
    ///How it is run; stands for the image's own app as a whole.
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub app: ::std::option::Option<App>,
    ///What it runs on.
    pub image: PodImage,
    ///Which volume stands at which path.
    #[serde(default, skip_serializing_if = "::std::vec::Vec::is_empty")]
    pub mounts: ::std::vec::Vec<Mount>,
    ///What the app is called in the pod.
    pub name: AcName,
    ///Whether the root file system is read-only.
    #[serde(rename = "readOnlyRootFS", default)]
    pub read_only_root_fs: bool,
    #[serde(flatten)]
    pub extra: ::serde_json::Map<::std::string::String, ::serde_json::Value>,
}
///Which image an app runs on.
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug, Eq, PartialEq)]
pub struct PodImage {
    ///The image itself; a reified pod has it.
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub id: ::std::option::Option<ImageId>,
    ///What its labels say.
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub labels: ::std::option::Option<Labels>,
    ///What it is called.
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub name: ::std::option::Option<AcIdentifier>,
    #[serde(flatten)]
    pub extra: ::serde_json::Map<::std::string::String, ::serde_json::Value>,
}
///Which apps run together, on which images, with which volumes, ports and limits.
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug, Eq, PartialEq)]
pub struct PodManifest {
    ///Says that this is a pod manifest.
    #[serde(rename = "acKind")]
    pub ac_kind: PodManifestKind,
    ///The version of the specification that the manifest follows.
    #[serde(rename = "acVersion")]
    pub ac_version: AcVersion,
    ///Remarks, told by the metadata service.
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub annotations: ::std::option::Option<Annotations>,
    ///The apps of the pod, each of its own name.
    pub apps: ::std::vec::Vec<PodApp>,
    ///What the pod as a whole is granted and denied.
    #[serde(default, skip_serializing_if = "::std::vec::Vec::is_empty")]
    pub isolators: ::std::vec::Vec<crate::schema::isolator::Isolator>,
    ///App ports that are reachable from outside, by host port.
    #[serde(default, skip_serializing_if = "::std::vec::Vec::is_empty")]
    pub ports: ::std::vec::Vec<ExposedPort>,
    ///Remarks of the user's own; executors do not act on them.
    #[serde(
        rename = "userAnnotations",
        skip_serializing_if = "::std::option::Option::is_none"
    )]
    pub user_annotations: ::std::option::Option<StringMap>,
    ///Labels of the user's own; executors do not act on them.
    #[serde(
        rename = "userLabels",
        skip_serializing_if = "::std::option::Option::is_none"
    )]
    pub user_labels: ::std::option::Option<StringMap>,
    ///What the apps can mount, each of its own name.
    #[serde(default, skip_serializing_if = "::std::vec::Vec::is_empty")]
    pub volumes: ::std::vec::Vec<Volume>,
    #[serde(flatten)]
    pub extra: ::serde_json::Map<::std::string::String, ::serde_json::Value>,
}
///The kind of a pod manifest.
#[derive(
    ::serde::Deserialize,
    ::serde::Serialize,
    Clone,
    Copy,
    Debug,
    Eq,
    Hash,
    Ord,
    PartialEq,
    PartialOrd
)]
pub enum PodManifestKind {
    PodManifest,
}
impl ::std::fmt::Display for PodManifestKind {
    fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
        match *self {
            Self::PodManifest => f.write_str("PodManifest"),
        }
    }
}
impl ::std::str::FromStr for PodManifestKind {
    type Err = self::error::ConversionError;
    fn from_str(
        value: &str,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        match value {
            "PodManifest" => Ok(Self::PodManifest),
            _ => Err("invalid value".into()),
        }
    }
}
impl ::std::convert::TryFrom<&str> for PodManifestKind {
    type Error = self::error::ConversionError;
    fn try_from(
        value: &str,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        value.parse()
    }
}
impl ::std::convert::TryFrom<::std::string::String> for PodManifestKind {
    type Error = self::error::ConversionError;
    fn try_from(
        value: ::std::string::String,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        value.parse()
    }
}
///A port, or a range of ports, that an app listens on.
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug, Eq, PartialEq)]
pub struct Port {
    ///How many numbers from there on.
    #[serde(default = "defaults::default_nzu64::<::std::num::NonZeroU64, 1>")]
    pub count: ::std::num::NonZeroU64,
    ///What the port is called.
    pub name: AcName,
    ///The (first) number.
    pub port: PortNumber,
    ///The protocol on it, such as tcp or udp.
    pub protocol: NonEmptyString,
    ///Whether the executor listens and hands the sockets over.
    #[serde(rename = "socketActivated", default)]
    pub socket_activated: bool,
    #[serde(flatten)]
    pub extra: ::serde_json::Map<::std::string::String, ::serde_json::Value>,
}
///The number of a port, 1 to 65535.
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug, Eq, PartialEq)]
#[serde(transparent)]
pub struct PortNumber(pub ::std::num::NonZeroU16);
impl ::std::ops::Deref for PortNumber {
    type Target = ::std::num::NonZeroU16;
    fn deref(&self) -> &::std::num::NonZeroU16 {
        &self.0
    }
}
impl ::std::convert::From<PortNumber> for ::std::num::NonZeroU16 {
    fn from(value: PortNumber) -> Self {
        value.0
    }
}
impl ::std::convert::From<::std::num::NonZeroU16> for PortNumber {
    fn from(value: ::std::num::NonZeroU16) -> Self {
        Self(value)
    }
}
impl ::std::fmt::Display for PortNumber {
    fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
        self.0.fmt(f)
    }
}
impl ::std::str::FromStr for PortNumber {
    type Err = <::std::num::NonZeroU16 as ::std::str::FromStr>::Err;
    fn from_str(value: &str) -> ::std::result::Result<Self, Self::Err> {
        Ok(Self(value.parse()?))
    }
}
impl ::std::convert::TryFrom<&str> for PortNumber {
    type Error = <::std::num::NonZeroU16 as ::std::str::FromStr>::Err;
    fn try_from(value: &str) -> ::std::result::Result<Self, Self::Error> {
        value.parse()
    }
}
impl ::std::convert::TryFrom<String> for PortNumber {
    type Error = <::std::num::NonZeroU16 as ::std::str::FromStr>::Err;
    fn try_from(value: String) -> ::std::result::Result<Self, Self::Error> {
        value.parse()
    }
}
///How much is guaranteed and how much is allowed; at least one of them.
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug, Eq, PartialEq)]
pub struct Resource {
    ///What is allowed; without it there is no limit.
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub limit: ::std::option::Option<crate::schema::quantity::Quantity>,
    ///What is guaranteed; the limit unless given.
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub request: ::std::option::Option<crate::schema::quantity::Quantity>,
    #[serde(flatten)]
    pub extra: ::serde_json::Map<::std::string::String, ::serde_json::Value>,
}
///System calls by name, or sets of them as `@scope/name`, and what a blocked call gives.
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug, Eq, PartialEq)]
pub struct SeccompSet {
    ///What a blocked call fails with; killed by SIGSYS when it is absent or empty.
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub errno: ::std::option::Option<Errno>,
    ///The system calls and sets.
    pub set: ::std::vec::Vec<NonEmptyString>,
    #[serde(flatten)]
    pub extra: ::serde_json::Map<::std::string::String, ::serde_json::Value>,
}
///The parts of an SELinux context.
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug, Eq, PartialEq)]
pub struct SelinuxContext {
    ///The sensitivity and categories.
    pub level: NonEmptyString,
    ///The SELinux role.
    pub role: SelinuxPart,
    ///The SELinux type.
    #[serde(rename = "type")]
    pub type_: SelinuxPart,
    ///The SELinux user.
    pub user: SelinuxPart,
    #[serde(flatten)]
    pub extra: ::serde_json::Map<::std::string::String, ::serde_json::Value>,
}
///A part of an SELinux context without a colon.
#[derive(::serde::Serialize, Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[serde(transparent)]
pub struct SelinuxPart(::std::string::String);
impl ::std::ops::Deref for SelinuxPart {
    type Target = ::std::string::String;
    fn deref(&self) -> &::std::string::String {
        &self.0
    }
}
impl ::std::convert::From<SelinuxPart> for ::std::string::String {
    fn from(value: SelinuxPart) -> Self {
        value.0
    }
}
impl ::std::str::FromStr for SelinuxPart {
    type Err = self::error::ConversionError;
    fn from_str(
        value: &str,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        static PATTERN: ::std::sync::LazyLock<::regress::Regex> = ::std::sync::LazyLock::new(||
        { ::regress::Regex::new("^[^:]+$").unwrap() });
        if !crate::schema::text::fits_plainly("selinuxPart", value) && PATTERN.find(value).is_none() {
            return Err("doesn't match pattern \"^[^:]+$\"".into());
        }
        Ok(Self(value.to_string()))
    }
}
impl ::std::convert::TryFrom<&str> for SelinuxPart {
    type Error = self::error::ConversionError;
    fn try_from(
        value: &str,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        value.parse()
    }
}
impl ::std::convert::TryFrom<::std::string::String> for SelinuxPart {
    type Error = self::error::ConversionError;
    fn try_from(
        value: ::std::string::String,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        value.parse()
    }
}
impl<'de> ::serde::Deserialize<'de> for SelinuxPart {
    fn deserialize<D>(deserializer: D) -> ::std::result::Result<Self, D::Error>
    where
        D: ::serde::Deserializer<'de>,
    {
        ::std::string::String::deserialize(deserializer)?
            .parse()
            .map_err(|e: self::error::ConversionError| {
                <D::Error as ::serde::de::Error>::custom(e.to_string())
            })
    }
}
///Strings by name; the names are free.
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug, Eq, PartialEq)]
#[serde(transparent)]
pub struct StringMap(
    pub ::std::collections::BTreeMap<::std::string::String, ::std::string::String>,
);
impl ::std::ops::Deref for StringMap {
    type Target = ::std::collections::BTreeMap<
        ::std::string::String,
        ::std::string::String,
    >;
    fn deref(
        &self,
    ) -> &::std::collections::BTreeMap<::std::string::String, ::std::string::String> {
        &self.0
    }
}
impl ::std::convert::From<StringMap>
for ::std::collections::BTreeMap<::std::string::String, ::std::string::String> {
    fn from(value: StringMap) -> Self {
        value.0
    }
}
impl ::std::convert::From<
    ::std::collections::BTreeMap<::std::string::String, ::std::string::String>,
> for StringMap {
    fn from(
        value: ::std::collections::BTreeMap<::std::string::String, ::std::string::String>,
    ) -> Self {
        Self(value)
    }
}
///Kernel parameters of the pod by name.
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug, Eq, PartialEq)]
#[serde(transparent)]
pub struct Sysctl(pub StringMap);
impl ::std::ops::Deref for Sysctl {
    type Target = StringMap;
    fn deref(&self) -> &StringMap {
        &self.0
    }
}
impl ::std::convert::From<Sysctl> for StringMap {
    fn from(value: Sysctl) -> Self {
        value.0
    }
}
impl ::std::convert::From<StringMap> for Sysctl {
    fn from(value: StringMap) -> Self {
        Self(value)
    }
}
///Files that outlive an app or are shared between apps.
#[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug, Eq, PartialEq)]
pub struct Volume {
    ///Group of the fresh directory, 0 unless given. For empty volumes.
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub gid: ::std::option::Option<u32>,
    ///Whether it is a fresh directory or one of the host's.
    pub kind: VolumeKind,
    ///Permission bits of the fresh directory, 0755 unless given. For empty volumes.
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub mode: ::std::option::Option<OctalMode>,
    ///What the volume is called.
    pub name: AcName,
    ///Whether apps only read there.
    #[serde(rename = "readOnly", default)]
    pub read_only: bool,
    ///Whether what is mounted below the source comes along; so it does unless this says no. For host volumes.
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub recursive: ::std::option::Option<bool>,
    ///The directory of the host; a host volume has it and no other.
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub source: ::std::option::Option<AbsPath>,
    ///Owner of the fresh directory, 0 unless given. For empty volumes.
    #[serde(skip_serializing_if = "::std::option::Option::is_none")]
    pub uid: ::std::option::Option<u32>,
    #[serde(flatten)]
    pub extra: ::serde_json::Map<::std::string::String, ::serde_json::Value>,
}
///Where a volume comes from: made empty for the pod, or a directory of the host.
#[derive(
    ::serde::Deserialize,
    ::serde::Serialize,
    Clone,
    Copy,
    Debug,
    Eq,
    Hash,
    Ord,
    PartialEq,
    PartialOrd
)]
pub enum VolumeKind {
    #[serde(rename = "empty")]
    Empty,
    #[serde(rename = "host")]
    Host,
}
impl ::std::fmt::Display for VolumeKind {
    fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
        match *self {
            Self::Empty => f.write_str("empty"),
            Self::Host => f.write_str("host"),
        }
    }
}
impl ::std::str::FromStr for VolumeKind {
    type Err = self::error::ConversionError;
    fn from_str(
        value: &str,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        match value {
            "empty" => Ok(Self::Empty),
            "host" => Ok(Self::Host),
            _ => Err("invalid value".into()),
        }
    }
}
impl ::std::convert::TryFrom<&str> for VolumeKind {
    type Error = self::error::ConversionError;
    fn try_from(
        value: &str,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        value.parse()
    }
}
impl ::std::convert::TryFrom<::std::string::String> for VolumeKind {
    type Error = self::error::ConversionError;
    fn try_from(
        value: ::std::string::String,
    ) -> ::std::result::Result<Self, self::error::ConversionError> {
        value.parse()
    }
}
/// Generation of default values for serde.
pub mod defaults {
    pub(super) fn default_nzu64<T, const V: u64>() -> T
    where
        T: ::std::convert::TryFrom<::std::num::NonZeroU64>,
        <T as ::std::convert::TryFrom<::std::num::NonZeroU64>>::Error: ::std::fmt::Debug,
    {
        T::try_from(::std::num::NonZeroU64::try_from(V).unwrap()).unwrap()
    }
    pub(super) fn app_working_directory() -> super::AbsPath {
        super::AbsPath("/".to_string())
    }
}
/// Error types.
pub mod error {
    /// Error from a `TryFrom` or `FromStr` implementation.
    pub struct ConversionError(::std::borrow::Cow<'static, str>);
    impl ::std::error::Error for ConversionError {}
    impl ::std::fmt::Display for ConversionError {
        fn fmt(
            &self,
            f: &mut ::std::fmt::Formatter<'_>,
        ) -> Result<(), ::std::fmt::Error> {
            ::std::fmt::Display::fmt(&self.0, f)
        }
    }
    impl ::std::fmt::Debug for ConversionError {
        fn fmt(
            &self,
            f: &mut ::std::fmt::Formatter<'_>,
        ) -> Result<(), ::std::fmt::Error> {
            ::std::fmt::Debug::fmt(&self.0, f)
        }
    }
    impl From<&'static str> for ConversionError {
        fn from(value: &'static str) -> Self {
            Self(value.into())
        }
    }
    impl From<String> for ConversionError {
        fn from(value: String) -> Self {
            Self(value.into())
        }
    }
}
