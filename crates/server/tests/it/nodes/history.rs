//! What was asked of which node, from when to when, and what it answered.
//!
//! All moments are of one clock, that of the test's process: an act begins before its first byte is sent, and ends after the last
//! byte of its answer is read. No key's value is in it.

use std::fmt;
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

/// What a key may do, as far as the workload changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grant {
    /// One bit for each of dataset, training, deployment.
    pub(super) scopes: u8,
    /// Full, or else read only.
    pub(super) is_full: bool,
}

impl Grant {
    pub(super) const ALL: Self = Self {
        scopes: 7,
        is_full: true,
    };
    pub(super) const SCOPES: [&str; 3] = ["dataset", "training", "deployment"];

    pub(super) const fn is_within(self, other: Self) -> bool {
        self.scopes & !other.scopes == 0 && (other.is_full || !self.is_full)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Create,
    Delete,
    Pause,
    Resume,
    Edit(Grant),
    /// Ends every other secret at once; the number is that of the new one, by which verifies name it.
    Rotate(u32),
    Verify(u32),
    /// After everything has healed, when nothing is written any more.
    LastVerify(u32),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// A write is acknowledged.
    Done,
    /// A verify is accepted.
    Accepted(Grant),
    /// Refused with this code; a write has not happened.
    Refused(String),
    /// None came, or one that says that it is not known: a write may have happened, or happen yet.
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) begun_us: u64,
    pub(super) ended_us: u64,
    pub(super) node: usize,
    pub(super) key: usize,
    pub(super) act: Act,
    pub(super) answer: Answer,
}

impl fmt::Display for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |us: u64| format!("{}.{:06}", us / 1_000_000, us % 1_000_000);
        write!(
            formatter,
            "{} to {} node {} key {} {:?}: {:?}",
            seconds(self.begun_us),
            seconds(self.ended_us),
            self.node,
            self.key,
            self.act,
            self.answer
        )
    }
}

/// The record.
pub(super) struct History {
    began: Instant,
    events: Mutex<Vec<Event>>,
    faults: Mutex<Vec<(u64, u64, String)>>,
}

impl History {
    pub(super) fn begin() -> Self {
        Self {
            began: Instant::now(),
            events: Mutex::default(),
            faults: Mutex::default(),
        }
    }

    pub(super) fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).expect("a test does not last that long")
    }

    /// Does something and writes down what came of it.
    pub(super) fn record<T>(
        &self,
        (node, key, act): (usize, usize, Act),
        run: impl FnOnce() -> (Answer, T),
    ) -> (Answer, T) {
        let begun_us = self.now_us();
        let (answer, found) = run();
        let event = Event {
            begun_us,
            ended_us: self.now_us(),
            node,
            key,
            act,
            answer: answer.clone(),
        };
        self.events().push(event);
        (answer, found)
    }

    pub(super) fn events(&self) -> MutexGuard<'_, Vec<Event>> {
        self.events.lock().expect("nobody panics with the events")
    }

    /// Writes down a fault that began then and ends now.
    pub(super) fn fault(&self, begun_us: u64, what: String) {
        let fault = (begun_us, self.now_us(), what);
        self.faults
            .lock()
            .expect("nobody panics with the faults")
            .push(fault);
    }

    /// The faults, one a line.
    pub(super) fn shown_faults(&self) -> String {
        let faults = self.faults.lock().expect("nobody panics with the faults");
        let lines = faults
            .iter()
            .map(|(begun, ended, what)| format!("{begun} to {ended} us: {what}\n"));
        lines.collect()
    }
}
