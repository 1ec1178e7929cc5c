//! A node's lease on PostgreSQL: its row, and the transaction that renews it, on a connection of its own.
//!
//! Joining is two transactions. The first commits a row that knows nothing, so that every writer that commits later waits for it;
//! the second is an ordinary renewal, which reads how far the changes are and for which the node empties its memory. With one,
//! a writer that commits between the reading and the commit would see no row to wait for.
//!
//! A renewal reads the feed in a statement after the one that locked its row, and numbers follow the order of commits, so that it
//! misses none. What is done with the changes, and when, is the engine's (`node_keeper`).

use std::time::Duration;

use keyward_core::ids::{KeyId, OrganizationId};
use sqlx::postgres::{PgConnection, Postgres};
use sqlx::{Connection as _, Transaction};

use crate::backend::{Backend, Store};
use crate::error::StoreError;
use crate::nodes::{db_now, this_server};

/// More changes than this are not read: an empty memory is sooner filled.
pub const MAX_CHANGES: usize = 10_000;
/// The server gives up for a node that went away in the middle, so that its next connection can go on.
const SESSION: &str =
    "SET statement_timeout = 1000; SET lock_timeout = 1000; SET idle_in_transaction_session_timeout = 1000";

const JOIN: &str = concat!(
    "INSERT INTO node (id, slot, name, version, started_at, applied, lease_until, lapsed_at, clock_offset_ms, server) \
     VALUES ($1, $2, $3, $4, ",
    db_now!(),
    ", -1, ",
    db_now!(),
    " + $5, NULL, 0, ",
    this_server!(),
    ") ON CONFLICT (id) DO UPDATE SET applied = -1, lapsed_at = NULL, lease_until = EXCLUDED.lease_until, \
     server = EXCLUDED.server"
);
const LOCK: &str = "SELECT applied, lapsed_at IS NOT NULL FROM node WHERE id = $1 FOR UPDATE";
const READ: &str = concat!(
    "SELECT value AS last_change, epoch, forgotten, ",
    db_now!(),
    " AS database_ms, ",
    this_server!(),
    " AS server, NOT EXISTS (SELECT 1 FROM node o, node n WHERE n.id = $1 AND o.lapsed_at IS NULL \
     AND (o.started_at, o.id) < (n.started_at, n.id)) AS is_first FROM change_counter WHERE id = 1"
);
const CHANGES: &str = "SELECT organization_id, key_id, version FROM change_feed \
    WHERE number > $1 AND number <= $2 ORDER BY number LIMIT $3";
const LEAVE: &str = concat!(
    "UPDATE node SET lapsed_at = ",
    db_now!(),
    " WHERE id = $1 AND lapsed_at IS NULL"
);
const RENEW: &str = concat!(
    "UPDATE node SET applied = $2, clock_offset_ms = $3, server = $5, lease_until = ",
    db_now!(),
    " + $4 WHERE id = $1"
);

/// Who joins.
#[derive(Debug, Clone)]
pub struct NewNode {
    /// Its id: another one with every start of the process.
    pub id: String,
    /// Its place among those that count uses.
    pub slot: i64,
    /// What its operator calls it.
    pub name: String,
    /// The version of the program.
    pub version: String,
}

/// A change of a key or of an organization, as the feed tells it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ChangeRow {
    /// The organization.
    pub organization_id: String,
    /// The key; empty where the organization itself was changed.
    pub key_id: String,
    /// The version after the change.
    pub version: i64,
}

/// What a row of the feed is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// A key.
    Key(KeyId),
    /// What decides about an organization.
    Organization(OrganizationId),
}

impl ChangeRow {
    /// What was changed.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`].
    pub fn subject(&self) -> Result<Changed, StoreError> {
        let unreadable = StoreError::Unreadable {
            what: "row of the change feed",
        };
        let subject = if self.key_id.is_empty() {
            self.organization_id.parse().map(Changed::Organization).ok()
        } else {
            self.key_id.parse().map(Changed::Key).ok()
        };
        subject.ok_or(unreadable)
    }
}

/// The connection on which a node keeps its lease.
pub struct NodeConnection {
    connection: PgConnection,
    id: String,
}

/// A renewal under way. Dropped without [`Renewal::commit`], the lease is as it was.
pub struct Renewal<'a> {
    transaction: Transaction<'a, Postgres>,
    id: &'a str,
    /// The change up to which the row says that the node knows everything.
    pub applied: i64,
    /// What was read after the row was locked.
    pub seen: Seen,
}

/// How the database stands, as a renewal found it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Seen {
    /// The last change.
    pub last_change: i64,
    /// The epoch.
    pub epoch: i64,
    /// Changes up to this may not be in the feed any more.
    pub forgotten: i64,
    /// The database's clock, in milliseconds since 1970.
    pub database_ms: i64,
    /// Which database server this is, and which of its histories.
    pub server: String,
    /// Whether no node that counts started before this one.
    pub is_first: bool,
}

impl Store {
    /// Connects for a node; `None` on SQLite.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn connect_node(&self, id: &str) -> Result<Option<NodeConnection>, StoreError> {
        let Backend::Postgres(postgres) = &self.backend else {
            return Ok(None);
        };
        let mut connection = postgres.connect().await?;
        sqlx::raw_sql(SESSION).execute(&mut connection).await?;
        Ok(Some(NodeConnection {
            connection,
            id: id.to_owned(),
        }))
    }
}

impl NodeConnection {
    /// Makes or revives the node's row, which knows nothing: from the commit on writers wait for it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn join(&mut self, node: &NewNode, lease: Duration) -> Result<(), StoreError> {
        sqlx::query(JOIN)
            .bind(&node.id)
            .bind(node.slot)
            .bind(&node.name)
            .bind(&node.version)
            .bind(milliseconds(lease))
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }

    /// Begins a renewal: locks the node's row and reads how the database stands; `None` if the node does not count any more and has
    /// to join again.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn begin_renewal(&mut self) -> Result<Option<Renewal<'_>>, StoreError> {
        let mut transaction = self.connection.begin().await?;
        let row: Option<(i64, bool)> = sqlx::query_as(LOCK)
            .bind(&self.id)
            .fetch_optional(&mut *transaction)
            .await?;
        let Some((applied, false)) = row else {
            transaction.rollback().await?;
            return Ok(None);
        };
        let seen: Seen = sqlx::query_as(READ)
            .bind(&self.id)
            .fetch_one(&mut *transaction)
            .await?;
        Ok(Some(Renewal {
            transaction,
            id: &self.id,
            applied,
            seen,
        }))
    }

    /// Says that the node answers nothing from memory any more.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn leave(&mut self) -> Result<(), StoreError> {
        sqlx::query(LEAVE)
            .bind(&self.id)
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }

    /// Ends the session.
    pub async fn close(self) {
        // A connection that is gone already has nothing to end.
        let _ = self.connection.close().await;
    }
}

impl Renewal<'_> {
    /// The changes that the node does not know; `None` if they are too many.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn changes(&mut self) -> Result<Option<Vec<ChangeRow>>, StoreError> {
        if self.seen.last_change <= self.applied {
            return Ok(Some(Vec::new()));
        }
        let changes: Vec<ChangeRow> = sqlx::query_as(CHANGES)
            .bind(self.applied)
            .bind(self.seen.last_change)
            .bind(i64::try_from(MAX_CHANGES + 1).unwrap_or(i64::MAX))
            .fetch_all(&mut *self.transaction)
            .await?;
        Ok((changes.len() <= MAX_CHANGES).then_some(changes))
    }

    /// Says that everything up to the last change is applied, and sets the lease's end.
    ///
    /// # Errors
    /// [`StoreError`]: whether the lease was renewed is not known, and it must be taken as not renewed.
    pub async fn commit(mut self, clock_offset_ms: i64, lease: Duration) -> Result<(), StoreError> {
        sqlx::query(RENEW)
            .bind(self.id)
            .bind(self.seen.last_change)
            .bind(clock_offset_ms)
            .bind(milliseconds(lease))
            .bind(&self.seen.server)
            .execute(&mut *self.transaction)
            .await?;
        self.transaction
            .commit()
            .await
            .map_err(StoreError::OutcomeUnknown)
    }
}

fn milliseconds(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
