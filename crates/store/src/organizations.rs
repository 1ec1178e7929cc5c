//! Organizations and the people who belong to them.

use std::collections::BTreeMap;

use keyward_core::decision::OrganizationState;
use keyward_core::ids::{OrganizationId, PersonId};
use keyward_core::role::Role;
use keyward_core::time::Timestamp;

use crate::backend::{Store, Tx, TxInner};
use crate::error::StoreError;

const COLUMNS: &str =
    "id, version, state, name, preference, attributes, last_access_at, created_at, updated_at";
const INSERT: &str = "INSERT INTO organization \
    (id, version, state, name, preference, attributes, last_access_at, created_at, updated_at) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
const UPDATE: &str = "UPDATE organization SET version = version + 1, state = $3, name = $4, preference = $5, \
    attributes = $6, last_access_at = $7, updated_at = $8 WHERE id = $1 AND version = $2";
const STANDING: &str = "SELECT version, state FROM organization WHERE id = $1";
const LIST_MEMBERS: &str = "SELECT m.person_id, p.email, m.role, m.created_at FROM membership m \
    JOIN person p ON p.id = m.person_id WHERE m.organization_id = $1 ORDER BY m.person_id LIMIT $2";
const FIND_MEMBERS: &str = "SELECT m.organization_id, m.person_id, m.role FROM membership m \
    JOIN person p ON p.id = m.person_id WHERE (m.organization_id = $1 OR $1 = '') AND (p.id = $2 OR p.email = $2 \
    OR p.email = $3) ORDER BY m.organization_id LIMIT $4";
const FIND_PERSON: &str = "SELECT id FROM person WHERE email = $1";
const INSERT_PERSON: &str =
    "INSERT INTO person (id, email, created_at) VALUES ($1, $2, $3) ON CONFLICT (email) DO NOTHING";
const INSERT_MEMBERSHIP: &str =
    "INSERT INTO membership (organization_id, person_id, role, created_at) VALUES ($1, $2, $3, $4)";

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
    /// What a client last reported as its access.
    pub last_access_at: Timestamp,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// One person's place in one organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// Where.
    pub organization_id: OrganizationId,
    /// Who.
    pub person_id: PersonId,
    /// As what.
    pub role: Role,
}

/// A member of an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub person_id: PersonId,
    /// Their address.
    pub email: String,
    /// `owner`, `admin` or `member`.
    pub role: String,
    /// Since when.
    pub created_at: Timestamp,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    version: i64,
    state: String,
    name: String,
    preference: String,
    attributes: String,
    last_access_at: i64,
    created_at: i64,
    updated_at: i64,
}

impl TryFrom<Row> for Organization {
    type Error = StoreError;
    fn try_from(row: Row) -> Result<Self, StoreError> {
        let unreadable = || StoreError::Unreadable { what: "organization" };
        Ok(Self {
            id: row.id.parse().map_err(|_| unreadable())?,
            version: row.version,
            state: OrganizationState::from_name(&row.state).ok_or_else(unreadable)?,
            name: row.name,
            preference: serde_json::from_str(&row.preference).map_err(|_| unreadable())?,
            attributes: serde_json::from_str(&row.attributes).map_err(|_| unreadable())?,
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

    /// Members of an organization.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_members(
        &self,
        organization: &OrganizationId,
        limit: i64,
    ) -> Result<Vec<Member>, StoreError> {
        let rows = on_read!(self, on => sqlx::query_as::<_, (String, String, String, i64)>(LIST_MEMBERS)
            .bind(organization.as_str()).bind(limit).fetch_all(on).await)?;
        rows.into_iter()
            .map(|(person_id, email, role, created_at)| {
                Ok(Member {
                    person_id: person_id
                        .parse()
                        .map_err(|_| StoreError::Unreadable { what: "member" })?,
                    email,
                    role,
                    created_at: Timestamp::from_unix_ms(created_at),
                })
            })
            .collect()
    }
}

impl Store {
    /// The memberships of whoever has this id or e-mail address: of one organization, or of all (at most `limit`).
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find_memberships(
        &self,
        organization: Option<&OrganizationId>,
        person: &str,
        limit: i64,
    ) -> Result<Vec<Membership>, StoreError> {
        let organization = organization.map_or("", OrganizationId::as_str);
        let rows = on_read!(self, on => sqlx::query_as::<_, (String, String, String)>(FIND_MEMBERS)
            .bind(organization).bind(person).bind(person.to_lowercase()).bind(limit).fetch_all(on).await)?;
        let unreadable = || StoreError::Unreadable { what: "membership" };
        rows.into_iter()
            .map(|(organization, person, role)| {
                Ok(Membership {
                    organization_id: organization.parse().map_err(|_| unreadable())?,
                    person_id: person.parse().map_err(|_| unreadable())?,
                    role: Role::from_name(&role).ok_or_else(unreadable)?,
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
            .bind(organization.last_access_at.as_unix_ms())
            .bind(organization.created_at.as_unix_ms())
            .bind(organization.updated_at.as_unix_ms())
            .execute(on)
            .await
            .map(drop))?;
        Ok(())
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
        let changed = in_tx!(self, on => sqlx::query(UPDATE)
            .bind(organization.id.as_str())
            .bind(organization.version)
            .bind(organization.state.name())
            .bind(&organization.name)
            .bind(preference_json(organization))
            .bind(attributes_json(organization))
            .bind(organization.last_access_at.as_unix_ms())
            .bind(organization.updated_at.as_unix_ms())
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

    /// The person with this address, made now if there is none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn person_with_email(
        &mut self,
        email: &str,
        id_if_new: &PersonId,
        now: Timestamp,
    ) -> Result<PersonId, StoreError> {
        // Inserted first: two transactions that make the same person at once then wait for each other, not fail.
        in_tx!(self, on => sqlx::query(INSERT_PERSON)
            .bind(id_if_new.as_str()).bind(email).bind(now.as_unix_ms()).execute(on).await.map(drop))?;
        let id =
            in_tx!(self, on => sqlx::query_scalar::<_, String>(FIND_PERSON).bind(email).fetch_one(on).await)?;
        id.parse().map_err(|_| StoreError::Unreadable { what: "person" })
    }

    /// Makes a person a member.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] if they are one.
    pub async fn insert_member(
        &mut self,
        organization: &OrganizationId,
        person: &PersonId,
        role: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        in_tx!(self, on => sqlx::query(INSERT_MEMBERSHIP)
            .bind(organization.as_str())
            .bind(person.as_str())
            .bind(role)
            .bind(now.as_unix_ms())
            .execute(on)
            .await
            .map(drop))?;
        Ok(())
    }
}

fn preference_json(organization: &Organization) -> String {
    serde_json::to_string(&organization.preference).unwrap_or_else(|_| "{}".to_owned())
}

fn attributes_json(organization: &Organization) -> String {
    serde_json::to_string(&organization.attributes).unwrap_or_else(|_| "{}".to_owned())
}
