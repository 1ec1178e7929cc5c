//! The management API: organizations, keys, the keyring, what a restore left held.
//!
//! It is served on the Unix socket in the data folder, whose file mode says who may connect; whoever connects acts as the
//! local administrator. It is on no network listener. Routes are added by `ManagementRoutes::add` alone, and a handler's
//! first argument is the [`Administrator`] whom only this module makes. Unknown fields are refused here, unlike in the
//! resource API.

pub mod keyring;
mod keys;
mod organizations;
pub mod restore;
pub mod status;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{MethodFilter, on};
use keyward_api::fields::Fields;
use keyward_api::problem::RequestCode;
use keyward_core::keyring::Keyring;
use keyward_core::record::Actor;
use keyward_engine::context::Context;
use serde::{Deserialize, Serialize};

use crate::body;
use crate::problem::Problem;
use crate::query::{Paging, Query};
use crate::request::{RequestInfo, Who};
use crate::routes::{find, finish, path_params, without_panic};
use crate::site::SharedSite;

/// Saves a keyring durably in place of the one that was there.
pub type SaveKeyring = dyn Fn(&Keyring) -> std::io::Result<()> + Send + Sync;

/// What management needs beside the site.
pub struct Management {
    /// The site.
    pub site: SharedSite,
    /// How a rotated keyring is saved.
    pub save_keyring: Box<SaveKeyring>,
    /// The program's version.
    pub version: &'static str,
}

/// How routes hold it.
pub type SharedManagement = Arc<Management>;

/// Proof that the caller may manage this installation: whoever reaches the socket.
#[derive(Debug)]
pub struct Administrator {
    actor: Actor,
}

/// What a handler gets beside the proof.
pub struct ManagementCall {
    /// The shared state.
    pub management: SharedManagement,
    /// The query.
    pub query: Query,
    /// Who acts, for the trail.
    pub context: Context,
    path: Vec<(String, String)>,
    body: Body,
}

/// A list on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListView<T> {
    /// The items.
    pub items: Vec<T>,
    /// The cursor of the next page; null at the end.
    pub next: Option<String>,
}

/// The management routes.
pub fn router(management: SharedManagement) -> Router {
    let routes = ManagementRoutes::new();
    let routes = organizations::add(routes);
    let routes = keys::add(routes);
    let routes = keyring::add(routes);
    let routes = restore::add(routes);
    let routes = status::add(routes);
    routes
        .router
        .fallback(
            |State(management): State<SharedManagement>, request: Request| async move {
                refuse(
                    &management,
                    request,
                    RequestCode::NoSuchRoute,
                    "there is nothing at this address",
                )
            },
        )
        .method_not_allowed_fallback(
            |State(management): State<SharedManagement>, request: Request| async move {
                refuse(
                    &management,
                    request,
                    RequestCode::MethodNotAllowed,
                    "the address does not have this HTTP method",
                )
            },
        )
        .with_state(management)
}

/// A router that is being filled.
struct ManagementRoutes {
    router: Router<SharedManagement>,
}

impl ManagementRoutes {
    fn new() -> Self {
        Self {
            router: Router::new(),
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this is the function that takes a route's permission"
    )]
    fn add<H, F>(self, method: MethodFilter, path: &str, handler: H) -> Self
    where
        H: Fn(Administrator, ManagementCall) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<Response, Problem>> + Send + 'static,
    {
        let handle = move |State(management): State<SharedManagement>, request: Request| {
            let handler = handler.clone();
            async move { serve(management, request, handler).await }
        };
        Self {
            router: self.router.route(path, on(method, handle)),
        }
    }
}

async fn serve<H, F>(management: SharedManagement, request: Request, handler: H) -> Response
where
    H: Fn(Administrator, ManagementCall) -> F,
    F: Future<Output = Result<Response, Problem>> + Send,
{
    let (mut parts, body) = request.into_parts();
    let info = RequestInfo::of(&management.site, &parts, None);
    let outcome = async {
        let path = path_params(&mut parts, "the path is not UTF-8").await?;
        // Whoever can open the socket has passed the data folder's and the socket's file modes.
        let administrator = Administrator {
            actor: Actor::LocalAdministrator,
        };
        let call = ManagementCall {
            query: Query::of(parts.uri.query()),
            context: Context::new(administrator.actor.clone(), info.id.clone()),
            path,
            management: Arc::clone(&management),
            body,
        };
        without_panic(async { handler(administrator, call).await }).await
    }
    .await;
    finish(&management.site, &info, Who::Administrator, outcome)
}

fn refuse(management: &Management, request: Request, code: RequestCode, message: &str) -> Response {
    let (parts, _) = request.into_parts();
    let info = RequestInfo::of(&management.site, &parts, None);
    Problem::new(code, message).into_response(&management.site, &info)
}

impl ManagementCall {
    /// A path parameter, read as an id; what is no id names nothing.
    fn id<T: std::str::FromStr>(&self, name: &str, what: &str) -> Result<T, Problem> {
        let text = find(&self.path, name);
        text.and_then(|text| text.parse().ok())
            .ok_or_else(|| Problem::not_found(what))
    }

    async fn fields(&mut self) -> Result<Fields, Problem> {
        body::fields(std::mem::take(&mut self.body)).await
    }

    /// The body as an object; one without a single byte counts as an empty object.
    async fn optional_fields(&mut self) -> Result<Fields, Problem> {
        body::optional_fields(std::mem::take(&mut self.body)).await
    }
}

const fn paging(list: &'static str) -> Paging {
    Paging {
        list,
        cursor: "cursor",
        size: "limit",
        default: 100,
        most: 1_000,
    }
}
