//! The rate limit of a key: a bucket that refills evenly, in whole numbers so that nothing is rounded in anybody's favour.
//!
//! This is GCRA, the token bucket that remembers one number: what was spent and has not refilled yet. A request costs
//! `per_ms` units, every millisecond gives `requests` units back, and the bucket holds `requests * per_ms` of them. Time
//! is an argument; where buckets are kept is the engine's business.

use crate::condition::RateLimit;
use crate::time::Timestamp;

/// A bucket of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateBucket {
    limit: RateLimit,
    /// Units that were spent and are not back at `at`; never more than the bucket holds.
    debt: u64,
    at: Timestamp,
}

/// How a bucket stands, in the terms that callers are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateStatus {
    /// Requests that the full bucket holds.
    pub limit: u32,
    /// The seconds in which an empty bucket refills, rounded up.
    pub period_seconds: u32,
    /// Requests that it holds now.
    pub remaining: u32,
    /// The seconds until it is full if nothing is spent, rounded up.
    pub reset_after_seconds: u32,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spending {
    /// The bucket held it.
    Spent(RateStatus),
    /// It did not, and nothing was spent.
    Exceeded {
        /// How the bucket stands.
        status: RateStatus,
        /// The seconds until it holds one request, rounded up.
        retry_after_seconds: u32,
    },
}

impl RateBucket {
    /// A full bucket.
    pub const fn full(limit: RateLimit, now: Timestamp) -> Self {
        Self {
            limit,
            debt: 0,
            at: now,
        }
    }

    /// A bucket that was kept elsewhere, from what [`RateBucket::parts`] gave.
    pub const fn from_parts(limit: RateLimit, debt: u64, at: Timestamp) -> Self {
        Self { limit, debt, at }
    }

    /// What has to be kept of it: under which limit, the units that were spent, and when that was.
    pub const fn parts(&self) -> (RateLimit, u64, Timestamp) {
        (self.limit, self.debt, self.at)
    }

    /// Takes one request out, if the bucket holds one under `limit`, which may have been edited since.
    pub fn spend(&mut self, limit: RateLimit, now: Timestamp) -> Spending {
        self.refill(now);
        self.adapt(limit);
        let wanted = self.debt + cost(limit);
        match wanted.checked_sub(capacity(limit)) {
            None | Some(0) => {
                self.debt = wanted;
                Spending::Spent(self.status())
            }
            Some(missing) => Spending::Exceeded {
                status: self.status(),
                retry_after_seconds: self.seconds_to_refill(missing),
            },
        }
    }

    /// Whether it is full at `now`: then it can as well be forgotten.
    pub fn is_full(mut self, now: Timestamp) -> bool {
        self.refill(now);
        self.debt == 0
    }

    /// The milliseconds until it is full, from the moment on when it was used last.
    pub fn ms_to_full(&self) -> u64 {
        self.debt.div_ceil(refill_per_ms(self.limit))
    }

    /// A clock that goes back refills nothing until it is where it was: several that are read at once are never quite
    /// the same. One that went back by more than a period is believed, or a full bucket would have to wait for it.
    fn refill(&mut self, now: Timestamp) {
        let elapsed = now.as_unix_ms().saturating_sub(self.at.as_unix_ms());
        match u64::try_from(elapsed) {
            Ok(elapsed) => {
                let refilled = elapsed.saturating_mul(refill_per_ms(self.limit));
                self.debt = self.debt.saturating_sub(refilled);
                self.at = now;
            }
            Err(_) if elapsed < -i64::from(self.limit.per_ms) => self.at = now,
            Err(_) => {}
        }
    }

    /// What was spent stays spent when the limit is edited, counted in requests.
    fn adapt(&mut self, limit: RateLimit) {
        if limit == self.limit {
            return;
        }
        let debt = (u128::from(self.debt) * u128::from(cost(limit))).div_ceil(u128::from(cost(self.limit)));
        self.debt = u64::try_from(debt).unwrap_or(u64::MAX).min(capacity(limit));
        self.limit = limit;
    }

    fn status(&self) -> RateStatus {
        let left = capacity(self.limit).saturating_sub(self.debt) / cost(self.limit);
        RateStatus {
            limit: self.limit.requests,
            period_seconds: self.limit.per_ms.div_ceil(1_000),
            remaining: u32::try_from(left).unwrap_or(u32::MAX),
            reset_after_seconds: self.seconds_to_refill(self.debt),
        }
    }

    fn seconds_to_refill(&self, units: u64) -> u32 {
        let ms = units.div_ceil(refill_per_ms(self.limit));
        u32::try_from(ms.div_ceil(1_000)).unwrap_or(u32::MAX)
    }
}

/// A period of zero milliseconds, which no key has, counts as one.
fn cost(limit: RateLimit) -> u64 {
    u64::from(limit.per_ms.max(1))
}

/// A limit of zero requests, which no key has, holds none, and its waits are those of one.
fn capacity(limit: RateLimit) -> u64 {
    u64::from(limit.requests) * cost(limit)
}

fn refill_per_ms(limit: RateLimit) -> u64 {
    u64::from(limit.requests.max(1))
}
