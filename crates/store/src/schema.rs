//! Bringing the schema up to date, and refusing a database that is too new.
//!
//! sqlx takes a lock while it migrates (an advisory lock on PostgreSQL, the write transaction on SQLite), so two
//! starts at once are safe.

use std::time::Duration;

use keyward_core::condition::Conditions;
use sqlx::Connection as _;
use sqlx::migrate::{Migrate as _, MigrateError, Migrator};
use sqlx::postgres::PgConnection;

use crate::backend::{Backend, Store};
use crate::error::StoreError;

static MIGRATIONS: Migrator = {
    let mut migrator = sqlx::migrate!("../../migrations");
    // A newer binary may have added migrations that this one can live with; SCHEMA_OLDEST_BINARY says if not.
    migrator.ignore_missing = true;
    migrator
};

/// What this binary writes; compared with what the database asks for.
pub const SCHEMA_LEVEL: i64 = 4;
/// The oldest binary that can use a database migrated by this one. Level 1 does not know rate limits, and would let pass what
/// they hold back. Level 2 does not know second factors: rotating the keyring it would leave their seeds sealed under the version
/// that it drops, and nobody who has one could sign in any more. Level 3 serves a database alone, and tells no other node.
pub const SCHEMA_OLDEST_BINARY: i64 = 4;

const OLDEST_BINARY_SETTING: &str = "schema.oldest_binary";

const EXPIRIES_FILLED: &str = "schema.expiries_filled";
const LIST_CONDITIONS: &str = "SELECT organization_id, id, conditions FROM secret_key \
    WHERE expires_at IS NULL AND conditions LIKE '%expires_at%'";
const FILL_EXPIRY: &str = "UPDATE secret_key SET expires_at = $3 WHERE organization_id = $1 AND id = $2";

const HAS_TABLES_SQLITE: &str =
    "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'setting'";
const HAS_TABLES_POSTGRES: &str =
    "SELECT count(*) FROM pg_catalog.pg_class WHERE oid = to_regclass('setting')";

/// Waiting for another start that migrates may take any time, and so may a migration.
const WAIT_FOR_MIGRATION: &str = "SET statement_timeout = 0; SET lock_timeout = 0; \
    SET idle_in_transaction_session_timeout = '60s'";
/// A statement that waits for a table holds up everybody who comes after it, so it waits for a moment and is tried again.
const WAIT_FOR_TABLES: &str = "SET lock_timeout = '1s'";
const TABLE_ATTEMPTS: u32 = 60;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(250);
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// Migrates while other processes work with the database: one start at a time, and none holds up running processes for long.
async fn migrate_beside_others(connection: &mut PgConnection) -> Result<(), MigrateError> {
    sqlx::raw_sql(WAIT_FOR_MIGRATION)
        .execute(&mut *connection)
        .await?;
    // The lock that the migrator itself takes; a session may take it more than once.
    connection.lock().await?;
    sqlx::raw_sql(WAIT_FOR_TABLES).execute(&mut *connection).await?;
    let mut attempts = 0;
    loop {
        attempts += 1;
        match MIGRATIONS.run(&mut *connection).await {
            Err(error) if attempts < TABLE_ATTEMPTS && is_lock_refused(&error) => {
                tracing::info!("a migration waits for a table that is in use");
                // The migrator gave its own hold on the lock back only if it came to its end.
                tokio::time::sleep(BETWEEN_ATTEMPTS).await;
            }
            outcome => return outcome,
        }
    }
}

fn is_lock_refused(error: &MigrateError) -> bool {
    let (MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) = error else {
        return false;
    };
    let code = error.as_database_error().and_then(|database| database.code());
    code.is_some_and(|code| code == LOCK_NOT_AVAILABLE)
}

impl Store {
    /// Whether the database was ever migrated; a new one has no tables to ask.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn is_migrated(&self) -> Result<bool, StoreError> {
        // The catalogues are the one thing that the two databases do not share.
        let tables: i64 = match &self.backend {
            Backend::Sqlite { read, .. } => sqlx::query_scalar(HAS_TABLES_SQLITE).fetch_one(read).await?,
            Backend::Postgres(postgres) => {
                sqlx::query_scalar(HAS_TABLES_POSTGRES)
                    .fetch_one(&postgres.pool())
                    .await?
            }
        };
        Ok(tables > 0)
    }

    /// Runs the migrations that are missing.
    ///
    /// # Errors
    /// [`StoreError::Schema`] if the database was migrated by a binary that this one is too old for, or if a
    /// migration failed (nothing of it stays then).
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let outcome = match &self.backend {
            Backend::Sqlite { write, .. } => MIGRATIONS.run(write).await,
            Backend::Postgres(postgres) => {
                let mut connection = postgres.connect().await?;
                let outcome = migrate_beside_others(&mut connection).await;
                connection.close().await?;
                outcome
            }
        };
        outcome.map_err(|error| StoreError::Schema(format!("a migration failed: {error}")))?;
        let asked = self.setting(OLDEST_BINARY_SETTING).await?;
        let oldest = asked.and_then(|text| text.parse::<i64>().ok()).unwrap_or(0);
        if oldest > SCHEMA_LEVEL {
            return Err(StoreError::Schema(format!(
                "the database needs a Keyward of schema level {oldest} or later; this one has {SCHEMA_LEVEL}: \
                 start the newer binary"
            )));
        }
        if oldest < SCHEMA_OLDEST_BINARY {
            self.put_setting(OLDEST_BINARY_SETTING, &SCHEMA_OLDEST_BINARY.to_string())
                .await?;
        }
        self.fill_expiries().await
    }

    /// Repeats the expiry of keys that an older binary made in its column, once.
    async fn fill_expiries(&self) -> Result<(), StoreError> {
        if self.setting(EXPIRIES_FILLED).await?.is_some() {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        let rows = in_tx!(tx, on =>
            sqlx::query_as::<_, (String, String, String)>(LIST_CONDITIONS).fetch_all(on).await)?;
        for (organization, id, conditions) in rows {
            // What can't be read here can't be read by a verify either, which says so.
            let Ok(conditions) = serde_json::from_str::<Conditions>(&conditions) else {
                continue;
            };
            let Some(end) = conditions.expires_at else {
                continue;
            };
            in_tx!(tx, on => sqlx::query(FILL_EXPIRY)
                .bind(&organization).bind(&id).bind(end.as_unix_ms()).execute(on).await.map(drop))?;
        }
        tx.commit().await?;
        self.put_setting(EXPIRIES_FILLED, "yes").await
    }
}
