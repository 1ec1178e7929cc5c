//! Keeps this node's lease, and with each renewal takes in what other nodes changed.
//!
//! The order is what the promise stands on: the lease's time is counted from before the question; the changes are applied before the
//! renewal is committed, and the lease is used after it; a node that must begin anew empties its memory after it read how far the
//! changes are. Whatever fails leaves the lease to run out, and verifies ask the database then. It is in
//! `docs/REVOCATION.md` why this is enough.

use std::sync::Arc;
use std::time::Duration;

use keyward_store::node_lease::{Changed, NewNode, NodeConnection, Renewal};
use keyward_store::{Store, StoreError};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cache::VerificationCache;
use crate::node_metrics::{NodeMetrics, RenewalOutcome};
use crate::node_time::NodeTime;
use crate::right::{LEASE, Right};

/// How often the lease is renewed when nothing happens.
pub const RENEW_EVERY: Duration = Duration::from_millis(250);
/// The least time between two renewals, however much happens.
const RENEW_NOT_BEFORE: Duration = Duration::from_millis(5);
/// How long one renewal may take; then its connection is given up.
const PATIENCE: Duration = Duration::from_millis(750);
/// How long a first renewal may take at the start.
const START_PATIENCE: Duration = Duration::from_secs(10);
/// After a failure, doubled with each to [`RENEW_EVERY`].
const RETRY_FIRST: Duration = Duration::from_millis(25);
/// After a failure to listen.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

/// What keeps the lease of one node.
pub(crate) struct NodeKeeper {
    store: Store,
    right: Arc<Right>,
    time: Arc<NodeTime>,
    metrics: Arc<NodeMetrics>,
    cache: Arc<VerificationCache>,
    node: NewNode,
    connection: Option<NodeConnection>,
    /// Of which epoch and server the memory is; `None`: of none, and it has to be emptied first.
    memory_of: Option<(i64, String)>,
    must_join: bool,
}

impl NodeKeeper {
    pub(crate) fn new(
        store: Store,
        (right, time, metrics): (Arc<Right>, Arc<NodeTime>, Arc<NodeMetrics>),
        cache: Arc<VerificationCache>,
        node: NewNode,
    ) -> Self {
        Self {
            store,
            right,
            time,
            metrics,
            cache,
            node,
            connection: None,
            memory_of: None,
            must_join: true,
        }
    }

    /// Gets the first lease.
    ///
    /// # Errors
    /// [`StoreError::NotTheWriter`] if a version serves this database that does so alone.
    pub(crate) async fn begin(&mut self) -> Result<(), StoreError> {
        if self.store.is_served_alone().await? {
            return Err(StoreError::NotTheWriter);
        }
        let deadline = Instant::now() + START_PATIENCE;
        loop {
            match self.renew_in_time().await {
                Ok(()) if self.right.is_held() => return Ok(()),
                Err(error) if Instant::now() > deadline => return Err(error),
                Ok(()) | Err(_) if Instant::now() > deadline => return Err(StoreError::TimedOut),
                Ok(()) | Err(_) => tokio::time::sleep(RETRY_FIRST).await,
            }
        }
    }

    /// Renews until told to stop, then gives the lease up.
    pub(crate) async fn keep(mut self, stop: CancellationToken) {
        let woken = Arc::new(Notify::new());
        let listening = tokio::spawn(listen(self.store.clone(), Arc::clone(&woken), stop.clone()));
        let (mut pause, mut was_held) = (RENEW_EVERY, true);
        while !stop.is_cancelled() {
            let began = Instant::now();
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
                () = woken.notified() => tokio::time::sleep_until(began + RENEW_NOT_BEFORE).await,
            }
            // Before it is renewed as well: a process that was frozen had none meanwhile.
            self.tell(&mut was_held);
            pause = match self.renew_in_time().await {
                Ok(()) => RENEW_EVERY,
                Err(error) => {
                    tracing::debug!(%error, "the lease was not renewed");
                    if pause < RENEW_EVERY {
                        (pause * 2).min(RENEW_EVERY)
                    } else {
                        RETRY_FIRST
                    }
                }
            };
            self.tell(&mut was_held);
        }
        self.right.lose();
        if let Some(mut connection) = self.connection.take() {
            // A database that does not answer waits for the lease's end by itself.
            let _ = tokio::time::timeout(PATIENCE, connection.leave()).await;
            let _ = tokio::time::timeout(PATIENCE, connection.close()).await;
        }
        let _ = listening.await;
    }

    fn tell(&self, was_held: &mut bool) {
        let is_held = self.right.is_held();
        match (*was_held, is_held) {
            (true, false) => {
                self.metrics.count_lost_lease();
                tracing::error!("this node has no lease: keys are read from the database");
            }
            (false, true) => tracing::info!("this node has a lease again"),
            _ => {}
        }
        *was_held = is_held;
    }

    async fn renew_in_time(&mut self) -> Result<(), StoreError> {
        // Taken, so that a connection on which a renewal did not come to its end is not used again.
        let mut connection = self.connection.take();
        let renewed = tokio::time::timeout(PATIENCE, self.renew(&mut connection)).await;
        match renewed {
            Ok(Ok(outcome)) => {
                self.metrics.count_renewal(outcome);
                self.connection = connection;
                Ok(())
            }
            Ok(Err(error)) => {
                self.metrics.count_renewal(RenewalOutcome::Failed);
                Err(error)
            }
            Err(_) => {
                self.metrics.count_renewal(RenewalOutcome::TimedOut);
                Err(StoreError::TimedOut)
            }
        }
    }

    async fn renew(&mut self, connection: &mut Option<NodeConnection>) -> Result<RenewalOutcome, StoreError> {
        let connection = match connection {
            Some(connection) => connection,
            None => match self.store.connect_node(&self.node.id).await? {
                Some(new) => connection.insert(new),
                // Only where there are nodes is there a keeper.
                None => return Ok(RenewalOutcome::Failed),
            },
        };
        if self.must_join {
            // Before the row counts again: nobody told this node what was changed while it did not count.
            self.right.lose();
            self.memory_of = None;
            connection.join(&self.node, LEASE).await?;
            self.must_join = false;
        }
        let asked_at = self.time.since_boot();
        let Some(mut renewal) = connection.begin_renewal().await? else {
            self.right.lose();
            self.must_join = true;
            tracing::warn!("this node was counted out, because it did not renew its lease in time");
            return Ok(RenewalOutcome::CountedOut);
        };
        let seen = renewal.seen.clone();
        let offset = self
            .time
            .learn(asked_at, self.time.since_boot(), seen.database_ms);
        self.take_in(&mut renewal).await?;
        renewal.commit(offset, LEASE).await?;
        self.memory_of = Some((seen.epoch, seen.server));
        self.right.hold_from(asked_at, seen.epoch, seen.is_first);
        self.metrics.show_applied(seen.last_change);
        Ok(RenewalOutcome::Renewed)
    }

    /// Applies what was changed, or empties the memory where that can't be told.
    async fn take_in(&mut self, renewal: &mut Renewal<'_>) -> Result<(), StoreError> {
        let seen = &renewal.seen;
        let is_of_here = self
            .memory_of
            .as_ref()
            .is_some_and(|(epoch, server)| *epoch == seen.epoch && *server == seen.server);
        let is_told = renewal.applied >= seen.forgotten.max(0);
        if is_of_here
            && is_told
            && let Some(changes) = renewal.changes().await?
        {
            let changed = changes
                .iter()
                .map(|change| Ok((change.subject()?, change.version)));
            match changed.collect::<Result<Vec<_>, StoreError>>() {
                Ok(changed) => {
                    self.apply(changed);
                    return Ok(());
                }
                // Whatever it means, nothing that is in memory can be trusted to be newer.
                Err(error) => {
                    tracing::error!(%error, "ALARM: the feed of changes can't be read; memory is emptied");
                }
            }
        }
        self.right.lose();
        self.memory_of = None;
        self.empty_memory();
        Ok(())
    }

    fn empty_memory(&self) {
        if !self.cache.is_empty() {
            self.metrics.count_emptied_memory();
        }
        self.cache.clear();
    }

    fn apply(&self, changed: Vec<(Changed, i64)>) {
        let mut keys = Vec::with_capacity(changed.len());
        for (subject, version) in changed {
            match subject {
                Changed::Key(id) => keys.push((id, version)),
                Changed::Organization(id) => self.cache.hear_of_organization(&id, version),
            }
        }
        self.cache.hear_of(&keys);
    }
}

/// Wakes the keeper whenever something was changed, as long as the database tells.
async fn listen(store: Store, woken: Arc<Notify>, stop: CancellationToken) {
    let hear = async {
        loop {
            match store.listen_for_changes().await {
                Ok(Some(mut listener)) => {
                    // What was told before is not heard any more.
                    woken.notify_one();
                    while listener.next().await {
                        woken.notify_one();
                    }
                }
                Ok(None) => return,
                Err(error) => tracing::debug!(%error, "nobody tells of changes"),
            }
            tokio::time::sleep(LISTEN_AGAIN).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = hear => {}
    }
}
