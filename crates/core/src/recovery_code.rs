//! Recovery codes: each stands in once for the second factor when the app that counts codes is lost.
//!
//! A code has 80 random bits, so that a plain digest can't be guessed back. It is read as people type it: without regard to capitals,
//! spaces and hyphens.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::canonical::Canonical;
use crate::ids::PersonId;
use crate::random::{RandomSource, RandomUnavailable};
use crate::secret::{RecoveryCodeKind, Secret};
use crate::totp::base32;

/// How many a person gets at a time.
pub const CODES: usize = 10;
const BYTES: usize = 10;
const CHARACTERS: usize = 16;
const GROUP: usize = 4;

/// What is kept of a recovery code.
#[derive(Debug, Clone, Copy)]
pub struct RecoveryDigest([u8; 32]);

impl RecoveryDigest {
    /// The digest of a code that somebody brings; `None` for a text that can't be one.
    pub fn of(person: &PersonId, typed: &str) -> Option<Self> {
        // A text of megabytes is no code, and costs no copy.
        if typed.len() > 4 * CHARACTERS {
            return None;
        }
        let plain: Zeroizing<String> = Zeroizing::new(
            typed
                .chars()
                .filter(|character| !character.is_whitespace() && *character != '-')
                .map(|character| character.to_ascii_uppercase())
                .collect(),
        );
        let is_digit = |byte: u8| byte.is_ascii_uppercase() || (b'2'..=b'7').contains(&byte);
        if plain.len() != CHARACTERS || !plain.bytes().all(is_digit) {
            return None;
        }
        let bytes = Canonical::new("keyward recovery code v1")
            .text(person.as_str())
            .text(&plain)
            .finish();
        Some(Self(Sha256::digest(Zeroizing::new(bytes).as_slice()).into()))
    }

    /// The digest that was stored.
    pub const fn from_stored(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes that are stored.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether both are of the same code; takes the same time for every pair.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

/// Draws a code, in groups as it is shown.
///
/// # Errors
/// [`RandomUnavailable`] from the source.
pub fn new_recovery_code(
    random: &mut dyn RandomSource,
) -> Result<Secret<RecoveryCodeKind>, RandomUnavailable> {
    let mut drawn = Zeroizing::new([0_u8; BYTES]);
    random.fill(drawn.as_mut())?;
    let plain = Zeroizing::new(base32(drawn.as_slice()).to_ascii_lowercase());
    let mut grouped = String::with_capacity(CHARACTERS + CHARACTERS / GROUP);
    for (at, character) in plain.chars().enumerate() {
        if at > 0 && at % GROUP == 0 {
            grouped.push('-');
        }
        grouped.push(character);
    }
    Ok(Secret::new(grouped))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counting(u8);
    impl RandomSource for Counting {
        fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RandomUnavailable> {
            for slot in bytes {
                *slot = self.0;
                self.0 = self.0.wrapping_add(29);
            }
            Ok(())
        }
    }

    #[test]
    fn a_code_is_read_as_it_is_typed_and_belongs_to_its_person() {
        let (ada, bob): (PersonId, PersonId) = ("ada".parse().unwrap(), "bob".parse().unwrap());
        let code = new_recovery_code(&mut Counting(200)).unwrap();
        let shown = code.reveal();
        assert_eq!((shown.len(), shown.matches('-').count()), (19, 3));
        let digest = RecoveryDigest::of(&ada, shown).unwrap();
        let typed = format!(" {} ", shown.to_uppercase().replace('-', " "));
        assert!(digest.matches(&RecoveryDigest::of(&ada, &typed).unwrap()));
        assert!(!digest.matches(&RecoveryDigest::of(&bob, shown).unwrap()));
        for bad in ["", "123456", "aaaa-aaaa-aaaa-aaa1", &"a".repeat(1_000_000)] {
            assert!(RecoveryDigest::of(&ada, bad).is_none());
        }
    }
}
