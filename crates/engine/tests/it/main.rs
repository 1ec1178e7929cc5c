//! The engine's use cases, on both databases.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on ends, and its helpers are not marked as tests"
)]

mod cache;
mod create_key;
mod datasets;
mod delete_key;
mod lost_answers;
mod restore;
mod right;
mod rotate_keyring;
mod tampering;
mod tokens;
mod verify;
