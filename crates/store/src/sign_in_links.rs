//! One-time sign-in links: at most one for each person. Of the secret in a link there is only a digest here.

use keyward_core::email::EmailAddress;
use keyward_core::ids::PersonId;
use keyward_core::sign_in_link::{LinkPurpose, SignInLinkDigest};
use keyward_core::time::Timestamp;

use crate::backend::{Store, Tx};
use crate::error::StoreError;

const SELECT: &str = "SELECT l.person_id, p.email, l.purpose, l.expires_at FROM sign_in_link l \
    JOIN person p ON p.id = l.person_id WHERE l.digest = $1";
const PUT: &str = "INSERT INTO sign_in_link (person_id, digest, purpose, created_by, created_at, expires_at) \
    VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (person_id) DO UPDATE SET digest = excluded.digest, \
    purpose = excluded.purpose, created_by = excluded.created_by, created_at = excluded.created_at, \
    expires_at = excluded.expires_at";
const DELETE: &str = "DELETE FROM sign_in_link WHERE person_id = $1";
const FORGET_OVER: &str = "DELETE FROM sign_in_link WHERE expires_at <= $1";

/// A link as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignInLink {
    /// Whom it lets in.
    pub person_id: PersonId,
    /// Their address.
    pub email: EmailAddress,
    /// What for.
    pub purpose: LinkPurpose,
    /// It is good before this moment.
    pub expires_at: Timestamp,
}

type Row = (String, String, String, i64);

fn link_of((person_id, email, purpose, expires_at): Row) -> Result<SignInLink, StoreError> {
    let unreadable = || StoreError::Unreadable { what: "sign-in link" };
    Ok(SignInLink {
        person_id: person_id.parse().map_err(|_| unreadable())?,
        email: email.parse().map_err(|_| unreadable())?,
        purpose: LinkPurpose::from_name(&purpose).ok_or_else(unreadable)?,
        expires_at: Timestamp::from_unix_ms(expires_at),
    })
}

impl Store {
    /// The link whose secret has this digest, over or not.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find_sign_in_link(
        &self,
        digest: &SignInLinkDigest,
    ) -> Result<Option<SignInLink>, StoreError> {
        let row = on_read!(self, on => sqlx::query_as::<_, Row>(SELECT)
            .bind(digest.as_bytes().to_vec()).fetch_optional(on).await)?;
        row.map(link_of).transpose()
    }
}

impl Tx {
    /// As [`Store::find_sign_in_link`], as this transaction sees it. Whoever decides by it has locked the person.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find_sign_in_link(
        &mut self,
        digest: &SignInLinkDigest,
    ) -> Result<Option<SignInLink>, StoreError> {
        let row = in_tx!(self, on => sqlx::query_as::<_, Row>(SELECT)
            .bind(digest.as_bytes().to_vec()).fetch_optional(on).await)?;
        row.map(link_of).transpose()
    }

    /// Makes a link in place of one that the person may have.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn put_sign_in_link(
        &mut self,
        link: &SignInLink,
        digest: &SignInLinkDigest,
        created_by: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        in_tx!(self, on => sqlx::query(PUT)
            .bind(link.person_id.as_str())
            .bind(digest.as_bytes().to_vec())
            .bind(link.purpose.name())
            .bind(created_by)
            .bind(now.as_unix_ms())
            .bind(link.expires_at.as_unix_ms())
            .execute(on)
            .await
            .map(drop))?;
        Ok(())
    }

    /// Removes a person's link; whether there was one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn delete_sign_in_link(&mut self, person: &PersonId) -> Result<bool, StoreError> {
        let deleted = in_tx!(self, on => sqlx::query(DELETE)
            .bind(person.as_str()).execute(on).await.map(|done| done.rows_affected()))?;
        Ok(deleted == 1)
    }

    /// Removes links whose time is over by `now`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn forget_sign_in_links(&mut self, now: Timestamp) -> Result<(), StoreError> {
        in_tx!(self, on => sqlx::query(FORGET_OVER)
            .bind(now.as_unix_ms()).execute(on).await.map(drop))?;
        Ok(())
    }
}
