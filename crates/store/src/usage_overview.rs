//! What was counted about the keys of an organization, read: sums and curve, who uses them, which are unused, which addresses
//! are new, whose refusals rise.
//!
//! As `usage_queries`: the organization first, between two hours, no more rows than is said. Sums and curve come from the
//! organization's own table, so that they cost the same with one key and with a hundred thousand.

use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::time::Timestamp;
use keyward_core::usage_rise::{LEAST_REFUSALS, RiseHours};
use sqlx::AssertSqlSafe;

use crate::backend::Store;
use crate::error::StoreError;
use crate::usage_queries::{Hours, Of, Step, TopEntry, TopRow, UsagePoint, points, top_entry};
use crate::uses::{ROWS, rows_of_binds};

const SUMS: &str = "SELECT operation, outcome, CAST(SUM(uses) AS BIGINT) FROM organization_usage \
    WHERE organization_id = $1 AND hour >= $2 AND hour <= $3 GROUP BY operation, outcome ORDER BY operation, outcome";
/// Living keys by their last use; the index knows them in this order.
const UNUSED_SINCE: &str = "SELECT u.key_id, u.last_used_at FROM key_use u JOIN secret_key k ON k.id = u.key_id \
    WHERE u.organization_id = $1 AND u.last_used_at < $2 AND (u.last_used_at, u.key_id) > ($3, $4) AND k.state <> 'deleted' \
    ORDER BY u.last_used_at, u.key_id LIMIT $5";
/// Living keys without any use, by their creation. The key's own row is looked at last, for those that were never used: where
/// most were, two indexes are read and nothing else.
const NEVER_USED: &str = "SELECT k.id, k.created_at FROM secret_key k CROSS JOIN secret_key s \
    WHERE s.id = k.id AND k.organization_id = $1 AND k.created_at < $2 AND (k.created_at, k.id) > ($3, $4) \
    AND NOT EXISTS (SELECT 1 FROM key_use u WHERE u.key_id = k.id) AND s.state <> 'deleted' \
    ORDER BY k.created_at, k.id LIMIT $5";
const LAST_USED: &str = "SELECT u.key_id, k.name, u.last_used_at FROM key_use u JOIN secret_key k ON k.id = u.key_id \
    WHERE u.organization_id = $1 AND k.state <> 'deleted' ORDER BY u.last_used_at DESC, u.key_id DESC LIMIT $2";
const KEYS_BY_LAST_USE: &str = "SELECT COUNT(*), COUNT(u.last_used_at), \
    CAST(COALESCE(SUM(CASE WHEN u.last_used_at >= $2 THEN 1 ELSE 0 END), 0) AS BIGINT), \
    CAST(COALESCE(SUM(CASE WHEN u.last_used_at >= $3 THEN 1 ELSE 0 END), 0) AS BIGINT), \
    CAST(COALESCE(SUM(CASE WHEN u.last_used_at >= $4 THEN 1 ELSE 0 END), 0) AS BIGINT) \
    FROM secret_key k LEFT JOIN key_use u ON u.key_id = k.id WHERE k.organization_id = $1 AND k.state <> 'deleted'";
const NEW_ADDRESSES: &str = "SELECT a.key_id, COALESCE(k.name, ''), a.address, a.first_at, a.last_at, \
    NOT EXISTS (SELECT 1 FROM key_address e WHERE e.key_id = a.key_id AND e.first_at < a.first_at) \
    FROM key_address a LEFT JOIN secret_key k ON k.id = a.key_id \
    WHERE a.organization_id = $1 AND a.first_at >= $2 AND (a.first_at, a.key_id, a.address) < ($3, $4, $5) \
    ORDER BY a.first_at DESC, a.key_id DESC, a.address DESC LIMIT $6";
const REFUSED_OFTEN: &str = "SELECT key_id, CAST(SUM(uses) AS BIGINT), MAX(last_at) FROM key_usage \
    WHERE organization_id = $1 AND hour >= $2 AND hour <= $3 AND outcome <> 'ok' AND secret <> 0 \
    GROUP BY key_id HAVING SUM(uses) >= $4 ORDER BY SUM(uses) DESC, key_id LIMIT $5";
/// Along the keys' own rows, as in `usage_queries`.
const REFUSED_BEFORE: &str = "SELECT key_id, CAST(SUM(uses) AS BIGINT) FROM key_usage \
    WHERE organization_id || '' = $1 AND hour >= $2 AND hour < $3 AND outcome <> 'ok' AND secret <> 0 AND key_id IN ";
/// Along the addresses' primary key.
const KEY_ADDRESSES: &str = "SELECT address, first_at, last_at FROM key_address \
    WHERE organization_id = $1 AND key_id = $2 ORDER BY first_at DESC, address LIMIT $3";
const TOP_KEYS: &str = "SELECT key_id, CAST(SUM(CASE WHEN outcome = 'ok' THEN uses ELSE 0 END) AS BIGINT), \
    CAST(SUM(CASE WHEN outcome <> 'ok' THEN uses ELSE 0 END) AS BIGINT), MAX(last_at) \
    FROM key_usage WHERE organization_id = $1 AND hour >= $2 AND hour <= $3 \
    GROUP BY key_id ORDER BY SUM(uses) DESC, key_id LIMIT $4";
const NAMES: &str = "SELECT id, name FROM secret_key WHERE organization_id = $1 AND id IN ";

/// How often keys of an organization were used for something, with which outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrganizationSum {
    /// `identify`, or the operation's name.
    pub operation: String,
    /// `ok`, or the refusal's code.
    pub outcome: String,
    /// How often.
    pub uses: i64,
}

/// A key by the moment that an order goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyAt {
    /// The key.
    pub key_id: KeyId,
    /// Its last use; of one that was never used its creation.
    pub at: Timestamp,
}

/// A key that was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedKey {
    /// The key.
    pub key_id: KeyId,
    /// Its name.
    pub name: String,
    /// Its last use.
    pub last_used_at: Timestamp,
}

/// How many living keys were used since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeysByLastUse {
    /// All of them.
    pub keys: i64,
    /// Those that were ever used.
    pub ever: i64,
    /// Those used since each of the moments that were asked for.
    pub since: [i64; 3],
}

/// An address from which a key was used with success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenAddress {
    /// The key.
    pub key_id: KeyId,
    /// Its name.
    pub name: String,
    /// The address.
    pub address: String,
    /// First.
    pub first_at: Timestamp,
    /// Last, exact to an hour.
    pub last_at: Timestamp,
    /// Whether the key was used from nowhere else before.
    pub is_first_of_key: bool,
}

/// An address of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyAddress {
    /// The address.
    pub address: String,
    /// When the key was first used from it.
    pub first_at: Timestamp,
    /// When last, exact to an hour.
    pub last_at: Timestamp,
}

/// How often a key was accepted and refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopKey {
    /// The key.
    pub key_id: KeyId,
    /// Its name.
    pub name: String,
    /// How often it was accepted.
    pub accepted: i64,
    /// How often it was refused, attempts where only its id matched included.
    pub refused: i64,
    /// When last.
    pub last_at: Timestamp,
}

/// Where a page of addresses begins: before this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressPlace {
    /// When it was first seen.
    pub first_at: Timestamp,
    /// With which key.
    pub key_id: String,
    /// The address.
    pub address: String,
}

impl AddressPlace {
    /// Before which every address lies.
    pub const fn newest() -> Self {
        Self {
            first_at: Timestamp::from_unix_ms(i64::MAX),
            key_id: String::new(),
            address: String::new(),
        }
    }
}

/// How often a key was refused, lately and before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedKey {
    /// The key.
    pub key_id: KeyId,
    /// Its name.
    pub name: String,
    /// In the recent hours.
    pub recent: i64,
    /// In all of the baseline.
    pub baseline: i64,
    /// When last.
    pub last_at: Timestamp,
}

impl Store {
    /// Sums over all keys of an organization.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn organization_sums(
        &self,
        organization: &OrganizationId,
        hours: Hours,
    ) -> Result<Vec<OrganizationSum>, StoreError> {
        let rows = on_read!(self, on => sqlx::query_as::<_, (String, String, i64)>(SUMS)
            .bind(organization.as_str()).bind(hours.from).bind(hours.until).fetch_all(on).await)?;
        let sums = rows
            .into_iter()
            .map(|(operation, outcome, uses)| OrganizationSum {
                operation,
                outcome,
                uses,
            });
        Ok(sums.collect())
    }

    /// The curve of an organization, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn organization_curve(
        &self,
        organization: &OrganizationId,
        hours: Hours,
        step: Step,
    ) -> Result<Vec<UsagePoint>, StoreError> {
        let rows = on_read!(self, on => sqlx::query_as::<_, (i64, i64, i64, i64)>(AssertSqlSafe(curve_sql(step)))
            .bind(organization.as_str()).bind(hours.from).bind(hours.until).fetch_all(on).await)?;
        Ok(points(rows, step))
    }

    /// Who used or tried the keys of an organization most.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn organization_top(
        &self,
        organization: &OrganizationId,
        of: Of,
        hours: Hours,
        limit: i64,
    ) -> Result<Vec<TopEntry>, StoreError> {
        let rows = on_read!(self, on => sqlx::query_as::<_, TopRow>(AssertSqlSafe(top_sql(of)))
            .bind(organization.as_str()).bind(hours.from).bind(hours.until).bind(limit).fetch_all(on).await)?;
        Ok(rows.into_iter().map(top_entry).collect())
    }

    /// Living keys that were used, and not since `since`: the longest unused first, after a place.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn keys_unused_since(
        &self,
        organization: &OrganizationId,
        since: Timestamp,
        after: Option<KeyAt>,
        limit: i64,
    ) -> Result<Vec<KeyAt>, StoreError> {
        self.keys_at(UNUSED_SINCE, organization, since, after, limit)
            .await
    }

    /// Living keys that were made before `before` and never used: the oldest first, after a place.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn keys_never_used(
        &self,
        organization: &OrganizationId,
        before: Timestamp,
        after: Option<KeyAt>,
        limit: i64,
    ) -> Result<Vec<KeyAt>, StoreError> {
        self.keys_at(NEVER_USED, organization, before, after, limit).await
    }

    async fn keys_at(
        &self,
        sql: &'static str,
        organization: &OrganizationId,
        end: Timestamp,
        after: Option<KeyAt>,
        limit: i64,
    ) -> Result<Vec<KeyAt>, StoreError> {
        let rows = on_read!(self, on => sqlx::query_as::<_, (String, i64)>(sql)
            .bind(organization.as_str())
            .bind(end.as_unix_ms())
            .bind(after.map_or(i64::MIN, |place| place.at.as_unix_ms()))
            .bind(after.as_ref().map_or("", |place| place.key_id.as_str()))
            .bind(limit)
            .fetch_all(on)
            .await)?;
        rows.into_iter()
            .map(|(key, at)| {
                Ok(KeyAt {
                    key_id: key_of(&key)?,
                    at: Timestamp::from_unix_ms(at),
                })
            })
            .collect()
    }

    /// Living keys, the last used first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn keys_last_used(
        &self,
        organization: &OrganizationId,
        limit: i64,
    ) -> Result<Vec<UsedKey>, StoreError> {
        let rows = on_read!(self, on => sqlx::query_as::<_, (String, String, i64)>(LAST_USED)
            .bind(organization.as_str()).bind(limit).fetch_all(on).await)?;
        rows.into_iter()
            .map(|(key, name, at)| {
                Ok(UsedKey {
                    key_id: key_of(&key)?,
                    name,
                    last_used_at: Timestamp::from_unix_ms(at),
                })
            })
            .collect()
    }

    /// How many living keys were used since each of these moments.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn count_keys_by_last_use(
        &self,
        organization: &OrganizationId,
        since: [Timestamp; 3],
    ) -> Result<KeysByLastUse, StoreError> {
        let [first, second, third] = since.map(Timestamp::as_unix_ms);
        let (keys, ever, first, second, third) = on_read!(self, on => {
            sqlx::query_as::<_, (i64, i64, i64, i64, i64)>(KEYS_BY_LAST_USE)
                .bind(organization.as_str()).bind(first).bind(second).bind(third).fetch_one(on).await
        })?;
        Ok(KeysByLastUse {
            keys,
            ever,
            since: [first, second, third],
        })
    }

    /// Addresses that keys were first used from since `since`, the newest first, before a place.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn new_addresses(
        &self,
        organization: &OrganizationId,
        since: Timestamp,
        before: &AddressPlace,
        limit: i64,
    ) -> Result<Vec<SeenAddress>, StoreError> {
        let rows = on_read!(self, on => sqlx::query_as::<_, (String, String, String, i64, i64, bool)>(NEW_ADDRESSES)
            .bind(organization.as_str())
            .bind(since.as_unix_ms())
            .bind(before.first_at.as_unix_ms())
            .bind(before.key_id.as_str())
            .bind(before.address.as_str())
            .bind(limit)
            .fetch_all(on)
            .await)?;
        rows.into_iter()
            .map(|(key, name, address, first_at, last_at, is_first_of_key)| {
                Ok(SeenAddress {
                    key_id: key_of(&key)?,
                    name,
                    address,
                    first_at: Timestamp::from_unix_ms(first_at),
                    last_at: Timestamp::from_unix_ms(last_at),
                    is_first_of_key,
                })
            })
            .collect()
    }

    /// Keys that were refused often enough to be told, with what is usual for them; those refused most first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn keys_refused_often(
        &self,
        organization: &OrganizationId,
        hours: RiseHours,
        limit: i64,
    ) -> Result<Vec<RefusedKey>, StoreError> {
        let rows = on_read!(self, on => sqlx::query_as::<_, (String, i64, i64)>(REFUSED_OFTEN)
            .bind(organization.as_str())
            .bind(hours.recent_from)
            .bind(hours.until)
            .bind(LEAST_REFUSALS)
            .bind(limit)
            .fetch_all(on)
            .await)?;
        let mut refused = Vec::with_capacity(rows.len());
        for rows in rows.chunks(ROWS) {
            let binds = rows_of_binds(1, rows.len(), 4);
            let sql = format!("{REFUSED_BEFORE}{binds} GROUP BY key_id");
            let before = on_read!(self, on => {
                let query = sqlx::query_as::<_, (String, i64)>(AssertSqlSafe(sql))
                    .bind(organization.as_str()).bind(hours.baseline_from).bind(hours.recent_from);
                let query = rows.iter().fold(query, |query, (key, ..)| query.bind(key.as_str()));
                query.persistent(rows.len() == ROWS).fetch_all(on).await
            })?;
            let ids: Vec<&str> = rows.iter().map(|(key, ..)| key.as_str()).collect();
            let names = self.names_of(organization, &ids).await?;
            for (key, recent, last_at) in rows {
                let of_key = before.iter().find(|(other, _)| other == key);
                let name = names.iter().find(|(other, _)| other == key);
                refused.push(RefusedKey {
                    key_id: key_of(key)?,
                    name: name.map(|(_, name)| name.clone()).unwrap_or_default(),
                    recent: *recent,
                    baseline: of_key.map_or(0, |(_, baseline)| *baseline),
                    last_at: Timestamp::from_unix_ms(*last_at),
                });
            }
        }
        Ok(refused)
    }

    /// The addresses that a key was used from with success, those that came last first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn addresses_of_key(
        &self,
        organization: &OrganizationId,
        key: KeyId,
        limit: i64,
    ) -> Result<Vec<KeyAddress>, StoreError> {
        let rows = on_read!(self, on => sqlx::query_as::<_, (String, i64, i64)>(KEY_ADDRESSES)
            .bind(organization.as_str()).bind(key.as_str()).bind(limit).fetch_all(on).await)?;
        let addresses = rows.into_iter().map(|(address, first_at, last_at)| KeyAddress {
            address,
            first_at: Timestamp::from_unix_ms(first_at),
            last_at: Timestamp::from_unix_ms(last_at),
        });
        Ok(addresses.collect())
    }

    /// The keys of an organization that were used or tried most, deleted ones included.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn top_keys(
        &self,
        organization: &OrganizationId,
        hours: Hours,
        limit: i64,
    ) -> Result<Vec<TopKey>, StoreError> {
        let rows = on_read!(self, on => sqlx::query_as::<_, (String, i64, i64, i64)>(TOP_KEYS)
            .bind(organization.as_str()).bind(hours.from).bind(hours.until).bind(limit).fetch_all(on).await)?;
        let mut top = Vec::with_capacity(rows.len());
        for rows in rows.chunks(ROWS) {
            let ids: Vec<&str> = rows.iter().map(|(key, ..)| key.as_str()).collect();
            let names = self.names_of(organization, &ids).await?;
            for (key, accepted, refused, last_at) in rows {
                let name = names.iter().find(|(other, _)| other == key);
                top.push(TopKey {
                    key_id: key_of(key)?,
                    name: name.map(|(_, name)| name.clone()).unwrap_or_default(),
                    accepted: *accepted,
                    refused: *refused,
                    last_at: Timestamp::from_unix_ms(*last_at),
                });
            }
        }
        Ok(top)
    }

    /// Ids and names of at most [`ROWS`] keys, as far as they are the organization's.
    async fn names_of(
        &self,
        organization: &OrganizationId,
        ids: &[&str],
    ) -> Result<Vec<(String, String)>, StoreError> {
        let sql = format!("{NAMES}{}", rows_of_binds(1, ids.len(), 2));
        let names = on_read!(self, on => {
            let query = sqlx::query_as::<_, (String, String)>(AssertSqlSafe(sql)).bind(organization.as_str());
            let query = ids.iter().fold(query, |query, id| query.bind(*id));
            query.persistent(ids.len() == ROWS).fetch_all(on).await
        })?;
        Ok(names)
    }
}

fn key_of(text: &str) -> Result<KeyId, StoreError> {
    let key = text.parse();
    key.map_err(|_| StoreError::Unreadable { what: "use of a key" })
}

fn curve_sql(step: Step) -> String {
    format!(
        "SELECT hour / {hours}, CAST(SUM(CASE WHEN outcome = 'ok' THEN uses ELSE 0 END) AS BIGINT), \
         CAST(SUM(CASE WHEN outcome <> 'ok' THEN uses ELSE 0 END) AS BIGINT), CAST(0 AS BIGINT) \
         FROM organization_usage WHERE organization_id = $1 AND hour >= $2 AND hour <= $3 \
         GROUP BY hour / {hours} ORDER BY hour / {hours}",
        hours = step.hours()
    )
}

fn top_sql(of: Of) -> String {
    let column = of.column();
    format!(
        "SELECT {column}, CAST(SUM(CASE WHEN outcome = 'ok' THEN uses ELSE 0 END) AS BIGINT), \
         CAST(SUM(CASE WHEN outcome <> 'ok' THEN uses ELSE 0 END) AS BIGINT), COUNT(DISTINCT key_id), MAX(last_at) \
         FROM key_usage WHERE organization_id = $1 AND hour >= $2 AND hour <= $3 \
         GROUP BY {column} ORDER BY SUM(uses) DESC, {column} LIMIT $4"
    )
}

#[cfg(test)]
mod tests {
    use keyward_testkit::engine::{Kind, Place};
    use keyward_testkit::on_both_databases;

    use super::*;
    use crate::keys::plan_of;
    use crate::usage_queries::written_in;

    async fn every_list_goes_along_an_index(kind: Kind) {
        let place = Place::new(kind);
        place.store().await.close().await;
        let before = format!("{REFUSED_BEFORE}($4, $5) GROUP BY key_id");
        // The statement, its index on PostgreSQL and what SQLite says of the one that it takes.
        for (sql, index, search) in [
            (
                written_in(SUMS, 3, &[2, 3]),
                "organization_usage_pkey",
                "(organization_id=? AND hour>? AND hour<?)",
            ),
            (
                written_in(&curve_sql(Step::Hour), 3, &[2, 3]),
                "organization_usage_pkey",
                "(organization_id=? AND hour>? AND hour<?)",
            ),
            (
                written_in(&top_sql(Of::Clients), 4, &[2, 3, 4]),
                "key_usage_by_hour",
                "key_usage_by_hour (organization_id=? AND hour>? AND hour<?)",
            ),
            (
                written_in(UNUSED_SINCE, 5, &[2, 3, 5]),
                "key_use_by_time",
                "key_use_by_time (organization_id=? AND (last_used_at,key_id)>",
            ),
            (
                written_in(NEVER_USED, 5, &[2, 3, 5]),
                "secret_key_by_creation",
                "secret_key_by_creation (organization_id=? AND (created_at,id)>",
            ),
            (
                written_in(LAST_USED, 2, &[2]),
                "key_use_by_time",
                "key_use_by_time (organization_id=?)",
            ),
            (
                written_in(NEW_ADDRESSES, 6, &[2, 3, 6]),
                "key_address_by_first",
                "key_address_by_first (organization_id=? AND first_at>?",
            ),
            (
                written_in(REFUSED_OFTEN, 5, &[2, 3, 4, 5]),
                "key_usage_of_refusals",
                "key_usage_of_refusals (organization_id=? AND hour>? AND hour<?)",
            ),
            (
                written_in(&before, 5, &[2, 3]),
                "key_usage_pkey",
                "(key_id=? AND hour>? AND hour<?)",
            ),
        ] {
            let plan = plan_of(&place, &sql).await;
            let wanted = if kind == Kind::Sqlite { search } else { index };
            assert!(plan.contains(wanted), "{wanted}: {plan}");
        }
    }

    on_both_databases!(every_list_goes_along_an_index);
}
