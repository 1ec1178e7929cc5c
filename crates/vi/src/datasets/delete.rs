//! Delete a dataset, and show what is left of a deleted one. It is gone when the reply is sent: there is nothing to
//! wait for, and a client that polls the operation stops at once.

use axum::response::Response;
use http::StatusCode;
use keyward_engine::permit::Permit;
use keyward_http::problem::Problem;
use keyward_http::reply;
use keyward_http::routes::Call;

use super::id_of;
use crate::shapes::DeletedDataset;

/// Deletes a dataset.
pub(crate) async fn delete(permit: Permit, call: Call) -> Result<Response, Problem> {
    let id = id_of(&call)?;
    let engine = &call.site.engine;
    let deletion = engine.delete_dataset(&permit, &call.context, &id).await?;
    let shown = DeletedDataset::of(&call.site, permit.organization_id(), deletion);
    reply::json(StatusCode::OK, &shown)
}

/// Shows the deletion of a dataset.
pub(crate) async fn show_deletion(permit: Permit, call: Call) -> Result<Response, Problem> {
    let id = id_of(&call)?;
    let deletion = call.site.engine.show_dataset_deletion(&permit, &id).await?;
    let shown = DeletedDataset::of(&call.site, permit.organization_id(), deletion);
    reply::json(StatusCode::OK, &shown)
}
