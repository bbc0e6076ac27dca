//! Amounts of a resource: decimal text with a suffix, held as an exact integer (res.quantity.*).

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Number, Value};

const NANO: u128 = 1_000_000_000;
/// The largest amount in base units: what a signed 64-bit counter of a kernel holds.
const LARGEST: u128 = i64::MAX as u128;

/// An amount of a resource. Compares by value (`123Mi` equals `128974848`) and is written as it was read.
#[derive(Clone, Debug)]
pub struct Quantity {
    written: Value,
    nanos: u128,
    lenient: Option<Lenient>,
}

/// A way of writing an amount that the text does not have and the reference tools take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Lenient {
    /// A JSON number in place of a string.
    Number,
    /// A plus sign.
    Sign,
    /// The suffix `n` or `u`.
    Small,
    /// A power of ten, `1e3`.
    Exponent,
    /// A point without digits on one side.
    Point,
}

/// Why a text is no amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// Not a decimal number with an optional suffix.
    Malformed,
    /// Below zero.
    Negative,
    /// Above 2^63 - 1 base units.
    TooLarge,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => {
                "not a decimal number with one of the suffixes m, k, K, M, G, T, P, E, Ki, Mi, Gi, Ti, Pi, Ei"
            }
            Self::Negative => "an amount cannot be negative",
            Self::TooLarge => "larger than 9223372036854775807",
        })
    }
}

impl std::error::Error for Fault {}

impl Quantity {
    /// The amount in whole base units (bytes, operations, cores), a fraction rounded up.
    pub fn units(&self) -> u64 {
        u64::try_from(self.nanos.div_ceil(NANO)).expect("parsing refuses amounts beyond 63 bits")
    }

    /// The amount in thousandths of the base unit, rounded up; `u64::MAX` where they would be more.
    pub fn millis(&self) -> u64 {
        u64::try_from(self.nanos.div_ceil(NANO / 1000)).unwrap_or(u64::MAX)
    }

    /// Whether the amount is one of whole base units.
    pub fn is_whole(&self) -> bool {
        self.nanos.is_multiple_of(NANO)
    }

    /// The amount in billionths of the base unit, exactly.
    pub fn nanos(&self) -> u128 {
        self.nanos
    }

    /// How the amount was written, if in a way that the text does not have.
    pub fn lenient(&self) -> Option<Lenient> {
        self.lenient
    }

    /// The amount in its one shortest spelling: an integer with the largest metric suffix that keeps it one.
    pub fn canonical(&self) -> String {
        const STEPS: [(u128, &str); 9] = [
            (NANO * 1_000_000_000_000_000_000, "E"),
            (NANO * 1_000_000_000_000_000, "P"),
            (NANO * 1_000_000_000_000, "T"),
            (NANO * 1_000_000_000, "G"),
            (NANO * 1_000_000, "M"),
            (NANO * 1000, "k"),
            (NANO, ""),
            (NANO / 1000, "m"),
            (1, "n"),
        ];
        if self.nanos == 0 {
            return "0".to_owned();
        }
        STEPS
            .iter()
            .find(|(size, _)| self.nanos.is_multiple_of(*size))
            .map(|(size, suffix)| format!("{}{suffix}", self.nanos / size))
            .expect("every integer is a multiple of one")
    }

    fn from_number(number: Number) -> Result<Self, Fault> {
        let (nanos, _) = parse(&number.to_string())?;
        Ok(Self { written: Value::Number(number), nanos, lenient: Some(Lenient::Number) })
    }
}

impl FromStr for Quantity {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let (nanos, lenient) = parse(text)?;
        Ok(Self { written: Value::String(text.to_owned()), nanos, lenient })
    }
}

impl From<u64> for Quantity {
    /// So many base units, at most 2^63 - 1.
    fn from(units: u64) -> Self {
        let units = units.min(i64::MAX as u64);
        Self { written: Value::String(units.to_string()), nanos: u128::from(units) * NANO, lenient: None }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.written {
            Value::String(text) => f.pad(text),
            other => f.pad(&other.to_string()),
        }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => text.parse(),
            Value::Number(number) => Self::from_number(number),
            _ => Err(Fault::Malformed),
        }
        .map_err(serde::de::Error::custom)
    }
}

/// The factor of a suffix: a power of ten and a power of two.
fn suffix(text: &str) -> Option<(i32, u32, Option<Lenient>)> {
    Some(match text {
        "" => (0, 0, None),
        "n" => (-9, 0, Some(Lenient::Small)),
        "u" => (-6, 0, Some(Lenient::Small)),
        "m" => (-3, 0, None),
        "k" | "K" => (3, 0, None),
        "M" => (6, 0, None),
        "G" => (9, 0, None),
        "T" => (12, 0, None),
        "P" => (15, 0, None),
        "E" => (18, 0, None),
        "Ki" => (0, 10, None),
        "Mi" => (0, 20, None),
        "Gi" => (0, 30, None),
        "Ti" => (0, 40, None),
        "Pi" => (0, 50, None),
        "Ei" => (0, 60, None),
        _ => {
            let power = text.strip_prefix(['e', 'E'])?;
            let digits = power.strip_prefix(['+', '-']).unwrap_or(power);
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            // A power beyond any amount stays beyond it; the bound keeps the arithmetic small.
            let size = digits.parse::<i32>().unwrap_or(i32::MAX).min(10_000);
            (if power.starts_with('-') { -size } else { size }, 0, Some(Lenient::Exponent))
        }
    })
}

/// The amount in billionths, rounded up.
fn parse(text: &str) -> Result<(u128, Option<Lenient>), Fault> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, rest) = unsigned.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() + fraction.len() == 0 || fraction.contains('.') {
        return Err(Fault::Malformed);
    }
    let (tens, twos, lenient) = suffix(rest).ok_or(Fault::Malformed)?;

    let mut digits: u128 = 0;
    for byte in whole.bytes() {
        digits = digits.checked_mul(10).and_then(|d| d.checked_add(u128::from(byte - b'0'))).ok_or(Fault::TooLarge)?;
    }
    // Digits that 128 bits cannot hold any more only tell that the amount is a little larger.
    let (mut places, mut more) = (0_i32, false);
    for byte in fraction.bytes() {
        let digit = u128::from(byte - b'0');
        match digits.checked_mul(10).and_then(|d| d.checked_add(digit)) {
            Some(longer) if places < 18 => (digits, places) = (longer, places + 1),
            _ => more |= digit != 0,
        }
    }
    let amount = digits.checked_mul(1 << twos).ok_or(Fault::TooLarge)?;
    let power = 9 + tens - places;
    let nanos = if amount == 0 {
        0
    } else if power >= 0 {
        10_u128.checked_pow(power.unsigned_abs()).and_then(|p| amount.checked_mul(p)).ok_or(Fault::TooLarge)?
    } else {
        10_u128.checked_pow(power.unsigned_abs()).map_or(1, |p| amount.div_ceil(p))
    };
    let nanos = nanos.saturating_add(u128::from(more));
    if text.starts_with('-') && nanos != 0 {
        return Err(Fault::Negative);
    }
    if nanos > LARGEST * NANO {
        return Err(Fault::TooLarge);
    }
    let point = number.starts_with('.') || number.ends_with('.');
    let sign = unsigned.len() != text.len();
    Ok((nanos, lenient.or(point.then_some(Lenient::Point)).or(sign.then_some(Lenient::Sign))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn units(text: &str) -> u64 {
        text.parse::<Quantity>().unwrap_or_else(|fault| panic!("{text}: {fault}")).units()
    }

    #[test]
    fn three_spellings_of_one_amount_are_equal() {
        let all: Vec<Quantity> = ["128974848", "125952Ki", "123Mi"].iter().map(|q| q.parse().unwrap()).collect();
        assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
        assert_eq!(all[0].units(), 128_974_848);
    }

    #[test]
    fn suffixes_have_their_factors() {
        assert_eq!(units("1k"), 1000);
        assert_eq!(units("1K"), 1000);
        assert_eq!(units("1Ki"), 1024);
        assert_eq!(units("9E"), 9_000_000_000_000_000_000);
        assert_eq!(units("7Ei"), 7 << 60);
        assert_eq!(units("1.5Gi"), 3 << 29);
        assert_eq!(units("1e3"), 1000);
        assert_eq!(units("1E+2"), 100);
    }

    #[test]
    fn fractions_round_up_and_thousandths_are_kept() {
        assert_eq!(units("0.3"), 1);
        assert_eq!(units("1500m"), 2);
        assert_eq!("0.3".parse::<Quantity>().unwrap().millis(), 300);
        assert_eq!("300m".parse::<Quantity>().unwrap(), "0.3".parse().unwrap());
        assert_eq!("0.0000000000000000000000000000000000000000001".parse::<Quantity>().unwrap().nanos(), 1);
        assert_eq!("1e-9999".parse::<Quantity>().unwrap().nanos(), 1);
    }

    #[test]
    fn what_is_no_amount_says_why() {
        for text in ["", ".", "k", "1.2.3", "1 k", "1kk", "0x1", "1e", "1e+", "++1", "1ki", "∞", "1i", "Ki", "--1"] {
            assert_eq!(text.parse::<Quantity>().unwrap_err(), Fault::Malformed, "{text}");
        }
        for text in ["-1", "-0.1", "-1Ki"] {
            assert_eq!(text.parse::<Quantity>().unwrap_err(), Fault::Negative, "{text}");
        }
        let long = "9".repeat(400);
        for text in ["10E", "8Ei", "16Ei", "9223372036854775808", "1e99999999999", long.as_str()] {
            assert_eq!(text.parse::<Quantity>().unwrap_err(), Fault::TooLarge, "{text}");
        }
        assert_eq!(units("9223372036854775807"), i64::MAX as u64);
    }

    #[test]
    fn an_amount_is_written_as_it_was_read() {
        for json in ["\"1.50Gi\"", "2048", "\"1K\""] {
            let read: Quantity = serde_json::from_str(json).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), json);
        }
        assert_eq!("1500K".parse::<Quantity>().unwrap().canonical(), "1500k");
        assert_eq!("0.25".parse::<Quantity>().unwrap().canonical(), "250m");
        assert_eq!("2000k".parse::<Quantity>().unwrap().canonical(), "2M");
    }

    proptest! {
        #[test]
        fn the_canonical_spelling_is_the_same_amount(whole in 0_u64..=8_000_000, fraction in "[0-9]{0,9}", suffix in "m|k|K|M|G|T|Ki|Mi|Gi|Ti|") {
            let text = if fraction.is_empty() { format!("{whole}{suffix}") } else { format!("{whole}.{fraction}{suffix}") };
            let read: Quantity = text.parse().unwrap();
            prop_assert_eq!(read.canonical().parse::<Quantity>().unwrap(), read);
        }

        #[test]
        fn no_text_makes_the_parser_fall_over(text in ".{0,80}") {
            let _ = text.parse::<Quantity>();
        }
    }
}
