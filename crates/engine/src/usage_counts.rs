//! Uses of keys, counted in memory until they are added up in the database.
//!
//! One [`Counts`] holds the keys of one part. What was counted is first *fresh*; written into the journal it is *kept*; added
//! up it is gone. What a key has too many different ones of is counted as [`Source::Other`], and what no memory is left for
//! is counted in a figure of the server: never dropped unseen. Knows no database.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::time::Timestamp;
use keyward_core::usage::{
    DETAILS_PER_KEY_AND_HOUR, Outcome, STRANGE_DETAILS_PER_KEY_AND_HOUR, Source, UsedFor, hour_of,
};
use keyward_store::usage::UsageCount;

use crate::usage_notes::Note;

/// Different things that one part holds while the database does not answer.
const MAX_TALLIES: usize = 16_384;
/// A table that has room for so many times what it held gives the room back.
const MUCH_TOO_MUCH: usize = 8;

/// How often one thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) organization: u32,
    pub(crate) secret: u32,
    pub(crate) hour: i64,
    pub(crate) used_for: UsedFor,
    pub(crate) outcome: Outcome,
    pub(crate) source: Source,
    pub(crate) uses: u64,
    pub(crate) first_at: Timestamp,
    pub(crate) last_at: Timestamp,
}

/// What was counted of the keys of one part.
#[derive(Default)]
pub(crate) struct Counts {
    fresh: Tallies,
    kept: Tallies,
    /// Uses that could not be counted since this was last asked.
    lost: u64,
}

#[derive(Default)]
struct Tallies {
    keys: HashTable<OfKey>,
    /// Tallies of all keys.
    total: usize,
}

/// Most keys have one tally in a second, which then needs no memory of its own.
struct OfKey {
    id: KeyId,
    first: Tally,
    further: Vec<Tally>,
}

/// Tallies of keys, each by its key.
pub(crate) type Counted = Vec<(KeyId, Tally)>;

impl OfKey {
    fn tallies(&self) -> impl Iterator<Item = &Tally> {
        std::iter::once(&self.first).chain(&self.further)
    }

    fn like(&mut self, tally: &Tally) -> Option<&mut Tally> {
        std::iter::once(&mut self.first)
            .chain(&mut self.further)
            .find(|one| one.is_like(tally))
    }
}

impl Tally {
    fn of(note: &Note) -> Self {
        Self {
            organization: note.subject.organization,
            secret: note.subject.secret,
            hour: hour_of(note.at),
            used_for: note.used_for,
            outcome: note.outcome,
            source: Source::Of(note.address, note.client),
            uses: 1,
            first_at: note.at,
            last_at: note.at,
        }
    }

    fn is_like(&self, other: &Self) -> bool {
        self.secret == other.secret
            && self.hour == other.hour
            && self.used_for == other.used_for
            && self.outcome == other.outcome
            && self.source == other.source
            && self.organization == other.organization
    }

    fn absorb(&mut self, other: &Self) {
        self.uses = self.uses.saturating_add(other.uses);
        self.first_at = self.first_at.min(other.first_at);
        self.last_at = self.last_at.max(other.last_at);
    }

    /// As the database takes it.
    pub(crate) fn count(&self, key_id: KeyId, organization_id: OrganizationId) -> UsageCount {
        UsageCount {
            organization_id,
            key_id,
            hour: self.hour,
            secret: i64::from(self.secret),
            used_for: self.used_for,
            outcome: self.outcome,
            source: self.source,
            uses: i64::try_from(self.uses).unwrap_or(i64::MAX),
            first_at: self.first_at,
            last_at: self.last_at,
        }
    }
}

impl Tallies {
    /// Counts one; how many uses there was no room for.
    fn add(&mut self, id: KeyId, mut tally: Tally) -> u64 {
        let is_full = self.total >= MAX_TALLIES;
        match self
            .keys
            .entry(id.spread(), |key| key.id == id, |key| key.id.spread())
        {
            Entry::Occupied(mut key) => {
                let known = key.get_mut();
                if let Some(same) = known.like(&tally) {
                    same.absorb(&tally);
                    return 0;
                }
                let is_strange = tally.secret == 0;
                let alike = known
                    .tallies()
                    .filter(|one| one.hour == tally.hour && (one.secret == 0) == is_strange)
                    .count();
                let bound = if is_strange {
                    STRANGE_DETAILS_PER_KEY_AND_HOUR
                } else {
                    DETAILS_PER_KEY_AND_HOUR
                };
                if alike >= bound || is_full {
                    tally.source = Source::Other;
                    if let Some(same) = known.like(&tally) {
                        same.absorb(&tally);
                        return 0;
                    }
                }
                // Of what is folded there is at most one for each operation, outcome and secret.
                known.further.push(tally);
                self.total += 1;
                0
            }
            Entry::Vacant(_) if is_full => tally.uses,
            Entry::Vacant(place) => {
                place.insert(OfKey {
                    id,
                    first: tally,
                    further: Vec::new(),
                });
                self.total += 1;
                0
            }
        }
    }

    /// Takes everything out. The table's memory stays for the next second's, unless that is far too much now.
    fn take(&mut self) -> Vec<(KeyId, Tally)> {
        let mut taken = Vec::with_capacity(self.total);
        let keys = self.keys.len();
        for key in self.keys.drain() {
            taken.push((key.id, key.first));
            taken.extend(key.further.into_iter().map(|tally| (key.id, tally)));
        }
        if self.keys.capacity() / MUCH_TOO_MUCH > keys {
            self.keys.shrink_to(keys, |key| key.id.spread());
        }
        self.total = 0;
        taken
    }
}

impl Counts {
    /// Counts one request.
    pub(crate) fn take_in(&mut self, note: &Note) {
        self.lost += self.fresh.add(note.subject.key_id, Tally::of(note));
    }

    /// How many different things are fresh, and how many are kept.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        (self.fresh.total, self.kept.total)
    }

    /// Uses that there was no room for since this was asked last.
    pub(crate) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// Takes what is fresh out, to be written into the journal.
    pub(crate) fn take_fresh(&mut self) -> Vec<(KeyId, Tally)> {
        self.fresh.take()
    }

    /// Takes everything, to be added up: what is fresh, and what is in the journal.
    pub(crate) fn take_all(&mut self) -> (Counted, Counted) {
        (self.take_fresh(), self.take_kept())
    }

    /// Takes what is in the journal.
    pub(crate) fn take_kept(&mut self) -> Vec<(KeyId, Tally)> {
        self.kept.take()
    }

    /// Keeps what was written into the journal.
    pub(crate) fn keep(&mut self, written: Vec<(KeyId, Tally)>) {
        for (id, tally) in written {
            self.lost += self.kept.add(id, tally);
        }
    }

    pub(crate) fn of_key(&self, id: KeyId) -> Vec<Tally> {
        let found = [&self.fresh, &self.kept]
            .into_iter()
            .filter_map(|tallies| tallies.keys.find(id.spread(), |key| key.id == id));
        found.flat_map(|key| key.tallies().copied()).collect()
    }
}
