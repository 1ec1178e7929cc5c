//! What the running server says of itself, for `keyward doctor`.

use axum::response::Response;
use http::StatusCode;
use keyward_api::schema::StandbyName;
use keyward_core::management_right::ManagementRight;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::endpoint::{Endpoint, Tag};
use super::principal::Grant;
use super::{ManagementCall, ManagementRoutes};
use crate::problem::Problem;
use crate::reply;

/// The server's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Status)]
pub struct StatusView {
    /// The program's version.
    pub version: String,
    /// The process.
    pub process: u32,
    /// Where it is reached.
    pub public_url: String,
    /// `sqlite` or `postgresql`.
    pub database: String,
    /// Whether an acknowledged change is on a second server: `asynchronous` (no: it is true while this primary lives, and not over
    /// a failover), `synchronous`, `missing` (a commit waits for a standby, and none is connected), `unseen` (it waits; whether one
    /// is connected is not shown to Keyward's user). Null where the database is a file, and where it does not say.
    #[schema(value_type = Option<StandbyName>)]
    pub standby: Option<String>,
    /// Keys in memory.
    pub cached_keys: usize,
    /// Null if it is ready; else what is missing.
    pub not_ready: Option<String>,
}

pub(super) fn add(routes: ManagementRoutes) -> ManagementRoutes {
    routes.add(
        Endpoint::get("/v1/status", ManagementRight::Installation)
            .named(
                Tag::Installation,
                "show_status",
                "Show what the server says of itself",
            )
            .answers::<StatusView>(StatusCode::OK),
        show,
    )
}

async fn show(_: Grant, call: ManagementCall) -> Result<Response, Problem> {
    let site = &call.management.site;
    // Together: a database that is away lets both wait as long as it may.
    let (standby, ready) = tokio::join!(site.engine.store().standby(), site.engine.check_ready());
    let standby = standby.ok().flatten();
    let shown = StatusView {
        version: call.management.version.to_owned(),
        process: std::process::id(),
        public_url: site.public_url.clone(),
        database: site.engine.store().kind().to_owned(),
        standby: standby.map(|standby| standby.name().to_owned()),
        cached_keys: site.engine.cache().len(),
        not_ready: ready.err(),
    };
    reply::json(StatusCode::OK, &shown)
}
