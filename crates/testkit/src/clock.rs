//! A clock that stands still until a test moves it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use keyward_core::time::Timestamp;
use keyward_engine::clock::Clock;

/// The moment at which every test begins: 2026-01-01T00:00:00Z.
pub const START: Timestamp = Timestamp::from_unix_ms(1_767_225_600_000);

/// A clock that shows what it was set to.
#[derive(Debug)]
pub struct FixedClock(AtomicI64, Instant);

impl FixedClock {
    /// A clock that shows [`START`].
    pub fn new() -> Self {
        Self(AtomicI64::new(START.as_unix_ms()), Instant::now())
    }

    /// Moves the clock; a negative span moves it back.
    pub fn advance_ms(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Default for FixedClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.0.load(Ordering::SeqCst))
    }

    fn since_boot(&self) -> Duration {
        self.1.elapsed()
    }

    fn is_real(&self) -> bool {
        false
    }
}
