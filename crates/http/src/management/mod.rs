//! The management API: organizations and their people, keys, tokens, the keyring, what a restore left held.
//!
//! It has two doors. On the Unix socket in the data folder, whose file mode says who may connect, whoever connects acts as
//! the local administrator; over the network a management token says who it is ([`principal`]). Routes are added by
//! `ManagementRoutes::add` alone, with their description ([`endpoint`]), and a handler's first argument is the [`Grant`]
//! that only [`principal`] makes. Unknown fields are refused here, unlike in the resource API. No cookie and no CORS header
//! is ever sent.

mod acceptance;
mod audit;
mod contacts;
pub mod endpoint;
mod export;
mod invitations;
mod key_bulk;
mod key_changes;
mod key_questions;
mod key_values;
pub mod keyring;
mod keys;
mod me;
mod members;
mod nodes;
pub mod openapi;
mod organization_end;
mod organizations;
mod people;
pub mod principal;
pub mod restore;
pub mod status;
mod throttle;
mod tokens;
mod usage;
mod usage_views;
mod verdicts;

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{MethodFilter, on};
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, Method, header};
use keyward_api::fields::Fields;
use keyward_api::problem::RequestCode;
use keyward_core::field::FieldProblem;
use keyward_core::idempotency::{read_idempotency_key, request_digest};
use keyward_core::keyring::Keyring;
use keyward_core::management_refusal::ManagementRefusal;
use keyward_core::secret::{IdempotencyKeyKind, Secret};
use keyward_engine::Engine;
use keyward_engine::context::Context;
use keyward_engine::once::Attempt;
use keyward_engine::verify_token::VerifiedToken;
use keyward_store::members::Membership;
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{Array, Object, Ref, Schema};
use utoipa::{PartialSchema, ToSchema};

use self::endpoint::{Demand, Endpoint};
use self::principal::{Grant, Principal, sign_in};
use self::throttle::Throttle;
use crate::body;
use crate::problem::Problem;
use crate::query::{PageRequest, Paging, Query};
use crate::rate_limit;
use crate::request::{RequestInfo, Who, peer_of};
use crate::routes::{find, finish, path_params, room_for_body, without_panic};
use crate::site::SharedSite;

/// A random text that makes a repeated request the same request (draft-ietf-httpapi-idempotency-key-header).
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says of a reply that it is that of an earlier request.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

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
    throttle: Throttle,
}

impl Management {
    /// One for both doors.
    pub fn new(site: SharedSite, save_keyring: Box<SaveKeyring>, version: &'static str) -> Self {
        Self {
            site,
            save_keyring,
            version,
            throttle: Throttle::default(),
        }
    }
}

/// How routes hold it.
pub type SharedManagement = Arc<Management>;

/// Where a request came in, which decides how its caller says who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// The socket in the data folder.
    Socket,
    /// A network listener.
    Network,
}

/// What a handler gets beside the grant.
pub struct ManagementCall {
    /// The shared state.
    pub management: SharedManagement,
    /// The query.
    pub query: Query,
    /// Who acts, for the trail.
    pub context: Context,
    /// The token that was accepted; asked again once a body has come.
    token: Option<VerifiedToken>,
    /// The member in whose place the caller acts; asked again as well.
    member: Option<Membership>,
    headers: HeaderMap,
    path: Vec<(String, String)>,
    /// Never locked: a body alone can't be shared, and a call that holds one could not be lent across an await.
    body: Mutex<Body>,
    /// Its place among the requests with a body, until the call is dropped.
    room: Option<OwnedSemaphorePermit>,
}

/// A list on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListView<T> {
    /// The items.
    pub items: Vec<T>,
    /// The cursor of the next page; null at the end.
    pub next: Option<String>,
}

// By hand, because the derived name would be the same for the lists of everything.
impl<T: ToSchema> PartialSchema for ListView<T> {
    fn schema() -> RefOr<Schema> {
        Object::builder()
            .property("items", Array::new(Ref::from_schema_name(T::name())))
            .property("next", <Option<String>>::schema())
            .required("items")
            .required("next")
            .description(Some(
                "A page of a list; `next` is the cursor of the page after it, null at the end.",
            ))
            .into()
    }
}

impl<T: ToSchema> ToSchema for ListView<T> {
    fn name() -> Cow<'static, str> {
        Cow::Owned(format!("{}List", T::name()))
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((T::name().into_owned(), T::schema()));
        T::schemas(schemas);
    }
}

/// A row of the table of routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteRow {
    /// The HTTP method.
    pub method: Method,
    /// The path, with parameters in braces.
    pub path: &'static str,
    /// What it asks for.
    pub demand: Demand,
}

/// Every route of the management API.
pub fn route_table() -> Vec<RouteRow> {
    let rows = all_routes().routes.into_iter();
    rows.map(|route| RouteRow {
        method: route.endpoint.method,
        path: route.endpoint.path,
        demand: route.endpoint.demand,
    })
    .collect()
}

/// The management routes behind one door, to be merged with what else its listener serves.
#[expect(
    clippy::disallowed_methods,
    reason = "every route here went through `ManagementRoutes::add`, which takes its demand"
)]
pub fn routes(management: &SharedManagement, door: Door) -> Router<SharedSite> {
    let routes = all_routes().routes.into_iter();
    routes.fold(openapi::routes().merge(acceptance::routes()), |router, route| {
        let management = Arc::clone(management);
        let path = route.endpoint.path;
        // Every method that a description can have is one of the router's.
        let method = MethodFilter::try_from(route.endpoint.method.clone()).unwrap_or(MethodFilter::GET);
        let route = Arc::new(route);
        let handle = move |request: Request| {
            let (management, route) = (Arc::clone(&management), Arc::clone(&route));
            async move { serve(management, door, request, &route).await }
        };
        router.route(path, on(method, handle))
    })
}

/// All that the socket serves.
pub fn router(management: &SharedManagement) -> Router {
    routes(management, Door::Socket)
        .fallback(|State(site): State<SharedSite>, request: Request| async move {
            refuse(
                &site,
                request,
                RequestCode::NoSuchRoute,
                "there is nothing at this address",
            )
        })
        .method_not_allowed_fallback(|State(site): State<SharedSite>, request: Request| async move {
            refuse(
                &site,
                request,
                RequestCode::MethodNotAllowed,
                "the address does not have this HTTP method",
            )
        })
        .with_state(Arc::clone(&management.site))
}

fn all_routes() -> ManagementRoutes {
    let routes = ManagementRoutes { routes: Vec::new() };
    let routes = keys::add(routes);
    let routes = key_values::add(routes);
    let routes = key_changes::add(routes);
    let routes = key_bulk::add(routes);
    let routes = key_questions::add(routes);
    let routes = usage::add(routes);
    let routes = verdicts::add(routes);
    let routes = organizations::add(routes);
    let routes = organization_end::add(routes);
    let routes = contacts::add(routes);
    let routes = members::add(routes);
    let routes = people::add(routes);
    let routes = invitations::add(routes);
    let routes = tokens::add(routes);
    let routes = me::add(routes);
    let routes = audit::add(routes);
    let routes = keyring::add(routes);
    let routes = restore::add(routes);
    let routes = nodes::add(routes);
    status::add(routes)
}

type Handler = dyn Fn(Grant, ManagementCall) -> BoxFuture<'static, Result<Response, Problem>> + Send + Sync;

/// A route with its description.
struct Route {
    endpoint: Endpoint,
    handler: Box<Handler>,
}

/// The routes, being collected.
struct ManagementRoutes {
    routes: Vec<Route>,
}

impl ManagementRoutes {
    /// Adds a route. A path that names an organization has the parameter `organization`, and the handler's grant is for
    /// that one.
    fn add<H, F>(mut self, endpoint: Endpoint, handler: H) -> Self
    where
        H: Fn(Grant, ManagementCall) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Response, Problem>> + Send + 'static,
    {
        self.routes.push(Route {
            endpoint,
            handler: Box::new(move |grant, call| Box::pin(handler(grant, call))),
        });
        self
    }
}

async fn serve(management: SharedManagement, door: Door, request: Request, route: &Route) -> Response {
    let (mut parts, body) = request.into_parts();
    let site = Arc::clone(&management.site);
    let info = RequestInfo::of(&site, &parts, peer_of(&parts));
    let mut who = match door {
        Door::Socket => Who::Administrator,
        Door::Network => Who::Stranger,
    };
    let mut standing = None;
    let outcome = async {
        let path = path_params(&mut parts, "the path is not UTF-8").await?;
        let principal = sign_in(&site, door, (&parts, &info), &path, &mut who).await?;
        who = principal.who();
        let member = match &principal {
            Principal::Person(membership) => Some(membership.clone()),
            Principal::LocalAdministrator | Principal::Token(_) => None,
        };
        let token = match &principal {
            Principal::Token(token) => Some(token.clone()),
            Principal::LocalAdministrator | Principal::Person(_) => None,
        };
        if let Some(token) = token.as_ref().filter(|_| route.endpoint.is_throttled) {
            let taken = management.throttle.take(token.id, site.engine.now());
            standing = Some(taken.status);
            if !taken.is_within {
                // Whoever asks too often must not fill the log either.
                who = Who::RefusedToken(token.id);
                return Err(ManagementRefusal::TooManyRequests {
                    retry_after_seconds: taken.status.reset_after_seconds,
                }
                .into());
            }
        }
        if let Some(token) = token.as_ref().filter(|_| !route.endpoint.is_throttled) {
            who = Who::Asking(token.id);
        }
        let grant = Grant::check(principal, route.endpoint.demand, &path)?;
        let call = ManagementCall {
            query: Query::of(parts.uri.query()),
            context: Context::new(grant.actor(), info.id.clone()),
            token,
            member,
            headers: std::mem::take(&mut parts.headers),
            path,
            management: Arc::clone(&management),
            body: Mutex::new(body),
            room: None,
        };
        // The call itself is inside, too: a handler need not be an `async fn`, and may panic before it has a future.
        without_panic(async { (route.handler)(grant, call).await }).await
    }
    .await;
    let mut response = finish(&site, &info, who, outcome);
    if let Some(standing) = standing {
        // How many requests the token may still make, for clients that pace themselves.
        rate_limit::tell(response.headers_mut(), rate_limit::MANAGEMENT, standing);
    }
    response
}

fn refuse(site: &SharedSite, request: Request, code: RequestCode, message: &str) -> Response {
    let (parts, _) = request.into_parts();
    let info = RequestInfo::of(site, &parts, None);
    Problem::new(code, message).into_response(site, &info)
}

impl ManagementCall {
    fn engine(&self) -> &Engine {
        &self.management.site.engine
    }

    /// A path parameter, read as an id; what is no id names nothing.
    fn id<T: std::str::FromStr>(&self, name: &str, what: &str) -> Result<T, Problem> {
        let text = find(&self.path, name);
        text.and_then(|text| text.parse().ok())
            .ok_or_else(|| Problem::not_found(what))
    }

    /// The page that the query asks for. To be read last of the query.
    fn page(&mut self, paging: Paging) -> Result<PageRequest, Problem> {
        let page = self.query.page(paging);
        Ok(std::mem::take(&mut self.query).finish(page)?)
    }

    async fn fields(&mut self) -> Result<Fields, Problem> {
        let body = self.body().await?;
        let fields = body::fields(body).await?;
        self.confirm().await.map(|()| fields)
    }

    /// The version that the caller read, which a change asks for; `None` is `*`, whatever is there.
    ///
    /// # Errors
    /// `precondition_required` without it, `version_mismatch` for what is no version.
    fn required_version(&self) -> Result<Option<i64>, Problem> {
        let mut values = self.headers.get_all(header::IF_MATCH).iter();
        let missing = || {
            Problem::new(
                RequestCode::PreconditionRequired,
                "send If-Match with the ETag of what you read, so that nobody's change in between is lost; `If-Match: *` \
                 changes whatever is there",
            )
        };
        let value = values.next().ok_or_else(missing)?;
        if values.next().is_some() {
            return Err(missing());
        }
        match value.as_bytes() {
            b"*" => Ok(None),
            text => {
                let version = std::str::from_utf8(text)
                    .ok()
                    .and_then(|text| text.trim_start_matches("W/").trim_matches('"').parse().ok());
                version.map(Some).ok_or_else(missing)
            }
        }
    }

    /// As [`ManagementCall::required_version`], where the header may be left out.
    fn expected_version(&self) -> Result<Option<i64>, Problem> {
        if self.headers.contains_key(header::IF_MATCH) {
            self.required_version()
        } else {
            Ok(None)
        }
    }

    /// The body as an object, and what makes a repetition of this request, if its caller sent an `Idempotency-Key`.
    async fn fields_once(
        &mut self,
        route: &'static str,
        subject: &str,
    ) -> Result<(Fields, Option<Attempt>), Problem> {
        let key = self.idempotency_key()?;
        let body = self.body().await?;
        let bytes = body::read(body, body::MAX_JSON_BYTES).await?;
        self.confirm().await?;
        let fields = body::object(if bytes.is_empty() { b"{}" } else { &bytes })?;
        let attempt = key.map(|key| Attempt {
            key,
            request: request_digest(route, subject, &bytes),
        });
        Ok((fields, attempt))
    }

    fn idempotency_key(&self) -> Result<Option<Secret<IdempotencyKeyKind>>, Problem> {
        let mut values = self.headers.get_all(IDEMPOTENCY_KEY).iter();
        let refused = |message: String| {
            Problem::invalid(vec![FieldProblem {
                field: "Idempotency-Key".to_owned(),
                message,
            }])
        };
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => read_idempotency_key(value.as_bytes())
                .map(Some)
                .map_err(|why| refused(why.to_string())),
            (Some(_), Some(_)) => Err(refused("is there twice; send it once".to_owned())),
        }
    }

    /// The body as an object; one without a single byte counts as an empty object.
    async fn optional_fields(&mut self) -> Result<Fields, Problem> {
        let body = self.body().await?;
        let fields = body::optional_fields(body).await?;
        self.confirm().await.map(|()| fields)
    }

    /// The body, in its turn where others could take all the room; the socket is never kept waiting by them.
    async fn body(&mut self) -> Result<Body, Problem> {
        if self.token.is_some() {
            self.room = Some(room_for_body(&self.management.site).await?);
        }
        let body = self.body.get_mut().unwrap_or_else(PoisonError::into_inner);
        Ok(std::mem::take(body))
    }

    /// A body may come as slowly as its sender likes, and a token that was deleted meanwhile does nothing any more.
    async fn confirm(&self) -> Result<(), Problem> {
        if let Some(token) = &self.token {
            self.engine().confirm_token(token).await?;
        }
        if let Some(member) = &self.member {
            let (organization, person) = (&member.organization_id, member.person_id.as_str());
            let found = self.engine().memberships_of(Some(organization), person).await?;
            if !found.contains(member) {
                return Err(Problem::nothing_here());
            }
        }
        Ok(())
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
