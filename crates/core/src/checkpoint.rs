//! Checkpoints of the audit chain: how far it had come at a moment, signed with Ed25519.
//!
//! Whoever can write the database can write a whole chain anew; a checkpoint that was kept elsewhere shows it. The
//! signing key is derived from a version of the keyring, and goes with it when the keyring is rotated; its public key
//! stays in the database and is *endorsed*: each next key is signed by the one before, so that whoever kept the first can
//! believe the later ones. When to make a checkpoint and where it goes is decided elsewhere.

use std::collections::BTreeSet;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::audit::EntryHash;
use crate::canonical::Canonical;
use crate::hex::Hex;
use crate::keyring::Keyring;
use crate::time::Timestamp;

/// An Ed25519 public key.
pub type AuditPublicKey = Hex<32>;
/// An Ed25519 signature.
pub type AuditSignature = Hex<64>;

/// Signs for the audit trail.
pub struct AuditSigner(SigningKey);

/// How far a chain had come, signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedCheckpoint {
    /// The chain.
    pub chain: String,
    /// The number of its last entry.
    pub sequence: i64,
    /// That entry's hash, which stands for all entries before.
    pub hash: Hex<32>,
    /// When.
    pub at_ms: Timestamp,
    /// The key that it is signed with.
    pub public_key: AuditPublicKey,
    /// Over everything above but the key.
    pub signature: AuditSignature,
}

/// A public key that signs, or signed, for this installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedKey {
    /// The key.
    pub public_key: AuditPublicKey,
    /// When it was first used.
    pub since_ms: Timestamp,
    /// The key before it, which signed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endorsement: Option<Endorsement>,
}

/// A key's word for the key after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endorsement {
    /// The key that gives its word.
    pub by: AuditPublicKey,
    /// Over the new key and its time.
    pub signature: AuditSignature,
}

impl AuditSigner {
    /// The signer of a keyring's version; `None` if the keyring does not hold it.
    pub fn of(keyring: &Keyring, version: u32) -> Option<Self> {
        let seed = keyring.derived_key(version, "keyward audit signing key v1", b"")?;
        Some(Self(SigningKey::from_bytes(&seed)))
    }

    /// Whom its signatures are checked with.
    pub fn public_key(&self) -> AuditPublicKey {
        Hex(self.0.verifying_key().to_bytes())
    }

    /// Signs how far a chain has come.
    pub fn checkpoint(&self, chain: &str, sequence: i64, hash: EntryHash, at: Timestamp) -> SignedCheckpoint {
        SignedCheckpoint {
            chain: chain.to_owned(),
            sequence,
            hash: Hex(hash),
            at_ms: at,
            public_key: self.public_key(),
            signature: self.sign(&checkpoint_bytes(chain, sequence, &hash, at)),
        }
    }

    /// Gives its word for the key that comes after it.
    pub fn endorse(&self, next: AuditPublicKey, since: Timestamp) -> Endorsement {
        Endorsement {
            by: self.public_key(),
            signature: self.sign(&endorsement_bytes(next, since)),
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> AuditSignature {
        Hex(self.0.sign(message).to_bytes())
    }
}

impl std::fmt::Debug for AuditSigner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "AuditSigner({})", self.public_key())
    }
}

impl SignedCheckpoint {
    /// Whether its own key signed it. Whose key that is, is another question.
    pub fn is_signed(&self) -> bool {
        let message = checkpoint_bytes(&self.chain, self.sequence, &self.hash.0, self.at_ms);
        is_signed(self.public_key, &message, self.signature)
    }

    /// The line of a file that checkpoints are kept in.
    pub fn to_line(&self) -> String {
        serde_json::to_string(&KeptLine {
            checkpoint: self.clone(),
        })
        .unwrap_or_default()
    }

    /// Reads a line that [`SignedCheckpoint::to_line`] wrote.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn from_line(line: &str) -> Result<Self, String> {
        let read = serde_json::from_str::<KeptLine>(line);
        read.map(|line| line.checkpoint)
            .map_err(|error| error.to_string())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptLine {
    checkpoint: SignedCheckpoint,
}

impl PublishedKey {
    /// Whether the key that is said to endorse it did; true where none is named.
    pub fn is_endorsement_genuine(&self) -> bool {
        self.endorsement.as_ref().is_none_or(|endorsement| {
            let message = endorsement_bytes(self.public_key, self.since_ms);
            is_signed(endorsement.by, &message, endorsement.signature)
        })
    }
}

/// The keys that can be believed by whoever believes `trusted`: those, and what they endorse, and so on.
pub fn believed_keys(
    trusted: impl IntoIterator<Item = AuditPublicKey>,
    published: &[PublishedKey],
) -> BTreeSet<AuditPublicKey> {
    let mut believed: BTreeSet<_> = trusted.into_iter().collect();
    // In the worst order each round finds one more.
    for _ in published {
        let more: Vec<_> = published
            .iter()
            .filter(|key| !believed.contains(&key.public_key) && key.is_endorsement_genuine())
            .filter(|key| {
                key.endorsement
                    .as_ref()
                    .is_some_and(|word| believed.contains(&word.by))
            })
            .map(|key| key.public_key)
            .collect();
        if more.is_empty() {
            break;
        }
        believed.extend(more);
    }
    believed
}

/// Whether `key` signed `message`; strictly, so that a message has no second signature that is taken as well.
pub(crate) fn is_signed(key: AuditPublicKey, message: &[u8], signature: AuditSignature) -> bool {
    VerifyingKey::from_bytes(&key.0).is_ok_and(|key| {
        key.verify_strict(message, &Signature::from_bytes(&signature.0))
            .is_ok()
    })
}

fn checkpoint_bytes(chain: &str, sequence: i64, hash: &EntryHash, at: Timestamp) -> Vec<u8> {
    Canonical::new("keyward audit checkpoint v1")
        .text(chain)
        .number(sequence)
        .bytes(hash)
        .number(at.as_unix_ms())
        .finish()
}

fn endorsement_bytes(next: AuditPublicKey, since: Timestamp) -> Vec<u8> {
    Canonical::new("keyward audit endorsement v1")
        .bytes(&next.0)
        .number(since.as_unix_ms())
        .finish()
}
