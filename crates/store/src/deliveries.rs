//! Deliveries: what of the outbox is told to whom, and what became of it; and the channels of security contacts.
//!
//! The outbox is turned into deliveries by number, and how far that went is moved in the same transaction. Nothing here decides what
//! is told or when it is tried again, and nothing opens a seal.

use keyward_core::ids::OrganizationId;
use keyward_core::seal::Sealed;
use keyward_core::time::Timestamp;

use crate::backend::{Store, Tx};
use crate::error::StoreError;

const CURSOR: &str = "delivery.cursor";
const LIST_EVENTS: &str = "SELECT number, organization_id, key_id, kind, payload, created_at FROM outbox \
    WHERE number > $1 ORDER BY number LIMIT $2";
const INSERT: &str = "INSERT INTO delivery (organization_id, number, contact, contact_kind, key_id, kind, payload, happened_at, \
    status, attempts, next_attempt_at, finished_at, last_status, last_error) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT (organization_id, number, contact) DO NOTHING";
const COUNT_OPEN: &str = "SELECT COUNT(*) FROM (SELECT 1 AS one FROM delivery WHERE organization_id = $1 AND contact = $2 \
    AND next_attempt_at IS NOT NULL LIMIT $3) AS open";
const LIST_DUE_CONTACTS: &str = "SELECT d.organization_id, d.contact FROM delivery d \
    JOIN security_contact c ON c.organization_id = d.organization_id AND c.contact = d.contact \
    WHERE d.next_attempt_at IS NOT NULL AND d.next_attempt_at <= $1 AND (c.retry_at IS NULL OR c.retry_at <= $1) \
    GROUP BY d.organization_id, d.contact ORDER BY MIN(d.next_attempt_at) LIMIT $2";
const COLUMNS: &str = "d.organization_id, d.number, d.contact, d.contact_kind, d.key_id, d.kind, d.payload, d.happened_at, d.status, \
    d.attempts, d.next_attempt_at, d.finished_at, d.last_status, d.last_error";
/// A later one of the same key waits for the earlier.
const DUE: &str = "d.organization_id = $1 AND d.contact = $2 AND d.next_attempt_at IS NOT NULL AND d.next_attempt_at <= $3 \
    AND NOT EXISTS (SELECT 1 FROM delivery e WHERE e.organization_id = $1 AND e.contact = $2 AND e.key_id = d.key_id \
    AND e.next_attempt_at IS NOT NULL AND e.number < d.number) ORDER BY d.next_attempt_at, d.number LIMIT $4";
const LISTED: &str = "d.organization_id = $1 AND (d.number < $2 OR (d.number = $2 AND d.contact > $3)) \
    AND (d.contact = $4 OR $4 = '') AND (d.status = $5 OR $5 = '') AND (d.key_id = $6 OR $6 = '') \
    ORDER BY d.number DESC, d.contact LIMIT $7";
const UPDATE: &str = "UPDATE delivery SET status = $4, attempts = $5, next_attempt_at = $6, finished_at = $7, last_status = $8, \
    last_error = $9 WHERE organization_id = $1 AND number = $2 AND contact = $3 AND next_attempt_at IS NOT NULL";
const GIVE_UP_ALL: &str = "UPDATE delivery SET status = 'given_up', next_attempt_at = NULL, finished_at = $4, last_error = $3 \
    WHERE organization_id = $1 AND contact = $2 AND next_attempt_at IS NOT NULL";
const PURGE: &str = "DELETE FROM delivery WHERE (organization_id, number, contact) IN \
    (SELECT organization_id, number, contact FROM delivery WHERE finished_at IS NOT NULL AND finished_at < $1 \
    ORDER BY finished_at LIMIT $2)";
const PURGE_OUTBOX: &str = "DELETE FROM outbox WHERE number IN \
    (SELECT number FROM outbox WHERE number <= $1 AND created_at < $2 ORDER BY number LIMIT $3)";

const CONTACT_COLUMNS: &str = "organization_id, contact, kind, address, keyring_version, sealed, failing_since, retry_at, \
    disabled_at, disabled_reason, created_at";
const INSERT_CONTACT: &str = "INSERT INTO security_contact (organization_id, contact, kind, address, keyring_version, sealed, created_at) \
    VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (organization_id, contact) DO NOTHING";
const UPDATE_STANDING: &str = "UPDATE security_contact SET failing_since = $3, retry_at = $4, disabled_at = $5, \
    disabled_reason = $6 WHERE organization_id = $1 AND contact = $2";
const UPDATE_SEAL: &str = "UPDATE security_contact SET keyring_version = $3, sealed = $4 WHERE organization_id = $1 AND contact = $2";
const DELETE_CONTACT: &str = "DELETE FROM security_contact WHERE organization_id = $1 AND contact = $2";

/// An event of the outbox.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct OutboxEvent {
    /// Its number, in the order of commits.
    pub number: i64,
    /// The organization.
    pub organization_id: String,
    /// The key; empty if it is about none.
    pub key_id: String,
    /// What happened.
    pub kind: String,
    /// Facts as JSON text.
    pub payload: String,
    /// When, in Unix milliseconds.
    pub created_at: i64,
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryStatus {
    /// Not tried yet.
    Pending,
    /// Tried in vain; it is tried again.
    Failed,
    /// It arrived.
    Sent,
    /// It did not arrive and is not tried any more.
    GivenUp,
}

impl DeliveryStatus {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Failed, Self::Sent, Self::GivenUp];

    /// The name in the API and the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Failed => "failed",
            Self::Sent => "sent",
            Self::GivenUp => "given_up",
        }
    }

    /// The status of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

/// One event on its way to one contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The organization.
    pub organization_id: OrganizationId,
    /// The event's number.
    pub number: i64,
    /// The contact's id.
    pub contact: String,
    /// `email` or `webhook`.
    pub contact_kind: String,
    /// The key; empty if it is about none.
    pub key_id: String,
    /// What is told.
    pub kind: String,
    /// Facts as JSON text.
    pub payload: String,
    /// When it happened.
    pub happened_at: Timestamp,
    /// What became of it.
    pub status: DeliveryStatus,
    /// How often it was tried.
    pub attempts: i64,
    /// When it is tried next, as long as it is to be sent.
    pub next_attempt_at: Option<Timestamp>,
    /// When it was sent or given up.
    pub finished_at: Option<Timestamp>,
    /// The last answer's status.
    pub last_status: Option<i64>,
    /// Why it did not arrive the last time.
    pub last_error: Option<String>,
}

/// The channel of a security contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContactRow {
    /// The organization.
    pub organization_id: OrganizationId,
    /// The contact's id.
    pub contact: String,
    /// `email` or `webhook`.
    pub kind: String,
    /// Where it goes.
    pub address: String,
    /// A webhook's signing secret.
    pub sealed: Option<Sealed>,
    /// Since when nothing arrived.
    pub failing_since: Option<Timestamp>,
    /// Nothing is sent before.
    pub retry_at: Option<Timestamp>,
    /// Since when it is switched off, and why.
    pub disabled: Option<(Timestamp, String)>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Which deliveries are listed; an empty text means any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// The contact's id.
    pub contact: String,
    /// A status's name.
    pub status: String,
    /// The key's id.
    pub key_id: String,
}

#[derive(sqlx::FromRow)]
struct Row {
    organization_id: String,
    number: i64,
    contact: String,
    contact_kind: String,
    key_id: String,
    kind: String,
    payload: String,
    happened_at: i64,
    status: String,
    attempts: i64,
    next_attempt_at: Option<i64>,
    finished_at: Option<i64>,
    last_status: Option<i64>,
    last_error: Option<String>,
}

impl TryFrom<Row> for Delivery {
    type Error = StoreError;
    fn try_from(row: Row) -> Result<Self, StoreError> {
        let unreadable = || StoreError::Unreadable { what: "delivery" };
        Ok(Self {
            organization_id: row.organization_id.parse().map_err(|_| unreadable())?,
            number: row.number,
            contact: row.contact,
            contact_kind: row.contact_kind,
            key_id: row.key_id,
            kind: row.kind,
            payload: row.payload,
            happened_at: Timestamp::from_unix_ms(row.happened_at),
            status: DeliveryStatus::from_name(&row.status).ok_or_else(unreadable)?,
            attempts: row.attempts,
            next_attempt_at: row.next_attempt_at.map(Timestamp::from_unix_ms),
            finished_at: row.finished_at.map(Timestamp::from_unix_ms),
            last_status: row.last_status,
            last_error: row.last_error,
        })
    }
}

#[derive(sqlx::FromRow)]
struct ContactColumns {
    organization_id: String,
    contact: String,
    kind: String,
    address: String,
    keyring_version: i64,
    sealed: Vec<u8>,
    failing_since: Option<i64>,
    retry_at: Option<i64>,
    disabled_at: Option<i64>,
    disabled_reason: Option<String>,
    created_at: i64,
}

impl TryFrom<ContactColumns> for ContactRow {
    type Error = StoreError;
    fn try_from(row: ContactColumns) -> Result<Self, StoreError> {
        let unreadable = || StoreError::Unreadable {
            what: "security contact",
        };
        let sealed = (row.keyring_version > 0)
            .then(|| {
                let keyring_version = u32::try_from(row.keyring_version).map_err(|_| unreadable())?;
                Ok::<_, StoreError>(Sealed {
                    keyring_version,
                    bytes: row.sealed,
                })
            })
            .transpose()?;
        let reason = row.disabled_reason.unwrap_or_default();
        Ok(Self {
            organization_id: row.organization_id.parse().map_err(|_| unreadable())?,
            contact: row.contact,
            kind: row.kind,
            address: row.address,
            sealed,
            failing_since: row.failing_since.map(Timestamp::from_unix_ms),
            retry_at: row.retry_at.map(Timestamp::from_unix_ms),
            disabled: row.disabled_at.map(|at| (Timestamp::from_unix_ms(at), reason)),
            created_at: Timestamp::from_unix_ms(row.created_at),
        })
    }
}

impl Store {
    /// Events after the last one that was turned into deliveries, in their order. For the whole installation.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_undelivered_events(&self, limit: i64) -> Result<Vec<OutboxEvent>, StoreError> {
        let cursor = number_of(self.setting(CURSOR).await?)?;
        Ok(on_read!(self, on => sqlx::query_as::<_, OutboxEvent>(LIST_EVENTS)
            .bind(cursor).bind(limit).fetch_all(on).await)?)
    }

    /// Contacts for whom something is due at `now` and who may be called, the longest due first. For the whole installation.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_due_contacts(
        &self,
        now: Timestamp,
        limit: i64,
    ) -> Result<Vec<(OrganizationId, String)>, StoreError> {
        let rows = on_read!(self, on => sqlx::query_as::<_, (String, String)>(LIST_DUE_CONTACTS)
            .bind(now.as_unix_ms()).bind(limit).fetch_all(on).await)?;
        rows.into_iter()
            .map(|(organization, contact)| {
                let organization = organization.parse().map_err(|_| StoreError::Unreadable {
                    what: "organization id",
                })?;
                Ok((organization, contact))
            })
            .collect()
    }

    /// Deliveries to a contact that are due at `now`: of each key the earliest alone.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_due_deliveries(
        &self,
        (organization, contact): (&OrganizationId, &str),
        now: Timestamp,
        limit: i64,
    ) -> Result<Vec<Delivery>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM delivery d WHERE {DUE}");
        let rows = on_read!(self, on => sqlx::query_as::<_, Row>(sqlx::AssertSqlSafe(sql))
            .bind(organization.as_str()).bind(contact).bind(now.as_unix_ms()).bind(limit).fetch_all(on).await)?;
        rows.into_iter().map(Delivery::try_from).collect()
    }

    /// Deliveries of an organization after a position, the newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_deliveries(
        &self,
        organization: &OrganizationId,
        filter: &DeliveryFilter,
        (number, contact): (i64, &str),
        limit: i64,
    ) -> Result<Vec<Delivery>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM delivery d WHERE {LISTED}");
        let rows = on_read!(self, on => sqlx::query_as::<_, Row>(sqlx::AssertSqlSafe(sql))
            .bind(organization.as_str()).bind(number).bind(contact).bind(&filter.contact).bind(&filter.status)
            .bind(&filter.key_id).bind(limit).fetch_all(on).await)?;
        rows.into_iter().map(Delivery::try_from).collect()
    }

    /// One delivery.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find_delivery(
        &self,
        organization: &OrganizationId,
        (number, contact): (i64, &str),
    ) -> Result<Option<Delivery>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM delivery d WHERE d.organization_id = $1 AND d.number = $2 AND d.contact = $3"
        );
        let row = on_read!(self, on => sqlx::query_as::<_, Row>(sqlx::AssertSqlSafe(sql))
            .bind(organization.as_str()).bind(number).bind(contact).fetch_optional(on).await)?;
        row.map(Delivery::try_from).transpose()
    }

    /// The channel of one contact.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find_contact(
        &self,
        organization: &OrganizationId,
        contact: &str,
    ) -> Result<Option<ContactRow>, StoreError> {
        let sql = format!(
            "SELECT {CONTACT_COLUMNS} FROM security_contact WHERE organization_id = $1 AND contact = $2"
        );
        let row = on_read!(self, on => sqlx::query_as::<_, ContactColumns>(sqlx::AssertSqlSafe(sql))
            .bind(organization.as_str()).bind(contact).fetch_optional(on).await)?;
        row.map(ContactRow::try_from).transpose()
    }

    /// Contacts with a secret sealed under a keyring version before `active`, after an organization and contact. For the operator.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_contacts_sealed_before(
        &self,
        active: u32,
        (organization, contact): (&str, &str),
        limit: i64,
    ) -> Result<Vec<ContactRow>, StoreError> {
        let sql = format!(
            "SELECT {CONTACT_COLUMNS} FROM security_contact WHERE keyring_version > 0 AND keyring_version < $1 \
             AND (organization_id > $2 OR (organization_id = $2 AND contact > $3)) ORDER BY organization_id, contact LIMIT $4"
        );
        let rows = on_read!(self, on => sqlx::query_as::<_, ContactColumns>(sqlx::AssertSqlSafe(sql))
            .bind(i64::from(active)).bind(organization).bind(contact).bind(limit).fetch_all(on).await)?;
        rows.into_iter().map(ContactRow::try_from).collect()
    }

    /// Removes some deliveries that ended before `deliveries_before`, and some events that were told and are older than
    /// `events_before`; how many.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn purge_deliveries(
        &self,
        (deliveries_before, events_before): (Timestamp, Timestamp),
        limit: i64,
    ) -> Result<u64, StoreError> {
        let mut tx = self.begin().await?;
        let cursor = number_of(tx.setting(CURSOR).await?)?;
        let deliveries = in_tx!(tx, on => sqlx::query(PURGE)
            .bind(deliveries_before.as_unix_ms()).bind(limit).execute(on).await.map(|done| done.rows_affected()))?;
        let events = in_tx!(tx, on => sqlx::query(PURGE_OUTBOX)
            .bind(cursor).bind(events_before.as_unix_ms()).bind(limit).execute(on).await
            .map(|done| done.rows_affected()))?;
        tx.commit().await?;
        Ok(deliveries + events)
    }
}

impl Tx {
    /// Whether events up to this number were not turned into deliveries yet; they count as turned from here on.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn move_delivery_cursor(&mut self, to: i64) -> Result<bool, StoreError> {
        let is_ahead = number_of(self.setting(CURSOR).await?)? < to;
        if is_ahead {
            self.put_setting(CURSOR, &to.to_string()).await?;
        }
        Ok(is_ahead)
    }

    /// Inserts a delivery, unless it is there.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn insert_delivery(&mut self, delivery: &Delivery) -> Result<(), StoreError> {
        in_tx!(self, on => sqlx::query(INSERT)
            .bind(delivery.organization_id.as_str())
            .bind(delivery.number)
            .bind(&delivery.contact)
            .bind(&delivery.contact_kind)
            .bind(&delivery.key_id)
            .bind(&delivery.kind)
            .bind(&delivery.payload)
            .bind(delivery.happened_at.as_unix_ms())
            .bind(delivery.status.name())
            .bind(delivery.attempts)
            .bind(delivery.next_attempt_at.map(Timestamp::as_unix_ms))
            .bind(delivery.finished_at.map(Timestamp::as_unix_ms))
            .bind(delivery.last_status)
            .bind(&delivery.last_error)
            .execute(on)
            .await
            .map(drop))?;
        Ok(())
    }

    /// How many deliveries to a contact are to be sent; counted up to `most`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn count_open_deliveries(
        &mut self,
        organization: &OrganizationId,
        contact: &str,
        most: i64,
    ) -> Result<i64, StoreError> {
        Ok(in_tx!(self, on => sqlx::query_scalar::<_, i64>(COUNT_OPEN)
            .bind(organization.as_str()).bind(contact).bind(most).fetch_one(on).await)?)
    }

    /// Writes what became of a delivery that was still to be sent; whether it was.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn update_delivery(&mut self, delivery: &Delivery) -> Result<bool, StoreError> {
        let changed = in_tx!(self, on => sqlx::query(UPDATE)
            .bind(delivery.organization_id.as_str())
            .bind(delivery.number)
            .bind(&delivery.contact)
            .bind(delivery.status.name())
            .bind(delivery.attempts)
            .bind(delivery.next_attempt_at.map(Timestamp::as_unix_ms))
            .bind(delivery.finished_at.map(Timestamp::as_unix_ms))
            .bind(delivery.last_status)
            .bind(&delivery.last_error)
            .execute(on)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(changed == 1)
    }

    /// Gives up everything that is still to be sent to a contact.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn give_up_deliveries(
        &mut self,
        (organization, contact): (&OrganizationId, &str),
        why: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        in_tx!(self, on => sqlx::query(GIVE_UP_ALL)
            .bind(organization.as_str()).bind(contact).bind(why).bind(now.as_unix_ms())
            .execute(on).await.map(drop))?;
        Ok(())
    }

    /// The channels of an organization's contacts, in the order of their ids; not more than a small number of them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_contacts(
        &mut self,
        organization: &OrganizationId,
    ) -> Result<Vec<ContactRow>, StoreError> {
        let sql = format!(
            "SELECT {CONTACT_COLUMNS} FROM security_contact WHERE organization_id = $1 ORDER BY contact"
        );
        let rows = in_tx!(self, on => sqlx::query_as::<_, ContactColumns>(sqlx::AssertSqlSafe(sql))
            .bind(organization.as_str()).fetch_all(on).await)?;
        rows.into_iter().map(ContactRow::try_from).collect()
    }

    /// Inserts the channel of a contact, unless it is there.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn insert_contact(&mut self, row: &ContactRow) -> Result<(), StoreError> {
        let (version, bytes) = columns_of(row.sealed.as_ref());
        in_tx!(self, on => sqlx::query(INSERT_CONTACT)
            .bind(row.organization_id.as_str())
            .bind(&row.contact)
            .bind(&row.kind)
            .bind(&row.address)
            .bind(version)
            .bind(bytes)
            .bind(row.created_at.as_unix_ms())
            .execute(on)
            .await
            .map(drop))?;
        Ok(())
    }

    /// Writes since when a contact fails, waits or is switched off.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn update_contact_standing(&mut self, row: &ContactRow) -> Result<(), StoreError> {
        let disabled = row.disabled.as_ref();
        in_tx!(self, on => sqlx::query(UPDATE_STANDING)
            .bind(row.organization_id.as_str())
            .bind(&row.contact)
            .bind(row.failing_since.map(Timestamp::as_unix_ms))
            .bind(row.retry_at.map(Timestamp::as_unix_ms))
            .bind(disabled.map(|(at, _)| at.as_unix_ms()))
            .bind(disabled.map(|(_, reason)| reason.as_str()))
            .execute(on)
            .await
            .map(drop))?;
        Ok(())
    }

    /// Replaces a contact's sealed secret.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn update_contact_seal(
        &mut self,
        organization: &OrganizationId,
        contact: &str,
        sealed: &Sealed,
    ) -> Result<(), StoreError> {
        let (version, bytes) = columns_of(Some(sealed));
        in_tx!(self, on => sqlx::query(UPDATE_SEAL)
            .bind(organization.as_str()).bind(contact).bind(version).bind(bytes)
            .execute(on).await.map(drop))?;
        Ok(())
    }

    /// Removes the channel of a contact, its secret included.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn delete_contact(
        &mut self,
        organization: &OrganizationId,
        contact: &str,
    ) -> Result<(), StoreError> {
        in_tx!(self, on => sqlx::query(DELETE_CONTACT)
            .bind(organization.as_str()).bind(contact).execute(on).await.map(drop))?;
        Ok(())
    }
}

fn columns_of(sealed: Option<&Sealed>) -> (i64, Vec<u8>) {
    sealed.map_or((0, Vec::new()), |sealed| {
        (i64::from(sealed.keyring_version), sealed.bytes.clone())
    })
}

fn number_of(cursor: Option<String>) -> Result<i64, StoreError> {
    let unreadable = StoreError::Unreadable {
        what: "delivery cursor",
    };
    cursor.map_or(Ok(0), |text| text.parse().map_err(|_| unreadable))
}

#[cfg(test)]
mod tests {
    use keyward_testkit::engine::{Kind, Place};
    use keyward_testkit::on_both_databases;

    use super::*;
    use crate::keys::plan_of;

    async fn looking_costs_nothing_while_nothing_is_due(kind: Kind) {
        let place = Place::new(kind);
        place.store().await.close().await;
        let filled = |sql: &str| {
            let texts = sql
                .replace("organization_id = $1", "organization_id = 'o'")
                .replace("contact = $2", "contact = 'c'");
            ["$1", "$2", "$3", "$4"]
                .iter()
                .fold(texts, |sql, bind| sql.replace(bind, "5"))
        };
        for (sql, index) in [
            (LIST_DUE_CONTACTS.to_owned(), "delivery_by_due"),
            (
                format!("SELECT {COLUMNS} FROM delivery d WHERE {DUE}"),
                "delivery_by_",
            ),
        ] {
            let plan = plan_of(&place, &filled(&sql)).await;
            assert!(plan.contains(index), "{plan}");
        }
    }

    on_both_databases!(looking_costs_nothing_while_nothing_is_due);
}
