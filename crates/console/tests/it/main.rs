//! Tests of the console through its router, as a browser without JavaScript meets it.
#![allow(missing_docs, clippy::panic, reason = "tests")]

mod general;
mod members;
mod overview;
mod secret_keys;
mod security;
mod sign_in;
mod support;
mod tokens;
