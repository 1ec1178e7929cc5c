//! What is kept of a key's text: SHA-256 of all 103 characters.
//!
//! With 258 random bits in the secret a fast hash is right (OWASP ASVS 5.0, 6.5.2 and 11.5.1): guessing is out of
//! reach, and a slow one would only cost the server. Two texts with the same digest are the same key.

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The SHA-256 of a key's text. Compared in constant time; printed by nothing.
#[derive(Clone, Copy)]
pub struct KeyDigest([u8; 32]);

/// A digest that is cleared when it goes; for places that keep it.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct KeptDigest([u8; 32]);

impl KeyDigest {
    /// The digest of a key's whole text.
    pub fn of(key_text: &str) -> Self {
        Self(Sha256::digest(key_text.as_bytes()).into())
    }

    /// Takes a digest that was opened from a sealed record.
    pub(crate) const fn from_opened(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether both are of the same text, in time that does not depend on where they differ.
    pub fn matches(&self, other: &Self) -> bool {
        is_same(&self.0, &other.0)
    }
}

/// In constant time; eight bytes at a step, which costs a fraction of one at a step.
fn is_same(one: &[u8; 32], other: &[u8; 32]) -> bool {
    let (ones, _) = one.as_chunks::<8>();
    let (others, _) = other.as_chunks::<8>();
    let steps = ones.iter().zip(others);
    let same = steps.fold(Choice::from(1), |same, (one, other)| {
        same & u64::from_le_bytes(*one).ct_eq(&u64::from_le_bytes(*other))
    });
    same.into()
}

impl From<KeyDigest> for KeptDigest {
    fn from(digest: KeyDigest) -> Self {
        Self(digest.0)
    }
}

impl KeptDigest {
    /// A place for a digest with none in it. No key's text is known whose SHA-256 is all zeros.
    pub const fn none() -> Self {
        Self([0; 32])
    }

    /// Whether `presented` is of the same text, in constant time.
    pub fn matches(&self, presented: &KeyDigest) -> bool {
        is_same(&self.0, &presented.0)
    }
}

impl std::fmt::Debug for KeyDigest {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("KeyDigest")
    }
}

impl std::fmt::Debug for KeptDigest {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("KeptDigest")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_differ_in_whichever_bit() {
        let digest = KeyDigest::of("a key");
        assert!(digest.matches(&digest) && KeptDigest::from(digest).matches(&digest));
        for bit in 0..256 {
            let mut other = digest;
            other.0[bit / 8] ^= 1 << (bit % 8);
            assert!(
                !digest.matches(&other) && !KeptDigest::from(digest).matches(&other),
                "{bit}"
            );
        }
    }

    #[test]
    fn a_digest_is_the_sha256_that_the_vectors_say() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../testdata/key-vectors.json")).unwrap();
        for row in vectors["valid"].as_array().unwrap() {
            let digest = KeyDigest::of(row["text"].as_str().unwrap());
            assert_eq!(crate::audit::hex(digest.bytes()), row["sha256"].as_str().unwrap());
        }
    }

    #[test]
    fn a_kept_digest_knows_its_text_and_no_other() {
        let kept = KeptDigest::from(KeyDigest::of("a"));
        assert!(kept.matches(&KeyDigest::of("a")));
        assert!(!kept.matches(&KeyDigest::of("b")));
    }
}
