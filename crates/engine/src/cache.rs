//! The verification cache: what a verify reads instead of the database.
//!
//! Ordered by the key's version: the higher wins, and an ended key wins over every living one, because no key comes
//! back (so not even a version that was lowered by other means revives one). A *mark* sends every verify of a key to the
//! database while a write of it is under way, and refuses fills. Changes are remembered as long as a load or a write is
//! running that may have read before them, so that no late fill can bring an older record back, even after an eviction.
//! The state of a key's organization is not the key's: it is read from the one cell that all keys of the organization
//! share ([`crate::organization_cell`]), and is marked, ordered and forgotten there. Nothing here waits, and no lock is
//! held across an await. The table's hash is the id itself, spread: ids are random and marked by our MAC, so nobody can
//! choose collisions. How a key is held is in `cache_entry`; the tables and their room are in `cache_shard`.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use keyward_core::decision::OrganizationState;
use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::key_digest::KeyDigest;

pub use crate::cache_entry::PlainFound;
use crate::cache_shard::{Marks, PLAIN_BYTES, Shard};
pub use crate::cached_key::{CachedKey, CachedSecret};
use crate::organization_cell::{OrganizationMark, OrganizationStanding, Organizations};

const SHARDS: usize = 256;

/// The bytes that a plain key counts for in a cache: the most that its share can come to, whatever the tables' sizes.
pub const BYTES_PER_PLAIN_KEY: usize = PLAIN_BYTES;

/// What a look into the cache gave.
pub enum Look<T> {
    /// The key is here, and this is what the reader made of it.
    Here(T),
    /// It is not here, or must be read through.
    ReadThrough,
}

/// The cache. Shared by reference; all methods take `&self`.
pub struct VerificationCache {
    shards: Box<[RwLock<Shard>]>,
    room: usize,
    /// What is known of each organization, once, so that what a million keys share is few places in memory, soon at hand.
    organizations: Organizations,
}

/// A running load; it must be finished, or changes are remembered for longer than needed.
#[derive(Debug)]
#[must_use]
pub struct LoadTicket {
    id: KeyId,
    number: u64,
    generation: u64,
}

/// A key that is being written. It stays marked until [`VerificationCache::unmark`]: a task that died leaves the key
/// read through, which is slow and right.
#[derive(Debug)]
#[must_use]
pub struct WriteMark {
    id: KeyId,
    number: u64,
    generation: u64,
}

/// What became of a load's result.
#[derive(Debug)]
pub enum Filled {
    /// Answer from this: what was loaded, or something newer.
    Use(Arc<CachedKey>, OrganizationState),
    /// What was loaded is older than a change that is known; it must be read again.
    Stale,
}

impl VerificationCache {
    /// A cache whose keys and organizations take at most about `bytes` of memory; it holds a few keys in any case.
    pub fn new(bytes: usize) -> Self {
        let shards = (0..SHARDS).map(|_| RwLock::new(Shard::default())).collect();
        Self {
            shards,
            room: bytes,
            organizations: Organizations::new(),
        }
    }

    /// The bytes that a shard's keys may count for: its part of what the organizations leave, which is at least a quarter.
    fn room_of_shard(&self) -> usize {
        let taken = self.organizations.bytes().min(self.room / 4 * 3);
        self.room.saturating_sub(taken) / SHARDS
    }

    /// Reads a key and the state of its organization in place, unless either must be read through.
    pub fn look<T>(&self, id: KeyId, read: impl FnOnce(&Arc<CachedKey>, OrganizationState) -> T) -> Look<T> {
        let shard = self.read(id);
        if shard.is_marked(id) {
            return Look::ReadThrough;
        }
        let found = shard.find(id).and_then(|entry| {
            let state = entry.organization().state()?;
            let key = entry.key(state)?;
            entry.touch();
            Some((key, state))
        });
        match found {
            Some((key, state)) => Look::Here(read(&key, state)),
            None => Look::ReadThrough,
        }
    }

    /// Asks the processor for the line of a plain key that will soon be looked at, and waits for nothing.
    pub fn prefetch(&self, id: KeyId) {
        self.read(id).prefetch_plain(id.spread());
    }

    /// Reads a plain key in place by the digest of its secret, which stands for its id as well. `None` for every other
    /// key, and where it must be read through: [`VerificationCache::look`] tells more.
    pub fn look_plain<T>(
        &self,
        id: KeyId,
        digest: &KeyDigest,
        read: impl FnOnce(PlainFound<'_>) -> T,
    ) -> Option<T> {
        let shard = self.read(id);
        if shard.is_marked(id) {
            return None;
        }
        let entry = shard.find_plain(id.spread(), |entry| entry.digest.matches(digest))?;
        let found = PlainFound::of(entry)?;
        entry.touch();
        Some(read(found))
    }

    /// Says that a load of `id` is about to read the database.
    pub fn begin_load(&self, id: KeyId) -> LoadTicket {
        let mut shard = self.write(id);
        let number = shard.begin();
        LoadTicket {
            id,
            number,
            generation: shard.generation,
        }
    }

    /// Puts a load's result through the cache and reads it back. While the key is marked nothing is stored, and the
    /// result is good only for the requests that began before the load; so is the organization's state, marked or not.
    pub fn finish_load(&self, ticket: LoadTicket, loaded: Arc<CachedKey>) -> Filled {
        let organization = self.organizations.cell(&loaded.record.organization_id);
        let mut shard = self.write(ticket.id);
        let order = loaded.order();
        let is_outdated = shard
            .recent
            .get(&ticket.id)
            .is_some_and(|recent| recent.order > order);
        let is_before_emptying = shard.generation != ticket.generation;
        if !is_before_emptying {
            organization.learn(loaded.organization);
        }
        let state = organization.newest(loaded.organization);
        let is_kept_out = shard.marks.contains_key(&ticket.id) || is_before_emptying;
        let here = shard.find(ticket.id).filter(|here| here.order() >= order);
        let outcome = match here.and_then(|here| here.key(state)) {
            Some(key) => Filled::Use(key, state),
            None if is_outdated => Filled::Stale,
            None if is_kept_out => Filled::Use(loaded, state),
            None => {
                shard.insert(Arc::clone(&loaded), organization, self.room_of_shard());
                Filled::Use(loaded, state)
            }
        };
        shard.end_load(ticket.number);
        outcome
    }

    /// Ends a load that gave nothing: no such key, a failure, or nobody waits any more.
    pub fn abandon_load(&self, ticket: LoadTicket) {
        self.write(ticket.id).end_load(ticket.number);
    }

    /// Sends every verify of a key to the database until the mark is taken off.
    pub fn mark(&self, id: KeyId) -> WriteMark {
        let mut shard = self.write(id);
        let generation = shard.generation;
        let marks = shard.marks.entry(id).or_insert(Marks { count: 0, generation });
        marks.count += 1;
        // A write that applies late, after a later write of the same key was applied and evicted, must know of it.
        let number = shard.begin();
        WriteMark {
            id,
            number,
            generation,
        }
    }

    /// Applies a committed state of a key: newer wins, and an end wins over every life. A state that may be older than
    /// another write's needs a mark that was set before it was read or written.
    pub fn apply(&self, key: Arc<CachedKey>) {
        let id = key.record.id;
        let order = key.order();
        let organization = self.organizations.cell(&key.record.organization_id);
        let mut shard = self.write(id);
        shard.remember(id, order);
        if shard.is_marked_from_before_emptying(id) {
            // It may be older than what others did, the state of the organization included.
            return;
        }
        organization.learn(key.organization);
        let is_outdated = shard.recent.get(&id).is_some_and(|recent| recent.order > order);
        if !is_outdated && shard.find(id).is_none_or(|here| order >= here.order()) {
            shard.insert(key, organization, self.room_of_shard());
        }
    }

    /// Takes in that keys were changed by other nodes, and to which version: what is older is forgotten, and no load that may have read
    /// it brings it back. An end stays an end.
    pub fn hear_of(&self, changes: &[(KeyId, i64)]) {
        let mut by_shard: BTreeMap<usize, Vec<(KeyId, i64)>> = BTreeMap::new();
        for change in changes {
            by_shard.entry(shard_of(change.0)).or_default().push(*change);
        }
        for changes in by_shard.values() {
            let Some((first, _)) = changes.first() else {
                continue;
            };
            self.write(*first).hear_of(changes);
        }
    }

    /// Takes in that an organization was changed by another node, and to which version.
    pub fn hear_of_organization(&self, id: &OrganizationId, version: i64) {
        self.organizations.hear_of(id, version);
    }

    /// Forgets a key, whatever is known of it: for a write whose row could not be opened.
    pub fn forget(&self, id: KeyId) {
        self.write(id).remove(id);
    }

    /// Takes a mark off: the write's outcome is known and applied.
    pub fn unmark(&self, mark: WriteMark) {
        let mut shard = self.write(mark.id);
        if shard.generation != mark.generation {
            // The cache was emptied while the write was under way: what it applied may be older than what others did.
            shard.remove(mark.id);
        }
        shard.end_load(mark.number);
        if let Some(marks) = shard.marks.get_mut(&mark.id) {
            marks.count -= 1;
            if marks.count == 0 {
                shard.marks.remove(&mark.id);
            }
        }
    }

    /// Sends every verify of an organization's keys to the database until the mark is taken off.
    pub fn mark_organization(&self, id: &OrganizationId) -> OrganizationMark {
        self.organizations.mark(id)
    }

    /// Applies a committed state of a marked organization: newer wins.
    pub fn apply_organization(&self, mark: &OrganizationMark, standing: OrganizationStanding) {
        self.organizations.apply(mark, standing);
    }

    /// Takes an organization's mark off: the write's outcome is known and applied.
    pub fn unmark_organization(&self, mark: OrganizationMark) {
        self.organizations.unmark(mark);
    }

    /// Empties the cache: the right to serve from memory was lost.
    pub fn clear(&self) {
        self.organizations.clear(|| {
            for shard in &self.shards {
                shard.write().unwrap_or_else(PoisonError::into_inner).empty();
            }
        });
    }

    /// How many keys are here.
    pub fn len(&self) -> usize {
        self.sum(Shard::len)
    }

    /// The bytes that the keys count for, without their organizations.
    pub fn bytes(&self) -> usize {
        self.sum(Shard::bytes)
    }

    /// The bytes of memory that the keys have in fact, without their organizations.
    pub fn allocated_bytes(&self) -> usize {
        self.sum(Shard::allocated)
    }

    fn sum(&self, count: impl Fn(&Shard) -> usize) -> usize {
        let of_shard = |shard: &RwLock<Shard>| count(&shard.read().unwrap_or_else(PoisonError::into_inner));
        self.shards.iter().map(of_shard).sum()
    }

    /// Whether no key is here.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "the index is a remainder of the length, which is never zero"
    )]
    fn shard(&self, id: KeyId) -> &RwLock<Shard> {
        &self.shards[shard_of(id)]
    }

    fn read(&self, id: KeyId) -> RwLockReadGuard<'_, Shard> {
        self.shard(id).read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, id: KeyId) -> RwLockWriteGuard<'_, Shard> {
        self.shard(id).write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shard_of(id: KeyId) -> usize {
    // The map inside a shard uses the low bits and the top seven; these come from between.
    (id.spread() >> 40) as usize % SHARDS
}
