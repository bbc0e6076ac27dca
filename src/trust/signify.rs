//! Keys and signatures as OpenBSD's `signify` and `minisign` write them: Ed25519, without dates, users or revocations.
//!
//! ```text
//! untrusted comment: anything
//! base 64 of: algorithm (2 bytes), number of the key (8), the public key (32) or a signature (64)
//! trusted comment: anything                                  minisign's signatures only
//! base 64 of: signature (64) of that signature and comment
//! ```
//! `Ed` signs the bytes themselves, `ED` their BLAKE2b-512. A file may hold several, one behind the other.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Read};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use blake2::Blake2b512;
use ed25519_dalek::hazmat::{ExpandedSecretKey, raw_sign_byupdate};
use ed25519_dalek::{Digest, Sha512, Signature, StreamVerifier, VerifyingKey};

use super::certificate::Keyring;
use super::{Error, Fingerprint, Kind, Signer};

/// What each key and signature begins with.
const COMMENT: &str = "untrusted comment:";
const TRUSTED: &str = "trusted comment: ";
/// The most signatures of a file that are looked at, and keys.
const MAX_SIGNATURES: usize = 16;
const MAX_KEYS: usize = 1000;

/// Whether a file is one of signify's or minisign's.
pub(super) fn is_meant(bytes: &[u8]) -> bool {
    bytes.starts_with(COMMENT.as_bytes())
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SignifyKey {
    comment: String,
    number: [u8; 8],
    key: VerifyingKey,
}

impl SignifyKey {
    /// The keys of a file.
    pub(super) fn parse_many(bytes: &[u8]) -> Result<Vec<Self>, Error> {
        let malformed = |why: String| Error::new(Kind::Malformed, "read public keys").because(why);
        let mut lines = Lines::of(bytes).map_err(malformed)?;
        let mut keys = Vec::new();
        while let Some((comment, line)) = lines.pair().map_err(malformed)? {
            let key = Self::of_line(line)
                .ok_or_else(|| malformed(format!("`{}` is no public key of signify", line.escape_debug())))?;
            if keys.len() == MAX_KEYS {
                return Err(malformed(format!("more than {MAX_KEYS} keys")));
            }
            keys.push(Self { comment: printable(comment), ..key });
        }
        Ok(keys)
    }

    /// The key of its second line. Keys that everybody could sign for are none.
    pub(super) fn of_line(line: &str) -> Option<Self> {
        let bytes: [u8; 42] = BASE64.decode(line).ok()?.try_into().ok()?;
        let (number, key) = bytes.strip_prefix(b"Ed")?.split_first_chunk::<8>()?;
        let key = VerifyingKey::from_bytes(key.try_into().ok()?).ok().filter(|key| !key.is_weak())?;
        Some(Self { comment: String::new(), number: *number, key })
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_signify(self.key.as_bytes())
    }

    fn line(&self) -> String {
        BASE64.encode([&b"Ed"[..], &self.number, self.key.as_bytes()].concat())
    }

    /// What stands for the user of other keys: the line that people compare, and the comment that nobody vouches for.
    pub(super) fn described(&self) -> String {
        format!("{} ({})", self.line(), self.comment)
    }
}

impl fmt::Display for SignifyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{COMMENT} {}\n{}", self.comment, self.line())
    }
}

/// A signature as it stands in a file.
pub(super) struct SignifySignature {
    hashed: bool,
    number: [u8; 8],
    signature: Signature,
    /// The trusted comment, and the signature that says it is.
    trusted: Option<(String, Signature)>,
}

impl SignifySignature {
    /// Those of a file that a key of the ring may have made, ready for the data.
    pub(super) fn checks(bytes: &[u8], keyring: &Keyring) -> Result<Vec<SignifyCheck>, Error> {
        let signatures = Self::parse_many(bytes)?;
        let mut checks = Vec::new();
        for signature in &signatures {
            for key in keyring.certificates().iter().filter_map(|certificate| certificate.signify()) {
                if key.number == signature.number {
                    checks.push(SignifyCheck::new(signature, key)?);
                }
            }
        }
        if checks.is_empty() {
            let wanted: BTreeSet<String> =
                signatures.iter().map(|signature| format!("number {}", shown(&signature.number))).collect();
            let made = |key: &SignifyKey| signatures.iter().any(|signature| signature.number == key.number);
            return Err(keyring.unknown_keys(wanted, |certificate| certificate.signify().is_some_and(made)));
        }
        Ok(checks)
    }

    fn parse_many(bytes: &[u8]) -> Result<Vec<Self>, Error> {
        let malformed = |why: &str| Error::new(Kind::Malformed, "read the signature").because(why);
        if bytes.len() > super::MAX_SIGNATURE {
            return Err(malformed(&format!("more than {} bytes", super::MAX_SIGNATURE)));
        }
        let mut lines = Lines::of(bytes).map_err(|why| malformed(&why))?;
        let mut found = Vec::new();
        while let Some((_, line)) = lines.pair().map_err(|why| malformed(&why))? {
            let decoded = BASE64.decode(line).ok().and_then(|bytes| <[u8; 74]>::try_from(bytes).ok());
            let decoded = decoded.ok_or_else(|| malformed("its second line is no signature of signify"))?;
            let (algorithm, rest) = decoded.split_at(2);
            let (number, signature) = rest.split_at(8);
            let hashed = match algorithm {
                b"Ed" => false,
                b"ED" => true,
                _ => return Err(malformed("its algorithm is not known here")),
            };
            let of = |bytes: &[u8]| Signature::from_slice(bytes).map_err(|_| malformed("it is no signature"));
            let mut number_of = [0; 8];
            number_of.copy_from_slice(number);
            let trusted = match lines.trusted().map_err(|why| malformed(&why))? {
                Some((comment, line)) => {
                    let bytes = BASE64.decode(line).map_err(|_| malformed("its last line is no signature"))?;
                    Some((comment.to_owned(), of(&bytes)?))
                }
                None => None,
            };
            found.push(Self { hashed, number: number_of, signature: of(signature)?, trusted });
            if found.len() == MAX_SIGNATURES {
                break;
            }
        }
        Ok(found)
    }
}

/// A check under way.
pub(super) struct SignifyCheck {
    key: SignifyKey,
    signature: Signature,
    trusted: Option<(String, Signature)>,
    state: State,
}

enum State {
    Plain(Box<StreamVerifier>),
    Hashed(Box<Blake2b512>),
}

impl SignifyCheck {
    fn new(made: &SignifySignature, key: &SignifyKey) -> Result<Self, Error> {
        let state = match made.hashed {
            true => State::Hashed(Box::default()),
            false => State::Plain(Box::new(key.key.verify_stream(&made.signature).map_err(|_| mismatch(key))?)),
        };
        Ok(Self { key: key.clone(), signature: made.signature, trusted: made.trusted.clone(), state })
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Plain(verifier) => verifier.update(bytes),
            State::Hashed(hash) => hash.update(bytes),
        }
    }

    pub(super) fn finish(self) -> Result<Signer, Error> {
        let Self { key, signature, trusted, state } = self;
        let holds = match state {
            State::Plain(verifier) => verifier.finalize_and_verify().is_ok(),
            State::Hashed(hash) => key.key.verify_strict(&hash.finalize(), &signature).is_ok(),
        };
        let comment_holds = trusted.as_ref().is_none_or(|(comment, global)| {
            let signed = [&signature.to_bytes()[..], comment.as_bytes()].concat();
            key.key.verify_strict(&signed, global).is_ok()
        });
        if !holds || !comment_holds {
            return Err(mismatch(&key));
        }
        Ok(Signer { fingerprint: key.fingerprint(), users: vec![key.described()], made: None, file: Vec::new() })
    }
}

fn mismatch(key: &SignifyKey) -> Error {
    Error::new(Kind::Mismatch, format!("verify the signature by key {}", key.fingerprint()))
        .clause("disc.sigpolicy")
        .because("it is not over these bytes: data or signature were changed")
}

/// A secret key of signify or minisign. Never printed.
pub struct SecretKey {
    number: [u8; 8],
    key: ExpandedSecretKey,
    public: VerifyingKey,
    minisign: bool,
}

impl SecretKey {
    /// The key in a file, which is under a passphrase if its owner took one.
    ///
    /// # Errors
    /// [`Kind::Malformed`]; [`Kind::Unfit`] where the passphrase is missing or wrong, or is minisign's.
    pub fn parse(bytes: &[u8], passphrase: Option<&str>) -> Result<Self, Error> {
        let malformed = |why: &str| Error::new(Kind::Malformed, "read the secret key").because(why);
        let unfit = |why: &str| Error::new(Kind::Unfit, "read the secret key").because(why);
        let no_key = || malformed("it is no secret key of signify or minisign");
        if !is_meant(bytes) || bytes.len() > super::MAX_SIGNATURE {
            return Err(no_key());
        }
        let mut lines = Lines::of(bytes).map_err(|why| malformed(&why))?;
        let (_, line) = lines.pair().map_err(|why| malformed(&why))?.ok_or_else(no_key)?;
        let bytes = BASE64.decode(line).map_err(|_| no_key())?;
        let field = |at: usize, length: usize| bytes.get(at..at + length).unwrap_or_default();
        let (number, secret, minisign) = match (field(0, 2), field(2, 2), bytes.len()) {
            // pkalg, kdfalg, kdfrounds (4), salt (16), checksum (8), number (8), key (64)
            (b"Ed", b"BK", 104) => {
                let rounds = field(4, 4).try_into().map_or(0, u32::from_be_bytes);
                let mut secret = <[u8; 64]>::try_from(field(40, 64)).map_err(|_| no_key())?;
                if rounds > 0 {
                    let passphrase = passphrase.ok_or_else(|| unfit("it is under a passphrase, and none was given"))?;
                    if rounds > 10_000 {
                        return Err(unfit("it wants more work on the passphrase than it is worth"));
                    }
                    let mut mask = [0; 64];
                    bcrypt_pbkdf::bcrypt_pbkdf(passphrase.as_bytes(), field(8, 16), rounds, &mut mask)
                        .map_err(|error| unfit(&error.to_string()))?;
                    secret.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
                }
                if Sha512::digest(secret)[..8] != *field(24, 8) {
                    return Err(unfit("the passphrase is wrong, or the file was changed"));
                }
                (field(32, 8), secret, false)
            }
            // pkalg, kdfalg, checksum algorithm, salt (32), limits (16), number (8), key (64), checksum (32)
            (b"Ed", [0, 0], 158) => (field(54, 8), <[u8; 64]>::try_from(field(62, 64)).map_err(|_| no_key())?, true),
            (b"Ed", b"Sc", 158) => {
                return Err(unfit("it is under a passphrase of minisign's; sign with minisign itself"));
            }
            _ => return Err(no_key()),
        };
        let (seed, public) = secret.split_at(32);
        let signing = ed25519_dalek::SigningKey::try_from(seed).map_err(|_| no_key())?;
        if signing.verifying_key().as_bytes() != public {
            return Err(malformed("its two halves do not belong together"));
        }
        let mut number_of = [0; 8];
        number_of.copy_from_slice(number);
        let seed: [u8; 32] = signing.to_bytes();
        let key = ExpandedSecretKey::from(&seed);
        Ok(Self { number: number_of, key, public: signing.verifying_key(), minisign })
    }

    /// Its public key, as a file.
    pub fn public_key(&self) -> String {
        let comment = format!("{} public key {}", self.maker(), shown(&self.number));
        SignifyKey { comment, number: self.number, key: self.public }.to_string()
    }

    /// What the name of its signatures ends in, behind that of what is signed.
    pub fn ending(&self) -> &'static str {
        if self.minisign { ".minisig" } else { ".sig" }
    }

    /// A detached signature over all that `open` gives each time that it is called, as this key's own program makes it.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn sign<R: Read>(&self, open: impl Fn() -> io::Result<R>) -> Result<Vec<u8>, Error> {
        let failed = |error: io::Error| Error::new(Kind::Io, "read what is signed").because(error);
        let by = |signature: &Signature, algorithm: &[u8; 2]| {
            BASE64.encode([&algorithm[..], &self.number, &signature.to_bytes()].concat())
        };
        if self.minisign {
            let mut hash = Blake2b512::new();
            feed(open().map_err(failed)?, &mut hash).map_err(failed)?;
            let signature = self.raw(|into| {
                into.update(hash.clone().finalize());
                Ok(())
            })?;
            let comment = format!("timestamp:{}", jiff::Timestamp::now().as_second());
            let global = self.raw(|into| {
                into.update(signature.to_bytes());
                into.update(comment.as_bytes());
                Ok(())
            })?;
            return Ok(format!(
                "{COMMENT} signature from minisign secret key\n{}\n{TRUSTED}{comment}\n{}\n",
                by(&signature, b"ED"),
                BASE64.encode(global.to_bytes()),
            )
            .into_bytes());
        }
        // Ed25519 reads what it signs twice.
        let signature = self.raw(|into| feed(open()?, into))?;
        Ok(format!("{COMMENT} signature from signify secret key\n{}\n", by(&signature, b"Ed")).into_bytes())
    }

    fn raw(&self, message: impl Fn(&mut Sha512) -> io::Result<()>) -> Result<Signature, Error> {
        let failed = std::cell::Cell::new(None);
        let update = |hash: &mut Sha512| {
            message(hash).map_err(|error| {
                failed.set(Some(error));
                ed25519_dalek::SignatureError::new()
            })
        };
        raw_sign_byupdate::<Sha512, _>(&self.key, update, &self.public).map_err(|error| {
            let unread = Error::new(Kind::Io, "read what is signed");
            failed.take().map_or_else(|| Error::new(Kind::Unfit, "sign").because(error), |why| unread.because(why))
        })
    }

    fn maker(&self) -> &'static str {
        if self.minisign { "minisign" } else { "signify" }
    }
}

fn feed(mut source: impl Read, into: &mut impl Digest) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => into.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The number of a key as minisign shows it.
fn shown(number: &[u8; 8]) -> String {
    format!("{:016X}", u64::from_le_bytes(*number))
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// The lines of a file, in pairs.
struct Lines<'b>(std::iter::Peekable<std::str::Lines<'b>>);

impl<'b> Lines<'b> {
    fn of(bytes: &'b [u8]) -> Result<Self, String> {
        Ok(Self(std::str::from_utf8(bytes).map_err(|error| error.to_string())?.lines().peekable()))
    }

    /// A comment, and the line behind it. `None` at the end.
    fn pair(&mut self) -> Result<Option<(&'b str, &'b str)>, String> {
        let Some(comment) = self.0.find(|line| !line.trim().is_empty()) else { return Ok(None) };
        let comment = comment
            .strip_prefix(COMMENT)
            .ok_or("something follows that is none of it: what is signed has to be in a file of its own")?;
        let line = self.0.next().ok_or("it ends behind a comment")?;
        Ok(Some((comment.trim(), line.trim())))
    }

    /// The trusted comment of a signature, if it has one.
    fn trusted(&mut self) -> Result<Option<(&'b str, &'b str)>, String> {
        let Some(comment) = self.0.next_if(|line| line.starts_with(TRUSTED)) else { return Ok(None) };
        let line = self.0.next().ok_or("it ends behind a comment")?;
        Ok(comment.strip_prefix(TRUSTED).map(|comment| (comment, line.trim())))
    }
}
