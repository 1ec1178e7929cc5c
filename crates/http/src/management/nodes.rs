//! The nodes that serve the database: for whoever operates them.

use axum::response::Response;
use http::StatusCode;
use keyward_api::moment;
use keyward_api::nodes::NodeView;
use keyward_core::management_right::ManagementRight;
use keyward_core::time::Timestamp;
use keyward_engine::nodes::ShownNode;

use super::endpoint::{Endpoint, Tag};
use super::principal::Grant;
use super::{ListView, ManagementCall, ManagementRoutes};
use crate::problem::Problem;
use crate::reply;

pub(super) fn add(routes: ManagementRoutes) -> ManagementRoutes {
    routes.add(
        Endpoint::get("/v1/nodes", ManagementRight::Installation)
            .named(
                Tag::Installation,
                "list_nodes",
                "List the nodes that serve this database, in the order in which they started",
            )
            .answers::<ListView<NodeView>>(StatusCode::OK),
        list,
    )
}

async fn list(_: Grant, call: ManagementCall) -> Result<Response, Problem> {
    let nodes = call.engine().list_nodes().await?;
    let shown = ListView {
        items: nodes.into_iter().map(view).collect(),
        // There are as many as somebody starts.
        next: None,
    };
    reply::json(StatusCode::OK, &shown)
}

fn view(node: ShownNode) -> NodeView {
    let started_at = node.started_at_ms.map(Timestamp::from_unix_ms);
    NodeView {
        id: Some(node.id).filter(|id| !id.is_empty()),
        name: node.name,
        version: node.version,
        started_at: started_at.map(moment::write),
        state: node.state.name().to_owned(),
        lease_ms: node.lease_ms,
        applied: node.applied,
        lag: node.lag,
        clock_offset_ms: node.clock_offset_ms,
        own: node.is_own,
        first: node.is_first,
    }
}
