//! Organizations: their names, settings and states, and the end that is under way of some. Their people are in
//! [`crate::members`].

use std::collections::BTreeMap;

use keyward_core::decision::OrganizationState;
use keyward_core::ids::{OrganizationId, PersonId};
use keyward_core::organization::OrganizationSettings;
use keyward_core::record::Actor;
use keyward_core::role::Role;
use keyward_core::time::Timestamp;

use crate::backend::{Store, Tx, TxInner};
use crate::error::StoreError;

const COLUMNS: &str = "id, version, state, name, preference, attributes, settings, last_access_at, created_at, \
    updated_at, deleted_by, deleted_at, purge_at, purge_begun_at";
const INSERT: &str = "INSERT INTO organization \
    (id, version, state, name, preference, attributes, settings, last_access_at, created_at, updated_at) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
const UPDATE: &str = "UPDATE organization SET version = version + 1, state = $3, name = $4, preference = $5, \
    attributes = $6, settings = $7, last_access_at = $8, updated_at = $9, deleted_by = $10, deleted_at = $11, \
    purge_at = $12, purge_begun_at = $13 WHERE id = $1 AND version = $2";
const MAKE_READABLE: &str =
    "UPDATE organization SET preference = '{}', attributes = '{}', settings = '{}' WHERE id = $1";
const LIST_IDS: &str = "SELECT id FROM organization WHERE id > $1 ORDER BY id LIMIT $2";
const STANDING: &str = "SELECT version, state FROM organization WHERE id = $1";
const LIST_OF_PERSON: &str = "SELECT m.role, o.id, o.version, o.state, o.name, o.preference, o.attributes, o.settings, \
    o.last_access_at, o.created_at, o.updated_at, o.deleted_by, o.deleted_at, o.purge_at, o.purge_begun_at \
    FROM membership m JOIN organization o ON o.id = m.organization_id WHERE m.person_id = $1 ORDER BY o.name, o.id LIMIT $2";
const LIST_DUE_PURGES: &str =
    "SELECT id FROM organization WHERE purge_at <= $1 ORDER BY purge_at, id LIMIT $2";
const LIST_PURGES_BEFORE: &str =
    "SELECT id, purge_at FROM organization WHERE purge_at < $1 AND purge_begun_at IS NULL ORDER BY id";
const POSTPONE_PURGES: &str =
    "UPDATE organization SET purge_at = $1 WHERE purge_at < $1 AND purge_begun_at IS NULL";

/// An organization as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Organization {
    /// Never changes.
    pub id: OrganizationId,
    /// Raised with every change.
    pub version: i64,
    /// Open, locked or stopped.
    pub state: OrganizationState,
    /// The display name.
    pub name: String,
    /// Preferences of the resource API's clients, as they sent them.
    pub preference: serde_json::Map<String, serde_json::Value>,
    /// Attributes of the resource API's clients.
    pub attributes: BTreeMap<String, String>,
    /// What it prescribes for itself.
    pub settings: OrganizationSettings,
    /// Its end, if that is under way.
    pub deletion: Option<OrganizationDeletion>,
    /// What a client last reported as its access.
    pub last_access_at: Timestamp,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// The end of an organization that was deleted and is not purged yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrganizationDeletion {
    /// Who deleted it.
    pub deleted_by: Actor,
    /// When.
    pub deleted_at: Timestamp,
    /// From when on it is purged, and can't be restored.
    pub purge_at: Timestamp,
    /// When purging it began; then it can't be restored, whatever a clock says.
    pub purge_begun_at: Option<Timestamp>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    version: i64,
    state: String,
    name: String,
    preference: String,
    attributes: String,
    settings: String,
    last_access_at: i64,
    created_at: i64,
    updated_at: i64,
    deleted_by: Option<String>,
    deleted_at: Option<i64>,
    purge_at: Option<i64>,
    purge_begun_at: Option<i64>,
}

#[derive(sqlx::FromRow)]
struct RowOfPerson {
    role: String,
    #[sqlx(flatten)]
    organization: Row,
}

impl TryFrom<Row> for Organization {
    type Error = StoreError;
    fn try_from(row: Row) -> Result<Self, StoreError> {
        let unreadable = || StoreError::Unreadable { what: "organization" };
        let deletion = match (row.deleted_by, row.deleted_at, row.purge_at) {
            (Some(by), Some(at), Some(purge_at)) => Some(OrganizationDeletion {
                deleted_by: by.parse().map_err(|_| unreadable())?,
                deleted_at: Timestamp::from_unix_ms(at),
                purge_at: Timestamp::from_unix_ms(purge_at),
                purge_begun_at: row.purge_begun_at.map(Timestamp::from_unix_ms),
            }),
            (None, None, None) => None,
            _ => return Err(unreadable()),
        };
        Ok(Self {
            id: row.id.parse().map_err(|_| unreadable())?,
            version: row.version,
            state: OrganizationState::from_name(&row.state).ok_or_else(unreadable)?,
            name: row.name,
            preference: serde_json::from_str(&row.preference).map_err(|_| unreadable())?,
            attributes: serde_json::from_str(&row.attributes).map_err(|_| unreadable())?,
            settings: serde_json::from_str(&row.settings).map_err(|_| unreadable())?,
            deletion,
            last_access_at: Timestamp::from_unix_ms(row.last_access_at),
            created_at: Timestamp::from_unix_ms(row.created_at),
            updated_at: Timestamp::from_unix_ms(row.updated_at),
        })
    }
}

impl Store {
    /// One organization.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find_organization(&self, id: &OrganizationId) -> Result<Option<Organization>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM organization WHERE id = $1");
        let row = on_read!(self, on => sqlx::query_as::<_, Row>(sqlx::AssertSqlSafe(sql))
            .bind(id.as_str()).fetch_optional(on).await)?;
        row.map(Organization::try_from).transpose()
    }

    /// The organizations that a person belongs to, by name, with their role in each. No organization is bound: whose they are is
    /// the question.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_organizations_of(
        &self,
        person: &PersonId,
        limit: i64,
    ) -> Result<Vec<(Organization, Role)>, StoreError> {
        let rows = on_read!(self, on => sqlx::query_as::<_, RowOfPerson>(LIST_OF_PERSON)
            .bind(person.as_str()).bind(limit).fetch_all(on).await)?;
        rows.into_iter()
            .map(|row| {
                let role = Role::from_name(&row.role).ok_or(StoreError::Unreadable { what: "member" })?;
                Ok((row.organization.try_into()?, role))
            })
            .collect()
    }

    /// Ids of organizations after an id, in their order, whatever else is in their rows. For the operator: no organization is
    /// bound.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_organization_ids(
        &self,
        after: &str,
        limit: i64,
    ) -> Result<Vec<OrganizationId>, StoreError> {
        let ids = on_read!(self, on => sqlx::query_scalar::<_, String>(LIST_IDS)
            .bind(after).bind(limit).fetch_all(on).await)?;
        ids.iter()
            .map(|id| {
                id.parse().map_err(|_| StoreError::Unreadable {
                    what: "organization id",
                })
            })
            .collect()
    }

    /// Organizations after an id, in the order of their ids. For the operator: no organization is bound.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_organizations(&self, after: &str, limit: i64) -> Result<Vec<Organization>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM organization WHERE id > $1 ORDER BY id LIMIT $2");
        let rows = on_read!(self, on => sqlx::query_as::<_, Row>(sqlx::AssertSqlSafe(sql))
            .bind(after).bind(limit).fetch_all(on).await)?;
        rows.into_iter().map(Organization::try_from).collect()
    }

    /// Ids of organizations whose time to be purged has come, the longest due first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_due_purges(
        &self,
        now: Timestamp,
        limit: i64,
    ) -> Result<Vec<OrganizationId>, StoreError> {
        let ids = on_read!(self, on => sqlx::query_scalar::<_, String>(LIST_DUE_PURGES)
            .bind(now.as_unix_ms()).bind(limit).fetch_all(on).await)?;
        ids.into_iter()
            .map(|id| {
                id.parse().map_err(|_| StoreError::Unreadable {
                    what: "organization id",
                })
            })
            .collect()
    }
}

impl Tx {
    /// Inserts an organization.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] if the id is taken.
    pub async fn insert_organization(&mut self, organization: &Organization) -> Result<(), StoreError> {
        in_tx!(self, on => sqlx::query(INSERT)
            .bind(organization.id.as_str())
            .bind(organization.version)
            .bind(organization.state.name())
            .bind(&organization.name)
            .bind(preference_json(organization))
            .bind(attributes_json(organization))
            .bind(settings_json(organization))
            .bind(organization.last_access_at.as_unix_ms())
            .bind(organization.created_at.as_unix_ms())
            .bind(organization.updated_at.as_unix_ms())
            .execute(on)
            .await
            .map(drop))?;
        Ok(())
    }

    /// One organization as this transaction sees it, not locked.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find_organization(
        &mut self,
        id: &OrganizationId,
    ) -> Result<Option<Organization>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM organization WHERE id = $1");
        let row = in_tx!(self, on => sqlx::query_as::<_, Row>(sqlx::AssertSqlSafe(sql))
            .bind(id.as_str()).fetch_optional(on).await)?;
        row.map(Organization::try_from).transpose()
    }

    /// One organization, its row locked until the transaction ends.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn lock_organization(
        &mut self,
        id: &OrganizationId,
    ) -> Result<Option<Organization>, StoreError> {
        let sql = format!("UPDATE organization SET version = version WHERE id = $1 RETURNING {COLUMNS}");
        let row = in_tx!(self, on => sqlx::query_as::<_, Row>(sqlx::AssertSqlSafe(sql))
            .bind(id.as_str()).fetch_optional(on).await)?;
        row.map(Organization::try_from).transpose()
    }

    /// Replaces what decides about no key in a row that can't be read: preferences, attributes, settings.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn make_organization_readable(&mut self, id: &OrganizationId) -> Result<(), StoreError> {
        in_tx!(self, on => sqlx::query(MAKE_READABLE).bind(id.as_str()).execute(on).await.map(drop))?;
        Ok(())
    }

    /// Moves every purge that would come before `until`; of which organizations, and when each would have come. For the
    /// operator: no organization is bound.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn postpone_purges(
        &mut self,
        until: Timestamp,
    ) -> Result<Vec<(OrganizationId, Timestamp)>, StoreError> {
        let rows = in_tx!(self, on => sqlx::query_as::<_, (String, i64)>(LIST_PURGES_BEFORE)
            .bind(until.as_unix_ms()).fetch_all(on).await)?;
        in_tx!(self, on => sqlx::query(POSTPONE_PURGES).bind(until.as_unix_ms()).execute(on).await.map(drop))?;
        rows.into_iter()
            .map(|(id, at)| match id.parse() {
                Ok(id) => Ok((id, Timestamp::from_unix_ms(at))),
                Err(_) => Err(StoreError::Unreadable {
                    what: "organization id",
                }),
            })
            .collect()
    }

    /// Version and state of an organization, which stay so until this transaction ends: what a write of the resource API
    /// asks before it commits, so that nothing is written in an organization that was stopped meanwhile.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn hold_organization(
        &mut self,
        id: &OrganizationId,
    ) -> Result<Option<(i64, OrganizationState)>, StoreError> {
        // As `Tx::is_key_at`. The writes of one organization wait for each other at the head of its audit chain anyway.
        let sql = match self.inner {
            TxInner::Sqlite(_) => STANDING.to_owned(),
            TxInner::Postgres(_) => format!("{STANDING} FOR NO KEY UPDATE"),
        };
        self.standing(id, sql).await
    }

    async fn standing(
        &mut self,
        id: &OrganizationId,
        sql: String,
    ) -> Result<Option<(i64, OrganizationState)>, StoreError> {
        let found = in_tx!(self, on => sqlx::query_as::<_, (i64, String)>(sqlx::AssertSqlSafe(sql))
            .bind(id.as_str()).fetch_optional(on).await)?;
        let unreadable = StoreError::Unreadable {
            what: "organization state",
        };
        found
            .map(|(version, state)| Some((version, OrganizationState::from_name(&state)?)))
            .map(|standing| standing.ok_or(unreadable))
            .transpose()
    }

    /// Writes the changeable fields of an organization that was read at `organization.version`, and raises the version.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] if it was not at that version although its row was locked.
    pub async fn update_organization(&mut self, organization: &Organization) -> Result<(), StoreError> {
        let deletion = organization.deletion.as_ref();
        let changed = in_tx!(self, on => sqlx::query(UPDATE)
            .bind(organization.id.as_str())
            .bind(organization.version)
            .bind(organization.state.name())
            .bind(&organization.name)
            .bind(preference_json(organization))
            .bind(attributes_json(organization))
            .bind(settings_json(organization))
            .bind(organization.last_access_at.as_unix_ms())
            .bind(organization.updated_at.as_unix_ms())
            .bind(deletion.map(|deletion| deletion.deleted_by.to_string()))
            .bind(deletion.map(|deletion| deletion.deleted_at.as_unix_ms()))
            .bind(deletion.map(|deletion| deletion.purge_at.as_unix_ms()))
            .bind(deletion.and_then(|deletion| deletion.purge_begun_at).map(Timestamp::as_unix_ms))
            .execute(on)
            .await
            .map(|done| done.rows_affected()))?;
        if changed == 1 {
            Ok(())
        } else {
            Err(StoreError::Unreadable {
                what: "version of a locked organization",
            })
        }
    }
}

fn preference_json(organization: &Organization) -> String {
    serde_json::to_string(&organization.preference).unwrap_or_else(|_| "{}".to_owned())
}

fn attributes_json(organization: &Organization) -> String {
    serde_json::to_string(&organization.attributes).unwrap_or_else(|_| "{}".to_owned())
}

fn settings_json(organization: &Organization) -> String {
    // Never `{}`, which would read as settings that nobody made.
    serde_json::to_string(&organization.settings).unwrap_or_else(|_| "unwritable".to_owned())
}
