//! Keyward's console: pages that the server renders, for people with a browser.
//!
//! A request comes in through [`routes`], the one place where pages are added: it finds the session in the cookie, the
//! membership in the database and, of a form, the proof that this session's own page sent it. Then one handler makes one
//! or two calls of the engine and fills one template. Every page works without JavaScript; `assets/console.js` only makes it
//! quicker. No business rule is here, and nothing of the network API is called: the engine is asked directly.

pub mod assets;
mod call;
mod cookies;
mod csrf;
mod mending;
mod naming;
mod pages;
mod refused;
mod reply;
mod routes;
mod shell;
mod values;
mod visit;
mod words;

use axum::Router;
use keyward_http::site::SharedSite;

/// Every page of the console.
pub fn routes() -> Router<SharedSite> {
    pages::add(routes::ConsoleRoutes::new()).finish()
}

/// Method and path of every page, for the tests that visit each of them.
pub fn route_table() -> Vec<RouteRow> {
    pages::add(routes::ConsoleRoutes::new()).rows().to_vec()
}

pub use routes::{Audience, RouteRow};
