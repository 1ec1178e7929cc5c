//! Answers of the console, with the headers that every one of them has.
//!
//! Nothing is stored by anybody on the way, nothing is loaded from elsewhere, no page is shown in another site's frame, and no
//! address of ours is told to another site.

use askama::Template;
use axum::body::Body;
use axum::response::Response;
use http::{HeaderName, HeaderValue, StatusCode, header};

use crate::refused::Refused;

/// Only our own stylesheet, script and requests; forms go to this site alone; no frames.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
     img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// A page.
///
/// # Errors
/// [`Refused::Internal`], never in practice.
pub(crate) fn page(template: &impl Template) -> Result<Response, Refused> {
    page_with(StatusCode::OK, template)
}

/// A page with another status: 422 for a form that has to be mended.
///
/// # Errors
/// As [`page`].
pub(crate) fn page_with(status: StatusCode, template: &impl Template) -> Result<Response, Refused> {
    Ok(html(status, template.render()?))
}

/// To another page, with GET: after a form was carried out.
pub(crate) fn see_other(path: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    // Paths are made of ids and of percent-encoded queries.
    if let Ok(location) = HeaderValue::from_str(path) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    protect(&mut response);
    response
}

/// A file that the browser saves. `name` is one of ours: letters, digits, dots and hyphens.
pub(crate) fn file(content_type: &'static str, name: &str, body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    let name: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') {
                c
            } else {
                '-'
            }
        })
        .collect();
    if let Ok(disposition) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        headers.insert(header::CONTENT_DISPOSITION, disposition);
    }
    protect(&mut response);
    response
}

/// HTML that is there already.
pub(crate) fn html(status: StatusCode, html: String) -> Response {
    let mut response = Response::new(Body::from(html));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    protect(&mut response);
    response
}

/// Says when it is worth to come back: whole seconds, rounded up.
pub(crate) fn retry_after(response: &mut Response, retry_after_ms: i64) {
    let seconds = retry_after_ms.max(0).unsigned_abs().div_ceil(1_000);
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
}

/// As [`retry_after`], where it may be that there is no such time.
pub(crate) fn worth_again_after(mut response: Response, retry_after_ms: Option<i64>) -> Response {
    if let Some(retry_after_ms) = retry_after_ms {
        retry_after(&mut response, retry_after_ms);
    }
    response
}

fn protect(response: &mut Response) {
    let headers = response.headers_mut();
    let fixed = [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("permissions-policy"),
            "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
        ),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
