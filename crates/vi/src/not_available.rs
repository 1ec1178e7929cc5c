//! What is answered where an endpoint is registered and its behaviour is not built.
//!
//! Only a request that was let in gets here: the permit is the proof. Nothing of the body is read.

use axum::response::Response;
use keyward_api::problem::RequestCode;
use keyward_engine::permit::Permit;
use keyward_http::problem::Problem;
use keyward_http::routes::Call;

use crate::endpoints::Endpoint;

/// What the address of a cancellation ends in.
const CANCEL: &str = ":cancel";

/// Answers `not_available_here`.
pub(crate) async fn refuse(_: Permit, endpoint: &Endpoint) -> Result<Response, Problem> {
    Err(not_available(endpoint, ""))
}

/// Answers a request to the segment of a session: its cancellation is not available, and anything else is no address.
pub(crate) async fn refuse_cancel(_: Permit, call: Call, endpoint: &Endpoint) -> Result<Response, Problem> {
    let session = call.path("session").strip_suffix(CANCEL);
    if session.is_some_and(|session| !session.is_empty()) {
        Err(not_available(endpoint, CANCEL))
    } else {
        Err(Problem::new(
            RequestCode::NoSuchRoute,
            format!(
                "nothing can be posted to a session; it is cancelled at its address with `{CANCEL}` at the end"
            ),
        ))
    }
}

fn not_available(endpoint: &Endpoint, suffix: &str) -> Problem {
    Problem::new(
        RequestCode::NotAvailableHere,
        format!(
            "`{} {}{suffix}` is not available on this server yet; the secret key may use it, so there is nothing to change \
             about the key",
            endpoint.verb.name(),
            endpoint.path
        ),
    )
}
