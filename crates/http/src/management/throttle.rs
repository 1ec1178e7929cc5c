//! How often a management token may ask: 20 requests a second, and up to 200 at once after a pause.
//!
//! What a bucket is, [`keyward_core::rate`] says; here is one for each token that asks. They are in memory and each process
//! has its own; they keep one token's loop from taking the database from everybody else, and are no billing. Strangers have
//! no bucket: they are refused before they could have one.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use keyward_core::condition::RateLimit;
use keyward_core::ids::TokenId;
use keyward_core::rate::{RateBucket, RateStatus, Spending};
use keyward_core::time::Timestamp;

/// 200 at once, which come back within 10 seconds.
const LIMIT: RateLimit = RateLimit {
    requests: 200,
    per_ms: 10_000,
};
/// Buckets are looked through for full ones when there are so many; there is one for each token that asks.
const MANY: usize = 10_000;

/// The buckets.
#[derive(Debug, Default)]
pub(super) struct Throttle(Mutex<HashMap<TokenId, RateBucket>>);

/// How a token stands after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    /// Whether the request may go on.
    pub(super) is_within: bool,
    /// How the bucket stands; for a request that may not go on, its reset is when it is worth trying again.
    pub(super) status: RateStatus,
}

impl Throttle {
    /// Takes one request out of a token's bucket.
    pub(super) fn take(&self, id: TokenId, now: Timestamp) -> Standing {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MANY {
            buckets.retain(|_, bucket| !bucket.is_full(now));
        }
        let bucket = buckets.entry(id).or_insert_with(|| RateBucket::full(LIMIT, now));
        match bucket.spend(LIMIT, now) {
            Spending::Spent(status) => Standing {
                is_within: true,
                status,
            },
            Spending::Exceeded {
                status,
                retry_after_seconds,
            } => Standing {
                is_within: false,
                status: RateStatus {
                    reset_after_seconds: retry_after_seconds,
                    ..status
                },
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_ms(1_767_225_600_000);
    const BURST: u32 = 200;
    const COST_MS: i64 = 50;
    const FULL_MS: i64 = 10_000;

    fn id(number: u32) -> TokenId {
        format!("{number:016}").parse().unwrap()
    }

    #[test]
    fn after_a_burst_a_request_goes_through_every_fiftieth_millisecond() {
        let throttle = Throttle::default();
        for remaining in (0..BURST).rev() {
            let standing = throttle.take(id(1), NOW);
            assert_eq!((standing.is_within, standing.status.remaining), (true, remaining));
        }
        let refused = Standing {
            is_within: false,
            status: RateStatus {
                limit: BURST,
                period_seconds: 10,
                remaining: 0,
                reset_after_seconds: 1,
            },
        };
        assert_eq!(throttle.take(id(1), NOW), refused);
        assert_eq!(
            throttle.take(id(1), NOW.plus_ms(49)),
            refused,
            "and what is refused costs nothing"
        );
        assert!(throttle.take(id(1), NOW.plus_ms(50)).is_within);
        assert!(!throttle.take(id(1), NOW.plus_ms(99)).is_within);
        assert!(
            throttle.take(id(2), NOW).is_within,
            "another token has a bucket of its own"
        );
        let later = throttle.take(id(1), NOW.plus_ms(50 + FULL_MS));
        assert_eq!((later.is_within, later.status.remaining), (true, BURST - 1));
    }

    #[test]
    fn full_buckets_are_forgotten() {
        let throttle = Throttle::default();
        for number in 0..MANY as u32 {
            throttle.take(id(number), NOW);
        }
        throttle.take(id(MANY as u32), NOW.plus_ms(COST_MS));
        assert_eq!(throttle.0.lock().unwrap().len(), 1);
    }
}
