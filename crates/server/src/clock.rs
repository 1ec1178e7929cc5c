//! The system's clock: the only place of the product that reads it.
//!
//! Within a process it never goes back: a key that was seen as expired stays so, whatever is done to the clock.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use keyward_core::time::Timestamp;
use keyward_engine::clock::Clock;
use rustix::time::{ClockId, clock_gettime};

/// 2026-01-01. A clock that shows less is not set, and would make expired keys valid.
const EARLIEST: Timestamp = Timestamp::from_unix_ms(1_767_225_600_000);

/// The clock that the engine is given.
#[derive(Debug)]
pub(crate) struct SystemClock {
    latest: AtomicI64,
}

impl SystemClock {
    pub(crate) const fn new() -> Self {
        Self {
            latest: AtomicI64::new(EARLIEST.as_unix_ms()),
        }
    }

    fn show(&self, read: i64) -> Timestamp {
        let latest = self.latest.load(Ordering::Relaxed);
        // Written once a millisecond at most, so that what many read is seldom written.
        if read > latest {
            self.latest.fetch_max(read, Ordering::Relaxed);
        }
        Timestamp::from_unix_ms(read.max(latest))
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        self.show(read())
    }

    fn since_boot(&self) -> Duration {
        // Unlike the monotonic clock it goes on while the machine sleeps, and so does a lease.
        let read = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(read.tv_sec).unwrap_or_default();
        Duration::new(seconds, u32::try_from(read.tv_nsec).unwrap_or_default())
    }

    fn is_real(&self) -> bool {
        true
    }
}

/// The present moment, for what is not the engine's.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_unix_ms(read())
}

/// Refuses a clock that was never set.
pub(crate) fn check() -> Result<()> {
    ensure!(
        now() >= EARLIEST,
        "the system's clock shows a moment before 2026, and keys that have expired would be accepted; set the clock"
    );
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the server's clock, which everything else is given"
)]
fn read() -> i64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_never_goes_back() {
        let clock = SystemClock::new();
        let late = EARLIEST.as_unix_ms() + 5_000;
        assert_eq!(clock.show(0), EARLIEST);
        assert_eq!(clock.show(late).as_unix_ms(), late);
        assert_eq!(clock.show(late - 4_000).as_unix_ms(), late);
        assert_eq!(clock.show(late + 1).as_unix_ms(), late + 1);
    }
}
