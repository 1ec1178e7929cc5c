//! Conditions that hold at every level: from when, until when, from where, how often.
//!
//! A condition that can't be evaluated refuses: an unknown address is outside every list.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::address::{CallerAddress, network_contains};
use crate::time::Timestamp;

/// Most networks in an address list; a bound on what a decision may cost.
pub const MAX_NETWORKS: usize = 100;

/// Where requests may come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AddressRule {
    /// From any address, an unknown one included.
    Anywhere,
    /// Only from these networks; an empty list refuses everything.
    Only(Vec<IpNet>),
}

impl AddressRule {
    /// Whether a request from `address` passes.
    pub fn admits(&self, address: CallerAddress) -> bool {
        match (self, address) {
            (Self::Anywhere, _) => true,
            (Self::Only(_), CallerAddress::Unknown) => false,
            (Self::Only(networks), CallerAddress::Known(ip)) => {
                let ip = ip.to_canonical();
                networks.iter().any(|network| network_contains(network, ip))
            }
        }
    }
}

/// Most requests in a period.
pub const MAX_RATE_REQUESTS: u32 = 1_000_000;
/// The longest period of a rate limit: a day.
pub const MAX_RATE_PERIOD_SECONDS: u32 = 86_400;

/// How often a key may be used: a bucket of `requests` that refills evenly, the whole of it in `per_ms`. All of them at
/// once are allowed; then each comes back after `per_ms / requests`. So a span of any length sees at most `requests` and
/// what refilled in it, which in one period is twice as many at the very most ([`crate::rate`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Requests that the full bucket holds; never zero.
    pub requests: u32,
    /// The milliseconds in which an empty bucket refills; never zero, and whole seconds.
    pub per_ms: u32,
}

/// The conditions of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conditions {
    /// The key is accepted from this moment on.
    pub not_before: Option<Timestamp>,
    /// The key is refused from this moment on; `None` is a key without an expiry.
    pub expires_at: Option<Timestamp>,
    /// Where requests may come from.
    pub addresses: AddressRule,
    /// How often; `None` is unlimited.
    pub rate_limit: Option<RateLimit>,
}

impl Conditions {
    /// No condition at all.
    pub const NONE: Self = Self {
        not_before: None,
        expires_at: None,
        addresses: AddressRule::Anywhere,
        rate_limit: None,
    };

    /// Whether the key's time has not come yet.
    pub fn is_early(&self, now: Timestamp) -> bool {
        self.not_before.is_some_and(|from| now < from)
    }

    /// Whether the key's time is over; the moment itself is already over.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| now >= end)
    }
}
