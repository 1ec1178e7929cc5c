//! Tests of the console through its router, as a browser without JavaScript meets it.
#![allow(missing_docs, clippy::panic, reason = "tests")]

mod account;
mod audit;
mod every_route;
mod general;
mod help;
mod invitation_links;
mod members;
mod overview;
mod secret_keys;
mod security;
mod sign_in;
mod sign_in_links;
mod support;
mod tokens;
