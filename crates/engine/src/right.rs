//! The right of this process to answer from memory and to write, as every verify asks for it.
//!
//! On SQLite the data folder's lock gives it for the process's life. On PostgreSQL it is a lease, counted on the node's own clock
//! from *before* it asked for it, less a margin for clocks that run differently fast. Here is only what is known of it;
//! [`crate::node_keeper`] renews it.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::SharedClock;

/// How long a lease lasts, counted from before it was asked for.
pub const LEASE: Duration = Duration::from_millis(1_500);
/// What a node takes off its lease and a writer puts onto its wait: clocks of two machines may run by a fifteenth differently.
pub const MARGIN: Duration = Duration::from_millis(100);

/// The state of the right; read on every verify.
pub struct Right {
    clock: SharedClock,
    is_permanent: AtomicBool,
    /// Nanoseconds since the machine started until which it is held; 0: not at all.
    until_ns: AtomicU64,
    epoch: AtomicI64,
    is_first: AtomicBool,
}

/// Until when the right was held when it was looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SeenRight(u64);

impl Right {
    pub(crate) fn none(clock: SharedClock) -> Self {
        Self {
            clock,
            is_permanent: AtomicBool::new(false),
            until_ns: AtomicU64::new(0),
            epoch: AtomicI64::new(0),
            is_first: AtomicBool::new(false),
        }
    }

    /// Whether keys may be written, and answers given from memory, at this moment.
    pub fn is_held(&self) -> bool {
        self.is_still_held(self.seen(), None)
    }

    /// The right as it is before memory is looked at.
    pub(crate) fn seen(&self) -> SeenRight {
        // Acquired, so that whoever sees the new lease sees the changes that were applied before it.
        SeenRight(match self.is_permanent.load(Ordering::Acquire) {
            true => u64::MAX,
            false => self.until_ns.load(Ordering::Acquire),
        })
    }

    /// Whether the right that was seen before memory was looked at is held yet, at a moment that whoever asks has just read; the
    /// clock is read where they have not. A lease that was renewed between does not count: what was read may be from before the
    /// changes that came with it.
    pub(crate) fn is_still_held(&self, seen: SeenRight, since_boot: Option<Duration>) -> bool {
        seen.0 == u64::MAX || {
            let moment = since_boot.unwrap_or_else(|| self.clock.since_boot());
            // Nor does one that was lost since.
            nanoseconds(moment) < seen.0.min(self.until_ns.load(Ordering::Acquire))
        }
    }

    /// For how long it is held yet; `None`: without an end.
    pub(crate) fn remaining(&self) -> Option<Duration> {
        if self.is_permanent.load(Ordering::Acquire) {
            return None;
        }
        let until = Duration::from_nanos(self.until_ns.load(Ordering::Acquire));
        Some(until.saturating_sub(self.clock.since_boot()))
    }

    /// Whether this is the node that does what one of them has to do: the one that started before all others that count.
    pub fn is_held_first(&self) -> bool {
        self.is_held() && self.is_first.load(Ordering::Acquire)
    }

    /// The epoch to write under; a wrong one is refused by the database.
    pub(crate) fn epoch(&self) -> i64 {
        self.epoch.load(Ordering::Acquire)
    }

    pub(crate) fn hold_for_ever(&self, epoch: i64) {
        self.epoch.store(epoch, Ordering::Release);
        self.is_first.store(true, Ordering::Release);
        self.is_permanent.store(true, Ordering::Release);
    }

    /// Holds it for one lease from `asked_at` on, which is a time since the machine started.
    pub(crate) fn hold_from(&self, asked_at: Duration, epoch: i64, is_first: bool) {
        self.epoch.store(epoch, Ordering::Release);
        self.is_first.store(is_first, Ordering::Release);
        let until = nanoseconds(asked_at + (LEASE - MARGIN));
        self.until_ns.store(until, Ordering::Release);
    }

    pub(crate) fn lose(&self) {
        self.until_ns.store(0, Ordering::Release);
    }
}

fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::set::SetClock;

    #[test]
    fn a_lease_runs_from_before_it_was_asked_for_less_the_margin() {
        let clock = Arc::new(SetClock::default());
        let right = Right::none(clock.clone());
        let asked_at = Duration::from_secs(100);
        clock.set(0, asked_at + Duration::from_millis(30));
        right.hold_from(asked_at, 1, false);
        assert!(right.is_held());
        clock.set(0, asked_at + LEASE - MARGIN - Duration::from_nanos(1));
        assert!(right.is_held());
        clock.set(0, asked_at + LEASE - MARGIN);
        assert!(!right.is_held());
    }

    #[test]
    fn a_lease_that_was_renewed_or_lost_after_memory_was_looked_at_does_not_count() {
        let clock = Arc::new(SetClock::default());
        let right = Right::none(clock.clone());
        right.hold_from(Duration::from_secs(100), 1, false);
        clock.set(0, Duration::from_secs(101));
        let seen = right.seen();
        assert!(right.is_still_held(seen, None));
        // Whoever looked was stopped until the lease was over, and a new one is there when it goes on.
        clock.set(0, Duration::from_secs(110));
        right.hold_from(Duration::from_secs(110), 1, false);
        assert!(right.is_held() && !right.is_still_held(seen, None));
        let seen = right.seen();
        right.lose();
        assert!(!right.is_still_held(seen, None));
    }

    #[test]
    fn the_margin_is_enough_for_clocks_that_run_by_a_fifteenth_differently() {
        // What a slow clock counts as the usable part of a lease is no more than the lease.
        assert!((LEASE - MARGIN) * 15 / 14 <= LEASE);
        // What a fast one counts as the longest wait is no less.
        assert!((LEASE + MARGIN) * 15 / 16 >= LEASE);
    }

    #[test]
    fn one_process_alone_holds_it_for_ever() {
        let right = Right::none(Arc::new(SetClock::default()));
        assert!(!right.is_held());
        right.hold_for_ever(1);
        assert!(right.is_held() && right.is_still_held(right.seen(), Some(Duration::MAX)));
    }
}
