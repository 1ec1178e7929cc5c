//! What nodes do for each other, every second: count out those that are gone, and let go of what all of them know. What they see of
//! each other then goes into the metrics.
//!
//! Counting out is anybody's work; the rest is done by the node that started first. Nothing here decides who counts: the
//! database's clock does.

use std::collections::HashMap;
use std::sync::Weak;
use std::time::Duration;

use keyward_store::StoreError;
use tokio_util::sync::CancellationToken;

use crate::right::{LEASE, MARGIN};
use crate::{Engine, Inner};

const EVERY: Duration = Duration::from_secs(1);
/// In how many rounds the feed is cleaned once, and counts of nodes that are gone are taken over.
const SELDOM: u32 = 60;

/// Works until the engine stops or is dropped.
pub(crate) async fn keep_working(engine: Weak<Inner>, stop: CancellationToken) {
    let mut round = 0_u32;
    let mut former = OfFormerServer::default();
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
        if let Err(error) = engine.count_out_of_former_server(&mut former).await {
            tracing::debug!(%error, "nodes of a former server were not counted out; it is tried again");
        }
        if round == 0 && engine.inner.right.is_held_first() {
            engine.work_seldom().await;
        }
    }
}

/// Nodes that have not come to the server in use yet, with the server that each was at, and since when this node has seen that, in time since the machine started.
/// Their leases were set by another clock. They were asked for before this server was in use, so that one whole lease and margin from
/// there on is enough, by any clock.
#[derive(Debug, Default)]
struct OfFormerServer(HashMap<(String, String), Duration>);

impl OfFormerServer {
    /// Takes in who has not come now; those that have no lease any more.
    fn take_in(&mut self, missed: Vec<(String, String)>, now: Duration) -> Vec<String> {
        let before = std::mem::take(&mut self.0);
        for node in missed {
            let since = before.get(&node).copied().unwrap_or(now);
            self.0.insert(node, since);
        }
        let is_over = |since: &Duration| now.saturating_sub(*since) >= LEASE + MARGIN;
        let over = self.0.iter().filter(|(_, since)| is_over(since));
        over.map(|((id, _), _)| id.clone()).collect()
    }
}

impl Engine {
    async fn count_out_of_former_server(&self, former: &mut OfFormerServer) -> Result<(), StoreError> {
        let store = &self.inner.store;
        let ids = store.nodes_of_former_server().await?;
        let over = former.take_in(ids, self.inner.time.since_boot());
        if over.is_empty() {
            return Ok(());
        }
        store.lapse_nodes_of_former_server(&over).await
    }

    async fn look_at_nodes(&self) {
        let Some(own) = &self.inner.node else { return };
        match tokio::time::timeout(EVERY, self.inner.store.list_nodes()).await {
            Ok(Ok(rows)) => self.inner.metrics.node.show_nodes(&rows, &own.id),
            Ok(Err(error)) => tracing::debug!(%error, "the nodes could not be looked at"),
            Err(_) => tracing::debug!("the nodes could not be looked at in time"),
        }
        let standby = tokio::time::timeout(EVERY, self.inner.store.standby()).await;
        // What can't be asked stays as it was: where no standby is connected, every connection may be waiting for one.
        if let Ok(Ok(standby)) = standby {
            self.inner.metrics.node.show_standby(standby);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_of_a_former_server_counts_for_a_lease_and_margin_from_when_it_was_first_missed() {
        let mut former = OfFormerServer::default();
        let (begun, enough) = (Duration::from_secs(100), LEASE + MARGIN);
        let at = |server: &str, ids: &[&str]| {
            let each = ids.iter().map(|id| ((*id).to_owned(), server.to_owned()));
            each.collect::<Vec<_>>()
        };
        let ids = |ids: &[&str]| at("first", ids);
        assert!(former.take_in(ids(&["a", "b"]), begun).is_empty());
        let just_before = begun + enough - Duration::from_millis(1);
        assert!(former.take_in(ids(&["a", "b"]), just_before).is_empty());
        // One came, one was missed for the first time.
        assert_eq!(former.take_in(ids(&["a", "c"]), begun + enough), ["a"]);
        // Who had come, and is missed again because the next server is in use, begins anew.
        assert!(former.take_in(at("second", &["a"]), begun + enough).is_empty());
        assert!(former.take_in(ids(&["b"]), begun + enough).is_empty());
    }
}
