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

/// What time it is, from one reading of the clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// The latest that it can be; for ends.
    pub(crate) now: Timestamp,
    /// The earliest that it can be; for beginnings.
    pub(crate) earliest: Timestamp,
    /// How long the machine runs, where that is what the time was told by.
    pub(crate) since_boot: Option<Duration>,
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
        self.read().now
    }

    /// The latest that it can be now, and the earliest, which is for beginnings.
    pub(crate) fn moment(&self) -> (Timestamp, Timestamp) {
        let Moment { now, earliest, .. } = self.read();
        (now, earliest)
    }

    /// Reads the clock, once.
    pub(crate) fn read(&self) -> Moment {
        if !self.follows_database.load(Ordering::Acquire) {
            let now = self.clock.now();
            return Moment {
                now,
                earliest: now,
                since_boot: None,
            };
        }
        let since_boot = self.clock.since_boot();
        let read = milliseconds(since_boot);
        let latest = read.saturating_add(self.latest.load(Ordering::Relaxed));
        let earliest = read.saturating_add(self.earliest.load(Ordering::Relaxed));
        let shown = self.shown.load(Ordering::Relaxed);
        // Written once a millisecond at most, so that what many read is seldom written.
        if latest > shown {
            self.shown.fetch_max(latest, Ordering::Relaxed);
        }
        let now = latest.max(shown);
        Moment {
            now: Timestamp::from_unix_ms(now),
            earliest: Timestamp::from_unix_ms(earliest.min(now)),
            since_boot: Some(since_boot),
        }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::clock::set::SetClock;

    fn ms(ms: i64) -> Duration {
        Duration::from_millis(u64::try_from(ms).unwrap())
    }

    #[test]
    fn until_the_database_was_asked_the_own_clock_is_all_there_is() {
        let clock = Arc::new(SetClock::default());
        let time = NodeTime::new(clock.clone());
        clock.set(5_000, ms(1));
        assert_eq!(time.moment(), (time.now(), time.now()));
        assert_eq!((time.now().as_unix_ms(), time.offset_ms()), (5_000, 0));
    }

    #[test]
    fn what_the_own_clock_shows_decides_nothing_and_is_told() {
        let clock = Arc::new(SetClock::default());
        let time = NodeTime::new(clock.clone());
        clock.set(1_040_000, ms(500));
        assert_eq!(time.learn(ms(490), ms(500), 1_000_000), 40_000, "it is ahead");
        assert_eq!(time.offset_ms(), 40_000);
        let (latest, earliest) = time.moment();
        assert_eq!((latest.as_unix_ms(), earliest.as_unix_ms()), (1_000_011, 999_999));
        // It is set back by an hour; nothing of that is seen.
        clock.set(1_040_000 - 3_600_000, ms(700));
        assert_eq!(time.now().as_unix_ms(), 1_000_211);
        clock.set(960_000, ms(700));
        assert_eq!(time.learn(ms(700), ms(700), 1_000_200), -40_200, "it is behind");
    }

    #[test]
    fn the_time_does_not_go_back() {
        let clock = Arc::new(SetClock::default());
        let time = NodeTime::new(clock.clone());
        // A question that took long leaves much open; the next one says that it is earlier than it could have been.
        clock.set(0, ms(1_000));
        time.learn(ms(200), ms(1_000), 1_000_000);
        let shown = time.now();
        time.learn(ms(1_000), ms(1_000), 1_000_010);
        assert_eq!(time.now(), shown);
        assert!(time.moment().1 <= shown);
    }

    proptest! {
        #[test]
        fn what_it_is_lies_between_the_earliest_and_the_latest(
            boot in 0_i64..1_000_000,
            at_database in 0_i64..2_000_000_000_000,
            there in 0_i64..5_000,
            back in 0_i64..5_000,
            after in 0_i64..100_000,
        ) {
            let clock = Arc::new(SetClock::default());
            let time = NodeTime::new(clock.clone());
            let (asked, answered) = (boot, boot + there + back);
            clock.set(0, ms(answered));
            time.learn(ms(asked), ms(answered), at_database);
            clock.set(0, ms(answered + after));
            let truly = at_database + back + after;
            let (latest, earliest) = time.moment();
            prop_assert!(earliest.as_unix_ms() <= truly && truly <= latest.as_unix_ms());
        }
    }
}
