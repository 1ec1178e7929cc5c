//! What is measured of this node's lease, of its memory, and of how long writes wait for other nodes.
//!
//! The keeper of the lease and the writers count as they go; how many nodes there are and how far this one is behind is looked at
//! once a second ([`crate::node_work`]), so that a reader of the metrics asks no database.

use std::time::Duration;

use keyward_store::nodes::NodeRow;
use keyward_store::postgres_promises::Standby;
use metrics::{
    Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};

use crate::confirmations::Confirmed;
use crate::nodes::NodeState;

/// How the attempt to renew the lease ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RenewalOutcome {
    /// The node has a lease.
    Renewed,
    /// Others had counted the node out, and it joins again.
    CountedOut,
    /// The database refused or was away.
    Failed,
    /// The database did not answer in time.
    TimedOut,
}

impl RenewalOutcome {
    const ALL: [Self; 4] = [Self::Renewed, Self::CountedOut, Self::Failed, Self::TimedOut];

    const fn name(self) -> &'static str {
        match self {
            Self::Renewed => "renewed",
            Self::CountedOut => "counted_out",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
        }
    }
}

/// The counters and gauges of a node.
pub(crate) struct NodeMetrics {
    renewals: Vec<(RenewalOutcome, Counter)>,
    states: Vec<(NodeState, Gauge)>,
    standbys: Vec<(Standby, Gauge)>,
    lease_lost: Counter,
    memory_emptied: Counter,
    waited_out: Counter,
    write_wait: Histogram,
    lease_remaining: Gauge,
    applied: Gauge,
    lag: Gauge,
    clock_offset: Gauge,
}

impl NodeMetrics {
    /// Registers them with the recorder that is in force now.
    pub(crate) fn register() -> Self {
        describe();
        let renewals = RenewalOutcome::ALL.map(|outcome| {
            let counter = counter!("keyward_lease_renewals_total", "outcome" => outcome.name());
            (outcome, counter)
        });
        let states = NodeState::ALL.map(|state| (state, gauge!("keyward_nodes", "state" => state.name())));
        let standbys = Standby::ALL.map(|state| (state, gauge!("keyward_standby", "state" => state.name())));
        Self {
            standbys: standbys.into(),
            renewals: renewals.into(),
            states: states.into(),
            lease_lost: counter!("keyward_lease_lost_total"),
            memory_emptied: counter!("keyward_memory_emptied_total"),
            waited_out: counter!("keyward_writes_waited_out_total"),
            write_wait: histogram!("keyward_write_wait_seconds"),
            lease_remaining: gauge!("keyward_lease_remaining_seconds"),
            applied: gauge!("keyward_node_applied_change"),
            lag: gauge!("keyward_node_lag_changes"),
            clock_offset: gauge!("keyward_node_clock_offset_seconds"),
        }
    }

    pub(crate) fn count_renewal(&self, outcome: RenewalOutcome) {
        if let Some((_, counter)) = self.renewals.iter().find(|(known, _)| *known == outcome) {
            counter.increment(1);
        }
    }

    pub(crate) fn count_lost_lease(&self) {
        self.lease_lost.increment(1);
    }

    pub(crate) fn count_emptied_memory(&self) {
        self.memory_emptied.increment(1);
    }

    /// A write was answered that had waited for other nodes.
    pub(crate) fn count_write(&self, waited: Duration, confirmed: Confirmed) {
        self.write_wait.record(waited.as_secs_f64());
        if confirmed.waited_out > 0 {
            self.waited_out.increment(1);
        }
    }

    /// The node knows every change up to this one.
    pub(crate) fn show_applied(&self, change: i64) {
        self.applied.set(change as f64);
    }

    /// Takes in a look at the nodes.
    pub(crate) fn show_nodes(&self, rows: &[NodeRow], own: &str) {
        for (state, gauge) in &self.states {
            let count = rows.iter().filter(|row| NodeState::of(row) == *state).count();
            gauge.set(count as f64);
        }
        // Without a row the node is about to join again, and what it was behind stays shown until then.
        if let Some(lag) = rows.iter().find(|row| row.id == own).map(NodeRow::lag) {
            self.lag.set(lag as f64);
        }
    }

    /// Takes in whether a commit waits for a standby; nothing is known where the database does not say.
    pub(crate) fn show_standby(&self, seen: Option<Standby>) {
        for (state, gauge) in &self.standbys {
            gauge.set(f64::from(u8::from(Some(*state) == seen)));
        }
    }

    /// The only process that there can be.
    pub(crate) fn show_alone(&self) {
        for (state, gauge) in &self.states {
            gauge.set(f64::from(u8::from(*state == NodeState::Serving)));
        }
    }

    /// What is known at the moment in which the metrics are read; no remaining time is a right without an end.
    pub(crate) fn refresh(&self, remaining: Option<Duration>, offset_ms: i64) {
        self.lease_remaining
            .set(remaining.map_or(f64::INFINITY, |span| span.as_secs_f64()));
        self.clock_offset.set(offset_ms as f64 / 1_000.0);
    }
}

fn describe() {
    describe_counter!(
        "keyward_lease_renewals_total",
        "Attempts to renew this node's lease of the database, by outcome; four a second, and more where keys change."
    );
    describe_counter!(
        "keyward_lease_lost_total",
        "Times that this node's lease ended before it was renewed; keys were read from the database meanwhile."
    );
    describe_counter!(
        "keyward_memory_emptied_total",
        "Times that this node forgot all keys in memory, because it could not be told what had changed."
    );
    describe_counter!(
        "keyward_writes_waited_out_total",
        "Writes that were answered after a node's lease was waited out, because it did not say that it knew of them."
    );
    describe_histogram!(
        "keyward_write_wait_seconds",
        "How long writes of keys and organizations waited for other nodes to know of them."
    );
    describe_gauge!(
        "keyward_lease_remaining_seconds",
        "For how long this node may answer from memory if it is not renewed; 0: not at all; infinite on SQLite."
    );
    describe_gauge!(
        "keyward_node_applied_change",
        "The number of the change up to which this node knows everything; on SQLite 0."
    );
    describe_gauge!(
        "keyward_node_lag_changes",
        "Changes that this node did not know when it was looked at last, once a second."
    );
    describe_gauge!(
        "keyward_node_clock_offset_seconds",
        "How far this machine's clock is before the database's; decisions follow the database's."
    );
    describe_gauge!(
        "keyward_standby",
        "1 for how the database's standby stands, looked at once a second; on SQLite, and while nobody says, 0 for all."
    );
    describe_gauge!(
        "keyward_nodes",
        "Nodes over this database, by how they stand, as this one saw it last, once a second."
    );
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    fn row(id: &str, applied: i64) -> NodeRow {
        NodeRow {
            id: id.to_owned(),
            name: id.to_owned(),
            version: "1".to_owned(),
            started_at_ms: 0,
            applied,
            last_change: 120,
            lease_ms: 1_000,
            lapsed_at_ms: None,
            clock_offset_ms: 0,
        }
    }

    #[test]
    fn the_lag_is_of_this_node_and_stays_shown_without_its_row() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let metrics = metrics::with_local_recorder(&recorder, NodeMetrics::register);
        let shown = || {
            let text = recorder.handle().render();
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix("keyward_node_lag_changes "));
            line.map(str::to_owned)
        };
        metrics.show_nodes(&[row("other", 120), row("own", 3)], "own");
        assert_eq!(shown().as_deref(), Some("117"));
        metrics.show_nodes(&[row("other", 120)], "own");
        assert_eq!(shown().as_deref(), Some("117"));
        metrics.show_nodes(&[row("own", 120)], "own");
        assert_eq!(shown().as_deref(), Some("0"));
    }
}
