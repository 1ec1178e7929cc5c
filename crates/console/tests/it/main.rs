//! Tests of the console through its router, as a browser without JavaScript meets it.
#![allow(
    missing_docs,
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod account;
mod audit;
mod compromised;
mod create_key;
mod edit_key;
mod every_page;
mod forms;
mod general;
mod help;
mod invitation_links;
mod key;
mod key_activity;
mod members;
mod overview;
mod replace_key;
mod rotate_key;
mod secret_keys;
mod security_settings;
mod sign_in;
mod sign_in_links;
mod support;
mod tokens;
mod uses;
