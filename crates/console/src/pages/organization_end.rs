//! Delete the organization after its id was typed, and take that back while its 30 days run.
//!
//! Admins see the page and what it says; that only an Owner may do it is the engine's to say.

use askama::Template;
use axum::response::Response;
use keyward_core::management_right::ManagementRight;
use keyward_core::role::Role;

use super::emergency::{Victims, victims};
use crate::call::Call;
use crate::mending::Mending;
use crate::refused::Refused;
use crate::reply;
use crate::routes::{ConsoleRoutes, done};
use crate::shell::{Section, Shell};
use crate::visit::Visit;

const DELETE: &str = "/org/{organization}/settings/general/delete";
const RESTORE: &str = "/org/{organization}/settings/general/restore";

#[derive(Template)]
#[template(path = "organization_end.html")]
struct EndPage {
    shell: Shell,
    base: String,
    id: String,
    name: String,
    is_owner: bool,
    typed: String,
    victims: Victims,
    mending: Mending,
}

pub(super) fn add(routes: ConsoleRoutes) -> ConsoleRoutes {
    // Those who only may not do it are told so, and by the engine.
    routes
        .page(DELETE, ManagementRight::OrganizationWrite, show)
        .form(DELETE, ManagementRight::OrganizationWrite, delete)
        .form(RESTORE, ManagementRight::OrganizationWrite, restore)
}

async fn show(visit: Visit, call: Call) -> Result<Response, Refused> {
    page(&visit, &call, Mending::none()).await
}

async fn delete(visit: Visit, call: Call) -> Result<Response, Refused> {
    let typed = call.form.text("confirm").unwrap_or_default();
    let deleted = call
        .engine()
        .delete_organization(call.context.clone(), visit.id().clone(), typed)
        .await;
    match deleted {
        Ok(_) => Ok(reply::see_other(&visit.url("settings/general"))),
        Err(error) => page(&visit, &call, Mending::after(error)?).await,
    }
}

async fn restore(visit: Visit, call: Call) -> Result<Response, Refused> {
    call.engine()
        .restore_organization(call.context.clone(), visit.id().clone())
        .await?;
    Ok(done(&visit.url("settings/general"), "restored"))
}

async fn page(visit: &Visit, call: &Call, mending: Mending) -> Result<Response, Refused> {
    let status = mending.status();
    let page = EndPage {
        shell: Shell::of(visit, call, Section::General, "Delete the organization", &[]),
        base: visit.url("settings/general"),
        id: visit.organization.id.to_string(),
        name: visit.organization.name.clone(),
        is_owner: visit.role == Role::Owner,
        typed: call.form.text("confirm").unwrap_or_default().to_owned(),
        victims: victims(visit, call).await?,
        mending,
    };
    reply::page_with(status, &page)
}
