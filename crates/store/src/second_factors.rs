//! Second factors: sealed seeds, offered and in force, and digests of recovery codes.
//!
//! Whoever decides by a row here has locked the person ([`Tx::lock_person`]). Nothing here opens a seed or knows a code.

use keyward_core::ids::{PersonId, SessionId};
use keyward_core::recovery_code::RecoveryDigest;
use keyward_core::seal::Sealed;
use keyward_core::time::Timestamp;
use keyward_core::totp::SeedStanding;

use crate::backend::{Store, Tx};
use crate::error::StoreError;

const SELECT: &str = "SELECT session_id, keyring_version, sealed, since, last_step FROM second_factor \
    WHERE person_id = $1 AND standing = $2";
const PUT: &str = "INSERT INTO second_factor (person_id, standing, session_id, keyring_version, sealed, since, last_step) \
    VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (person_id, standing) DO UPDATE SET session_id = excluded.session_id, \
    keyring_version = excluded.keyring_version, sealed = excluded.sealed, since = excluded.since, \
    last_step = excluded.last_step";
const SPEND_STEP: &str =
    "UPDATE second_factor SET last_step = $2 WHERE person_id = $1 AND standing = 'on' AND last_step < $2";
const DELETE: &str = "DELETE FROM second_factor WHERE person_id = $1 AND standing = $2";
const DELETE_OLD_OFFERS: &str = "DELETE FROM second_factor WHERE standing = 'offered' AND since <= $1";
const LIST_SEALED_BEFORE: &str = "SELECT person_id, standing FROM second_factor WHERE keyring_version < $1 \
    AND (person_id > $2 OR (person_id = $2 AND standing > $3)) ORDER BY person_id, standing LIMIT $4";
const UPDATE_SEAL: &str =
    "UPDATE second_factor SET keyring_version = $3, sealed = $4 WHERE person_id = $1 AND standing = $2";
const COUNT_CODES: &str = "SELECT COUNT(*) FROM recovery_code WHERE person_id = $1";
const LIST_CODES: &str = "SELECT number, digest FROM recovery_code WHERE person_id = $1 ORDER BY number";
const INSERT_CODE: &str = "INSERT INTO recovery_code (person_id, number, digest) VALUES ($1, $2, $3)";
const DELETE_CODE: &str = "DELETE FROM recovery_code WHERE person_id = $1 AND number = $2";
const DELETE_CODES: &str = "DELETE FROM recovery_code WHERE person_id = $1";

/// A seed as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFactor {
    /// The session that it was offered in; `None` for one that is in force.
    pub session_id: Option<SessionId>,
    /// The seed.
    pub sealed: Sealed,
    /// Since when it is offered or in force.
    pub since: Timestamp,
    /// The last step of which a code was used.
    pub last_step: i64,
}

type Row = (Option<String>, i64, Vec<u8>, i64, i64);

fn factor_of((session, keyring_version, bytes, since, last_step): Row) -> Result<StoredFactor, StoreError> {
    let unreadable = || StoreError::Unreadable {
        what: "second factor",
    };
    Ok(StoredFactor {
        session_id: session
            .map(|id| id.parse().map_err(|_| unreadable()))
            .transpose()?,
        sealed: Sealed {
            keyring_version: u32::try_from(keyring_version).map_err(|_| unreadable())?,
            bytes,
        },
        since: Timestamp::from_unix_ms(since),
        last_step,
    })
}

impl Store {
    /// A person's factor of this standing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find_second_factor(
        &self,
        person: &PersonId,
        standing: SeedStanding,
    ) -> Result<Option<StoredFactor>, StoreError> {
        let row = on_read!(self, on => sqlx::query_as::<_, Row>(SELECT)
            .bind(person.as_str()).bind(standing.name()).fetch_optional(on).await)?;
        row.map(factor_of).transpose()
    }

    /// How many recovery codes a person has left.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn count_recovery_codes(&self, person: &PersonId) -> Result<i64, StoreError> {
        Ok(on_read!(self, on => sqlx::query_scalar::<_, i64>(COUNT_CODES)
            .bind(person.as_str()).fetch_one(on).await)?)
    }

    /// Seeds that are sealed under an earlier keyring version, after a place, in their order.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_factors_sealed_before(
        &self,
        active: u32,
        (person, standing): (&str, &str),
        limit: i64,
    ) -> Result<Vec<(PersonId, SeedStanding)>, StoreError> {
        let rows = on_read!(self, on => sqlx::query_as::<_, (String, String)>(LIST_SEALED_BEFORE)
            .bind(i64::from(active)).bind(person).bind(standing).bind(limit).fetch_all(on).await)?;
        let unreadable = || StoreError::Unreadable {
            what: "second factor",
        };
        rows.into_iter()
            .map(|(person, standing)| {
                Ok((
                    person.parse().map_err(|_| unreadable())?,
                    SeedStanding::from_name(&standing).ok_or_else(unreadable)?,
                ))
            })
            .collect()
    }
}

impl Tx {
    /// As [`Store::find_second_factor`], as this transaction sees it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find_second_factor(
        &mut self,
        person: &PersonId,
        standing: SeedStanding,
    ) -> Result<Option<StoredFactor>, StoreError> {
        let row = in_tx!(self, on => sqlx::query_as::<_, Row>(SELECT)
            .bind(person.as_str()).bind(standing.name()).fetch_optional(on).await)?;
        row.map(factor_of).transpose()
    }

    /// Keeps a factor, in place of one of the same standing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn put_second_factor(
        &mut self,
        (person, standing): (&PersonId, SeedStanding),
        factor: &StoredFactor,
    ) -> Result<(), StoreError> {
        in_tx!(self, on => sqlx::query(PUT)
            .bind(person.as_str())
            .bind(standing.name())
            .bind(factor.session_id.as_ref().map(SessionId::as_str))
            .bind(i64::from(factor.sealed.keyring_version))
            .bind(&factor.sealed.bytes)
            .bind(factor.since.as_unix_ms())
            .bind(factor.last_step)
            .execute(on)
            .await
            .map(drop))?;
        Ok(())
    }

    /// Puts a factor's seed, sealed anew, in place of what was sealed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn update_factor_seal(
        &mut self,
        (person, standing): (&PersonId, SeedStanding),
        sealed: &Sealed,
    ) -> Result<(), StoreError> {
        in_tx!(self, on => sqlx::query(UPDATE_SEAL)
            .bind(person.as_str())
            .bind(standing.name())
            .bind(i64::from(sealed.keyring_version))
            .bind(&sealed.bytes)
            .execute(on)
            .await
            .map(drop))?;
        Ok(())
    }

    /// Spends a step of the factor in force; `false` if it, or a later one, was spent before.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn spend_step(&mut self, person: &PersonId, step: i64) -> Result<bool, StoreError> {
        let changed = in_tx!(self, on => sqlx::query(SPEND_STEP)
            .bind(person.as_str()).bind(step).execute(on).await.map(|done| done.rows_affected()))?;
        Ok(changed == 1)
    }

    /// Removes a person's factor of this standing; whether there was one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn delete_second_factor(
        &mut self,
        person: &PersonId,
        standing: SeedStanding,
    ) -> Result<bool, StoreError> {
        let deleted = in_tx!(self, on => sqlx::query(DELETE)
            .bind(person.as_str()).bind(standing.name()).execute(on).await.map(|done| done.rows_affected()))?;
        Ok(deleted == 1)
    }

    /// Removes offers that were made by `before`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn forget_offered_factors(&mut self, before: Timestamp) -> Result<(), StoreError> {
        in_tx!(self, on => sqlx::query(DELETE_OLD_OFFERS)
            .bind(before.as_unix_ms()).execute(on).await.map(drop))?;
        Ok(())
    }

    /// A person's recovery codes that are left, by number.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_recovery_codes(
        &mut self,
        person: &PersonId,
    ) -> Result<Vec<(i64, RecoveryDigest)>, StoreError> {
        let rows = in_tx!(self, on => sqlx::query_as::<_, (i64, Vec<u8>)>(LIST_CODES)
            .bind(person.as_str()).fetch_all(on).await)?;
        rows.into_iter()
            .map(|(number, digest)| {
                let digest = <[u8; 32]>::try_from(digest).map_err(|_| StoreError::Unreadable {
                    what: "recovery code",
                })?;
                Ok((number, RecoveryDigest::from_stored(digest)))
            })
            .collect()
    }

    /// Gives a person these recovery codes, in place of those that are left.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn replace_recovery_codes(
        &mut self,
        person: &PersonId,
        digests: &[RecoveryDigest],
    ) -> Result<(), StoreError> {
        in_tx!(self, on => sqlx::query(DELETE_CODES).bind(person.as_str()).execute(on).await.map(drop))?;
        for (number, digest) in (1_i64..).zip(digests) {
            in_tx!(self, on => sqlx::query(INSERT_CODE)
                .bind(person.as_str()).bind(number).bind(digest.as_bytes().to_vec()).execute(on).await
                .map(drop))?;
        }
        Ok(())
    }

    /// Spends a recovery code; `false` if it was spent before.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn spend_recovery_code(&mut self, person: &PersonId, number: i64) -> Result<bool, StoreError> {
        let deleted = in_tx!(self, on => sqlx::query(DELETE_CODE)
            .bind(person.as_str()).bind(number).execute(on).await.map(|done| done.rows_affected()))?;
        Ok(deleted == 1)
    }
}
