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
        self.is_held_at(None)
    }

    /// Whether it is held at a moment that whoever asks has just read; the clock is read where they have not.
    pub(crate) fn is_held_at(&self, since_boot: Option<Duration>) -> bool {
        self.is_permanent.load(Ordering::Acquire) || {
            let moment = since_boot.unwrap_or_else(|| self.clock.since_boot());
            // Acquired, so that whoever sees the new lease sees the changes that were applied before it.
            nanoseconds(moment) < self.until_ns.load(Ordering::Acquire)
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
