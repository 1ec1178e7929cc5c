//! What was counted about the use of keys: written in bulk by the engine's background task, in one transaction with the
//! last uses that follow from it. Reading it is `usage_queries`'.
//!
//! Counts add up, so that a batch must not be written twice: each is written under a number ([`Tx::claim_usage_number`]).
//! No statement here touches a row of a key. How many addresses and clients are kept apart is bounded here, because only
//! the database knows what an hour held before.

use std::collections::{BTreeMap, HashMap, HashSet};

use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::time::Timestamp;
use keyward_core::usage::{
    DETAILS_PER_KEY_AND_HOUR, NO_SECRET, OTHER, Outcome, STRANGE_DETAILS_PER_KEY_AND_HOUR, Source, UsedFor,
};
use sqlx::AssertSqlSafe;

use crate::backend::Tx;
use crate::error::StoreError;
use crate::uses::{LastUse, ROWS, SecretUse};

/// Addresses of one key that are remembered for ever; an address beyond them is never told as new.
const ADDRESSES_PER_KEY: i64 = 1_000;

const INSERT: &str = "INSERT INTO key_usage (organization_id, key_id, hour, secret, operation, outcome, address, client, \
    uses, first_at, last_at) VALUES ";
const ADD_UP: &str = " ON CONFLICT (key_id, hour, secret, operation, outcome, address, client) DO UPDATE SET \
    uses = key_usage.uses + excluded.uses, \
    first_at = CASE WHEN excluded.first_at < key_usage.first_at THEN excluded.first_at ELSE key_usage.first_at END, \
    last_at = CASE WHEN excluded.last_at > key_usage.last_at THEN excluded.last_at ELSE key_usage.last_at END";
/// From what is asked for to what is there, by the primary key: SQLite reads a whole index for `(key_id, hour) IN (...)`.
const COUNT_DETAILS: &str = "SELECT u.key_id, u.hour, u.secret, COUNT(*) FROM asked CROSS JOIN key_usage u \
    WHERE u.key_id = asked.key_id AND u.hour = asked.hour GROUP BY u.key_id, u.hour, u.secret";
/// Which of those asked for have no row yet, by the primary key.
const FIND_NEW: &str = "SELECT asked.place FROM asked WHERE NOT EXISTS (SELECT 1 FROM key_usage u \
    WHERE u.key_id = asked.key_id AND u.hour = asked.hour AND u.secret = asked.secret AND u.operation = asked.operation \
    AND u.outcome = asked.outcome AND u.address = asked.address AND u.client = asked.client)";
const LIST_DETAILS: &str = "SELECT secret, address, client FROM key_usage WHERE key_id = $1 AND hour = $2";
const INSERT_TOTAL: &str =
    "INSERT INTO organization_usage (organization_id, hour, operation, outcome, uses) VALUES ";
const ADD_UP_TOTAL: &str = " ON CONFLICT (organization_id, hour, operation, outcome) DO UPDATE SET \
    uses = organization_usage.uses + excluded.uses";
const LIST_ADDRESSES: &str = "SELECT a.key_id, a.address FROM asked CROSS JOIN key_address a \
    WHERE a.key_id = asked.key_id AND a.address = asked.address";
/// Not by the organization's index, which has the addresses of all keys.
const COUNT_ADDRESSES: &str =
    "SELECT COUNT(*) FROM key_address WHERE organization_id || '' = $1 AND key_id = $2";
const INSERT_ADDRESS: &str =
    "INSERT INTO key_address (organization_id, key_id, address, first_at, last_at) VALUES ";
const KEEP_LATER_ADDRESS: &str = " ON CONFLICT (key_id, address) DO UPDATE SET last_at = excluded.last_at \
    WHERE key_address.last_at < excluded.last_at";

/// How often one thing happened within one hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageCount {
    /// The key's organization.
    pub organization_id: OrganizationId,
    /// The key.
    pub key_id: KeyId,
    /// Hours of Unix time ([`keyward_core::usage::hour_of`]).
    pub hour: i64,
    /// The number of the secret that was presented; 0 if only the key's id matched.
    pub secret: i64,
    /// For what.
    pub used_for: UsedFor,
    /// With which outcome.
    pub outcome: Outcome,
    /// From where and by whom.
    pub source: Source,
    /// How often.
    pub uses: i64,
    /// First.
    pub first_at: Timestamp,
    /// Last.
    pub last_at: Timestamp,
}

impl UsageCount {
    /// Takes in another count of the same thing.
    pub fn absorb(&mut self, other: &Self) {
        self.uses = self.uses.saturating_add(other.uses);
        self.first_at = self.first_at.min(other.first_at);
        self.last_at = self.last_at.max(other.last_at);
    }

    fn row(&self) -> RowKey {
        RowKey {
            key_id: self.key_id,
            hour: self.hour,
            secret: self.secret,
            operation: self.used_for.name(),
            outcome: self.outcome.name(),
            address: self.source.address(),
            client: self.source.client().as_str().to_owned(),
        }
    }
}

/// An address from which a key was used with success for the first time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAddress {
    /// The key's organization.
    pub organization_id: OrganizationId,
    /// The key.
    pub key_id: KeyId,
    /// The address as text.
    pub address: String,
    /// The client that used it.
    pub client: String,
    /// When.
    pub at: Timestamp,
    /// Whether the key was used from nowhere else before.
    pub is_first_of_key: bool,
}

/// What tells rows of `key_usage` apart, in the order of its primary key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct RowKey {
    key_id: KeyId,
    hour: i64,
    secret: i64,
    operation: &'static str,
    outcome: &'static str,
    address: String,
    client: String,
}

/// Binds a [`RowKey`], in the order of the primary key.
macro_rules! bind_row {
    ($query:expr, $row:expr) => {
        $query
            .bind($row.key_id.as_str())
            .bind($row.hour)
            .bind($row.secret)
            .bind($row.operation)
            .bind($row.outcome)
            .bind($row.address.as_str())
            .bind($row.client.as_str())
    };
}

impl Tx {
    /// Adds counts up, and records what follows from them: last uses, the organization's curve, the addresses of each
    /// key. Gives the addresses that are new.
    ///
    /// What has a row in its hour already is only added to: how many rows the hour has, and whether the address is known,
    /// was found out when the row was made. Most is of that kind under load, and it halves the work.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn record_usage(&mut self, counts: &[UsageCount]) -> Result<Vec<NewAddress>, StoreError> {
        let mut rows = by_row(counts.iter().cloned());
        let mut new = self.take_new(&mut rows).await?;
        let mut seen = Vec::new();
        if !new.is_empty() {
            self.fold_details(&mut new).await?;
            seen = addresses_of(&new);
            rows = by_row(rows.into_iter().map(|(_, count)| count).chain(new));
        }
        self.add_up(&rows).await?;
        self.add_up_totals(&rows).await?;
        self.record_uses(&last_uses(rows.iter().map(|(_, count)| count)))
            .await?;
        self.record_addresses(&seen).await
    }

    /// Takes out what has no row yet.
    async fn take_new(
        &mut self,
        rows: &mut Vec<(RowKey, UsageCount)>,
    ) -> Result<Vec<UsageCount>, StoreError> {
        let mut places: HashSet<i64> = HashSet::new();
        for (first, some) in (0_i64..).step_by(ROWS).zip(rows.chunks(ROWS)) {
            let binds = self.rows_of_binds(some.len(), 8);
            let sql = format!(
                "WITH asked (place, key_id, hour, secret, operation, outcome, address, client) AS (VALUES {binds}) {FIND_NEW}"
            );
            let found: Vec<i64> = in_tx!(self, on => {
                let query = sqlx::query_scalar(AssertSqlSafe(sql));
                let query = (first..).zip(some).fold(query, |query, (place, (row, _))| {
                    bind_row!(query.bind(place), row)
                });
                query.persistent(some.len() == ROWS).fetch_all(on).await
            })?;
            places.extend(found);
        }
        let mut place = 0_i64..;
        let new = rows.extract_if(.., |_| place.next().is_some_and(|place| places.contains(&place)));
        Ok(new.map(|(_, count)| count).collect())
    }

    /// Turns what is beyond the bound of an hour into [`Source::Other`].
    async fn fold_details(&mut self, counts: &mut [UsageCount]) -> Result<(), StoreError> {
        let mut hours: BTreeMap<(KeyId, i64), [usize; 2]> = BTreeMap::new();
        for count in &*counts {
            *rows_of_kind(hours.entry((count.key_id, count.hour)).or_default(), count.secret) += 1;
        }
        let all: Vec<(KeyId, i64)> = hours.keys().copied().collect();
        for some in all.chunks(ROWS) {
            let binds = self.rows_of_binds(some.len(), 2);
            let sql = format!("WITH asked (key_id, hour) AS (VALUES {binds}) {COUNT_DETAILS}");
            let found = in_tx!(self, on => {
                let query = sqlx::query_as::<_, (String, i64, i64, i64)>(AssertSqlSafe(sql));
                let query = some.iter().fold(query, |query, (key, hour)| query.bind(key.as_str()).bind(*hour));
                query.persistent(some.len() == ROWS).fetch_all(on).await
            })?;
            for (key, hour, secret, rows) in found {
                let key = key.parse().map_err(|_| StoreError::Unreadable {
                    what: "usage of a key",
                })?;
                if let Some(known) = hours.get_mut(&(key, hour)) {
                    let known = rows_of_kind(known, secret);
                    *known = known.saturating_add(usize::try_from(rows).unwrap_or(usize::MAX));
                }
            }
        }
        let crowded = hours
            .into_iter()
            .filter(|(_, [held, strange])| {
                *held > DETAILS_PER_KEY_AND_HOUR || *strange > STRANGE_DETAILS_PER_KEY_AND_HOUR
            })
            .map(|(hour, _)| hour);
        for (key, hour) in crowded {
            self.fold_hour(counts, key, hour).await?;
        }
        Ok(())
    }

    async fn fold_hour(
        &mut self,
        counts: &mut [UsageCount],
        key: KeyId,
        hour: i64,
    ) -> Result<(), StoreError> {
        let rows = in_tx!(self, on => sqlx::query_as::<_, (i64, String, String)>(LIST_DETAILS)
            .bind(key.as_str()).bind(hour).fetch_all(on).await)?;
        let mut known: [HashSet<(String, String)>; 2] = Default::default();
        // What is folded already takes nobody's place.
        for (secret, address, client) in rows.into_iter().filter(|(_, address, _)| address != OTHER) {
            rows_of_kind(&mut known, secret).insert((address, client));
        }
        for count in counts
            .iter_mut()
            .filter(|one| (one.key_id, one.hour) == (key, hour) && one.source != Source::Other)
        {
            let bound = if count.secret == NO_SECRET {
                STRANGE_DETAILS_PER_KEY_AND_HOUR
            } else {
                DETAILS_PER_KEY_AND_HOUR
            };
            let known = rows_of_kind(&mut known, count.secret);
            let detail = (count.source.address(), count.source.client().as_str().to_owned());
            if known.len() < bound {
                known.insert(detail);
            } else if !known.contains(&detail) {
                count.source = Source::Other;
            }
        }
        Ok(())
    }

    async fn add_up(&mut self, rows: &[(RowKey, UsageCount)]) -> Result<(), StoreError> {
        for rows in rows.chunks(ROWS) {
            let sql = format!("{INSERT}{}{ADD_UP}", self.rows_of_binds(rows.len(), 11));
            in_tx!(self, on => {
                let query = rows.iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, (row, count)| {
                    bind_row!(query.bind(count.organization_id.as_str()), row)
                        .bind(count.uses)
                        .bind(count.first_at.as_unix_ms())
                        .bind(count.last_at.as_unix_ms())
                });
                query.persistent(rows.len() == ROWS).execute(on).await.map(drop)
            })?;
        }
        Ok(())
    }

    async fn add_up_totals(&mut self, rows: &[(RowKey, UsageCount)]) -> Result<(), StoreError> {
        let mut totals: BTreeMap<(&str, i64, &str, &str), i64> = BTreeMap::new();
        for (row, count) in rows {
            let place = (
                count.organization_id.as_str(),
                row.hour,
                row.operation,
                row.outcome,
            );
            *totals.entry(place).or_default() += count.uses;
        }
        let totals: Vec<_> = totals.into_iter().collect();
        for some in totals.chunks(ROWS) {
            let sql = format!(
                "{INSERT_TOTAL}{}{ADD_UP_TOTAL}",
                self.rows_of_binds(some.len(), 5)
            );
            in_tx!(self, on => {
                let query = some.iter().fold(
                    sqlx::query(AssertSqlSafe(sql)),
                    |query, ((organization, hour, operation, outcome), uses)| {
                        query.bind(*organization).bind(*hour).bind(*operation).bind(*outcome).bind(*uses)
                    },
                );
                query.persistent(some.len() == ROWS).execute(on).await.map(drop)
            })?;
        }
        Ok(())
    }

    async fn record_addresses(
        &mut self,
        seen: &[((KeyId, String), UsageCount)],
    ) -> Result<Vec<NewAddress>, StoreError> {
        let mut new = Vec::new();
        for some in seen.chunks(ROWS) {
            let binds = self.rows_of_binds(some.len(), 2);
            let sql = format!("WITH asked (key_id, address) AS (VALUES {binds}) {LIST_ADDRESSES}");
            let known = in_tx!(self, on => {
                let query = sqlx::query_as::<_, (String, String)>(AssertSqlSafe(sql));
                let query = some.iter().fold(query, |query, ((key, address), _)| query.bind(key.as_str()).bind(address.as_str()));
                query.persistent(some.len() == ROWS).fetch_all(on).await
            })?;
            let known: HashSet<(String, String)> = known.into_iter().collect();
            let (mut kept, mut counted): (Vec<_>, HashMap<KeyId, i64>) = (Vec::new(), HashMap::new());
            for ((key, address), count) in some {
                if !known.contains(&(key.as_str().to_owned(), address.clone())) {
                    let before = match counted.get(key) {
                        Some(before) => *before,
                        None => self.count_addresses(&count.organization_id, *key).await?,
                    };
                    if before >= ADDRESSES_PER_KEY {
                        continue;
                    }
                    counted.insert(*key, before + 1);
                    new.push(NewAddress {
                        organization_id: count.organization_id.clone(),
                        key_id: *key,
                        address: address.clone(),
                        client: count.source.client().as_str().to_owned(),
                        at: count.first_at,
                        is_first_of_key: before == 0,
                    });
                }
                kept.push((*key, address.as_str(), count));
            }
            self.keep_addresses(&kept).await?;
        }
        Ok(new)
    }

    async fn count_addresses(
        &mut self,
        organization: &OrganizationId,
        key: KeyId,
    ) -> Result<i64, StoreError> {
        Ok(in_tx!(self, on => sqlx::query_scalar::<_, i64>(COUNT_ADDRESSES)
            .bind(organization.as_str()).bind(key.as_str()).fetch_one(on).await)?)
    }

    async fn keep_addresses(&mut self, kept: &[(KeyId, &str, &UsageCount)]) -> Result<(), StoreError> {
        if kept.is_empty() {
            return Ok(());
        }
        let sql = format!(
            "{INSERT_ADDRESS}{}{KEEP_LATER_ADDRESS}",
            self.rows_of_binds(kept.len(), 5)
        );
        in_tx!(self, on => {
            let query = kept.iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, (key, address, count)| {
                query
                    .bind(count.organization_id.as_str())
                    .bind(key.as_str())
                    .bind(*address)
                    .bind(count.first_at.as_unix_ms())
                    .bind(count.last_at.as_unix_ms())
            });
            query.persistent(kept.len() == ROWS).execute(on).await.map(drop)
        })?;
        Ok(())
    }
}

/// The one of two that a secret's number belongs to: attempts that held the secret, and those that knew the id alone.
fn rows_of_kind<T>([held, strange]: &mut [T; 2], secret: i64) -> &mut T {
    if secret == NO_SECRET { strange } else { held }
}

/// By what tells rows apart, each once, in the order of the primary key: two processes that write the same rows at once do
/// not wait for each other in a circle.
fn by_row(counts: impl Iterator<Item = UsageCount>) -> Vec<(RowKey, UsageCount)> {
    let mut rows: BTreeMap<RowKey, UsageCount> = BTreeMap::new();
    for count in counts {
        rows.entry(count.row())
            .and_modify(|known| known.absorb(&count))
            .or_insert(count);
    }
    rows.into_iter().collect()
}

/// From where keys were used with success.
fn addresses_of(counts: &[UsageCount]) -> Vec<((KeyId, String), UsageCount)> {
    let mut seen: BTreeMap<(KeyId, String), UsageCount> = BTreeMap::new();
    for count in counts {
        if count.outcome == Outcome::Accepted && count.source != Source::Other {
            seen.entry((count.key_id, count.source.address()))
                .and_modify(|known| known.absorb(count))
                .or_insert_with(|| count.clone());
        }
    }
    seen.into_iter().collect()
}

/// The last use of each secret, as far as these counts tell, in the order of their keys.
pub fn last_uses<'a>(counts: impl Iterator<Item = &'a UsageCount>) -> Vec<SecretUse> {
    let mut uses: BTreeMap<(KeyId, i64), SecretUse> = BTreeMap::new();
    for count in counts.filter(|count| count.outcome == Outcome::Accepted) {
        let last = || {
            Some(LastUse {
                operation: count.used_for.name().to_owned(),
                address: count.source.address(),
                client: count.source.client().as_str().to_owned(),
            })
        };
        match uses.entry((count.key_id, count.secret)) {
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(SecretUse {
                    organization_id: count.organization_id.clone(),
                    key_id: count.key_id,
                    number: count.secret,
                    first_used_at: count.first_at,
                    last_used_at: count.last_at,
                    last: last(),
                });
            }
            std::collections::btree_map::Entry::Occupied(mut known) => {
                let known = known.get_mut();
                known.first_used_at = known.first_used_at.min(count.first_at);
                if known.last_used_at < count.last_at {
                    known.last_used_at = count.last_at;
                    known.last = last();
                }
            }
        }
    }
    uses.into_values().collect()
}

#[cfg(test)]
mod tests {
    use keyward_testkit::engine::{Kind, Place};
    use keyward_testkit::on_both_databases;

    use super::*;
    use crate::keys::plan_of;

    async fn what_is_asked_for_is_found_by_its_key(kind: Kind) {
        let place = Place::new(kind);
        place.store().await.close().await;
        let details = format!("WITH asked (key_id, hour) AS (VALUES ('a', 1), ('b', 2)) {COUNT_DETAILS}");
        let addresses = format!("WITH asked (key_id, address) AS (VALUES ('a', 'x')) {LIST_ADDRESSES}");
        let new = format!(
            "WITH asked (place, key_id, hour, secret, operation, outcome, address, client) AS \
                (VALUES (0, 'a', 1, 1, 'identify', 'ok', 'x', 'y')) {FIND_NEW}"
        );
        let count = COUNT_ADDRESSES.replace("$1", "'o'").replace("$2", "'k'");
        for (sql, search, index) in [
            (count, "(key_id=?)", "key_address_pkey"),
            (details, "(key_id=? AND hour=?)", "key_usage_pkey"),
            (
                new,
                "(key_id=? AND hour=? AND secret=? AND operation=? AND outcome=? AND address=? AND client=?)",
                "key_usage_pkey",
            ),
            (addresses, "(key_id=? AND address=?)", "key_address_pkey"),
        ] {
            let plan = plan_of(&place, &sql).await;
            let wanted = if kind == Kind::Sqlite { search } else { index };
            assert!(plan.contains(wanted), "{plan}");
        }
    }

    on_both_databases!(what_is_asked_for_is_found_by_its_key);
}
