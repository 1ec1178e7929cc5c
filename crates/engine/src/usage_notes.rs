//! What verifies note about the use of keys, on their way: one entry in a list, and nothing else.
//!
//! The lists are short and divided by key; they are emptied into `usage_counts` every second by the background
//! task, or by the request that fills one, so that nothing is ever dropped here and nothing grows. No allocation once a list
//! had its length, no lock across an await, nothing of the database.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use keyward_core::address::CallerAddress;
use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::time::Timestamp;
use keyward_core::usage::{ClientName, Outcome, UsedFor};

use crate::usage_counts::{Counts, Tally};

/// Into how many parts keys are divided.
pub(crate) const PARTS: usize = 64;
/// Entries of one part's list; whoever fills it counts them.
const MAX_IN_LIST: usize = 1_024;

/// Whether uses are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Counting {
    /// They are.
    #[default]
    On,
    /// They are not, and no key ever shows a use: for measuring what counting costs, and for commands that verify nothing.
    Off,
}

/// Whose key it is and which of its secrets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject {
    /// Of the organization, as [`Names`] knows it.
    pub(crate) organization: u32,
    pub(crate) key_id: KeyId,
    /// 0 where only the id matched.
    pub(crate) secret: u32,
}

/// One request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Note {
    pub(crate) subject: Subject,
    pub(crate) used_for: UsedFor,
    pub(crate) outcome: Outcome,
    pub(crate) address: CallerAddress,
    pub(crate) client: ClientName,
    pub(crate) at: Timestamp,
}

/// The lists, and what was counted from them.
pub(crate) struct Notes {
    counting: Counting,
    names: Names,
    parts: Box<[Part]>,
}

#[derive(Default)]
struct Part {
    list: Mutex<Vec<Note>>,
    /// Locked after the list where both are.
    counts: Mutex<Counts>,
}

impl Notes {
    pub(crate) fn new(counting: Counting) -> Self {
        Self {
            counting,
            names: Names::default(),
            parts: (0..PARTS).map(|_| Part::default()).collect(),
        }
    }

    pub(crate) fn is_counting(&self) -> bool {
        self.counting == Counting::On
    }

    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    /// Notes a request.
    pub(crate) fn note(&self, note: Note) {
        let part = self.part(part_of(note.subject.key_id));
        let mut list = locked(&part.list);
        list.push(note);
        if list.len() >= MAX_IN_LIST {
            locked(&part.counts).take_in(&mut list);
        }
    }

    /// The counts of a part, with everything that was noted before.
    pub(crate) fn counts(&self, part: usize) -> MutexGuard<'_, Counts> {
        let part = self.part(part);
        let mut list = locked(&part.list);
        let mut counts = locked(&part.counts);
        counts.take_in(&mut list);
        counts
    }

    /// What is known here of one key and not added up yet.
    pub(crate) fn of_key(&self, key: KeyId) -> Vec<Tally> {
        self.counts(part_of(key)).of_key(key)
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "the index is a remainder of the length, which is never zero"
    )]
    fn part(&self, number: usize) -> &Part {
        &self.parts[number % PARTS]
    }
}

/// A secret's number as notes hold it; a key has far fewer secrets than that.
pub(crate) fn small_number(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// The part that a key belongs to.
pub(crate) fn part_of(key: KeyId) -> usize {
    (key.spread() >> 48) as usize % PARTS
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Numbers that stand for organizations' ids, from 1 on, so that an entry is small. None is ever taken back.
#[derive(Default)]
pub(crate) struct Names(RwLock<Named>);

#[derive(Default)]
struct Named {
    numbers: HashMap<OrganizationId, u32>,
    ids: Vec<OrganizationId>,
}

impl Names {
    pub(crate) fn number_of(&self, id: &OrganizationId) -> u32 {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = known.numbers.get(id) {
            return *number;
        }
        drop(known);
        let mut named = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = named.numbers.get(id) {
            return *number;
        }
        named.ids.push(id.clone());
        let number = u32::try_from(named.ids.len()).unwrap_or(u32::MAX);
        named.numbers.insert(id.clone(), number);
        number
    }

    pub(crate) fn id_of(&self, number: u32) -> Option<OrganizationId> {
        let named = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let place = usize::try_from(number).ok()?.checked_sub(1)?;
        named.ids.get(place).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(key: u32, client: &str) -> Note {
        Note {
            subject: Subject {
                organization: 1,
                key_id: format!("{key:016}").parse().unwrap(),
                secret: 1,
            },
            used_for: UsedFor::Identify,
            outcome: Outcome::Accepted,
            address: CallerAddress::Unknown,
            client: ClientName::from_stored(client),
            at: Timestamp::from_unix_ms(5),
        }
    }

    #[test]
    fn nothing_is_dropped_whatever_the_length_of_the_lists() {
        let notes = Notes::new(Counting::On);
        for round in 0..3_u32 * 1_024 + 17 {
            notes.note(note(1, if round % 2 == 0 { "a" } else { "b" }));
        }
        let tallies = notes.of_key(note(1, "a").subject.key_id);
        let uses: Vec<u64> = tallies.iter().map(|one| one.uses).collect();
        assert_eq!(uses, [1_545, 1_544]);
    }

    #[test]
    fn an_organization_keeps_its_number() {
        let names = Names::default();
        let (a, b): (OrganizationId, OrganizationId) = ("org-a".parse().unwrap(), "org-b".parse().unwrap());
        assert_eq!(
            (names.number_of(&a), names.number_of(&b), names.number_of(&a)),
            (1, 2, 1)
        );
        assert_eq!(names.id_of(2), Some(b));
        assert_eq!((names.id_of(0), names.id_of(3)), (None, None));
    }
}
