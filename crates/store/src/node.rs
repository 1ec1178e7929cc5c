//! The right to be the one process that writes keys to a database.
//!
//! SQLite's data folder is locked by the server; here the epoch is raised, which fences whoever held it before. On
//! PostgreSQL a session-level advisory lock on a connection of its own refuses a second node until nodes can work
//! together; the connection is asked again and again, and a lock that can't be confirmed is a lock that is lost.

use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

use crate::backend::{Backend, Store, Tx};
use crate::error::StoreError;

/// "keyward" in a PostgreSQL advisory lock's number.
const LOCK: i64 = 0x006b_6579_7761_7264;
const TRY_LOCK: &str = "SELECT pg_try_advisory_lock($1)";
const HOLDS_LOCK: &str = "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted \
    AND pid = pg_backend_pid() AND ((classid::bigint << 32) | objid::bigint) = $1)";
const IS_EPOCH: &str = "SELECT COUNT(*) FROM change_counter WHERE id = 1 AND epoch = $1";
const RAISE_EPOCH: &str = "UPDATE change_counter SET epoch = epoch + 1 WHERE id = 1 RETURNING epoch";

/// The right to write, as long as it is held.
pub struct WriterRight {
    epoch: i64,
    connection: Option<PgConnection>,
}

impl Store {
    /// Takes the right to write, if no other process holds it, and begins a new epoch.
    ///
    /// # Errors
    /// [`StoreError::NotTheWriter`] if another process holds it.
    pub async fn take_writer_right(&self) -> Result<WriterRight, StoreError> {
        let connection = match &self.backend {
            Backend::Sqlite { .. } => None,
            Backend::Postgres(postgres) => {
                let mut connection = postgres.connect().await?;
                let is_ours: bool = sqlx::query_scalar(TRY_LOCK)
                    .bind(LOCK)
                    .fetch_one(&mut connection)
                    .await?;
                if !is_ours {
                    return Err(StoreError::NotTheWriter);
                }
                Some(connection)
            }
        };
        let mut tx = self.begin().await?;
        let epoch = tx.raise_epoch().await?;
        tx.commit().await?;
        Ok(WriterRight { epoch, connection })
    }
}

impl Tx {
    /// Begins a new epoch; writes of the former one are refused from the commit on.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn raise_epoch(&mut self) -> Result<i64, StoreError> {
        Ok(in_tx!(self, on => sqlx::query_scalar::<_, i64>(RAISE_EPOCH).fetch_one(on).await)?)
    }

    /// Refuses to go on if `epoch` is over. For writes that leave no feed row; a write that does is fenced by its
    /// counter. To be asked last, so that the order of locks is that of every write.
    ///
    /// # Errors
    /// [`StoreError::NotTheWriter`]: then the whole transaction must not commit.
    pub async fn fence(&mut self, epoch: i64) -> Result<(), StoreError> {
        let found =
            in_tx!(self, on => sqlx::query_scalar::<_, i64>(IS_EPOCH).bind(epoch).fetch_one(on).await)?;
        if found == 1 {
            Ok(())
        } else {
            Err(StoreError::NotTheWriter)
        }
    }
}

impl WriterRight {
    /// The epoch that this right's writes belong to.
    pub const fn epoch(&self) -> i64 {
        self.epoch
    }

    /// Whether the right has to be confirmed from time to time: it can be lost only on PostgreSQL.
    pub const fn can_be_lost(&self) -> bool {
        self.connection.is_some()
    }

    /// Asks the database whether the lock is still held by this connection.
    ///
    /// # Errors
    /// [`StoreError::NotTheWriter`] if it is not, [`StoreError::Unavailable`] if nobody can say.
    pub async fn confirm(&mut self) -> Result<(), StoreError> {
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        let is_held: bool = sqlx::query_scalar(HOLDS_LOCK)
            .bind(LOCK)
            .fetch_one(connection)
            .await?;
        if is_held {
            Ok(())
        } else {
            Err(StoreError::NotTheWriter)
        }
    }

    /// Gives the right back.
    pub async fn release(self) {
        if let Some(connection) = self.connection {
            // The lock goes with the session; a connection that is already gone has released it.
            let _ = connection.close().await;
        }
    }
}
