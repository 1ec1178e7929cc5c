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

/// The operating system's random source.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemRandom;

impl RandomSource for SystemRandom {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RandomUnavailable> {
        getrandom::fill(bytes).map_err(|_| RandomUnavailable)
    }
}
