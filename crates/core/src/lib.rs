//! The pure domain of Keyward: what a key is, what it may do, and how it is kept.
//!
//! Every request passes through here without waiting: [`credentials`] reads the headers, [`key_text`] parses the
//! key, [`decision`] answers. Nothing in this crate does I/O, spawns, reads a clock or draws a random number;
//! time and randomness are arguments, so that every rule can be tested at the exact millisecond.

pub mod access;
pub mod address;
pub mod audit;
mod canonical;
pub mod condition;
pub mod contact;
pub mod credentials;
pub mod decision;
pub mod edit_key;
pub mod email;
pub mod environment;
pub mod explain;
pub mod field;
pub mod idempotency;
pub mod ids;
pub mod invitation;
pub mod key_digest;
pub mod key_filter;
pub mod key_text;
pub mod keyring;
pub mod level;
pub mod management_refusal;
pub mod management_right;
pub mod management_token;
pub mod mask;
pub mod new_key;
pub mod notice;
pub mod operation;
pub mod organization;
pub mod plain;
pub mod random;
pub mod rate;
pub mod record;
pub mod refusal;
pub mod resource;
pub mod role;
pub mod rotation;
pub mod rule;
pub mod scope;
pub mod seal;
pub mod secret;
pub mod state;
pub mod tag;
pub mod time;
pub mod webhook_secret;
