//! Create, list and show organizations.

use axum::response::Response;
use http::StatusCode;
use keyward_api::organizations::{MemberView, NewOrganization, NewOrganizationBody, OrganizationView};
use keyward_api::{cursor, moment};
use keyward_core::management_right::ManagementRight;
use keyward_engine::create_organization::OrganizationDraft;
use keyward_store::organizations::Organization;

use super::endpoint::{Endpoint, Tag};
use super::principal::Grant;
use super::{ListView, ManagementCall, ManagementRoutes, paging};
use crate::problem::Problem;
use crate::reply;

const LIST: &str = "organizations";
const ORGANIZATIONS: &str = "/v1/organizations";

pub(super) fn add(routes: ManagementRoutes) -> ManagementRoutes {
    routes
        .add(
            Endpoint::post(ORGANIZATIONS, ManagementRight::Installation)
                .named(
                    Tag::Installation,
                    "create_organization",
                    "Create an organization with its Owner",
                )
                .takes::<NewOrganizationBody>()
                .answers::<OrganizationView>(StatusCode::CREATED)
                .may_refuse(&[409]),
            create,
        )
        .add(
            Endpoint::get(ORGANIZATIONS, ManagementRight::OrganizationRead)
                .named(
                    Tag::Organizations,
                    "list_organizations",
                    "List the organizations that the caller may see",
                )
                .pages()
                .answers::<ListView<OrganizationView>>(StatusCode::OK),
            list,
        )
        .add(
            Endpoint::get(
                "/v1/organizations/{organization}",
                ManagementRight::OrganizationRead,
            )
            .named(Tag::Organizations, "show_organization", "Show an organization")
            .answers::<OrganizationView>(StatusCode::OK),
            show,
        )
}

async fn create(_: Grant, mut call: ManagementCall) -> Result<Response, Problem> {
    let new = NewOrganization::read(call.fields().await?)?;
    let draft = OrganizationDraft {
        name: new.name,
        id: new.id,
        owner_email: new.owner_email,
    };
    let made = call
        .engine()
        .create_organization(call.context.clone(), draft)
        .await?;
    reply::json(StatusCode::CREATED, &view(&made))
}

async fn list(grant: Grant, mut call: ManagementCall) -> Result<Response, Problem> {
    let page = call.page(paging(LIST))?;
    let engine = call.engine();
    let shown = match grant.only_organization() {
        Some(own) => ListView {
            items: vec![view(&engine.show_organization(own).await?)],
            next: None,
        },
        None => {
            let found = engine.list_organizations(&page.after, page.limit).await?;
            ListView {
                items: found.items.iter().map(view).collect(),
                next: found.next.map(|position| cursor::write(LIST, &position)),
            }
        }
    };
    reply::json(StatusCode::OK, &shown)
}

async fn show(grant: Grant, call: ManagementCall) -> Result<Response, Problem> {
    let id = grant.organization()?;
    let engine = call.engine();
    let found = engine.show_organization(id).await?;
    let mut shown = view(&found);
    // Who belongs to it is another right's to see.
    if grant.rights().contains(ManagementRight::MembersRead) {
        let members = engine.list_members(id).await?;
        let members = members.into_iter().map(|member| MemberView {
            person_id: member.person_id.to_string(),
            email: member.email,
            role: member.role.name().to_owned(),
        });
        shown.members = Some(members.collect());
    }
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
