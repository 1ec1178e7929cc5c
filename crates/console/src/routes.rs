//! The one place where pages are added.
//!
//! A page of an organization says which right it asks for, and its handler's first argument is the [`Visit`] that proves it, so
//! that a page without its check does not compile. Per request: an id, no key in the address, the session in the cookie, of a form
//! its body and the proof that it is this session's, then the handler. What it answers is logged here; a panic becomes an answer.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts as _, RawPathParams, Request, State};
use axum::response::Response;
use axum::routing::{MethodFilter, on};
use futures_util::FutureExt as _;
use http::request::Parts;
use http::{HeaderValue, Method, header};
use keyward_core::management_right::ManagementRight;
use keyward_core::mask::mask_keys;
use keyward_core::record::Actor;
use keyward_engine::context::Context;
use keyward_engine::sessions::SessionStage;
use keyward_http::request::{RequestInfo, Who, peer_of};
use keyward_http::routes::{room_for_body, room_for_stranger};
use keyward_http::site::SharedSite;
use keyward_http::{body, credentials};

use crate::assets;
use crate::call::Call;
use crate::cookies::{CookieNames, new_visitor};
use crate::csrf::{self, Csrf};
use crate::refused::Refused;
use crate::reply;
use crate::values::{MAX_FORM_BYTES, Values};
use crate::visit::{Person, Stranger, Visit};

/// Whom a page is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Anybody.
    Anybody,
    /// Whoever signed in.
    SignedIn,
    /// Members of the path's organization who hold this right.
    Members(ManagementRight),
}

/// A row of the table of pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteRow {
    /// GET for a page, POST for a form.
    pub method: Method,
    /// The path, with parameters in braces.
    pub path: &'static str,
    /// Whom it is for.
    pub audience: Audience,
}

/// Pages, being collected.
pub(crate) struct ConsoleRoutes {
    router: Router<SharedSite>,
    rows: Vec<RouteRow>,
}

/// A request after its head was read.
struct Arrived {
    call: Call,
    visitor: Visitor,
    /// What the log is told of who it was.
    who: Who,
}

/// Whose cookies a request brought.
enum Visitor {
    /// Somebody's, whose session lives and is whole.
    Person(Person),
    /// A browser with a number, or with one that it is given now.
    Stranger { number: String, is_new: bool },
}

impl ConsoleRoutes {
    pub(crate) fn new() -> Self {
        Self {
            router: assets::routes(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn finish(self) -> Router<SharedSite> {
        self.router
    }

    pub(crate) fn rows(&self) -> &[RouteRow] {
        &self.rows
    }

    /// A page of an organization, whose path has the parameter `organization`.
    pub(crate) fn page<H, F>(self, path: &'static str, right: ManagementRight, handler: H) -> Self
    where
        H: Fn(Visit, Call) -> F + Copy + Send + Sync + 'static,
        F: Future<Output = Result<Response, Refused>> + Send + 'static,
    {
        self.add(Method::GET, path, Audience::Members(right), move |arrived| {
            of_organization(arrived, right, handler)
        })
    }

    /// A form of an organization.
    pub(crate) fn form<H, F>(self, path: &'static str, right: ManagementRight, handler: H) -> Self
    where
        H: Fn(Visit, Call) -> F + Copy + Send + Sync + 'static,
        F: Future<Output = Result<Response, Refused>> + Send + 'static,
    {
        self.add(Method::POST, path, Audience::Members(right), move |arrived| {
            of_organization(arrived, right, handler)
        })
    }

    /// A page of whoever signed in.
    pub(crate) fn own_page<H, F>(self, path: &'static str, handler: H) -> Self
    where
        H: Fn(Person, Call) -> F + Copy + Send + Sync + 'static,
        F: Future<Output = Result<Response, Refused>> + Send + 'static,
    {
        self.add(Method::GET, path, Audience::SignedIn, move |arrived| {
            of_person(arrived, handler)
        })
    }

    /// A form of whoever signed in.
    pub(crate) fn own_form<H, F>(self, path: &'static str, handler: H) -> Self
    where
        H: Fn(Person, Call) -> F + Copy + Send + Sync + 'static,
        F: Future<Output = Result<Response, Refused>> + Send + 'static,
    {
        self.add(Method::POST, path, Audience::SignedIn, move |arrived| {
            of_person(arrived, handler)
        })
    }

    /// A page for anybody.
    pub(crate) fn open_page<H, F>(self, path: &'static str, handler: H) -> Self
    where
        H: Fn(Stranger, Call) -> F + Copy + Send + Sync + 'static,
        F: Future<Output = Result<Response, Refused>> + Send + 'static,
    {
        self.add(Method::GET, path, Audience::Anybody, move |arrived| {
            of_anybody(arrived, handler)
        })
    }

    /// A form for anybody.
    pub(crate) fn open_form<H, F>(self, path: &'static str, handler: H) -> Self
    where
        H: Fn(Stranger, Call) -> F + Copy + Send + Sync + 'static,
        F: Future<Output = Result<Response, Refused>> + Send + 'static,
    {
        self.add(Method::POST, path, Audience::Anybody, move |arrived| {
            of_anybody(arrived, handler)
        })
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this is the function that every page goes through, with whom it is for"
    )]
    fn add<H, F>(mut self, method: Method, path: &'static str, audience: Audience, handle: H) -> Self
    where
        H: Fn(Arrived) -> F + Copy + Send + Sync + 'static,
        F: Future<Output = Result<Response, Refused>> + Send + 'static,
    {
        let filter = if method == Method::POST {
            MethodFilter::POST
        } else {
            MethodFilter::GET
        };
        self.rows.push(RouteRow {
            method,
            path,
            audience,
        });
        let answer = move |State(site): State<SharedSite>, request: Request| serve(site, request, handle);
        self.router = self.router.route(path, on(filter, answer));
        self
    }
}

async fn of_organization<H, F>(
    arrived: Arrived,
    right: ManagementRight,
    handler: H,
) -> Result<Response, Refused>
where
    H: Fn(Visit, Call) -> F,
    F: Future<Output = Result<Response, Refused>>,
{
    let Visitor::Person(person) = arrived.visitor else {
        return Err(Refused::SignIn);
    };
    let call = arrived.call;
    let visit = Visit::check(call.engine(), person, call.path("organization"), right).await?;
    handler(visit, call).await
}

async fn of_person<H, F>(arrived: Arrived, handler: H) -> Result<Response, Refused>
where
    H: Fn(Person, Call) -> F,
    F: Future<Output = Result<Response, Refused>>,
{
    match arrived.visitor {
        Visitor::Person(person) => handler(person, arrived.call).await,
        Visitor::Stranger { .. } => Err(Refused::SignIn),
    }
}

async fn of_anybody<H, F>(arrived: Arrived, handler: H) -> Result<Response, Refused>
where
    H: Fn(Stranger, Call) -> F,
    F: Future<Output = Result<Response, Refused>>,
{
    let (stranger, number) = match arrived.visitor {
        Visitor::Person(person) => (
            Stranger {
                csrf: person.csrf.clone(),
                person: Some(person),
            },
            None,
        ),
        Visitor::Stranger { number, is_new } => (
            Stranger {
                csrf: proof_of_visitor(&number),
                person: None,
            },
            is_new.then_some(number),
        ),
    };
    let names = CookieNames::at(&arrived.call.site.public_url);
    let mut response = handler(stranger, arrived.call).await?;
    if let Some(cookie) = number.and_then(|number| names.number_visitor(&number)) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

fn proof_of_visitor(number: &str) -> Csrf {
    Csrf::of(number, "visitor")
}

async fn serve<H, F>(site: SharedSite, request: Request, handle: H) -> Response
where
    H: Fn(Arrived) -> F,
    F: Future<Output = Result<Response, Refused>> + Send,
{
    let (mut parts, body) = request.into_parts();
    let info = RequestInfo::of(&site, &parts, peer_of(&parts));
    let asked = parts
        .uri
        .path_and_query()
        .map(|asked| asked.as_str().to_owned())
        .unwrap_or_default();
    let mut who = Who::Stranger;
    let answering = async {
        let arrived = arrive(&site, &mut parts, body, &info).await?;
        who = arrived.who.clone();
        handle(arrived).await
    };
    let answered = AssertUnwindSafe(answering).catch_unwind().await;
    let answered =
        answered.unwrap_or_else(|_| Err(Refused::Internal("a page's handler panicked".to_owned())));
    match answered {
        Ok(response) => {
            info.log_finished(&site, response.status().as_u16(), None, who);
            response
        }
        Err(refused) => {
            info.log_finished(&site, refused.status().as_u16(), Some(refused.code()), who);
            // A page that is only looked at is come back to after the sign-in; a form is not sent again by itself.
            // What looks like a key is in no answer, not even where somebody typed it into the address.
            let holds_key = mask_keys(&asked, site.engine.prefix().as_str()) != asked;
            let is_kept = parts.method == Method::GET && !holds_key;
            let back = if is_kept { asked.as_str() } else { "" };
            refused.into_response(&info, back)
        }
    }
}

/// Reads a request: its path, its form, whose it is, and whether the form is theirs.
async fn arrive(
    site: &SharedSite,
    parts: &mut Parts,
    sent: Body,
    info: &RequestInfo,
) -> Result<Arrived, Refused> {
    // A key in an address is a key in somebody's history and log: it is not even looked at.
    credentials::refuse_key_in_query(site, parts).map_err(|_| {
        Refused::Conflict("the address holds a secret key, which belongs in no address".to_owned())
    })?;
    let params = RawPathParams::from_request_parts(parts, &()).await;
    let params = params.map_err(|_| Refused::NotFound)?;
    let path = params
        .iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    // The form before the session: a form that comes slowly must not be judged by a session that ended meanwhile.
    let is_form = parts.method == Method::POST;
    let form = if is_form {
        // Asked first as well, so that strangers who send slowly hold up none but strangers.
        let is_known = matches!(find_visitor(site, parts).await?, Visitor::Person(_));
        read_form(site, parts, sent, is_known.then_some(Signed)).await?
    } else {
        Values::default()
    };
    let visitor = find_visitor(site, parts).await?;
    let (actor, who) = match &visitor {
        Visitor::Person(person) => (
            Actor::Person(person.session.person_id.clone()),
            Who::Person(person.session.person_id.clone()),
        ),
        Visitor::Stranger { .. } => (Actor::System, Who::Stranger),
    };
    if is_form {
        let proof = match &visitor {
            Visitor::Person(person) => person.csrf.clone(),
            Visitor::Stranger {
                number,
                is_new: false,
            } => proof_of_visitor(number),
            Visitor::Stranger { is_new: true, .. } => return Err(Refused::ForeignForm),
        };
        if !proof.fits(form.raw(csrf::FIELD)) {
            return Err(Refused::ForeignForm);
        }
    }
    let asked = parts.uri.path().to_owned();
    Ok(Arrived {
        call: Call {
            site: site.clone(),
            context: Context::new(actor, info.id.clone()),
            info: info.clone(),
            query: Values::parse(parts.uri.query().unwrap_or_default().as_bytes()),
            form,
            session_token: CookieNames::at(&site.public_url).read_session(&parts.headers),
            asked,
            path,
        },
        visitor,
        who,
    })
}

/// That a form comes from a browser somebody signed in with.
struct Signed;

/// The largest form of a stranger, and for how long it is waited for.
const STRANGERS_FORM: (usize, Duration) = (16 << 10, Duration::from_secs(5));
/// For how long a form of somebody who signed in is waited for.
const FORM_PATIENCE: Duration = Duration::from_secs(30);

async fn read_form(
    site: &SharedSite,
    parts: &Parts,
    sent: Body,
    signed: Option<Signed>,
) -> Result<Values, Refused> {
    // What other sites begin is refused before it is read, where the browser says so.
    let began = parts.headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    if began.is_some_and(|began| began != b"same-origin" && began != b"none") {
        return Err(Refused::ForeignForm);
    }
    let is_ours = parts.headers.get(header::CONTENT_TYPE).is_some_and(|value| {
        let value = value.as_bytes();
        value.starts_with(b"application/x-www-form-urlencoded")
    });
    if !is_ours {
        return Err(Refused::ForeignForm);
    }
    let (room, (most, patience)) = match signed {
        Some(Signed) => (room_for_body(site).await, (MAX_FORM_BYTES, FORM_PATIENCE)),
        None => (room_for_stranger(site).await, STRANGERS_FORM),
    };
    let _room = room.map_err(|_| Refused::Unavailable("too many forms are being read".to_owned()))?;
    let read = body::read_within(sent, most, patience).await;
    let bytes = read.map_err(|problem| match problem.status() {
        413 => Refused::TooLarge,
        _ => Refused::Conflict("the form did not arrive whole".to_owned()),
    })?;
    Ok(Values::parse(&bytes))
}

async fn find_visitor(site: &SharedSite, parts: &Parts) -> Result<Visitor, Refused> {
    let names = CookieNames::at(&site.public_url);
    if let Some(token) = names.read_session(&parts.headers)
        && let Some(session) = site.engine.find_session(&token).await?
        && session.stage == SessionStage::Whole
    {
        return Ok(Visitor::Person(Person::new(session, token)));
    }
    if let Some(number) = names.read_visitor(&parts.headers) {
        return Ok(Visitor::Stranger {
            number,
            is_new: false,
        });
    }
    let number = new_visitor().ok_or_else(|| Refused::Unavailable("no random bytes".to_owned()))?;
    Ok(Visitor::Stranger { number, is_new: true })
}

/// Adds the cookie that begins a session, or ends one, to an answer.
pub(crate) fn with_cookie(mut response: Response, cookie: Option<HeaderValue>) -> Result<Response, Refused> {
    let cookie =
        cookie.ok_or_else(|| Refused::Internal("a session's token is no cookie's value".to_owned()))?;
    response.headers_mut().append(header::SET_COOKIE, cookie);
    Ok(response)
}

/// After a form was carried out: to the page that shows what became of it. `done` is one of the page's own words.
pub(crate) fn done(path: &str, done: &'static str) -> Response {
    let joint = if path.contains('?') { '&' } else { '?' };
    reply::see_other(&format!("{path}{joint}done={done}"))
}
