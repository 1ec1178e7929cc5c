//! The headers of a request as the credentials that the core reads.

use http::request::Parts;
use http::{HeaderName, HeaderValue, header};
use keyward_core::credentials::{self, Credentials};
use keyward_core::refusal::Refusal;

use crate::site::Site;

/// The header in which a request names its organization.
pub const ORGANIZATION_ID: HeaderName = HeaderName::from_static("organization-id");

/// Reads the credentials of a request.
///
/// # Errors
/// `bad_request`, `key_missing`, `key_malformed`; counted.
pub fn read<'a>(site: &Site, parts: &'a Parts) -> Result<Credentials<'a>, Refusal> {
    credentials::read(
        parts
            .headers
            .get_all(header::AUTHORIZATION)
            .iter()
            .map(HeaderValue::as_bytes),
        parts
            .headers
            .get_all(ORGANIZATION_ID)
            .iter()
            .map(HeaderValue::as_bytes),
        parts.uri.query(),
        site.engine.prefix(),
    )
    .inspect_err(|refusal| site.engine.count_refusal(refusal))
}

/// Refuses a request of which only the URL matters: for routes that take no key.
///
/// # Errors
/// `bad_request` if a key stands in the query.
pub fn refuse_key_in_query(site: &Site, parts: &Parts) -> Result<(), Refusal> {
    match credentials::read([], [], parts.uri.query(), site.engine.prefix()) {
        Err(refusal @ Refusal::BadRequest(_)) => Err(refusal),
        // Without headers nothing but "no key" is left, and none is asked for.
        _ => Ok(()),
    }
}
