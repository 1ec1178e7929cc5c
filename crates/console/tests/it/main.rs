//! Tests of the console through its router, as a browser without JavaScript meets it.
#![allow(missing_docs, clippy::panic, clippy::expect_used, reason = "tests")]

mod general;
mod members;
mod overview;
mod security_settings;
mod sign_in;
mod support;
mod tokens;
