//! Kernel variables, as the kernel describes them.

use serde::{Deserialize, Serialize};

/// What the kernel says of a variable: type and flags (`<sys/sysctl.h>`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variable(u32);

/// `CTLFLAG_WR`
const WRITABLE: u32 = 0x4000_0000;
/// `CTLFLAG_VNET`: each network has one of its own.
const OF_NETWORK: u32 = 0x0002_0000;
/// `CTLFLAG_SECURE`, and where the level up to which it can be set stands.
const SECURE: u32 = 0x0800_0000;
const SECURE_SHIFT: u32 = 20;
/// `CTLTYPE_INT`
const INT: u32 = 2;
/// `CTLTYPE_STRING`
const TEXT: u32 = 3;

impl Variable {
    /// What the kernel's word for it means.
    pub fn of(kind: u32) -> Self {
        Self(kind)
    }

    /// One that each network has of its own, a number or a text.
    pub(crate) fn of_a_network(text: bool) -> Self {
        Self(WRITABLE | OF_NETWORK | if text { TEXT } else { INT })
    }

    /// The same, which nothing sets above secure level `level`.
    pub(crate) fn below(self, level: u32) -> Self {
        Self(self.0 | SECURE | level << SECURE_SHIFT)
    }

    /// A number that the host has alone.
    pub(crate) fn of_the_host() -> Self {
        Self(WRITABLE | INT)
    }

    /// A value in the form that the variable has.
    ///
    /// # Errors
    /// Why it is none that can be set in a jail's own network at this secure level; reads on after the variable's name.
    pub(crate) fn value(self, value: &str, securelevel: i32) -> Result<Vec<u8>, String> {
        self.settable(securelevel)?;
        self.bytes(value.trim()).ok_or_else(|| format!("does not take `{value}`"))
    }

    /// Whether a jail's own network has it, and it can be set there at this secure level.
    ///
    /// # Errors
    /// Why not; reads on after the variable's name.
    pub(crate) fn settable(self, securelevel: i32) -> Result<(), String> {
        if self.0 & OF_NETWORK == 0 {
            return Err("is the whole host's".to_owned());
        }
        if self.0 & WRITABLE == 0 {
            return Err("can only be read".to_owned());
        }
        // Four bits: no level is above what an i32 holds.
        let most = (self.0 >> SECURE_SHIFT & 0xf).cast_signed();
        if self.0 & SECURE != 0 && securelevel > most {
            return Err(format!("cannot be set at secure level {securelevel}"));
        }
        Ok(())
    }

    fn bytes(self, value: &str) -> Option<Vec<u8>> {
        Some(match self.0 & 0xf {
            INT | 0xe => value.parse::<i32>().ok()?.to_ne_bytes().to_vec(),
            TEXT if !value.contains('\0') => value.as_bytes().to_vec(),
            // Longs are as long as the machine's words: 64 bits on all that pods run on.
            4 | 7 => value.parse::<i64>().ok()?.to_ne_bytes().to_vec(),
            6 | 0xf => value.parse::<u32>().ok()?.to_ne_bytes().to_vec(),
            8 | 9 => value.parse::<u64>().ok()?.to_ne_bytes().to_vec(),
            0xa => value.parse::<u8>().ok()?.to_ne_bytes().to_vec(),
            0xb => value.parse::<u16>().ok()?.to_ne_bytes().to_vec(),
            0xc => value.parse::<i8>().ok()?.to_ne_bytes().to_vec(),
            0xd => value.parse::<i16>().ok()?.to_ne_bytes().to_vec(),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_the_width_that_the_variable_has() {
        let own = |kind: u32| Variable::of(WRITABLE | OF_NETWORK | kind);
        let length = |kind: u32, value: &str| own(kind).value(value, 2).map(|bytes| bytes.len());
        assert_eq!(length(INT, "-1"), Ok(4));
        assert_eq!(length(9, "18446744073709551615"), Ok(8));
        assert_eq!(length(0xa, "1"), Ok(1));
        assert_eq!(length(TEXT, "cubic"), Ok(5));
        for (kind, value) in [(INT, "2147483648"), (0xa, "256"), (6, "-1"), (5, "1"), (1, "1"), (INT, "")] {
            assert_eq!(length(kind, value), Err(format!("does not take `{value}`")), "{kind}");
        }
    }

    #[test]
    fn what_a_jails_network_has_not_or_may_not_set_is_told() {
        let value = |variable: Variable| variable.value("1", 2).unwrap_err();
        assert_eq!(value(Variable::of_the_host()), "is the whole host's");
        assert_eq!(value(Variable::of(OF_NETWORK | INT)), "can only be read");
        assert_eq!(value(Variable::of_a_network(false).below(0)), "cannot be set at secure level 2");
        assert!(Variable::of_a_network(false).below(2).value("1", 2).is_ok());
    }
}
