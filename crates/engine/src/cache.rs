//! The verification cache: what a verify reads instead of the database.
//!
//! Ordered by the key's version: the higher wins, and an ended key wins over every living one, because no key comes
//! back (so not even a version that was lowered by other means revives one). A *mark* sends every verify of a key to the
//! database while a write of it is under way, and refuses fills. Changes are remembered as long as a load or a write is
//! running that may have read before them, so that no late fill can bring an older record back, even after an eviction.
//! The state of a key's organization is not the key's: it is read from the one cell that all keys of the organization
//! share ([`crate::organization_cell`]), and is marked, ordered and forgotten there. Nothing here waits, and no lock is held across an await. The table's hash is the id itself, spread: ids are random and
//! marked by our MAC, so nobody can choose collisions.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use hashbrown::HashTable;
use keyward_core::decision::OrganizationState;
use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::key_digest::{KeptDigest, KeyDigest};
use keyward_core::plain::PlainKey;
use keyward_core::record::KeyRecord;
use keyward_core::state::SecretLife;

use crate::organization_cell::{OrganizationCell, OrganizationMark, OrganizationStanding, Organizations};
use crate::usage_notes::{Names, small_number};

const SHARDS: usize = 256;
/// How many recently used entries an eviction passes over before it takes one anyway.
const SECOND_CHANCES: usize = 8;

/// A key as verifies read it.
#[derive(Debug)]
pub struct CachedKey {
    /// What decides.
    pub record: KeyRecord,
    /// Its organization as it stood when the key was read. Whoever decides asks the cache, which knows newer ones.
    pub organization: OrganizationStanding,
    /// The live secrets: at most two.
    pub secrets: Vec<CachedSecret>,
    /// Whether ended secrets exist, which are read only when the live ones did not match.
    pub has_ended_secrets: bool,
}

/// One live secret of a cached key.
#[derive(Debug)]
pub struct CachedSecret {
    /// Its number within the key.
    pub number: i64,
    /// Current or ending.
    pub life: SecretLife,
    /// Its digest.
    pub digest: KeptDigest,
}

impl CachedSecret {
    /// Puts the parts together.
    pub const fn new(number: i64, life: SecretLife, digest: KeptDigest) -> Self {
        Self { number, life, digest }
    }
}

impl CachedKey {
    /// Puts the parts together.
    pub fn new(
        record: KeyRecord,
        organization: OrganizationStanding,
        secrets: Vec<CachedSecret>,
        has_ended_secrets: bool,
    ) -> Self {
        Self {
            record,
            organization,
            secrets,
            has_ended_secrets,
        }
    }

    /// The live secret that `presented` is of; every one is compared, in constant time.
    pub fn matching_secret(&self, presented: &KeyDigest) -> Option<&CachedSecret> {
        // Not `find`, which would stop at the first that matches.
        self.secrets.iter().fold(None, |found, secret| {
            if secret.digest.matches(presented) {
                Some(secret)
            } else {
                found
            }
        })
    }

    /// The plain form of the key, if it is a plain one with a single live secret; with that secret's digest.
    fn plain(&self) -> Option<(PlainKey, &KeptDigest)> {
        let [secret] = self.secrets.as_slice() else {
            return None;
        };
        let plain = PlainKey::of(&self.record, secret.life)?;
        Some((plain, &secret.digest))
    }

    fn order(&self) -> Order {
        Order {
            is_ended: self.record.state.is_deleted(),
            version: self.record.version,
        }
    }
}

/// What a cache knows about a key's place in time. An end comes after every life, then the version counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Order {
    is_ended: bool,
    version: i64,
}

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
    capacity_per_shard: usize,
    /// What is known of each organization, once, so that what a million keys share is few places in memory, soon at hand.
    organizations: Organizations,
}

/// What the table holds of a key: all that accepts a plain key in one line of the processor's cache, and the way to the
/// rest. The line is what a verify waits for when there are more keys than the processor's caches hold.
#[repr(align(64))]
struct Entry {
    /// Of the plain key's secret.
    digest: KeptDigest,
    organization: Arc<OrganizationCell>,
    key: Arc<CachedKey>,
    /// The number of the plain key's secret.
    secret_number: u32,
    plain: Option<PlainKey>,
    used: AtomicBool,
}

/// A plain key that was found, with what decides beside it.
pub struct PlainFound<'a> {
    entry: &'a Entry,
    plain: PlainKey,
    state: OrganizationState,
}

impl PlainFound<'_> {
    /// The key.
    pub const fn plain(&self) -> PlainKey {
        self.plain
    }

    /// Its organization.
    pub fn organization_id(&self) -> &OrganizationId {
        self.entry.organization.id()
    }

    /// The state of its organization.
    pub const fn organization_state(&self) -> OrganizationState {
        self.state
    }

    /// What stands for its organization in notes of uses.
    pub(crate) fn organization_number(&self, names: &Names) -> u32 {
        self.entry.organization.number(names)
    }

    /// The number of its one secret.
    pub(crate) const fn secret_number(&self) -> u32 {
        self.entry.secret_number
    }
}

const _: () = assert!(size_of::<Entry>() == 64);

#[derive(Default)]
struct Shard {
    entries: HashTable<Entry>,
    /// In the order of insertion; the front is asked first when room is needed.
    queue: VecDeque<KeyId>,
    marks: HashMap<KeyId, Marks>,
    /// Raised when the cache is emptied: what was read before must not be kept after.
    generation: u64,
    next_ticket: u64,
    /// Loads and writes that are under way.
    running_loads: BTreeSet<u64>,
    recent: HashMap<KeyId, Recent>,
}

/// The marks of one key.
struct Marks {
    count: u32,
    /// Of the shard when the first of them was set.
    generation: u64,
}

struct Recent {
    order: Order,
    /// Loads with a lower ticket may have read before the change.
    ticket: u64,
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
    /// A cache for about `capacity` keys.
    pub fn new(capacity: usize) -> Self {
        let shards = (0..SHARDS).map(|_| RwLock::new(Shard::default())).collect();
        Self {
            shards,
            capacity_per_shard: capacity.div_ceil(SHARDS).max(1),
            organizations: Organizations::new(),
        }
    }

    /// Reads a key and the state of its organization in place, unless either must be read through.
    pub fn look<T>(&self, id: KeyId, read: impl FnOnce(&Arc<CachedKey>, OrganizationState) -> T) -> Look<T> {
        let shard = self.read(id);
        if shard.is_marked(id) {
            return Look::ReadThrough;
        }
        let found = shard.find(id);
        let found = found.and_then(|entry| Some((entry, entry.organization.state()?)));
        match found {
            Some((entry, state)) => {
                entry.touch();
                Look::Here(read(&entry.key, state))
            }
            None => Look::ReadThrough,
        }
    }

    /// Reads a plain key in place by the digest of its secret, which stands for its id as well. `None` for every other
    /// key, and where it must be read through: [`VerificationCache::look`] tells more.
    ///
    /// The digest is computed here, after the entry's line was asked for: the processor fetches the line while it hashes.
    pub fn look_plain<T>(
        &self,
        id: KeyId,
        digest: impl FnOnce() -> KeyDigest,
        read: impl FnOnce(PlainFound<'_>) -> T,
    ) -> (KeyDigest, Option<T>) {
        let shard = self.read(id);
        let hash = id.spread();
        shard.entries.find(hash, |entry| {
            black_box(entry.used.load(Ordering::Relaxed));
            false
        });
        let digest = digest();
        if shard.is_marked(id) {
            return (digest, None);
        }
        let found = shard.entries.find(hash, |entry| entry.digest.matches(&digest));
        let answer = found.and_then(|entry| {
            let plain = entry.plain?;
            let state = entry.organization.state()?;
            entry.touch();
            Some(read(PlainFound { entry, plain, state }))
        });
        (digest, answer)
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
        let outcome = match shard.find(ticket.id) {
            Some(here) if here.key.order() >= order => Filled::Use(Arc::clone(&here.key), state),
            _ if is_outdated => Filled::Stale,
            _ if is_kept_out => Filled::Use(loaded, state),
            _ => {
                shard.insert(
                    Entry::new(Arc::clone(&loaded), organization),
                    self.capacity_per_shard,
                );
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
        if !is_outdated && shard.find(id).is_none_or(|here| order >= here.key.order()) {
            shard.insert(Entry::new(key, organization), self.capacity_per_shard);
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
                let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
                shard.generation += 1;
                shard.entries.clear();
                shard.queue.clear();
            }
        });
    }

    /// How many keys are here.
    pub fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.read().unwrap_or_else(PoisonError::into_inner).entries.len())
            .sum()
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

impl Entry {
    fn new(key: Arc<CachedKey>, organization: Arc<OrganizationCell>) -> Self {
        let plain = key.plain();
        Self {
            digest: plain.map_or_else(KeptDigest::none, |(_, digest)| digest.clone()),
            plain: plain.map(|(plain, _)| plain),
            organization,
            secret_number: key
                .secrets
                .first()
                .map_or(0, |secret| small_number(secret.number)),
            used: AtomicBool::new(false),
            key,
        }
    }

    fn id(&self) -> KeyId {
        self.key.record.id
    }

    /// Remembers the use; written only when it changes, so that a line that is read by many is written by none.
    fn touch(&self) {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }
}

impl Shard {
    fn is_marked(&self, id: KeyId) -> bool {
        !self.marks.is_empty() && self.marks.contains_key(&id)
    }

    fn is_marked_from_before_emptying(&self, id: KeyId) -> bool {
        let marks = self.marks.get(&id);
        marks.is_some_and(|marks| marks.generation != self.generation)
    }

    fn find(&self, id: KeyId) -> Option<&Entry> {
        self.entries.find(id.spread(), |entry| entry.id() == id)
    }

    fn insert(&mut self, entry: Entry, capacity: usize) {
        let id = entry.id();
        match self.entries.find_mut(id.spread(), |other| other.id() == id) {
            Some(here) => *here = entry,
            None => {
                self.entries
                    .insert_unique(id.spread(), entry, |other| other.id().spread());
                self.queue.push_back(id);
            }
        }
        let mut chances = SECOND_CHANCES;
        while self.entries.len() > capacity {
            let Some(candidate) = self.queue.pop_front() else {
                return;
            };
            let was_used = self
                .find(candidate)
                .is_some_and(|entry| entry.used.swap(false, Ordering::Relaxed));
            if was_used && chances > 0 {
                chances -= 1;
                self.queue.push_back(candidate);
            } else {
                self.take_out(candidate);
            }
        }
    }

    /// Takes an entry out of the table alone; whether it was there.
    fn take_out(&mut self, id: KeyId) -> bool {
        match self.entries.find_entry(id.spread(), |entry| entry.id() == id) {
            Ok(found) => {
                drop(found.remove());
                true
            }
            Err(_) => false,
        }
    }

    fn begin(&mut self) -> u64 {
        let number = self.next_ticket;
        self.next_ticket += 1;
        self.running_loads.insert(number);
        number
    }

    /// Remembers a change as long as a load or a write is running that may have read before it.
    fn remember(&mut self, id: KeyId, order: Order) {
        if self.running_loads.is_empty() {
            return;
        }
        let ticket = self.next_ticket;
        let recent = self.recent.entry(id).or_insert(Recent { order, ticket });
        recent.order = recent.order.max(order);
        recent.ticket = ticket;
    }

    fn hear_of(&mut self, changes: &[(KeyId, i64)]) {
        let mut is_less = false;
        for (id, version) in changes {
            let order = Order {
                is_ended: false,
                version: *version,
            };
            self.remember(*id, order);
            if self.find(*id).is_some_and(|here| here.key.order() < order) {
                is_less |= self.take_out(*id);
            }
        }
        if is_less {
            let entries = &self.entries;
            self.queue
                .retain(|id| entries.find(id.spread(), |entry| entry.id() == *id).is_some());
        }
    }

    fn remove(&mut self, id: KeyId) {
        if self.take_out(id) {
            self.queue.retain(|queued| *queued != id);
        }
    }

    fn end_load(&mut self, number: u64) {
        self.running_loads.remove(&number);
        match self.running_loads.first() {
            None => self.recent.clear(),
            Some(oldest) => {
                let oldest = *oldest;
                // A change that came before the oldest running load began can't be missed by it.
                self.recent.retain(|_, recent| recent.ticket > oldest);
            }
        }
    }
}
