//! The few pages that a person can open without signing in: what a refusal means, and how keys are managed here.
//!
//! Every refusal links to one of them, so they need no key, tell nothing of anybody's data, load nothing from elsewhere
//! and work without scripts.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::get;
use http::{HeaderName, HeaderValue, StatusCode, header};
use keyward_api::problem::RequestCode;
use keyward_core::management_refusal::ManagementCode;
use keyward_core::refusal::Code;

use crate::api_reference::Reference;
use crate::problem::Problem;
use crate::request::{RequestInfo, peer_of};
use crate::site::{SharedSite, Site};
use crate::{credentials, reply};

const STYLESHEET: &str = include_str!("../templates/keyward.css");
/// Nothing but our own stylesheet; no frames, no forms, no scripts.
const CONTENT_SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A code as a page shows it.
struct CodeRow {
    name: &'static str,
    status: u16,
    title: &'static str,
    remedy: Vec<Words>,
}

/// A run of words; what stands in backticks is code.
struct Words {
    text: &'static str,
    is_code: bool,
}

#[derive(Template)]
#[template(path = "start.html")]
struct StartPage<'a> {
    public_url: &'a str,
}

#[derive(Template)]
#[template(path = "errors.html")]
struct ErrorsPage {
    about_keys: Vec<CodeRow>,
    about_tokens: Vec<CodeRow>,
    about_requests: Vec<CodeRow>,
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    code: CodeRow,
}

#[derive(Template)]
#[template(path = "api.html")]
struct ApiPage<'a> {
    reference: &'a Reference,
    public_url: &'a str,
}

/// The pages.
#[expect(
    clippy::disallowed_methods,
    reason = "public pages; nothing on them belongs to anybody"
)]
pub fn routes() -> Router<SharedSite> {
    let reference = Arc::new(Reference::new());
    Router::new()
        .route("/help", get(start))
        .route(
            "/help/keyward.css",
            get(|| async { reply_with("text/css; charset=utf-8", STYLESHEET.to_owned()) }),
        )
        .route(
            "/help/api",
            get(move |State(site): State<SharedSite>, request: Request| {
                let reference = Arc::clone(&reference);
                async move { api(&site, &reference, request) }
            }),
        )
        .route("/help/errors", get(errors))
        .route("/help/errors/{code}", get(error))
}

async fn start(State(site): State<SharedSite>, request: Request) -> Response {
    page(&site, request, || {
        StartPage {
            public_url: &site.public_url,
        }
        .render()
        .map_err(|error| Problem::internal(&error))
    })
}

fn api(site: &Site, reference: &Reference, request: Request) -> Response {
    page(site, request, || {
        let page = ApiPage {
            reference,
            public_url: &site.public_url,
        };
        page.render().map_err(|error| Problem::internal(&error))
    })
}

async fn errors(State(site): State<SharedSite>, request: Request) -> Response {
    page(&site, request, || {
        let page = ErrorsPage {
            about_keys: Code::ALL.iter().map(|code| key_row(*code)).collect(),
            about_tokens: ManagementCode::ALL.iter().map(|code| token_row(*code)).collect(),
            about_requests: RequestCode::ALL.iter().map(|code| request_row(*code)).collect(),
        };
        page.render().map_err(|error| Problem::internal(&error))
    })
}

/// A path parameter, or why there is none: the framework's own answer would be no problem document.
type PathText = Result<Path<String>, PathRejection>;

async fn error(State(site): State<SharedSite>, name: PathText, request: Request) -> Response {
    page(&site, request, || {
        let name = text_of(name)?;
        let of_key = Code::ALL
            .iter()
            .find(|code| code.name() == name)
            .map(|code| key_row(*code));
        let of_token = ManagementCode::ALL
            .iter()
            .find(|code| code.name() == name)
            .map(|code| token_row(*code));
        let of_request = RequestCode::ALL
            .iter()
            .find(|code| code.name() == name)
            .map(|code| request_row(*code));
        let code = of_key
            .or(of_token)
            .or(of_request)
            .ok_or_else(|| Problem::not_found("error code"))?;
        ErrorPage { code }
            .render()
            .map_err(|error| Problem::internal(&error))
    })
}

fn text_of(path: PathText) -> Result<String, Problem> {
    let read = path.map(|Path(text)| text);
    read.map_err(|_| Problem::new(RequestCode::NoSuchRoute, "the path is not UTF-8; check it"))
}

fn key_row(code: Code) -> CodeRow {
    CodeRow {
        name: code.name(),
        status: code.status(),
        title: code.title(),
        remedy: words(code.remedy()),
    }
}

fn token_row(code: ManagementCode) -> CodeRow {
    CodeRow {
        name: code.name(),
        status: code.status(),
        title: code.title(),
        remedy: words(code.remedy()),
    }
}

fn request_row(code: RequestCode) -> CodeRow {
    CodeRow {
        name: code.name(),
        status: code.status(),
        title: code.title(),
        remedy: words(code.remedy()),
    }
}

fn words(text: &'static str) -> Vec<Words> {
    let parts = text.split('`').enumerate();
    parts
        .map(|(at, text)| Words {
            text,
            is_code: at % 2 == 1,
        })
        .collect()
}

fn page(site: &Site, request: Request, render: impl FnOnce() -> Result<String, Problem>) -> Response {
    let (parts, _) = request.into_parts();
    let refused = credentials::refuse_key_in_query(site, &parts).map_err(Problem::from);
    match refused.and_then(|()| render()) {
        Ok(html) => reply_with("text/html; charset=utf-8", html),
        Err(problem) => problem.into_response(site, &RequestInfo::of(site, &parts, peer_of(&parts))),
    }
}

fn reply_with(content_type: &'static str, text: String) -> Response {
    let mut response = reply::with_body(StatusCode::OK, content_type, text.into_bytes());
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(CONTENT_SECURITY_POLICY),
    );
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    );
    response
}
