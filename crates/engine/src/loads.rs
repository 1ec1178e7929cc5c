//! Loads of keys from the database, shared by the requests that may share them.
//!
//! A load answers only requests that began before it did: a request that comes while a load of its key is running
//! waits for the next one. (Else a verify that begins after a delete returned could join a load that read before it.)
//! At most one load of a key runs at a time, and a bounded number of all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use keyward_core::decision::OrganizationState;
use keyward_core::ids::KeyId;
use tokio::sync::{Semaphore, watch};

use crate::cache::CachedKey;

const MAX_LOADS: usize = 64;
/// How long a load waits for its turn where all others are taken: a moment of many cold keys passes, a slow database does not.
const QUEUE_PATIENCE: Duration = Duration::from_secs(1);
/// How long is waited for one read.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// What a load found.
#[derive(Debug, Clone)]
pub(crate) enum Loaded {
    /// The key, and the state of its organization.
    Key(Arc<CachedKey>, OrganizationState),
    /// The database has no such key.
    Nothing,
    /// Nobody can say.
    Failed,
}

type Outcome = watch::Receiver<Option<Loaded>>;

/// The loads that run or wait.
pub(crate) struct Loads {
    queues: Mutex<HashMap<KeyId, Queue>>,
    permits: Semaphore,
}

#[derive(Default)]
struct Queue {
    is_running: bool,
    /// The load that has not begun yet; whoever comes now joins it.
    next: Option<(watch::Sender<Option<Loaded>>, Outcome)>,
}

/// What a request has to do.
pub(crate) enum Turn {
    /// Somebody else loads; wait for it.
    Wait(Outcome),
    /// Nothing runs: start the loader in a task, and wait as well.
    Lead(Outcome),
}

impl Loads {
    pub(crate) fn new() -> Self {
        Self {
            queues: Mutex::new(HashMap::new()),
            permits: Semaphore::new(MAX_LOADS),
        }
    }

    /// Joins the next load of a key.
    pub(crate) fn join(&self, id: KeyId) -> Turn {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = queues.entry(id).or_default();
        let outcome = queue.next.get_or_insert_with(|| watch::channel(None)).1.clone();
        if queue.is_running {
            Turn::Wait(outcome)
        } else {
            queue.is_running = true;
            Turn::Lead(outcome)
        }
    }

    /// Runs loads of a key until nobody waits. To be called in a task of its own.
    pub(crate) async fn run<F: Future<Output = Loaded>>(&self, id: KeyId, load: impl Fn() -> F) {
        let mut running = Running {
            loads: self,
            id,
            has_ended: false,
        };
        loop {
            let permit = tokio::time::timeout(QUEUE_PATIENCE, self.permits.acquire()).await;
            let Some(waiting) = self.begin_next(id) else {
                running.has_ended = true;
                return;
            };
            let loaded = match permit {
                Ok(Ok(_permit)) => tokio::time::timeout(PATIENCE, load())
                    .await
                    .unwrap_or(Loaded::Failed),
                // Above the bound nobody waits in an endless queue; the caller is told to come again.
                _ => Loaded::Failed,
            };
            // Nobody may be waiting any more.
            let _ = waiting.send(Some(loaded));
        }
    }

    /// Takes the waiting batch; from here on newcomers wait for the next one.
    fn begin_next(&self, id: KeyId) -> Option<watch::Sender<Option<Loaded>>> {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let next = queues.get_mut(&id).and_then(|queue| queue.next.take());
        if next.is_none() {
            queues.remove(&id);
        }
        next.map(|(sender, _)| sender)
    }
}

/// A loader at work. One that dies gives up its queue, so that whoever waits is told, and the next request begins anew.
struct Running<'a> {
    loads: &'a Loads,
    id: KeyId,
    has_ended: bool,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.loads
                .queues
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&self.id);
        }
    }
}

/// Waits for a load's outcome; a loader that died counts as failed.
pub(crate) async fn outcome_of(mut outcome: Outcome) -> Loaded {
    match outcome.wait_for(Option::is_some).await {
        Ok(loaded) => loaded.clone().unwrap_or(Loaded::Failed),
        Err(_) => Loaded::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> KeyId {
        "0123456789abcdef".parse().unwrap()
    }

    fn lead(loads: &Loads) -> Outcome {
        match loads.join(id()) {
            Turn::Lead(outcome) => outcome,
            Turn::Wait(_) => panic!("nothing was running"),
        }
    }

    fn wait(loads: &Loads) -> Outcome {
        match loads.join(id()) {
            Turn::Wait(outcome) => outcome,
            Turn::Lead(_) => panic!("a load was running"),
        }
    }

    #[tokio::test]
    async fn a_load_answers_only_requests_that_began_before_it() {
        let loads = Arc::new(Loads::new());
        let number = std::sync::atomic::AtomicUsize::new(0);
        let first = lead(&loads);
        let late = Mutex::new(None);
        loads
            .run(id(), || async {
                if number.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0 {
                    *late.lock().unwrap() = Some(wait(&loads));
                    return Loaded::Failed;
                }
                Loaded::Nothing
            })
            .await;
        assert!(matches!(outcome_of(first).await, Loaded::Failed));
        let late = late.lock().unwrap().take().unwrap();
        assert!(
            matches!(outcome_of(late).await, Loaded::Nothing),
            "it waited for the second load"
        );
        assert!(loads.queues.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_loader_that_dies_leaves_nobody_waiting() {
        let loads = Arc::new(Loads::new());
        let first = lead(&loads);
        let late = Arc::new(Mutex::new(None));
        let loader = tokio::spawn({
            let (loads, late) = (Arc::clone(&loads), Arc::clone(&late));
            async move {
                loads
                    .run(id(), || async {
                        *late.lock().unwrap() = Some(wait(&loads));
                        panic!("as a defect would")
                    })
                    .await;
            }
        });
        assert!(loader.await.is_err());
        assert!(matches!(outcome_of(first).await, Loaded::Failed));
        let late = late.lock().unwrap().take().unwrap();
        assert!(matches!(outcome_of(late).await, Loaded::Failed));
        lead(&loads);
    }

    #[tokio::test(start_paused = true)]
    async fn a_load_that_takes_too_long_has_failed() {
        let loads = Loads::new();
        let first = lead(&loads);
        loads.run(id(), std::future::pending).await;
        assert!(matches!(outcome_of(first).await, Loaded::Failed));
        assert!(loads.queues.lock().unwrap().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn above_the_bound_it_is_said_in_time_that_nobody_can_say() {
        let loads = Arc::new(Loads::new());
        let number = |number: usize| -> KeyId { format!("{number:016}").parse().unwrap() };
        let (began, mut begun) = tokio::sync::mpsc::unbounded_channel();
        for at in 0..MAX_LOADS {
            let (loads, began) = (Arc::clone(&loads), began.clone());
            assert!(matches!(loads.join(number(at)), Turn::Lead(_)));
            tokio::spawn(async move {
                loads
                    .run(number(at), || async {
                        let _ = began.send(());
                        std::future::pending().await
                    })
                    .await;
            });
        }
        for _ in 0..MAX_LOADS {
            begun.recv().await.unwrap();
        }
        let Turn::Lead(outcome) = loads.join(number(MAX_LOADS)) else {
            panic!("another key is not loaded yet");
        };
        let asked_at = tokio::time::Instant::now();
        let running = loads.run(number(MAX_LOADS), || async {
            panic!("there is no room for one more")
        });
        let told = async {
            assert!(matches!(outcome_of(outcome).await, Loaded::Failed));
            assert_eq!(asked_at.elapsed().as_secs(), QUEUE_PATIENCE.as_secs());
        };
        tokio::join!(running, told);
    }
}
