//! Waiting until every node knows a change, before whoever made it is answered.
//!
//! A node is confirmed when it applied everything up to the last change that there was after the write's outcome was known, and
//! counted out only when its lease is over by the database's clock and its row says so. One whole lease and margin on this
//! node's own clock is always enough, whatever the database says or does not say, because no lease that was asked for before the
//! write was committed runs longer; and nothing has to be locked for that.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use keyward_store::nodes::Standings;
use keyward_store::{Store, StoreError};

use crate::Engine;
use crate::error::EngineError;
use crate::key_write::ATTEMPT_PATIENCE;
use crate::right::{LEASE, MARGIN};

/// Between the first two looks; doubled with each to [`LOOK_SELDOM`].
const LOOK_OFTEN: Duration = Duration::from_millis(2);
const LOOK_SELDOM: Duration = Duration::from_millis(25);

/// Who knows of a write that is answered now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confirmed {
    /// Nodes that know it, this one among them.
    pub confirmed: u32,
    /// Nodes that did not say so, and answer nothing from memory any more.
    pub waited_out: u32,
    /// How long was waited, in milliseconds.
    pub waited_ms: u64,
    /// Whether the write is on a standby too, so that it is true also after the database's primary is lost; false if that is not
    /// known. `None` on SQLite, which has no other server.
    pub survives_failover: Option<bool>,
}

impl Confirmed {
    /// Where there is no other node.
    pub(crate) const ALONE: Self = Self {
        confirmed: 1,
        waited_out: 0,
        waited_ms: 0,
        survives_failover: None,
    };
}

/// Whether all of what was done is on a standby too, after one more write; `None` before the first, and on SQLite.
pub(crate) const fn all_survive(before: Option<bool>, one: Option<bool>) -> Option<bool> {
    match (before, one) {
        (Some(before), Some(one)) => Some(before && one),
        (Some(known), None) | (None, Some(known)) => Some(known),
        (None, None) => None,
    }
}

/// Reads where the nodes stand, once for all who asked before the reading began.
#[derive(Debug, Default)]
pub(crate) struct SharedLook {
    asked: AtomicU64,
    last: tokio::sync::Mutex<LastLook>,
}

#[derive(Debug, Default)]
struct LastLook {
    /// How many had asked when it began.
    covers: u64,
    seen: Option<Arc<Standings>>,
}

impl SharedLook {
    /// How the nodes stood at a moment after this call began; `None` if the database did not say.
    async fn look(&self, store: &Store) -> Option<Arc<Standings>> {
        let own = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut last = self.last.lock().await;
        if last.covers >= own {
            return last.seen.clone();
        }
        let covers = self.asked.load(Ordering::SeqCst);
        // Left so if this is dropped on the way.
        last.seen = None;
        let seen = match store.node_standings().await {
            Ok(standings) => Some(Arc::new(standings)),
            Err(error) => {
                tracing::debug!(%error, "how far the nodes are could not be read");
                None
            }
        };
        *last = LastLook {
            covers,
            seen: seen.clone(),
        };
        seen
    }
}

/// Who is waited for.
#[derive(Default)]
struct Wait {
    /// Set by the first look.
    target: Option<i64>,
    missing: Vec<String>,
    confirmed: u32,
    waited_out: u32,
    survives_failover: bool,
}

impl Wait {
    /// Takes in a look; the nodes that can be counted out. Nobody waits for `own`; an empty text is no node's id.
    fn take_in(&mut self, own: &str, seen: &Standings) -> Vec<String> {
        let target = match self.target {
            Some(target) => target,
            None => {
                let others = seen.nodes.iter().filter(|node| node.id != own);
                self.missing = others.map(|node| node.id.clone()).collect();
                self.survives_failover = seen.survives_failover;
                *self.target.insert(seen.last_change)
            }
        };
        let (mut overdue, mut missing) = (Vec::new(), Vec::new());
        for id in std::mem::take(&mut self.missing) {
            match seen.nodes.iter().find(|node| node.id == id) {
                Some(node) if node.applied >= target => self.confirmed += 1,
                Some(node) => {
                    if node.is_over {
                        overdue.push(id.clone());
                    }
                    missing.push(id);
                }
                // A row that is gone is of a node that stopped, and said so.
                None => self.waited_out += u32::from(seen.lapsed.contains(&id)),
            }
        }
        self.missing = missing;
        overdue
    }

    const fn is_over(&self) -> bool {
        self.target.is_some() && self.missing.is_empty()
    }
}

impl Engine {
    /// Waits until no node answers from what was before a write whose outcome is known now and is applied here.
    pub(crate) async fn confirm(&self) -> Confirmed {
        match &self.inner.node {
            Some(node) => {
                let others = self.confirm_to_all_but(&node.id).await;
                Confirmed {
                    confirmed: others.confirmed.saturating_add(1),
                    ..others
                }
            }
            None => Confirmed::ALONE,
        }
    }

    /// Waits until no node, this one among them, answers from what was before anything that was read before this call: for a reply
    /// that tells of what was found done, by whomever, and applied nothing here.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`]: what was found may not be on the standby.
    pub(crate) async fn confirm_found(&self) -> Result<Confirmed, EngineError> {
        if self.inner.node.is_none() {
            return Ok(Confirmed::ALONE);
        }
        // Without a standby that is waited for, a commit has no end.
        tokio::time::timeout(ATTEMPT_PATIENCE, self.inner.store.wait_for_standby())
            .await
            .map_err(|_| StoreError::TimedOut)??;
        Ok(self.confirm_to_all_but("").await)
    }

    async fn confirm_to_all_but(&self, known: &str) -> Confirmed {
        let (store, time) = (&self.inner.store, &self.inner.time);
        let began = time.since_boot();
        let enough = LEASE + MARGIN;
        let waited = || time.since_boot().saturating_sub(began);
        let mut wait = Wait::default();
        let mut pause = LOOK_OFTEN;
        loop {
            let remaining = enough.saturating_sub(waited());
            let look = async {
                let Some(seen) = self.inner.look.look(store).await else {
                    return;
                };
                if !wait.take_in(known, &seen).is_empty() {
                    // Refused or failed, it is looked at again.
                    let _ = store.lapse_overdue_nodes().await;
                }
            };
            let _ = tokio::time::timeout(remaining, look).await;
            if wait.is_over() || waited() >= enough {
                break;
            }
            tokio::time::sleep(pause.min(enough.saturating_sub(waited()))).await;
            pause = (pause * 2).min(LOOK_SELDOM);
        }
        let missing = u32::try_from(wait.missing.len()).unwrap_or(u32::MAX);
        let waited = waited();
        let confirmed = Confirmed {
            confirmed: wait.confirmed,
            waited_out: wait.waited_out.saturating_add(missing),
            waited_ms: u64::try_from(waited.as_millis()).unwrap_or(u64::MAX),
            survives_failover: Some(wait.survives_failover),
        };
        self.inner.metrics.node.count_write(waited, confirmed);
        confirmed
    }
}

#[cfg(test)]
mod tests {
    use keyward_store::nodes::NodeStanding;

    use super::*;

    fn seen(last_change: i64, nodes: &[(&str, i64, bool)], lapsed: &[&str]) -> Standings {
        let nodes = nodes.iter().map(|(id, applied, is_over)| NodeStanding {
            id: (*id).to_owned(),
            applied: *applied,
            is_over: *is_over,
        });
        Standings {
            last_change,
            nodes: nodes.collect(),
            lapsed: lapsed.iter().map(|id| (*id).to_owned()).collect(),
            survives_failover: false,
        }
    }

    #[test]
    fn nodes_that_are_far_enough_are_confirmed_at_once() {
        let mut wait = Wait::default();
        assert!(!wait.is_over(), "nothing was seen yet");
        let overdue = wait.take_in("own", &seen(7, &[("own", 3, false), ("b", 7, true)], &["c"]));
        assert!(overdue.is_empty() && wait.is_over());
        assert_eq!(
            (wait.confirmed, wait.waited_out),
            (1, 0),
            "who lapsed before is not waited for"
        );
    }

    #[test]
    fn the_first_look_says_how_far_is_far_enough() {
        let mut wait = Wait::default();
        wait.take_in("own", &seen(7, &[("b", 6, false), ("c", -1, false)], &[]));
        assert!(!wait.is_over());
        wait.take_in(
            "own",
            &seen(9, &[("b", 7, false), ("c", -1, false), ("d", -1, false)], &[]),
        );
        assert_eq!(
            (wait.confirmed, wait.is_over()),
            (1, false),
            "c knows nothing yet; d came later"
        );
        wait.take_in("own", &seen(9, &[("b", 7, false), ("c", 9, false)], &[]));
        assert_eq!((wait.confirmed, wait.waited_out, wait.is_over()), (2, 0, true));
    }

    #[test]
    fn a_node_is_counted_out_only_when_its_row_says_so() {
        let mut wait = Wait::default();
        let overdue = wait.take_in("own", &seen(7, &[("b", 6, true), ("c", 6, false)], &[]));
        assert_eq!(overdue, ["b"]);
        assert!(!wait.is_over());
        wait.take_in("own", &seen(7, &[("c", 6, false)], &["b"]));
        assert_eq!((wait.waited_out, wait.is_over()), (1, false));
        wait.take_in("own", &seen(7, &[], &["b"]));
        assert_eq!(
            (wait.waited_out, wait.is_over()),
            (1, true),
            "c stopped, and removed its row"
        );
    }
}
