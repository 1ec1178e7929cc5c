//! Create, list, show, delete and resume secret keys.
//!
//! A key is created and listed under its organization. Where only its id is given, the organization is the caller's own;
//! for the local administrator, who has none, it is looked up.

use axum::response::Response;
use http::StatusCode;
use keyward_api::cursor;
use keyward_api::keys::{
    CreatedKeyView, DeletionBody, KeyStateView, KeyView, NewKeyBody, read_draft, read_reason,
};
use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::management_right::ManagementRight;
use keyward_engine::delete_key::Written;

use super::endpoint::{Endpoint, Tag};
use super::principal::Grant;
use super::{ListView, ManagementCall, ManagementRoutes, paging};
use crate::problem::Problem;
use crate::reply;

const LIST: &str = "keys";
const KEYS: &str = "/v1/organizations/{organization}/keys";

pub(super) fn add(routes: ManagementRoutes) -> ManagementRoutes {
    routes
        .add(
            Endpoint::post(KEYS, ManagementRight::KeysWrite)
                .named(
                    Tag::Keys,
                    "create_key",
                    "Create a secret key and show its value, this once",
                )
                .takes::<NewKeyBody>()
                .answers::<CreatedKeyView>(StatusCode::CREATED),
            create,
        )
        .add(
            Endpoint::get(KEYS, ManagementRight::KeysRead)
                .named(Tag::Keys, "list_keys", "List secret keys, deleted ones included")
                .pages()
                .answers::<ListView<KeyView>>(StatusCode::OK),
            list,
        )
        .add(
            Endpoint::get("/v1/keys/{key}", ManagementRight::KeysRead)
                .named(Tag::Keys, "show_key", "Show a secret key")
                .answers::<KeyView>(StatusCode::OK),
            show,
        )
        .add(
            Endpoint::post("/v1/keys/{key}/delete", ManagementRight::KeysWrite)
                .named(Tag::Keys, "delete_key", "Delete a secret key for good")
                .may_take::<DeletionBody>()
                .answers::<KeyStateView>(StatusCode::OK),
            delete,
        )
        .add(
            Endpoint::post("/v1/keys/{key}/resume", ManagementRight::KeysWrite)
                .named(Tag::Keys, "resume_key", "Resume a paused secret key")
                .answers::<KeyStateView>(StatusCode::OK)
                .may_refuse(&[409]),
            resume,
        )
}

async fn create(grant: Grant, mut call: ManagementCall) -> Result<Response, Problem> {
    let site = call.management.site.clone();
    let draft = read_draft(call.fields().await?, site.engine.now())?;
    let created = site
        .engine
        .create_key(call.context.clone(), grant.organization()?.clone(), draft)
        .await?;
    let shown = CreatedKeyView {
        key: KeyView::of(&created.key, site.engine.now()),
        // The one place where a value leaves the server.
        value: created.value.reveal().to_owned(),
        endpoint: site.public_url.clone(),
    };
    reply::json(StatusCode::CREATED, &shown)
}

async fn list(grant: Grant, mut call: ManagementCall) -> Result<Response, Problem> {
    let organization = grant.organization()?;
    let page = call.page(paging(LIST))?;
    let engine = call.engine();
    // An organization that does not exist is said to be none, not to be without keys.
    engine.show_organization(organization).await?;
    let found = engine.list_keys(organization, &page.after, page.limit).await?;
    let now = engine.now();
    let shown = ListView {
        items: found.items.iter().map(|key| KeyView::of(key, now)).collect(),
        next: found.next.map(|position| cursor::write(LIST, &position)),
    };
    reply::json(StatusCode::OK, &shown)
}

async fn show(grant: Grant, call: ManagementCall) -> Result<Response, Problem> {
    let (organization, id) = subject(&grant, &call).await?;
    let engine = call.engine();
    let key = engine.show_key(&organization, id).await?;
    reply::json(StatusCode::OK, &KeyView::of(&key, engine.now()))
}

async fn delete(grant: Grant, mut call: ManagementCall) -> Result<Response, Problem> {
    let reason = read_reason(call.optional_fields().await?)?;
    let (organization, id) = subject(&grant, &call).await?;
    let written = call
        .engine()
        .delete_key(call.context.clone(), organization, id, reason)
        .await?;
    reply::json(StatusCode::OK, &state_of(&written))
}

async fn resume(grant: Grant, call: ManagementCall) -> Result<Response, Problem> {
    let (organization, id) = subject(&grant, &call).await?;
    let written = call
        .engine()
        .resume_key(call.context.clone(), organization, id)
        .await?;
    reply::json(StatusCode::OK, &state_of(&written))
}

/// The key of the path and its organization: the caller's, in which another's key is not found.
async fn subject(grant: &Grant, call: &ManagementCall) -> Result<(OrganizationId, KeyId), Problem> {
    let id = call.id("key", "secret key")?;
    let organization = match grant.only_organization() {
        Some(own) => own.clone(),
        None => call.engine().organization_of_key(id).await?,
    };
    Ok((organization, id))
}

fn state_of(written: &Written) -> KeyStateView {
    let record = &written.key.record;
    KeyStateView {
        id: record.id.to_string(),
        state: record.state.name().to_owned(),
        state_reason: record.state.reason().map(str::to_owned),
        changed: written.is_changed,
        confirmed: written.confirmed,
        waited_out: written.waited_out,
        waited_ms: written.waited_ms,
    }
}
