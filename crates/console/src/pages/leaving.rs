//! Remove a member, or leave oneself: which keys they answer for, and what becomes of these.
//!
//! A Member who leaves is not asked about keys, because they know of none. Everybody else decides before anything happens; a form
//! that says nothing is shown again with the question.

use askama::Template;
use axum::response::Response;
use keyward_core::field::FieldProblem;
use keyward_core::ids::PersonId;
use keyward_core::management_right::ManagementRight;
use keyward_core::role::Role;
use keyward_engine::remove_member::{KeysOfLeaver, LivingKeys, Removal};
use keyward_store::members::Member;

use super::roles::person_of;
use crate::call::Call;
use crate::mending::Mending;
use crate::refused::Refused;
use crate::reply;
use crate::routes::{ConsoleRoutes, done};
use crate::shell::{Section, Shell, role_name};
use crate::visit::Visit;
use crate::words::{When, access_line, counted, environment_name};

const REMOVE: &str = "/org/{organization}/settings/members/{person}/remove";
const LEAVE: &str = "/org/{organization}/settings/general/leave";
/// Keys that are named.
const SHOWN: usize = 10;

#[derive(Template)]
#[template(path = "leaving.html")]
struct LeavingPage {
    shell: Shell,
    back: String,
    action: String,
    email: String,
    role: &'static str,
    is_self: bool,
    organization: String,
    /// Zero also for a Member who leaves.
    count: u64,
    counted: String,
    more: u64,
    keys: Vec<KeyRow>,
    choice: String,
    to: String,
    successors: Vec<Successor>,
    mending: Mending,
}

struct KeyRow {
    name: String,
    href: String,
    hint: String,
    environment: &'static str,
    access: String,
    last_used: Option<When>,
}

struct Successor {
    id: String,
    email: String,
    role: &'static str,
}

/// Who is to go, and from which page.
struct Leaving {
    person: PersonId,
    is_self: bool,
    action: String,
    back: String,
}

pub(super) fn add(routes: ConsoleRoutes) -> ConsoleRoutes {
    routes
        .page(REMOVE, ManagementRight::MembersWrite, show_removal)
        .form(REMOVE, ManagementRight::MembersWrite, remove)
        .page(LEAVE, ManagementRight::OrganizationRead, show_leave)
        .form(LEAVE, ManagementRight::OrganizationRead, leave)
}

impl Leaving {
    fn of_path(visit: &Visit, call: &Call) -> Result<Self, Refused> {
        let person = person_of(call)?;
        let back = visit.url("settings/members");
        Ok(Self {
            is_self: person == visit.person.session.person_id,
            action: format!("{back}/{person}/remove"),
            back,
            person,
        })
    }

    fn oneself(visit: &Visit) -> Self {
        Self {
            person: visit.person.session.person_id.clone(),
            is_self: true,
            action: visit.url("settings/general/leave"),
            back: visit.url("settings/general"),
        }
    }
}

async fn show_removal(visit: Visit, call: Call) -> Result<Response, Refused> {
    page(&visit, &call, Leaving::of_path(&visit, &call)?, Mending::none()).await
}

async fn remove(visit: Visit, call: Call) -> Result<Response, Refused> {
    let leaving = Leaving::of_path(&visit, &call)?;
    carry_out(&visit, &call, leaving).await
}

async fn show_leave(visit: Visit, call: Call) -> Result<Response, Refused> {
    page(&visit, &call, Leaving::oneself(&visit), Mending::none()).await
}

async fn leave(visit: Visit, call: Call) -> Result<Response, Refused> {
    carry_out(&visit, &call, Leaving::oneself(&visit)).await
}

async fn carry_out(visit: &Visit, call: &Call, leaving: Leaving) -> Result<Response, Refused> {
    let keys = match call.form.text("keys") {
        None => None,
        Some("keep") => Some(KeysOfLeaver::Keep),
        Some("end") => Some(KeysOfLeaver::End),
        Some("hand-over") => match call.form.text("to").and_then(|to| to.parse().ok()) {
            Some(to) => Some(KeysOfLeaver::HandOver(to)),
            None => {
                let mending = Mending::of(vec![problem(
                    "to",
                    "Choose who answers for the keys from now on.",
                )]);
                return page(visit, call, leaving, mending).await;
            }
        },
        Some(_) => {
            let mending = Mending::of(vec![problem("keys", "Choose what becomes of the keys.")]);
            return page(visit, call, leaving, mending).await;
        }
    };
    let word = match &keys {
        None | Some(KeysOfLeaver::Keep) => "removed",
        Some(KeysOfLeaver::HandOver(_)) => "removed-handed-over",
        Some(KeysOfLeaver::End) => "removed-ended",
    };
    let removed = call
        .engine()
        .remove_member(
            call.context.clone(),
            visit.id().clone(),
            leaving.person.clone(),
            keys,
        )
        .await;
    match removed {
        Ok(Removal::Done(_)) if leaving.is_self => Ok(reply::see_other("/organizations")),
        Ok(Removal::Done(_)) => Ok(done(&leaving.back, word)),
        Ok(Removal::Undecided(_)) => {
            let mending = Mending::of(vec![problem("keys", "Choose what becomes of the keys.")]);
            page(visit, call, leaving, mending).await
        }
        Err(error) => page(visit, call, leaving, Mending::after(error)?).await,
    }
}

fn problem(field: &str, message: &str) -> FieldProblem {
    FieldProblem {
        field: field.to_owned(),
        message: message.to_owned(),
    }
}

async fn page(visit: &Visit, call: &Call, leaving: Leaving, mending: Mending) -> Result<Response, Refused> {
    let engine = call.engine();
    let member = engine.show_member(visit.id(), &leaving.person).await?;
    let living = if visit.may(ManagementRight::KeysRead) {
        engine.keys_of_member(visit.id(), &leaving.person).await?
    } else {
        LivingKeys {
            count: 0,
            keys: Vec::new(),
        }
    };
    let title = if leaving.is_self {
        "Leave the organization"
    } else {
        "Remove member"
    };
    let section = if visit.may(ManagementRight::MembersRead) {
        Section::Members
    } else {
        Section::General
    };
    let keys = key_rows(visit, call, &living).await?;
    let status = mending.status();
    let page = LeavingPage {
        shell: Shell::of(visit, call, section, title, &[]),
        back: leaving.back.clone(),
        action: leaving.action.clone(),
        email: member.email.clone(),
        role: role_name(member.role),
        is_self: leaving.is_self,
        organization: visit.organization.name.clone(),
        count: living.count,
        counted: counted(living.count, "key", "keys"),
        more: living
            .count
            .saturating_sub(u64::try_from(keys.len()).unwrap_or_default()),
        keys,
        choice: call.form.text("keys").unwrap_or_default().to_owned(),
        to: call.form.text("to").unwrap_or_default().to_owned(),
        successors: successors(visit, call, &member, living.count).await?,
        mending,
    };
    reply::page_with(status, &page)
}

async fn key_rows(visit: &Visit, call: &Call, living: &LivingKeys) -> Result<Vec<KeyRow>, Refused> {
    let shown: Vec<_> = living.keys.iter().take(SHOWN).collect();
    let ids: Vec<_> = shown.iter().map(|key| key.record.id).collect();
    let uses = call
        .engine()
        .last_uses(visit.id(), &ids)
        .await
        .map_err(|error| Refused::from(keyward_engine::EngineError::from(error)))?;
    let rows = shown.into_iter().map(|key| KeyRow {
        name: key.name.to_string(),
        href: visit.url(&format!("settings/secret-keys/{}", key.record.id)),
        hint: key.hint.clone(),
        environment: environment_name(key.environment),
        access: access_line(&key.record.access),
        last_used: uses
            .get(&key.record.id)
            .map(|used| When::relative(used.last_used_at, call.now())),
    });
    Ok(rows.collect())
}

/// To whom keys can be handed over.
async fn successors(
    visit: &Visit,
    call: &Call,
    leaver: &Member,
    keys: u64,
) -> Result<Vec<Successor>, Refused> {
    if keys == 0 {
        return Ok(Vec::new());
    }
    let members = call.engine().list_members(visit.id()).await?;
    let fit = members
        .into_iter()
        .filter(|member| member.role != Role::Member && member.person_id != leaver.person_id);
    let found = fit.map(|member| Successor {
        id: member.person_id.to_string(),
        email: member.email,
        role: role_name(member.role),
    });
    Ok(found.collect())
}
