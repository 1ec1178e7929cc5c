//! Create, list, show, delete and resume secret keys.
//!
//! A key is created and listed under its organization; where only its id is given, the organization is looked up, which
//! the local administrator alone may do.

use axum::response::Response;
use axum::routing::MethodFilter;
use http::StatusCode;
use keyward_api::cursor;
use keyward_api::keys::{CreatedKeyView, KeyStateView, KeyView, read_draft, read_reason};
use keyward_core::ids::{KeyId, OrganizationId};
use keyward_engine::Engine;
use keyward_engine::delete_key::Written;

use super::{Administrator, ListView, ManagementCall, ManagementRoutes, paging};
use crate::problem::Problem;
use crate::reply;

const LIST: &str = "keys";

pub(super) fn add(routes: ManagementRoutes) -> ManagementRoutes {
    routes
        .add(
            MethodFilter::POST,
            "/v1/organizations/{organization}/keys",
            create,
        )
        .add(MethodFilter::GET, "/v1/organizations/{organization}/keys", list)
        .add(MethodFilter::GET, "/v1/keys/{key}", show)
        .add(MethodFilter::POST, "/v1/keys/{key}/delete", delete)
        .add(MethodFilter::POST, "/v1/keys/{key}/resume", resume)
}

async fn create(_: Administrator, mut call: ManagementCall) -> Result<Response, Problem> {
    let organization: OrganizationId = call.id("organization", "organization")?;
    let site = call.management.site.clone();
    let draft = read_draft(call.fields().await?, site.engine.now())?;
    let created = site
        .engine
        .create_key(call.context.clone(), organization, draft)
        .await?;
    let shown = CreatedKeyView {
        key: KeyView::of(&created.key, site.engine.now()),
        // The one place where a value leaves the server.
        value: created.value.reveal().to_owned(),
        endpoint: site.public_url.clone(),
    };
    reply::json(StatusCode::CREATED, &shown)
}

async fn list(_: Administrator, mut call: ManagementCall) -> Result<Response, Problem> {
    let organization: OrganizationId = call.id("organization", "organization")?;
    let page = call.query.page(paging(LIST));
    let page = std::mem::take(&mut call.query).finish(page)?;
    let engine = &call.management.site.engine;
    // An organization that does not exist is said to be none, not to be without keys.
    engine.show_organization(&organization).await?;
    let found = engine.list_keys(&organization, &page.after, page.limit).await?;
    let now = engine.now();
    let shown = ListView {
        items: found.items.iter().map(|key| KeyView::of(key, now)).collect(),
        next: found.next.map(|position| cursor::write(LIST, &position)),
    };
    reply::json(StatusCode::OK, &shown)
}

async fn show(_: Administrator, call: ManagementCall) -> Result<Response, Problem> {
    let (organization, id) = subject(&call.management.site.engine, call.id("key", "secret key")?).await?;
    let engine = &call.management.site.engine;
    let key = engine.show_key(&organization, id).await?;
    reply::json(StatusCode::OK, &KeyView::of(&key, engine.now()))
}

async fn delete(_: Administrator, mut call: ManagementCall) -> Result<Response, Problem> {
    let reason = read_reason(call.optional_fields().await?)?;
    let (organization, id) = subject(&call.management.site.engine, call.id("key", "secret key")?).await?;
    let engine = &call.management.site.engine;
    let written = engine
        .delete_key(call.context.clone(), organization, id, reason)
        .await?;
    reply::json(StatusCode::OK, &state_of(&written))
}

async fn resume(_: Administrator, call: ManagementCall) -> Result<Response, Problem> {
    let (organization, id) = subject(&call.management.site.engine, call.id("key", "secret key")?).await?;
    let engine = &call.management.site.engine;
    let written = engine.resume_key(call.context.clone(), organization, id).await?;
    reply::json(StatusCode::OK, &state_of(&written))
}

async fn subject(engine: &Engine, id: KeyId) -> Result<(OrganizationId, KeyId), Problem> {
    Ok((engine.organization_of_key(id).await?, id))
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
