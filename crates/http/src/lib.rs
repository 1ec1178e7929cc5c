//! Keyward over HTTP: the kit that every route is made of, the verify route, the management API, the help pages.
//!
//! A request is given an id, its caller's address is found out, its key is checked for what the route does, and only
//! then is its body read: see [`routes`], the one place where key-authenticated routes are added. No business rule is
//! here: parse, authorise, one engine call, render. No CORS header is ever sent, so that a page of another origin can't
//! use a key.

mod api_reference;
pub mod body;
pub mod credentials;
pub mod health;
pub mod management;
pub mod pages;
pub mod problem;
pub mod query;
pub mod rate_limit;
mod refusal_bodies;
pub mod reply;
pub mod request;
pub mod routes;
pub mod site;
pub mod verify;
