//! The buckets of the keys that have a rate limit: one a key, whatever it is used for and however often it is edited.
//!
//! Kept apart from the cache, so that an eviction refills nothing. They live in memory alone: a restart refills them. A
//! full bucket is forgotten when room is needed; the number of the others is bounded, and beyond the bound the one that
//! would be full first goes. What a bucket is, [`keyward_core::rate`] says.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use keyward_core::condition::RateLimit;
use keyward_core::ids::KeyId;
use keyward_core::rate::{RateBucket, Spending};
use keyward_core::time::Timestamp;

const SHARDS: usize = 64;
/// From so many buckets of a shard on, full ones are looked for.
const PRUNE_FROM: usize = 1_024;
/// Most buckets of a shard: a million in all.
const MAX_IN_SHARD: usize = 16_384;

/// The buckets.
pub(crate) struct Rates {
    shards: Box<[Mutex<Shard>]>,
}

struct Shard {
    buckets: HashMap<KeyId, RateBucket>,
    prune_at: usize,
}

impl Rates {
    pub(crate) fn new() -> Self {
        let shard = || Shard {
            buckets: HashMap::new(),
            prune_at: PRUNE_FROM,
        };
        Self {
            shards: (0..SHARDS).map(|_| Mutex::new(shard())).collect(),
        }
    }

    /// Spends one request of a key, if its bucket holds one.
    pub(crate) fn spend(&self, id: KeyId, limit: RateLimit, now: Timestamp) -> Spending {
        let mut shard = self.shard(id).lock().unwrap_or_else(PoisonError::into_inner);
        shard.bucket(id, limit, now).spend(limit, now)
    }

    /// What [`Rates::spend`] would answer; nothing is spent.
    pub(crate) fn ask(&self, id: KeyId, limit: RateLimit, now: Timestamp) -> Spending {
        let shard = self.shard(id).lock().unwrap_or_else(PoisonError::into_inner);
        let known = shard.buckets.get(&id).copied();
        let mut bucket = known.unwrap_or_else(|| RateBucket::full(limit, now));
        bucket.spend(limit, now)
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "the index is a remainder of the length, which is never zero"
    )]
    fn shard(&self, id: KeyId) -> &Mutex<Shard> {
        &self.shards[(id.spread() >> 48) as usize % SHARDS]
    }
}

impl Shard {
    fn bucket(&mut self, id: KeyId, limit: RateLimit, now: Timestamp) -> &mut RateBucket {
        if self.buckets.len() >= self.prune_at && !self.buckets.contains_key(&id) {
            self.make_room(now);
        }
        self.buckets
            .entry(id)
            .or_insert_with(|| RateBucket::full(limit, now))
    }

    fn make_room(&mut self, now: Timestamp) {
        self.buckets.retain(|_, bucket| !bucket.is_full(now));
        if self.buckets.len() >= MAX_IN_SHARD {
            let soonest = self.buckets.iter().min_by_key(|(_, bucket)| bucket.ms_to_full());
            if let Some(id) = soonest.map(|(id, _)| *id) {
                self.buckets.remove(&id);
            }
        }
        // So that looking for full ones stays rare where there are many.
        self.prune_at = (self.buckets.len() * 2).clamp(PRUNE_FROM, MAX_IN_SHARD);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_ms(0);
    const LIMIT: RateLimit = RateLimit {
        requests: 1,
        per_ms: 1_000,
    };

    fn id(number: usize) -> KeyId {
        format!("{number:016}").parse().unwrap()
    }

    fn kept(rates: &Rates) -> usize {
        rates
            .shards
            .iter()
            .map(|shard| shard.lock().unwrap().buckets.len())
            .sum()
    }

    fn is_spent(rates: &Rates, number: usize, now: Timestamp) -> bool {
        matches!(rates.spend(id(number), LIMIT, now), Spending::Spent(_))
    }

    #[test]
    fn asking_spends_nothing() {
        let rates = Rates::new();
        for _ in 0..3 {
            assert!(matches!(rates.ask(id(1), LIMIT, NOW), Spending::Spent(_)));
        }
        assert!(is_spent(&rates, 1, NOW));
        assert!(matches!(rates.ask(id(1), LIMIT, NOW), Spending::Exceeded { .. }));
        assert!(!is_spent(&rates, 1, NOW));
    }

    #[test]
    fn full_buckets_are_forgotten_and_the_others_are_not() {
        let rates = Rates::new();
        let many = 2 * SHARDS * PRUNE_FROM;
        for number in 0..many {
            assert!(is_spent(&rates, number, NOW.plus_ms(number as i64)));
        }
        // A thousand are not full again yet.
        assert!(kept(&rates) < many, "{}", kept(&rates));
        let last = NOW.plus_ms(many as i64);
        assert!((many - 900..many).all(|number| !is_spent(&rates, number, last)));
    }

    #[test]
    fn there_are_never_more_than_the_bound() {
        let mut shard = Shard {
            buckets: HashMap::new(),
            prune_at: PRUNE_FROM,
        };
        for number in 0..MAX_IN_SHARD + 100 {
            let now = NOW.plus_ms(i64::from(number == 0));
            shard.bucket(id(number), LIMIT, now).spend(LIMIT, now);
        }
        assert_eq!(shard.buckets.len(), MAX_IN_SHARD);
    }
}
