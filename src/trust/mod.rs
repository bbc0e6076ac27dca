//! Whose images are taken: keys trusted by prefix, and OpenPGP and signify signatures made by them.
//!
//! ```text
//! <configuration>/trust/root.d/<FINGERPRINT>                    trusted for every name
//!                       prefix.d/example.com/foo/<FINGERPRINT>  trusted for example.com/foo and what is below it
//! ```
//! A key file holds one public key, armoured or as signify and minisign write it, and is named by its full fingerprint. There is one directory that this
//! host's administrator writes (local) and any number that come with the system. A local file of no length masks the
//! system's key of the same place and name.
//!
//! Invariants: a prefix matches on `/` boundaries only (`example.com/foo` is not a prefix of `example.com/foobar`);
//! a signature counts if it is over exactly the bytes seen, by an unexpired, unrevoked key allowed to sign.
//! What a revoked or expired key once signed is refused too: who holds such a key can date a signature as he likes.
//!
//! Clauses: aci.keys.config, disc.sigpolicy, aci.sign.*

mod certificate;
mod cosign;
mod registries;
mod signature;
mod signify;
mod store;

pub use certificate::{Certificate, Fingerprint, Keyring};
pub use cosign::CosignKey;
pub use registries::registry_is_trusted;
pub use signature::{MAX_SIGNATURE, Signer, Verifier, verify};
pub use signify::SecretKey;
pub use store::{KeyStore, Origin, Scope, TrustedKey};

/// What went wrong with a key or a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Not a key or signature, or one of a form that is not taken here.
    Malformed,
    /// The key that made the signature is not trusted.
    Untrusted,
    /// The signature is not over these bytes.
    Mismatch,
    /// The signature or the key has expired.
    Expired,
    /// The key was revoked.
    Revoked,
    /// The key may not sign, or key or hash are too weak to mean anything.
    Unfit,
    /// No such key in the store.
    Missing,
    /// The store of keys could not be read or written.
    Io,
}

/// Why a key or a signature is not taken.
pub type Error = crate::error::Failure<Kind>;
