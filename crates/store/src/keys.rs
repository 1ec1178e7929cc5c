//! Keys and their sealed secrets.
//!
//! A key and its secrets are always read in one statement: read apart, a write between the two would make the seal
//! not fit its row, which reads as tampering. Rows become domain types here; a row that can't is `Unreadable`, never
//! skipped.

use keyward_core::access::{Access, Permission};
use keyward_core::condition::Conditions;
use keyward_core::decision::OrganizationState;
use keyward_core::environment::Environment;
use keyward_core::ids::{KeyId, OrganizationId, PersonId};
use keyward_core::key_filter::search_text;
use keyward_core::level::PermissionLevel;
use keyward_core::record::{Actor, Key, KeyRecord};
use keyward_core::rule::Rule;
use keyward_core::scope::ScopeSet;
use keyward_core::seal::Sealed;
use keyward_core::state::{DeleteReason, KeyState, PauseReason, SecretLife};
use keyward_core::tag::Tags;
use keyward_core::time::Timestamp;
use sqlx::AssertSqlSafe;

use crate::backend::{Store, Tx, TxInner};
use crate::error::StoreError;

pub(crate) const COLUMNS: &str = "k.id, k.organization_id, k.version, k.state, k.state_reason, k.deleted_at, k.scopes, k.level, \
    k.rules, k.conditions, k.name, k.description, k.environment, k.created_by, k.created_at, k.updated_at, \
    k.tags, k.responsible, k.rotate_every_ms, k.rotated_at, o.version AS organization_version, \
    o.state AS organization_state, s.number, s.life, s.valid_until, s.grace_ms, s.keyring_version, \
    s.sealed, s.hint, s.created_at AS secret_created_at, s.ended_at, \
    EXISTS (SELECT 1 FROM secret e WHERE e.key_id = k.id AND e.life = 'ended') AS has_ended_secrets";
const SOURCE: &str = "FROM secret_key k JOIN organization o ON o.id = k.organization_id \
    LEFT JOIN secret s ON s.key_id = k.id";

const LOCK: &str =
    "UPDATE secret_key SET version = version WHERE organization_id = $1 AND id = $2 RETURNING version";
const INSERT_KEY: &str = "INSERT INTO secret_key (organization_id, id, version, state, state_reason, deleted_at, \
    scopes, level, rules, conditions, name, description, environment, created_by, created_at, updated_at, tags, \
    search, expires_at, rotate_every_ms, rotated_at, rotation_due_at) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22)";
const UPDATE_KEY: &str = "UPDATE secret_key SET version = $4, state = $5, state_reason = $6, deleted_at = $7, \
    scopes = $8, level = $9, rules = $10, conditions = $11, updated_at = $12, name = $13, description = $14, \
    environment = $15, tags = $16, search = $17, expires_at = $18, rotate_every_ms = $19, rotated_at = $20, \
    due_told = CASE WHEN rotation_due_at = $21 THEN due_told ELSE 0 END, rotation_due_at = $21, \
    expiry_told = CASE WHEN expires_at = $18 THEN expiry_told ELSE 0 END \
    WHERE organization_id = $1 AND id = $2 AND version = $3";
const INSERT_SECRET: &str = "INSERT INTO secret (key_id, number, life, valid_until, grace_ms, keyring_version, \
    sealed, hint, created_at, ended_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
const UPDATE_SECRET: &str = "UPDATE secret SET life = $3, valid_until = $4, grace_ms = $5, keyring_version = $6, \
    sealed = $7, ended_at = $8 WHERE key_id = $1 AND number = $2";
const MAKE_READABLE: &str = "UPDATE secret_key SET state = 'paused', state_reason = 'requested', deleted_at = NULL, \
    scopes = 1, level = 'read_only', rules = '[]', conditions = $3, name = 'unreadable', environment = NULL, \
    created_by = 'system', tags = '[]', search = 'unreadable', expires_at = NULL, responsible = NULL WHERE organization_id = $1 AND id = $2";
const WIPE_SECRETS: &str = "UPDATE secret SET life = 'current', valid_until = NULL, grace_ms = NULL, keyring_version = $2, sealed = $3 \
    WHERE key_id = $1";
const REMOVE_SECRET: &str = "DELETE FROM secret WHERE key_id = $1 AND number = $2";
const CONFIRM: &str = "SELECT version FROM secret_key WHERE organization_id = $1 AND id = $2";
const LIST_BY_STATE: &str = "SELECT organization_id, id FROM secret_key \
    WHERE state = $1 AND (state_reason = $2 OR $2 = '') AND id > $3 ORDER BY id LIMIT $4";
const LIST_SEALED_OTHERWISE: &str = "SELECT DISTINCT k.organization_id, k.id FROM secret s \
    JOIN secret_key k ON k.id = s.key_id WHERE s.keyring_version < $1 AND s.key_id > $2 ORDER BY k.id LIMIT $3";
/// Of everything that is sealed: keys, management tokens, signing secrets of webhooks and seeds of second factors.
const KEYRING_VERSIONS: &str = "SELECT MIN(lowest), MAX(highest) FROM (\
    SELECT MIN(keyring_version) AS lowest, MAX(keyring_version) AS highest FROM secret UNION ALL \
    SELECT MIN(keyring_version) AS lowest, MAX(keyring_version) AS highest FROM management_token UNION ALL \
    SELECT MIN(keyring_version) AS lowest, MAX(keyring_version) AS highest FROM security_contact \
    WHERE keyring_version > 0 UNION ALL \
    SELECT MIN(keyring_version) AS lowest, MAX(keyring_version) AS highest FROM second_factor) AS sealed";
/// Living keys of a person: those that they answer for, because they made them or because they were handed to them.
const OF_PERSON: &str = "k.organization_id = $1 AND k.state <> 'deleted' \
    AND (k.responsible = $2 OR (k.responsible IS NULL AND k.created_by = $3))";
const SET_RESPONSIBLE: &str =
    "UPDATE secret_key SET responsible = $3, updated_at = $4 WHERE organization_id = $1 AND id = $2";

/// A secret as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSecret {
    /// Counted from 1 within its key.
    pub number: i64,
    /// Current, ending or ended.
    pub life: SecretLife,
    /// Its sealed digest.
    pub sealed: Sealed,
    /// Head and tail of its text.
    pub hint: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was ended; `None` while it lives.
    pub ended_at: Option<Timestamp>,
}

/// A key with secrets, as they stood in one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// The key.
    pub key: Key,
    /// The state of its organization at that moment.
    pub organization_state: OrganizationState,
    /// The version of its organization at that moment.
    pub organization_version: i64,
    /// Whether there are ended secrets, asked for or not.
    pub has_ended_secrets: bool,
    /// The secrets that were asked for, newest first.
    pub secrets: Vec<StoredSecret>,
}

#[derive(sqlx::FromRow)]
pub(crate) struct KeyRow {
    id: String,
    organization_id: String,
    version: i64,
    state: String,
    state_reason: Option<String>,
    deleted_at: Option<i64>,
    scopes: i64,
    level: String,
    rules: String,
    conditions: String,
    name: String,
    description: String,
    environment: Option<String>,
    created_by: String,
    created_at: i64,
    updated_at: i64,
    tags: String,
    rotate_every_ms: Option<i64>,
    rotated_at: Option<i64>,
    organization_version: i64,
    responsible: Option<String>,
    organization_state: String,
    number: Option<i64>,
    life: Option<String>,
    valid_until: Option<i64>,
    grace_ms: Option<i64>,
    keyring_version: Option<i64>,
    sealed: Option<Vec<u8>>,
    hint: Option<String>,
    secret_created_at: Option<i64>,
    ended_at: Option<i64>,
    has_ended_secrets: bool,
}

impl Store {
    /// The key with its live secrets, for the verify path, which knows no organization yet.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn load_live_key(&self, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
        self.load_by_id(live_sql(), id).await
    }

    /// The key with its ended secrets only: read when the live ones did not match.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn load_ended_key(&self, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
        let sql =
            format!("SELECT {COLUMNS} {SOURCE} AND s.life = 'ended' WHERE k.id = $1 ORDER BY s.number DESC");
        self.load_by_id(sql, id).await
    }

    async fn load_by_id(&self, sql: String, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
        let rows = on_read!(self, on =>
            sqlx::query_as::<_, KeyRow>(AssertSqlSafe(sql)).bind(id.as_str()).fetch_all(on).await)?;
        first_key(rows)
    }

    /// One key of an organization, with its current secret's hint.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find_key(
        &self,
        organization: &OrganizationId,
        id: KeyId,
    ) -> Result<Option<Key>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} {SOURCE} AND s.life = 'current' WHERE k.organization_id = $1 AND k.id = $2"
        );
        let rows = on_read!(self, on => sqlx::query_as::<_, KeyRow>(AssertSqlSafe(sql))
            .bind(organization.as_str()).bind(id.as_str()).fetch_all(on).await)?;
        Ok(first_key(rows)?.map(|stored| stored.key))
    }

    /// One key of an organization with all its secrets, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find_whole_key(
        &self,
        organization: &OrganizationId,
        id: KeyId,
    ) -> Result<Option<StoredKey>, StoreError> {
        let rows = on_read!(self, on => sqlx::query_as::<_, KeyRow>(AssertSqlSafe(whole_sql()))
            .bind(organization.as_str()).bind(id.as_str()).fetch_all(on).await)?;
        first_key(rows)
    }

    /// Keys of an organization after an id, in the order of their ids.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_keys(
        &self,
        organization: &OrganizationId,
        after: &str,
        limit: i64,
    ) -> Result<Vec<Key>, StoreError> {
        let rows = on_read!(self, on => sqlx::query_as::<_, KeyRow>(AssertSqlSafe(list_sql()))
            .bind(organization.as_str()).bind(after).bind(limit).fetch_all(on).await)?;
        rows.into_iter()
            .map(|row| group(vec![row]).map(|stored| stored.key))
            .collect()
    }

    /// Living keys that a person answers for, after an id, in the order of their ids.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_keys_of_person(
        &self,
        organization: &OrganizationId,
        person: &PersonId,
        limit: i64,
    ) -> Result<Vec<Key>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} {SOURCE} AND s.life = 'current' WHERE {OF_PERSON} ORDER BY k.id LIMIT $4"
        );
        let rows = on_read!(self, on => sqlx::query_as::<_, KeyRow>(AssertSqlSafe(sql))
            .bind(organization.as_str()).bind(person.as_str()).bind(creator(person)).bind(limit).fetch_all(on).await)?;
        rows.into_iter()
            .map(|row| group(vec![row]).map(|stored| stored.key))
            .collect()
    }

    /// How many living keys a person answers for.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn count_keys_of_person(
        &self,
        organization: &OrganizationId,
        person: &PersonId,
    ) -> Result<i64, StoreError> {
        let sql = format!("SELECT COUNT(*) FROM secret_key k WHERE {OF_PERSON}");
        Ok(
            on_read!(self, on => sqlx::query_scalar::<_, i64>(AssertSqlSafe(sql))
            .bind(organization.as_str()).bind(person.as_str()).bind(creator(person)).fetch_one(on).await)?,
        )
    }

    /// The organization that a key belongs to, for an operator who knows only the key's id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn organization_of_key(&self, id: KeyId) -> Result<Option<OrganizationId>, StoreError> {
        let found = on_read!(self, on =>
            sqlx::query_scalar::<_, String>("SELECT organization_id FROM secret_key WHERE id = $1")
                .bind(id.as_str()).fetch_optional(on).await)?;
        found
            .map(|text| readable(text.parse(), "organization id"))
            .transpose()
    }

    /// Lowest and highest keyring version that seals are under, of keys and of management tokens; `None` without any.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn sealed_under(&self) -> Result<Option<(i64, i64)>, StoreError> {
        let (low, high) = on_read!(self, on =>
            sqlx::query_as::<_, (Option<i64>, Option<i64>)>(KEYRING_VERSIONS).fetch_one(on).await)?;
        Ok(low.zip(high))
    }

    /// Keys in a stored state (and with a reason, unless it is empty), after an id, in the order of their ids.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_key_ids_in_state(
        &self,
        state: &str,
        reason: &str,
        after: &str,
        limit: i64,
    ) -> Result<Vec<(OrganizationId, KeyId)>, StoreError> {
        let rows = on_read!(self, on => sqlx::query_as::<_, (String, String)>(LIST_BY_STATE)
            .bind(state).bind(reason).bind(after).bind(limit).fetch_all(on).await)?;
        rows.into_iter().map(id_pair).collect()
    }

    /// Keys with a secret sealed under a keyring version before `active`, after an id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_keys_sealed_before(
        &self,
        active: u32,
        after: &str,
        limit: i64,
    ) -> Result<Vec<(OrganizationId, KeyId)>, StoreError> {
        let rows = on_read!(self, on => sqlx::query_as::<_, (String, String)>(LIST_SEALED_OTHERWISE)
            .bind(i64::from(active)).bind(after).bind(limit).fetch_all(on).await)?;
        rows.into_iter().map(id_pair).collect()
    }
}

impl Tx {
    /// As [`Store::sealed_under`], as this transaction sees it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn sealed_under(&mut self) -> Result<Option<(i64, i64)>, StoreError> {
        let (low, high) = in_tx!(self, on =>
            sqlx::query_as::<_, (Option<i64>, Option<i64>)>(KEYRING_VERSIONS).fetch_one(on).await)?;
        Ok(low.zip(high))
    }

    /// The key with all its secrets, its row locked until the transaction ends.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn lock_key(
        &mut self,
        organization: &OrganizationId,
        id: KeyId,
    ) -> Result<Option<StoredKey>, StoreError> {
        let locked = in_tx!(self, on => sqlx::query_scalar::<_, i64>(LOCK)
            .bind(organization.as_str()).bind(id.as_str()).fetch_optional(on).await)?;
        if locked.is_none() {
            return Ok(None);
        }
        let rows = in_tx!(self, on => sqlx::query_as::<_, KeyRow>(AssertSqlSafe(whole_sql()))
            .bind(organization.as_str()).bind(id.as_str()).fetch_all(on).await)?;
        first_key(rows)
    }

    /// Replaces everything that decides about a key whose row can't be read, and wipes its secrets, so that it can be
    /// ended as any other. The key is refused from the commit on.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn make_readable(
        &mut self,
        organization: &OrganizationId,
        id: KeyId,
        keyring_version: u32,
    ) -> Result<(), StoreError> {
        let none = serde_json::to_string(&Conditions::NONE).unwrap_or_else(|_| "unwritable".to_owned());
        in_tx!(self, on => sqlx::query(MAKE_READABLE)
            .bind(organization.as_str()).bind(id.as_str()).bind(none).execute(on).await.map(drop))?;
        in_tx!(self, on => sqlx::query(WIPE_SECRETS)
            .bind(id.as_str()).bind(i64::from(keyring_version)).bind(Vec::<u8>::new()).execute(on).await.map(drop))?;
        Ok(())
    }

    /// Keys in a stored state, after an id, as this transaction sees them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_key_ids_in_state(
        &mut self,
        state: &str,
        after: &str,
        limit: i64,
    ) -> Result<Vec<(OrganizationId, KeyId)>, StoreError> {
        let rows = in_tx!(self, on => sqlx::query_as::<_, (String, String)>(LIST_BY_STATE)
            .bind(state).bind("").bind(after).bind(limit).fetch_all(on).await)?;
        rows.into_iter().map(id_pair).collect()
    }

    /// How many living keys a person answers for, as this transaction sees it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn count_keys_of_person(
        &mut self,
        organization: &OrganizationId,
        person: &PersonId,
    ) -> Result<i64, StoreError> {
        let sql = format!("SELECT COUNT(*) FROM secret_key k WHERE {OF_PERSON}");
        Ok(
            in_tx!(self, on => sqlx::query_scalar::<_, i64>(AssertSqlSafe(sql))
            .bind(organization.as_str()).bind(person.as_str()).bind(creator(person)).fetch_one(on).await)?,
        )
    }

    /// Ids of living keys that a person answers for, as this transaction sees them; of rows that can't be read as well.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_key_ids_of_person(
        &mut self,
        organization: &OrganizationId,
        person: &PersonId,
        limit: i64,
    ) -> Result<Vec<KeyId>, StoreError> {
        let sql = format!("SELECT k.id FROM secret_key k WHERE {OF_PERSON} ORDER BY k.id LIMIT $4");
        let ids = in_tx!(self, on => sqlx::query_scalar::<_, String>(AssertSqlSafe(sql))
            .bind(organization.as_str()).bind(person.as_str()).bind(creator(person)).bind(limit).fetch_all(on).await)?;
        ids.into_iter().map(|id| readable(id.parse(), "key id")).collect()
    }

    /// Hands a key over to a person. It decides nothing about the key, so that version and seals stay.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] if the key is not there although its row was locked.
    pub async fn set_responsible(
        &mut self,
        organization: &OrganizationId,
        id: KeyId,
        person: &PersonId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let changed = in_tx!(self, on => sqlx::query(SET_RESPONSIBLE)
            .bind(organization.as_str())
            .bind(id.as_str())
            .bind(person.as_str())
            .bind(now.as_unix_ms())
            .execute(on)
            .await
            .map(|done| done.rows_affected()))?;
        if changed == 1 {
            Ok(())
        } else {
            Err(StoreError::Unreadable { what: "locked key" })
        }
    }

    /// Inserts a key with its first secret.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] if the id was given before.
    pub async fn insert_key(&mut self, key: &Key, secret: &StoredSecret) -> Result<(), StoreError> {
        let record = &key.record;
        let (reason, deleted_at) = state_columns(record.state);
        in_tx!(self, on => sqlx::query(INSERT_KEY)
            .bind(record.organization_id.as_str())
            .bind(record.id.as_str())
            .bind(record.version)
            .bind(record.state.name())
            .bind(reason)
            .bind(deleted_at)
            .bind(i64::from(record.access.scopes().bits()))
            .bind(record.access.permission().level().name())
            .bind(rules_json(record))
            .bind(conditions_json(record))
            .bind(key.name.as_str())
            .bind(&key.description)
            .bind(key.environment.map(Environment::name))
            .bind(key.created_by.to_string())
            .bind(key.created_at.as_unix_ms())
            .bind(key.updated_at.as_unix_ms())
            .bind(tags_json(key))
            .bind(search_text(key))
            .bind(record.conditions.expires_at.map(Timestamp::as_unix_ms))
            .bind(key.rotate_every_ms)
            .bind(key.rotated_at.map(Timestamp::as_unix_ms))
            .bind(key.rotation_due_at().map(Timestamp::as_unix_ms))
            .execute(on)
            .await
            .map(drop))?;
        self.insert_secret(record.id, secret).await
    }

    /// Inserts a secret of a key that exists.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn insert_secret(&mut self, id: KeyId, secret: &StoredSecret) -> Result<(), StoreError> {
        let life = LifeColumns::of(secret.life);
        in_tx!(self, on => sqlx::query(INSERT_SECRET)
            .bind(id.as_str())
            .bind(secret.number)
            .bind(life.name)
            .bind(life.valid_until)
            .bind(life.grace_ms)
            .bind(i64::from(secret.sealed.keyring_version))
            .bind(&secret.sealed.bytes)
            .bind(&secret.hint)
            .bind(secret.created_at.as_unix_ms())
            .bind(secret.ended_at.map(Timestamp::as_unix_ms))
            .execute(on)
            .await
            .map(drop))?;
        Ok(())
    }

    /// Removes an ended secret that is not kept any longer.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn remove_secret(&mut self, id: KeyId, number: i64) -> Result<(), StoreError> {
        in_tx!(self, on => sqlx::query(REMOVE_SECRET)
            .bind(id.as_str()).bind(number).execute(on).await.map(drop))?;
        Ok(())
    }

    /// Replaces everything that can change about a key, and the seals of its secrets, expecting version `was`.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] if the key was not at that version: the caller held its lock, so this can't be.
    pub async fn update_key(
        &mut self,
        key: &Key,
        was: i64,
        secrets: &[StoredSecret],
    ) -> Result<(), StoreError> {
        let record = &key.record;
        let (reason, deleted_at) = state_columns(record.state);
        let changed = in_tx!(self, on => sqlx::query(UPDATE_KEY)
            .bind(record.organization_id.as_str())
            .bind(record.id.as_str())
            .bind(was)
            .bind(record.version)
            .bind(record.state.name())
            .bind(reason)
            .bind(deleted_at)
            .bind(i64::from(record.access.scopes().bits()))
            .bind(record.access.permission().level().name())
            .bind(rules_json(record))
            .bind(conditions_json(record))
            .bind(key.updated_at.as_unix_ms())
            .bind(key.name.as_str())
            .bind(&key.description)
            .bind(key.environment.map(Environment::name))
            .bind(tags_json(key))
            .bind(search_text(key))
            .bind(record.conditions.expires_at.map(Timestamp::as_unix_ms))
            .bind(key.rotate_every_ms)
            .bind(key.rotated_at.map(Timestamp::as_unix_ms))
            .bind(key.rotation_due_at().map(Timestamp::as_unix_ms))
            .execute(on)
            .await
            .map(|done| done.rows_affected()))?;
        if changed != 1 {
            return Err(StoreError::Unreadable {
                what: "version of a locked key",
            });
        }
        self.update_seals(record.id, secrets).await
    }

    /// Replaces the seals of a key's secrets; what they are bound to stays.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn update_seals(&mut self, id: KeyId, secrets: &[StoredSecret]) -> Result<(), StoreError> {
        for secret in secrets {
            let life = LifeColumns::of(secret.life);
            let changed = in_tx!(self, on => sqlx::query(UPDATE_SECRET)
                .bind(id.as_str())
                .bind(secret.number)
                .bind(life.name)
                .bind(life.valid_until)
                .bind(life.grace_ms)
                .bind(i64::from(secret.sealed.keyring_version))
                .bind(&secret.sealed.bytes)
                .bind(secret.ended_at.map(Timestamp::as_unix_ms))
                .execute(on)
                .await
                .map(|done| done.rows_affected()))?;
            if changed != 1 {
                return Err(StoreError::Unreadable {
                    what: "secret of a locked key",
                });
            }
        }
        Ok(())
    }

    /// Whether the key is still at `version`, and stays so until this transaction ends: what a write of the resource
    /// API asks before it commits, so that nothing is written for a key that ended meanwhile.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn is_key_at(
        &mut self,
        organization: &OrganizationId,
        id: KeyId,
        version: i64,
    ) -> Result<bool, StoreError> {
        // SQLite's one writer needs no row lock. PostgreSQL's is not a shared one: shared locks could be had one after
        // the other without end while the key's deletion waits, and two of them that both had to be raised in
        // `lock_key` would wait for each other.
        let sql = match self.inner {
            TxInner::Sqlite(_) => CONFIRM.to_owned(),
            TxInner::Postgres(_) => format!("{CONFIRM} FOR NO KEY UPDATE"),
        };
        let found = in_tx!(self, on => sqlx::query_scalar::<_, i64>(AssertSqlSafe(sql))
            .bind(organization.as_str()).bind(id.as_str()).fetch_optional(on).await)?;
        Ok(found == Some(version))
    }
}

fn creator(person: &PersonId) -> String {
    Actor::Person(person.clone()).to_string()
}

fn live_sql() -> String {
    format!("SELECT {COLUMNS} {SOURCE} AND s.life <> 'ended' WHERE k.id = $1 ORDER BY s.number DESC")
}

fn whole_sql() -> String {
    format!("SELECT {COLUMNS} {SOURCE} WHERE k.organization_id = $1 AND k.id = $2 ORDER BY s.number DESC")
}

fn list_sql() -> String {
    format!(
        "SELECT {COLUMNS} {SOURCE} AND s.life = 'current' \
         WHERE k.organization_id = $1 AND k.id > $2 ORDER BY k.id LIMIT $3"
    )
}

fn first_key(rows: Vec<KeyRow>) -> Result<Option<StoredKey>, StoreError> {
    if rows.is_empty() {
        Ok(None)
    } else {
        group(rows).map(Some)
    }
}

/// Rows of one key, each with at most one secret, as one value.
pub(crate) fn group(rows: Vec<KeyRow>) -> Result<StoredKey, StoreError> {
    let mut secrets = Vec::with_capacity(rows.len());
    let mut head = None;
    for mut row in rows {
        if let Some(secret) = secret_of(&mut row)? {
            secrets.push(secret);
        }
        head.get_or_insert(row);
    }
    let row = head.ok_or(StoreError::Unreadable { what: "key" })?;
    let hint = secrets
        .iter()
        .find(|secret| secret.life == SecretLife::Current)
        .or(secrets.first())
        .map(|secret| secret.hint.clone())
        .unwrap_or_default();
    let organization_state =
        OrganizationState::from_name(&row.organization_state).ok_or(StoreError::Unreadable {
            what: "organization state",
        })?;
    let has_ended_secrets = row.has_ended_secrets;
    Ok(StoredKey {
        organization_state,
        organization_version: row.organization_version,
        has_ended_secrets,
        key: key_of(row, hint)?,
        secrets,
    })
}

fn key_of(row: KeyRow, hint: String) -> Result<Key, StoreError> {
    let record = KeyRecord {
        id: readable(row.id.parse(), "key id")?,
        organization_id: readable(row.organization_id.parse(), "organization id")?,
        version: row.version,
        state: state_of(&row.state, row.state_reason.as_deref(), row.deleted_at)?,
        access: access_of(row.scopes, &row.level, &row.rules)?,
        conditions: readable(serde_json::from_str::<Conditions>(&row.conditions), "conditions")?,
    };
    let environment = row
        .environment
        .map(|name| Environment::from_name(&name).ok_or(StoreError::Unreadable { what: "environment" }))
        .transpose()?;
    Ok(Key {
        record,
        name: readable(row.name.parse(), "key name")?,
        description: row.description,
        environment,
        created_by: readable(row.created_by.parse::<Actor>(), "creator")?,
        responsible: row
            .responsible
            .map(|person| readable(person.parse(), "responsible person"))
            .transpose()?,
        created_at: Timestamp::from_unix_ms(row.created_at),
        updated_at: Timestamp::from_unix_ms(row.updated_at),
        tags: readable(serde_json::from_str::<Tags>(&row.tags), "tags")?,
        rotate_every_ms: row.rotate_every_ms,
        rotated_at: row.rotated_at.map(Timestamp::from_unix_ms),
        hint,
    })
}

fn secret_of(row: &mut KeyRow) -> Result<Option<StoredSecret>, StoreError> {
    let Some(number) = row.number else { return Ok(None) };
    let unreadable = || StoreError::Unreadable { what: "secret" };
    let ends_at = row.valid_until.map(Timestamp::from_unix_ms);
    let life = match (row.life.as_deref(), ends_at, row.grace_ms) {
        (Some("current"), None, None) => SecretLife::Current,
        (Some("until"), Some(end), None) => SecretLife::Until(end),
        (Some("pending"), Some(until), Some(grace_ms)) => SecretLife::Pending { until, grace_ms },
        (Some("ended"), _, None) => SecretLife::Ended,
        _ => return Err(unreadable()),
    };
    let keyring_version = row
        .keyring_version
        .and_then(|version| u32::try_from(version).ok())
        .ok_or_else(unreadable)?;
    let sealed = Sealed {
        keyring_version,
        bytes: row.sealed.take().ok_or_else(unreadable)?,
    };
    Ok(Some(StoredSecret {
        number,
        life,
        sealed,
        hint: row.hint.take().unwrap_or_default(),
        created_at: Timestamp::from_unix_ms(row.secret_created_at.ok_or_else(unreadable)?),
        ended_at: row.ended_at.map(Timestamp::from_unix_ms),
    }))
}

fn state_of(name: &str, reason: Option<&str>, deleted_at: Option<i64>) -> Result<KeyState, StoreError> {
    let state = match (name, reason, deleted_at) {
        ("active", None, None) => Some(KeyState::Active),
        ("paused", Some(reason), None) => {
            PauseReason::from_name(reason).map(|reason| KeyState::Paused { reason })
        }
        ("deleted", Some(reason), Some(at)) => {
            DeleteReason::from_name(reason).map(|reason| KeyState::Deleted {
                reason,
                at: Timestamp::from_unix_ms(at),
            })
        }
        _ => None,
    };
    state.ok_or(StoreError::Unreadable { what: "key state" })
}

fn state_columns(state: KeyState) -> (Option<&'static str>, Option<i64>) {
    let deleted_at = match state {
        KeyState::Deleted { at, .. } => Some(at.as_unix_ms()),
        KeyState::Active | KeyState::Paused { .. } => None,
    };
    (state.reason(), deleted_at)
}

/// A secret's life as it is stored.
struct LifeColumns {
    name: &'static str,
    valid_until: Option<i64>,
    grace_ms: Option<i64>,
}

impl LifeColumns {
    fn of(life: SecretLife) -> Self {
        Self {
            name: life.name(),
            valid_until: life.ends_at().map(Timestamp::as_unix_ms),
            grace_ms: match life {
                SecretLife::Pending { grace_ms, .. } => Some(grace_ms),
                SecretLife::Current | SecretLife::Until(_) | SecretLife::Ended => None,
            },
        }
    }
}

fn access_of(scopes: i64, level: &str, rules: &str) -> Result<Access, StoreError> {
    let unreadable = || StoreError::Unreadable { what: "access" };
    let scopes = u8::try_from(scopes)
        .ok()
        .and_then(ScopeSet::from_bits)
        .ok_or_else(unreadable)?;
    let rules: Vec<Rule> = readable(serde_json::from_str(rules), "rules")?;
    let permission = match PermissionLevel::from_name(level).ok_or_else(unreadable)? {
        PermissionLevel::Restricted => Permission::Restricted(rules),
        _ if !rules.is_empty() => return Err(unreadable()),
        PermissionLevel::Full => Permission::Full,
        PermissionLevel::ReadOnly => Permission::ReadOnly,
        PermissionLevel::LabelerOnly => Permission::LabelerOnly,
    };
    Access::new(scopes, permission).map_err(|_| unreadable())
}

fn rules_json(record: &KeyRecord) -> String {
    serde_json::to_string(record.access.permission().rules()).unwrap_or_else(|_| "unwritable".to_owned())
}

fn conditions_json(record: &KeyRecord) -> String {
    serde_json::to_string(&record.conditions).unwrap_or_else(|_| "unwritable".to_owned())
}

fn tags_json(key: &Key) -> String {
    serde_json::to_string(&key.tags).unwrap_or_else(|_| "unwritable".to_owned())
}

pub(crate) fn id_pair((organization, id): (String, String)) -> Result<(OrganizationId, KeyId), StoreError> {
    Ok((
        readable(organization.parse(), "organization id")?,
        readable(id.parse(), "key id")?,
    ))
}

fn readable<T, E>(result: Result<T, E>, what: &'static str) -> Result<T, StoreError> {
    result.map_err(|_| StoreError::Unreadable { what })
}

/// How the database would carry out a statement, as lines.
#[cfg(test)]
pub(crate) async fn plan_of(place: &keyward_testkit::engine::Place, sql: &str) -> String {
    let lines = match place.kind() {
        keyward_testkit::engine::Kind::Sqlite => place.texts(&[&format!("EXPLAIN QUERY PLAN {sql}")]).await,
        // The tables are empty, so that the planner would rather read them whole.
        keyward_testkit::engine::Kind::Postgres => {
            place
                .texts(&["SET enable_seqscan = off", &format!("EXPLAIN {sql}")])
                .await
        }
    };
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use keyward_testkit::engine::{Kind, Place};
    use keyward_testkit::on_both_databases;

    use super::*;

    async fn the_hot_queries_use_indexes(kind: Kind) {
        let place = Place::new(kind);
        place.store().await.close().await;
        let live = live_sql().replace("$1", "'0123456789abcdef'");
        let list = list_sql()
            .replace("$1", "'org'")
            .replace("$2", "'0'")
            .replace("$3", "50");
        for (sql, index) in [
            (live, ["secret_key_pkey", "id=?"]),
            (list, ["secret_key_by_organization"; 2]),
        ] {
            let plan = plan_of(&place, &sql).await;
            assert!(index.iter().any(|index| plan.contains(index)), "{plan}");
            assert!(
                plan.contains("secret_pkey") || plan.contains("key_id=?"),
                "{plan}"
            );
            assert!(!plan.contains("Seq Scan") && !plan.contains("SCAN "), "{plan}");
        }
    }

    on_both_databases!(the_hot_queries_use_indexes);
}
