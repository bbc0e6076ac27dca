//! The secret in a pod's metadata URL.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{Error, Kind};

/// 256 random bits as 64 lower-case hexadecimal digits (mds.token.entropy, mds.token.guess).
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// A new token from the system's randomness.
    ///
    /// # Errors
    /// [`Kind::Io`] when the system has none.
    pub fn generate() -> Result<Self, Error> {
        let mut bits = [0_u8; 32];
        getrandom::fill(&mut bits).map_err(|error| Error::new(Kind::Io, "make a token").because(error))?;
        Ok(Self(hex(&bits)))
    }

    /// A token that another process made.
    ///
    /// Gives `None` for anything but 64 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (text.len() == 64 && digits).then(|| Self(text.to_owned()))
    }

    /// The digits. They are a secret of the pod: not for logs, not for arguments.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `claimed` is this token, in a time that does not depend on how much of it is right.
    pub(crate) fn is(&self, claimed: &str) -> bool {
        self.0.as_bytes().ct_eq(claimed.as_bytes()).into()
    }

    /// What the pods are looked up by. Taken of a hash, a look-up's time tells nothing about the token.
    pub(super) fn digest(claimed: &str) -> [u8; 32] {
        Sha256::digest(claimed.as_bytes()).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(secret)")
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    nibbles.map(|nibble| char::from(DIGITS[usize::from(nibble)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_and_have_256_bits() {
        let (one, other) = (Token::generate().unwrap(), Token::generate().unwrap());
        assert_eq!(one.as_str().len() * 4, 256);
        assert!(!one.is(other.as_str()));
        assert!(one.is(one.as_str()));
        assert!(Token::parse(one.as_str()).is_some_and(|parsed| parsed.is(one.as_str())));
    }

    #[test]
    fn a_part_of_a_token_is_not_the_token() {
        let token = Token::generate().unwrap();
        for length in 0..64 {
            assert!(!token.is(&token.as_str()[..length]));
            assert!(Token::parse(&token.as_str()[..length]).is_none());
        }
        assert!(!token.is(&format!("{}0", token.as_str())));
        assert!(!token.is(&token.as_str().to_uppercase()) || token.as_str().bytes().all(|byte| byte.is_ascii_digit()));
    }

    #[test]
    fn a_token_is_not_printed_by_accident() {
        let token = Token::generate().unwrap();
        assert!(!format!("{token:?}").contains(token.as_str()));
    }
}
