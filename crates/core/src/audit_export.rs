//! The audit trail as a file: JSON Lines that anybody can check without the server that wrote them.
//!
//! A header, then each entry in its turn with the checkpoints behind the entries that they are of, then an end that counts
//! and signs the whole. An entry's facts are a text, byte for byte what its hash was made of; its personal values lie
//! beside it and may be taken out at any time. This module writes and reads lines; [`crate::audit_verify`] judges them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::audit::{Entry, EntryHash, Personal};
use crate::canonical::Canonical;
use crate::checkpoint::{
    AuditPublicKey, AuditSignature, AuditSigner, PublishedKey, SignedCheckpoint, is_signed,
};
use crate::hex::Hex;
use crate::time::Timestamp;

/// The format that this program writes and reads.
pub const FORMAT: u32 = 1;

/// One line of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// The first line.
    Header(Header),
    /// An entry of the chain.
    Entry(EntryLine),
    /// A checkpoint of the entry before it.
    Checkpoint(SignedCheckpoint),
    /// The last line.
    End(End),
}

/// What an export is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The format; [`FORMAT`].
    pub keyward_audit_export: u32,
    /// The chain: an organization's id, or `-`.
    pub chain: String,
    /// The number of the first entry.
    pub from_sequence: i64,
    /// The hash that the first entry follows.
    pub previous_hash: Hex<32>,
    /// When it was written.
    pub exported_at_ms: Timestamp,
    /// The keys that sign, or signed, for the installation.
    pub public_keys: Vec<PublishedKey>,
}

/// An entry with its clear personal values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntryLine {
    /// The chain.
    pub chain: String,
    /// Counted from 1 within the chain.
    pub sequence: i64,
    /// The hash of the entry before.
    pub previous_hash: Hex<32>,
    /// This entry's hash.
    pub hash: Hex<32>,
    /// When.
    pub at_ms: Timestamp,
    /// Who.
    pub actor: String,
    /// What.
    pub action: String,
    /// To what.
    pub target: String,
    /// In which request.
    pub request_id: String,
    /// The facts as JSON text, byte for byte as stored.
    pub facts: String,
    /// The personal values that were not erased.
    pub personal: BTreeMap<String, Personal>,
}

/// What an export came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// Lines with entries.
    pub entries: i64,
    /// Lines with checkpoints.
    pub checkpoints: i64,
    /// The number of the last entry; one less than the first would have had if there is none.
    pub last_sequence: i64,
    /// Its hash.
    pub last_hash: Hex<32>,
    /// Over all lines, personal values left out.
    pub digest: Hex<32>,
    /// The key that it is signed with.
    pub public_key: AuditPublicKey,
    /// Over everything above but the key, and the chain.
    pub signature: AuditSignature,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckpointLine<T> {
    checkpoint: T,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EndLine<T> {
    end: T,
}

/// A line is none of an export.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineRefused {
    /// Not what an export consists of.
    #[error("{0}")]
    Unreadable(String),
    /// Written by a later program.
    #[error("the export has format {0}, which this program does not know; check it with a newer one")]
    Format(u32),
}

impl Line {
    /// Reads a line. Fields that an export does not have are refused: they are not covered by any hash.
    ///
    /// # Errors
    /// [`LineRefused`].
    pub fn parse(line: &str) -> Result<Self, LineRefused> {
        /// The one field that tells the format, read first, so that a later format is named as such.
        #[derive(Deserialize)]
        struct OfFormat {
            keyward_audit_export: u32,
        }
        let line = line.trim();
        let begins_with = |name: &str| {
            let rest = line.strip_prefix('{').map(str::trim_start);
            rest.is_some_and(|rest| rest.starts_with(name))
        };
        if begins_with("\"keyward_audit_export\"") {
            let OfFormat { keyward_audit_export } = read(line)?;
            if keyward_audit_export != FORMAT {
                return Err(LineRefused::Format(keyward_audit_export));
            }
            read(line).map(Self::Header)
        } else if begins_with("\"checkpoint\"") {
            read::<CheckpointLine<_>>(line).map(|line| Self::Checkpoint(line.checkpoint))
        } else if begins_with("\"end\"") {
            read::<EndLine<_>>(line).map(|line| Self::End(line.end))
        } else {
            read(line).map(Self::Entry)
        }
    }
}

fn read<'a, T: Deserialize<'a>>(line: &'a str) -> Result<T, LineRefused> {
    serde_json::from_str(line).map_err(|error| LineRefused::Unreadable(error.to_string()))
}

fn write(line: &impl Serialize) -> String {
    // These types have texts for names and serialise always; an empty line would be refused when read.
    serde_json::to_string(line).unwrap_or_default()
}

impl EntryLine {
    /// The hash that its content has, whatever hash it tells.
    pub fn computed_hash(&self) -> EntryHash {
        Entry {
            chain: &self.chain,
            sequence: self.sequence,
            previous: &self.previous_hash.0,
            at: self.at_ms,
            actor: &self.actor,
            action: &self.action,
            target: &self.target,
            request_id: &self.request_id,
            facts: &self.facts,
        }
        .hash()
    }

    /// Its facts by name; none if the text is no object.
    pub fn read_facts(&self) -> Map<String, Value> {
        serde_json::from_str(&self.facts).unwrap_or_default()
    }
}

/// Writes an export line by line, and keeps count.
#[derive(Debug)]
pub struct ExportWriter {
    sum: ExportSum,
}

impl ExportWriter {
    /// Begins an export; the text is its first line, without the end of the line.
    pub fn begin(header: &Header) -> (Self, String) {
        let sum = ExportSum::begin(header);
        (Self { sum }, write(header))
    }

    /// The line of an entry.
    pub fn entry(&mut self, entry: &EntryLine) -> String {
        self.sum.add_entry(entry);
        write(entry)
    }

    /// The line of a checkpoint, which comes behind the entry that it is of.
    pub fn checkpoint(&mut self, checkpoint: &SignedCheckpoint) -> String {
        self.sum.add_checkpoint(checkpoint);
        write(&CheckpointLine { checkpoint })
    }

    /// The last line.
    pub fn end(self, signer: &AuditSigner) -> String {
        let message = self.sum.signed_bytes();
        let end = End {
            entries: self.sum.entries,
            checkpoints: self.sum.checkpoints,
            last_sequence: self.sum.last_sequence,
            last_hash: self.sum.last_hash,
            digest: self.sum.digest(),
            public_key: signer.public_key(),
            signature: signer.sign(&message),
        };
        write(&EndLine { end })
    }
}

/// What the lines so far come to; writer and checker keep the same account.
#[derive(Debug, Clone)]
pub(crate) struct ExportSum {
    chain: String,
    pub(crate) entries: i64,
    pub(crate) checkpoints: i64,
    pub(crate) last_sequence: i64,
    last_hash: Hex<32>,
    digest: Sha256,
}

impl ExportSum {
    pub(crate) fn begin(header: &Header) -> Self {
        Self {
            chain: header.chain.clone(),
            entries: 0,
            checkpoints: 0,
            last_sequence: header.from_sequence.saturating_sub(1),
            last_hash: header.previous_hash,
            digest: Sha256::new_with_prefix(
                Canonical::new("keyward audit export v1")
                    .text(&write(header))
                    .finish(),
            ),
        }
    }

    pub(crate) fn add_entry(&mut self, entry: &EntryLine) {
        self.entries = self.entries.saturating_add(1);
        self.last_sequence = entry.sequence;
        self.last_hash = entry.hash;
        // The hash stands for the content. Personal values are left out, so that they can be taken out of a file.
        let line = Canonical::new("entry")
            .number(entry.sequence)
            .bytes(&entry.hash.0);
        self.digest.update(line.finish());
    }

    pub(crate) fn add_checkpoint(&mut self, checkpoint: &SignedCheckpoint) {
        self.checkpoints = self.checkpoints.saturating_add(1);
        let line = Canonical::new("checkpoint").text(&write(checkpoint));
        self.digest.update(line.finish());
    }

    /// Whether an end tells what these lines come to.
    pub(crate) fn is_told_by(&self, end: &End) -> bool {
        let told = (
            end.entries,
            end.checkpoints,
            end.last_sequence,
            end.last_hash,
            end.digest,
        );
        told == (
            self.entries,
            self.checkpoints,
            self.last_sequence,
            self.last_hash,
            self.digest(),
        )
    }

    fn digest(&self) -> Hex<32> {
        Hex(self.digest.clone().finalize().into())
    }

    fn signed_bytes(&self) -> Vec<u8> {
        end_bytes(
            &self.chain,
            (self.entries, self.checkpoints, self.last_sequence),
            self.last_hash,
            self.digest(),
        )
    }
}

impl End {
    /// Whether its own key signed it, for an export of `chain`. Whose key that is, is another question.
    pub fn is_signed(&self, chain: &str) -> bool {
        let numbers = (self.entries, self.checkpoints, self.last_sequence);
        let message = end_bytes(chain, numbers, self.last_hash, self.digest);
        is_signed(self.public_key, &message, self.signature)
    }
}

fn end_bytes(
    chain: &str,
    (entries, checkpoints, last_sequence): (i64, i64, i64),
    last_hash: Hex<32>,
    digest: Hex<32>,
) -> Vec<u8> {
    Canonical::new("keyward audit export end v1")
        .text(chain)
        .number(entries)
        .number(checkpoints)
        .number(last_sequence)
        .bytes(&last_hash.0)
        .bytes(&digest.0)
        .finish()
}
