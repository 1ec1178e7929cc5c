//! Loads of keys from the database, shared by the requests that may share them.
//!
//! A load answers only requests that began before it did: a request that comes while a load of its key is running
//! waits for the next one. (Else a verify that begins after a delete returned could join a load that read before it.)
//! At most one load of a key runs at a time, and a bounded number of all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use keyward_core::ids::KeyId;
use tokio::sync::{Semaphore, watch};

use crate::cache::CachedKey;

const MAX_LOADS: usize = 64;
const PATIENCE: Duration = Duration::from_secs(5);

/// What a load found.
#[derive(Debug, Clone)]
pub(crate) enum Loaded {
    /// The key.
    Key(Arc<CachedKey>),
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
        Self { queues: Mutex::new(HashMap::new()), permits: Semaphore::new(MAX_LOADS) }
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
        loop {
            let permit = tokio::time::timeout(PATIENCE, self.permits.acquire()).await;
            let Some(waiting) = self.begin_next(id) else { return };
            let loaded = match permit {
                Ok(Ok(_permit)) => tokio::time::timeout(PATIENCE, load()).await.unwrap_or(Loaded::Failed),
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

/// Waits for a load's outcome; a loader that died counts as failed.
pub(crate) async fn outcome_of(mut outcome: Outcome) -> Loaded {
    match outcome.wait_for(Option::is_some).await {
        Ok(loaded) => loaded.clone().unwrap_or(Loaded::Failed),
        Err(_) => Loaded::Failed,
    }
}
