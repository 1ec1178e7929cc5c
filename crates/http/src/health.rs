//! `/healthz` (the process runs) and `/readyz` (it can check keys); on both listeners, without a key.
//!
//! What is missing is told on the admin listener only: it can name the database.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;
use serde::Serialize;

use crate::reply;
use crate::site::SharedSite;

#[derive(Serialize)]
struct Health<'a> {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// How much `/readyz` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Ready or not.
    Status,
    /// And why not.
    Reason,
}

/// The two routes.
#[expect(
    clippy::disallowed_methods,
    reason = "health is asked by machines without a key, and tells nothing of anybody's data"
)]
pub fn routes(detail: Detail) -> Router<SharedSite> {
    Router::new()
        .route("/healthz", get(|| async { answer(StatusCode::OK, "ok", None) }))
        .route(
            "/readyz",
            get(move |State(site): State<SharedSite>| async move {
                match site.engine.check_ready().await {
                    Ok(()) => answer(StatusCode::OK, "ready", None),
                    Err(reason) => {
                        let reason = (detail == Detail::Reason).then_some(reason.as_str());
                        answer(StatusCode::SERVICE_UNAVAILABLE, "not_ready", reason)
                    }
                }
            }),
        )
}

fn answer(status: StatusCode, name: &'static str, reason: Option<&str>) -> Response {
    reply::json(status, &Health { status: name, reason }).unwrap_or_else(|_| reply::empty())
}
