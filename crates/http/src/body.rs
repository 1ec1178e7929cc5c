//! Request bodies: bounded, and read only after the request was let in.

use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt as _;
use keyward_api::fields::Fields;

use crate::problem::Problem;

/// Largest body of a request that carries JSON.
pub const MAX_JSON_BYTES: usize = 1 << 20;
/// A refused body is read up to here and thrown away: a client that is still sending would otherwise meet a closed
/// connection instead of the answer.
const MAX_DISCARDED_BYTES: usize = 32 << 20;
/// For how long a body is read at all.
const PATIENCE: Duration = Duration::from_secs(30);

/// Reads a body whole.
///
/// # Errors
/// `body_too_large`, or `malformed_body` where the client stopped sending.
pub async fn read(body: Body, most: usize) -> Result<Vec<u8>, Problem> {
    read_within(body, most, PATIENCE).await
}

/// As [`read`], of somebody for whom less is waited.
///
/// # Errors
/// As [`read`].
pub async fn read_within(body: Body, most: usize, patience: Duration) -> Result<Vec<u8>, Problem> {
    let reading = tokio::time::timeout(patience, read_up_to(body, most));
    reading
        .await
        .unwrap_or_else(|_| Err(Problem::unreadable_body("the body did not come in time")))
}

async fn read_up_to(mut body: Body, most: usize) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    let mut seen = 0_usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::unreadable_body("the body ended before its end"))?;
        let Ok(chunk) = frame.into_data() else { continue };
        seen = seen.saturating_add(chunk.len());
        if seen <= most {
            bytes.extend_from_slice(&chunk);
        } else {
            bytes = Vec::new();
        }
        if seen > MAX_DISCARDED_BYTES {
            break;
        }
    }
    if seen > most {
        Err(Problem::body_too_large(most))
    } else {
        Ok(bytes)
    }
}

/// Reads a JSON object.
///
/// # Errors
/// `body_too_large`, `malformed_body`.
pub async fn fields(body: Body) -> Result<Fields, Problem> {
    object(&read(body, MAX_JSON_BYTES).await?)
}

/// Reads a JSON object; a body without a single byte counts as an empty one.
///
/// # Errors
/// As [`fields`].
pub async fn optional_fields(body: Body) -> Result<Fields, Problem> {
    let bytes = read(body, MAX_JSON_BYTES).await?;
    object(if bytes.is_empty() { b"{}" } else { &bytes })
}

/// The bytes of a body as an object.
pub(crate) fn object(bytes: &[u8]) -> Result<Fields, Problem> {
    Fields::of_body(bytes).map_err(|refused| Problem::unreadable_body(refused.to_string()))
}
