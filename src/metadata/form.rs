//! `application/x-www-form-urlencoded`, strictly: what does not decode is refused, and no name may stand twice.

use std::fmt;

use super::answer::percent_decoded;

/// The fields of a form. Values are bytes: what is to be signed need not be text.
#[derive(Debug, PartialEq, Eq)]
pub struct Form(Vec<(Vec<u8>, Vec<u8>)>);

/// Why a body is not a form that can be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FormError {
    /// A `%` without two hexadecimal digits behind it.
    Encoding,
    /// A field that stands twice.
    Twice(String),
    /// More fields than any form of ours could need.
    TooMany,
    /// A field that is not there.
    Missing(&'static str),
}

/// More fields than any form of ours has, few enough that looking for doubles costs nothing.
const MAX_FIELDS: usize = 64;

impl Form {
    /// Decodes a body.
    ///
    /// # Errors
    /// See [`FormError`].
    pub(crate) fn parse(body: &[u8]) -> Result<Self, FormError> {
        let mut fields: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        for field in body.split(|byte| *byte == b'&').filter(|field| !field.is_empty()) {
            let split = field.iter().position(|byte| *byte == b'=');
            let (name, value) = split.map_or((field, &field[field.len()..]), |at| (&field[..at], &field[at + 1..]));
            let name = decoded(name).ok_or(FormError::Encoding)?;
            if fields.len() == MAX_FIELDS {
                return Err(FormError::TooMany);
            }
            if fields.iter().any(|(known, _)| *known == name) {
                return Err(FormError::Twice(name.escape_ascii().to_string()));
            }
            fields.push((name, decoded(value).ok_or(FormError::Encoding)?));
        }
        Ok(Self(fields))
    }

    /// All fields, in their order.
    #[cfg(test)]
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(name, value)| (name.as_slice(), value.as_slice()))
    }

    /// The value of a field.
    ///
    /// # Errors
    /// [`FormError::Missing`].
    pub(crate) fn field(&self, name: &'static str) -> Result<&[u8], FormError> {
        let found = self.0.iter().find(|(known, _)| known == name.as_bytes());
        found.map(|(_, value)| value.as_slice()).ok_or(FormError::Missing(name))
    }
}

impl fmt::Display for FormError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encoding => f.write_str("a % in the form is not followed by two hexadecimal digits"),
            Self::Twice(name) => write!(f, "the form has the field {name:.40} twice"),
            Self::TooMany => write!(f, "the form has more than {MAX_FIELDS} fields"),
            Self::Missing(name) => write!(f, "the form has no field {name}"),
        }
    }
}

fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let spaced: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    percent_decoded(&spaced)
}
