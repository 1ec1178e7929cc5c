//! Where time comes from: values that the server hands in, so that tests can choose the moment.
//!
//! The system's random source stands beside it for the same reason: it is named once.

use std::sync::Arc;
use std::time::Duration;

use keyward_core::random::{RandomSource, RandomUnavailable};
use keyward_core::time::Timestamp;

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// The present moment.
    fn now(&self) -> Timestamp;

    /// How long the machine runs. It never jumps, whatever is done to the clock, and goes on while the machine sleeps.
    fn since_boot(&self) -> Duration;

    /// Whether the moment can be compared with another machine's. A test's clock shows what the test wants.
    fn is_real(&self) -> bool;
}

/// The clock that an engine reads.
pub type SharedClock = Arc<dyn Clock>;

/// A clock of which a unit test says what it shows, and that counts as a real one.
#[cfg(test)]
pub(crate) mod set {
    use std::sync::Mutex;

    use super::{Clock, Duration, Timestamp};

    /// Wall clock in milliseconds since 1970, and how long the machine runs.
    #[derive(Debug, Default)]
    pub(crate) struct SetClock(pub(crate) Mutex<(i64, Duration)>);

    impl SetClock {
        pub(crate) fn set(&self, unix_ms: i64, since_boot: Duration) {
            *self.0.lock().unwrap() = (unix_ms, since_boot);
        }
    }

    impl Clock for SetClock {
        fn now(&self) -> Timestamp {
            Timestamp::from_unix_ms(self.0.lock().unwrap().0)
        }

        fn since_boot(&self) -> Duration {
            self.0.lock().unwrap().1
        }

        fn is_real(&self) -> bool {
            true
        }
    }
}

/// The operating system's random source.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemRandom;

impl RandomSource for SystemRandom {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RandomUnavailable> {
        getrandom::fill(bytes).map_err(|_| RandomUnavailable)
    }
}
