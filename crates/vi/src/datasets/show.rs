//! One dataset.

use axum::response::Response;
use http::StatusCode;
use keyward_engine::permit::Permit;
use keyward_http::problem::Problem;
use keyward_http::reply;
use keyward_http::routes::Call;

use super::id_of;
use crate::shapes::Dataset;

/// Shows a dataset.
pub(crate) async fn show(permit: Permit, call: Call) -> Result<Response, Problem> {
    let id = id_of(&call)?;
    let found = call.site.engine.show_dataset(&permit, &id).await?;
    reply::json(StatusCode::OK, &Dataset::of(&call.site, &found))
}
