//! What a running program has printed so far, and waiting until it has printed something.
//!
//! A thread reads to the end of the output, so that the program never blocks on a full pipe.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// The output of a program, complete from its first line, growing while it runs.
#[derive(Clone, Default)]
pub struct Transcript {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    printed: Mutex<Printed>,
    has_grown: Condvar,
}

#[derive(Default)]
struct Printed {
    text: String,
    has_ended: bool,
}

impl Transcript {
    /// Begins to read; whole lines are added as they come.
    pub fn follow(source: impl Read + Send + 'static) -> Self {
        let transcript = Self::default();
        let ours = transcript.clone();
        std::thread::spawn(move || {
            let mut source = BufReader::new(source);
            let mut line = Vec::new();
            while source.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                ours.printed().text.push_str(&String::from_utf8_lossy(&line));
                line.clear();
                ours.shared.has_grown.notify_all();
            }
            ours.printed().has_ended = true;
            ours.shared.has_grown.notify_all();
        });
        transcript
    }

    /// Everything up to now.
    pub fn text(&self) -> String {
        self.printed().text.clone()
    }

    /// Waits until `find` finds something in the text, which it is shown whole each time. `None` when the
    /// program stops printing, or the time is over, without it.
    pub fn wait_for<T>(&self, limit: Duration, find: impl Fn(&str) -> Option<T>) -> Option<T> {
        let mut found = None;
        self.wait(limit, |printed| {
            found = find(&printed.text);
            found.is_some() || printed.has_ended
        });
        found
    }

    /// Waits for the end of the output; whether it came in time.
    pub fn wait_for_end(&self, limit: Duration) -> bool {
        self.wait(limit, |printed| printed.has_ended);
        self.printed().has_ended
    }

    fn wait(&self, limit: Duration, mut is_enough: impl FnMut(&Printed) -> bool) {
        let deadline = Instant::now() + limit;
        let mut printed = self.printed();
        while !is_enough(&printed) {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                return;
            };
            let waited = self.shared.has_grown.wait_timeout(printed, left);
            printed = waited.expect("no reader panics while it adds a line").0;
        }
    }

    fn printed(&self) -> MutexGuard<'_, Printed> {
        self.shared
            .printed
            .lock()
            .expect("no reader panics while it adds a line")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_and_the_end_is_noticed() {
        let transcript = Transcript::follow(&b"one\ntwo\n"[..]);
        let limit = Duration::from_secs(10);
        let second = transcript.wait_for(limit, |text| text.lines().nth(1).map(str::to_owned));
        assert_eq!(second.as_deref(), Some("two"));
        assert_eq!(
            transcript.wait_for(limit, |text| text.contains("three").then_some(())),
            None
        );
        assert!(transcript.wait_for_end(limit));
        assert_eq!(transcript.text(), "one\ntwo\n");
    }
}
