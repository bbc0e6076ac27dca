//! Isolators: the form of the value follows the name, which no schema generator can say.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::{AcIdentifier, ApparmorProfile, CapabilitySet, DeviceLimit, Resource, SeccompSet, SelinuxContext, Sysctl};

/// One isolator of an app or a pod. Keys beside `name` and `value` are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Isolator {
    /// What it grants or denies.
    pub value: IsolatorValue,
    /// Keys that the specification does not know.
    pub extra: Map<String, Value>,
}

macro_rules! isolators {
    ($($(#[$doc:meta])* $variant:ident($type:ty) = $name:literal, $scope:ident, $single:literal;)*) => {
        /// What an isolator grants or denies, by its name.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum IsolatorValue {
            $($(#[$doc])* $variant($type),)*
            /// An isolator that is not known: its name and whatever value it has.
            Other(AcIdentifier, Value),
        }

        /// The isolators that are known: name, where it may stand, whether it may stand there once only.
        pub const KNOWN: &[Known] = &[$(Known { name: $name, scope: Scope::$scope, single: $single }),*];

        impl IsolatorValue {
            /// The isolator's name.
            pub fn name(&self) -> &str {
                match self {
                    $(Self::$variant(_) => $name,)*
                    Self::Other(name, _) => name,
                }
            }

            fn read(name: AcIdentifier, value: Value) -> Result<Self, String> {
                match name.as_str() {
                    $($name => serde_json::from_value::<$type>(value)
                        .map(Self::$variant)
                        .map_err(|error| format!("value of isolator {}: {error}", $name)),)*
                    _ => Ok(Self::Other(name, value)),
                }
            }

            fn written(&self) -> Result<Value, serde_json::Error> {
                match self {
                    $(Self::$variant(value) => serde_json::to_value(value),)*
                    Self::Other(_, value) => Ok(value.clone()),
                }
            }
        }
    };
}

isolators! {
    /// System calls taken away (iso.seccomp-remove.*).
    SeccompRemoveSet(SeccompSet) = "os/linux/seccomp-remove-set", App, true;
    /// The only system calls left (iso.seccomp-retain.*).
    SeccompRetainSet(SeccompSet) = "os/linux/seccomp-retain-set", App, true;
    /// Capabilities taken from the default set (iso.caps-remove.*).
    CapabilitiesRemoveSet(CapabilitySet) = "os/linux/capabilities-remove-set", App, false;
    /// The only capabilities left (iso.caps-retain.*).
    CapabilitiesRetainSet(CapabilitySet) = "os/linux/capabilities-retain-set", App, false;
    /// Whether executing a program can grant privileges (iso.nnp.*).
    NoNewPrivileges(bool) = "os/linux/no-new-privileges", App, false;
    /// The SELinux context of the processes (iso.selinux.*).
    SelinuxContext(SelinuxContext) = "os/linux/selinux-context", Both, true;
    /// The AppArmor profile of the processes (iso.apparmor.*).
    ApparmorProfile(ApparmorProfile) = "os/linux/apparmor-profile", Both, true;
    /// How readily the app is killed when memory runs out (iso.ref.oom-score-adj).
    OomScoreAdj(Bounded<-1000, 1000>) = "os/linux/oom-score-adj", App, false;
    /// The app's weight when processor time is short (iso.ref.cpu-shares).
    CpuShares(Bounded<2, 262_144>) = "os/linux/cpu-shares", App, false;
    /// Processor time in cores (res.cpu.*).
    Cpu(Resource) = "resource/cpu", Both, false;
    /// Memory in bytes (res.memory.*).
    Memory(Resource) = "resource/memory", Both, false;
    /// Bytes a second to block devices (res.block-bandwidth.*).
    BlockBandwidth(DeviceLimit) = "resource/block-bandwidth", Both, false;
    /// Operations a second to block devices (res.block-iops.*).
    BlockIops(DeviceLimit) = "resource/block-iops", Both, false;
    /// Bytes a second over network interfaces (res.network-bandwidth.*).
    NetworkBandwidth(DeviceLimit) = "resource/network-bandwidth", Both, false;
    /// Kernel parameters of the pod (sysctl.*).
    Sysctl(Sysctl) = "os/unix/sysctl", Pod, true;
    /// Processes and threads at once. One of our own: the specification knows it not.
    MaxProcesses(Bounded<1, 4_194_304>) = "os/unix/max-processes", Both, false;
    /// Whether all is killed when memory runs out, not one process. One of our own, likewise.
    OomGroup(bool) = "os/linux/oom-group", Both, false;
}

/// What is said about an isolator that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its name.
    pub name: &'static str,
    /// Where it may stand (iso.scope).
    pub scope: Scope,
    /// Whether the text allows it once in a list only.
    pub single: bool,
}

/// Where an isolator may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// In an app.
    App,
    /// In a pod.
    Pod,
    /// In either.
    Both,
}

/// What is said about the isolator of a name; `None` for one that nobody knows.
pub fn known(name: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.name == name)
}

impl Isolator {
    /// The isolator's name.
    pub fn name(&self) -> &str {
        self.value.name()
    }
}

impl From<IsolatorValue> for Isolator {
    fn from(value: IsolatorValue) -> Self {
        Self { value, extra: Map::new() }
    }
}

impl Serialize for Isolator {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = Map::new();
        object.insert("name".to_owned(), Value::String(self.name().to_owned()));
        object.insert("value".to_owned(), self.value.written().map_err(serde::ser::Error::custom)?);
        object.extend(self.extra.clone());
        object.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Isolator {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Raw {
            name: AcIdentifier,
            #[serde(deserialize_with = "present")]
            value: Value,
            #[serde(flatten)]
            extra: Map<String, Value>,
        }
        let raw = Raw::deserialize(deserializer)?;
        let value = IsolatorValue::read(raw.name, raw.value).map_err(D::Error::custom)?;
        if let IsolatorValue::SeccompRemoveSet(set) | IsolatorValue::SeccompRetainSet(set) = &value
            && set.set.is_empty()
        {
            return Err(D::Error::custom(format!("value of isolator {}: the set is empty", value.name())));
        }
        Ok(Self { value, extra: raw.extra })
    }
}

/// `null` is a value and no missing one; serde would take it for absent in an `Option` only, so this only says so.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    Value::deserialize(deserializer)
}

/// An integer from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Bounded<const MIN: i64, const MAX: i64>(i64);

impl<const MIN: i64, const MAX: i64> Bounded<MIN, MAX> {
    /// The integer, if it lies in the bounds.
    pub fn new(value: i64) -> Option<Self> {
        (MIN..=MAX).contains(&value).then_some(Self(value))
    }

    /// The integer.
    pub fn get(self) -> i64 {
        self.0
    }
}

impl<const MIN: i64, const MAX: i64> fmt::Display for Bounded<MIN, MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de, const MIN: i64, const MAX: i64> Deserialize<'de> for Bounded<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = i64::deserialize(deserializer)?;
        Self::new(value).ok_or_else(|| D::Error::custom(format!("{value} is not in {MIN}..={MAX}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Isolator, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn a_known_isolator_has_the_type_of_its_name() {
        let isolator = read(r#"{"name": "resource/memory", "value": {"limit": "1Gi"}}"#).unwrap();
        let IsolatorValue::Memory(memory) = isolator.value else { panic!("{isolator:?}") };
        assert_eq!(memory.limit.unwrap().units(), 1 << 30);
    }

    #[test]
    fn what_is_not_known_survives_reading_and_writing() {
        for json in [
            r#"{"name":"example.com/x","value":[1,null],"why":"because"}"#,
            r#"{"name":"os/linux/seccomp-retain-set","value":{"set":["read"],"new":1},"more":{}}"#,
            r#"{"name":"example.com/y","value":null}"#,
        ] {
            assert_eq!(serde_json::to_string(&read(json).unwrap()).unwrap(), json);
        }
        // A number of more digits than a float has is the nearest float, each time.
        let number = read(r#"{"name":"example.com/z","value":222222222222222222222222}"#).unwrap();
        assert_eq!(read(&serde_json::to_string(&number).unwrap()).unwrap(), number);
    }

    #[test]
    fn a_value_of_the_wrong_form_is_refused() {
        for json in [
            r#"{"name":"os/linux/no-new-privileges","value":null}"#,
            r#"{"name":"os/linux/no-new-privileges"}"#,
            r#"{"name":"os/linux/oom-score-adj","value":1001}"#,
            r#"{"name":"os/linux/cpu-shares","value":1}"#,
            r#"{"name":"os/unix/max-processes","value":0}"#,
            r#"{"name":"os/unix/max-processes","value":"64"}"#,
            r#"{"name":"os/linux/oom-group","value":1}"#,
            r#"{"name":"os/linux/seccomp-remove-set","value":{"set":[]}}"#,
            r#"{"name":"Bad","value":1}"#,
        ] {
            assert!(read(json).is_err(), "{json}");
        }
    }
}
