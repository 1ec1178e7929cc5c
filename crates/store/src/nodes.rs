//! The nodes that serve one PostgreSQL database: their rows, as those who wait for them and those who look at them see them.
//!
//! A node writes its own row by its lease ([`crate::node_lease`]). Others write it only to say that it does not count any more, and
//! only once its lease is over by the database's clock, under the row's lock. Here is no waiting and no decision; on SQLite there
//! is one process, and nothing to see.

use sqlx::PgPool;

use crate::backend::{Backend, Store};
use crate::error::StoreError;
use crate::postgres_promises::commit_waits;

/// The database's clock, in milliseconds; not the transaction's beginning.
macro_rules! db_now {
    () => {
        "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"
    };
}
pub(crate) use db_now;

/// Which server this is: its cluster, and its timeline, which is the first part of the name of the log's file and another one after
/// a standby was promoted.
macro_rules! this_server {
    () => {
        "((SELECT CAST(system_identifier AS TEXT) FROM pg_control_system()) || '/' || \
         SUBSTR(pg_walfile_name(pg_current_wal_lsn()), 1, 8))"
    };
}
pub(crate) use this_server;

/// A lease has to be over for so long, by the database's clock, before others say so.
const GRACE_MS: i64 = 100;
/// How long the row of a node that does not count any more is kept, for people and for the heirs of its counts.
const KEPT_MS: i64 = 600_000;
/// Changes are kept for so long at least, also when every node knows them.
const FEED_KEPT_MS: i64 = 600_000;

const STANDINGS: &str = concat!(
    "SELECT c.value, n.id, n.applied, n.lapsed_at IS NULL AS counts, n.server IN ('', ",
    this_server!(),
    ") AND n.lease_until + $1 < ",
    db_now!(),
    " AS is_over, ",
    commit_waits!(),
    " AS survives_failover FROM change_counter c LEFT JOIN node n ON TRUE WHERE c.id = 1"
);
/// Of a row that its node renews just now nothing is known, and nothing is waited for. What the clock of a former server set is not
/// compared with this one's.
const LAPSE_OVERDUE: &str = concat!(
    "UPDATE node SET lapsed_at = ",
    db_now!(),
    " WHERE lapsed_at IS NULL AND id IN (SELECT id FROM node WHERE lapsed_at IS NULL AND server IN ('', ",
    this_server!(),
    ") AND lease_until + $1 < ",
    db_now!(),
    " FOR UPDATE SKIP LOCKED)"
);
const OF_FORMER_SERVER: &str = concat!(
    "SELECT id, server FROM node WHERE lapsed_at IS NULL AND server NOT IN ('', ",
    this_server!(),
    ")"
);
const LAPSE_OF_FORMER_SERVER: &str = concat!(
    "UPDATE node SET lapsed_at = ",
    db_now!(),
    " WHERE lapsed_at IS NULL AND id IN (SELECT id FROM node WHERE lapsed_at IS NULL AND id = ANY($1) AND server NOT IN ('', ",
    this_server!(),
    ") FOR UPDATE SKIP LOCKED)"
);
const REMOVE: &str = "DELETE FROM node WHERE id = $1";
const REMOVE_OLD: &str = concat!("DELETE FROM node WHERE lapsed_at + $1 < ", db_now!());
const LIST: &str = concat!(
    "SELECT n.id, n.name, n.version, n.started_at AS started_at_ms, n.applied, c.value AS last_change, n.lease_until - ",
    db_now!(),
    " AS lease_ms, n.lapsed_at AS lapsed_at_ms, n.clock_offset_ms FROM node n, change_counter c WHERE c.id = 1 ORDER BY n.started_at, n.id"
);
const COUNT_OTHERS: &str = "SELECT COUNT(*) FROM node WHERE lapsed_at IS NULL AND id <> $1";
/// Slots of nodes whose counts are theirs yet.
const LIVE_SLOTS: &str = "SELECT slot FROM node";
/// "keyward" in a PostgreSQL advisory lock's number: what versions that served a database alone hold.
const ALONE: i64 = 0x006b_6579_7761_7264;
const IS_SERVED_ALONE: &str = "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted \
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
    AND ((classid::bigint << 32) | objid::bigint) = $1)";

/// How far a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStanding {
    /// The node's id.
    pub id: String,
    /// The change up to which it knows everything.
    pub applied: i64,
    /// Whether its lease is over by the clock that set its end.
    pub is_over: bool,
}

/// How far the nodes that count are, all at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standings {
    /// The last change.
    pub last_change: i64,
    /// The nodes that count.
    pub nodes: Vec<NodeStanding>,
    /// The ids of those that do not count any more.
    pub lapsed: Vec<String>,
    /// Whether a commit waits for a standby, so that what was acknowledged outlives the primary.
    pub survives_failover: bool,
}

/// A node as people see it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct NodeRow {
    /// Its id, of this start of the process.
    pub id: String,
    /// What its operator calls it.
    pub name: String,
    /// The version of the program.
    pub version: String,
    /// When it started, by the database's clock, in milliseconds since 1970.
    pub started_at_ms: i64,
    /// The change up to which it knows everything; below 0 it is joining.
    pub applied: i64,
    /// The last change that there is.
    pub last_change: i64,
    /// For how long its lease runs yet, by the database's clock; negative: it is over.
    pub lease_ms: i64,
    /// Since when it does not count any more.
    pub lapsed_at_ms: Option<i64>,
    /// How far its clock is before the database's.
    pub clock_offset_ms: i64,
}

impl NodeRow {
    /// How many changes the node does not know.
    pub fn lag(&self) -> i64 {
        self.last_change.saturating_sub(self.applied.max(0))
    }
}

impl Store {
    /// Whether several nodes can serve this database.
    pub const fn can_have_nodes(&self) -> bool {
        matches!(self.backend, Backend::Postgres(_))
    }

    fn nodes(&self) -> Option<PgPool> {
        match &self.backend {
            Backend::Sqlite { .. } => None,
            Backend::Postgres(postgres) => Some(postgres.pool()),
        }
    }

    /// How far every node is.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn node_standings(&self) -> Result<Standings, StoreError> {
        type Row = (i64, Option<String>, Option<i64>, bool, Option<bool>, bool);
        let Some(pool) = self.nodes() else {
            return Ok(Standings::default());
        };
        let rows: Vec<Row> = sqlx::query_as(STANDINGS).bind(GRACE_MS).fetch_all(&pool).await?;
        let mut standings = Standings::default();
        for (last_change, id, applied, counts, is_over, survives_failover) in rows {
            standings.last_change = last_change;
            standings.survives_failover = survives_failover;
            let (Some(id), Some(applied)) = (id, applied) else {
                continue;
            };
            if counts {
                let is_over = is_over.unwrap_or_default();
                standings.nodes.push(NodeStanding { id, applied, is_over });
            } else {
                standings.lapsed.push(id);
            }
        }
        Ok(standings)
    }

    /// Counts out every node whose lease is over and that does not renew it just now.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn lapse_overdue_nodes(&self) -> Result<(), StoreError> {
        let Some(pool) = self.nodes() else { return Ok(()) };
        sqlx::query(LAPSE_OVERDUE).bind(GRACE_MS).execute(&pool).await?;
        Ok(())
    }

    /// The nodes that count and whose leases the clock of another server set, which was in use before this one, each with that server:
    /// when those are over can't be read here.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn nodes_of_former_server(&self) -> Result<Vec<(String, String)>, StoreError> {
        let Some(pool) = self.nodes() else {
            return Ok(Vec::new());
        };
        Ok(sqlx::query_as(OF_FORMER_SERVER).fetch_all(&pool).await?)
    }

    /// Counts those of them out that have not come to this server meanwhile. Whoever calls this has waited for as long as a lease runs
    /// since this server was in use.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn lapse_nodes_of_former_server(&self, ids: &[String]) -> Result<(), StoreError> {
        let Some(pool) = self.nodes() else { return Ok(()) };
        sqlx::query(LAPSE_OF_FORMER_SERVER)
            .bind(ids)
            .execute(&pool)
            .await?;
        Ok(())
    }

    /// As [`Store::lapse_overdue_nodes`], and removes the rows of those that were counted out long ago.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn tidy_nodes(&self) -> Result<(), StoreError> {
        self.lapse_overdue_nodes().await?;
        let Some(pool) = self.nodes() else { return Ok(()) };
        sqlx::query(REMOVE_OLD).bind(KEPT_MS).execute(&pool).await?;
        Ok(())
    }

    /// Removes a node's row: it serves nothing any more.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn remove_node(&self, id: &str) -> Result<(), StoreError> {
        let Some(pool) = self.nodes() else { return Ok(()) };
        sqlx::query(REMOVE).bind(id).execute(&pool).await?;
        Ok(())
    }

    /// The nodes, in the order in which they started.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list_nodes(&self) -> Result<Vec<NodeRow>, StoreError> {
        let Some(pool) = self.nodes() else {
            return Ok(Vec::new());
        };
        Ok(sqlx::query_as(LIST).fetch_all(&pool).await?)
    }

    /// How many nodes count, besides this one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn count_other_nodes(&self, id: &str) -> Result<i64, StoreError> {
        let Some(pool) = self.nodes() else { return Ok(0) };
        Ok(sqlx::query_scalar(COUNT_OTHERS).bind(id).fetch_one(&pool).await?)
    }

    /// The slots of nodes that have a row, and so may come back for what they counted.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn node_slots(&self) -> Result<Vec<i64>, StoreError> {
        let Some(pool) = self.nodes() else {
            return Ok(Vec::new());
        };
        Ok(sqlx::query_scalar(LIVE_SLOTS).fetch_all(&pool).await?)
    }

    /// Whether a version that serves a database alone does so with this one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn is_served_alone(&self) -> Result<bool, StoreError> {
        let Some(pool) = self.nodes() else {
            return Ok(false);
        };
        Ok(sqlx::query_scalar(IS_SERVED_ALONE)
            .bind(ALONE)
            .fetch_one(&pool)
            .await?)
    }

    /// Removes changes that every node knows and that are old; how many. `now_ms` is by the clock that wrote them.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn forget_changes(&self, now_ms: i64) -> Result<u64, StoreError> {
        let mut tx = self.begin().await?;
        let forgotten = tx.forget_changes(now_ms - FEED_KEPT_MS).await?;
        tx.commit().await?;
        Ok(forgotten)
    }
}
