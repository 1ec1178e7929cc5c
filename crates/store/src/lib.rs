//! All of Keyward's SQL, and nothing else: one text for SQLite and PostgreSQL.
//!
//! Reads are methods of [`Store`]; writes are methods of [`Tx`], so that the engine decides what belongs into one
//! transaction (change, audit entry, feed row, outbox event). Domain types go in and come out, never rows. Nothing
//! here opens a seal, decides a permission or reads a clock.

#[macro_use]
mod backend;

pub mod audit;
pub mod audit_checkpoints;
pub mod backup;
pub mod bulk;
pub mod datasets;
pub mod deliveries;
pub mod due;
pub mod epoch;
mod error;
pub mod idempotency;
pub mod invitations;
pub mod key_list;
pub mod key_list_context;
pub mod keys;
pub mod members;
pub mod node_lease;
pub mod node_wake;
pub mod nodes;
pub mod organizations;
pub mod overview_counts;
pub mod passphrases;
mod postgres;
mod postgres_address;
mod postgres_primary;
pub mod postgres_promises;
pub mod purge;
pub mod rate_buckets;
pub mod schema;
pub mod second_factors;
pub mod sessions;
pub mod settings;
pub mod sign_in_links;
pub mod tokens;
pub mod usage;
pub mod usage_journal;
pub mod usage_notices;
pub mod usage_overview;
pub mod usage_queries;
mod usage_retention;
pub mod uses;

pub use backend::{Database, Store, Tx};
pub use error::StoreError;
pub use postgres_address::AddressRefused;
pub use postgres_primary::HostRefused;
