//! Accept an invitation: the one management route that asks for nobody's right. The secret of the link says it all.
//!
//! It is a route of its own and not one of `ManagementRoutes`, whose handlers are given a grant: there is none here. A
//! stranger may ask as often as the server lets strangers ask; a text that can't be a secret costs no look-up, and any
//! other costs one.

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::post;
use http::{Method, StatusCode};
use keyward_api::invitations::{AcceptInvitationBody, AcceptedInvitationView, read_acceptance};

use super::endpoint::{Demand, Endpoint, Tag};
use crate::problem::Problem;
use crate::request::{RequestInfo, Who, peer_of};
use crate::routes::{finish, room_for_stranger, without_panic};
use crate::site::{SharedSite, Site};
use crate::{body, credentials, reply};

const PATH: &str = "/v1/invitations/accept";

/// What it says of itself.
pub(super) fn endpoint() -> Endpoint {
    let endpoint = Endpoint::new(Method::POST, PATH, Demand::Nothing)
        .named(
            Tag::People,
            "accept_invitation",
            "Become a member by the secret of an invitation's link",
        )
        .takes::<AcceptInvitationBody>()
        .answers::<AcceptedInvitationView>(StatusCode::OK)
        .may_refuse(&[404, 409, 410]);
    endpoint.unthrottled()
}

/// The route itself.
#[expect(
    clippy::disallowed_methods,
    reason = "whoever accepts an invitation is nobody yet, and is known by its secret alone"
)]
pub(super) fn routes() -> Router<SharedSite> {
    Router::new().route(PATH, post(serve))
}

async fn serve(State(site): State<SharedSite>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let info = RequestInfo::of(&site, &parts, peer_of(&parts));
    let outcome = async {
        credentials::refuse_key_in_query(&site, &parts)?;
        without_panic(async { accept(&site, &info, body).await }).await
    }
    .await;
    finish(&site, &info, Who::Stranger, outcome)
}

async fn accept(site: &Site, info: &RequestInfo, body: Body) -> Result<Response, Problem> {
    let secret = {
        let _room = room_for_stranger(site).await?;
        read_acceptance(body::fields(body).await?)?
    };
    let accepted = site.engine.accept_invitation(&info.arrival(), &secret).await?;
    let shown = AcceptedInvitationView {
        organization_id: accepted.organization.id.to_string(),
        organization_name: accepted.organization.name,
        person_id: accepted.member.person_id.to_string(),
        email: accepted.member.email,
        role: accepted.member.role.name().to_owned(),
    };
    reply::json(StatusCode::OK, &shown)
}
