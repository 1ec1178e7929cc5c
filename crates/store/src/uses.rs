//! When keys and their secrets were last used: written in bulk, apart from the keys' own rows, and never moved back.
//!
//! No statement here touches a row of a key, so that a key's write never waits for uses. A key without a row was never
//! used.

use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::time::Timestamp;
use sqlx::AssertSqlSafe;

use crate::backend::{Store, Tx, TxInner};
use crate::error::StoreError;

/// Rows of one statement: far below the number of binds that either database takes.
pub(crate) const ROWS: usize = 200;

const INSERT_SECRET_USE: &str = "INSERT INTO secret_use (organization_id, key_id, number, first_used_at, last_used_at, last_operation, \
    last_address, last_client) VALUES ";
const KEEP_LATER_SECRET_USE: &str = " ON CONFLICT (key_id, number) DO UPDATE SET last_used_at = excluded.last_used_at, \
    last_operation = excluded.last_operation, last_address = excluded.last_address, last_client = excluded.last_client \
    WHERE secret_use.last_used_at < excluded.last_used_at";
const INSERT_KEY_USE: &str = "INSERT INTO key_use (organization_id, key_id, last_used_at) VALUES ";
const KEEP_LATER_KEY_USE: &str = " ON CONFLICT (key_id) DO UPDATE SET last_used_at = excluded.last_used_at \
    WHERE key_use.last_used_at < excluded.last_used_at";
const LIST: &str = "SELECT key_id, number, first_used_at, last_used_at, last_operation, last_address, last_client FROM secret_use \
    WHERE organization_id = $1 AND key_id IN ";

/// The uses of one secret of a key, as one span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretUse {
    /// The key's organization.
    pub organization_id: OrganizationId,
    /// The key.
    pub key_id: KeyId,
    /// The secret's number within the key.
    pub number: i64,
    /// The first use.
    pub first_used_at: Timestamp,
    /// The last use.
    pub last_used_at: Timestamp,
    /// What is known of the last use beside its time.
    pub last: Option<LastUse>,
}

/// The circumstances of a use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastUse {
    /// `identify`, or the operation's name.
    pub operation: String,
    /// An IP address, `unknown` or `(other)`.
    pub address: String,
    /// What the client called itself; `(none)` if it did not.
    pub client: String,
}

/// Key, number of the secret, first and last use, and the last one's operation, address and client.
type UseRow = (String, i64, i64, i64, String, String, String);

impl Store {
    /// The uses of the secrets of these keys, as far as they are of the organization; secrets that were never used are
    /// not in it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_uses(
        &self,
        organization: &OrganizationId,
        keys: &[KeyId],
    ) -> Result<Vec<SecretUse>, StoreError> {
        let mut uses = Vec::new();
        for keys in keys.chunks(ROWS) {
            let sql = format!("{LIST}{}", rows_of_binds(1, keys.len(), 2));
            let rows = on_read!(self, on => {
                let query = sqlx::query_as::<_, UseRow>(AssertSqlSafe(sql));
                let query = keys
                    .iter()
                    .fold(query.bind(organization.as_str()), |query, key| query.bind(key.as_str()));
                query.persistent(keys.len() == ROWS).fetch_all(on).await
            })?;
            for (key_id, number, first, last, operation, address, client) in rows {
                uses.push(SecretUse {
                    organization_id: organization.clone(),
                    key_id: key_id
                        .parse()
                        .map_err(|_| StoreError::Unreadable { what: "use of a key" })?,
                    number,
                    first_used_at: Timestamp::from_unix_ms(first),
                    last_used_at: Timestamp::from_unix_ms(last),
                    // Empty where the use was recorded by a version that did not keep it.
                    last: (!operation.is_empty()).then_some(LastUse {
                        operation,
                        address,
                        client,
                    }),
                });
            }
        }
        Ok(uses)
    }
}

impl Tx {
    /// Binds of so many rows, as this database reads many of them fast: SQLite looks a numbered one up among all others, so
    /// that thousands of them cost thousands of times as much each.
    pub(crate) fn rows_of_binds(&self, rows: usize, columns: usize) -> String {
        match &self.inner {
            TxInner::Sqlite(_) => rows_of(rows, columns, |_| "?".to_owned()),
            TxInner::Postgres(_) => rows_of_binds(rows, columns, 1),
        }
    }

    /// Records uses, of each secret at most one, in the order of their keys. What is recorded already and later stays.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn record_uses(&mut self, uses: &[SecretUse]) -> Result<(), StoreError> {
        for uses in uses.chunks(ROWS) {
            let binds = self.rows_of_binds(uses.len(), 8);
            let sql = format!("{INSERT_SECRET_USE}{binds}{KEEP_LATER_SECRET_USE}");
            in_tx!(self, on => {
                let query = uses.iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, one| {
                    query
                        .bind(one.organization_id.as_str())
                        .bind(one.key_id.as_str())
                        .bind(one.number)
                        .bind(one.first_used_at.as_unix_ms())
                        .bind(one.last_used_at.as_unix_ms())
                        .bind(one.last.as_ref().map_or("", |last| last.operation.as_str()))
                        .bind(one.last.as_ref().map_or("", |last| last.address.as_str()))
                        .bind(one.last.as_ref().map_or("", |last| last.client.as_str()))
                });
                query.persistent(uses.len() == ROWS).execute(on).await.map(drop)
            })?;
        }
        for keys in last_of_keys(uses).chunks(ROWS) {
            let sql = format!(
                "{INSERT_KEY_USE}{}{KEEP_LATER_KEY_USE}",
                self.rows_of_binds(keys.len(), 3)
            );
            in_tx!(self, on => {
                let query = keys.iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, (one, last)| {
                    query
                        .bind(one.organization_id.as_str())
                        .bind(one.key_id.as_str())
                        .bind(last.as_unix_ms())
                });
                query.persistent(keys.len() == ROWS).execute(on).await.map(drop)
            })?;
        }
        Ok(())
    }
}

/// The last use of each key: a statement may write a row only once, and a key can have two secrets in use.
fn last_of_keys(uses: &[SecretUse]) -> Vec<(&SecretUse, Timestamp)> {
    let mut keys: Vec<(&SecretUse, Timestamp)> = Vec::with_capacity(uses.len());
    for one in uses {
        match keys.last_mut() {
            Some((same, last)) if same.key_id == one.key_id => *last = one.last_used_at.max(*last),
            _ => keys.push((one, one.last_used_at)),
        }
    }
    keys
}

/// `($1, $2), ($3, $4)`: so many rows of so many binds each, counted from `first`.
pub(crate) fn rows_of_binds(rows: usize, columns: usize, first: usize) -> String {
    rows_of(rows, columns, |place| format!("${}", first + place))
}

fn rows_of(rows: usize, columns: usize, bind: impl Fn(usize) -> String) -> String {
    let row = |row: usize| {
        let binds: Vec<String> = (0..columns).map(|column| bind(row * columns + column)).collect();
        format!("({})", binds.join(", "))
    };
    (0..rows).map(row).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binds_are_counted_through() {
        assert_eq!(rows_of_binds(2, 2, 1), "($1, $2), ($3, $4)");
        assert_eq!(rows_of_binds(1, 3, 2), "($2, $3, $4)");
    }
}
