//! What was counted about one key, read: its history row by row, its sums, its curve, who used it.
//!
//! What concerns a whole organization is `usage_overview`'s. Every statement binds the organization first, reads between two
//! hours and no more rows than it is told; how wide the two may be apart is the engine's to say. A key need not exist any more:
//! its rows stay when it is deleted.
//!
//! `organization_id || ''` is the organization in a form that no index has: a planner that does not know the figures would rather
//! read the hours of all keys of the organization than those of the one key.

use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::time::Timestamp;
use keyward_core::usage::{Outcome, UsedFor, start_of_hour};
use sqlx::AssertSqlSafe;

use crate::backend::Store;
use crate::error::StoreError;

/// Newest hour first, along the primary key backwards; a place is what tells a row of a key apart from its others.
const HISTORY: &str = "SELECT hour, secret, operation, outcome, address, client, uses, first_at, last_at FROM key_usage \
    WHERE organization_id || '' = $1 AND key_id = $2 AND hour >= $3 \
    AND (hour, secret, operation, outcome, address, client) < ($4, $5, $6, $7, $8, $9) \
    AND ($10 = '' OR outcome = $10 OR ($10 = 'refused' AND outcome <> 'ok')) AND ($11 = '' OR operation = $11) \
    AND ($12 = '' OR address = $12) AND ($13 = '' OR client = $13) AND ($14 < 0 OR secret = $14) \
    ORDER BY key_id DESC, hour DESC, secret DESC, operation DESC, outcome DESC, address DESC, client DESC LIMIT $15";
/// As many different ones as a key can have: operations and outcomes are closed lists.
const SUMS: &str = "SELECT secret, operation, outcome, CAST(SUM(uses) AS BIGINT), MIN(first_at), MAX(last_at) FROM key_usage \
    WHERE organization_id || '' = $1 AND key_id = $2 AND hour >= $3 AND hour <= $4 \
    GROUP BY secret, operation, outcome ORDER BY secret DESC, operation, outcome LIMIT $5";

const ACCEPTED: &str = "SELECT operation, CAST(SUM(uses) AS BIGINT) FROM key_usage WHERE organization_id || '' = $1 AND key_id = $2 \
    AND hour >= $3 AND hour <= $4 AND outcome = 'ok' GROUP BY operation ORDER BY operation";

/// The hours that are read, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours {
    /// The first.
    pub from: i64,
    /// The last.
    pub until: i64,
}

/// What is asked of a key's history.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistoryFilter {
    /// With this outcome.
    pub outcome: Option<OutcomeFilter>,
    /// For this.
    pub used_for: Option<UsedFor>,
    /// From this address, as it is kept.
    pub address: Option<String>,
    /// By this client, as it is kept.
    pub client: Option<String>,
    /// With the secret of this number; 0 where only the key's id matched.
    pub secret: Option<i64>,
}

/// Which outcomes are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutcomeFilter {
    /// This one.
    One(Outcome),
    /// Every refusal.
    Refused,
}

/// One thing that happened to a key within an hour, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageRow {
    /// Hours of Unix time.
    pub hour: i64,
    /// The number of the secret; 0 where only the key's id matched.
    pub secret: i64,
    /// `identify`, or the operation's name.
    pub operation: String,
    /// `ok`, or the refusal's code.
    pub outcome: String,
    /// An IP address, `unknown` or `(other)`.
    pub address: String,
    /// What the client called itself.
    pub client: String,
    /// How often.
    pub uses: i64,
    /// First.
    pub first_at: Timestamp,
    /// Last.
    pub last_at: Timestamp,
}

/// Where a page of a history begins: before this row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryPlace {
    /// Hours of Unix time.
    pub hour: i64,
    /// The number of the secret.
    pub secret: i64,
    /// `identify`, or the operation's name.
    pub operation: String,
    /// `ok`, or the refusal's code.
    pub outcome: String,
    /// The address.
    pub address: String,
    /// The client.
    pub client: String,
}

/// How often a secret was used for something, with which outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageSum {
    /// The number of the secret; 0 where only the key's id matched.
    pub secret: i64,
    /// `identify`, or the operation's name.
    pub operation: String,
    /// `ok`, or the refusal's code.
    pub outcome: String,
    /// How often.
    pub uses: i64,
    /// First.
    pub first_at: Timestamp,
    /// Last.
    pub last_at: Timestamp,
}

/// How long one point of a curve is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// An hour.
    Hour,
    /// A day of UTC.
    Day,
}

impl Step {
    /// In hours.
    pub const fn hours(self) -> i64 {
        match self {
            Self::Hour => 1,
            Self::Day => 24,
        }
    }
}

/// A point of a curve. Without uses there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsagePoint {
    /// When it begins.
    pub at: Timestamp,
    /// How often keys were accepted.
    pub accepted: i64,
    /// How often they were refused.
    pub refused: i64,
    /// How often only the key's id matched; for an organization these are among the refused.
    pub only_id_matched: i64,
}

/// Whom uses are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// The clients' names.
    Clients,
    /// The callers' addresses.
    Addresses,
}

impl Of {
    pub(crate) const fn column(self) -> &'static str {
        match self {
            Self::Clients => "client",
            Self::Addresses => "address",
        }
    }
}

/// A client or an address, and what it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopEntry {
    /// The client or the address.
    pub name: String,
    /// How often it was accepted.
    pub accepted: i64,
    /// How often it was refused.
    pub refused: i64,
    /// How many keys it used or tried.
    pub keys: i64,
    /// When last.
    pub last_at: Timestamp,
}

impl UsageRow {
    /// Where it stands.
    pub fn place(&self) -> HistoryPlace {
        HistoryPlace {
            hour: self.hour,
            secret: self.secret,
            operation: self.operation.clone(),
            outcome: self.outcome.clone(),
            address: self.address.clone(),
            client: self.client.clone(),
        }
    }
}

impl HistoryPlace {
    /// Before which every row up to `hour` lies.
    pub const fn after_hour(hour: i64) -> Self {
        Self {
            hour: hour.saturating_add(1),
            secret: -1,
            operation: String::new(),
            outcome: String::new(),
            address: String::new(),
            client: String::new(),
        }
    }
}

type HistoryRow = (i64, i64, String, String, String, String, i64, i64, i64);
type SumRow = (i64, String, String, i64, i64, i64);
pub(crate) type TopRow = (String, i64, i64, i64, i64);

impl Store {
    /// What happened to a key, newest hour first, before a place and not before the hour `from`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn usage_history(
        &self,
        organization: &OrganizationId,
        key: KeyId,
        filter: &HistoryFilter,
        (before, from): (&HistoryPlace, i64),
        limit: i64,
    ) -> Result<Vec<UsageRow>, StoreError> {
        let outcome = match filter.outcome {
            None => "",
            Some(OutcomeFilter::Refused) => "refused",
            Some(OutcomeFilter::One(outcome)) => outcome.name(),
        };
        let rows = on_read!(self, on => sqlx::query_as::<_, HistoryRow>(HISTORY)
            .bind(organization.as_str())
            .bind(key.as_str())
            .bind(from)
            .bind(before.hour)
            .bind(before.secret)
            .bind(before.operation.as_str())
            .bind(before.outcome.as_str())
            .bind(before.address.as_str())
            .bind(before.client.as_str())
            .bind(outcome)
            .bind(filter.used_for.map_or("", UsedFor::name))
            .bind(filter.address.as_deref().unwrap_or_default())
            .bind(filter.client.as_deref().unwrap_or_default())
            .bind(filter.secret.unwrap_or(-1))
            .bind(limit)
            .fetch_all(on)
            .await)?;
        let rows = rows.into_iter().map(
            |(hour, secret, operation, outcome, address, client, uses, first_at, last_at)| UsageRow {
                hour,
                secret,
                operation,
                outcome,
                address,
                client,
                uses,
                first_at: Timestamp::from_unix_ms(first_at),
                last_at: Timestamp::from_unix_ms(last_at),
            },
        );
        Ok(rows.collect())
    }

    /// How often each secret of a key was used for what, with which outcome.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn usage_sums(
        &self,
        organization: &OrganizationId,
        key: KeyId,
        hours: Hours,
        limit: i64,
    ) -> Result<Vec<UsageSum>, StoreError> {
        let rows = on_read!(self, on => sqlx::query_as::<_, SumRow>(SUMS)
            .bind(organization.as_str())
            .bind(key.as_str())
            .bind(hours.from)
            .bind(hours.until)
            .bind(limit)
            .fetch_all(on)
            .await)?;
        let sums = rows
            .into_iter()
            .map(|(secret, operation, outcome, uses, first_at, last_at)| UsageSum {
                secret,
                operation,
                outcome,
                uses,
                first_at: Timestamp::from_unix_ms(first_at),
                last_at: Timestamp::from_unix_ms(last_at),
            });
        Ok(sums.collect())
    }

    /// How often a key was accepted for what, by the operation's name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn accepted_uses(
        &self,
        organization: &OrganizationId,
        key: KeyId,
        hours: Hours,
    ) -> Result<Vec<(String, i64)>, StoreError> {
        Ok(on_read!(self, on => sqlx::query_as::<_, (String, i64)>(ACCEPTED)
                .bind(organization.as_str())
                .bind(key.as_str())
                .bind(hours.from)
                .bind(hours.until)
                .fetch_all(on)
                .await)?)
    }

    /// The curve of a key, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn usage_curve(
        &self,
        organization: &OrganizationId,
        key: KeyId,
        hours: Hours,
        step: Step,
    ) -> Result<Vec<UsagePoint>, StoreError> {
        let rows = on_read!(self, on => sqlx::query_as::<_, (i64, i64, i64, i64)>(AssertSqlSafe(curve_sql(step)))
            .bind(organization.as_str())
            .bind(key.as_str())
            .bind(hours.from)
            .bind(hours.until)
            .fetch_all(on)
            .await)?;
        Ok(points(rows, step))
    }

    /// Who used or tried a key most.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn usage_top(
        &self,
        organization: &OrganizationId,
        key: KeyId,
        of: Of,
        hours: Hours,
        limit: i64,
    ) -> Result<Vec<TopEntry>, StoreError> {
        let rows = on_read!(self, on => sqlx::query_as::<_, TopRow>(AssertSqlSafe(top_sql(of)))
            .bind(organization.as_str())
            .bind(key.as_str())
            .bind(hours.from)
            .bind(hours.until)
            .bind(limit)
            .fetch_all(on)
            .await)?;
        Ok(rows.into_iter().map(top_entry).collect())
    }
}

fn curve_sql(step: Step) -> String {
    format!(
        "SELECT hour / {hours}, \
         CAST(SUM(CASE WHEN outcome = 'ok' THEN uses ELSE 0 END) AS BIGINT), \
         CAST(SUM(CASE WHEN outcome <> 'ok' AND secret <> 0 THEN uses ELSE 0 END) AS BIGINT), \
         CAST(SUM(CASE WHEN outcome <> 'ok' AND secret = 0 THEN uses ELSE 0 END) AS BIGINT) \
         FROM key_usage WHERE organization_id || '' = $1 AND key_id = $2 AND hour >= $3 AND hour <= $4 \
         GROUP BY hour / {hours} ORDER BY hour / {hours}",
        hours = step.hours()
    )
}

fn top_sql(of: Of) -> String {
    let column = of.column();
    format!(
        "SELECT {column}, CAST(SUM(CASE WHEN outcome = 'ok' THEN uses ELSE 0 END) AS BIGINT), \
         CAST(SUM(CASE WHEN outcome <> 'ok' THEN uses ELSE 0 END) AS BIGINT), CAST(1 AS BIGINT), MAX(last_at) \
         FROM key_usage WHERE organization_id || '' = $1 AND key_id = $2 AND hour >= $3 AND hour <= $4 \
         GROUP BY {column} ORDER BY SUM(uses) DESC, {column} LIMIT $5"
    )
}

/// Rows of a number of steps since the start of Unix time, and how often what happened in it.
pub(crate) fn points(rows: Vec<(i64, i64, i64, i64)>, step: Step) -> Vec<UsagePoint> {
    let points = rows
        .into_iter()
        .map(|(slot, accepted, refused, only_id_matched)| UsagePoint {
            at: start_of_hour(slot.saturating_mul(step.hours())),
            accepted,
            refused,
            only_id_matched,
        });
    points.collect()
}

pub(crate) fn top_entry((name, accepted, refused, keys, last_at): TopRow) -> TopEntry {
    TopEntry {
        name,
        accepted,
        refused,
        keys,
        last_at: Timestamp::from_unix_ms(last_at),
    }
}

/// A statement with its binds written in, as far as a planner needs them: numbers where `numbers` says so, else texts.
#[cfg(test)]
pub(crate) fn written_in(sql: &str, binds: usize, numbers: &[usize]) -> String {
    (1..=binds).rev().fold(sql.to_owned(), |sql, at| {
        let value = if numbers.contains(&at) { "5" } else { "'x'" };
        sql.replace(&format!("${at}"), value)
    })
}

#[cfg(test)]
mod tests {
    use keyward_testkit::engine::{Kind, Place};
    use keyward_testkit::on_both_databases;

    use super::*;
    use crate::keys::plan_of;

    async fn a_key_is_read_along_its_own_rows(kind: Kind) {
        let place = Place::new(kind);
        place.store().await.close().await;
        let history = written_in(HISTORY, 15, &[3, 4, 5, 14, 15]);
        let plan = plan_of(&place, &history).await;
        let begins = ["(key_id=? AND hour>? AND (hour,secret", "(ROW(hour, secret"];
        assert!(begins.iter().any(|text| plan.contains(text)), "{plan}");
        assert!(!plan.contains("TEMP B-TREE") && !plan.contains("Sort"), "{plan}");
        for sql in [
            written_in(SUMS, 5, &[3, 4, 5]),
            written_in(ACCEPTED, 4, &[3, 4]),
            written_in(&curve_sql(Step::Day), 4, &[3, 4]),
            written_in(&top_sql(Of::Addresses), 5, &[3, 4, 5]),
        ] {
            let plan = plan_of(&place, &sql).await;
            let index = ["key_usage_pkey", "(key_id=? AND hour>? AND hour<?)"];
            assert!(index.iter().any(|text| plan.contains(text)), "{plan}");
        }
    }

    on_both_databases!(a_key_is_read_along_its_own_rows);
}
