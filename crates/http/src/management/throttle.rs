//! How often a management token may ask: 20 requests a second, and up to 200 at once after a pause.
//!
//! A bucket that fills by itself, kept as the one moment at which it will be full again (GCRA), so that nothing has to
//! tick. It is in memory and each process has its own; it keeps one token's loop from taking the database from everybody
//! else, and is no billing. Strangers have no bucket: they are refused before they could have one.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use keyward_core::ids::TokenId;
use keyward_core::time::Timestamp;

/// Requests a second, in the long run.
const PER_SECOND: i64 = 20;
/// Requests at once, after a pause.
pub(super) const BURST: i64 = 200;

/// What one request takes, in milliseconds of filling.
const COST_MS: i64 = 1_000 / PER_SECOND;
/// How long an empty bucket takes to fill.
pub(super) const FULL_MS: i64 = BURST * COST_MS;
/// Buckets are looked through for full ones when there are so many; there is one for each token that asks.
const MANY: usize = 10_000;

/// The buckets.
#[derive(Debug, Default)]
pub(super) struct Throttle(Mutex<HashMap<TokenId, Timestamp>>);

/// How a token stands after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    /// Whether the request may go on.
    pub(super) is_within: bool,
    /// Requests that could follow at once.
    pub(super) remaining: i64,
    /// Seconds until the bucket is full, or, for a request that may not go on, until it is worth trying again.
    pub(super) wait_seconds: u32,
}

impl Throttle {
    /// Takes one request out of a token's bucket.
    pub(super) fn take(&self, id: TokenId, now: Timestamp) -> Standing {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MANY {
            buckets.retain(|_, full_at| *full_at > now);
        }
        let full_at = buckets.entry(id).or_insert(now);
        let after = (*full_at).max(now).plus_ms(COST_MS);
        let missing_ms = after.as_unix_ms() - now.as_unix_ms();
        if missing_ms > FULL_MS {
            return Standing {
                is_within: false,
                remaining: 0,
                wait_seconds: seconds(missing_ms - FULL_MS),
            };
        }
        *full_at = after;
        Standing {
            is_within: true,
            remaining: (FULL_MS - missing_ms) / COST_MS,
            wait_seconds: seconds(missing_ms),
        }
    }
}

fn seconds(ms: i64) -> u32 {
    u32::try_from((ms + 999) / 1_000).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_ms(1_767_225_600_000);

    fn id(number: u32) -> TokenId {
        format!("{number:016}").parse().unwrap()
    }

    #[test]
    fn after_a_burst_a_request_goes_through_every_fiftieth_millisecond() {
        let throttle = Throttle::default();
        for remaining in (0..BURST).rev() {
            let standing = throttle.take(id(1), NOW);
            assert_eq!((standing.is_within, standing.remaining), (true, remaining));
        }
        let refused = Standing {
            is_within: false,
            remaining: 0,
            wait_seconds: 1,
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
        assert_eq!((later.is_within, later.remaining), (true, BURST - 1));
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
