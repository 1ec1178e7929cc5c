//! Removing what a deleted organization leaves, in steps of a bounded size, parents last.
//!
//! The audit trail, the feed and the outbox stay: others may still have to hear of what is in them. A test holds the
//! tables here and the schema together, so that no table with an organization's rows is forgotten.

use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::time::Timestamp;
use sqlx::AssertSqlSafe;

use crate::backend::{Store, Tx};
use crate::error::StoreError;

/// Tables whose rows go, each with the column that tells rows of one organization apart.
const PURGED: &[(&str, &str)] = &[
    ("bulk_preview", "token"),
    ("dataset", "id"),
    ("dataset_deletion", "dataset_id"),
    ("delivery", "number"),
    ("idempotency", "attempt"),
    ("invitation", "id"),
    ("key_address", "key_id"),
    ("key_told", "key_id"),
    ("key_usage", "key_id"),
    ("key_use", "key_id"),
    ("management_token", "id"),
    ("membership", "person_id"),
    ("organization_usage", "hour"),
    ("security_contact", "contact"),
    ("secret_use", "key_id"),
];

const LIST_LIVING: &str = "SELECT id FROM secret_key WHERE organization_id = $1 AND state <> 'deleted' AND id > $2 ORDER BY id LIMIT $3";
const LIST_ENDED: &str =
    "SELECT id FROM secret_key WHERE organization_id = $1 AND state = 'deleted' ORDER BY id LIMIT $2";
const DELETE_SECRETS: &str = "DELETE FROM secret WHERE key_id IN \
    (SELECT id FROM secret_key WHERE organization_id = $1 AND id = $2 AND state = 'deleted')";
const DELETE_KEY: &str =
    "DELETE FROM secret_key WHERE organization_id = $1 AND id = $2 AND state = 'deleted'";
const DELETE_ORGANIZATION: &str = "DELETE FROM organization WHERE id = $1";
const INSERT_PURGED: &str = "INSERT INTO purged_organization (id, purged_at) VALUES ($1, $2)";
const FIND_PURGED: &str = "SELECT COUNT(*) FROM purged_organization WHERE id = $1";

impl Store {
    /// Ids of an organization's keys that did not end, after an id; of rows that can't be read as well.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_living_key_ids(
        &self,
        organization: &OrganizationId,
        after: &str,
        limit: i64,
    ) -> Result<Vec<KeyId>, StoreError> {
        let ids = on_read!(self, on => sqlx::query_scalar::<_, String>(LIST_LIVING)
            .bind(organization.as_str()).bind(after).bind(limit).fetch_all(on).await)?;
        ids.iter().map(|id| key_id(id)).collect()
    }
}

impl Tx {
    /// Removes rows of some ended keys of an organization with their secrets; which ones. Keys that did not end stay.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn purge_ended_keys(
        &mut self,
        organization: &OrganizationId,
        limit: i64,
    ) -> Result<Vec<KeyId>, StoreError> {
        let ids = in_tx!(self, on => sqlx::query_scalar::<_, String>(LIST_ENDED)
            .bind(organization.as_str()).bind(limit).fetch_all(on).await)?;
        for id in &ids {
            for sql in [DELETE_SECRETS, DELETE_KEY] {
                in_tx!(self, on => sqlx::query(sql)
                    .bind(organization.as_str()).bind(id).execute(on).await.map(drop))?;
            }
        }
        ids.iter().map(|id| key_id(id)).collect()
    }

    /// Removes some of an organization's other rows; how many. None is left when it is zero.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn purge_rows(&mut self, organization: &OrganizationId, limit: i64) -> Result<u64, StoreError> {
        for (table, column) in PURGED {
            let sql = format!(
                "DELETE FROM {table} WHERE organization_id = $1 AND {column} IN \
                 (SELECT {column} FROM {table} WHERE organization_id = $1 ORDER BY {column} LIMIT $2)"
            );
            let removed = in_tx!(self, on => sqlx::query(AssertSqlSafe(sql))
                .bind(organization.as_str()).bind(limit).execute(on).await.map(|done| done.rows_affected()))?;
            if removed > 0 {
                return Ok(removed);
            }
        }
        Ok(0)
    }

    /// Removes the organization itself, of which nothing else may be left, and keeps its id from being given again.
    ///
    /// # Errors
    /// [`StoreError`]; also if rows of it are left.
    pub async fn finish_purge(
        &mut self,
        organization: &OrganizationId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        in_tx!(self, on => sqlx::query(INSERT_PURGED)
            .bind(organization.as_str()).bind(now.as_unix_ms()).execute(on).await.map(drop))?;
        in_tx!(self, on => sqlx::query(DELETE_ORGANIZATION)
            .bind(organization.as_str()).execute(on).await.map(drop))?;
        Ok(())
    }

    /// Whether an organization with this id was purged. To be asked after the id was inserted: a purge that ended
    /// meanwhile is seen then.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn was_purged(&mut self, id: &OrganizationId) -> Result<bool, StoreError> {
        let found = in_tx!(self, on => sqlx::query_scalar::<_, i64>(FIND_PURGED)
            .bind(id.as_str()).fetch_one(on).await)?;
        Ok(found > 0)
    }
}

fn key_id(text: &str) -> Result<KeyId, StoreError> {
    text.parse()
        .map_err(|_| StoreError::Unreadable { what: "key id" })
}

#[cfg(test)]
mod tests {
    use keyward_testkit::engine::{Kind, Place};
    use keyward_testkit::on_both_databases;

    use super::*;

    /// What of an organization stays, or goes another way than through [`PURGED`].
    const OTHERWISE: &[&str] = &["change_feed", "outbox", "secret_key"];

    async fn no_table_of_an_organization_is_forgotten(kind: Kind) {
        let place = Place::new(kind);
        place.store().await.close().await;
        let sql = match kind {
            Kind::Sqlite => {
                "SELECT m.name FROM sqlite_master m, pragma_table_info(m.name) c \
                 WHERE m.type = 'table' AND c.name = 'organization_id' ORDER BY m.name"
            }
            Kind::Postgres => {
                "SELECT table_name::text FROM information_schema.columns \
                 WHERE table_schema = 'public' AND column_name = 'organization_id' ORDER BY table_name"
            }
        };
        let mut own: Vec<&str> = PURGED.iter().map(|(table, _)| *table).collect();
        own.extend(OTHERWISE);
        own.sort_unstable();
        assert_eq!(place.texts(&[sql]).await, own);
    }

    on_both_databases!(no_table_of_an_organization_is_forgotten);
}
