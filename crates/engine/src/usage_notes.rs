//! What verifies note about the use of keys, on their way: one entry at the end of a list, and nothing else.
//!
//! Each thread has a list of its own, so that it writes one line of memory after the other and waits for nobody. Full lists
//! are put aside and emptied into `usage_counts` by the background task every second; when too many are, the request
//! that fills a list empties it, so that nothing is ever dropped here and nothing grows. No allocation once the lists
//! are there, no lock across an await, nothing of the database.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use keyward_core::address::CallerAddress;
use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::time::Timestamp;
use keyward_core::usage::{ClientName, Outcome, UsedFor};

use crate::usage_counts::{Counts, Tally};

/// Into how many parts keys are divided.
pub(crate) const PARTS: usize = 64;
/// Lists that are written; more threads than that share them.
const LISTS: usize = 32;
/// Entries of a list.
const MAX_IN_LIST: usize = 4_096;
/// Full lists that may wait to be counted: two seconds of what two cores can verify.
pub(crate) const MAX_FULL: usize = 64;

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

/// The lists, and what was counted from them. Locks are taken in the order of the fields.
pub(crate) struct Notes {
    counting: Counting,
    names: Names,
    /// Held while lists are counted, so that nobody looks while entries are in neither.
    taking_in: Mutex<()>,
    lists: Box<[Mutex<Vec<Note>>]>,
    aside: Mutex<Aside>,
    counts: Box<[Mutex<Counts>]>,
}

/// Lists that nobody writes.
#[derive(Default)]
struct Aside {
    full: VecDeque<Vec<Note>>,
    empty: Vec<Vec<Note>>,
}

impl Notes {
    pub(crate) fn new(counting: Counting) -> Self {
        Self {
            counting,
            names: Names::default(),
            taking_in: Mutex::default(),
            lists: (0..LISTS).map(|_| Mutex::default()).collect(),
            aside: Mutex::default(),
            counts: (0..PARTS).map(|_| Mutex::default()).collect(),
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
        let mut list = locked(one_of(&self.lists, own_number()));
        list.push(note);
        if list.len() >= MAX_IN_LIST {
            self.put_aside(&mut list);
        }
    }

    #[cold]
    fn put_aside(&self, list: &mut Vec<Note>) {
        let mut aside = locked(&self.aside);
        if aside.full.len() < MAX_FULL {
            let empty = aside.empty.pop();
            let empty = empty.unwrap_or_else(|| Vec::with_capacity(MAX_IN_LIST));
            aside.full.push_back(std::mem::replace(list, empty));
        } else {
            drop(aside);
            self.count(list);
        }
    }

    /// Counts one list that was put aside; `false` if there was none. One is less than a millisecond's work.
    pub(crate) fn take_in_one(&self) -> bool {
        let _taking_in = locked(&self.taking_in);
        let Some(mut list) = locked(&self.aside).full.pop_front() else {
            return false;
        };
        self.count(&mut list);
        locked(&self.aside).empty.push(list);
        true
    }

    /// Counts everything that was noted before.
    pub(crate) fn take_in(&self) {
        // Not until none is left: others go on noting meanwhile.
        for _ in 0..MAX_FULL {
            if !self.take_in_one() {
                break;
            }
        }
        let _taking_in = locked(&self.taking_in);
        for list in &self.lists {
            let mut list = locked(list);
            if !list.is_empty() {
                self.count(&mut list);
            }
        }
    }

    fn count(&self, list: &mut Vec<Note>) {
        for note in list.drain(..) {
            self.counts(part_of(note.subject.key_id)).take_in(&note);
        }
    }

    /// What was counted of a part, without what is still in a list.
    pub(crate) fn counts(&self, part: usize) -> MutexGuard<'_, Counts> {
        locked(one_of(&self.counts, part))
    }

    /// What is known here of one key and not added up yet.
    pub(crate) fn of_key(&self, key: KeyId) -> Vec<Tally> {
        self.take_in();
        self.counts(part_of(key)).of_key(key)
    }
}

#[expect(
    clippy::indexing_slicing,
    reason = "the index is a remainder of the length, which is never zero"
)]
fn one_of<T>(all: &[T], number: usize) -> &T {
    &all[number % all.len()]
}

/// The number of the calling thread, for as long as it lives.
fn own_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static OWN: usize = NEXT.fetch_add(1, Ordering::Relaxed));
    OWN.with(|own| *own)
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
    fn nothing_is_dropped_when_more_lists_are_full_than_may_wait() {
        let notes = Notes::new(Counting::On);
        let total = (MAX_FULL + 2) * MAX_IN_LIST + 17;
        for round in 0..total {
            notes.note(note(1, if round % 2 == 0 { "a" } else { "b" }));
        }
        assert_eq!(locked(&notes.aside).full.len(), MAX_FULL);
        let tallies = notes.of_key(note(1, "a").subject.key_id);
        let uses: Vec<usize> = tallies.iter().map(|one| one.uses as usize).collect();
        assert_eq!(uses, [total.div_ceil(2), total / 2]);
        // Their memory serves again.
        assert_eq!(locked(&notes.aside).empty.len(), MAX_FULL);
    }

    #[test]
    fn what_other_threads_noted_is_counted() {
        let notes = Notes::new(Counting::On);
        std::thread::scope(|scope| {
            for _ in 0..LISTS + 3 {
                scope.spawn(|| (0..MAX_IN_LIST + 5).for_each(|_| notes.note(note(1, "a"))));
            }
        });
        let tallies = notes.of_key(note(1, "a").subject.key_id);
        let uses: Vec<usize> = tallies.iter().map(|one| one.uses as usize).collect();
        assert_eq!(uses, [(LISTS + 3) * (MAX_IN_LIST + 5)]);
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
