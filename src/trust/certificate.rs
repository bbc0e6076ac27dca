//! Public keys: reading, naming, and which of their parts may sign now.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use pgp::composed::{ArmorOptions, Deserializable, SignedPublicKey, SignedPublicSubKey};
use pgp::packet::{Signature, SignatureType, SubpacketData};
use pgp::ser::Serialize;
use pgp::types::{EcdsaPublicParams, EddsaLegacyPublicParams, KeyDetails, PublicParams, Tag, Timestamp, VerifyingKey};

use super::signify::{self, SignifyKey};
use super::{Error, Kind};

/// The most that a file of keys may hold, in bytes.
pub const MAX_KEYRING: usize = 4 << 20;

/// RSA keys below this many bits can be factored by people with time.
const MIN_RSA_BITS: usize = 2048;

/// The full fingerprint of a primary key, in upper-case hex digits (40 of them, or 64 for version 6 keys). A key of signify is so
/// short that it is its own: 64 digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(String);

impl Fingerprint {
    pub(super) fn of(key: &impl KeyDetails) -> Self {
        Self(format!("{:X}", key.fingerprint()))
    }

    pub(super) fn of_signify(key: &[u8; 32]) -> Self {
        Self(hex(key))
    }

    /// Upper-case hex digits.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Fingerprint {
    type Err = Error;

    /// Takes what programs print: any case, with or without spaces, colons, and a leading `0x`; of signify and minisign the key in
    /// base 64.
    fn from_str(text: &str) -> Result<Self, Error> {
        if let Some(key) = SignifyKey::of_line(text.trim()) {
            return Ok(key.fingerprint());
        }
        let digits: String = text.chars().filter(|c| !c.is_whitespace() && *c != ':').collect();
        let digits = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")).unwrap_or(&digits);
        let hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !hex || !matches!(digits.len(), 40 | 64) {
            return Err(Error::new(Kind::Malformed, format!("read fingerprint `{text}`"))
                .because("40 or 64 hex digits are wanted; short key ids can be forged"));
        }
        Ok(Self(digits.to_ascii_uppercase()))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A public key: of OpenPGP with its subkeys and users, or of signify.
#[derive(Clone, Debug)]
pub struct Certificate(Form);

#[derive(Clone, Debug)]
enum Form {
    OpenPgp(Box<SignedPublicKey>),
    Signify(Box<SignifyKey>),
}

impl Certificate {
    /// All keys of a file, armoured (any number of blocks) or binary. At least one. A key that is there several times is one: what
    /// any copy says of it holds, a revocation before all.
    pub fn parse_many(bytes: &[u8]) -> Result<Vec<Self>, Error> {
        let malformed = || Error::new(Kind::Malformed, "read public keys");
        if bytes.len() > MAX_KEYRING {
            return Err(malformed().because(format!("more than {MAX_KEYRING} bytes")));
        }
        if signify::is_meant(bytes) {
            let keys = SignifyKey::parse_many(bytes)?.into_iter().map(|key| Self(Form::Signify(Box::new(key))));
            return Ok(Keyring::from_iter(keys).certificates);
        }
        let mut found = Vec::new();
        for block in blocks(bytes) {
            let (keys, _) = SignedPublicKey::from_reader_many(block)
                .map_err(|error| malformed().because(format!("it does not begin as OpenPGP keys do: {error}")))?;
            for key in keys {
                let key = key.map_err(|error| malformed().because(error.to_string()))?;
                found.push(Self(Form::OpenPgp(Box::new(key))));
            }
        }
        if found.is_empty() {
            return Err(malformed().because("no OpenPGP public key in it"));
        }
        Ok(Keyring::from_iter(found).certificates)
    }

    /// The fingerprint of the primary key.
    pub fn fingerprint(&self) -> Fingerprint {
        match &self.0 {
            Form::OpenPgp(key) => Fingerprint::of(&key.primary_key),
            Form::Signify(key) => key.fingerprint(),
        }
    }

    /// Who the key says it belongs to. Nobody has checked that.
    pub fn users(&self) -> Vec<String> {
        match &self.0 {
            Form::OpenPgp(key) => users(key),
            Form::Signify(key) => vec![key.described()],
        }
    }

    /// Whether it is of signify or minisign, whose signatures are in files of their own.
    pub(crate) fn is_signify(&self) -> bool {
        matches!(self.0, Form::Signify(_))
    }

    /// Whether the key could sign an image now, and if not why.
    pub fn usable(&self, now: SystemTime) -> Result<(), Error> {
        // Keys of signify have no dates and cannot be revoked: whoever trusts one no more removes it.
        let Form::OpenPgp(key) = &self.0 else { return Ok(()) };
        let subject = format!("use key {}", self.fingerprint());
        let primary = Primary::judge(key, now, &subject)?;
        let mut refusal = match primary.may_sign {
            true => return Ok(()),
            false => Error::new(Kind::Unfit, subject.clone()).because("it has no part that may sign"),
        };
        for subkey in &key.public_subkeys {
            match check_subkey(key, subkey, now, &subject) {
                Ok(()) => return Ok(()),
                Err(error) if *error.kind() != Kind::Unfit => refusal = error,
                Err(_) => {}
            }
        }
        Err(refusal)
    }

    /// The key as text: an armoured block, or a comment and a line.
    pub(crate) fn armoured(&self) -> Result<Vec<u8>, Error> {
        match &self.0 {
            Form::OpenPgp(key) => key.to_armored_bytes(ArmorOptions::default()).map_err(|error| {
                Error::new(Kind::Malformed, format!("write key {}", self.fingerprint())).because(error.to_string())
            }),
            Form::Signify(key) => Ok(key.to_string().into_bytes()),
        }
    }

    /// Takes what another copy of this key says.
    pub(super) fn merge(&mut self, Self(other): Self) {
        let (Form::OpenPgp(key), Form::OpenPgp(other)) = (&mut self.0, other) else { return };
        let details = &mut key.details;
        add(&mut details.revocation_signatures, other.details.revocation_signatures);
        add(&mut details.direct_signatures, other.details.direct_signatures);
        for user in other.details.users {
            match details.users.iter_mut().find(|known| known.id.id() == user.id.id()) {
                Some(known) => add(&mut known.signatures, user.signatures),
                None => details.users.push(user),
            }
        }
        for subkey in other.public_subkeys {
            let fingerprint = subkey.key.fingerprint();
            match key.public_subkeys.iter_mut().find(|known| known.key.fingerprint() == fingerprint) {
                Some(known) => add(&mut known.signatures, subkey.signatures),
                None => key.public_subkeys.push(subkey),
            }
        }
    }

    /// The part of this key that says it made `signature`, primary or subkey.
    pub(super) fn part_that_made(&self, signature: &Signature) -> Option<Part> {
        let Form::OpenPgp(key) = &self.0 else { return None };
        if names(signature, &key.primary_key) {
            return Some(Part { key: key.clone(), subkey: None });
        }
        let subkey = key.public_subkeys.iter().find(|subkey| names(signature, &subkey.key))?;
        Some(Part { key: key.clone(), subkey: Some(subkey.clone()) })
    }

    /// The key, where it is one of signify.
    pub(super) fn signify(&self) -> Option<&SignifyKey> {
        match &self.0 {
            Form::Signify(key) => Some(key),
            Form::OpenPgp(_) => None,
        }
    }
}

fn users(key: &SignedPublicKey) -> Vec<String> {
    let printable = |id: &pgp::packet::UserId| {
        String::from_utf8_lossy(id.id()).chars().map(|c| if c.is_control() { '?' } else { c }).collect()
    };
    key.details.users.iter().map(|user| printable(&user.id)).collect()
}

/// Keys that count for one purpose.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    certificates: Vec<Certificate>,
    /// Said when a signature's key is not among them: for what it was wanted, where else it is trusted.
    purpose: Option<String>,
    elsewhere: Vec<(Fingerprint, String, Certificate)>,
}

impl Keyring {
    /// The keys of a file, armoured or binary.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        Certificate::parse_many(bytes).map(Self::from_iter)
    }

    /// What the keys are wanted for: `example.com/app`.
    #[must_use]
    pub(super) fn for_purpose(mut self, purpose: String) -> Self {
        self.purpose = Some(purpose);
        self
    }

    /// A key that is trusted, but not for this purpose; told when it is the one that signed.
    pub(super) fn note_elsewhere(&mut self, certificate: Certificate, scope: String) {
        self.elsewhere.push((certificate.fingerprint(), scope, certificate));
    }

    /// Whether there are keys of OpenPGP, and of signify.
    pub fn forms(&self) -> (bool, bool) {
        let signify = self.certificates.iter().filter(|certificate| certificate.is_signify()).count();
        (signify < self.certificates.len(), signify > 0)
    }

    /// The keys.
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    pub(super) fn part_that_made(&self, signature: &Signature) -> Option<Part> {
        self.certificates.iter().find_map(|certificate| certificate.part_that_made(signature))
    }

    /// That none of the keys here made any of these signatures: which were wanted, and where they are trusted.
    pub(super) fn unknown(&self, signatures: &[Signature]) -> Error {
        let wanted = signatures.iter().flat_map(issuers).collect();
        self.unknown_keys(wanted, |certificate| {
            signatures.iter().any(|signature| certificate.part_that_made(signature).is_some())
        })
    }

    /// That none of the keys that are `wanted` is here.
    pub(super) fn unknown_keys(&self, wanted: BTreeSet<String>, made: impl Fn(&Certificate) -> bool) -> Error {
        let elsewhere = self.elsewhere.iter().filter(|(.., certificate)| made(certificate));
        let elsewhere: BTreeSet<String> =
            elsewhere.map(|(fingerprint, scope, _)| format!("{fingerprint} is trusted for {scope} only")).collect();
        let wanted = match wanted.is_empty() {
            true => "a key that it does not name".to_owned(),
            false => wanted.into_iter().collect::<Vec<_>>().join(", "),
        };
        let purpose = match &self.purpose {
            Some(purpose) => format!("not trusted for {purpose}"),
            None => "not in the keyring".to_owned(),
        };
        let mut text = format!("made by key {wanted}, which is {purpose}");
        for line in elsewhere {
            text.push_str("; ");
            text.push_str(&line);
        }
        Error::new(Kind::Untrusted, "verify the signature").clause("disc.sigpolicy").because(text)
    }
}

impl FromIterator<Certificate> for Keyring {
    /// A key that is there several times is one: what any copy says of it holds, a revocation before all.
    fn from_iter<I: IntoIterator<Item = Certificate>>(certificates: I) -> Self {
        let mut keyring = Self::default();
        let mut places: BTreeMap<Fingerprint, usize> = BTreeMap::new();
        for certificate in certificates {
            match places.entry(certificate.fingerprint()) {
                Entry::Occupied(place) => keyring.certificates[*place.get()].merge(certificate),
                Entry::Vacant(place) => {
                    place.insert(keyring.certificates.len());
                    keyring.certificates.push(certificate);
                }
            }
        }
        keyring
    }
}

/// A primary key or a subkey that may have made a signature.
pub(super) struct Part {
    key: Box<SignedPublicKey>,
    subkey: Option<SignedPublicSubKey>,
}

impl Part {
    /// The primary key's fingerprint, and the users it names.
    pub(super) fn owner(&self) -> (Fingerprint, Vec<String>) {
        (Fingerprint::of(&self.key.primary_key), users(&self.key))
    }

    /// Checks `hash` against `signature` with this part's key material.
    pub(super) fn check(&self, signature: &Signature, hash: &[u8]) -> pgp::errors::Result<()> {
        let (Some(config), Some(bytes)) = (signature.config(), signature.signature()) else {
            return Err(pgp::errors::Error::from("unknown form of signature".to_owned()));
        };
        match &self.subkey {
            Some(subkey) => subkey.key.verify(config.hash_alg, hash, bytes),
            None => self.key.primary_key.verify(config.hash_alg, hash, bytes),
        }
    }

    /// Whether this part may sign now.
    pub(super) fn usable(&self, now: SystemTime) -> Result<(), Error> {
        let subject = format!("verify the signature by key {}", Fingerprint::of(&self.key.primary_key));
        let primary = Primary::judge(&self.key, now, &subject)?;
        match &self.subkey {
            Some(subkey) => check_subkey(&self.key, subkey, now, &subject),
            None => match primary.may_sign {
                true => Ok(()),
                false => Err(Error::new(Kind::Unfit, subject).because("the primary key is not meant for signing data")),
            },
        }
    }

    /// When this part was made.
    pub(super) fn created(&self) -> SystemTime {
        match &self.subkey {
            Some(subkey) => subkey.key.created_at().into(),
            None => self.key.primary_key.created_at().into(),
        }
    }
}

/// What the newest valid self-signature says about a primary key that is neither revoked nor expired.
struct Primary {
    may_sign: bool,
}

impl Primary {
    fn judge(key: &SignedPublicKey, now: SystemTime, subject: &str) -> Result<Self, Error> {
        let primary = &key.primary_key;
        check_algorithm(primary.public_params(), subject)?;
        if key.details.revocation_signatures.iter().any(|signature| signature.verify_key(primary).is_ok()) {
            return Err(Error::new(Kind::Revoked, subject).because("the key was revoked"));
        }
        let direct = key.details.direct_signatures.iter().filter(|signature| {
            signature.typ() == Some(SignatureType::Key)
                && obscure(signature).is_none()
                && signature.verify_key(primary).is_ok()
        });
        let by_user = key.details.users.iter().filter_map(|user| {
            // What is newest counts, and a revoked name says nothing any more.
            let newest = newest(user.signatures.iter().filter(|signature| {
                // A revocation counts whatever else it says.
                let plain = || signature.typ() == Some(SignatureType::CertRevocation) || obscure(signature).is_none();
                let verified = || signature.verify_certification(primary, Tag::UserId, &user.id).is_ok();
                names(signature, primary) && plain() && verified()
            }))?;
            (newest.typ() != Some(SignatureType::CertRevocation)).then_some(newest)
        });
        let Some(newest) = newest(direct.chain(by_user)) else {
            return Err(Error::new(Kind::Unfit, subject).because("the key has no valid signature by itself"));
        };
        check_expiry(primary.created_at(), newest, now, subject, "the key")?;
        Ok(Self { may_sign: primary.algorithm().can_sign() && may_sign(newest) })
    }
}

fn check_subkey(
    key: &SignedPublicKey,
    subkey: &SignedPublicSubKey,
    now: SystemTime,
    subject: &str,
) -> Result<(), Error> {
    let primary = &key.primary_key;
    let bound = |signature: &&Signature| signature.verify_subkey_binding(primary, &subkey.key).is_ok();
    let is = |typ: SignatureType| move |signature: &&Signature| signature.typ() == Some(typ);
    if subkey.signatures.iter().filter(is(SignatureType::SubkeyRevocation)).any(|signature| bound(&signature)) {
        return Err(Error::new(Kind::Revoked, subject).because("the subkey that signed was revoked"));
    }
    let unfit = |why: &'static str| Error::new(Kind::Unfit, subject).because(why);
    check_algorithm(subkey.key.public_params(), subject)?;
    let plain = |signature: &&Signature| obscure(signature).is_none();
    let bindings = subkey.signatures.iter().filter(is(SignatureType::SubkeyBinding)).filter(plain);
    let binding = newest(bindings.filter(bound)).ok_or_else(|| unfit("the subkey is not bound to its primary key"))?;
    if !binding.key_flags().sign() {
        return Err(unfit("the subkey is not meant for signing"));
    }
    let back = binding.embedded_signature().ok_or_else(|| unfit("the subkey does not acknowledge its primary key"))?;
    back.verify_primary_key_binding(&subkey.key, primary)
        .map_err(|_| unfit("the subkey does not acknowledge its primary key"))?;
    check_expiry(subkey.key.created_at(), binding, now, subject, "the subkey that signed")
}

/// Key flags are optional; without them a primary key may do what its algorithm can.
fn may_sign(signature: &Signature) -> bool {
    let stated = signature.config().is_some_and(|config| {
        config.hashed_subpackets().any(|packet| matches!(packet.data, pgp::packet::SubpacketData::KeyFlags(_)))
    });
    !stated || signature.key_flags().sign()
}

/// What `signature` demands to be understood and is not, which makes it none (RFC 9580, 5.2.3.7). Types that the parser does not know it
/// refuses itself.
pub(super) fn obscure(signature: &Signature) -> Option<String> {
    let critical = signature.config()?.hashed_subpackets().filter(|packet| packet.is_critical);
    critical.into_iter().find_map(|packet| match &packet.data {
        SubpacketData::Notation(notation) => Some(format!("notation `{}`", String::from_utf8_lossy(&notation.name))),
        SubpacketData::Experimental(kind, _) | SubpacketData::Other(kind, _) => {
            Some(format!("subpacket of type {kind}"))
        }
        _ => None,
    })
}

fn add(known: &mut Vec<Signature>, others: Vec<Signature>) {
    for other in others {
        if !known.contains(&other) {
            known.push(other);
        }
    }
}

/// Whether signatures by such a key can be checked, and be believed.
fn check_algorithm(params: &PublicParams, subject: &str) -> Result<(), Error> {
    let unsupported = |what: String| Err(Error::new(Kind::Unfit, subject).because(format!("{what} are not supported")));
    match params {
        PublicParams::RSA(_) => {}
        PublicParams::ECDSA(params @ (EcdsaPublicParams::Unsupported { .. } | EcdsaPublicParams::Secp256k1 { .. })) => {
            return unsupported(format!("keys on the curve {}", params.curve().name()));
        }
        PublicParams::EdDSALegacy(EddsaLegacyPublicParams::Unsupported { curve, .. }) => {
            return unsupported(format!("keys on the curve {}", curve.name()));
        }
        PublicParams::Unknown { .. } => return unsupported("keys of this algorithm".to_owned()),
        _ => return Ok(()),
    }
    // The modulus comes first, after its length in bits.
    let bits = params.to_bytes().ok().and_then(|bytes| Some(usize::from(u16::from_be_bytes(*bytes.first_chunk()?))));
    match bits {
        Some(bits) if bits >= MIN_RSA_BITS => Ok(()),
        bits => Err(Error::new(Kind::Unfit, subject)
            .because(format!("an RSA key of {} bits; at least {MIN_RSA_BITS} are wanted", bits.unwrap_or(0)))),
    }
}

fn check_expiry(
    created: Timestamp,
    binding: &Signature,
    now: SystemTime,
    subject: &str,
    what: &str,
) -> Result<(), Error> {
    let expires = |from: Timestamp, after: Option<pgp::types::Duration>| {
        let after = after.filter(|after| after.as_secs() != 0)?;
        Some(SystemTime::from(from) + Duration::from(after))
    };
    let key_ends = expires(created, binding.key_expiration_time());
    let binding_ends = binding.created().and_then(|from| expires(from, binding.signature_expiration_time()));
    match key_ends.into_iter().chain(binding_ends).min() {
        Some(end) if end <= now => {
            Err(Error::new(Kind::Expired, subject).because(format!("{what} expired on {}", day(end))))
        }
        _ => Ok(()),
    }
}

/// A time as people and logs want it, in UTC.
pub(super) fn day(time: SystemTime) -> String {
    match jiff::Timestamp::try_from(time) {
        Ok(time) => jiff::fmt::strtime::format("%Y-%m-%d %H:%M:%S UTC", time).unwrap_or_else(|_| time.to_string()),
        Err(_) => "a time out of range".to_owned(),
    }
}

/// Whether `signature` names `key` as its issuer. Signatures without issuer name nobody.
fn names(signature: &Signature, key: &impl KeyDetails) -> bool {
    let fingerprints = signature.issuer_fingerprint();
    if !fingerprints.is_empty() {
        return fingerprints.iter().any(|fingerprint| **fingerprint == key.fingerprint());
    }
    signature.issuer_key_id().iter().any(|id| **id == key.legacy_key_id())
}

/// The keys that a signature says it is by: fingerprints, else key ids.
pub(super) fn issuers(signature: &Signature) -> Vec<String> {
    let fingerprints = signature.issuer_fingerprint();
    match fingerprints.is_empty() {
        false => fingerprints.iter().map(|fingerprint| format!("{fingerprint:X}")).collect(),
        true => signature.issuer_key_id().iter().map(|id| hex(id.as_ref())).collect(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

fn newest<'s>(signatures: impl Iterator<Item = &'s Signature>) -> Option<&'s Signature> {
    signatures.max_by_key(|signature| signature.created())
}

/// The armoured blocks of a file, or the file whole where it is binary.
pub(super) fn blocks(bytes: &[u8]) -> Vec<&[u8]> {
    const BEGIN: &[u8] = b"-----BEGIN PGP ";
    let starts: Vec<usize> =
        (0..bytes.len()).filter(|&at| bytes[at..].starts_with(BEGIN) && (at == 0 || bytes[at - 1] == b'\n')).collect();
    if starts.is_empty() {
        return vec![bytes];
    }
    let ends = starts.iter().skip(1).copied().chain([bytes.len()]);
    starts.iter().zip(ends).map(|(&start, end)| &bytes[start..end]).collect()
}
