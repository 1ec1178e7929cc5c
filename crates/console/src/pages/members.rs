//! Members: who belongs to the organization, in which role, with how many keys; and who is invited.
//!
//! What changes a member has pages of its own: [`super::roles`], [`super::leaving`], [`super::invitations`].

use askama::Template;
use axum::response::Response;
use keyward_core::management_right::ManagementRight;
use keyward_core::record::Actor;
use keyward_store::invitations::Invitation;
use keyward_store::members::Member;

use crate::call::Call;
use crate::naming::Naming;
use crate::refused::Refused;
use crate::reply;
use crate::routes::ConsoleRoutes;
use crate::shell::{Section, Shell, role_name};
use crate::visit::Visit;
use crate::words::{When, counted};

/// People on a page.
const LIMIT: u32 = 50;
/// Invitations that are shown; there can be a thousand.
const MOST_INVITATIONS: usize = 50;

const DONE: &[(&str, &str)] = &[
    ("role", "The role was changed. It holds from now on."),
    (
        "removed",
        "The member was removed. Their sessions open nothing here any more.",
    ),
    (
        "removed-handed-over",
        "The member was removed, and the keys that they answered for were handed over.",
    ),
    (
        "removed-ended",
        "The member was removed, and the keys that they answered for ended: they are refused from now on.",
    ),
    (
        "revoked",
        "The invitation was taken back. Its link opens nothing any more.",
    ),
];

#[derive(Template)]
#[template(path = "members.html")]
struct MembersPage {
    shell: Shell,
    base: String,
    rows: Vec<MemberRow>,
    next: Option<String>,
    is_first: bool,
    invitations: Vec<InvitationRow>,
    /// How many more are open than are shown.
    more_invitations: usize,
    demands_second_factor: bool,
}

struct MemberRow {
    id: String,
    email: String,
    is_self: bool,
    role: &'static str,
    since: When,
    has_second_factor: bool,
    keys: String,
    has_keys: bool,
    /// The filtered table of their keys.
    keys_href: String,
    /// Whether whoever looks may change or remove them.
    may_change: bool,
}

struct InvitationRow {
    id: String,
    email: String,
    role: &'static str,
    invited_by: String,
    made: When,
    until: When,
}

pub(super) fn add(routes: ConsoleRoutes) -> ConsoleRoutes {
    routes.page(
        "/org/{organization}/settings/members",
        ManagementRight::MembersRead,
        show,
    )
}

async fn show(visit: Visit, call: Call) -> Result<Response, Refused> {
    let engine = call.engine();
    let after = call.query.text("after").unwrap_or_default();
    let found = engine.list_members_after(visit.id(), after, LIMIT).await?;
    let made = engine.count_keys_by_creator(visit.id()).await?;
    let mut rows = Vec::with_capacity(found.items.len());
    for member in &found.items {
        rows.push(row(&visit, &call, member, &made).await?);
    }
    let open = engine.list_open_invitations(visit.id()).await?;
    let mut naming = Naming::new(engine, visit.id());
    let mut invitations = Vec::new();
    for invitation in open.iter().take(MOST_INVITATIONS) {
        let invited_by = naming.of(&invitation.invited_by).await?;
        invitations.push(invitation_row(&call, invitation, invited_by));
    }
    reply::page(&MembersPage {
        shell: Shell::of(&visit, &call, Section::Members, "Members", DONE),
        base: visit.url("settings/members"),
        rows,
        next: found.next.map(|next| call.query.with("after", Some(&next))),
        is_first: after.is_empty(),
        more_invitations: open.len().saturating_sub(MOST_INVITATIONS),
        invitations,
        demands_second_factor: visit.organization.settings.second_factor_required,
    })
}

async fn row(
    visit: &Visit,
    call: &Call,
    member: &Member,
    made: &[(Actor, i64)],
) -> Result<MemberRow, Refused> {
    let actor = Actor::Person(member.person_id.clone());
    let keys = made.iter().find(|(creator, _)| *creator == actor);
    let keys = keys.map_or(0, |(_, keys)| u64::try_from(*keys).unwrap_or_default());
    // One look-up by its primary key for each of at most fifty people.
    let second_factor = call.engine().show_second_factor(&member.person_id).await?;
    Ok(MemberRow {
        id: member.person_id.to_string(),
        email: member.email.clone(),
        is_self: member.person_id == visit.person.session.person_id,
        role: role_name(member.role),
        since: When::date(member.created_at),
        has_second_factor: second_factor.is_on,
        keys: counted(keys, "key", "keys"),
        has_keys: keys > 0,
        keys_href: creator_href(visit, &actor),
        may_change: visit.role.may_change(member.role),
    })
}

/// The table of Secret Keys with those of one creator.
pub(super) fn creator_href(visit: &Visit, creator: &Actor) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("creator", &creator.to_string());
    format!("{}?{}", visit.url("settings/secret-keys"), query.finish())
}

fn invitation_row(call: &Call, invitation: &Invitation, invited_by: String) -> InvitationRow {
    InvitationRow {
        id: invitation.id.to_string(),
        email: invitation.email.to_string(),
        role: role_name(invitation.role),
        invited_by,
        made: When::relative(invitation.created_at, call.now()),
        until: When::relative(invitation.expires_at, call.now()),
    }
}
