//! A key's id in twelve bytes instead of sixteen, for places that hold millions of them.
//!
//! Six bits tell any two of the characters `0-9a-z` apart: the lowest five, and whether it is a letter. Nothing here
//! checks an id: it is packed from a checked one, and only that comes out again.

use crate::ids::{KEY_ID_LENGTH, KeyId};

/// Bytes of a packed id.
pub const PACKED_LENGTH: usize = 12;

const LOW_FIVE: u128 = every_byte(0x1f);
const IS_LETTER: u128 = every_byte(0x40);
/// What both digits and letters have set: `0` is 0x30, `a` is 0x61.
const ALWAYS: u128 = every_byte(0x20);
/// The fields that are joined in pairs, by their width in bits, and how far apart they lie.
const JOINS: [(u32, u32); 4] = [(6, 8), (12, 16), (24, 32), (48, 64)];

/// A key's id, packed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PackedKeyId([u8; PACKED_LENGTH]);

impl PackedKeyId {
    /// Packs an id.
    pub fn of(id: KeyId) -> Self {
        let text = u128::from_le_bytes(*id.as_bytes());
        let mut bits = (text & LOW_FIVE) | ((text & IS_LETTER) >> 1);
        for (width, distance) in JOINS {
            let low = lows(width, distance);
            bits = (bits & low) | ((bits >> (distance - width)) & (low << width));
        }
        Self(*bits.to_le_bytes().first_chunk().unwrap_or(&[0; PACKED_LENGTH]))
    }

    /// The id.
    pub fn unpack(self) -> KeyId {
        let mut bytes = [0; KEY_ID_LENGTH];
        if let Some(start) = bytes.first_chunk_mut() {
            *start = self.0;
        }
        let mut bits = u128::from_le_bytes(bytes);
        for (width, distance) in JOINS.into_iter().rev() {
            let low = lows(width, distance);
            bits = (bits & low) | ((bits & (low << width)) << (distance - width));
        }
        let is_letter = (bits & ALWAYS) << 1;
        KeyId::of_packed(((bits & LOW_FIVE) | ALWAYS | is_letter).to_le_bytes())
    }
}

const fn every_byte(byte: u8) -> u128 {
    u128::from_le_bytes([byte; KEY_ID_LENGTH])
}

/// The first field of every pair: `width` bits, every two distances.
const fn lows(width: u32, distance: u32) -> u128 {
    let field = (1_u128 << width) - 1;
    let mut all = 0;
    let mut at = 0;
    while at < u128::BITS {
        all |= field << at;
        at += 2 * distance;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_comes_back_at_every_place() {
        let alphabet = b"0123456789abcdefghijklmnopqrstuvwxyz";
        for shift in 0..alphabet.len() {
            let text: Vec<u8> = (0..KEY_ID_LENGTH)
                .map(|place| alphabet[(shift + place * 7) % alphabet.len()])
                .collect();
            let id = KeyId::from_bytes(&text).unwrap();
            assert_eq!(PackedKeyId::of(id).unpack(), id);
        }
    }

    #[test]
    fn ids_that_differ_anywhere_are_packed_differently() {
        let id: KeyId = "0000000000000000".parse().unwrap();
        for place in 0..KEY_ID_LENGTH {
            for other in [b'1', b'p', b'z'] {
                let mut text = *id.as_bytes();
                text[place] = other;
                let other = KeyId::from_bytes(&text).unwrap();
                assert_ne!(PackedKeyId::of(id), PackedKeyId::of(other));
            }
        }
    }
}
