//! What a check of the audit trail finds: each finding with the entry that it is about, and a sentence that says it.
//!
//! Who finds them is [`crate::chain_check`] and [`crate::audit_verify`]. The names of the kinds are part of the API and of
//! what `keyward audit verify --json` prints, so they stay.

use std::fmt;

use serde::Serialize;

use crate::checkpoint::AuditPublicKey;

/// So many findings are told one by one; of a chain that is broken in more places the rest is counted.
pub const MAX_FINDINGS: usize = 1_000;
/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[expect(
    missing_docs,
    reason = "every field is named after what it holds, and the sentences below tell the rest"
)]
pub enum Finding {
    /// The content has another hash than the entry tells.
    Changed { sequence: i64 },
    /// It follows another entry than the one before it.
    DoesNotFollow { sequence: i64 },
    /// Numbers without an entry.
    Missing { from: i64, to: i64 },
    /// An entry at another place than its number's.
    OutOfPlace { sequence: i64, after: i64 },
    /// A number for the second time.
    Repeated { sequence: i64 },
    /// An entry of another chain.
    OtherChain { sequence: i64, chain: String },
    /// A personal value that is not the one that was committed to.
    PersonalChanged { sequence: i64, name: String },
    /// A personal value that the chain never committed to.
    PersonalAdded { sequence: i64, name: String },
    /// A checkpoint whose signature is not its key's.
    CheckpointForged {
        sequence: i64,
        public_key: AuditPublicKey,
    },
    /// A checkpoint by a key that is not believed.
    CheckpointByStranger {
        sequence: i64,
        public_key: AuditPublicKey,
    },
    /// A checkpoint of another chain, or not where it belongs.
    CheckpointOutOfPlace { sequence: i64 },
    /// The chain was another one when the checkpoint was made.
    Rewritten { after: i64, until: i64 },
    /// The chain ends before a checkpoint that was made of it.
    CutOff { last: i64, checkpoint: i64 },
    /// The head that the database keeps is not the last entry.
    HeadDiffers { last: i64, head: i64 },
    /// A line that can't be read.
    Unreadable { line: u64, why: String },
    /// A row of the database that can't be read.
    UnreadableRow { why: String },
    /// A line where none like it belongs.
    LineOutOfPlace { line: u64 },
    /// The export has no first line.
    NoHeader,
    /// The export has no last line.
    NoEnd { last: i64 },
    /// The last line tells of other lines than there are.
    NotWhole {
        told_entries: i64,
        entries: i64,
        told_checkpoints: i64,
        checkpoints: i64,
    },
    /// Header, checkpoints or last line are not as they were written.
    NotAsWritten,
    /// The last line's signature is not its key's.
    EndForged { public_key: AuditPublicKey },
    /// The last line is by a key that is not believed.
    EndByStranger { public_key: AuditPublicKey },
    /// A published key is said to be endorsed by one that did not.
    EndorsementForged { public_key: AuditPublicKey },
}

impl fmt::Display for Finding {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed { sequence } => write!(to, "entry {sequence} was changed: its content has another hash"),
            Self::DoesNotFollow { sequence } => write!(
                to,
                "entry {sequence} follows another entry {} than the one that is here: one of the two was replaced",
                sequence.saturating_sub(1)
            ),
            Self::Missing { from, to: last } if from == last => write!(to, "entry {from} was removed"),
            Self::Missing { from, to: last } => write!(to, "entries {from} to {last} were removed"),
            Self::OutOfPlace { sequence, after } => {
                write!(to, "entry {sequence} was moved: it stands after entry {after}")
            }
            Self::Repeated { sequence } => {
                write!(to, "entry {sequence} is there more than once: one was inserted")
            }
            Self::OtherChain { sequence, chain } => {
                write!(to, "entry {sequence} is of another chain, `{chain}`")
            }
            Self::PersonalChanged { sequence, name } => write!(
                to,
                "the personal value `{name}` of entry {sequence} was changed: it is not the one that the chain commits to"
            ),
            Self::PersonalAdded { sequence, name } => write!(
                to,
                "the personal value `{name}` of entry {sequence} was added: the chain commits to none of that name"
            ),
            Self::CheckpointForged { sequence, public_key } => write!(
                to,
                "the checkpoint at entry {sequence} was changed or forged: its signature is not that of the key {public_key}"
            ),
            Self::CheckpointByStranger { sequence, public_key } => write!(
                to,
                "the checkpoint at entry {sequence} is signed by the key {public_key}, which is not believed"
            ),
            Self::CheckpointOutOfPlace { sequence } => {
                write!(to, "the checkpoint at entry {sequence} is not where it belongs")
            }
            Self::Rewritten { after, until } => write!(
                to,
                "the entries after {after} were rewritten: at entry {until} the chain was another one when its checkpoint was made"
            ),
            Self::CutOff { last, checkpoint } => write!(
                to,
                "the trail was cut off after entry {last}: a checkpoint shows that it reached entry {checkpoint}"
            ),
            Self::HeadDiffers { last, head } => write!(
                to,
                "the database's head of the chain is entry {head}, and its last entry {last} is not the one that the head tells of"
            ),
            Self::Unreadable { line, why } => write!(to, "line {line} can't be read: {why}"),
            Self::UnreadableRow { why } => write!(to, "a row of the database can't be read: {why}"),
            Self::LineOutOfPlace { line } => write!(to, "line {line} is not where it belongs"),
            Self::NoHeader => to.write_str("the first line is missing, which tells the chain and where it begins"),
            Self::NoEnd { last } => write!(
                to,
                "the last line is missing: the export was cut off after entry {last}, or never came to its end"
            ),
            Self::NotWhole { told_entries, entries, told_checkpoints, checkpoints } => write!(
                to,
                "the last line tells of {told_entries} entries and {told_checkpoints} checkpoints, but there are {entries} \
                 and {checkpoints}"
            ),
            Self::NotAsWritten => to.write_str(
                "the first line, a checkpoint or the last line was changed, moved or removed: the lines are not those that \
                 the last one tells of",
            ),
            Self::EndForged { public_key } => write!(
                to,
                "the last line was changed or forged: its signature is not that of the key {public_key}"
            ),
            Self::EndByStranger { public_key } => {
                write!(to, "the last line is signed by the key {public_key}, which is not believed")
            }
            Self::EndorsementForged { public_key } => write!(
                to,
                "the key {public_key} of the first line was not endorsed by the key before it, as is said there"
            ),
        }
    }
}

/// Findings, of which only so many are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// The first of them, in the order in which they were found.
    pub told: Vec<Finding>,
    /// How many more there were.
    pub more: u64,
}

impl Findings {
    /// One more.
    pub fn add(&mut self, finding: Finding) {
        if self.told.len() < MAX_FINDINGS {
            self.told.push(finding);
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.told.is_empty()
    }
}
