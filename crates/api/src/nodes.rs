//! The nodes that serve one database, on the wire of the management API.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How a node stands.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum NodeStateName {
    /// It has no memory yet that it may answer from.
    Joining,
    /// It answers from memory.
    Serving,
    /// Its lease is over and it was not counted out yet; writes wait for it.
    Overdue,
    /// It was counted out, and nothing waits for it. It joins again by itself if it still runs.
    Lapsed,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Node)]
pub struct NodeView {
    /// Its id, another one with every start of the process; null for the only process that there can be (SQLite).
    pub id: Option<String>,
    /// What its operator calls it (`--node-name`).
    pub name: String,
    /// The version of the program.
    pub version: String,
    /// When it started, by the database's clock; null for the only process that there can be.
    #[schema(format = DateTime)]
    pub started_at: Option<String>,
    /// How it stands.
    #[schema(value_type = NodeStateName)]
    pub state: String,
    /// For how many milliseconds it may answer from memory yet; null: as long as it lives. Negative: it is over since then.
    pub lease_ms: Option<i64>,
    /// The number of the change up to which it knows everything; below 0 it is joining.
    pub applied: i64,
    /// How many changes it does not know.
    pub lag: i64,
    /// How far its clock is before the database's, in milliseconds.
    pub clock_offset_ms: i64,
    /// Whether it is the node that answers.
    pub own: bool,
    /// Whether it does what one of them has to do: deliveries, due rotations, checkpoints.
    pub first: bool,
}
