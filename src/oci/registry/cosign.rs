//! Signatures of cosign(1): images beside the image, whose layers say which digest under which name was signed.
//!
//! ```text
//! tag sha256-DIGEST.sig ──▶ manifest ──▶ layer: payload      {"critical": {"identity": {"docker-reference"}, "image": {"docker-manifest-digest"}, "type"}}
//!                                          '- annotation: the signature over the payload's bytes
//! ```
//! Nobody but the registry is asked: no log, no authority. What counts is a key that somebody here trusts.

use base64::Engine as _;
use serde::Deserialize;

use super::Registry;
use crate::oci::format::{self, Manifest};
use crate::oci::{Digest, Kind, Result};
use crate::trust::CosignKey;

const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const TYPE: &str = "cosign container image signature";
/// As many signatures are looked at, of as many bytes each: more are made by nobody who means well.
const MOST: usize = 64;
const LARGEST: u64 = 64 << 10;

#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    identity: Identity,
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Identity {
    docker_reference: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Image {
    docker_manifest_digest: String,
}

impl Registry {
    /// The first of `keys` that has signed one of `digests` as an image of `place`, `HOST/NAME`; nothing where none has.
    ///
    /// # Errors
    /// [`Kind::Io`], [`Kind::Corrupt`]: what the registry says is no signature.
    pub(crate) fn signed_by<'k>(
        &self,
        digests: &[Digest],
        place: &str,
        keys: &'k [CosignKey],
    ) -> Result<Option<&'k CosignKey>> {
        for digest in digests {
            let tag = format!("{}.sig", digest.as_str().replace(':', "-"));
            let manifest = match self.manifest(&tag) {
                Err(error) if *error.kind() == Kind::Missing => continue,
                manifest => format::parse::<Manifest>(&manifest?, "the list of signatures", "x.oci.manifest")?,
            };
            for layer in manifest.layers.iter().filter(|layer| layer.media_type == PAYLOAD).take(MOST) {
                let Some(signature) = layer.annotations.get(SIGNATURE) else { continue };
                let Ok(signature) = base64::engine::general_purpose::STANDARD.decode(signature) else { continue };
                if layer.size > LARGEST {
                    continue;
                }
                let payload = self.small_blob(layer)?;
                // The name and digest count once it is known who says so.
                let signer = keys.iter().find(|key| key.has_signed(&payload, &signature));
                if signer.is_some() && says(&payload, digest, place) {
                    return Ok(signer);
                }
            }
        }
        Ok(None)
    }
}

/// Whether what was signed is this digest, under this name.
fn says(payload: &[u8], digest: &Digest, place: &str) -> bool {
    let Ok(Payload { critical }) = serde_json::from_slice(payload) else { return false };
    let named = critical.identity.docker_reference;
    // Docker's own registry has two names; a tag says nothing, as it can be moved.
    let named = named.strip_prefix("index.").filter(|rest| rest.starts_with("docker.io/")).unwrap_or(&named);
    let same = named.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'));
    critical.kind == TYPE && critical.image.docker_manifest_digest == digest.as_str() && same
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_about_one_digest_under_one_name() {
        let digest = Digest::of(b"x");
        let payload = |name: &str, digest: &str, kind: &str| {
            serde_json::to_vec(&serde_json::json!({ "critical": { "identity": { "docker-reference": name },
                "image": { "docker-manifest-digest": digest }, "type": kind }, "optional": null }))
            .unwrap()
        };
        let holds = |name: &str, place: &str| says(&payload(name, digest.as_str(), TYPE), &digest, place);
        assert!(holds("h.x/a", "h.x/a") && holds("h.x/a:1", "h.x/a"));
        assert!(holds("index.docker.io/library/a", "docker.io/library/a"));
        assert!(
            !holds("h.x/a", "h.x/ab")
                && !holds("h.x/ab", "h.x/a")
                && !holds("", "h.x/a")
                && !holds("index.h.x/a", "h.x/a")
        );
        assert!(!says(&payload("h.x/a", Digest::of(b"y").as_str(), TYPE), &digest, "h.x/a"));
        assert!(!says(&payload("h.x/a", digest.as_str(), "other"), &digest, "h.x/a"));
        assert!(!says(b"{}", &digest, "h.x/a"));
    }
}
