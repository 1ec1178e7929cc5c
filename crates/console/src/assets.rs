//! The stylesheet and the script, from the program itself.
//!
//! Their addresses hold a digest of their content, so that a browser may keep them for good and never has an old one. They set no
//! cookie and look at none.

use std::sync::OnceLock;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::get;
use http::{HeaderValue, header};
use keyward_http::site::SharedSite;
use sha2::{Digest as _, Sha256};

const STYLESHEET: &str = include_str!("../assets/console.css");
const SCRIPT: &str = include_str!("../assets/console.js");
const ICON: &str = include_str!("../assets/icon.svg");

/// The address of the stylesheet.
pub fn stylesheet_url() -> String {
    static URL: OnceLock<String> = OnceLock::new();
    URL.get_or_init(|| url_of("console", "css", STYLESHEET)).clone()
}

/// The address of the script.
pub fn script_url() -> String {
    static URL: OnceLock<String> = OnceLock::new();
    URL.get_or_init(|| url_of("console", "js", SCRIPT)).clone()
}

/// The address of the icon in the browser's tab.
pub fn icon_url() -> String {
    static URL: OnceLock<String> = OnceLock::new();
    URL.get_or_init(|| url_of("icon", "svg", ICON)).clone()
}

fn url_of(name: &str, extension: &str, content: &str) -> String {
    let digest = Sha256::digest(content);
    let short: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("/console/{name}.{short}.{extension}")
}

/// Routes of the files.
#[expect(
    clippy::disallowed_methods,
    reason = "files of the program itself; nothing in them belongs to anybody"
)]
pub(crate) fn routes() -> Router<SharedSite> {
    Router::new()
        .route(
            &stylesheet_url(),
            get(|| async { kept("text/css; charset=utf-8", STYLESHEET) }),
        )
        .route(
            &script_url(),
            get(|| async { kept("text/javascript; charset=utf-8", SCRIPT) }),
        )
        .route(&icon_url(), get(|| async { kept("image/svg+xml", ICON) }))
}

fn kept(content_type: &'static str, content: &'static str) -> Response {
    let mut response = Response::new(Body::from(content));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=31536000, immutable"),
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    );
    response
}
