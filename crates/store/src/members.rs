//! People, and which organizations they belong to.
//!
//! Whoever changes members locks the organization's row first ([`Tx::lock_organization`]): what is counted under that
//! lock stays so until the transaction ends.

use keyward_core::email::EmailAddress;
use keyward_core::ids::{OrganizationId, PersonId};
use keyward_core::role::Role;
use keyward_core::time::Timestamp;
use sqlx::AssertSqlSafe;

use crate::backend::{Store, Tx};
use crate::error::StoreError;

const SELECT: &str = "SELECT m.person_id, p.email, m.role, m.created_at FROM membership m \
    JOIN person p ON p.id = m.person_id WHERE m.organization_id = $1";
const FIND_OF_PERSON: &str = "SELECT m.organization_id, m.person_id, m.role FROM membership m \
    JOIN person p ON p.id = m.person_id WHERE (m.organization_id = $1 OR $1 = '') AND (p.id = $2 OR p.email = $2 \
    OR p.email = $3) ORDER BY m.organization_id LIMIT $4";
const LOCK: &str =
    "UPDATE membership SET role = role WHERE organization_id = $1 AND person_id = $2 RETURNING role";
const COUNT_OWNERS: &str = "SELECT COUNT(*) FROM membership WHERE organization_id = $1 AND role = 'owner'";
const SET_ROLE: &str = "UPDATE membership SET role = $3 WHERE organization_id = $1 AND person_id = $2";
const DELETE: &str = "DELETE FROM membership WHERE organization_id = $1 AND person_id = $2";
const INSERT: &str =
    "INSERT INTO membership (organization_id, person_id, role, created_at) VALUES ($1, $2, $3, $4)";
const FIND_PERSON: &str = "SELECT id FROM person WHERE email = $1";
const INSERT_PERSON: &str =
    "INSERT INTO person (id, email, created_at) VALUES ($1, $2, $3) ON CONFLICT (email) DO NOTHING";

/// A member of an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub person_id: PersonId,
    /// Their address.
    pub email: String,
    /// What they may do.
    pub role: Role,
    /// Since when.
    pub created_at: Timestamp,
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

type Row = (String, String, String, i64);

fn member_of((person_id, email, role, created_at): Row) -> Result<Member, StoreError> {
    let unreadable = || StoreError::Unreadable { what: "member" };
    Ok(Member {
        person_id: person_id.parse().map_err(|_| unreadable())?,
        email,
        role: Role::from_name(&role).ok_or_else(unreadable)?,
        created_at: Timestamp::from_unix_ms(created_at),
    })
}

impl Store {
    /// Members of an organization after a person's id, in the order of these ids.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_members(
        &self,
        organization: &OrganizationId,
        after: &str,
        limit: i64,
    ) -> Result<Vec<Member>, StoreError> {
        let sql = format!("{SELECT} AND m.person_id > $2 ORDER BY m.person_id LIMIT $3");
        let rows = on_read!(self, on => sqlx::query_as::<_, Row>(AssertSqlSafe(sql))
            .bind(organization.as_str()).bind(after).bind(limit).fetch_all(on).await)?;
        rows.into_iter().map(member_of).collect()
    }

    /// One member.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find_member(
        &self,
        organization: &OrganizationId,
        person: &PersonId,
    ) -> Result<Option<Member>, StoreError> {
        let sql = format!("{SELECT} AND m.person_id = $2");
        let row = on_read!(self, on => sqlx::query_as::<_, Row>(AssertSqlSafe(sql))
            .bind(organization.as_str()).bind(person.as_str()).fetch_optional(on).await)?;
        row.map(member_of).transpose()
    }

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
        let rows = on_read!(self, on => sqlx::query_as::<_, (String, String, String)>(FIND_OF_PERSON)
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
    /// One member, as this transaction sees them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find_member(
        &mut self,
        organization: &OrganizationId,
        person: &PersonId,
    ) -> Result<Option<Member>, StoreError> {
        let sql = format!("{SELECT} AND m.person_id = $2");
        let row = in_tx!(self, on => sqlx::query_as::<_, Row>(AssertSqlSafe(sql))
            .bind(organization.as_str()).bind(person.as_str()).fetch_optional(on).await)?;
        row.map(member_of).transpose()
    }

    /// The member with this address, as this transaction sees them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find_member_by_email(
        &mut self,
        organization: &OrganizationId,
        email: &EmailAddress,
    ) -> Result<Option<Member>, StoreError> {
        let sql = format!("{SELECT} AND p.email = $2");
        let row = in_tx!(self, on => sqlx::query_as::<_, Row>(AssertSqlSafe(sql))
            .bind(organization.as_str()).bind(email.as_str()).fetch_optional(on).await)?;
        row.map(member_of).transpose()
    }

    /// The role of a person, who stays a member in it until this transaction ends.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn lock_member(
        &mut self,
        organization: &OrganizationId,
        person: &PersonId,
    ) -> Result<Option<Role>, StoreError> {
        let role = in_tx!(self, on => sqlx::query_scalar::<_, String>(LOCK)
            .bind(organization.as_str()).bind(person.as_str()).fetch_optional(on).await)?;
        role.map(|role| Role::from_name(&role).ok_or(StoreError::Unreadable { what: "member" }))
            .transpose()
    }

    /// How many Owners an organization has, as this transaction sees it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn count_owners(&mut self, organization: &OrganizationId) -> Result<i64, StoreError> {
        Ok(in_tx!(self, on => sqlx::query_scalar::<_, i64>(COUNT_OWNERS)
            .bind(organization.as_str()).fetch_one(on).await)?)
    }

    /// Gives a member another role.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] if there is no such member although the organization's row was locked.
    pub async fn set_role(
        &mut self,
        organization: &OrganizationId,
        person: &PersonId,
        role: Role,
    ) -> Result<(), StoreError> {
        let changed = in_tx!(self, on => sqlx::query(SET_ROLE)
            .bind(organization.as_str()).bind(person.as_str()).bind(role.name()).execute(on).await
            .map(|done| done.rows_affected()))?;
        one_row(changed)
    }

    /// Ends a membership; the person stays, because other organizations and the trail may know them.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] if there is no such member although the organization's row was locked.
    pub async fn delete_member(
        &mut self,
        organization: &OrganizationId,
        person: &PersonId,
    ) -> Result<(), StoreError> {
        let changed = in_tx!(self, on => sqlx::query(DELETE)
            .bind(organization.as_str()).bind(person.as_str()).execute(on).await
            .map(|done| done.rows_affected()))?;
        one_row(changed)
    }

    /// The person with this address, made now if there is none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn person_with_email(
        &mut self,
        email: &EmailAddress,
        id_if_new: &PersonId,
        now: Timestamp,
    ) -> Result<PersonId, StoreError> {
        // Inserted first: two transactions that make the same person at once then wait for each other, not fail.
        in_tx!(self, on => sqlx::query(INSERT_PERSON)
            .bind(id_if_new.as_str()).bind(email.as_str()).bind(now.as_unix_ms()).execute(on).await.map(drop))?;
        let id = in_tx!(self, on =>
            sqlx::query_scalar::<_, String>(FIND_PERSON).bind(email.as_str()).fetch_one(on).await)?;
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
        role: Role,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        in_tx!(self, on => sqlx::query(INSERT)
            .bind(organization.as_str())
            .bind(person.as_str())
            .bind(role.name())
            .bind(now.as_unix_ms())
            .execute(on)
            .await
            .map(drop))?;
        Ok(())
    }
}

fn one_row(changed: u64) -> Result<(), StoreError> {
    if changed == 1 {
        Ok(())
    } else {
        Err(StoreError::Unreadable {
            what: "member of a locked organization",
        })
    }
}
