//! An amount of memory as people write it in settings: `256MiB`, `2GiB`, or a plain number of bytes.

use std::fmt;
use std::str::FromStr;

/// The units, the largest first.
const UNITS: [(&str, usize); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ByteSize(usize);

/// The text is no amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a number of bytes, or one with a unit such as 512KiB, 256MiB, 2GiB")]
pub(crate) struct ByteSizeRefused;

impl ByteSize {
    /// The bytes.
    pub(crate) const fn bytes(self) -> usize {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = ByteSizeRefused;
    fn from_str(text: &str) -> Result<Self, ByteSizeRefused> {
        let text = text.trim();
        let with_unit = UNITS
            .iter()
            .find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, *bytes)));
        let (number, unit) = with_unit.unwrap_or((text, 1));
        let number: usize = number.trim_end().parse().map_err(|_| ByteSizeRefused)?;
        number.checked_mul(unit).map(Self).ok_or(ByteSizeRefused)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = UNITS
            .iter()
            .find(|(_, bytes)| self.0 > 0 && self.0.is_multiple_of(*bytes));
        match whole {
            Some((unit, bytes)) => write!(formatter, "{}{unit}", self.0 / bytes),
            None => write!(formatter, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_read_and_written_as_people_do() {
        for (text, bytes, again) in [
            ("0", 0, "0"),
            ("1000", 1_000, "1000"),
            ("1024", 1 << 10, "1KiB"),
            ("256MiB", 256 << 20, "256MiB"),
            (" 2 GiB ", 2 << 30, "2GiB"),
        ] {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!((size.bytes(), size.to_string().as_str()), (bytes, again));
        }
        for bad in ["", "MiB", "-1", "1.5GiB", "256MB", "256 mib", "99999999999999GiB"] {
            assert_eq!(bad.parse::<ByteSize>(), Err(ByteSizeRefused), "{bad}");
        }
    }
}
