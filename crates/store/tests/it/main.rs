//! The store's contract, on both databases.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on ends, and its helpers are not marked as tests"
)]

mod audit;
mod backup;
mod datasets;
mod epoch;
mod key_list;
mod key_list_context;
mod keys;
mod nodes;
mod organizations;
mod postgres;
mod schema;
mod settings;
mod support;
mod tokens;
mod usage_queries;
