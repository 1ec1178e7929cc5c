//! Everything that Keyward says over HTTP, asked as one asks it: a request goes in at a router, a whole reply comes out.
//!
//! Every request is made as somebody (`support`), and what holds for all replies is checked at each of them there.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on ends, and its helpers are not marked as tests"
)]

mod body;
mod health;
mod log;
mod management;
mod openapi;
mod pages;
mod problem;
mod rate_limit;
mod request;
mod routes;
mod support;
mod verify;
