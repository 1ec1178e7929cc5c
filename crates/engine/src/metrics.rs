//! The engine's counters, registered once so that a verify only adds one to a number.
//!
//! Labels are closed enums, never ids. Without a recorder they count into nothing.

use std::sync::Arc;

use keyward_core::management_refusal::ManagementCode;
use keyward_core::refusal::Code;
use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};

use crate::node_metrics::NodeMetrics;

/// The counters.
pub struct Metrics {
    pub(crate) accepted: Counter,
    refused: Vec<Counter>,
    pub(crate) signed_in: Counter,
    sign_in_refused: Vec<Counter>,
    pub(crate) from_store: Counter,
    pub(crate) alarms: Counter,
    pub(crate) uncounted_uses: Counter,
    pub(crate) cached_keys: Gauge,
    pub(crate) holds_right: Gauge,
    pub(crate) node: Arc<NodeMetrics>,
}

impl Metrics {
    /// Registers the counters with the recorder that is in force now.
    pub fn register() -> Self {
        describe_counter!(
            "keyward_verify_total",
            "Keys that were checked, by outcome: accepted, or the refusal's code."
        );
        describe_counter!(
            "keyward_verify_loads_total",
            "Checks that asked the database, because the key was not in memory or might not be answered from it."
        );
        describe_counter!(
            "keyward_sealed_record_alarms_total",
            "Sealed records that did not open: the database was changed by other means, or the keyring is wrong."
        );
        describe_counter!(
            "keyward_uncounted_uses_total",
            "Uses of keys that are in no figure, because too many waited for a database that did not answer."
        );
        describe_counter!(
            "keyward_management_sign_ins_total",
            "Management tokens that were checked, by outcome: accepted, or the refusal's code."
        );
        describe_gauge!("keyward_cached_keys", "Keys in memory.");
        describe_gauge!(
            "keyward_holds_right",
            "1: this process may write keys and answer from memory; 0: it has no lease of the database."
        );
        let refused = Code::ALL
            .iter()
            .map(|code| counter!("keyward_verify_total", "outcome" => code.name()))
            .collect();
        Self {
            accepted: counter!("keyward_verify_total", "outcome" => "accepted"),
            refused,
            signed_in: counter!("keyward_management_sign_ins_total", "outcome" => "accepted"),
            sign_in_refused: ManagementCode::ALL
                .iter()
                .map(|code| counter!("keyward_management_sign_ins_total", "outcome" => code.name()))
                .collect(),
            from_store: counter!("keyward_verify_loads_total"),
            alarms: counter!("keyward_sealed_record_alarms_total"),
            uncounted_uses: counter!("keyward_uncounted_uses_total"),
            cached_keys: gauge!("keyward_cached_keys"),
            holds_right: gauge!("keyward_holds_right"),
            node: Arc::new(NodeMetrics::register()),
        }
    }

    /// Counts a refusal of a management token.
    pub(crate) fn count_management_refusal(&self, code: ManagementCode) {
        if let Some(counter) = ManagementCode::ALL
            .iter()
            .position(|known| *known == code)
            .and_then(|at| self.sign_in_refused.get(at))
        {
            counter.increment(1);
        }
    }

    /// Counts a refusal.
    pub fn count_refusal(&self, code: Code) {
        if let Some(counter) = Code::ALL
            .iter()
            .position(|known| *known == code)
            .and_then(|at| self.refused.get(at))
        {
            counter.increment(1);
        }
    }
}
