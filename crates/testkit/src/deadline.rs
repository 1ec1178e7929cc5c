//! Waiting for something that happens in another process, which tells nobody when it does.
//!
//! Tests of one process move the clock and do not need this.

use std::time::{Duration, Instant};

/// How long the real program or its environment may take before a test gives up. Generous, because a test
/// machine may be busy; a test that passes never waits for it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Tries again until `attempt` has an answer; panics with `what` when it has none within [`PATIENCE`].
pub fn wait_for<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = attempt() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain: {what}");
        pause();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a pause between two looks at another process, not a guess at its speed"
)]
fn pause() {
    std::thread::sleep(Duration::from_millis(10));
}
