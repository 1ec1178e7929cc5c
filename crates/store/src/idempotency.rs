//! What is kept of requests that carried an idempotency key: digests, which key came of it, and for minutes its sealed value.
//!
//! Nothing here opens a value, and the caller's idempotency key never gets this far.

use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::seal::Sealed;
use keyward_core::time::Timestamp;

use crate::backend::{Store, Tx};
use crate::error::StoreError;

const INSERT: &str = "INSERT INTO idempotency (organization_id, attempt, request, key_id, keyring_version, sealed, \
    created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)";
const FIND: &str = "SELECT request, key_id, keyring_version, sealed, created_at FROM idempotency \
    WHERE organization_id = $1 AND attempt = $2";
const EMPTY_OLD: &str = "UPDATE idempotency SET sealed = $2 WHERE created_at <= $1 AND sealed <> $2";
const FORGET_OLD: &str = "DELETE FROM idempotency WHERE created_at <= $1";

/// An attempt that came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The attempt's digest.
    pub attempt: [u8; 32],
    /// The request's digest.
    pub request: [u8; 32],
    /// The key that came of it.
    pub key_id: KeyId,
    /// Its sealed value; empty once its time is over.
    pub sealed: Sealed,
    /// When.
    pub created_at: Timestamp,
}

impl Store {
    /// What came of an attempt, if it came to an end.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find_outcome(
        &self,
        organization: &OrganizationId,
        attempt: &[u8; 32],
    ) -> Result<Option<Outcome>, StoreError> {
        let row = on_read!(self, on => sqlx::query_as::<_, (Vec<u8>, String, i64, Vec<u8>, i64)>(FIND)
            .bind(organization.as_str()).bind(attempt.to_vec()).fetch_optional(on).await)?;
        row.map(|(request, key_id, keyring_version, sealed, created_at)| {
            let unreadable = || StoreError::Unreadable { what: "outcome" };
            Ok(Outcome {
                attempt: *attempt,
                request: request.try_into().map_err(|_| unreadable())?,
                key_id: key_id.parse().map_err(|_| unreadable())?,
                sealed: Sealed {
                    keyring_version: u32::try_from(keyring_version).map_err(|_| unreadable())?,
                    bytes: sealed,
                },
                created_at: Timestamp::from_unix_ms(created_at),
            })
        })
        .transpose()
    }

    /// Empties the values of attempts that ended at `values_until` or before, and forgets those of `outcomes_until` or before.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn clean_outcomes(
        &self,
        values_until: Timestamp,
        outcomes_until: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        in_tx!(tx, on => sqlx::query(EMPTY_OLD)
            .bind(values_until.as_unix_ms()).bind(Vec::<u8>::new()).execute(on).await.map(drop))?;
        in_tx!(tx, on => sqlx::query(FORGET_OLD)
            .bind(outcomes_until.as_unix_ms()).execute(on).await.map(drop))?;
        tx.commit().await
    }
}

impl Tx {
    /// Keeps what came of an attempt, in the transaction that did it.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] if the attempt came to an end before: then nothing of this transaction may commit.
    pub async fn insert_outcome(
        &mut self,
        organization: &OrganizationId,
        outcome: &Outcome,
    ) -> Result<(), StoreError> {
        in_tx!(self, on => sqlx::query(INSERT)
            .bind(organization.as_str())
            .bind(outcome.attempt.to_vec())
            .bind(outcome.request.to_vec())
            .bind(outcome.key_id.as_str())
            .bind(i64::from(outcome.sealed.keyring_version))
            .bind(&outcome.sealed.bytes)
            .bind(outcome.created_at.as_unix_ms())
            .execute(on)
            .await
            .map(drop))?;
        Ok(())
    }
}
