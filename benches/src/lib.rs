//! What the measurements share: a million keys, the engine with all of them in its cache, and the bare baseline.
//!
//! The *bare* baseline is the least that a server of keys can do: hash the key, look the hash up in one map, copy a
//! small record out. It knows no state, no expiry, no permission, and can't be told of a change. Everything Keyward
//! does beyond it is what the ratios show.
//!
//! `cargo bench --bench ratio` prints the ratios, `cargo bench --bench verify` the parts; over HTTP it is
//! `cargo xtask load`. Nothing here is part of the product.

#![expect(
    clippy::expect_used,
    reason = "a measurement that cannot go on ends, with a sentence that says why"
)]

pub mod bare;
pub mod corpus;
pub mod memory;
pub mod serving;
pub mod subject;
