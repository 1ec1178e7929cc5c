//! What the tests of several crates share. Nothing of it is part of the product.
//!
//! Everything here panics with a sentence when something is not as the test needs it: a test has nobody to hand
//! an error to. Everything that is started or made is stopped or removed when its owner is dropped.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on ends, with a sentence that says why"
)]

pub mod browser;
pub mod clock;
pub mod command;
pub mod deadline;
pub mod engine;
mod environment;
pub mod export;
pub mod forgery;
pub mod pgbouncer;
pub mod postgres;
pub mod postgres_messages;
pub mod postgres_server;
pub mod proxy;
pub mod python;
pub mod sample;
pub mod seed;
pub mod server;
pub mod transcript;
pub mod usage;
pub mod wire;
