//! Keys that look right and are not, made from a real one by the published format alone.
//!
//! It uses none of Keyward's own code for keys, so it also checks that a stranger can follow the description.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
const ID_LENGTH: usize = 16;
const SECRET_LENGTH: usize = 50;

/// The same key id with another secret and a right checksum: well formed, and nobody's key.
pub fn with_other_secret(key: &str) -> String {
    let (prefix, body) = key.split_once('_').expect("a key has a prefix and an underscore");
    let decoded = URL_SAFE_NO_PAD.decode(body).expect("the rest of a key is base64");
    let (id, rest) = decoded.split_at(ID_LENGTH);
    let (secret, _checksum) = rest.split_at(SECRET_LENGTH);
    let other_secret: Vec<u8> = secret.iter().map(|&digit| following(digit)).collect();

    let signed = [prefix.as_bytes(), b"_", id, &other_secret].concat();
    let inner = [id, &other_secret, &base36(crc32fast::hash(&signed))].concat();
    format!("{prefix}_{}", URL_SAFE_NO_PAD.encode(inner))
}

fn following(digit: u8) -> u8 {
    let position = DIGITS
        .iter()
        .position(|&other| other == digit)
        .expect("a key holds only base-36 digits");
    DIGITS
        .iter()
        .copied()
        .cycle()
        .nth(position + 1)
        .expect("a cycle has no end")
}

/// Seven digits, with leading zeros.
fn base36(mut value: u32) -> [u8; 7] {
    let mut text = [b'0'; 7];
    for digit in text.iter_mut().rev() {
        *digit = DIGITS
            .get((value % 36) as usize)
            .copied()
            .expect("a remainder is below 36");
        value /= 36;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forged_key_keeps_its_length_and_its_id() {
        let inner = format!("{:0<16}{:0<50}{:0<7}", "abc", "z9", "");
        let key = format!("dtvi_{}", URL_SAFE_NO_PAD.encode(inner));
        let forged = with_other_secret(&key);
        assert_eq!(forged.len(), 103);
        assert_ne!(forged, key);
        let forged = URL_SAFE_NO_PAD.decode(&forged[5..]).unwrap();
        assert_eq!(&forged[..18], b"abc00000000000000a");
    }

    #[test]
    fn the_checksum_is_written_in_base_36() {
        assert_eq!(&base36(35), b"000000z");
        assert_eq!(&base36(u32::MAX), b"1z141z3");
    }
}
