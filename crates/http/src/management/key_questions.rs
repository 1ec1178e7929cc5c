//! Questions about secret keys that change nothing: which one is meant, and could it do that.

use axum::response::Response;
use http::StatusCode;
use keyward_api::key_bulk::{LookUpBody, read_look_up};
use keyward_api::key_explain::{ExplainBody, ExplanationView, read_explain};
use keyward_api::keys::KeyView;
use keyward_api::verdicts::AskedResource;
use keyward_core::management_right::ManagementRight;
use keyward_engine::explain_key::ExplainQuestion;
use keyward_engine::permit::OwnedResource;

use super::endpoint::{Endpoint, Tag};
use super::keys::{subject, with_uses};
use super::principal::Grant;
use super::{ListView, ManagementCall, ManagementRoutes};
use crate::problem::Problem;
use crate::reply;

pub(super) fn add(routes: ManagementRoutes) -> ManagementRoutes {
    routes
        .add(
            Endpoint::post(
                "/v1/organizations/{organization}/keys/lookup",
                ManagementRight::KeysRead,
            )
            .named(
                Tag::Keys,
                "look_up_keys",
                "Find the key that a pasted text is of; the text is kept nowhere",
            )
            .takes::<LookUpBody>()
            .answers::<ListView<KeyView>>(StatusCode::OK),
            look_up,
        )
        .add(
            Endpoint::post("/v1/keys/{key}/explain", ManagementRight::KeysRead)
                .named(
                    Tag::Keys,
                    "explain_key",
                    "Ask whether a key could do something, and what decides that; nothing is done and nothing counts as a use",
                )
                .may_take::<ExplainBody>()
                .answers::<ExplanationView>(StatusCode::OK),
            explain,
        )
}

async fn look_up(grant: Grant, mut call: ManagementCall) -> Result<Response, Problem> {
    let organization = grant.organization()?.clone();
    let text = read_look_up(call.fields().await?)?;
    let engine = call.engine();
    let found = engine.look_up_keys(&organization, &text).await?;
    let items = with_uses(engine, &organization, found).await?;
    reply::json(StatusCode::OK, &ListView { items, next: None })
}

async fn explain(grant: Grant, mut call: ManagementCall) -> Result<Response, Problem> {
    let asked = read_explain(call.optional_fields().await?)?;
    let (organization, id) = subject(&grant, &call).await?;
    let question = ExplainQuestion {
        what: asked
            .what
            .map(|(operation, resource)| (operation, owned(resource))),
        address: asked.address,
        at: asked.at,
    };
    let explained = call.engine().explain_key(&organization, id, &question).await?;
    let shown = match explained.refusal {
        None => ExplanationView {
            allowed: true,
            code: "ok".to_owned(),
            message: "The secret key may do this.".to_owned(),
            decided_by: explained.decided_by,
        },
        Some(refusal) => ExplanationView {
            allowed: false,
            code: refusal.code().name().to_owned(),
            message: refusal.sentence(),
            decided_by: explained.decided_by,
        },
    };
    reply::json(StatusCode::OK, &shown)
}

fn owned(resource: AskedResource) -> OwnedResource {
    match resource {
        AskedResource::Organization => OwnedResource::Organization,
        AskedResource::Collection(of) => OwnedResource::Collection(of),
        AskedResource::New(of) => OwnedResource::New(of),
        AskedResource::Item(of, id) => OwnedResource::Item(of, id),
    }
}
