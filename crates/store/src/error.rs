//! What can go wrong with the store, as far as callers act differently.
//!
//! There is no "not found" here: absence is an `Option`, so that a database that is away can never read as "no such
//! key".

use crate::postgres_address::AddressRefused;
use crate::postgres_primary::HostRefused;

/// A store operation failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database did not answer, or refused; the operation certainly did not take effect.
    #[error("the database is unavailable")]
    Unavailable(#[source] sqlx::Error),
    /// The address of the database can't be used.
    #[error("the address of the database can't be used: {0}")]
    Address(#[from] AddressRefused),
    /// None of the hosts of the database takes writes now; the operation certainly did not take effect.
    #[error("no PostgreSQL server takes writes: {}", told(.0))]
    NoPrimary(Vec<HostRefused>),
    /// The commit was sent and its answer did not come: the write may or may not have taken effect.
    #[error("the outcome of a commit is unknown")]
    OutcomeUnknown(#[source] sqlx::Error),
    /// The commit was sent, its answer did not come, and a look at the row showed that it did not take effect.
    #[error("the database did not commit; nothing was changed")]
    NotCommitted,
    /// The database did not answer in time; the operation certainly did not take effect.
    #[error("the database did not answer in time")]
    TimedOut,
    /// Something with this identity exists already.
    #[error("it exists already")]
    AlreadyExists,
    /// A row holds what no version of this program writes.
    #[error("the database holds an unreadable {what}")]
    Unreadable {
        /// Which part of which row, without its content.
        what: &'static str,
    },
    /// This process has no right to write at the moment: its lease or its epoch is over.
    #[error("this process has no right to write to the database at the moment")]
    NotTheWriter,
    /// The database belongs to a later version of the program, or a migration failed.
    #[error("{0}")]
    Schema(String),
    /// A backup file could not be written or read.
    #[error("{0}")]
    Backup(String),
}

/// Every host that was tried, and why it was not taken.
fn told(refused: &[HostRefused]) -> String {
    let each: Vec<String> = refused.iter().map(ToString::to_string).collect();
    each.join("; ")
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        // SQLite gives no constraint's name, so the kind is all that is asked, and every table has one identity.
        if error
            .as_database_error()
            .is_some_and(|database| database.is_unique_violation())
        {
            return Self::AlreadyExists;
        }
        Self::Unavailable(error)
    }
}
