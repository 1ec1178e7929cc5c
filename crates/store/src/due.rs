//! What time brings about: secrets whose end came, and rotations and expiries of which nobody was told yet.
//!
//! Both are found by an index on the moment, so that looking costs nothing while there is nothing. For the whole installation:
//! no organization is bound.

use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::time::Timestamp;

use crate::backend::{Store, Tx};
use crate::error::StoreError;
use crate::keys::id_pair;

const LIST_OVER: &str = "SELECT k.organization_id, k.id, s.number FROM secret s JOIN secret_key k ON k.id = s.key_id \
    WHERE s.valid_until <= $1 AND s.life <> 'ended' AND k.state <> 'deleted' ORDER BY s.valid_until, k.id LIMIT $2";
const LIST_UNTOLD: &str = "SELECT organization_id, id, rotation_due_at FROM secret_key \
    WHERE rotation_due_at < $1 AND due_told < $2 AND state <> 'deleted' AND (expires_at IS NULL OR expires_at > $3) \
    ORDER BY rotation_due_at, id LIMIT $4";
const TELL: &str = "UPDATE secret_key SET due_told = $4 WHERE organization_id = $1 AND id = $2 AND rotation_due_at = $3 \
    AND due_told < $4 AND state <> 'deleted'";

const LIST_UNTOLD_EXPIRIES: &str = "SELECT organization_id, id, expires_at FROM secret_key \
    WHERE expires_at IS NOT NULL AND expires_at >= $1 AND expires_at < $2 AND expiry_told < 3 AND expiry_told < $3 \
    AND state <> 'deleted' AND expires_at - created_at >= $4 ORDER BY expires_at, id LIMIT $5";
const TELL_EXPIRY: &str = "UPDATE secret_key SET expiry_told = $4 WHERE organization_id = $1 AND id = $2 AND expires_at = $3 \
    AND expiry_told < $4 AND state <> 'deleted'";

/// A secret whose time is over, though it is stored as living.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretOver {
    /// The key's organization.
    pub organization_id: OrganizationId,
    /// The key.
    pub key_id: KeyId,
    /// The secret's number.
    pub number: i64,
}

/// A rotation or an expiry that came, or soon comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untold {
    /// The key's organization.
    pub organization_id: OrganizationId,
    /// The key.
    pub key_id: KeyId,
    /// When it comes.
    pub due_at: Timestamp,
}

/// What is told of a rotation or an expiry.
#[derive(Debug, Clone, Copy)]
pub struct DueNotice {
    /// How urgent it is: 1 in 14 days, 2 in 3 days, 3 now, 4 overdue.
    pub urgency: i64,
    /// The outbox event's kind.
    pub kind: &'static str,
}

impl Store {
    /// Living secrets of living keys whose time was over at `until`, the oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_secrets_over(
        &self,
        until: Timestamp,
        limit: i64,
    ) -> Result<Vec<SecretOver>, StoreError> {
        let rows = on_read!(self, on => sqlx::query_as::<_, (String, String, i64)>(LIST_OVER)
            .bind(until.as_unix_ms()).bind(limit).fetch_all(on).await)?;
        rows.into_iter()
            .map(|(organization, key, number)| {
                let (organization_id, key_id) = id_pair((organization, key))?;
                Ok(SecretOver {
                    organization_id,
                    key_id,
                    number,
                })
            })
            .collect()
    }

    /// Keys that have not ended at `now`, whose rotation is due before `before`, and of whom nothing as urgent was told.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_untold(
        &self,
        (before, now): (Timestamp, Timestamp),
        urgency: i64,
        limit: i64,
    ) -> Result<Vec<Untold>, StoreError> {
        let rows = on_read!(self, on => sqlx::query_as::<_, (String, String, i64)>(LIST_UNTOLD)
            .bind(before.as_unix_ms()).bind(urgency).bind(now.as_unix_ms()).bind(limit).fetch_all(on).await)?;
        rows.into_iter().map(untold).collect()
    }

    /// Keys that expire from the first moment up to and without the second, that were made at least `lead_ms` before their expiry,
    /// and of whose expiry nothing as urgent was told.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_untold_expiries(
        &self,
        (from, before): (Timestamp, Timestamp),
        (urgency, lead_ms): (i64, i64),
        limit: i64,
    ) -> Result<Vec<Untold>, StoreError> {
        let rows = on_read!(self, on => sqlx::query_as::<_, (String, String, i64)>(LIST_UNTOLD_EXPIRIES)
            .bind(from.as_unix_ms()).bind(before.as_unix_ms()).bind(urgency).bind(lead_ms).bind(limit)
            .fetch_all(on).await)?;
        rows.into_iter().map(untold).collect()
    }
}

fn untold((organization, key, due_at): (String, String, i64)) -> Result<Untold, StoreError> {
    let (organization_id, key_id) = id_pair((organization, key))?;
    Ok(Untold {
        organization_id,
        key_id,
        due_at: Timestamp::from_unix_ms(due_at),
    })
}

impl Tx {
    /// Puts a notice of a rotation into the outbox, unless somebody rotated the key meanwhile or told it before; whether it was put.
    ///
    /// # Errors
    /// [`StoreError::NotTheWriter`] if `epoch` is over: then nothing may commit.
    pub async fn tell_due(
        &mut self,
        untold: &Untold,
        notice: DueNotice,
        epoch: i64,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.tell_date((TELL, "due_at_ms"), untold, notice, (epoch, now))
            .await
    }

    /// Puts a notice of an expiry into the outbox, unless somebody moved the date meanwhile or told it before; whether it was put.
    ///
    /// # Errors
    /// [`StoreError::NotTheWriter`] if `epoch` is over: then nothing may commit.
    pub async fn tell_expiry(
        &mut self,
        untold: &Untold,
        notice: DueNotice,
        epoch: i64,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.tell_date((TELL_EXPIRY, "expires_at_ms"), untold, notice, (epoch, now))
            .await
    }

    async fn tell_date(
        &mut self,
        (mark, fact): (&'static str, &str),
        untold: &Untold,
        notice: DueNotice,
        (epoch, now): (i64, Timestamp),
    ) -> Result<bool, StoreError> {
        let told = in_tx!(self, on => sqlx::query(mark)
            .bind(untold.organization_id.as_str())
            .bind(untold.key_id.as_str())
            .bind(untold.due_at.as_unix_ms())
            .bind(notice.urgency)
            .execute(on)
            .await
            .map(|done| done.rows_affected()))?;
        if told == 0 {
            return Ok(false);
        }
        let payload = format!("{{\"{fact}\":{}}}", untold.due_at.as_unix_ms());
        let subject = (&untold.organization_id, untold.key_id.as_str());
        self.tell(subject, (notice.kind, &payload), epoch, now).await?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use keyward_testkit::engine::{Kind, Place};
    use keyward_testkit::on_both_databases;

    use super::*;
    use crate::keys::plan_of;

    async fn looking_costs_nothing_while_there_is_nothing(kind: Kind) {
        let place = Place::new(kind);
        place.store().await.close().await;
        let over = LIST_OVER.replace("$1", "5").replace("$2", "5");
        let untold = ["$1", "$2", "$3", "$4"]
            .iter()
            .fold(LIST_UNTOLD.to_owned(), |sql, bind| sql.replace(bind, "5"));
        let expiries = ["$1", "$2", "$3", "$4", "$5"]
            .iter()
            .fold(LIST_UNTOLD_EXPIRIES.to_owned(), |sql, bind| {
                sql.replace(bind, "5")
            });
        for (sql, index) in [
            (over, "secret_by_end"),
            (untold, "secret_key_by_due"),
            (expiries, "secret_key_by_expiry"),
        ] {
            let plan = plan_of(&place, &sql).await;
            assert!(plan.contains(index), "{plan}");
        }
    }

    on_both_databases!(looking_costs_nothing_while_there_is_nothing);
}
