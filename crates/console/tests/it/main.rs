//! Tests of the console through its router, as a browser without JavaScript meets it.
#![allow(missing_docs, clippy::panic, reason = "tests")]

mod secret_keys;
mod sign_in;
mod support;
