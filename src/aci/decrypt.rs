//! Images encrypted with a passphrase: OpenPGP messages.

use std::fmt;
use std::io::{BufReader, Read};

use pgp::composed::{DecryptionOptions, Edata, Esk, Message, TheRing};
use pgp::crypto::sym::SymmetricKeyAlgorithm;
use pgp::types::{Password, Seipdv1ReadMode};

use super::{Error, Kind, Passphrase, Result};

/// Decrypts `source` as it is read. Whether it was changed on its way is known only when it was read to its end, which fails then.
pub(super) fn decrypt<'a>(
    source: Box<dyn Read + Send + 'a>,
    passphrase: &Passphrase,
) -> Result<Box<dyn Read + Send + 'a>> {
    let fault = |kind| Error::new(kind, "decrypt the archive").clause("aci.encrypt");
    let (message, _) = Message::from_reader(BufReader::new(Unshown(source)))
        .map_err(|error| fault(Kind::Invalid).because(error.to_string()))?;
    let Message::Encrypted { esk, edata, .. } = &message else {
        return Err(fault(Kind::Invalid).because("it is an OpenPGP message that is not encrypted"));
    };
    let ciphers: Vec<_> = esk
        .iter()
        .filter_map(|key| match key {
            Esk::SymKeyEncryptedSessionKey(key) => key.sym_algorithm(),
            Esk::PublicKeyEncryptedSessionKey(_) => None,
        })
        .collect();
    if ciphers.is_empty() {
        return Err(fault(Kind::Encrypted).because("it is encrypted for a key, not with a passphrase"));
    }
    use SymmetricKeyAlgorithm::{AES128, AES192, AES256};
    if !ciphers.iter().any(|cipher| matches!(cipher, AES128 | AES192 | AES256)) {
        return Err(fault(Kind::Invalid).because("it is not encrypted with AES"));
    }
    if matches!(edata, Edata::SymEncryptedData { .. }) {
        return Err(fault(Kind::Invalid).because("it is not protected against changes; gpg refuses it too"));
    }
    let password = Password::from(passphrase.0.as_str());
    // By default all of it would be held in memory. Nothing that comes before the end is used where the end is wrong.
    let options = DecryptionOptions::new().enable_gnupg_aead().set_seipdv1_read_mode(Seipdv1ReadMode::Streaming);
    let ring = TheRing { message_password: vec![&password], decrypt_options: options, ..TheRing::default() };
    let (mut message, _) = message
        .decrypt_the_ring(ring, true)
        .map_err(|_| fault(Kind::Encrypted).because("the passphrase is not the right one"))?;
    if message.is_compressed() {
        message = message.decompress().map_err(|error| fault(Kind::Invalid).because(error.to_string()))?;
    }
    if !message.is_literal() {
        return Err(fault(Kind::Invalid).because("what is inside is not plain data"));
    }
    Ok(Box::new(message))
}

/// A source that says nothing about itself: the library wants one that can.
struct Unshown<R>(R);

impl<R> fmt::Debug for Unshown<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("source")
    }
}

impl<R: Read> Read for Unshown<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(into)
    }
}
