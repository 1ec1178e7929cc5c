//! What was counted and is not added up yet, as it is kept through a crash; and the number that keeps a batch from being
//! written twice.
//!
//! The journal is written every second under load: few rows, whatever the number of keys. It is divided into parts by key,
//! so that what was added up can be removed part by part.

use keyward_core::time::Timestamp;
use keyward_core::usage::{Outcome, Source, UsedFor};

use crate::backend::{Store, Tx};
use crate::error::StoreError;
use crate::keys::id_pair;
use crate::usage::UsageCount;

const CLAIM: &str = "UPDATE usage_mark SET number = $1 WHERE id = 1 AND number = $1 - 1";
const MARK: &str = "SELECT number FROM usage_mark WHERE id = 1";
const PUT: &str = "INSERT INTO usage_journal (part, number, counts) VALUES ($1, $2, $3)";
const CLEAR: &str = "DELETE FROM usage_journal WHERE part = $1";
const LIST_PARTS: &str = "SELECT DISTINCT part FROM usage_journal ORDER BY part";
const LIST: &str = "SELECT counts FROM usage_journal WHERE part = $1 ORDER BY number";

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
    /// The number of the last batch of counts that was written.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn usage_mark(&self) -> Result<i64, StoreError> {
        Ok(on_read!(self, on => sqlx::query_scalar(MARK).fetch_one(on).await)?)
    }

    /// Parts of the journal that hold something.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn usage_journal_parts(&self) -> Result<Vec<i64>, StoreError> {
        Ok(on_read!(self, on => sqlx::query_scalar(LIST_PARTS).fetch_all(on).await)?)
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
    /// Says that this transaction writes the batch of this number; `false` if it is not the next one, because it was
    /// written before, or another process writes.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn claim_usage_number(&mut self, number: i64) -> Result<bool, StoreError> {
        let done = in_tx!(self, on => sqlx::query(CLAIM).bind(number).execute(on).await.map(|done| done.rows_affected()))?;
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
        let kept: Vec<Kept> = counts.iter().map(|count| keep(count)).collect();
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

fn keep(count: &UsageCount) -> Kept {
    (
        count.organization_id.as_str().to_owned(),
        count.key_id.as_str().to_owned(),
        count.hour,
        count.secret,
        count.used_for.name().to_owned(),
        count.outcome.name().to_owned(),
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
