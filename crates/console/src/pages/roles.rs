//! Change a member's role. Who may give and take which is the engine's to say; its refusal is shown above the form.

use askama::Template;
use axum::response::Response;
use keyward_core::field::FieldProblem;
use keyward_core::ids::PersonId;
use keyward_core::management_right::ManagementRight;
use keyward_core::role::Role;

use crate::call::Call;
use crate::mending::Mending;
use crate::refused::Refused;
use crate::reply;
use crate::routes::{ConsoleRoutes, done};
use crate::shell::{Section, Shell, role_name};
use crate::visit::Visit;

const PATH: &str = "/org/{organization}/settings/members/{person}/role";

#[derive(Template)]
#[template(path = "role.html")]
struct RolePage {
    shell: Shell,
    members: String,
    action: String,
    email: String,
    is_self: bool,
    was: &'static str,
    roles: Vec<RoleRow>,
    mending: Mending,
}

/// A role that can be chosen.
pub(super) struct RoleRow {
    pub(super) value: &'static str,
    pub(super) name: &'static str,
    pub(super) sentence: &'static str,
    pub(super) is_chosen: bool,
}

pub(super) fn add(routes: ConsoleRoutes) -> ConsoleRoutes {
    routes
        .page(PATH, ManagementRight::MembersWrite, show)
        .form(PATH, ManagementRight::MembersWrite, change)
}

/// What somebody in a role does.
pub(super) const fn role_sentence(role: Role) -> &'static str {
    match role {
        Role::Owner => "Everything, also what ends the organization and who else is an Owner.",
        Role::Admin => "Keys, settings and people, except Owners and the organization's end.",
        Role::Member => "Belongs to the organization. Sees neither keys nor settings nor people.",
    }
}

/// The roles that somebody in `own` may give, the least first.
pub(super) fn roles_of(own: Role, chosen: Role) -> Vec<RoleRow> {
    let mine = Role::ALL.into_iter().filter(|role| own.may_change(*role));
    mine.map(|role| RoleRow {
        value: role.name(),
        name: role_name(role),
        sentence: role_sentence(role),
        is_chosen: role == chosen,
    })
    .collect()
}

async fn show(visit: Visit, call: Call) -> Result<Response, Refused> {
    page(&visit, &call, None, Mending::none()).await
}

async fn change(visit: Visit, call: Call) -> Result<Response, Refused> {
    let person = person_of(&call)?;
    let Some(role) = call.form.text("role").and_then(Role::from_name) else {
        let problem = FieldProblem {
            field: "role".to_owned(),
            message: "Choose one of the roles.".to_owned(),
        };
        return page(&visit, &call, None, Mending::of(vec![problem])).await;
    };
    let changed = call
        .engine()
        .change_role(&call.context, visit.id(), &person, role)
        .await;
    match changed {
        // Whoever gave their own role away may not see the members any more.
        Ok(_) if person == visit.person.session.person_id && !role.is_manager() => Ok(reply::see_other("/")),
        Ok(_) => Ok(done(&visit.url("settings/members"), "role")),
        Err(error) => page(&visit, &call, Some(role), Mending::after(error)?).await,
    }
}

/// The member that the path names.
///
/// # Errors
/// [`Refused::NotFound`].
pub(super) fn person_of(call: &Call) -> Result<PersonId, Refused> {
    call.path("person").parse().map_err(|_| Refused::NotFound)
}

async fn page(
    visit: &Visit,
    call: &Call,
    chosen: Option<Role>,
    mending: Mending,
) -> Result<Response, Refused> {
    let person = person_of(call)?;
    let member = call.engine().show_member(visit.id(), &person).await?;
    let members = visit.url("settings/members");
    let status = mending.status();
    let page = RolePage {
        shell: Shell::of(visit, call, Section::Members, "Change role", &[]),
        action: format!("{members}/{person}/role"),
        members,
        email: member.email,
        is_self: person == visit.person.session.person_id,
        was: role_name(member.role),
        roles: roles_of(visit.role, chosen.unwrap_or(member.role)),
        mending,
    };
    reply::page_with(status, &page)
}
