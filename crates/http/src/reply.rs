//! Replies that are no problems: JSON, or nothing. Never stored by anybody on the way.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::problem::Problem;

/// A JSON reply.
///
/// # Errors
/// `internal`, never in practice: the types of replies always serialise.
pub fn json(status: StatusCode, value: &impl Serialize) -> Result<Response, Problem> {
    let body = serde_json::to_vec(value).map_err(|error| Problem::internal(&error))?;
    Ok(with_body(status, "application/json", body))
}

/// A JSON reply about something that has a version, which goes along as its ETag.
///
/// # Errors
/// As [`json`].
pub fn json_at_version(
    status: StatusCode,
    version: i64,
    value: &impl Serialize,
) -> Result<Response, Problem> {
    let mut response = json(status, value)?;
    response.headers_mut().insert(header::ETAG, etag(version));
    Ok(response)
}

/// The entity tag of a version: `"7"`.
pub(crate) fn etag(version: i64) -> HeaderValue {
    // Digits and quotes always make a header value.
    HeaderValue::from_str(&format!("\"{version}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

/// A reply without a single byte of body.
pub fn empty() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    protect(&mut response);
    response
}

pub(crate) fn with_body(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    protect(&mut response);
    response
}

/// The headers that every reply has.
pub(crate) fn protect(response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
}
