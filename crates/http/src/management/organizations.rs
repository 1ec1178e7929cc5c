//! Create, list and show organizations.

use axum::response::Response;
use axum::routing::MethodFilter;
use http::StatusCode;
use keyward_api::organizations::{MemberView, NewOrganization, OrganizationView};
use keyward_api::{cursor, moment};
use keyward_core::ids::OrganizationId;
use keyward_engine::create_organization::OrganizationDraft;
use keyward_store::organizations::Organization;

use super::{Administrator, ListView, ManagementCall, ManagementRoutes, paging};
use crate::problem::Problem;
use crate::reply;

const LIST: &str = "organizations";

pub(super) fn add(routes: ManagementRoutes) -> ManagementRoutes {
    routes
        .add(MethodFilter::POST, "/v1/organizations", create)
        .add(MethodFilter::GET, "/v1/organizations", list)
        .add(MethodFilter::GET, "/v1/organizations/{organization}", show)
}

async fn create(_: Administrator, mut call: ManagementCall) -> Result<Response, Problem> {
    let new = NewOrganization::read(call.fields().await?)?;
    let draft = OrganizationDraft {
        name: new.name,
        id: new.id,
        owner_email: new.owner_email,
    };
    let engine = &call.management.site.engine;
    let made = engine.create_organization(call.context.clone(), draft).await?;
    reply::json(StatusCode::CREATED, &view(&made))
}

async fn list(_: Administrator, mut call: ManagementCall) -> Result<Response, Problem> {
    let page = call.query.page(paging(LIST));
    let page = call.query.finish(page)?;
    let found = call
        .management
        .site
        .engine
        .list_organizations(&page.after, page.limit)
        .await?;
    let shown = ListView {
        items: found.items.iter().map(view).collect(),
        next: found.next.map(|position| cursor::write(LIST, &position)),
    };
    reply::json(StatusCode::OK, &shown)
}

async fn show(_: Administrator, call: ManagementCall) -> Result<Response, Problem> {
    let id: OrganizationId = call.id("organization", "organization")?;
    let engine = &call.management.site.engine;
    let found = engine.show_organization(&id).await?;
    let members = engine.list_members(&id).await?;
    let members = members.into_iter().map(|member| MemberView {
        person_id: member.person_id.to_string(),
        email: member.email,
        role: member.role.name().to_owned(),
    });
    let shown = OrganizationView {
        members: Some(members.collect()),
        ..view(&found)
    };
    reply::json(StatusCode::OK, &shown)
}

fn view(organization: &Organization) -> OrganizationView {
    OrganizationView {
        id: organization.id.to_string(),
        name: organization.name.clone(),
        state: organization.state.name().to_owned(),
        created_at: moment::write(organization.created_at),
        updated_at: moment::write(organization.updated_at),
        members: None,
    }
}
