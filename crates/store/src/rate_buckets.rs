//! The buckets of rate limits that several nodes spend from together.
//!
//! A bucket's row is locked from its reading to its writing, so that nothing is given twice. What a bucket is, and how it refills,
//! is in [`keyward_core::rate`]; who asks for how much, in the engine.

use keyward_core::condition::RateLimit;
use keyward_core::ids::KeyId;
use keyward_core::rate::RateBucket;
use keyward_core::time::Timestamp;

use crate::backend::{Store, Tx, TxInner};
use crate::error::StoreError;

/// Makes the row if it is not there, and locks it in either case.
const LOCK: &str = "INSERT INTO rate_bucket (key_id, requests, per_ms, debt, at) VALUES ($1, $2, $3, 0, $4) \
    ON CONFLICT (key_id) DO UPDATE SET requests = rate_bucket.requests RETURNING requests, per_ms, debt, at";
const PUT: &str = "UPDATE rate_bucket SET requests = $2, per_ms = $3, debt = $4, at = $5 WHERE key_id = $1";
/// A crash that loses the last requests loses no more than a restart of a node that keeps its own buckets.
const QUICKLY: &str = "SET LOCAL synchronous_commit = off";
const FORGET: &str = "DELETE FROM rate_bucket WHERE at < $1";
/// A bucket that was not touched for longer than the longest period is full.
const KEPT_MS: i64 = 2 * 86_400_000;

impl Store {
    /// Forgets buckets that must be full by now.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn forget_rate_buckets(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let before = now.as_unix_ms() - KEPT_MS;
        in_tx!(tx, on => sqlx::query(FORGET).bind(before).execute(on).await.map(drop))?;
        tx.commit().await
    }
}

impl Tx {
    /// The bucket of a key, which nobody else touches until this transaction ends.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] if it is not what [`Tx::put_rate_bucket`] wrote.
    pub async fn lock_rate_bucket(
        &mut self,
        id: KeyId,
        limit: RateLimit,
        now: Timestamp,
    ) -> Result<RateBucket, StoreError> {
        if let TxInner::Postgres(transaction) = &mut self.inner {
            sqlx::query(QUICKLY).execute(&mut **transaction).await?;
        }
        let (requests, per_ms, debt, at): (i64, i64, i64, i64) = in_tx!(self, on => sqlx::query_as(LOCK)
            .bind(id.as_str())
            .bind(i64::from(limit.requests))
            .bind(i64::from(limit.per_ms))
            .bind(now.as_unix_ms())
            .fetch_one(on)
            .await)?;
        let unreadable = StoreError::Unreadable {
            what: "bucket of a rate limit",
        };
        let limit = match (u32::try_from(requests), u32::try_from(per_ms)) {
            (Ok(requests), Ok(per_ms)) => RateLimit { requests, per_ms },
            _ => return Err(unreadable),
        };
        let debt = u64::try_from(debt).map_err(|_| unreadable)?;
        Ok(RateBucket::from_parts(limit, debt, Timestamp::from_unix_ms(at)))
    }

    /// Writes a locked bucket.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn put_rate_bucket(&mut self, id: KeyId, bucket: RateBucket) -> Result<(), StoreError> {
        let (limit, debt, at) = bucket.parts();
        in_tx!(self, on => sqlx::query(PUT)
            .bind(id.as_str())
            .bind(i64::from(limit.requests))
            .bind(i64::from(limit.per_ms))
            .bind(i64::try_from(debt).unwrap_or(i64::MAX))
            .bind(at.as_unix_ms())
            .execute(on)
            .await
            .map(drop))?;
        Ok(())
    }
}
