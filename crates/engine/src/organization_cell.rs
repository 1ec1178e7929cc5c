//! What verifies know of an organization: one cell that all its cached keys share, so that a stop is a single store.
//!
//! Ordered by the organization's version: an older load never puts an older state back. A *mark* sends every verify of
//! the organization's keys to the database while a write of it is under way. There is never more than one cell of an
//! organization, and one that a write of this process changed stays as long as the process, because a load that read
//! before the write may end at any time after it. Locks are taken in the order registry, shard of the cache, cell.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use keyward_core::decision::OrganizationState;
use keyward_core::ids::OrganizationId;

use crate::usage_notes::Names;

/// From so many cells on, those that nobody needs are looked for.
const PRUNE_FROM: usize = 100_000;
/// About what a cell takes with its id and its places in the registry.
const BYTES_PER_CELL: usize = 320;
/// What is stored where nothing may be answered from memory.
const UNKNOWN: u8 = u8::MAX;

/// The state of an organization at one of its versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrganizationStanding {
    /// The version, raised by every write under the row's lock.
    pub version: i64,
    /// The state.
    pub state: OrganizationState,
}

/// What is known of one organization.
#[derive(Debug)]
pub struct OrganizationCell {
    id: OrganizationId,
    /// What verifies read: the state, or [`UNKNOWN`]. Follows from `knowledge`.
    answer: AtomicU8,
    /// What stands for it in notes of uses; 0 until the first.
    number: AtomicU32,
    knowledge: Mutex<Knowledge>,
}

#[derive(Debug, Default)]
struct Knowledge {
    known: Option<OrganizationStanding>,
    /// What is older is not taken in, known or not.
    floor: i64,
    marks: u32,
    /// A write of this process went through it, or one of another was heard of.
    is_written: bool,
    /// Raised when the cache is emptied: what was read before must not be kept after.
    generation: u64,
}

/// An organization that is being written. It stays marked until `Organizations::unmark`: a task that died leaves its
/// keys read through, which is slow and right.
#[derive(Debug)]
#[must_use]
pub struct OrganizationMark {
    cell: Arc<OrganizationCell>,
    generation: u64,
}

impl OrganizationCell {
    fn new(id: OrganizationId) -> Self {
        Self {
            id,
            answer: AtomicU8::new(UNKNOWN),
            number: AtomicU32::new(0),
            knowledge: Mutex::default(),
        }
    }

    /// Whose it is.
    pub(crate) fn id(&self) -> &OrganizationId {
        &self.id
    }

    /// What stands for it in notes of uses.
    pub(crate) fn number(&self, names: &Names) -> u32 {
        let number = self.number.load(Ordering::Relaxed);
        if number > 0 {
            return number;
        }
        let number = names.number_of(&self.id);
        self.number.store(number, Ordering::Relaxed);
        number
    }

    /// The state, if it may be answered from.
    pub(crate) fn state(&self) -> Option<OrganizationState> {
        // Acquired, so that whoever sees the unmarked cell of a write sees everything that it applied before.
        state_of(self.answer.load(Ordering::Acquire))
    }

    /// Takes in what was read or written, unless something newer is known.
    pub(crate) fn learn(&self, standing: OrganizationStanding) {
        self.change(|knowledge| knowledge.learn(standing));
    }

    /// The newer one of what was loaded and what is known, for requests that began before the load.
    pub(crate) fn newest(&self, loaded: OrganizationStanding) -> OrganizationState {
        let known = self.knowledge().known;
        match known {
            Some(known) if known.version > loaded.version => known.state,
            _ => loaded.state,
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Knowledge) -> T) -> T {
        let mut knowledge = self.knowledge();
        let changed = change(&mut knowledge);
        let answer = match knowledge.known {
            Some(known) if knowledge.marks == 0 => number_of(known.state),
            _ => UNKNOWN,
        };
        self.answer.store(answer, Ordering::Release);
        changed
    }

    fn knowledge(&self) -> MutexGuard<'_, Knowledge> {
        self.knowledge.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Knowledge {
    fn learn(&mut self, standing: OrganizationStanding) {
        let is_news = match self.known {
            Some(known) => standing.version > known.version,
            None => standing.version >= self.floor,
        };
        if is_news {
            self.known = Some(standing);
            self.floor = standing.version;
        }
    }

    fn hear_of(&mut self, version: i64) {
        self.is_written = true;
        self.floor = self.floor.max(version);
        if self.known.is_some_and(|known| known.version < version) {
            self.known = None;
        }
    }

    /// Forgets everything but who marked it.
    fn empty(&mut self) {
        *self = Self {
            marks: self.marks,
            generation: self.generation + 1,
            ..Self::default()
        };
    }

    const fn must_stay(&self) -> bool {
        self.is_written || self.marks > 0
    }
}

/// The cells of all organizations that are cached or were written.
#[derive(Debug)]
pub(crate) struct Organizations {
    registry: Mutex<Registry>,
    /// How many cells there are, for whoever only counts.
    count: AtomicUsize,
}

#[derive(Debug)]
struct Registry {
    cells: HashMap<OrganizationId, Arc<OrganizationCell>>,
    prune_at: usize,
}

impl Organizations {
    pub(crate) fn new() -> Self {
        Self {
            registry: Mutex::new(Registry {
                cells: HashMap::new(),
                prune_at: PRUNE_FROM,
            }),
            count: AtomicUsize::new(0),
        }
    }

    /// About how many bytes of memory the cells take.
    pub(crate) fn bytes(&self) -> usize {
        self.count.load(Ordering::Relaxed) * BYTES_PER_CELL
    }

    /// The one cell of an organization. To be asked before a shard of the cache is locked.
    pub(crate) fn cell(&self, id: &OrganizationId) -> Arc<OrganizationCell> {
        let mut registry = self.registry();
        let cell = registry.cell(id);
        self.count.store(registry.cells.len(), Ordering::Relaxed);
        cell
    }

    /// Sends every verify of the organization's keys to the database until the mark is taken off.
    pub(crate) fn mark(&self, id: &OrganizationId) -> OrganizationMark {
        let cell = self.cell(id);
        let generation = cell.change(|knowledge| {
            knowledge.marks += 1;
            knowledge.generation
        });
        OrganizationMark { cell, generation }
    }

    /// Applies a committed state.
    pub(crate) fn apply(&self, mark: &OrganizationMark, standing: OrganizationStanding) {
        // Held, so that this comes wholly before or wholly after an emptying.
        let _registry = self.registry();
        mark.cell.change(|knowledge| {
            knowledge.is_written = true;
            knowledge.learn(standing);
        });
    }

    /// Takes in that another node changed the organization, to `version`: what is older is not answered from, and not taken in.
    pub(crate) fn hear_of(&self, id: &OrganizationId, version: i64) {
        let mut registry = self.registry();
        let cell = registry.cell(id);
        cell.change(|knowledge| knowledge.hear_of(version));
    }

    /// Takes a mark off: the write's outcome is known and applied.
    pub(crate) fn unmark(&self, mark: OrganizationMark) {
        mark.cell.change(|knowledge| {
            knowledge.marks = knowledge.marks.saturating_sub(1);
            if knowledge.generation != mark.generation {
                // Emptied while the write was under way: what it applied may be older than what others did. The floor
                // stays, so that no load that read before the write brings an older state in.
                knowledge.known = None;
            }
        });
    }

    /// Forgets what is known, after `empty_shards`, so that nothing that stands in a shard outlives it. Nothing is
    /// applied meanwhile.
    pub(crate) fn clear(&self, empty_shards: impl FnOnce()) {
        let mut registry = self.registry();
        empty_shards();
        for cell in registry.cells.values() {
            cell.change(Knowledge::empty);
        }
        registry.prune();
        self.count.store(registry.cells.len(), Ordering::Relaxed);
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry {
    fn cell(&mut self, id: &OrganizationId) -> Arc<OrganizationCell> {
        if let Some(known) = self.cells.get(id) {
            return Arc::clone(known);
        }
        if self.cells.len() >= self.prune_at {
            self.prune();
        }
        let cell = Arc::new(OrganizationCell::new(id.clone()));
        self.cells.insert(id.clone(), Arc::clone(&cell));
        cell
    }

    /// Drops the cells that only the registry holds. Copies are made under its lock alone, so that none comes between.
    fn prune(&mut self) {
        self.cells
            .retain(|_, cell| Arc::strong_count(cell) > 1 || cell.knowledge().must_stay());
        self.prune_at = PRUNE_FROM.max(self.cells.len() * 2);
    }
}

const fn number_of(state: OrganizationState) -> u8 {
    state as u8
}

fn state_of(number: u8) -> Option<OrganizationState> {
    match number {
        0 => Some(OrganizationState::Open),
        1 => Some(OrganizationState::Locked),
        2 => Some(OrganizationState::Stopped),
        3 => Some(OrganizationState::StoppedAndLocked),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> OrganizationId {
        format!("org-{number}").parse().unwrap()
    }

    fn open(version: i64) -> OrganizationStanding {
        OrganizationStanding {
            version,
            state: OrganizationState::Open,
        }
    }

    fn stopped(version: i64) -> OrganizationStanding {
        OrganizationStanding {
            version,
            state: OrganizationState::Stopped,
        }
    }

    #[test]
    fn every_state_has_its_number() {
        for state in OrganizationState::ALL {
            assert_eq!(state_of(number_of(state)), Some(state));
        }
        assert_eq!(state_of(UNKNOWN), None);
    }

    #[test]
    fn a_marked_cell_says_nothing_and_still_learns() {
        let organizations = Organizations::new();
        let cell = organizations.cell(&id(1));
        assert_eq!(cell.state(), None, "nothing is known yet");
        cell.learn(open(1));
        let (one, two) = (organizations.mark(&id(1)), organizations.mark(&id(1)));
        assert_eq!(cell.state(), None);
        organizations.apply(&one, stopped(2));
        organizations.unmark(one);
        assert_eq!(cell.state(), None, "the other one is there yet");
        cell.learn(open(1));
        organizations.unmark(two);
        assert_eq!(cell.state(), Some(OrganizationState::Stopped));
        assert_eq!(cell.newest(open(1)), OrganizationState::Stopped);
        assert_eq!(cell.newest(open(3)), OrganizationState::Open);
    }

    #[test]
    fn a_write_that_applies_late_does_not_undo_a_later_one() {
        let organizations = Organizations::new();
        let (resuming, stopping) = (organizations.mark(&id(1)), organizations.mark(&id(1)));
        organizations.apply(&stopping, stopped(3));
        organizations.unmark(stopping);
        organizations.apply(&resuming, open(2));
        organizations.unmark(resuming);
        assert_eq!(
            organizations.cell(&id(1)).state(),
            Some(OrganizationState::Stopped)
        );
    }

    #[test]
    fn what_a_write_applied_across_an_emptying_is_only_a_floor() {
        let organizations = Organizations::new();
        let mark = organizations.mark(&id(1));
        organizations.clear(|| ());
        organizations.apply(&mark, stopped(2));
        organizations.unmark(mark);
        let cell = organizations.cell(&id(1));
        assert_eq!(cell.state(), None);
        cell.learn(open(1));
        assert_eq!(cell.state(), None, "older than the write");
        cell.learn(stopped(2));
        assert_eq!(cell.state(), Some(OrganizationState::Stopped));
        // A database that went back in time, as after a failover, is what there is: the right was lost with it.
        organizations.clear(|| ());
        cell.learn(open(1));
        assert_eq!(cell.state(), Some(OrganizationState::Open));
    }

    #[test]
    fn cells_that_nobody_needs_go_and_those_of_writes_and_of_keys_stay() {
        let organizations = Organizations::new();
        let mark = organizations.mark(&id(0));
        organizations.apply(&mark, stopped(2));
        organizations.unmark(mark);
        let held = organizations.cell(&id(1));
        held.learn(open(1));
        let marked = organizations.mark(&id(2));
        for number in 3..PRUNE_FROM + 1_000 {
            organizations.cell(&id(number)).learn(open(1));
        }
        assert!(organizations.registry().cells.len() < 2_000);
        organizations.cell(&id(0)).learn(open(1));
        assert_eq!(
            organizations.cell(&id(0)).state(),
            Some(OrganizationState::Stopped)
        );
        assert!(Arc::ptr_eq(&held, &organizations.cell(&id(1))));
        assert!(Arc::ptr_eq(&marked.cell, &organizations.cell(&id(2))));
        organizations.unmark(marked);
    }
}
