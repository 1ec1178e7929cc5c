//! What nodes do for each other, every second: count out those that are gone, and let go of what all of them know. What they see of
//! each other then goes into the metrics.
//!
//! Counting out is anybody's work; the rest is done by the node that started first. Nothing here decides who counts: the
//! database's clock does.

use std::sync::Weak;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::{Engine, Inner};

const EVERY: Duration = Duration::from_secs(1);
/// In how many rounds the feed is cleaned once, and counts of nodes that are gone are taken over.
const SELDOM: u32 = 60;

/// Works until the engine stops or is dropped.
pub(crate) async fn keep_working(engine: Weak<Inner>, stop: CancellationToken) {
    let mut round = 0_u32;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        let Some(inner) = engine.upgrade() else { return };
        let engine = Engine { inner };
        round = (round + 1) % SELDOM;
        // Without a lease as well: it is then that somebody wants to know.
        engine.look_at_nodes().await;
        if !engine.inner.right.is_held() {
            continue;
        }
        if let Err(error) = engine.inner.store.tidy_nodes().await {
            tracing::debug!(%error, "nodes that are gone were not counted out; it is tried again");
        }
        if round == 0 && engine.inner.right.is_held_first() {
            engine.work_seldom().await;
        }
    }
}

impl Engine {
    async fn look_at_nodes(&self) {
        let Some(own) = &self.inner.node else { return };
        match tokio::time::timeout(EVERY, self.inner.store.list_nodes()).await {
            Ok(Ok(rows)) => self.inner.metrics.node.show_nodes(&rows, &own.id),
            Ok(Err(error)) => tracing::debug!(%error, "the nodes could not be looked at"),
            Err(_) => tracing::debug!("the nodes could not be looked at in time"),
        }
    }

    async fn work_seldom(&self) {
        if let Err(error) = self.inner.store.forget_changes(self.now().as_unix_ms()).await {
            tracing::warn!(%error, "old changes were not let go of; it is tried again");
        }
        if let Err(error) = self.inner.store.forget_rate_buckets(self.now()).await {
            tracing::warn!(%error, "full buckets of rate limits were not forgotten; it is tried again");
        }
        if let Err(error) = self.inherit_usage().await {
            tracing::warn!(%error, "what nodes that are gone had counted was not added up; it is tried again");
        }
    }
}
