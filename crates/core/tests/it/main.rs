//! What the crate promises, tested from outside. The modules mirror `src`; `given` holds what they start from.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that goes wrong should stop there and then"
)]

mod access;
mod address;
mod advice;
mod audit;
mod condition;
mod credentials;
mod decision;
mod edit_key;
mod explain;
mod given;
mod idempotency;
mod key_text;
mod keyring;
mod management_token;
mod mask;
mod narrowing;
mod new_key;
mod organization;
mod plain;
mod random;
mod rate;
mod refusal;
mod rotation;
mod rule;
mod seal;
