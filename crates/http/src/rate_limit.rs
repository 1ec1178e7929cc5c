//! What whoever has a rate limit, a key or a management token, is told with every answer: `RateLimit-Policy` and `RateLimit`, as
//! draft-ietf-httpapi-ratelimit-headers-11 writes them. `w` is the seconds in which an empty bucket refills, `t` those
//! until it is full again if nothing is spent. A refused request is told by `Retry-After` when it is worth trying again.

use http::{HeaderMap, HeaderName, HeaderValue};
use keyward_core::rate::RateStatus;

/// The limit itself.
pub const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// What is left of it.
pub const STANDING: HeaderName = HeaderName::from_static("ratelimit");

/// The name of the limit of a key.
pub const KEY: &str = "key";
/// The name of the limit of a management token.
pub const MANAGEMENT: &str = "management";

/// Writes both headers.
pub fn tell(headers: &mut HeaderMap, name: &'static str, status: RateStatus) {
    let policy = format!("\"{name}\";q={};w={}", status.limit, status.period_seconds);
    let standing = format!(
        "\"{name}\";r={};t={}",
        status.remaining, status.reset_after_seconds
    );
    for (name, text) in [(POLICY, policy), (STANDING, standing)] {
        // Digits, letters and quotes are a header's value.
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(name, value);
        }
    }
}
