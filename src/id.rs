//! Numbers of users and groups.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The number of a user or of a group. Never 4294967295: to the system that is `(uid_t)-1`, which means "leave it as it is".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Id(u32);

/// What is no [`Id`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoId;

impl Id {
    /// The greatest there is.
    pub const LAST: u32 = u32::MAX - 1;
    /// The system's own.
    pub const ROOT: Self = Self(0);

    /// As the system takes it.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for NoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "users and groups have numbers from 0 to {}", Id::LAST)
    }
}

impl std::error::Error for NoId {}

impl TryFrom<u32> for Id {
    type Error = NoId;

    fn try_from(number: u32) -> Result<Self, NoId> {
        if number <= Self::LAST { Ok(Self(number)) } else { Err(NoId) }
    }
}

impl From<Id> for u32 {
    fn from(id: Id) -> Self {
        id.0
    }
}

impl FromStr for Id {
    type Err = NoId;

    /// Digits and nothing else.
    fn from_str(text: &str) -> Result<Self, NoId> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NoId);
        }
        text.parse::<u32>().map_err(|_| NoId)?.try_into()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_that_means_leave_it_is_no_id_however_it_comes() {
        for text in ["4294967295", "4294967296", "18446744073709551615", "-1", "+0", "", " 0", "0x0", "1e1"] {
            assert_eq!(text.parse::<Id>(), Err(NoId), "{text}");
        }
        assert_eq!(Id::try_from(u32::MAX), Err(NoId));
        assert!(serde_json::from_str::<Id>("4294967295").is_err());
        for (text, number) in [("0", 0), ("007", 7), ("4294967294", 4_294_967_294)] {
            assert_eq!(text.parse::<Id>().map(Id::get), Ok(number));
        }
        assert_eq!(serde_json::to_string(&Id(5)).unwrap(), "5");
    }
}
