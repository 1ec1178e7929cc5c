//! What was counted and is not added up yet, as it is kept through a crash; and the number that keeps a batch from being
//! written twice.
//!
//! The journal is written every second under load: few rows, whatever the number of keys. It is divided into parts by key,
//! so that what was added up can be removed part by part. Each process that counts has a slot of its own, with its parts and its
//! number.

use keyward_core::time::Timestamp;
use keyward_core::usage::{Outcome, Source, UsedFor};

use crate::backend::{Store, Tx};
use crate::error::StoreError;
use crate::keys::id_pair;
use crate::usage::UsageCount;

/// The slot of a process that serves its database alone.
pub const ALONE: i64 = 0;
/// By how much an heir raises a slot's number. What is below is the owner's, so that it can tell its own last batch from an
/// inheritance.
pub const INHERITED: i64 = 1 << 32;
/// Between the parts of one slot and the next; more than any process has.
const PARTS_OF_SLOT: i64 = 4_096;

const CLAIM: &str = "UPDATE usage_mark SET number = $3 WHERE id = $1 AND number = $2";
const MARK: &str = "SELECT number FROM usage_mark WHERE id = $1";
const BEGIN_MARK: &str = "INSERT INTO usage_mark (id, number) VALUES ($1, 0) ON CONFLICT (id) DO NOTHING";
const DROP_MARK: &str = "DELETE FROM usage_mark WHERE id = $1 AND id <> 1";
const PUT: &str = "INSERT INTO usage_journal (part, number, counts) VALUES ($1, $2, $3)";
const CLEAR: &str = "DELETE FROM usage_journal WHERE part = $1";
const LIST_PARTS: &str =
    "SELECT DISTINCT part FROM usage_journal WHERE part >= $1 AND part < $2 ORDER BY part";
const LIST_SLOTS: &str = "SELECT DISTINCT part / 4096 FROM usage_journal ORDER BY 1";
const LIST: &str = "SELECT counts FROM usage_journal WHERE part = $1 ORDER BY number";

/// [`Kept`] as it is written: every second, for every key in use.
type ToKeep<'a> = (
    &'a str,
    &'a str,
    i64,
    i64,
    &'static str,
    &'static str,
    String,
    String,
    i64,
    i64,
    i64,
);
/// A count as the journal holds it: the fields in their order.
type Kept = (
    String,
    String,
    i64,
    i64,
    String,
    String,
    String,
    String,
    i64,
    i64,
    i64,
);

impl Store {
    /// The number of the last batch of counts that was written in a slot.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn usage_mark(&self, slot: i64) -> Result<i64, StoreError> {
        let found = on_read!(self, on =>
            sqlx::query_scalar(MARK).bind(mark_of(slot)).fetch_optional(on).await)?;
        if let Some(number) = found {
            return Ok(number);
        }
        let mut tx = self.begin().await?;
        in_tx!(tx, on => sqlx::query(BEGIN_MARK).bind(mark_of(slot)).execute(on).await.map(drop))?;
        tx.commit().await?;
        Ok(on_read!(self, on => sqlx::query_scalar(MARK).bind(mark_of(slot)).fetch_one(on).await)?)
    }

    /// Forgets a slot in which nothing is written any more.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn drop_usage_mark(&self, slot: i64) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        in_tx!(tx, on => sqlx::query(DROP_MARK).bind(mark_of(slot)).execute(on).await.map(drop))?;
        tx.commit().await
    }

    /// Slots whose part of the journal holds something.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn usage_journal_slots(&self) -> Result<Vec<i64>, StoreError> {
        Ok(on_read!(self, on => sqlx::query_scalar(LIST_SLOTS).fetch_all(on).await)?)
    }

    /// Parts of a slot's journal that hold something.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn usage_journal_parts(&self, slot: i64) -> Result<Vec<i64>, StoreError> {
        let (from, to) = (slot * PARTS_OF_SLOT, (slot + 1) * PARTS_OF_SLOT);
        Ok(on_read!(self, on =>
            sqlx::query_scalar(LIST_PARTS).bind(from).bind(to).fetch_all(on).await)?)
    }

    /// What a part of the journal holds; the same thing may be in it several times.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] if it is not what [`Tx::put_usage_journal`] wrote.
    pub async fn usage_journal(&self, part: i64) -> Result<Vec<UsageCount>, StoreError> {
        let rows: Vec<String> =
            on_read!(self, on => sqlx::query_scalar(LIST).bind(part).fetch_all(on).await)?;
        let mut counts = Vec::new();
        for row in rows {
            let kept: Vec<Kept> = serde_json::from_str(&row).map_err(|_| unreadable())?;
            for one in kept {
                counts.push(read(one)?);
            }
        }
        Ok(counts)
    }
}

impl Tx {
    /// Says that this transaction writes the batch that takes a slot from one number to another; `false` if it does not stand at the
    /// first, because it was written before, or another process writes.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn claim_usage_number(
        &mut self,
        slot: i64,
        (from, to): (i64, i64),
    ) -> Result<bool, StoreError> {
        let done = in_tx!(self, on => sqlx::query(CLAIM).bind(mark_of(slot)).bind(from).bind(to)
            .execute(on).await.map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// Keeps counts in a part of the journal.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn put_usage_journal(
        &mut self,
        (part, number): (i64, i64),
        counts: &[&UsageCount],
    ) -> Result<(), StoreError> {
        let kept: Vec<ToKeep<'_>> = counts.iter().map(|count| keep(count)).collect();
        let text = serde_json::to_string(&kept).map_err(|_| unreadable())?;
        in_tx!(self, on => sqlx::query(PUT).bind(part).bind(number).bind(text).execute(on).await.map(drop))?;
        Ok(())
    }

    /// Empties a part of the journal, after what is in it was added up.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn clear_usage_journal(&mut self, part: i64) -> Result<(), StoreError> {
        in_tx!(self, on => sqlx::query(CLEAR).bind(part).execute(on).await.map(drop))?;
        Ok(())
    }
}

/// Where a part of a slot's journal is.
pub fn journal_place(slot: i64, part: usize) -> i64 {
    slot * PARTS_OF_SLOT + i64::try_from(part).unwrap_or(PARTS_OF_SLOT - 1)
}

const fn mark_of(slot: i64) -> i64 {
    slot + 1
}

fn keep(count: &UsageCount) -> ToKeep<'_> {
    (
        count.organization_id.as_str(),
        count.key_id.as_str(),
        count.hour,
        count.secret,
        count.used_for.name(),
        count.outcome.name(),
        count.source.address(),
        count.source.client().as_str().to_owned(),
        count.uses,
        count.first_at.as_unix_ms(),
        count.last_at.as_unix_ms(),
    )
}

fn read(kept: Kept) -> Result<UsageCount, StoreError> {
    let (organization, key, hour, secret, operation, outcome, address, client, uses, first, last) = kept;
    let (organization_id, key_id) = id_pair((organization, key))?;
    Ok(UsageCount {
        organization_id,
        key_id,
        hour,
        secret,
        used_for: UsedFor::from_name(&operation).ok_or_else(unreadable)?,
        outcome: Outcome::from_name(&outcome).ok_or_else(unreadable)?,
        source: Source::from_texts(&address, &client),
        uses,
        first_at: Timestamp::from_unix_ms(first),
        last_at: Timestamp::from_unix_ms(last),
    })
}

const fn unreadable() -> StoreError {
    StoreError::Unreadable {
        what: "journal of usage",
    }
}
