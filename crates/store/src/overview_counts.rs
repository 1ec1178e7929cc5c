//! How many keys an organization has: by environment, with those that are due, and by who made them.
//!
//! Both are read from an index of an organization's keys alone (`secret_key_by_creator` holds all that is asked), and no key's row
//! is looked at. Deleted keys count nowhere here.

use keyward_core::environment::Environment;
use keyward_core::ids::OrganizationId;
use keyward_core::record::Actor;
use keyward_core::rotation::DueStatus;
use keyward_core::time::Timestamp;

use crate::backend::Store;
use crate::error::StoreError;

/// A key that expired is not due any more; a paused one is.
const BY_ENVIRONMENT: &str = "SELECT environment, COUNT(*), \
    CAST(SUM(CASE WHEN rotation_due_at < $2 AND (expires_at IS NULL OR expires_at > $4) THEN 1 ELSE 0 END) AS BIGINT), \
    CAST(SUM(CASE WHEN rotation_due_at >= $2 AND rotation_due_at < $3 AND (expires_at IS NULL OR expires_at > $4) \
    THEN 1 ELSE 0 END) AS BIGINT) \
    FROM secret_key WHERE organization_id = $1 AND state <> 'deleted' GROUP BY environment ORDER BY environment";
const BY_CREATOR: &str = "SELECT created_by, COUNT(*) FROM secret_key \
    WHERE organization_id = $1 AND state <> 'deleted' GROUP BY created_by ORDER BY created_by LIMIT $2";

/// The keys of one environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyCount {
    /// Which one; `None` are those without.
    pub environment: Option<Environment>,
    /// How many.
    pub keys: i64,
    /// Those whose rotation is due today, or was before.
    pub overdue: i64,
    /// Those whose rotation is due soon.
    pub due_soon: i64,
}

impl Store {
    /// How many keys there are in each environment that has some.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn count_keys_by_environment(
        &self,
        organization: &OrganizationId,
        now: Timestamp,
    ) -> Result<Vec<KeyCount>, StoreError> {
        let (soon, late) = DueStatus::DueSoon.dates(now);
        let bound = |at: Option<Timestamp>| at.unwrap_or(now).as_unix_ms();
        let rows = on_read!(self, on => sqlx::query_as::<_, (Option<String>, i64, i64, i64)>(BY_ENVIRONMENT)
            .bind(organization.as_str())
            .bind(bound(soon))
            .bind(bound(late))
            .bind(now.as_unix_ms())
            .fetch_all(on)
            .await)?;
        let read = rows.into_iter().map(|(environment, keys, overdue, due_soon)| {
            let environment = environment
                .map(|name| {
                    Environment::from_name(&name).ok_or(StoreError::Unreadable {
                        what: "key's environment",
                    })
                })
                .transpose()?;
            Ok(KeyCount {
                environment,
                keys,
                overdue,
                due_soon,
            })
        });
        read.collect()
    }

    /// How many keys each of those made who made any; at most `limit` of them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn count_keys_by_creator(
        &self,
        organization: &OrganizationId,
        limit: i64,
    ) -> Result<Vec<(Actor, i64)>, StoreError> {
        let rows = on_read!(self, on => sqlx::query_as::<_, (String, i64)>(BY_CREATOR)
            .bind(organization.as_str()).bind(limit).fetch_all(on).await)?;
        let read = rows.into_iter().map(|(actor, keys)| {
            let actor = actor.parse();
            let actor = actor.map_err(|_| StoreError::Unreadable {
                what: "key's creator",
            })?;
            Ok((actor, keys))
        });
        read.collect()
    }
}
