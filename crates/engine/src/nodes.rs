//! The nodes that serve a database together: taking part, and showing who does.
//!
//! On SQLite there is one process, and its right lasts as long as it does. What a lease is, is in [`crate::right`] and
//! [`crate::node_keeper`]; how long writers wait for others, in [`crate::confirmations`].

use std::sync::Arc;

use keyward_store::node_lease::NewNode;
use keyward_store::nodes::NodeRow;
use keyward_store::{Store, StoreError};

use crate::Engine;
use crate::cache::VerificationCache;
use crate::error::EngineError;
use crate::node_keeper::NodeKeeper;
use crate::node_metrics::NodeMetrics;
use crate::node_time::NodeTime;
use crate::right::Right;

/// A node as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownNode {
    /// Its id, of this start of the process; of the only process there can be, nothing.
    pub id: String,
    /// What its operator calls it.
    pub name: String,
    /// The version of the program.
    pub version: String,
    /// When it started, by the database's clock; `None` for the only process there can be.
    pub started_at_ms: Option<i64>,
    /// How it stands.
    pub state: NodeState,
    /// For how long it may answer from memory yet, in milliseconds; `None`: as long as it lives. Negative: it is over.
    pub lease_ms: Option<i64>,
    /// The number of the change up to which it knows everything.
    pub applied: i64,
    /// How many changes it does not know.
    pub lag: i64,
    /// How far its clock is before the database's, in milliseconds.
    pub clock_offset_ms: i64,
    /// Whether this is the node that answers.
    pub is_own: bool,
    /// Whether it does what one of them has to do: deliveries, due rotations, checkpoints.
    pub is_first: bool,
}

/// How a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeState {
    /// It has no memory yet that it may answer from.
    Joining,
    /// It answers from memory.
    Serving,
    /// Its lease is over and it was not counted out yet; writers wait for it.
    Overdue,
    /// It was counted out, and nobody waits for it.
    Lapsed,
}

impl NodeState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Joining, Self::Serving, Self::Overdue, Self::Lapsed];

    /// The state's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::Serving => "serving",
            Self::Overdue => "overdue",
            Self::Lapsed => "lapsed",
        }
    }

    pub(crate) fn of(row: &NodeRow) -> Self {
        match row {
            row if row.lapsed_at_ms.is_some() => Self::Lapsed,
            row if row.lease_ms < 0 => Self::Overdue,
            row if row.applied < 0 => Self::Joining,
            _ => Self::Serving,
        }
    }
}

/// Gets this process its right; on PostgreSQL with what it is among others, and with what keeps the lease.
///
/// # Errors
/// [`StoreError::NotTheWriter`] if a version serves this database that does so alone.
pub(crate) async fn take_part(
    store: &Store,
    (right, time, metrics): (&Arc<Right>, &Arc<NodeTime>, &Arc<NodeMetrics>),
    cache: &Arc<VerificationCache>,
    name: String,
) -> Result<Option<(NewNode, NodeKeeper)>, StoreError> {
    if !store.can_have_nodes() {
        right.hold_for_ever(store.begin_epoch().await?);
        metrics.show_alone();
        return Ok(None);
    }
    let id = uuid::Uuid::now_v7();
    let node = NewNode {
        // Below 2^40, so that its parts of the journal are numbers of the database; 0 is what a process alone has.
        slot: i64::try_from(id.as_u128() % (1 << 40)).unwrap_or_default() + 1,
        id: id.simple().to_string(),
        name,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let own = (Arc::clone(right), Arc::clone(time), Arc::clone(metrics));
    let mut keeper = NodeKeeper::new(store.clone(), own, Arc::clone(cache), node.clone());
    keeper.begin().await?;
    Ok(Some((node, keeper)))
}

impl Engine {
    /// The nodes that serve this database, in the order in which they started.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`].
    pub async fn list_nodes(&self) -> Result<Vec<ShownNode>, EngineError> {
        let Some(own) = &self.inner.node else {
            return Ok(vec![self.only_node()]);
        };
        let rows = self.inner.store.list_nodes().await?;
        let first = rows
            .iter()
            .find(|row| row.lapsed_at_ms.is_none())
            .map(|row| row.id.clone());
        let shown = rows.into_iter().map(|row| ShownNode {
            state: NodeState::of(&row),
            is_own: row.id == own.id,
            is_first: first.as_ref() == Some(&row.id),
            started_at_ms: Some(row.started_at_ms),
            lease_ms: Some(row.lease_ms),
            lag: row.lag(),
            applied: row.applied,
            clock_offset_ms: row.clock_offset_ms,
            id: row.id,
            name: row.name,
            version: row.version,
        });
        Ok(shown.collect())
    }

    fn only_node(&self) -> ShownNode {
        ShownNode {
            id: String::new(),
            name: self.inner.node_name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at_ms: None,
            state: NodeState::Serving,
            lease_ms: None,
            applied: 0,
            lag: 0,
            clock_offset_ms: 0,
            is_own: true,
            is_first: true,
        }
    }

    /// How many nodes count, besides this one.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`].
    pub(crate) async fn count_other_nodes(&self) -> Result<i64, EngineError> {
        match &self.inner.node {
            Some(own) => Ok(self.inner.store.count_other_nodes(&own.id).await?),
            None => Ok(0),
        }
    }

    /// Removes this node's row: it answers nothing any more, and left nothing to be written.
    pub(crate) async fn leave_nodes(&self) {
        let Some(own) = &self.inner.node else { return };
        let store = &self.inner.store;
        let removed = async {
            store.drop_usage_mark(own.slot).await?;
            store.remove_node(&own.id).await
        };
        if let Err(error) = removed.await {
            tracing::debug!(%error, "this node's row stays until others remove it");
        }
    }
}
