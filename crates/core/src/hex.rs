//! Bytes of a fixed length as lower-case hexadecimal text: hashes, public keys and signatures in files and replies.
//!
//! One value has one text: capitals and other lengths are refused, so that two texts that differ are two values. Nothing
//! here is secret; what is stays in [`crate::secret`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::audit::hex;

/// `N` bytes, written as twice as many hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hex<const N: usize>(pub [u8; N]);

/// The text is not that many bytes in lower-case hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it has to be {} lower-case hexadecimal digits", .0 * 2)]
pub struct HexRefused(usize);

impl<const N: usize> fmt::Display for Hex<N> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex(&self.0))
    }
}

impl<const N: usize> fmt::Debug for Hex<N> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl<const N: usize> FromStr for Hex<N> {
    type Err = HexRefused;

    fn from_str(text: &str) -> Result<Self, HexRefused> {
        let digits = text.as_bytes();
        if digits.len() != N * 2 {
            return Err(HexRefused(N));
        }
        let mut bytes = [0_u8; N];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let [high, low] = pair else {
                return Err(HexRefused(N));
            };
            let (high, low) = (digit(*high), digit(*low));
            *byte = high
                .zip(low)
                .map(|(high, low)| high * 16 + low)
                .ok_or(HexRefused(N))?;
        }
        Ok(Self(bytes))
    }
}

impl<const N: usize> Serialize for Hex<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

const fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_has_one_text() {
        let value = Hex([0x00, 0x7f, 0xab]);
        assert_eq!(value.to_string(), "007fab");
        assert_eq!("007fab".parse(), Ok(value));
        for bad in [
            "",
            "007fa",
            "007fabc0",
            "007FAB",
            "00 fab",
            "g07fab",
            "\u{e9}7fab",
        ] {
            assert_eq!(bad.parse::<Hex<3>>(), Err(HexRefused(3)), "{bad}");
        }
    }
}
