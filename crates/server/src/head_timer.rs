//! The time that a connection's requests have for their heads, kept by one alarm a connection.
//!
//! HTTP's implementation starts a timer before each head and stops it after; with the runtime's own timers both take locks of the
//! whole process and memory, for a limit that is almost never reached. Here a deadline is only written down: the alarm is set when
//! there is none, or when it rings and the deadline that counts by then is later. No connection rings more often than once in a
//! limit's time, and none is late.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};

/// The timer of one connection.
#[derive(Clone, Default)]
pub(crate) struct HeadTimer(Arc<Mutex<Option<Alarm>>>);

type Alarm = Pin<Box<tokio::time::Sleep>>;

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        let deadline = deadline.into();
        let timer = self.clone();
        Box::pin(Waiting { timer, deadline })
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
}

/// Until a deadline.
struct Waiting {
    timer: HeadTimer,
    deadline: tokio::time::Instant,
}

impl Sleep for Waiting {}

impl Future for Waiting {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut alarm = self.timer.0.lock().unwrap_or_else(PoisonError::into_inner);
        let alarm = alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(self.deadline)));
        if alarm.deadline() > self.deadline {
            alarm.as_mut().reset(self.deadline);
        }
        // It rings no later than the deadline; what rings for an earlier one is set anew.
        while alarm.as_mut().poll(context).is_ready() {
            if alarm.deadline() >= self.deadline {
                return Poll::Ready(());
            }
            alarm.as_mut().reset(self.deadline);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    #[tokio::test(start_paused = true)]
    async fn a_deadline_is_kept_to_the_millisecond_whatever_came_before() {
        let timer = HeadTimer::default();
        let begun = tokio::time::Instant::now();
        // Requests that came in time leave their alarm behind.
        for _ in 0..5 {
            let mut head = timer.sleep(LIMIT);
            let in_time = tokio::time::timeout(LIMIT / 3, &mut head).await;
            assert!(in_time.is_err(), "it rang {:?} after the start", begun.elapsed());
        }
        let silent_since = tokio::time::Instant::now();
        timer.sleep(LIMIT).await;
        let waited = silent_since.elapsed();
        assert!(
            (LIMIT..LIMIT + Duration::from_millis(2)).contains(&waited),
            "{waited:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_earlier_deadline_than_the_one_before_is_kept_as_well() {
        let timer = HeadTimer::default();
        let begun = tokio::time::Instant::now();
        assert!(tokio::time::timeout(LIMIT / 4, timer.sleep(LIMIT)).await.is_err());
        timer.sleep(LIMIT / 4).await;
        let waited = begun.elapsed();
        assert!(waited < LIMIT / 2 + Duration::from_millis(3), "{waited:?}");
    }
}
