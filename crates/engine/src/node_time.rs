//! What time it is for decisions: the database's time where several nodes share one, so that they agree.
//!
//! Each renewal of a lease asks the database's clock, between two readings of how long this machine runs. From then on the moment is
//! known but for the time that the question took: the *latest* it can be counts for what ends, the *earliest* for what begins.
//! On SQLite, and until the first renewal, the engine's own clock is all there is.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use keyward_core::time::Timestamp;

use crate::clock::SharedClock;

/// A clock that is off by more than this is a defect that somebody has to mend: the node is not ready.
pub(crate) const MAX_OFFSET_MS: i64 = 30_000;

/// The time of a node.
pub(crate) struct NodeTime {
    clock: SharedClock,
    follows_database: AtomicBool,
    /// Milliseconds to add to how long the machine runs.
    earliest: AtomicI64,
    latest: AtomicI64,
    /// What was shown last, so that it does not go back.
    shown: AtomicI64,
    offset_ms: AtomicI64,
}

impl NodeTime {
    pub(crate) fn new(clock: SharedClock) -> Self {
        Self {
            clock,
            follows_database: AtomicBool::new(false),
            earliest: AtomicI64::new(0),
            latest: AtomicI64::new(0),
            shown: AtomicI64::new(0),
            offset_ms: AtomicI64::new(0),
        }
    }

    /// The latest that it can be now; for ends.
    pub(crate) fn now(&self) -> Timestamp {
        self.moment().0
    }

    /// The latest that it can be now, and the earliest, which is for beginnings.
    pub(crate) fn moment(&self) -> (Timestamp, Timestamp) {
        if !self.follows_database.load(Ordering::Acquire) {
            let now = self.clock.now();
            return (now, now);
        }
        let read = milliseconds(self.clock.since_boot());
        let latest = read.saturating_add(self.latest.load(Ordering::Relaxed));
        let earliest = read.saturating_add(self.earliest.load(Ordering::Relaxed));
        let shown = self.shown.load(Ordering::Relaxed);
        // Written once a millisecond at most, so that what many read is seldom written.
        if latest > shown {
            self.shown.fetch_max(latest, Ordering::Relaxed);
        }
        let now = latest.max(shown);
        (
            Timestamp::from_unix_ms(now),
            Timestamp::from_unix_ms(earliest.min(now)),
        )
    }

    /// Takes in what the database's clock showed between two moments of this machine; how far the own clock is before it.
    pub(crate) fn learn(&self, asked_at: Duration, answered_at: Duration, database_ms: i64) -> i64 {
        if !self.clock.is_real() {
            return 0;
        }
        let (asked, answered) = (milliseconds(asked_at), milliseconds(answered_at));
        // The readings are whole milliseconds, rounded down.
        self.earliest
            .store(database_ms.saturating_sub(answered + 1), Ordering::Relaxed);
        self.latest
            .store((database_ms + 1).saturating_sub(asked), Ordering::Relaxed);
        let offset = self.clock.now().as_unix_ms().saturating_sub(database_ms);
        self.offset_ms.store(offset, Ordering::Relaxed);
        self.follows_database.store(true, Ordering::Release);
        offset
    }

    /// How far the own clock was before the database's at the last renewal, in milliseconds.
    pub(crate) fn offset_ms(&self) -> i64 {
        self.offset_ms.load(Ordering::Relaxed)
    }

    pub(crate) fn since_boot(&self) -> Duration {
        self.clock.since_boot()
    }
}

fn milliseconds(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
