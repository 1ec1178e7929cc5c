//! Let go of every key that a restore left held: the operator accepts the old state.

use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;
use keyward_core::management_right::ManagementRight;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::endpoint::{Endpoint, Tag};
use super::principal::Grant;
use super::{ManagementCall, ManagementRoutes};
use crate::problem::Problem;
use crate::reply;

/// How many keys were let go of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Released)]
pub struct ReleasedView {
    /// Keys that are active again.
    pub released: u64,
}

pub(super) fn add(routes: ManagementRoutes) -> ManagementRoutes {
    routes.add(
        Endpoint::post("/v1/restore/accept-old-state", ManagementRight::Installation)
            .named(
                Tag::Installation,
                "accept_old_state",
                "Let go of every key that a restore left held",
            )
            .answers::<ReleasedView>(StatusCode::OK),
        accept,
    )
}

async fn accept(_: Grant, call: ManagementCall) -> Result<Response, Problem> {
    let management = Arc::clone(&call.management);
    let release = call
        .management
        .site
        .engine
        .run_to_its_end(async move { management.site.engine.release_held(&call.context).await });
    let released = release.await.map_err(|error| Problem::internal(&error))??;
    reply::json(StatusCode::OK, &ReleasedView { released })
}
