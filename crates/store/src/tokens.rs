//! Management tokens with their sealed digests.
//!
//! A token is always read with its seal in one statement, as a key is. A row that can't be read is `Unreadable`, never
//! skipped; [`Tx::wipe_token`] is how such a one is ended all the same. No statement here brings an ended token back.

use keyward_core::ids::{OrganizationId, TokenId};
use keyward_core::management_right::RightSet;
use keyward_core::management_token::{Token, TokenRecord, TokenState};
use keyward_core::record::Actor;
use keyward_core::seal::Sealed;
use keyward_core::time::Timestamp;
use sqlx::AssertSqlSafe;

use crate::backend::{Store, Tx};
use crate::error::StoreError;

const COLUMNS: &str = "id, organization_id, version, name, rights, expires_at, state, deleted_at, keyring_version, \
    sealed, hint, created_by, created_at, last_used_at";
const INSERT: &str = "INSERT INTO management_token (organization_id, id, version, name, rights, expires_at, state, \
    deleted_at, keyring_version, sealed, hint, created_by, created_at) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
const UPDATE: &str = "UPDATE management_token SET version = $4, rights = $5, expires_at = $6, state = $7, \
    deleted_at = $8, keyring_version = $9, sealed = $10 WHERE organization_id = $1 AND id = $2 AND version = $3";
const UPDATE_SEAL: &str = "UPDATE management_token SET keyring_version = $4, sealed = $5 \
    WHERE organization_id = $1 AND id = $2 AND version = $3";
const WIPE: &str = "UPDATE management_token SET version = version + 1, name = 'unreadable', rights = '', \
    expires_at = NULL, state = 'deleted', deleted_at = $3, keyring_version = $4, sealed = $5, created_by = 'system' \
    WHERE organization_id = $1 AND id = $2";
const TOUCH: &str = "UPDATE management_token SET last_used_at = $3 WHERE organization_id = $1 AND id = $2 \
    AND state = 'active' AND (last_used_at IS NULL OR last_used_at < $4)";
const LIST_SEALED_BEFORE: &str = "SELECT organization_id, id FROM management_token \
    WHERE keyring_version < $1 AND id > $2 ORDER BY id LIMIT $3";
const LIST_ACTIVE: &str = "SELECT organization_id, id FROM management_token WHERE state = 'active' AND id > $1 ORDER BY id LIMIT $2";

/// A token with its sealed digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredToken {
    /// The token.
    pub token: Token,
    /// The digest of its text; empty bytes where it was wiped.
    pub sealed: Sealed,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    organization_id: String,
    version: i64,
    name: String,
    rights: String,
    expires_at: Option<i64>,
    state: String,
    deleted_at: Option<i64>,
    keyring_version: i64,
    sealed: Vec<u8>,
    hint: String,
    created_by: String,
    created_at: i64,
    last_used_at: Option<i64>,
}

impl TryFrom<Row> for StoredToken {
    type Error = StoreError;
    fn try_from(row: Row) -> Result<Self, StoreError> {
        let unreadable = || StoreError::Unreadable {
            what: "management token",
        };
        let state = match (row.state.as_str(), row.deleted_at) {
            ("active", None) => TokenState::Active,
            ("deleted", Some(at)) => TokenState::Deleted {
                at: Timestamp::from_unix_ms(at),
            },
            _ => return Err(unreadable()),
        };
        let record = TokenRecord {
            id: row.id.parse().map_err(|_| unreadable())?,
            organization_id: row.organization_id.parse().map_err(|_| unreadable())?,
            version: row.version,
            rights: RightSet::from_text(&row.rights).ok_or_else(unreadable)?,
            expires_at: row.expires_at.map(Timestamp::from_unix_ms),
            state,
        };
        Ok(Self {
            token: Token {
                record,
                name: row.name.parse().map_err(|_| unreadable())?,
                created_by: row.created_by.parse::<Actor>().map_err(|_| unreadable())?,
                created_at: Timestamp::from_unix_ms(row.created_at),
                last_used_at: row.last_used_at.map(Timestamp::from_unix_ms),
                hint: row.hint,
            },
            sealed: Sealed {
                keyring_version: u32::try_from(row.keyring_version).map_err(|_| unreadable())?,
                bytes: row.sealed,
            },
        })
    }
}

impl Store {
    /// The token with this id, for a sign-in, which knows no organization yet.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn load_token(&self, id: TokenId) -> Result<Option<StoredToken>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM management_token WHERE id = $1");
        let row = on_read!(self, on => sqlx::query_as::<_, Row>(AssertSqlSafe(sql))
            .bind(id.as_str()).fetch_optional(on).await)?;
        row.map(StoredToken::try_from).transpose()
    }

    /// One token of an organization.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find_token(
        &self,
        organization: &OrganizationId,
        id: TokenId,
    ) -> Result<Option<Token>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM management_token WHERE organization_id = $1 AND id = $2");
        let row = on_read!(self, on => sqlx::query_as::<_, Row>(AssertSqlSafe(sql))
            .bind(organization.as_str()).bind(id.as_str()).fetch_optional(on).await)?;
        row.map(|row| StoredToken::try_from(row).map(|stored| stored.token))
            .transpose()
    }

    /// Tokens of an organization after an id, in the order of their ids.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_tokens(
        &self,
        organization: &OrganizationId,
        after: &str,
        limit: i64,
    ) -> Result<Vec<Token>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM management_token WHERE organization_id = $1 AND id > $2 ORDER BY id LIMIT $3"
        );
        let rows = on_read!(self, on => sqlx::query_as::<_, Row>(AssertSqlSafe(sql))
            .bind(organization.as_str()).bind(after).bind(limit).fetch_all(on).await)?;
        rows.into_iter()
            .map(|row| StoredToken::try_from(row).map(|stored| stored.token))
            .collect()
    }

    /// Tokens that are sealed under a keyring version before `active`, after an id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_tokens_sealed_before(
        &self,
        active: u32,
        after: &str,
        limit: i64,
    ) -> Result<Vec<(OrganizationId, TokenId)>, StoreError> {
        let rows = on_read!(self, on => sqlx::query_as::<_, (String, String)>(LIST_SEALED_BEFORE)
            .bind(i64::from(active)).bind(after).bind(limit).fetch_all(on).await)?;
        rows.into_iter().map(id_pair).collect()
    }

    /// Notes that a token was accepted at `now`, unless that was noted since `before`. Nothing waits for it: no version
    /// is raised and no seal is bound to it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn touch_token(
        &self,
        organization: &OrganizationId,
        id: TokenId,
        now: Timestamp,
        before: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        in_tx!(tx, on => sqlx::query(TOUCH)
            .bind(organization.as_str())
            .bind(id.as_str())
            .bind(now.as_unix_ms())
            .bind(before.as_unix_ms())
            .execute(on)
            .await
            .map(drop))?;
        tx.commit().await
    }
}

impl Tx {
    /// Inserts a token.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] if the id was given before.
    pub async fn insert_token(&mut self, token: &Token, sealed: &Sealed) -> Result<(), StoreError> {
        let record = &token.record;
        in_tx!(self, on => sqlx::query(INSERT)
            .bind(record.organization_id.as_str())
            .bind(record.id.as_str())
            .bind(record.version)
            .bind(token.name.as_str())
            .bind(record.rights.to_text())
            .bind(record.expires_at.map(Timestamp::as_unix_ms))
            .bind(record.state.name())
            .bind(deleted_at(record))
            .bind(i64::from(sealed.keyring_version))
            .bind(&sealed.bytes)
            .bind(&token.hint)
            .bind(token.created_by.to_string())
            .bind(token.created_at.as_unix_ms())
            .execute(on)
            .await
            .map(drop))?;
        Ok(())
    }

    /// The token, its row locked until the transaction ends.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn lock_token(
        &mut self,
        organization: &OrganizationId,
        id: TokenId,
    ) -> Result<Option<StoredToken>, StoreError> {
        let sql = format!(
            "UPDATE management_token SET version = version WHERE organization_id = $1 AND id = $2 RETURNING {COLUMNS}"
        );
        let row = in_tx!(self, on => sqlx::query_as::<_, Row>(AssertSqlSafe(sql))
            .bind(organization.as_str()).bind(id.as_str()).fetch_optional(on).await)?;
        row.map(StoredToken::try_from).transpose()
    }

    /// Replaces what decides about a token and its seal, expecting version `was`.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] if the token was not at that version: the caller held its lock, so this can't be.
    pub async fn update_token(
        &mut self,
        record: &TokenRecord,
        was: i64,
        sealed: &Sealed,
    ) -> Result<(), StoreError> {
        let changed = in_tx!(self, on => sqlx::query(UPDATE)
            .bind(record.organization_id.as_str())
            .bind(record.id.as_str())
            .bind(was)
            .bind(record.version)
            .bind(record.rights.to_text())
            .bind(record.expires_at.map(Timestamp::as_unix_ms))
            .bind(record.state.name())
            .bind(deleted_at(record))
            .bind(i64::from(sealed.keyring_version))
            .bind(&sealed.bytes)
            .execute(on)
            .await
            .map(|done| done.rows_affected()))?;
        one_changed(changed)
    }

    /// Replaces the seal of a locked token; what it is bound to stays.
    ///
    /// # Errors
    /// As [`Tx::update_token`].
    pub async fn update_token_seal(
        &mut self,
        record: &TokenRecord,
        sealed: &Sealed,
    ) -> Result<(), StoreError> {
        let changed = in_tx!(self, on => sqlx::query(UPDATE_SEAL)
            .bind(record.organization_id.as_str())
            .bind(record.id.as_str())
            .bind(record.version)
            .bind(i64::from(sealed.keyring_version))
            .bind(&sealed.bytes)
            .execute(on)
            .await
            .map(|done| done.rows_affected()))?;
        one_changed(changed)
    }

    /// Ends a token whatever its row holds, and wipes its seal, so that nothing can be put together from it again.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] if there is no such row.
    pub async fn wipe_token(
        &mut self,
        organization: &OrganizationId,
        id: TokenId,
        now: Timestamp,
        keyring_version: u32,
    ) -> Result<(), StoreError> {
        let changed = in_tx!(self, on => sqlx::query(WIPE)
            .bind(organization.as_str())
            .bind(id.as_str())
            .bind(now.as_unix_ms())
            .bind(i64::from(keyring_version))
            .bind(Vec::<u8>::new())
            .execute(on)
            .await
            .map(|done| done.rows_affected()))?;
        one_changed(changed)
    }

    /// Tokens that are stored as active, after an id, as this transaction sees them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_active_tokens(
        &mut self,
        after: &str,
        limit: i64,
    ) -> Result<Vec<(OrganizationId, TokenId)>, StoreError> {
        let rows = in_tx!(self, on => sqlx::query_as::<_, (String, String)>(LIST_ACTIVE)
            .bind(after).bind(limit).fetch_all(on).await)?;
        rows.into_iter().map(id_pair).collect()
    }
}

fn deleted_at(record: &TokenRecord) -> Option<i64> {
    match record.state {
        TokenState::Active => None,
        TokenState::Deleted { at } => Some(at.as_unix_ms()),
    }
}

const fn one_changed(changed: u64) -> Result<(), StoreError> {
    if changed == 1 {
        Ok(())
    } else {
        Err(StoreError::Unreadable {
            what: "version of a locked management token",
        })
    }
}

fn id_pair((organization, id): (String, String)) -> Result<(OrganizationId, TokenId), StoreError> {
    let unreadable = || StoreError::Unreadable {
        what: "management token's id",
    };
    Ok((
        organization.parse().map_err(|_| unreadable())?,
        id.parse().map_err(|_| unreadable())?,
    ))
}
