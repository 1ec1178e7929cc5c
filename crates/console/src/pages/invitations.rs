//! Invite somebody, show the link once, take invitations back. Accepting one has pages of its own, which ask for no membership.

use askama::Template;
use axum::response::Response;
use keyward_core::email::EmailAddress;
use keyward_core::field::FieldProblems;
use keyward_core::ids::InvitationId;
use keyward_core::management_right::ManagementRight;
use keyward_core::role::Role;
use keyward_core::time::DAY_MS;
use keyward_engine::EngineError;
use keyward_engine::invitations::{CreatedInvitation, InvitationDraft};

use super::roles::{RoleRow, roles_of};
use crate::call::Call;
use crate::mending::Mending;
use crate::refused::Refused;
use crate::reply;
use crate::routes::{ConsoleRoutes, done};
use crate::shell::{Section, Shell, role_name};
use crate::visit::Visit;
use crate::words::{When, counted};

const INVITE: &str = "/org/{organization}/settings/members/invite";
const REVOKE: &str = "/org/{organization}/settings/members/invitations/{invitation}/revoke";
/// For how many days an invitation can be good.
const DAYS: [i64; 5] = [1, 3, 7, 14, 30];
const PROPOSED_DAYS: i64 = 7;

#[derive(Template)]
#[template(path = "invite.html")]
struct InvitePage {
    shell: Shell,
    members: String,
    email: String,
    roles: Vec<RoleRow>,
    days: Vec<DaysRow>,
    mending: Mending,
}

struct DaysRow {
    value: i64,
    text: String,
    is_chosen: bool,
}

#[derive(Template)]
#[template(path = "invited.html")]
struct InvitedPage {
    shell: Shell,
    members: String,
    email: String,
    role: &'static str,
    until: When,
    /// The one place where a link's secret leaves the console.
    link: String,
}

pub(super) fn add(routes: ConsoleRoutes) -> ConsoleRoutes {
    routes
        .page(INVITE, ManagementRight::MembersWrite, show)
        .form(INVITE, ManagementRight::MembersWrite, invite)
        .form(REVOKE, ManagementRight::MembersWrite, revoke)
}

async fn show(visit: Visit, call: Call) -> Result<Response, Refused> {
    page(&visit, &call, Mending::none())
}

async fn invite(visit: Visit, call: Call) -> Result<Response, Refused> {
    let draft = match read(&call) {
        Ok(draft) => draft,
        Err(error) => return page(&visit, &call, Mending::after(error)?),
    };
    let created = call
        .engine()
        .create_invitation(&call.context, visit.id(), draft)
        .await;
    match created {
        Ok(created) => invited(&visit, &call, &created),
        Err(error) => page(&visit, &call, Mending::after(error)?.rename("expires_in", "days")),
    }
}

fn read(call: &Call) -> Result<InvitationDraft, EngineError> {
    let mut problems = FieldProblems::new();
    let email = call.form.text("email").unwrap_or_default();
    let email = problems.keep("email", email.parse::<EmailAddress>());
    let role = call.form.text("role").and_then(Role::from_name);
    if role.is_none() {
        problems.add("role", "choose one of the roles");
    }
    let days = call.form.text("days").and_then(|text| text.parse().ok());
    let days = days.filter(|days: &i64| DAYS.contains(days));
    if days.is_none() {
        problems.add("days", "choose one of these");
    }
    let problems = problems.into_inner();
    match (email, role, days) {
        (Some(email), Some(role), Some(days)) => Ok(InvitationDraft {
            email,
            role,
            lifetime_ms: Some(days.saturating_mul(DAY_MS)),
        }),
        _ => Err(EngineError::Invalid(problems)),
    }
}

async fn revoke(visit: Visit, call: Call) -> Result<Response, Refused> {
    let id: InvitationId = call.path("invitation").parse().map_err(|_| Refused::NotFound)?;
    call.engine()
        .revoke_invitation(&call.context, visit.id(), &id)
        .await?;
    Ok(done(&visit.url("settings/members"), "revoked"))
}

fn page(visit: &Visit, call: &Call, mending: Mending) -> Result<Response, Refused> {
    let role = call.form.text("role").and_then(Role::from_name);
    let chosen = call.form.text("days").and_then(|text| text.parse().ok());
    let days = DAYS.into_iter().map(|value| DaysRow {
        value,
        text: counted(value.unsigned_abs(), "day", "days"),
        is_chosen: value == chosen.unwrap_or(PROPOSED_DAYS),
    });
    let status = mending.status();
    let page = InvitePage {
        shell: Shell::of(visit, call, Section::Members, "Invite somebody", &[]),
        members: visit.url("settings/members"),
        email: call.form.text("email").unwrap_or_default().to_owned(),
        roles: roles_of(visit.role, role.unwrap_or(Role::Admin)),
        days: days.collect(),
        mending,
    };
    reply::page_with(status, &page)
}

fn invited(visit: &Visit, call: &Call, created: &CreatedInvitation) -> Result<Response, Refused> {
    let invitation = &created.invitation;
    let page = InvitedPage {
        shell: Shell::of(visit, call, Section::Members, "Invitation", &[]),
        members: visit.url("settings/members"),
        email: invitation.email.to_string(),
        role: role_name(invitation.role),
        until: When::exact(invitation.expires_at),
        link: format!("{}/invitations/{}", call.site.public_url, created.secret.reveal()),
    };
    reply::page(&page)
}
