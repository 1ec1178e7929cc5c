//! Tests of the console through its router, as a browser without JavaScript meets it.
#![allow(missing_docs, clippy::panic, reason = "tests")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on ends, and its helpers are not marked as tests"
)]

mod account;
mod audit;
mod every_page;
mod help;
mod invitation_links;
mod sign_in;
mod sign_in_links;
mod support;
