//! The two databases behind one face: connecting, beginning and ending transactions.
//!
//! The SQL is the same for both; two small macros compile each statement once per backend, which keeps sqlx's own
//! types inside this crate. Numbered binds (`$1`) are understood by both.

use std::path::PathBuf;
use std::time::Duration;

use sqlx::sqlite::{
    Sqlite, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use crate::error::StoreError;
use crate::postgres::Postgres;

const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
const SQLITE_READERS: u32 = 4;
/// 32 MiB, as SQLite wants them written. Uses of keys fall on pages all over the file; with its usual two it reads most of
/// them again for each.
const SQLITE_WRITE_CACHE: &str = "-32768";

/// Which database to open.
#[derive(Clone)]
pub enum Database {
    /// A file; it is created when it is not there.
    Sqlite(PathBuf),
    /// A server, or several of which one takes writes, by URL. The URL can hold a password and is never printed.
    Postgres(String),
}

impl std::fmt::Debug for Database {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(path) => write!(formatter, "Sqlite({})", path.display()),
            Self::Postgres(_) => formatter.write_str("Postgres"),
        }
    }
}

/// The open database. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pub(crate) backend: Backend,
}

#[derive(Clone)]
pub(crate) enum Backend {
    /// One writer, so that a write waits in our queue instead of failing with "busy"; several readers.
    Sqlite {
        write: SqlitePool,
        read: SqlitePool,
    },
    Postgres(Postgres),
}

/// A write transaction. Dropped without [`Tx::commit`], it rolls back.
pub struct Tx {
    pub(crate) inner: TxInner,
}

pub(crate) enum TxInner {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(sqlx::Transaction<'static, sqlx::Postgres>),
}

/// Runs `$body` with `$on` standing for the pool that reads.
macro_rules! on_read {
    ($store:expr, $on:ident => $body:expr) => {
        match &$store.backend {
            $crate::backend::Backend::Sqlite { read, .. } => {
                let $on = read;
                $body
            }
            $crate::backend::Backend::Postgres(postgres) => {
                let pool = postgres.pool();
                let $on = &pool;
                $body
            }
        }
    };
}

/// Runs `$body` with `$on` standing for the transaction's connection.
macro_rules! in_tx {
    ($tx:expr, $on:ident => $body:expr) => {
        match &mut $tx.inner {
            $crate::backend::TxInner::Sqlite(transaction) => {
                let $on = &mut **transaction;
                $body
            }
            $crate::backend::TxInner::Postgres(transaction) => {
                let $on = &mut **transaction;
                $body
            }
        }
    };
}

impl Store {
    /// Connects. Runs no migration: see [`Store::migrate`].
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where the database can't be opened; [`StoreError::NoPrimary`] names every PostgreSQL server that was
    /// tried, [`StoreError::Address`] says what is wrong with the address.
    pub async fn open(database: &Database) -> Result<Self, StoreError> {
        let backend = match database {
            Database::Sqlite(path) => {
                let options = SqliteConnectOptions::new()
                    .filename(path)
                    .create_if_missing(true)
                    .foreign_keys(true)
                    .journal_mode(SqliteJournalMode::Wal)
                    // FULL: a commit that was answered survives a power cut, not only a crash of the process.
                    .synchronous(SqliteSynchronous::Full)
                    .busy_timeout(ACQUIRE_TIMEOUT);
                let write = SqlitePoolOptions::new()
                    .max_connections(1)
                    .acquire_timeout(WRITE_TIMEOUT)
                    .connect_with(
                        options
                            .clone()
                            .pragma("cache_size", SQLITE_WRITE_CACHE)
                            // What a statement of many rows would need to be undone: else a third of all that is written goes there.
                            .pragma("temp_store", "MEMORY"),
                    )
                    .await?;
                let read = SqlitePoolOptions::new()
                    .max_connections(SQLITE_READERS)
                    .acquire_timeout(ACQUIRE_TIMEOUT)
                    .connect_with(options)
                    .await?;
                Backend::Sqlite { write, read }
            }
            Database::Postgres(url) => Backend::Postgres(Postgres::open(url).await?),
        };
        Ok(Self { backend })
    }

    /// Begins a write transaction. On SQLite it holds the one write lock from here on.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        let inner = match &self.backend {
            Backend::Sqlite { write, .. } => TxInner::Sqlite(write.begin_with("BEGIN IMMEDIATE").await?),
            Backend::Postgres(postgres) => {
                let pool = postgres.pool();
                // In a task: dropped while the server has begun and not said so yet, the connection would go back to the pool with an
                // open transaction in it.
                let begun = tokio::spawn(async move { pool.begin().await }).await;
                TxInner::Postgres(begun.map_err(|_| sqlx::Error::WorkerCrashed)??)
            }
        };
        Ok(Tx { inner })
    }

    /// Asks the database for a sign of life.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn ping(&self) -> Result<(), StoreError> {
        on_read!(self, on => sqlx::query("SELECT 1").execute(on).await.map(drop))?;
        Ok(())
    }

    /// Waits for running statements and closes every connection.
    pub async fn close(&self) {
        match &self.backend {
            Backend::Sqlite { write, read } => {
                read.close().await;
                write.close().await;
            }
            Backend::Postgres(postgres) => postgres.close().await,
        }
    }

    /// `sqlite` or `postgresql`, for people.
    pub const fn kind(&self) -> &'static str {
        match self.backend {
            Backend::Sqlite { .. } => "sqlite",
            Backend::Postgres(_) => "postgresql",
        }
    }
}

impl Tx {
    /// Commits.
    ///
    /// # Errors
    /// [`StoreError::OutcomeUnknown`]: whoever wrote has to look before saying anything.
    pub async fn commit(self) -> Result<(), StoreError> {
        match self.inner {
            TxInner::Sqlite(transaction) => transaction.commit().await,
            TxInner::Postgres(transaction) => transaction.commit().await,
        }
        .map_err(StoreError::OutcomeUnknown)
    }

    /// Rolls back and waits for it; dropping does the same without waiting.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; the transaction did not take effect then either.
    pub async fn rollback(self) -> Result<(), StoreError> {
        match self.inner {
            TxInner::Sqlite(transaction) => transaction.rollback().await?,
            TxInner::Postgres(transaction) => transaction.rollback().await?,
        }
        Ok(())
    }
}
