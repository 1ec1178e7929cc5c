//! Who am I? For programs that hold a token, and for whoever acts as somebody.

use axum::response::Response;
use http::StatusCode;
use keyward_api::moment;
use keyward_api::tokens::{MeView, names};

use super::endpoint::{Demand, Endpoint, Tag};
use super::principal::{Grant, Principal};
use super::{ManagementCall, ManagementRoutes};
use crate::problem::Problem;
use crate::reply;

pub(super) fn add(routes: ManagementRoutes) -> ManagementRoutes {
    routes.add(
        Endpoint::get("/v1/me", Demand::Identity)
            .named(
                Tag::Tokens,
                "who_am_i",
                "Show who the caller is and what they may do",
            )
            .answers::<MeView>(StatusCode::OK),
        show,
    )
}

async fn show(grant: Grant, _: ManagementCall) -> Result<Response, Problem> {
    let (kind, name, role, expires_at) = match grant.principal() {
        Principal::LocalAdministrator => ("local_administrator", None, None, None),
        Principal::Person(membership) => ("person", None, Some(membership.role.name().to_owned()), None),
        Principal::Token(token) => ("token", Some(token.name.to_string()), None, token.expires_at),
    };
    let shown = MeView {
        kind: kind.to_owned(),
        actor: grant.actor().to_string(),
        name,
        organization_id: grant.only_organization().map(ToString::to_string),
        role,
        rights: names(grant.rights()),
        expires_at: expires_at.map(moment::write),
    };
    reply::json(StatusCode::OK, &shown)
}
