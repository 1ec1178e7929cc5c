//! Rate limits that hold over all nodes: each node takes a few requests at a time out of the key's bucket in the database.
//!
//! A request is spent from what was taken, without the database; when that is gone, or was taken too long ago, the database is asked
//! again. So all nodes together never accept more than the bucket gives, and in any span at most what they had taken before it
//! began besides: for each node a twentieth of the limit, taken within the last second. What a node took and did not spend is lost
//! to the others. A database that does not answer refuses, as it does for every key that is not in memory.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use keyward_core::condition::RateLimit;
use keyward_core::ids::KeyId;
use keyward_core::rate::{RateStatus, Spending};
use keyward_core::time::Timestamp;
use keyward_store::{Store, StoreError};

const SHARDS: usize = 64;
/// Keys of one shard of which is remembered what was taken; beyond that those that are over go.
const MAX_IN_SHARD: usize = 16_384;
/// Which part of a limit is taken at once, one request at the least.
const PART: u32 = 20;
/// Most requests that are taken at once.
const MOST: u32 = 500;
/// For how long what was taken may be spent.
const KEPT_MS: i64 = 1_000;

/// What this node took of the buckets.
pub(crate) struct SharedRates {
    shards: Box<[Shard]>,
}

#[derive(Default)]
struct Shard {
    taken: Mutex<HashMap<KeyId, Taken>>,
    /// One asks the database for the keys of a shard, and the others find what it brought.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Clone, Copy)]
struct Taken {
    limit: RateLimit,
    left: u32,
    /// How the bucket stood after it.
    status: RateStatus,
    /// Until when this may be used: what is left, or the knowledge that there is nothing.
    until: Timestamp,
    /// Whether the bucket had nothing to give.
    is_empty: bool,
}

impl Taken {
    fn spend(&mut self, limit: RateLimit, now: Timestamp) -> Option<Spending> {
        if self.limit != limit || now >= self.until {
            return None;
        }
        if self.is_empty {
            let wait_ms = self.until.as_unix_ms().saturating_sub(now.as_unix_ms());
            return Some(Spending::Exceeded {
                status: self.status,
                retry_after_seconds: u32::try_from((wait_ms + 999) / 1_000).unwrap_or(u32::MAX),
            });
        }
        self.left = self.left.checked_sub(1)?;
        Some(Spending::Spent(RateStatus {
            remaining: self.status.remaining.saturating_add(self.left),
            ..self.status
        }))
    }
}

impl SharedRates {
    pub(crate) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
        }
    }

    /// Spends one request of what was taken; `None` if the database has to be asked.
    pub(crate) fn spend(&self, id: KeyId, limit: RateLimit, now: Timestamp) -> Option<Spending> {
        self.shard(id).taken().get_mut(&id)?.spend(limit, now)
    }

    /// Spends one request, and takes some for the next ones if nothing is left.
    ///
    /// # Errors
    /// [`StoreError`]: then nothing was spent.
    pub(crate) async fn spend_or_take(
        &self,
        store: &Store,
        (id, limit): (KeyId, RateLimit),
        now: Timestamp,
    ) -> Result<Spending, StoreError> {
        let shard = self.shard(id);
        let _asking = shard.asking.lock().await;
        if let Some(spending) = self.spend(id, limit, now) {
            return Ok(spending);
        }
        let mut tx = store.begin().await?;
        let mut bucket = tx.lock_rate_bucket(id, limit, now).await?;
        let first = bucket.spend(limit, now);
        let mut taken = Taken {
            limit,
            left: 0,
            status: status_of(first),
            until: now.plus_ms(KEPT_MS),
            is_empty: false,
        };
        match first {
            Spending::Exceeded {
                retry_after_seconds, ..
            } => {
                taken.is_empty = true;
                taken.until = now
                    .plus_ms(i64::from(retry_after_seconds) * 1_000)
                    .min(taken.until);
            }
            Spending::Spent(_) => {
                let part = (limit.requests / PART).clamp(1, MOST);
                while taken.left + 1 < part
                    && let Spending::Spent(status) = bucket.spend(limit, now)
                {
                    taken.left += 1;
                    taken.status = status;
                }
            }
        }
        tx.put_rate_bucket(id, bucket).await?;
        tx.commit().await?;
        shard.remember(id, taken, now);
        Ok(match first {
            Spending::Spent(_) => Spending::Spent(RateStatus {
                remaining: taken.status.remaining.saturating_add(taken.left),
                ..taken.status
            }),
            exceeded @ Spending::Exceeded { .. } => exceeded,
        })
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "the index is a remainder of the length, which is never zero"
    )]
    fn shard(&self, id: KeyId) -> &Shard {
        &self.shards[(id.spread() >> 48) as usize % SHARDS]
    }
}

impl Shard {
    fn taken(&self) -> MutexGuard<'_, HashMap<KeyId, Taken>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, id: KeyId, taken: Taken, now: Timestamp) {
        let mut all = self.taken();
        if all.len() >= MAX_IN_SHARD {
            all.retain(|_, other| now < other.until);
        }
        // Beyond the bound it is asked again for every request, which is slow and right.
        if all.len() < MAX_IN_SHARD || all.contains_key(&id) {
            all.insert(id, taken);
        }
    }
}

const fn status_of(spending: Spending) -> RateStatus {
    match spending {
        Spending::Spent(status) | Spending::Exceeded { status, .. } => status,
    }
}
