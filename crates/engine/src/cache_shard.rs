//! One part of the verification cache: its entries, what evicts them, and what is remembered of changes.
//!
//! What may be stored when is decided in [`crate::cache`]; here it is done. Room is counted in bytes: for a plain key the
//! most that its share of the table and of the queue can come to, for any other one what it takes besides.

use std::collections::{BTreeSet, HashMap, VecDeque};

use hashbrown::HashTable;
use keyward_core::ids::KeyId;
use keyward_core::packed_id::PackedKeyId;

use crate::cache_entry::{Held, PlainEntry, WholeEntry};
use crate::cached_key::{CachedKey, Order};
use crate::organization_cell::OrganizationCell;
use std::sync::Arc;

/// How many recently used entries an eviction passes over before it takes one anyway.
const SECOND_CHANCES: usize = 8;
/// A queue doubles its room when it is full.
const QUEUED: usize = 2 * size_of::<PackedKeyId>();
/// The bytes that one key in the table takes at most: a table doubles when seven eighths are used, and has a byte a place.
const fn share(entry: usize) -> usize {
    (entry + 1) * 16 / 7 + 1 + QUEUED
}
/// What a plain key counts for.
pub(crate) const PLAIN_BYTES: usize = share(size_of::<PlainEntry>());
const WHOLE_SHARE: usize = share(size_of::<WholeEntry>());
/// A table of which less than this part is used gives memory back.
const TOO_EMPTY: usize = 8;

#[derive(Default)]
pub(crate) struct Shard {
    plain: HashTable<PlainEntry>,
    whole: HashTable<WholeEntry>,
    /// What the whole ones weigh beside their share of the table.
    whole_bytes: usize,
    /// In the order of insertion; the front is asked first when room is needed.
    queue: VecDeque<PackedKeyId>,
    pub(crate) marks: HashMap<KeyId, Marks>,
    /// Raised when the cache is emptied: what was read before must not be kept after.
    pub(crate) generation: u64,
    next_ticket: u64,
    /// Loads and writes that are under way.
    running_loads: BTreeSet<u64>,
    pub(crate) recent: HashMap<KeyId, Recent>,
}

/// The marks of one key.
pub(crate) struct Marks {
    pub(crate) count: u32,
    /// Of the shard when the first of them was set.
    pub(crate) generation: u64,
}

pub(crate) struct Recent {
    pub(crate) order: Order,
    /// Loads with a lower ticket may have read before the change.
    ticket: u64,
}

impl Shard {
    pub(crate) fn is_marked(&self, id: KeyId) -> bool {
        !self.marks.is_empty() && self.marks.contains_key(&id)
    }

    pub(crate) fn is_marked_from_before_emptying(&self, id: KeyId) -> bool {
        let marks = self.marks.get(&id);
        marks.is_some_and(|marks| marks.generation != self.generation)
    }

    /// Finds a plain key by more than its id.
    pub(crate) fn find_plain(
        &self,
        hash: u64,
        is_it: impl FnMut(&PlainEntry) -> bool,
    ) -> Option<&PlainEntry> {
        self.plain.find(hash, is_it)
    }

    /// Asks the processor for the line of every plain key that may be meant: nearly always one.
    pub(crate) fn prefetch_plain(&self, hash: u64) {
        self.plain.find(hash, |entry| {
            entry.prefetch();
            false
        });
    }

    pub(crate) fn find(&self, id: KeyId) -> Option<Held<'_>> {
        self.find_packed(id.spread(), PackedKeyId::of(id))
    }

    fn find_packed(&self, hash: u64, id: PackedKeyId) -> Option<Held<'_>> {
        let plain = self.plain.find(hash, |entry| entry.id == id);
        plain.map(Held::Plain).or_else(|| {
            let key_id = id.unpack();
            let whole = self.whole.find(hash, |entry| entry.key.record.id == key_id);
            whole.map(Held::Whole)
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.plain.len() + self.whole.len()
    }

    /// The bytes that the entries count for.
    pub(crate) fn bytes(&self) -> usize {
        self.plain.len() * PLAIN_BYTES + self.whole.len() * WHOLE_SHARE + self.whole_bytes
    }

    /// The bytes that the tables and the queue have from the allocator, and the weight of the whole ones.
    pub(crate) fn allocated(&self) -> usize {
        let queue = self.queue.capacity() * size_of::<PackedKeyId>();
        self.plain.allocation_size() + self.whole.allocation_size() + queue + self.whole_bytes
    }

    /// Puts a key in, in place of what is here of it, and makes room; one key always stays.
    pub(crate) fn insert(&mut self, key: Arc<CachedKey>, organization: Arc<OrganizationCell>, room: usize) {
        let id = key.record.id;
        let hash = id.spread();
        let was_here = self.take_out(id);
        match PlainEntry::of(&key, &organization) {
            Some(entry) => {
                self.plain
                    .insert_unique(hash, entry, |other| other.id.unpack().spread());
            }
            None => {
                let entry = WholeEntry::new(key, organization);
                self.whole_bytes += entry.weight;
                self.whole
                    .insert_unique(hash, entry, |other| other.key.record.id.spread());
            }
        }
        if !was_here {
            self.queue.push_back(PackedKeyId::of(id));
        }
        self.make_room(room);
    }

    fn make_room(&mut self, room: usize) {
        let mut chances = SECOND_CHANCES;
        while self.bytes() > room && self.queue.len() > 1 {
            let Some(candidate) = self.queue.pop_front() else {
                return;
            };
            let id = candidate.unpack();
            let found = self.find_packed(id.spread(), candidate);
            if found.is_some_and(|entry| entry.was_used()) && chances > 0 {
                chances -= 1;
                self.queue.push_back(candidate);
            } else {
                self.take_out(id);
            }
        }
        // The two tables share the room: what one of them does not need any more must not be missing in it.
        if self.plain.len() < self.plain.capacity() / TOO_EMPTY {
            self.plain
                .shrink_to(self.plain.len() * 2, |other| other.id.unpack().spread());
        }
        if self.whole.len() < self.whole.capacity() / TOO_EMPTY {
            self.whole
                .shrink_to(self.whole.len() * 2, |other| other.key.record.id.spread());
        }
    }

    /// Takes an entry out of the tables alone; whether it was there.
    fn take_out(&mut self, id: KeyId) -> bool {
        let (hash, packed) = (id.spread(), PackedKeyId::of(id));
        if let Ok(found) = self.plain.find_entry(hash, |entry| entry.id == packed) {
            drop(found.remove());
            return true;
        }
        match self.whole.find_entry(hash, |entry| entry.key.record.id == id) {
            Ok(found) => {
                let (entry, _) = found.remove();
                self.whole_bytes = self.whole_bytes.saturating_sub(entry.weight);
                true
            }
            Err(_) => false,
        }
    }

    pub(crate) fn begin(&mut self) -> u64 {
        let number = self.next_ticket;
        self.next_ticket += 1;
        self.running_loads.insert(number);
        number
    }

    /// Remembers a change as long as a load or a write is running that may have read before it.
    pub(crate) fn remember(&mut self, id: KeyId, order: Order) {
        if self.running_loads.is_empty() {
            return;
        }
        let ticket = self.next_ticket;
        let recent = self.recent.entry(id).or_insert(Recent { order, ticket });
        recent.order = recent.order.max(order);
        recent.ticket = ticket;
    }

    pub(crate) fn hear_of(&mut self, changes: &[(KeyId, i64)]) {
        let mut is_less = false;
        for (id, version) in changes {
            let order = Order {
                is_ended: false,
                version: *version,
            };
            self.remember(*id, order);
            if self.find(*id).is_some_and(|here| here.order() < order) {
                is_less |= self.take_out(*id);
            }
        }
        if is_less {
            let mut queue = std::mem::take(&mut self.queue);
            queue.retain(|id| self.find_packed(id.unpack().spread(), *id).is_some());
            self.queue = queue;
        }
    }

    pub(crate) fn remove(&mut self, id: KeyId) {
        if self.take_out(id) {
            let id = PackedKeyId::of(id);
            self.queue.retain(|queued| *queued != id);
        }
    }

    /// Forgets every entry, and gives their memory back.
    pub(crate) fn empty(&mut self) {
        self.generation += 1;
        self.plain = HashTable::new();
        self.whole = HashTable::new();
        self.whole_bytes = 0;
        self.queue = VecDeque::new();
    }

    pub(crate) fn end_load(&mut self, number: u64) {
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
