//! `GET /v1/verify`: is this key accepted, and whose is it? 204, with the identity in headers and no body.
//!
//! The shortest way through the house, and the one that is measured: no body is read, nothing is logged on an accept,
//! and nothing is allocated but the reply's headers and the two ids in them. With an `Organization-Id` header the organization is checked
//! as well. A server may ask [`is_asked`] before it routes, and save the way through the router.

use std::net::IpAddr;
use std::sync::LazyLock;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::get;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use keyward_core::decision::{OrganizationClaim, Purpose};
use keyward_core::level::PermissionLevel;
use keyward_core::refusal::Refusal;
use keyward_core::scope::{Scope, ScopeSet};
use keyward_engine::verify::{Accepted, VerifyQuestion};

use crate::problem::Problem;
use crate::request::{RequestInfo, Who, address_of, client_of, peer_of};
use crate::site::{SharedSite, Site};
use crate::{credentials, rate_limit, reply};

/// The verified key's id.
pub const KEY_ID: HeaderName = HeaderName::from_static("keyward-key-id");
/// The organization that it belongs to.
pub const ORGANIZATION_ID: HeaderName = HeaderName::from_static("keyward-organization-id");
/// Its scopes, separated by commas.
pub const SCOPES: HeaderName = HeaderName::from_static("keyward-scopes");
/// Its permission level.
pub const PERMISSION: HeaderName = HeaderName::from_static("keyward-permission");

/// The path of the route.
pub const PATH: &str = "/v1/verify";

/// The route.
#[expect(
    clippy::disallowed_methods,
    reason = "the route asks for the key and for no operation; the key itself is the permission"
)]
pub fn routes() -> Router<SharedSite> {
    Router::new().route(
        PATH,
        get(|State(site): State<SharedSite>, request: Request| async move {
            let (parts, _) = request.into_parts();
            answer(&site, &parts, peer_of(&parts)).await
        }),
    )
}

/// Whether a request is for this route.
pub fn is_asked(method: &Method, uri: &Uri) -> bool {
    uri.path() == PATH && (method == Method::GET || method == Method::HEAD)
}

/// Answers a request that came from `peer`.
pub async fn answer(site: &Site, parts: &Parts, peer: Option<IpAddr>) -> Response {
    match identify(site, parts, peer).await {
        Ok(response) => response,
        Err((refusal, who)) => {
            let info = RequestInfo::of(site, parts, peer);
            info.log_finished(site, refusal.code().status(), Some(refusal.code().name()), who);
            Problem::from(refusal).into_response(site, &info)
        }
    }
}

async fn identify(site: &Site, parts: &Parts, peer: Option<IpAddr>) -> Result<Response, (Refusal, Who)> {
    let credentials = credentials::read(site, parts).map_err(|refusal| (refusal, Who::Stranger))?;
    site.engine.prefetch(credentials.key.id());
    let claim = match credentials.organization {
        None => OrganizationClaim::NotAsked,
        header @ Some(_) => OrganizationClaim::Asked { header, path: None },
    };
    let question = VerifyQuestion {
        credentials,
        claim,
        purpose: Purpose::Identify,
        address: address_of(site, &parts.headers, peer),
        client: client_of(site, &parts.headers),
    };
    let answered = site.engine.verify(&question, accepted).await;
    let answered = answered.and_then(|accepted| accepted.ok_or(Refusal::StoreUnavailable));
    answered.map_err(|refusal| {
        let who = Who::refused(credentials.key.id(), &refusal);
        (refusal, who)
    })
}

/// The reply for a key; `None` if an id were no header value, which ids exclude.
fn accepted(key: Accepted<'_>) -> Option<Response> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.clone_from(ALIKE.get(place_of(key.level, key.scopes))?);
    *headers.get_mut(KEY_ID)? = HeaderValue::from_bytes(key.key_id.as_bytes()).ok()?;
    *headers.get_mut(ORGANIZATION_ID)? = HeaderValue::from_str(key.organization_id.as_str()).ok()?;
    if let Some(rate) = key.rate {
        rate_limit::tell(headers, rate_limit::KEY, rate);
    }
    Some(response)
}

/// The headers of a reply for each level and set of scopes, with room for the ids. To copy one of them is less work than to hash and
/// place each header's name anew.
static ALIKE: LazyLock<Vec<HeaderMap>> = LazyLock::new(|| {
    let sets = || (0..=ScopeSet::ALL.bits()).filter_map(ScopeSet::from_bits);
    let kinds = PermissionLevel::ALL
        .into_iter()
        .flat_map(|level| sets().map(move |scopes| (level, scopes)));
    kinds.map(|(level, scopes)| alike(level, scopes)).collect()
});

fn alike(level: PermissionLevel, scopes: ScopeSet) -> HeaderMap {
    let mut response = reply::empty();
    let headers = response.headers_mut();
    for id in [KEY_ID, ORGANIZATION_ID] {
        headers.insert(id, HeaderValue::from_static(""));
    }
    headers.insert(SCOPES, scopes_value(scopes));
    headers.insert(PERMISSION, level_value(level));
    std::mem::take(headers)
}

/// Where in [`ALIKE`].
const fn place_of(level: PermissionLevel, scopes: ScopeSet) -> usize {
    let sets = ScopeSet::ALL.bits() as usize + 1;
    level as usize * sets + scopes.bits() as usize
}

const fn scopes_value(scopes: ScopeSet) -> HeaderValue {
    HeaderValue::from_static(
        match (
            scopes.contains(Scope::Dataset),
            scopes.contains(Scope::Training),
            scopes.contains(Scope::Deployment),
        ) {
            (true, true, true) => "dataset,training,deployment",
            (true, true, false) => "dataset,training",
            (true, false, true) => "dataset,deployment",
            (true, false, false) => "dataset",
            (false, true, true) => "training,deployment",
            (false, true, false) => "training",
            (false, false, true) => "deployment",
            (false, false, false) => "",
        },
    )
}

const fn level_value(level: PermissionLevel) -> HeaderValue {
    HeaderValue::from_static(level.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_and_set_of_scopes_has_its_headers() {
        for level in PermissionLevel::ALL {
            for scopes in (0..8).filter_map(ScopeSet::from_bits) {
                let headers = &ALIKE[place_of(level, scopes)];
                let names: Vec<&str> = scopes.iter().map(Scope::name).collect();
                assert_eq!(headers[SCOPES], names.join(","));
                assert_eq!(headers[PERMISSION], level.name());
            }
        }
        assert_eq!(ALIKE.len(), 32);
    }
}
