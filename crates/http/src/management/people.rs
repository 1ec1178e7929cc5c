//! One-time links that let a person in who has no passphrase yet, or lost what they had: for whoever operates the machine alone.
//!
//! An Owner can't make one, and neither can a management token: a link is as good as the person, in every organization that they
//! belong to.

use axum::response::Response;
use http::StatusCode;
use keyward_api::moment;
use keyward_api::people::{NewSignInLink, NewSignInLinkBody, SignInLinkView};
use keyward_core::management_right::ManagementRight;

use super::endpoint::{Endpoint, Tag};
use super::principal::Grant;
use super::{ManagementCall, ManagementRoutes};
use crate::problem::Problem;
use crate::reply;

pub(super) fn add(routes: ManagementRoutes) -> ManagementRoutes {
    routes.add(
        Endpoint::post("/v1/people/link", ManagementRight::Installation)
            .named(
                Tag::Installation,
                "create_sign_in_link",
                "Make a one-time link that lets a person in, and show it this once",
            )
            .takes::<NewSignInLinkBody>()
            .answers::<SignInLinkView>(StatusCode::CREATED)
            .may_refuse(&[404]),
        create,
    )
}

async fn create(_: Grant, mut call: ManagementCall) -> Result<Response, Problem> {
    let new = NewSignInLink::read(call.fields().await?)?;
    let created = call
        .engine()
        .create_sign_in_link(&call.context, new.email.as_str(), new.purpose)
        .await?;
    let shown = SignInLinkView {
        email: created.email.to_string(),
        purpose: new.purpose.name().to_owned(),
        expires_at: moment::write(created.expires_at),
        link: call.management.site.sign_in_link(&created.secret),
    };
    reply::json(StatusCode::CREATED, &shown)
}
