//! The resource API as its callers see it: requests made as someone, through the router, on a real engine.
//!
//! One integration binary; its files mirror the crate's. What the official client makes of the replies is tested with
//! the client itself, in the program's own tests.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on ends; the lints' exemption for tests does not reach functions beside them"
)]

mod bad_input;
mod callers;
mod cases;
mod datasets;
mod endpoints;
mod matrix;
mod organizations;
mod permissions;
mod shapes;
mod support;
