//! What a PostgreSQL server promises about writes that were acknowledged, for `keyward doctor`.
//!
//! Everything is read through the connections that the server uses, so that a pooler in between shows. Nothing is changed.

use std::time::Duration;

use sqlx::postgres::{PgListener, PgPool};

use crate::backend::{Backend, Store, Tx, TxInner};
use crate::error::StoreError;

const UNSAFE_SETTINGS: &str = "SELECT name FROM pg_catalog.pg_settings \
    WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND setting = 'off' ORDER BY name";
/// Whether a commit of this session waits for a standby.
macro_rules! commit_waits {
    () => {
        "(pg_catalog.current_setting('synchronous_standby_names') ~ '[^[:space:]]' \
         AND pg_catalog.current_setting('synchronous_commit') IN ('on', 'remote_apply'))"
    };
}
pub(crate) use commit_waits;
const COMMIT_WAITS: &str = concat!("SELECT ", commit_waits!());
/// A user without the right to see other sessions gets rows without a state.
const STANDBYS: &str = "SELECT sync_state FROM pg_catalog.pg_stat_replication";
const IDLE_TIMEOUT: &str = "SELECT pg_catalog.current_setting('idle_in_transaction_session_timeout')";
const NOTIFY: &str = "SELECT pg_catalog.pg_notify($1, '')";
const CHANNEL: &str = "keyward_doctor";
const WAKE_PATIENCE: Duration = Duration::from_secs(2);
/// A message in the log alone, and a commit that waits for the synchronous standby as every other.
const MARK_LOG: &str = "SELECT pg_catalog.pg_logical_emit_message(true, 'keyward', '')";

/// What was found out about the database.
#[derive(Debug)]
pub struct Promises {
    /// `host:port` of the server in use.
    pub host: String,
    /// Settings under which a crash may lose what was acknowledged.
    pub unsafe_settings: Vec<String>,
    /// Who else has what was acknowledged.
    pub standby: Standby,
    /// Whether the time-outs that Keyward asks for are in force; a pooler may swallow them.
    pub has_session_settings: bool,
    /// Whether one session hears what another one notifies of.
    pub wakes: bool,
}

/// Whether an acknowledged write is on a second server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standby {
    /// No: no standby is waited for.
    Asynchronous,
    /// Yes: a commit waits for this many at the least one.
    Synchronous,
    /// A commit waits for a standby, and none is connected: writes do not end.
    Missing,
    /// A commit waits for a standby; who is connected can't be seen by this user.
    Unseen,
}

impl Standby {
    /// Every one of them.
    pub const ALL: [Self; 4] = [Self::Asynchronous, Self::Synchronous, Self::Missing, Self::Unseen];

    /// Its name in replies.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Asynchronous => "asynchronous",
            Self::Synchronous => "synchronous",
            Self::Missing => "missing",
            Self::Unseen => "unseen",
        }
    }
}

impl Store {
    /// Asks a PostgreSQL server what it promises; `None` on SQLite.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn promises(&self) -> Result<Option<Promises>, StoreError> {
        let Backend::Postgres(postgres) = &self.backend else {
            return Ok(None);
        };
        let pool = postgres.pool();
        let unsafe_settings = sqlx::query_scalar(UNSAFE_SETTINGS).fetch_all(&pool).await?;
        let idle_timeout: String = sqlx::query_scalar(IDLE_TIMEOUT).fetch_one(&pool).await?;
        Ok(Some(Promises {
            host: postgres.host(),
            unsafe_settings,
            standby: standby(&pool).await?,
            has_session_settings: idle_timeout == "2s",
            wakes: wakes(&pool).await,
        }))
    }

    /// Whether an acknowledged write is on a second server; `None` on SQLite.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn standby(&self) -> Result<Option<Standby>, StoreError> {
        match &self.backend {
            Backend::Sqlite { .. } => Ok(None),
            Backend::Postgres(postgres) => Ok(Some(standby(&postgres.pool()).await?)),
        }
    }

    /// Returns when everything that can be read at this moment is also on the synchronous standby, if there is one. A commit whose
    /// answer was lost may be visible after a restart of the server without having got there.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn wait_for_standby(&self) -> Result<(), StoreError> {
        if let Backend::Postgres(postgres) = &self.backend {
            sqlx::query(MARK_LOG).execute(&postgres.pool()).await?;
        }
        Ok(())
    }
}

impl Tx {
    /// Ends a transaction that changed nothing, and returns when what it read is on the synchronous standby too, if there is one: for
    /// what is answered as if it had been done now. It is the server that was read from that is waited for, whatever is in use by then.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn end_seen_by_standby(self) -> Result<(), StoreError> {
        match self.inner {
            TxInner::Sqlite(transaction) => transaction.rollback().await?,
            TxInner::Postgres(mut transaction) => {
                sqlx::query(MARK_LOG).execute(&mut *transaction).await?;
                transaction.commit().await?;
            }
        }
        Ok(())
    }
}

async fn standby(pool: &PgPool) -> Result<Standby, StoreError> {
    if !sqlx::query_scalar(COMMIT_WAITS).fetch_one(pool).await? {
        return Ok(Standby::Asynchronous);
    }
    let states: Vec<Option<String>> = sqlx::query_scalar(STANDBYS).fetch_all(pool).await?;
    let is_one = |state: &Option<String>| matches!(state.as_deref(), Some("sync" | "quorum"));
    Ok(if states.iter().any(is_one) {
        Standby::Synchronous
    } else if states.iter().any(Option::is_none) {
        Standby::Unseen
    } else {
        Standby::Missing
    })
}

async fn wakes(pool: &PgPool) -> bool {
    let heard = async {
        let mut listener = PgListener::connect_with(pool).await?;
        listener.listen(CHANNEL).await?;
        sqlx::query(NOTIFY).bind(CHANNEL).execute(pool).await?;
        listener.recv().await
    };
    matches!(tokio::time::timeout(WAKE_PATIENCE, heard).await, Ok(Ok(_)))
}
