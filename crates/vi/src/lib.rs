//! The resource API that secret keys open, in the form that the official Vi client sends and accepts.

use axum::Router;
use keyward_http::site::SharedSite;

/// All routes of the resource API.
pub fn router() -> Router<SharedSite> {
    keyward_http::routes::Routes::new().finish()
}
