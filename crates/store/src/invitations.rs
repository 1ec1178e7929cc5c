//! Invitations by link. Of the secret in a link there is only a digest here.

use keyward_core::email::EmailAddress;
use keyward_core::ids::{InvitationId, OrganizationId};
use keyward_core::invitation::{InvitationDigest, InvitationEnd, InvitationOver};
use keyward_core::record::Actor;
use keyward_core::role::Role;
use keyward_core::time::Timestamp;
use sqlx::AssertSqlSafe;

use crate::backend::{Store, Tx};
use crate::error::StoreError;

const COLUMNS: &str =
    "organization_id, id, email, role, invited_by, created_at, expires_at, end_reason, ended_at";
const INSERT: &str = "INSERT INTO invitation \
    (organization_id, id, email, role, digest, invited_by, created_at, expires_at) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
const END: &str = "UPDATE invitation SET end_reason = $3, ended_at = $4 \
    WHERE organization_id = $1 AND id = $2 AND end_reason IS NULL";
const REPLACE: &str = "UPDATE invitation SET end_reason = 'replaced', ended_at = $3 \
    WHERE organization_id = $1 AND email = $2 AND end_reason IS NULL";
const OPEN_ROLES: &str =
    "SELECT role FROM invitation WHERE organization_id = $1 AND email = $2 AND end_reason IS NULL";
const REVOKE_OF: &str = "UPDATE invitation SET end_reason = 'revoked', ended_at = $4 \
    WHERE organization_id = $1 AND invited_by = $2 AND role = $3 AND end_reason IS NULL";
const COUNT_OPEN: &str = "SELECT COUNT(*) FROM invitation \
    WHERE organization_id = $1 AND end_reason IS NULL AND expires_at > $2";

/// An invitation as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// Into which organization.
    pub organization_id: OrganizationId,
    /// Its id, which opens nothing.
    pub id: InvitationId,
    /// Who is invited.
    pub email: EmailAddress,
    /// In which role.
    pub role: Role,
    /// By whom.
    pub invited_by: Actor,
    /// When.
    pub created_at: Timestamp,
    /// It is good before this moment.
    pub expires_at: Timestamp,
    /// What ended it before its time, and when.
    pub ended: Option<(InvitationEnd, Timestamp)>,
}

impl Invitation {
    /// Why it can't be accepted at `now`; `None` if it can.
    pub fn over_at(&self, now: Timestamp) -> Option<InvitationOver> {
        InvitationOver::at(now, self.ended.map(|(end, _)| end), self.expires_at)
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    organization_id: String,
    id: String,
    email: String,
    role: String,
    invited_by: String,
    created_at: i64,
    expires_at: i64,
    end_reason: Option<String>,
    ended_at: Option<i64>,
}

impl TryFrom<Row> for Invitation {
    type Error = StoreError;
    fn try_from(row: Row) -> Result<Self, StoreError> {
        let unreadable = || StoreError::Unreadable { what: "invitation" };
        let ended = match (row.end_reason, row.ended_at) {
            (Some(reason), Some(at)) => Some((
                InvitationEnd::from_name(&reason).ok_or_else(unreadable)?,
                Timestamp::from_unix_ms(at),
            )),
            (None, None) => None,
            _ => return Err(unreadable()),
        };
        Ok(Self {
            organization_id: row.organization_id.parse().map_err(|_| unreadable())?,
            id: row.id.parse().map_err(|_| unreadable())?,
            email: row.email.parse().map_err(|_| unreadable())?,
            role: Role::from_name(&row.role).ok_or_else(unreadable)?,
            invited_by: row.invited_by.parse().map_err(|_| unreadable())?,
            created_at: Timestamp::from_unix_ms(row.created_at),
            expires_at: Timestamp::from_unix_ms(row.expires_at),
            ended,
        })
    }
}

impl Store {
    /// The invitation whose secret has this digest: the one look-up that needs no organization, because the secret is
    /// all that its bearer has.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find_invitation_by_digest(
        &self,
        digest: &InvitationDigest,
    ) -> Result<Option<Invitation>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM invitation WHERE digest = $1");
        let row = on_read!(self, on => sqlx::query_as::<_, Row>(AssertSqlSafe(sql))
            .bind(digest.as_bytes().to_vec()).fetch_optional(on).await)?;
        row.map(Invitation::try_from).transpose()
    }

    /// Invitations of an organization after an id, in the order in which they were made.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_invitations(
        &self,
        organization: &OrganizationId,
        after: &str,
        limit: i64,
    ) -> Result<Vec<Invitation>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM invitation WHERE organization_id = $1 AND id > $2 ORDER BY id LIMIT $3"
        );
        let rows = on_read!(self, on => sqlx::query_as::<_, Row>(AssertSqlSafe(sql))
            .bind(organization.as_str()).bind(after).bind(limit).fetch_all(on).await)?;
        rows.into_iter().map(Invitation::try_from).collect()
    }

    /// Invitations of an organization that can still be accepted at `now`, the newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_open_invitations(
        &self,
        organization: &OrganizationId,
        now: Timestamp,
        limit: i64,
    ) -> Result<Vec<Invitation>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM invitation WHERE organization_id = $1 AND end_reason IS NULL AND expires_at > $2 \
             ORDER BY id DESC LIMIT $3"
        );
        let rows = on_read!(self, on => sqlx::query_as::<_, Row>(AssertSqlSafe(sql))
            .bind(organization.as_str()).bind(now.as_unix_ms()).bind(limit).fetch_all(on).await)?;
        rows.into_iter().map(Invitation::try_from).collect()
    }
}

impl Tx {
    /// One invitation, as this transaction sees it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find_invitation(
        &mut self,
        organization: &OrganizationId,
        id: &InvitationId,
    ) -> Result<Option<Invitation>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM invitation WHERE organization_id = $1 AND id = $2");
        let row = in_tx!(self, on => sqlx::query_as::<_, Row>(AssertSqlSafe(sql))
            .bind(organization.as_str()).bind(id.as_str()).fetch_optional(on).await)?;
        row.map(Invitation::try_from).transpose()
    }

    /// How many invitations of an organization can still be accepted.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn count_open_invitations(
        &mut self,
        organization: &OrganizationId,
        now: Timestamp,
    ) -> Result<i64, StoreError> {
        Ok(in_tx!(self, on => sqlx::query_scalar::<_, i64>(COUNT_OPEN)
            .bind(organization.as_str()).bind(now.as_unix_ms()).fetch_one(on).await)?)
    }

    /// Inserts an invitation.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn insert_invitation(
        &mut self,
        invitation: &Invitation,
        digest: &InvitationDigest,
    ) -> Result<(), StoreError> {
        in_tx!(self, on => sqlx::query(INSERT)
            .bind(invitation.organization_id.as_str())
            .bind(invitation.id.as_str())
            .bind(invitation.email.as_str())
            .bind(invitation.role.name())
            .bind(digest.as_bytes().to_vec())
            .bind(invitation.invited_by.to_string())
            .bind(invitation.created_at.as_unix_ms())
            .bind(invitation.expires_at.as_unix_ms())
            .execute(on)
            .await
            .map(drop))?;
        Ok(())
    }

    /// Ends an invitation; whether it had not ended before.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn end_invitation(
        &mut self,
        organization: &OrganizationId,
        id: &InvitationId,
        end: InvitationEnd,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let changed = in_tx!(self, on => sqlx::query(END)
            .bind(organization.as_str())
            .bind(id.as_str())
            .bind(end.name())
            .bind(now.as_unix_ms())
            .execute(on)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(changed == 1)
    }

    /// Ends what invitations of an address there are, because a later one takes their place; how many.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn replace_invitations(
        &mut self,
        organization: &OrganizationId,
        email: &EmailAddress,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        Ok(in_tx!(self, on => sqlx::query(REPLACE)
            .bind(organization.as_str()).bind(email.as_str()).bind(now.as_unix_ms()).execute(on).await
            .map(|done| done.rows_affected()))?)
    }

    /// The roles of the invitations of an address that nobody accepted, took back or replaced yet.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open_invitation_roles(
        &mut self,
        organization: &OrganizationId,
        email: &EmailAddress,
    ) -> Result<Vec<Role>, StoreError> {
        let roles = in_tx!(self, on => sqlx::query_scalar::<_, String>(OPEN_ROLES)
            .bind(organization.as_str()).bind(email.as_str()).fetch_all(on).await)?;
        let read = roles
            .iter()
            .map(|role| Role::from_name(role).ok_or(StoreError::Unreadable { what: "invitation" }));
        read.collect()
    }

    /// Takes back the invitations into a role that somebody made; how many.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn revoke_invitations_by(
        &mut self,
        organization: &OrganizationId,
        invited_by: &Actor,
        role: Role,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        Ok(in_tx!(self, on => sqlx::query(REVOKE_OF)
            .bind(organization.as_str())
            .bind(invited_by.to_string())
            .bind(role.name())
            .bind(now.as_unix_ms())
            .execute(on)
            .await
            .map(|done| done.rows_affected()))?)
    }
}
