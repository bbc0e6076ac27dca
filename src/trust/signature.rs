//! Detached signatures, checked while the data streams by.

use std::io::Read;
use std::time::{Duration, SystemTime};

use digest::DynDigest;
use pgp::composed::{Deserializable, DetachedSignature};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureType, SignatureVersion};

use super::certificate::{Keyring, Part, blocks, day, issuers, obscure};
use super::signify::{self, SignifyCheck, SignifySignature};
use super::{Error, Fingerprint, Kind};

/// The most that a file of signatures may hold, in bytes.
pub const MAX_SIGNATURE: usize = 64 << 10;

/// The most signatures that are looked at.
const MAX_SIGNATURES: usize = 16;

/// How far the signer's clock may be ahead of ours.
const CLOCK_SKEW: Duration = Duration::from_secs(600);

/// Who made a signature that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// The primary key's fingerprint, also where a subkey signed.
    pub fingerprint: Fingerprint,
    /// Who that key says it belongs to.
    pub users: Vec<String>,
    /// When the signer says it was made; signify's do not.
    pub made: Option<SystemTime>,
    /// The file that the signature stands in, as it was given.
    pub file: Vec<u8>,
}

/// Checks that `signature` (detached, armoured or binary, or of signify) is over all that `data` gives, by a key of `keyring`.
pub fn verify(keyring: &Keyring, mut data: impl Read, signature: &[u8]) -> Result<Signer, Error> {
    let mut verifier = Verifier::new(keyring, signature)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match data.read(&mut buffer) {
            Ok(0) => return verifier.finish(),
            Ok(count) => verifier.update(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::new(Kind::Io, "read the signed data").because(error)),
        }
    }
}

/// A check under way: made from signature and keys, fed with the data, asked at the end.
pub struct Verifier {
    lanes: Lanes,
    file: Vec<u8>,
}

enum Lanes {
    OpenPgp(Vec<Lane>),
    Signify(Vec<SignifyCheck>),
}

/// A signature by a key that counts, and the hash of the data as that signature wants it.
struct Lane {
    signature: Signature,
    part: Part,
    hasher: Box<dyn DynDigest + Send>,
}

impl Verifier {
    /// Reads the signatures and finds their keys. Fails at once when no key could make any of them hold, so that
    /// nothing needs to be downloaded to learn that.
    pub fn new(keyring: &Keyring, signature: &[u8]) -> Result<Self, Error> {
        if signify::is_meant(signature) {
            let checks = SignifySignature::checks(signature, keyring)?;
            return Ok(Self { lanes: Lanes::Signify(checks), file: signature.to_vec() });
        }
        let (file, signatures) = (signature.to_vec(), parse(signature)?);
        let now = SystemTime::now();
        let mut lanes = Vec::new();
        let mut refusal = None;
        for signature in &signatures {
            let Some(part) = keyring.part_that_made(signature) else { continue };
            match Lane::new(signature.clone(), part, now) {
                Ok(lane) => lanes.push(lane),
                Err(error) => refusal = refusal.or(Some(error)),
            }
        }
        match (lanes.is_empty(), refusal) {
            (true, Some(refusal)) => Err(refusal),
            (true, None) => Err(keyring.unknown(&signatures)),
            (false, _) => Ok(Self { lanes: Lanes::OpenPgp(lanes), file }),
        }
    }

    /// Takes the next bytes of the data.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match &mut self.lanes {
            Lanes::OpenPgp(lanes) => lanes.iter_mut().for_each(|lane| lane.hasher.update(bytes)),
            Lanes::Signify(checks) => checks.iter_mut().for_each(|check| check.update(bytes)),
        }
    }

    /// Whether a signature holds, now that all data has been seen: the first that does.
    pub(crate) fn finish(self) -> Result<Signer, Error> {
        let judged: Vec<_> = match self.lanes {
            Lanes::OpenPgp(lanes) => lanes.into_iter().map(Lane::finish).collect(),
            Lanes::Signify(checks) => checks.into_iter().map(SignifyCheck::finish).collect(),
        };
        let mut refusal = None;
        for verdict in judged {
            match verdict {
                Ok(signer) => return Ok(Signer { file: self.file, ..signer }),
                Err(error) => refusal = refusal.or(Some(error)),
            }
        }
        Err(refusal.unwrap_or_else(|| Error::new(Kind::Malformed, "verify the signature").because("there is none")))
    }
}

impl Lane {
    fn new(signature: Signature, part: Part, now: SystemTime) -> Result<Self, Error> {
        let algorithm = check_form(&signature, &part, now)?;
        part.usable(now)?;
        let hasher = algorithm
            .new_hasher()
            .map_err(|error| Error::new(Kind::Unfit, "verify the signature").because(error.to_string()))?;
        Ok(Self { signature, part, hasher })
    }

    fn finish(mut self) -> Result<Signer, Error> {
        let (fingerprint, users) = self.part.owner();
        let subject = format!("verify the signature by key {fingerprint}");
        let malformed = |why: String| Error::new(Kind::Malformed, subject.clone()).because(why);
        let (Some(config), Some(made)) = (self.signature.config(), self.signature.created()) else {
            return Err(malformed("it is of an unknown form".to_owned()));
        };
        let length = config.hash_signature_data(&mut self.hasher).map_err(|error| malformed(error.to_string()))?;
        self.hasher.update(&config.trailer(length).map_err(|error| malformed(error.to_string()))?);
        let hash = self.hasher.finalize();
        let mismatch = || {
            Error::new(Kind::Mismatch, subject.clone())
                .clause("disc.sigpolicy")
                .because("it is not over these bytes: data or signature were changed")
        };
        // The leading bytes tell a wrong file cheaply; the public-key operation decides.
        if self.signature.signed_hash_value() != hash.first_chunk::<2>().copied() {
            return Err(mismatch());
        }
        use pgp::errors::Error::{Unimplemented, Unsupported};
        self.part.check(&self.signature, &hash).map_err(|error| match error {
            Unsupported { .. } | Unimplemented { .. } => {
                Error::new(Kind::Unfit, subject.clone()).because(error.to_string())
            }
            _ => mismatch(),
        })?;
        Ok(Signer { fingerprint, users, made: Some(made.into()), file: Vec::new() })
    }
}

/// The signatures of a file.
fn parse(bytes: &[u8]) -> Result<Vec<Signature>, Error> {
    let malformed = || Error::new(Kind::Malformed, "read the signature");
    if bytes.len() > MAX_SIGNATURE {
        return Err(malformed().because(format!("more than {MAX_SIGNATURE} bytes")));
    }
    if bytes.windows(34).any(|window| window == b"-----BEGIN PGP SIGNED MESSAGE-----") {
        return Err(malformed().because("a clear-signed message; a detached signature is wanted"));
    }
    let mut found = Vec::new();
    for block in blocks(bytes).into_iter().take(MAX_SIGNATURES) {
        let (signatures, _) = DetachedSignature::from_reader_many(block)
            .map_err(|error| malformed().because(format!("it does not begin as OpenPGP signatures do: {error}")))?;
        for signature in signatures.take(MAX_SIGNATURES - found.len()) {
            found.push(signature.map_err(|error| malformed().because(error.to_string()))?.signature);
        }
    }
    match found.is_empty() {
        true => Err(malformed().because("no OpenPGP signature in it")),
        false => Ok(found),
    }
}

/// What must hold of a signature before any data is seen: form, hash, dates.
fn check_form(signature: &Signature, part: &Part, now: SystemTime) -> Result<HashAlgorithm, Error> {
    let subject = format!("verify the signature by key {}", issuers(signature).join(", "));
    if signature.version() != SignatureVersion::V4 {
        return Err(Error::new(Kind::Unfit, subject).because("only version 4 signatures are taken"));
    }
    if signature.typ() != Some(SignatureType::Binary) {
        return Err(Error::new(Kind::Unfit, subject).because("not a signature over binary data"));
    }
    if let Some(what) = obscure(signature) {
        return Err(Error::new(Kind::Unfit, subject).because(format!("its critical {what} is not known here")));
    }
    let strong = [
        HashAlgorithm::Sha256,
        HashAlgorithm::Sha384,
        HashAlgorithm::Sha512,
        HashAlgorithm::Sha3_256,
        HashAlgorithm::Sha3_512,
    ];
    let algorithm = match signature.hash_alg() {
        Some(algorithm) if strong.contains(&algorithm) => algorithm,
        other => {
            let name = other.map_or_else(|| "unknown".to_owned(), |algorithm| algorithm.to_string());
            return Err(Error::new(Kind::Unfit, subject).because(format!("its hash {name} is not taken")));
        }
    };
    let Some(made) = signature.created() else {
        return Err(Error::new(Kind::Malformed, subject).because("it does not say when it was made"));
    };
    let made = SystemTime::from(made);
    if made < part.created() {
        return Err(Error::new(Kind::Unfit, subject).because("it says that it is older than its key"));
    }
    if made > now + CLOCK_SKEW {
        return Err(Error::new(Kind::Unfit, subject).because(format!("made in the future, on {}", day(made))));
    }
    let lasts = signature.signature_expiration_time().filter(|lasts| lasts.as_secs() != 0);
    if let Some(end) = lasts.map(|lasts| made + Duration::from(lasts)).filter(|end| *end <= now) {
        return Err(Error::new(Kind::Expired, subject).because(format!("it expired on {}", day(end))));
    }
    Ok(algorithm)
}
