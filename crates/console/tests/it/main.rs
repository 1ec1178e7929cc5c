//! Tests of the console through its router, as a browser without JavaScript meets it.
#![allow(
    missing_docs,
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod compromised;
mod create_key;
mod edit_key;
mod forms;
mod key;
mod key_activity;
mod replace_key;
mod rotate_key;
mod sign_in;
mod support;
mod uses;
