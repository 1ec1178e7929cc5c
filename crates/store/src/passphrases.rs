//! Passphrases of people, as slow hashes, and the look-up of a person by address that a sign-in begins with.
//!
//! Whoever changes what a person signs in with locks the person's row first ([`Tx::lock_person`]): what is read under that lock
//! stays so until the transaction ends.

use keyward_core::email::EmailAddress;
use keyward_core::ids::PersonId;
use keyward_core::time::Timestamp;

use crate::backend::{Store, Tx};
use crate::error::StoreError;

const FIND: &str =
    "SELECT p.id, c.phc FROM person p LEFT JOIN passphrase c ON c.person_id = p.id WHERE p.email = $1";
const PHC_OF: &str = "SELECT phc FROM passphrase WHERE person_id = $1";
const LOCK: &str = "UPDATE person SET email = email WHERE id = $1 RETURNING email";
const PUT: &str = "INSERT INTO passphrase (person_id, phc, set_at) VALUES ($1, $2, $3) \
    ON CONFLICT (person_id) DO UPDATE SET phc = excluded.phc, set_at = excluded.set_at";
const UPGRADE: &str = "UPDATE passphrase SET phc = $3 WHERE person_id = $1 AND phc = $2";
const INSERT_PERSON: &str =
    "INSERT INTO person (id, email, created_at) VALUES ($1, $2, $3) ON CONFLICT (email) DO NOTHING";

/// A person, and the hash of their passphrase if they have one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonToSignIn {
    /// Who.
    pub person_id: PersonId,
    /// The PHC string.
    pub phc: Option<String>,
}

fn person_of((id, phc): (String, Option<String>)) -> Result<PersonToSignIn, StoreError> {
    Ok(PersonToSignIn {
        person_id: id
            .parse()
            .map_err(|_| StoreError::Unreadable { what: "person" })?,
        phc,
    })
}

impl Store {
    /// Whoever has this address.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find_person_to_sign_in(
        &self,
        email: &EmailAddress,
    ) -> Result<Option<PersonToSignIn>, StoreError> {
        let row = on_read!(self, on => sqlx::query_as::<_, (String, Option<String>)>(FIND)
            .bind(email.as_str()).fetch_optional(on).await)?;
        row.map(person_of).transpose()
    }

    /// The hash of a person's passphrase.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find_passphrase(&self, person: &PersonId) -> Result<Option<String>, StoreError> {
        Ok(on_read!(self, on => sqlx::query_scalar::<_, String>(PHC_OF)
            .bind(person.as_str()).fetch_optional(on).await)?)
    }
}

impl Tx {
    /// As [`Store::find_person_to_sign_in`], as this transaction sees it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find_person_to_sign_in(
        &mut self,
        email: &EmailAddress,
    ) -> Result<Option<PersonToSignIn>, StoreError> {
        let row = in_tx!(self, on => sqlx::query_as::<_, (String, Option<String>)>(FIND)
            .bind(email.as_str()).fetch_optional(on).await)?;
        row.map(person_of).transpose()
    }

    /// Locks a person until this transaction ends; their address, `None` if there is nobody of that id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn lock_person(&mut self, person: &PersonId) -> Result<Option<EmailAddress>, StoreError> {
        let email = in_tx!(self, on => sqlx::query_scalar::<_, String>(LOCK)
            .bind(person.as_str()).fetch_optional(on).await)?;
        email
            .map(|email| {
                email
                    .parse()
                    .map_err(|_| StoreError::Unreadable { what: "person" })
            })
            .transpose()
    }

    /// The hash of a person's passphrase, as this transaction sees it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find_passphrase(&mut self, person: &PersonId) -> Result<Option<String>, StoreError> {
        Ok(in_tx!(self, on => sqlx::query_scalar::<_, String>(PHC_OF)
            .bind(person.as_str()).fetch_optional(on).await)?)
    }

    /// Sets a person's passphrase, in place of one that there may be.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn put_passphrase(
        &mut self,
        person: &PersonId,
        phc: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        in_tx!(self, on => sqlx::query(PUT)
            .bind(person.as_str()).bind(phc).bind(now.as_unix_ms()).execute(on).await.map(drop))?;
        Ok(())
    }

    /// Puts another hash of the same passphrase in place of `was`, unless that was replaced meanwhile.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn upgrade_passphrase(
        &mut self,
        person: &PersonId,
        was: &str,
        phc: &str,
    ) -> Result<(), StoreError> {
        in_tx!(self, on => sqlx::query(UPGRADE)
            .bind(person.as_str()).bind(was).bind(phc).execute(on).await.map(drop))?;
        Ok(())
    }

    /// Makes a person with this address, if nobody has it; whether it was made.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn insert_person(
        &mut self,
        id: &PersonId,
        email: &EmailAddress,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let made = in_tx!(self, on => sqlx::query(INSERT_PERSON)
            .bind(id.as_str()).bind(email.as_str()).bind(now.as_unix_ms()).execute(on).await
            .map(|done| done.rows_affected()))?;
        Ok(made == 1)
    }
}
