//! The one place where key-authenticated routes are added.
//!
//! A route is a [`Guard`] (which operation, on what) and a handler whose first argument is the permit for it, so that a
//! route without a permission does not compile. Per request: its id, its caller, its key's headers, the decision, and
//! only then the body. What a handler answers is rendered and logged here; a panic becomes an answer too.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts as _, RawPathParams, Request, State};
use axum::response::Response;
use axum::routing::{MethodFilter, on};
use futures_util::FutureExt as _;
use http::request::Parts;
use keyward_api::fields::Fields;
use keyward_api::problem::RequestCode;
use keyward_core::decision::OrganizationClaim;
use keyward_core::operation::Operation;
use keyward_core::resource::ResourceType;
use keyward_engine::context::Context;
use keyward_engine::permit::{OwnedResource, Permit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::Problem;
use crate::query::Query;
use crate::request::{RequestInfo, Who, peer_of};
use crate::site::{SharedSite, Site};
use crate::{body, credentials, query, rate_limit};

/// What a key must be allowed for a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guard {
    /// The operation.
    pub operation: OperationOf,
    /// What it is done to.
    pub resource: ResourceOf,
}

/// How a request's operation is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationOf {
    /// The same for every request of the route.
    Always(Operation),
    /// The second, unless `contents` is absent or `n`: anything else counts as asking for the contents.
    ByContents(Operation, Operation),
}

/// How a request's resource is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResourceOf {
    /// The organization.
    Organization,
    /// A list.
    Collection(ResourceType),
    /// One that does not exist yet.
    New(ResourceType),
    /// The one that this path parameter names.
    Item(ResourceType, &'static str),
    /// The dataset that the parameter `dataset` names, with or without the organization before its last underscore.
    Dataset,
}

/// What a handler gets beside the permit.
#[derive(Debug)]
pub struct Call {
    /// The site.
    pub site: SharedSite,
    /// The request.
    pub request: RequestInfo,
    /// The query.
    pub query: Query,
    /// Who acts, for the trail.
    pub context: Context,
    path: Vec<(String, String)>,
    body: Body,
    /// Its place among the requests with a body, until the call is dropped.
    room: Option<OwnedSemaphorePermit>,
}

/// For how long a request waits for a place to read its body.
const ROOM_PATIENCE: Duration = Duration::from_secs(2);

impl Call {
    /// A path parameter, decoded; empty if the route has none of that name.
    pub fn path(&self, name: &str) -> &str {
        find(&self.path, name).unwrap_or_default()
    }

    /// The body as a JSON object.
    ///
    /// # Errors
    /// `body_too_large`, `malformed_body`; `unavailable` where too many bodies are read at once.
    pub async fn fields(&mut self) -> Result<Fields, Problem> {
        self.room = Some(room_for_body(&self.site).await?);
        body::fields(std::mem::take(&mut self.body)).await
    }
}

/// A place among the requests with a body; held until the request is answered.
///
/// # Errors
/// `busy` where none gets free in time.
pub async fn room_for_body(site: &Site) -> Result<OwnedSemaphorePermit, Problem> {
    place_in(&site.bodies).await
}

/// As [`room_for_body`], for somebody of whom nobody knows who they are: a room of its own.
///
/// # Errors
/// `busy` where none gets free in time.
pub async fn room_for_stranger(site: &Site) -> Result<OwnedSemaphorePermit, Problem> {
    place_in(&site.strangers_bodies).await
}

/// A place in a room, waited for a moment.
async fn place_in(room: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Problem> {
    let place = Arc::clone(room).acquire_owned();
    let place = tokio::time::timeout(ROOM_PATIENCE, place).await;
    place.map_err(|_| Problem::busy())?.map_err(|_| Problem::busy())
}

/// A router that is being filled.
pub struct Routes {
    router: Router<SharedSite>,
}

impl Default for Routes {
    fn default() -> Self {
        Self::new()
    }
}

impl Routes {
    /// No route yet.
    pub fn new() -> Self {
        Self {
            router: Router::new(),
        }
    }

    /// Adds a route. A path that names an organization has the parameter `organization`.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the function that takes a route's permission"
    )]
    pub fn add<H, F>(self, method: MethodFilter, path: &str, guard: Guard, handler: H) -> Self
    where
        H: Fn(Permit, Call) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<Response, Problem>> + Send + 'static,
    {
        let handle = move |State(site): State<SharedSite>, request: Request| {
            let handler = handler.clone();
            async move { serve(site, request, guard, handler).await }
        };
        Self {
            router: self.router.route(path, on(method, handle)),
        }
    }

    /// The router.
    pub fn finish(self) -> Router<SharedSite> {
        self.router
    }
}

async fn serve<H, F>(site: SharedSite, request: Request, guard: Guard, handler: H) -> Response
where
    H: Fn(Permit, Call) -> F,
    F: Future<Output = Result<Response, Problem>> + Send,
{
    let (mut parts, body) = request.into_parts();
    let info = RequestInfo::of(&site, &parts, peer_of(&parts));
    let (mut who, mut rate) = (Who::Stranger, None);
    let outcome = async {
        let path = path_params(&mut parts, "the path is not UTF-8; check the ids in it").await?;
        let permit = permit(&site, &parts, &info, &path, guard, &mut who).await?;
        rate = permit.identity().rate();
        who = Who::Key(permit.identity().key_id());
        let call = Call {
            site: Arc::clone(&site),
            request: info.clone(),
            query: Query::of(parts.uri.query()),
            context: Context::new(permit.actor(), info.id.clone()),
            path,
            body,
            room: None,
        };
        // The call itself is inside, too: a handler need not be an `async fn`, and may panic before it has a future.
        without_panic(async { handler(permit, call).await }).await
    }
    .await;
    let mut response = finish(&site, &info, who, outcome);
    if let Some(rate) = rate {
        rate_limit::tell(response.headers_mut(), rate_limit::KEY, rate);
    }
    response
}

/// A panic is a defect and must not look like a network failure to the caller.
pub(crate) async fn without_panic(
    answering: impl Future<Output = Result<Response, Problem>>,
) -> Result<Response, Problem> {
    let answered = AssertUnwindSafe(answering).catch_unwind().await;
    answered.unwrap_or_else(|_| Err(Problem::internal(&Panicked)))
}

/// Writes the line of the log, and renders a problem.
pub(crate) fn finish(
    site: &Site,
    info: &RequestInfo,
    who: Who,
    outcome: Result<Response, Problem>,
) -> Response {
    match outcome {
        Ok(response) => {
            info.log_finished(site, response.status().as_u16(), None, who);
            response
        }
        Err(problem) => {
            info.log_finished(site, problem.status(), Some(problem.code()), who);
            problem.into_response(site, info)
        }
    }
}

#[derive(Debug)]
struct Panicked;

impl std::fmt::Display for Panicked {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a handler panicked")
    }
}

impl std::error::Error for Panicked {}

/// The path's parameters, decoded; `otherwise` is said of those that are no UTF-8.
pub(crate) async fn path_params(
    parts: &mut Parts,
    otherwise: &str,
) -> Result<Vec<(String, String)>, Problem> {
    let params = RawPathParams::from_request_parts(parts, &()).await;
    let params = params.map_err(|_| Problem::new(RequestCode::NoSuchRoute, otherwise))?;
    Ok(params
        .iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect())
}

async fn permit(
    site: &Site,
    parts: &Parts,
    info: &RequestInfo,
    path: &[(String, String)],
    guard: Guard,
    who: &mut Who,
) -> Result<Permit, Problem> {
    let credentials = credentials::read(site, parts)?;
    let claim = OrganizationClaim::Asked {
        header: credentials.organization,
        path: find(path, "organization"),
    };
    let operation = guard.operation.of(parts.uri.query());
    let resource = guard.resource.of(path);
    let permitted = site
        .engine
        .permit(
            credentials,
            claim,
            (operation, resource),
            (info.address, info.client),
        )
        .await;
    Ok(permitted.inspect_err(|refusal| *who = Who::refused(credentials.key.id(), refusal))?)
}

impl OperationOf {
    fn of(self, query: Option<&str>) -> Operation {
        match self {
            Self::Always(operation) => operation,
            Self::ByContents(without, with) => {
                let asks = query::pairs(query)
                    .iter()
                    .any(|(name, value)| name.eq_ignore_ascii_case("contents") && value != "n");
                if asks { with } else { without }
            }
        }
    }
}

impl ResourceOf {
    fn of(self, path: &[(String, String)]) -> OwnedResource {
        match self {
            Self::Organization => OwnedResource::Organization,
            Self::Collection(of) => OwnedResource::Collection(of),
            Self::New(of) => OwnedResource::New(of),
            Self::Item(of, name) => OwnedResource::Item(of, find(path, name).unwrap_or_default().to_owned()),
            Self::Dataset => {
                let id = dataset_id(
                    find(path, "organization").unwrap_or_default(),
                    find(path, "dataset").unwrap_or_default(),
                );
                OwnedResource::Item(ResourceType::Dataset, id.to_owned())
            }
        }
    }
}

/// A dataset's id out of a path: the official client writes `{organization}_{dataset}`. With any other organization
/// before it the text stays whole, and is no dataset's id.
pub fn dataset_id<'a>(organization: &str, text: &'a str) -> &'a str {
    text.strip_prefix(organization)
        .and_then(|rest| rest.strip_prefix('_'))
        .unwrap_or(text)
}

pub(crate) fn find<'a>(path: &'a [(String, String)], name: &str) -> Option<&'a str> {
    path.iter()
        .find(|(other, _)| other == name)
        .map(|(_, value)| value.as_str())
}

/// Answers what no route answers, with the same care: an id, no key in the URL, a problem document.
pub async fn no_such_route(State(site): State<SharedSite>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    refuse(&site, &parts, || {
        Problem::new(
            RequestCode::NoSuchRoute,
            "there is nothing at this address; check the path",
        )
    })
}

/// Answers a method that an address does not have.
pub async fn method_not_allowed(State(site): State<SharedSite>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    refuse(&site, &parts, || {
        Problem::new(
            RequestCode::MethodNotAllowed,
            "the address exists, but not for this HTTP method; the Allow header names those it has",
        )
    })
}

fn refuse(site: &Site, parts: &Parts, otherwise: impl FnOnce() -> Problem) -> Response {
    let info = RequestInfo::of(site, parts, peer_of(parts));
    let problem = match credentials::refuse_key_in_query(site, parts) {
        Err(refusal) => refusal.into(),
        Ok(()) => otherwise(),
    };
    finish(site, &info, Who::Stranger, Err(problem))
}
