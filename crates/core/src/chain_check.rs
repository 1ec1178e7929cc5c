//! Checks a chain of audit entries, one entry at a time, and names what is wrong with it.
//!
//! The same for an export that lies on somebody's disk and for the server's own table. It keeps a bounded account, however
//! long the chain is: the last entry in its turn, the numbers that are missing, the checkpoints that are still ahead. Whose
//! signatures are believed is the caller's business, as is where entries come from.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::audit::{EntryHash, commitment, hex};
use crate::audit_export::EntryLine;
use crate::audit_finding::{Finding, Findings};
use crate::checkpoint::{AuditPublicKey, SignedCheckpoint};

/// So many holes and misplaced numbers are remembered.
const MAX_REMEMBERED: usize = 10_000;
const COMMITMENT: &str = "_commitment";

/// Whose signatures count.
#[derive(Debug, Clone, Default)]
pub struct Belief {
    /// Keys that are believed; `None` if the caller has none to go by, so that signatures say only that a file fits
    /// together.
    pub keys: Option<BTreeSet<AuditPublicKey>>,
    /// Keys that nobody vouches for and that are no strangers: what they signed is compared, and proves nothing.
    pub also: BTreeSet<AuditPublicKey>,
}

impl Belief {
    /// Whether a key is none of those that are believed.
    pub fn is_stranger(&self, key: AuditPublicKey) -> bool {
        let is_known = |keys: &BTreeSet<_>| keys.contains(&key) || self.also.contains(&key);
        self.keys.as_ref().is_some_and(|keys| !is_known(keys))
    }

    /// Whether there is something to go by, and this key is part of it.
    pub fn is_believed(&self, key: AuditPublicKey) -> bool {
        self.keys.as_ref().is_some_and(|keys| keys.contains(&key))
    }
}

/// What a chain came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ChainSummary {
    /// Entries that were read.
    pub entries: i64,
    /// The highest number among them; one less than the first would have had if there is none.
    pub last_sequence: i64,
    /// Checkpoints that fit the chain.
    pub checkpoints: i64,
    /// The last entry that a checkpoint stands for whose key is believed, or that was kept elsewhere.
    pub proved_until: Option<i64>,
    /// Personal values that were erased.
    pub erased_values: u64,
}

/// An entry that came ahead of its turn; the one after it tells what that means.
struct Ahead {
    sequence: i64,
    hash: EntryHash,
}

/// A check that is under way.
pub struct ChainCheck {
    chain: String,
    belief: Belief,
    /// The number whose turn it is.
    expected: i64,
    /// The last entry in its turn.
    last: (i64, EntryHash),
    ahead: Option<Ahead>,
    missing: Vec<(i64, i64)>,
    misplaced: BTreeSet<i64>,
    /// Checkpoints whose entry has not come yet.
    due: BTreeMap<i64, Vec<Due>>,
    last_good_checkpoint: i64,
    summary: ChainSummary,
    findings: Findings,
}

struct Due {
    hash: EntryHash,
    is_proof: bool,
}

impl ChainCheck {
    /// A check of `chain` from the entry after `(sequence, hash)` on.
    pub fn after(chain: &str, (sequence, hash): (i64, EntryHash), belief: Belief) -> Self {
        Self {
            chain: chain.to_owned(),
            belief,
            expected: sequence.saturating_add(1),
            last: (sequence, hash),
            ahead: None,
            missing: Vec::new(),
            misplaced: BTreeSet::new(),
            due: BTreeMap::new(),
            last_good_checkpoint: sequence,
            summary: ChainSummary {
                last_sequence: sequence,
                ..ChainSummary::default()
            },
            findings: Findings::default(),
        }
    }

    /// A checkpoint that was kept where whoever writes the chain can't write: it counts by itself.
    pub fn keep(&mut self, checkpoint: &SignedCheckpoint) {
        self.take_checkpoint(checkpoint, true);
    }

    /// A checkpoint that lies beside the chain: it counts as much as its key does.
    pub fn checkpoint(&mut self, checkpoint: &SignedCheckpoint) {
        self.take_checkpoint(checkpoint, false);
    }

    fn take_checkpoint(&mut self, checkpoint: &SignedCheckpoint, is_kept: bool) {
        let (sequence, public_key) = (checkpoint.sequence, checkpoint.public_key);
        if !checkpoint.is_signed() {
            self.findings
                .add(Finding::CheckpointForged { sequence, public_key });
            return;
        }
        if checkpoint.chain != self.chain {
            self.findings.add(Finding::CheckpointOutOfPlace { sequence });
            return;
        }
        if self.belief.is_stranger(public_key) {
            self.findings
                .add(Finding::CheckpointByStranger { sequence, public_key });
            return;
        }
        let due = Due {
            hash: checkpoint.hash.0,
            is_proof: is_kept || self.belief.is_believed(public_key),
        };
        let (last, hash) = self
            .ahead
            .as_ref()
            .map_or(self.last, |ahead| (ahead.sequence, ahead.hash));
        if sequence == last {
            self.compare(sequence, &hash, &due);
        } else if is_kept || (sequence > last && self.due.len() < MAX_REMEMBERED) {
            self.due.entry(sequence).or_default().push(due);
        } else {
            self.findings.add(Finding::CheckpointOutOfPlace { sequence });
        }
    }

    fn compare(&mut self, sequence: i64, hash: &EntryHash, due: &Due) {
        if due.hash != *hash {
            let after = self.last_good_checkpoint;
            self.findings.add(Finding::Rewritten {
                after,
                until: sequence,
            });
            return;
        }
        self.last_good_checkpoint = sequence;
        self.summary.checkpoints = self.summary.checkpoints.saturating_add(1);
        if due.is_proof {
            self.summary.proved_until = self.summary.proved_until.max(Some(sequence));
        }
    }

    /// The next entry.
    pub fn entry(&mut self, entry: &EntryLine) {
        let sequence = entry.sequence;
        self.summary.entries = self.summary.entries.saturating_add(1);
        self.summary.last_sequence = self.summary.last_sequence.max(sequence);
        if entry.chain != self.chain {
            let chain = entry.chain.clone();
            self.findings.add(Finding::OtherChain { sequence, chain });
        }
        if entry.computed_hash() != entry.hash.0 {
            self.findings.add(Finding::Changed { sequence });
        }
        self.check_personal(entry);
        self.place(sequence, entry.hash.0, entry.previous_hash.0);
        for due in self.due.remove(&sequence).unwrap_or_default() {
            self.compare(sequence, &entry.hash.0, &due);
        }
    }

    fn check_personal(&mut self, entry: &EntryLine) {
        let (facts, sequence) = (entry.read_facts(), entry.sequence);
        for (name, personal) in &entry.personal {
            let committed = facts.get(&format!("{name}{COMMITMENT}"));
            let name = name.clone();
            match committed.and_then(serde_json::Value::as_str) {
                None => self.findings.add(Finding::PersonalAdded { sequence, name }),
                Some(told) if told != hex(&commitment(&personal.salt, &personal.value)) => {
                    self.findings.add(Finding::PersonalChanged { sequence, name });
                }
                Some(_) => {}
            }
        }
        let names = facts.keys().filter_map(|name| name.strip_suffix(COMMITMENT));
        let erased = names.filter(|name| !entry.personal.contains_key(*name)).count();
        self.summary.erased_values = self.summary.erased_values.saturating_add(erased as u64);
    }

    fn place(&mut self, sequence: i64, hash: EntryHash, previous: EntryHash) {
        if let Some(ahead) = self.ahead.take() {
            if sequence == self.expected {
                // The turn comes after all: what stood before it does not belong there.
                self.misplace(ahead.sequence);
            } else if sequence == self.expected.saturating_add(1) {
                // It goes on behind the one whose turn it was: another stands in that one's place.
                self.misplace(ahead.sequence);
                self.miss(self.expected, self.expected);
                self.expected = sequence;
            } else {
                self.accept_hole(&ahead);
            }
        }
        if sequence == self.expected {
            self.take_turn(sequence, hash, previous);
        } else if sequence > self.expected {
            self.ahead = Some(Ahead { sequence, hash });
        } else if self.is_missing(sequence) {
            self.found_late(sequence);
            let after = self.last.0;
            self.findings.add(Finding::OutOfPlace { sequence, after });
        } else {
            self.findings.add(Finding::Repeated { sequence });
        }
    }

    fn take_turn(&mut self, sequence: i64, hash: EntryHash, previous: EntryHash) {
        let (before, hash_before) = self.last;
        if before.saturating_add(1) == sequence && hash_before != previous {
            self.findings.add(Finding::DoesNotFollow { sequence });
        }
        self.last = (sequence, hash);
        self.expected = sequence.saturating_add(1);
        // What came ahead of its turn has been told of; its turn goes by.
        while self.misplaced.remove(&self.expected) {
            self.expected = self.expected.saturating_add(1);
        }
    }

    /// What was ahead is where it belongs, and what should have come before it is not there.
    fn accept_hole(&mut self, ahead: &Ahead) {
        self.miss(self.expected, ahead.sequence.saturating_sub(1));
        self.last = (ahead.sequence, ahead.hash);
        self.expected = ahead.sequence.saturating_add(1);
    }

    fn misplace(&mut self, sequence: i64) {
        let after = self.last.0;
        self.findings.add(Finding::OutOfPlace { sequence, after });
        if self.misplaced.len() < MAX_REMEMBERED {
            self.misplaced.insert(sequence);
        }
    }

    fn miss(&mut self, from: i64, to: i64) {
        let mut start = from;
        let seen: Vec<i64> = self.misplaced.range(from..=to.max(from)).copied().collect();
        for sequence in seen {
            self.misplaced.remove(&sequence);
            self.add_hole(start, sequence.saturating_sub(1));
            start = sequence.saturating_add(1);
        }
        self.add_hole(start, to);
    }

    fn add_hole(&mut self, from: i64, to: i64) {
        if from > to {
        } else if self.missing.len() < MAX_REMEMBERED {
            self.missing.push((from, to));
        } else {
            self.findings.add(Finding::Missing { from, to });
        }
    }

    fn is_missing(&self, sequence: i64) -> bool {
        self.missing
            .iter()
            .any(|(from, to)| (*from..=*to).contains(&sequence))
    }

    fn found_late(&mut self, sequence: i64) {
        let holes = std::mem::take(&mut self.missing);
        for (from, to) in holes {
            if (from..=to).contains(&sequence) {
                self.add_hole(from, sequence.saturating_sub(1));
                self.add_hole(sequence.saturating_add(1), to);
            } else {
                self.add_hole(from, to);
            }
        }
    }

    /// The chain's end, up to which it is said to reach: what is missing now stays so.
    pub fn finish(mut self, told_end: i64) -> (ChainSummary, Findings) {
        if let Some(ahead) = self.ahead.take() {
            self.accept_hole(&ahead);
        }
        for (from, to) in std::mem::take(&mut self.missing) {
            self.findings.add(Finding::Missing { from, to });
        }
        let last = self.expected.saturating_sub(1);
        if told_end > last {
            let from = last.saturating_add(1);
            self.findings.add(Finding::Missing { from, to: told_end });
        }
        // What a checkpoint is of and is missing in the middle has been told of already.
        if let Some((checkpoint, _)) = self.due.last_key_value()
            && *checkpoint > last
        {
            let checkpoint = *checkpoint;
            self.findings.add(Finding::CutOff { last, checkpoint });
        }
        (self.summary, self.findings)
    }

    /// The last entry in its turn and its hash.
    pub fn last(&self) -> (i64, EntryHash) {
        self.ahead
            .as_ref()
            .map_or(self.last, |ahead| (ahead.sequence, ahead.hash))
    }
}
