//! `/healthz` (the process runs) and `/readyz` (it can check keys); on both listeners, without a key.
//!
//! What is missing is told on the admin listener only: it can name the database.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;
use keyward_engine::Engine;
use serde::Serialize;
use tokio::sync::Mutex;

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

/// For how long an answer about readiness is given again: strangers may ask, and each asking costs the database a query.
const FRESH: Duration = Duration::from_millis(250);

/// The last answer; held while the next one is made, so that many who ask at once ask the database once.
#[derive(Default)]
struct Readiness(Mutex<Option<(Instant, Result<(), String>)>>);

impl Readiness {
    async fn ask(&self, engine: &Engine) -> Result<(), String> {
        let mut last = self.0.lock().await;
        match &*last {
            Some((at, answer)) if at.elapsed() < FRESH => answer.clone(),
            _ => {
                let answer = engine.check_ready().await;
                *last = Some((Instant::now(), answer.clone()));
                answer
            }
        }
    }
}

/// The two routes.
#[expect(
    clippy::disallowed_methods,
    reason = "health is asked by machines without a key, and tells nothing of anybody's data"
)]
pub fn routes(detail: Detail) -> Router<SharedSite> {
    let readiness = Arc::new(Readiness::default());
    Router::new()
        .route("/healthz", get(|| async { answer(StatusCode::OK, "ok", None) }))
        .route(
            "/readyz",
            get(move |State(site): State<SharedSite>| {
                let readiness = Arc::clone(&readiness);
                async move {
                    match readiness.ask(&site.engine).await {
                        Ok(()) => answer(StatusCode::OK, "ready", None),
                        Err(reason) => {
                            let reason = (detail == Detail::Reason).then_some(reason.as_str());
                            answer(StatusCode::SERVICE_UNAVAILABLE, "not_ready", reason)
                        }
                    }
                }
            }),
        )
}

fn answer(status: StatusCode, name: &'static str, reason: Option<&str>) -> Response {
    reply::json(status, &Health { status: name, reason }).unwrap_or_else(|_| reply::empty())
}
