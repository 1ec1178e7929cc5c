//! A logical copy of every table, the same for both databases: JSON Lines, one row a line.
//!
//! Written from one snapshot while everything goes on, and read into an empty database of either kind. The first
//! line says what it is, the last one counts rows and hashes all before it, so that a cut copy is noticed. The keyring
//! is not in it: a backup alone opens nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use futures_util::StreamExt as _;
use keyward_core::audit::NO_ORGANIZATION;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, Row as _};
use tokio::io::{AsyncBufReadExt, AsyncWrite, AsyncWriteExt as _};

use crate::audit::BEGIN_DATABASE;
use crate::backend::{Backend, Store, Tx, TxInner};
use crate::error::StoreError;
use crate::schema::SCHEMA_LEVEL;

const FORMAT: u32 = 1;
/// For the one transaction of a backup or a restore, on PostgreSQL.
const UNBOUNDED: [&str; 2] = [
    "SET LOCAL statement_timeout = 0",
    "SET LOCAL idle_in_transaction_session_timeout = 0",
];

/// How a column's values are written.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Number,
    Bytes,
}

struct Table {
    name: &'static str,
    columns: &'static [(&'static str, Kind)],
    /// The primary key, in the order of its columns above.
    order: &'static [&'static str],
}

use Kind::{Bytes as B, Number as N, Text as T};

/// Every table but [`LEFT_OUT`], parents before children; a later version's columns stand at the end. A test compares this with
/// the schema.
const TABLES: &[Table] = &[
    Table {
        name: "setting",
        columns: &[("name", T), ("value", T)],
        order: &["name"],
    },
    Table {
        name: "change_counter",
        columns: &[("id", N), ("value", N), ("epoch", N), ("forgotten", N)],
        order: &["id"],
    },
    Table {
        name: "organization",
        columns: &[
            ("id", T),
            ("version", N),
            ("state", T),
            ("name", T),
            ("preference", T),
            ("attributes", T),
            ("last_access_at", N),
            ("created_at", N),
            ("updated_at", N),
            ("settings", T),
            ("deleted_by", T),
            ("deleted_at", N),
            ("purge_at", N),
            ("purge_begun_at", N),
        ],
        order: &["id"],
    },
    Table {
        name: "purged_organization",
        columns: &[("id", T), ("purged_at", N)],
        order: &["id"],
    },
    Table {
        name: "person",
        columns: &[("id", T), ("email", T), ("created_at", N)],
        order: &["id"],
    },
    Table {
        name: "membership",
        columns: &[
            ("organization_id", T),
            ("person_id", T),
            ("role", T),
            ("created_at", N),
        ],
        order: &["organization_id", "person_id"],
    },
    Table {
        name: "invitation",
        columns: &[
            ("organization_id", T),
            ("id", T),
            ("email", T),
            ("role", T),
            ("digest", B),
            ("invited_by", T),
            ("created_at", N),
            ("expires_at", N),
            ("end_reason", T),
            ("ended_at", N),
        ],
        order: &["organization_id", "id"],
    },
    Table {
        name: "secret_key",
        columns: &[
            ("id", T),
            ("organization_id", T),
            ("version", N),
            ("state", T),
            ("state_reason", T),
            ("deleted_at", N),
            ("scopes", N),
            ("level", T),
            ("rules", T),
            ("conditions", T),
            ("name", T),
            ("description", T),
            ("environment", T),
            ("created_by", T),
            ("created_at", N),
            ("updated_at", N),
            ("tags", T),
            ("search", T),
            ("expires_at", N),
            ("rotate_every_ms", N),
            ("rotated_at", N),
            ("rotation_due_at", N),
            ("due_told", N),
            ("responsible", T),
            ("expiry_told", N),
        ],
        order: &["id"],
    },
    Table {
        name: "secret",
        columns: &[
            ("key_id", T),
            ("number", N),
            ("life", T),
            ("valid_until", N),
            ("keyring_version", N),
            ("sealed", B),
            ("hint", T),
            ("created_at", N),
            ("grace_ms", N),
            ("ended_at", N),
        ],
        order: &["key_id", "number"],
    },
    Table {
        name: "management_token",
        columns: &[
            ("id", T),
            ("organization_id", T),
            ("version", N),
            ("name", T),
            ("rights", T),
            ("expires_at", N),
            ("state", T),
            ("deleted_at", N),
            ("keyring_version", N),
            ("sealed", B),
            ("hint", T),
            ("created_by", T),
            ("created_at", N),
            ("last_used_at", N),
        ],
        order: &["id"],
    },
    Table {
        name: "key_use",
        columns: &[("organization_id", T), ("key_id", T), ("last_used_at", N)],
        order: &["key_id"],
    },
    Table {
        name: "key_told",
        columns: &[("organization_id", T), ("key_id", T), ("kind", T), ("at", N)],
        order: &["key_id", "kind"],
    },
    Table {
        name: "secret_use",
        columns: &[
            ("organization_id", T),
            ("key_id", T),
            ("number", N),
            ("first_used_at", N),
            ("last_used_at", N),
            ("last_operation", T),
            ("last_address", T),
            ("last_client", T),
        ],
        order: &["key_id", "number"],
    },
    Table {
        name: "key_usage",
        columns: &[
            ("organization_id", T),
            ("key_id", T),
            ("hour", N),
            ("secret", N),
            ("operation", T),
            ("outcome", T),
            ("address", T),
            ("client", T),
            ("uses", N),
            ("first_at", N),
            ("last_at", N),
        ],
        order: &[
            "key_id",
            "hour",
            "secret",
            "operation",
            "outcome",
            "address",
            "client",
        ],
    },
    Table {
        name: "organization_usage",
        columns: &[
            ("organization_id", T),
            ("hour", N),
            ("operation", T),
            ("outcome", T),
            ("uses", N),
        ],
        order: &["organization_id", "hour", "operation", "outcome"],
    },
    Table {
        name: "key_address",
        columns: &[
            ("organization_id", T),
            ("key_id", T),
            ("address", T),
            ("first_at", N),
            ("last_at", N),
        ],
        order: &["key_id", "address"],
    },
    Table {
        name: "usage_journal",
        columns: &[("part", N), ("number", N), ("counts", T)],
        order: &["part", "number"],
    },
    Table {
        name: "usage_mark",
        columns: &[("id", N), ("number", N)],
        order: &["id"],
    },
    Table {
        name: "change_feed",
        columns: &[
            ("number", N),
            ("organization_id", T),
            ("key_id", T),
            ("version", N),
            ("at", N),
        ],
        order: &["number"],
    },
    Table {
        name: "outbox",
        columns: &[
            ("number", N),
            ("organization_id", T),
            ("key_id", T),
            ("kind", T),
            ("payload", T),
            ("created_at", N),
        ],
        order: &["number"],
    },
    Table {
        name: "security_contact",
        columns: &[
            ("organization_id", T),
            ("contact", T),
            ("kind", T),
            ("address", T),
            ("keyring_version", N),
            ("sealed", B),
            ("failing_since", N),
            ("retry_at", N),
            ("disabled_at", N),
            ("disabled_reason", T),
            ("created_at", N),
        ],
        order: &["organization_id", "contact"],
    },
    Table {
        name: "delivery",
        columns: &[
            ("organization_id", T),
            ("number", N),
            ("contact", T),
            ("contact_kind", T),
            ("key_id", T),
            ("kind", T),
            ("payload", T),
            ("happened_at", N),
            ("status", T),
            ("attempts", N),
            ("next_attempt_at", N),
            ("finished_at", N),
            ("last_status", N),
            ("last_error", T),
        ],
        order: &["organization_id", "number", "contact"],
    },
    Table {
        name: "audit_head",
        columns: &[("chain", T), ("sequence", N), ("hash", B)],
        order: &["chain"],
    },
    Table {
        name: "audit_entry",
        columns: &[
            ("chain", T),
            ("sequence", N),
            ("previous_hash", B),
            ("hash", B),
            ("at", N),
            ("actor", T),
            ("action", T),
            ("target", T),
            ("request_id", T),
            ("facts", T),
            ("personal", T),
        ],
        order: &["chain", "sequence"],
    },
    Table {
        name: "audit_checkpoint",
        columns: &[
            ("chain", T),
            ("sequence", N),
            ("hash", B),
            ("at", N),
            ("public_key", T),
            ("signature", B),
        ],
        order: &["chain", "sequence", "public_key"],
    },
    Table {
        name: "audit_public_key",
        columns: &[
            ("public_key", T),
            ("since", N),
            ("endorsed_by", T),
            ("endorsement", B),
        ],
        order: &["public_key"],
    },
    Table {
        name: "dataset",
        columns: &[
            ("organization_id", T),
            ("id", T),
            ("version", N),
            ("name", T),
            ("description", T),
            ("kind", T),
            ("content", T),
            ("owner", T),
            ("status", N),
            ("localization", T),
            ("data_localization", T),
            ("tags", T),
            ("preference", T),
            ("attributes", T),
            ("created_by", T),
            ("created_at", N),
            ("updated_at", N),
        ],
        order: &["organization_id", "id"],
    },
    Table {
        name: "dataset_deletion",
        columns: &[
            ("organization_id", T),
            ("dataset_id", T),
            ("deleted_by", T),
            ("deleted_at", N),
            ("attributes", T),
        ],
        order: &["organization_id", "dataset_id"],
    },
];

/// Tables that are in no backup. What the first two hold is good for minutes, and one of them holds sealed values of keys. The others
/// are what people sign in with: an old copy must not bring back a passphrase that was changed, a session that was ended or a code that
/// was used, so that people are let in anew after a restore.
const LEFT_OUT: &[&str] = &[
    "idempotency",
    "bulk_preview",
    "node",
    "passphrase",
    "person_session",
    "rate_bucket",
    "recovery_code",
    "second_factor",
    "sign_in_link",
];

/// The first line of a backup.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Header {
    /// The format's number.
    pub keyward_backup: u32,
    /// The schema level of the binary that wrote it.
    pub schema: i64,
    /// When it was made.
    pub created_at_ms: i64,
    /// The keyring that its records are sealed under, to be kept elsewhere.
    pub keyring_id: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RowLine {
    t: String,
    r: Vec<Value>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Trailer {
    rows: u64,
    sha256: String,
}

/// What a backup or a restore went through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copied {
    /// Rows of all tables together.
    pub rows: u64,
}

struct Writing<'a, W> {
    out: &'a mut W,
    hash: Sha256,
    rows: u64,
}

impl<W: AsyncWrite + Unpin> Writing<'_, W> {
    async fn line(&mut self, line: &impl Serialize) -> Result<(), StoreError> {
        let mut text = serde_json::to_vec(line).map_err(|error| StoreError::Backup(error.to_string()))?;
        text.push(b'\n');
        self.hash.update(&text);
        self.out
            .write_all(&text)
            .await
            .map_err(|error| StoreError::Backup(format!("writing failed: {error}")))
    }
}

impl Store {
    /// Writes every table to `out` from one snapshot.
    ///
    /// # Errors
    /// [`StoreError`]; what was written so far is no backup then.
    pub async fn dump<W: AsyncWrite + Unpin>(
        &self,
        out: &mut W,
        keyring_id: &str,
        created_at_ms: i64,
    ) -> Result<Copied, StoreError> {
        let mut writing = Writing {
            out,
            hash: Sha256::new(),
            rows: 0,
        };
        let header = Header {
            keyward_backup: FORMAT,
            schema: SCHEMA_LEVEL,
            created_at_ms,
            keyring_id: keyring_id.to_owned(),
        };
        writing.line(&header).await?;
        match &self.backend {
            Backend::Sqlite { read, .. } => {
                let mut snapshot = read.begin().await?;
                for table in TABLES {
                    dump_table!(writing, table, "", &mut *snapshot);
                }
                snapshot.rollback().await?;
            }
            Backend::Postgres(postgres) => {
                let mut snapshot = postgres
                    .pool()
                    .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                    .await?;
                // A copy of a large table may take longer than a statement of the request path may, and whoever takes it may be slow;
                // the snapshot locks no row.
                for unbounded in UNBOUNDED {
                    sqlx::query(unbounded).execute(&mut *snapshot).await?;
                }
                for table in TABLES {
                    // SQLite's order, whatever the database's locale is.
                    dump_table!(writing, table, " COLLATE \"C\"", &mut *snapshot);
                }
                snapshot.rollback().await?;
            }
        }
        let trailer = Trailer {
            rows: writing.rows,
            sha256: keyward_core::audit::hex(&writing.hash.clone().finalize()),
        };
        let rows = writing.rows;
        writing.line(&trailer).await?;
        writing
            .out
            .flush()
            .await
            .map_err(|error| StoreError::Backup(format!("writing failed: {error}")))?;
        Ok(Copied { rows })
    }

    /// Whether nothing was ever written here but what a first start writes.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn is_empty(&self) -> Result<bool, StoreError> {
        let entries = self.list_audit(NO_ORGANIZATION, 0, 2).await?;
        let has_only_begun = entries.iter().all(|entry| entry.action == BEGIN_DATABASE);
        Ok(has_only_begun && self.list_organizations("", 1).await?.is_empty())
    }
}

/// Writes one table's rows; a macro, because the row's type differs per database.
macro_rules! dump_table {
    ($writing:ident, $table:ident, $collate:literal, $on:expr) => {{
        let names: Vec<&str> = $table.columns.iter().map(|(name, _)| *name).collect();
        let order: Vec<String> = $table
            .columns
            .iter()
            .filter(|(name, _)| $table.order.contains(name))
            .map(|(name, kind)| format!("{name}{}", if matches!(kind, Kind::Text) { $collate } else { "" }))
            .collect();
        let sql = format!(
            "SELECT {} FROM {} ORDER BY {}",
            names.join(", "),
            $table.name,
            order.join(", ")
        );
        let mut rows = sqlx::query(AssertSqlSafe(sql)).fetch($on);
        while let Some(row) = rows.next().await {
            let row = row?;
            let mut values = Vec::with_capacity($table.columns.len());
            for (at, (_, kind)) in $table.columns.iter().enumerate() {
                values.push(match kind {
                    Kind::Text => row
                        .try_get::<Option<String>, _>(at)?
                        .map_or(Value::Null, Value::from),
                    Kind::Number => row
                        .try_get::<Option<i64>, _>(at)?
                        .map_or(Value::Null, Value::from),
                    Kind::Bytes => row
                        .try_get::<Option<Vec<u8>>, _>(at)?
                        .map_or(Value::Null, |bytes| Value::from(STANDARD_NO_PAD.encode(bytes))),
                });
            }
            $writing
                .line(&RowLine {
                    t: $table.name.to_owned(),
                    r: values,
                })
                .await?;
            $writing.rows += 1;
        }
    }};
}
use dump_table;

/// Reads a backup's lines once and says whether it is whole.
///
/// # Errors
/// [`StoreError::Backup`] if it is no backup, from a later version, cut or changed.
pub async fn check<R: AsyncBufReadExt + Unpin>(input: &mut R) -> Result<Header, StoreError> {
    let mut hash = Sha256::new();
    let mut rows = 0_u64;
    let mut line = Vec::new();
    let mut header: Option<Header> = None;
    loop {
        line.clear();
        if read_line(input, &mut line).await? == 0 {
            return Err(StoreError::Backup(
                "the file ends before its last line: it is cut off".to_owned(),
            ));
        }
        match &header {
            None => header = Some(parse_header(&line)?),
            Some(header) => {
                if let Ok(trailer) = serde_json::from_slice::<Trailer>(&line) {
                    check_end(input, &trailer, rows, hash).await?;
                    return Ok(header.clone());
                }
                rows += 1;
            }
        }
        hash.update(&line);
    }
}

async fn check_end<R: AsyncBufReadExt + Unpin>(
    input: &mut R,
    trailer: &Trailer,
    rows: u64,
    hash: Sha256,
) -> Result<(), StoreError> {
    let is_whole = trailer.rows == rows
        && trailer.sha256 == keyward_core::audit::hex(&hash.finalize())
        && read_line(input, &mut Vec::new()).await? == 0;
    if is_whole {
        Ok(())
    } else {
        Err(StoreError::Backup(
            "the file was changed: its hash does not fit".to_owned(),
        ))
    }
}

async fn read_line<R: AsyncBufReadExt + Unpin>(
    input: &mut R,
    line: &mut Vec<u8>,
) -> Result<usize, StoreError> {
    input
        .read_until(b'\n', line)
        .await
        .map_err(|error| StoreError::Backup(format!("reading failed: {error}")))
}

fn parse_header(line: &[u8]) -> Result<Header, StoreError> {
    let header: Header = serde_json::from_slice(line)
        .map_err(|_| StoreError::Backup("the file is no Keyward backup".to_owned()))?;
    if header.keyward_backup > FORMAT || header.schema > SCHEMA_LEVEL {
        return Err(StoreError::Backup(format!(
            "the backup was made by a later Keyward (format {}, schema {}): restore it with that one",
            header.keyward_backup, header.schema
        )));
    }
    Ok(header)
}

impl Tx {
    /// Inserts every row of a backup over the rows that a new database starts with. [`check`] it first: what is found
    /// wrong here is found late.
    ///
    /// # Errors
    /// [`StoreError`]; nothing may be committed then.
    pub async fn load<R: AsyncBufReadExt + Unpin>(&mut self, input: &mut R) -> Result<Copied, StoreError> {
        if let TxInner::Postgres(transaction) = &mut self.inner {
            for unbounded in UNBOUNDED {
                sqlx::query(unbounded).execute(&mut **transaction).await?;
            }
        }
        for table in TABLES.iter().rev() {
            let sql = format!("DELETE FROM {}", table.name);
            in_tx!(self, on => sqlx::query(AssertSqlSafe(sql)).execute(on).await.map(drop))?;
        }
        let mut hash = Sha256::new();
        let mut rows = 0_u64;
        let mut line = Vec::new();
        read_line(input, &mut line).await?;
        let header = parse_header(&line)?;
        hash.update(&line);
        for table in LEFT_OUT {
            let sql = format!("DELETE FROM {table}");
            in_tx!(self, on => sqlx::query(AssertSqlSafe(sql)).execute(on).await.map(drop))?;
        }
        loop {
            line.clear();
            if read_line(input, &mut line).await? == 0 {
                return Err(StoreError::Backup(
                    "the file ends before its last line: it is cut off".to_owned(),
                ));
            }
            if let Ok(trailer) = serde_json::from_slice::<Trailer>(&line) {
                // Once more: the file may have changed since it was checked.
                check_end(input, &trailer, rows, hash).await?;
                return Ok(Copied { rows });
            }
            hash.update(&line);
            let row: RowLine = serde_json::from_slice(&line)
                .map_err(|_| StoreError::Backup("a line of the backup can't be read".to_owned()))?;
            self.load_row(row, header.schema).await?;
            rows += 1;
        }
    }

    async fn load_row(&mut self, row: RowLine, schema: i64) -> Result<(), StoreError> {
        let refused =
            || StoreError::Backup("a row of the backup does not fit this version's tables".to_owned());
        let table = TABLES
            .iter()
            .find(|table| table.name == row.t)
            .ok_or_else(refused)?;
        // An older version had fewer columns; those that it did not know keep their defaults.
        let is_older = schema < SCHEMA_LEVEL && row.r.len() < table.columns.len();
        if table.columns.len() != row.r.len() && !is_older {
            return Err(refused());
        }
        let names: Vec<&str> = table
            .columns
            .iter()
            .map(|(name, _)| *name)
            .take(row.r.len())
            .collect();
        let binds: Vec<String> = (1..=names.len()).map(|number| format!("${number}")).collect();
        let sql = format!(
            "INSERT INTO {} ({}) VALUES ({})",
            table.name,
            names.join(", "),
            binds.join(", ")
        );
        in_tx!(self, on => {
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for ((_, kind), value) in table.columns.iter().zip(row.r) {
                query = match (kind, value) {
                    (Kind::Text, Value::Null) => query.bind(None::<String>),
                    (Kind::Text, Value::String(text)) => query.bind(text),
                    (Kind::Number, Value::Null) => query.bind(None::<i64>),
                    (Kind::Number, Value::Number(number)) => query.bind(number.as_i64().ok_or_else(refused)?),
                    (Kind::Bytes, Value::Null) => query.bind(None::<Vec<u8>>),
                    (Kind::Bytes, Value::String(text)) => {
                        query.bind(STANDARD_NO_PAD.decode(text).map_err(|_| refused())?)
                    }
                    _ => return Err(refused()),
                };
            }
            query.execute(on).await.map(drop)
        })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use keyward_testkit::engine::{Kind as On, Place};
    use keyward_testkit::on_both_databases;

    use super::*;

    fn is_copied(line: &str) -> bool {
        let table = line.split('.').next().unwrap();
        table != "_sqlx_migrations" && !LEFT_OUT.contains(&table)
    }

    async fn every_table_and_column_is_copied(on: On) {
        let place = Place::new(on);
        place.store().await.close().await;
        let (columns, keys) = match on {
            On::Sqlite => (
                "SELECT m.name || '.' || c.name || ' ' || c.type FROM sqlite_master m, pragma_table_info(m.name) c \
                 WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%' ORDER BY m.name, c.cid",
                "SELECT m.name || '.' || c.name FROM sqlite_master m, pragma_table_info(m.name) c \
                 WHERE m.type = 'table' AND c.pk > 0 AND m.name NOT LIKE 'sqlite%' ORDER BY m.name, c.pk",
            ),
            On::Postgres => (
                "SELECT table_name || '.' || column_name || ' ' || data_type FROM information_schema.columns \
                 WHERE table_schema = 'public' ORDER BY table_name, ordinal_position",
                "SELECT k.table_name || '.' || k.column_name FROM information_schema.key_column_usage k \
                 JOIN information_schema.table_constraints c ON c.constraint_name = k.constraint_name \
                 WHERE c.constraint_type = 'PRIMARY KEY' AND k.table_schema = 'public' ORDER BY k.table_name, k.ordinal_position",
            ),
        };
        let mut own: BTreeMap<String, &str> = BTreeMap::new();
        let mut own_keys = Vec::new();
        for table in TABLES {
            for (column, kind) in table.columns {
                let kind = match kind {
                    Kind::Text => "text",
                    Kind::Number => "bigint",
                    Kind::Bytes => "bytea",
                };
                own.insert(format!("{}.{column}", table.name), kind);
            }
            own_keys.extend(
                table
                    .order
                    .iter()
                    .map(|column| format!("{}.{column}", table.name)),
            );
        }
        let theirs = place.texts(&[columns]).await;
        let theirs: BTreeMap<String, String> = theirs
            .iter()
            .filter(|line| is_copied(line))
            .map(|line| line.split_once(' ').unwrap())
            .map(|(name, kind)| (name.to_owned(), kind.to_lowercase()))
            .collect();
        assert_eq!(
            theirs,
            own.into_iter()
                .map(|(name, kind)| (name, kind.to_owned()))
                .collect()
        );
        let mut their_keys = place.texts(&[keys]).await;
        their_keys.retain(|key| is_copied(key));
        their_keys.sort();
        own_keys.sort();
        assert_eq!(their_keys, own_keys);
    }

    on_both_databases!(every_table_and_column_is_copied);
}
