//! The audit chain: each entry carries its number and the hash of the entry before it.
//!
//! The chain holds ids and salted commitments of what is personal (names, e-mail addresses, network addresses); the
//! clear values lie beside it, so that they can be erased without breaking it. Storing and exporting is done
//! elsewhere; this is the arithmetic that anyone can repeat.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::canonical::Canonical;
use crate::random::{RandomSource, RandomUnavailable};
use crate::time::Timestamp;

/// The hash of an entry; all zeros before the first.
pub type EntryHash = [u8; 32];

/// The hash that the first entry of a chain follows.
pub const CHAIN_START: EntryHash = [0; 32];

/// The chain of what belongs to no organization.
pub const NO_ORGANIZATION: &str = "-";

/// What happened, before it has a place in the chain.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Who did it (see [`crate::record::Actor`]).
    pub actor: String,
    /// What was done: `key.create`, `key.delete`, ...
    pub action: &'static str,
    /// To what: `key/{id}`, `dataset/{id}`, ...
    pub target: String,
    /// The request it was done in.
    pub request_id: String,
    /// Its facts and its personal values.
    pub detail: Detail,
}

/// The facts of an event.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Detail {
    facts: Map<String, Value>,
    personal: BTreeMap<String, Personal>,
}

/// A clear value that the chain only commits to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Personal {
    /// Random, so that a guessed value can't be confirmed once it was erased.
    pub salt: String,
    /// The value itself.
    pub value: String,
}

impl Detail {
    /// No facts yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a fact that the chain holds in the clear: ids, names of states, numbers. Never a secret, nothing personal.
    #[must_use]
    pub fn fact(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.facts.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a personal value: the chain gets a salted commitment, the value lies beside it.
    ///
    /// # Errors
    /// [`RandomUnavailable`] from the source of the salt.
    pub fn personal(
        mut self,
        name: &str,
        value: &str,
        random: &mut dyn RandomSource,
    ) -> Result<Self, RandomUnavailable> {
        let mut salt = [0_u8; 16];
        random.fill(&mut salt)?;
        let salt = hex(&salt);
        self.facts.insert(
            format!("{name}_commitment"),
            Value::String(hex(&commitment(&salt, value))),
        );
        self.personal.insert(
            name.to_owned(),
            Personal {
                salt,
                value: value.to_owned(),
            },
        );
        Ok(self)
    }

    /// Adds what another detail holds.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.facts.extend(other.facts);
        self.personal.extend(other.personal);
        self
    }

    /// The chain's part as JSON text with sorted names.
    pub fn facts_json(&self) -> String {
        Value::Object(self.facts.clone()).to_string()
    }

    /// The erasable part as JSON text.
    pub fn personal_json(&self) -> String {
        serde_json::to_string(&self.personal).unwrap_or_else(|_| "{}".to_owned())
    }
}

/// The commitment to a personal value.
pub fn commitment(salt: &str, value: &str) -> [u8; 32] {
    Sha256::digest(
        Canonical::new("keyward audit commitment v1")
            .text(salt)
            .text(value)
            .finish(),
    )
    .into()
}

/// An entry as the chain hashes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The chain: an organization's id, or [`NO_ORGANIZATION`].
    pub chain: &'a str,
    /// Counted from 1 within the chain.
    pub sequence: i64,
    /// The hash of the entry before.
    pub previous: &'a EntryHash,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: &'a str,
    /// What.
    pub action: &'a str,
    /// To what.
    pub target: &'a str,
    /// In which request.
    pub request_id: &'a str,
    /// The facts as JSON text, byte for byte as stored.
    pub facts: &'a str,
}

impl Entry<'_> {
    /// The entry's hash; the next entry carries it.
    pub fn hash(&self) -> EntryHash {
        let bytes = Canonical::new("keyward audit entry v1")
            .text(self.chain)
            .number(self.sequence)
            .bytes(self.previous)
            .number(self.at.as_unix_ms())
            .text(self.actor)
            .text(self.action)
            .text(self.target)
            .text(self.request_id)
            .text(self.facts)
            .finish();
        Sha256::digest(bytes).into()
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a String can't fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}
