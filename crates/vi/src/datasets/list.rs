//! Lists of the datasets that the key may read, oldest first: whole, and with the few members that a picker needs.

use axum::response::Response;
use http::StatusCode;
use keyward_engine::permit::Permit;
use keyward_http::problem::Problem;
use keyward_http::reply;
use keyward_http::routes::Call;

use crate::paging;
use crate::shapes::{Dataset, SimpleDataset};

const LIST: &str = "datasets";
const SIMPLE_LIST: &str = "simpleDatasets";

/// A page of datasets.
pub(crate) async fn list(permit: Permit, call: Call) -> Result<Response, Problem> {
    let page = paging::read(LIST, call.query)?;
    let engine = &call.site.engine;
    let found = engine.list_datasets(&permit, &page.after, page.limit).await?;
    let shown = paging::page(LIST, &found, |dataset| Dataset::of(&call.site, dataset));
    reply::json(StatusCode::OK, &shown)
}

/// A page of id, name and type of datasets.
pub(crate) async fn list_simple(permit: Permit, call: Call) -> Result<Response, Problem> {
    let page = paging::read(SIMPLE_LIST, call.query)?;
    let engine = &call.site.engine;
    let found = engine.list_datasets(&permit, &page.after, page.limit).await?;
    let shown = paging::page(SIMPLE_LIST, &found, SimpleDataset::of);
    reply::json(StatusCode::OK, &shown)
}
