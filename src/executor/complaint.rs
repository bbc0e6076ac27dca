//! Errors on their way from one process to another.

use serde::{Deserialize, Serialize};

use super::{Error, Kind};

/// The longest text of a message, in bytes: a message has at most two, and takes 64 KiB with each byte put in six.
const LONGEST: usize = 4096;

/// `text`, or its two ends where it is too long for a message: what an image names may have any length.
pub fn shortened(text: String) -> String {
    if text.len() <= LONGEST {
        return text;
    }
    let whole = |at: usize| (at..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    let (head, tail) = (whole(LONGEST / 2), whole(text.len() - LONGEST / 4));
    format!("{}[... {} bytes ...]{}", &text[..head], tail - head, &text[tail..])
}

/// An error on its way from one process to another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Complaint {
    kind: Kind,
    doing: String,
    clause: Option<String>,
    why: Option<String>,
}

impl From<&Error> for Complaint {
    fn from(error: &Error) -> Self {
        Self {
            kind: *error.kind(),
            doing: shortened(error.doing().to_owned()),
            clause: error.clause_id().map(str::to_owned),
            why: std::error::Error::source(error).map(crate::error::chain).map(shortened),
        }
    }
}

impl From<Complaint> for Error {
    fn from(complaint: Complaint) -> Self {
        let mut error = Self::new(complaint.kind, complaint.doing);
        if let Some(clause) = complaint.clause.as_deref().and_then(crate::spec::clause) {
            error = error.clause(&clause.id);
        }
        match complaint.why {
            Some(why) => error.because(why),
            None => error,
        }
    }
}
