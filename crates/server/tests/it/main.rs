//! The real `keyward` program, seen from outside: what it prints, writes and answers.
//!
//! One integration binary for the whole crate; a file for each way of looking at the program.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on ends; the lints' exemption for tests does not reach functions beside them"
)]

mod alerts;
mod audit;
mod backup;
mod browser;
mod configuration;
mod durability;
mod examples;
mod failover;
mod health;
mod key_life;
mod keyring;
mod keys;
mod keys_at_once;
mod lost_answers;
mod meddler;
mod nodes;
mod notices;
mod people;
mod pooler;
mod quickstart;
mod raw_http;
mod schemathesis;
mod sdk;
mod sdk_rotation;
mod secrecy;
mod start;
mod strangers;
mod support;
mod tokens;
mod usage;
mod webhook_receiver;

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_keyward");
