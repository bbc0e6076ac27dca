//! Who vouches for an image that came as a stream from another store.

use std::error::Error as StdError;
use std::fs::File;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Error, Kind, Remote};
use crate::config::Signatures;
use crate::schema::ImageManifest;
use crate::store::Origin;
use crate::trust::{self, Signer};

/// Notes whose signature holds, and keeps it.
pub(super) fn signed(origin: &mut Origin, signer: Signer) {
    origin.signed_by = vec![signer.fingerprint.to_string()];
    origin.signature = Some(STANDARD.encode(signer.file));
}

impl Remote {
    /// Looks at the signature that travelled with an image: whose key it is, this host's own keys say. As of files, one is wanted
    /// only where the policy says so; one that is not over this archive is refused in any case.
    ///
    /// # Errors
    /// [`Kind::Unsigned`], [`Kind::Untrusted`].
    pub fn vouch(
        &self,
        manifest: &ImageManifest,
        archive: &Path,
        origin: &mut Origin,
    ) -> Result<(), Box<dyn StdError + Send + Sync>> {
        let doing = || format!("check {}", manifest.name);
        let wanted = self.policy == Signatures::All;
        if self.policy == Signatures::None {
            return Ok(());
        }
        let Some(text) = origin.signature.take() else {
            let why = "the configuration wants signatures of files, and none came with it";
            let unsigned = Error::new(Kind::Unsigned, doing()).clause("disc.sigpolicy").because(why);
            return if wanted { Err(unsigned.into()) } else { Ok(()) };
        };
        let untrusted = |error: trust::Error| Error::new(Kind::Untrusted, doing()).because(error);
        let file = STANDARD.decode(&text).map_err(|error| Error::new(Kind::Untrusted, doing()).because(error))?;
        let keyring = self.keys.keyring_for(&manifest.name).map_err(untrusted)?;
        match trust::verify(&keyring, File::open(archive)?, &file) {
            Ok(signer) => signed(origin, signer),
            Err(error) if wanted || *error.kind() == trust::Kind::Mismatch => return Err(untrusted(error).into()),
            Err(error) => {
                origin.notes.push(format!("its signature does not count here: {}", crate::error::chain(&error)));
                origin.signature = Some(text);
            }
        }
        Ok(())
    }
}
