//! Tests of the console through its router, as a browser without JavaScript meets it.
#![allow(missing_docs, clippy::panic, reason = "tests")]

mod compromised;
mod key;
mod key_activity;
mod rotate_key;
mod sign_in;
mod support;
mod uses;
