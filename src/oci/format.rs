//! The documents of OCI and Docker images, as far as they are acted on. What else stands in them is kept as it came.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::{Digest, Error, Kind, Result};

/// Bytes of a manifest, an index or a configuration that are accepted, as registries do.
pub(super) const MAX_DOCUMENT: u64 = 4 << 20;

pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(super) const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
#[cfg(feature = "net")]
pub(super) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
#[cfg(feature = "net")]
pub(super) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// The annotation that names an image in a layout.
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// What a document points to.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    pub(super) media_type: String,
    pub(super) digest: Digest,
    pub(super) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) platform: Option<Platform>,
    #[serde(default, deserialize_with = "or_empty", skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: BTreeMap<String, String>,
}

/// What an image runs on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// The operating system, as `linux` or `freebsd`.
    #[serde(default)]
    pub os: String,
    /// The processor, in Go's names.
    #[serde(default)]
    pub architecture: String,
    /// Which kind of it, as `v7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

impl std::str::FromStr for Platform {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts: Vec<&str> = text.split('/').collect();
        let plain = |part: &&str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        };
        match parts.as_slice() {
            [os, architecture, rest @ ..] if rest.len() < 2 && parts.iter().all(plain) => Ok(Self {
                os: (*os).to_owned(),
                architecture: (*architecture).to_owned(),
                variant: rest.first().map(|variant| (*variant).to_owned()),
            }),
            _ => Err(Error::new(Kind::Refused, format!("read the platform `{}`", text.escape_debug()))
                .because("it is OS/ARCH or OS/ARCH/VARIANT, as linux/arm64 or freebsd/amd64")),
        }
    }
}

/// What images are to run on to run here, the best first: on FreeBSD, those of Linux come second.
pub fn host_platforms() -> Vec<Platform> {
    let (architecture, variant) = match std::env::consts::ARCH {
        "x86_64" => ("amd64", None),
        "x86" => ("386", None),
        "aarch64" => ("arm64", None),
        "arm" => ("arm", Some("v7")),
        "powerpc64" if cfg!(target_endian = "little") => ("ppc64le", None),
        "powerpc64" => ("ppc64", None),
        other => (other, None),
    };
    let of = |os: &str| Platform {
        os: os.to_owned(),
        architecture: architecture.to_owned(),
        variant: variant.map(str::to_owned),
    };
    match std::env::consts::OS {
        "linux" => vec![of("linux")],
        other => vec![of(other), of("linux")],
    }
}

/// An index of manifests, or one manifest: what stands under a tag.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Index {
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) manifests: Vec<Descriptor>,
}

/// The manifest of an image.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    pub(super) schema_version: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) media_type: Option<String>,
    pub(super) config: Descriptor,
    #[serde(deserialize_with = "or_empty")]
    pub(super) layers: Vec<Descriptor>,
    #[serde(default, deserialize_with = "or_empty", skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: BTreeMap<String, String>,
}

/// The configuration of an image, as far as it is acted on.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Config {
    #[serde(flatten)]
    pub(super) platform: Platform,
    #[serde(default)]
    pub(super) created: Option<String>,
    #[serde(default)]
    pub(super) author: Option<String>,
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) config: Run,
    #[serde(default)]
    pub(super) rootfs: Rootfs,
}

/// How the image is run.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Run {
    #[serde(deserialize_with = "words")]
    pub(super) entrypoint: Vec<String>,
    #[serde(deserialize_with = "words")]
    pub(super) cmd: Vec<String>,
    #[serde(deserialize_with = "or_empty")]
    pub(super) env: Vec<String>,
    #[serde(deserialize_with = "or_empty")]
    pub(super) user: String,
    #[serde(deserialize_with = "or_empty")]
    pub(super) working_dir: String,
    #[serde(deserialize_with = "or_empty")]
    pub(super) exposed_ports: BTreeMap<String, Value>,
    #[serde(deserialize_with = "or_empty")]
    pub(super) volumes: BTreeMap<String, Value>,
    #[serde(deserialize_with = "or_empty")]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(flatten)]
    pub(super) others: Map<String, Value>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Rootfs {
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) diff_ids: Vec<Digest>,
}

/// One image of a `docker save` archive.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Saved {
    pub(super) config: String,
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) repo_tags: Vec<String>,
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) layers: Vec<String>,
}

/// Go writes `null` for what is empty.
fn or_empty<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Words, or one word alone, as old writers had it.
fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Words {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Option::deserialize(deserializer)? {
        None => Vec::new(),
        Some(Words::One(word)) => vec![word],
        Some(Words::Many(words)) => words,
    })
}

/// A document as what it is to be.
///
/// # Errors
/// [`Kind::Invalid`] with the place.
pub(super) fn parse<T: for<'de> Deserialize<'de>>(bytes: &[u8], what: &str, clause: &'static str) -> Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|error| Error::new(Kind::Invalid, format!("read {what}")).clause(clause).because(error))
}

/// What kind of layer a media type says, if it is one that is here to be read.
///
/// # Errors
/// [`Kind::Unsupported`].
pub(super) fn check_layer(layer: &Descriptor) -> Result<()> {
    let kind = layer.media_type.as_str();
    let refused = |clause, why: &str| {
        let error = Error::new(Kind::Unsupported, format!("take the layer {}", layer.digest)).clause(clause);
        Err(error.because(format!("`{}`: {why}", kind.escape_debug())))
    };
    if kind.contains("foreign") || kind.contains("nondistributable") {
        return refused("x.oci.foreign", "such layers are to be had from their maker alone, under terms of his");
    }
    if kind.ends_with("+encrypted") {
        return refused("x.oci.media-type", "it is encrypted");
    }
    match kind {
        "" | "application/vnd.docker.image.rootfs.diff.tar.gzip" | "application/vnd.docker.image.rootfs.diff.tar" => {
            Ok(())
        }
        "application/vnd.docker.image.rootfs.diff.tar.zstd" => Ok(()),
        _ if kind.starts_with("application/vnd.oci.image.layer.v1.tar") => Ok(()),
        _ => refused("x.oci.media-type", "it is no layer of a root file system"),
    }
}
