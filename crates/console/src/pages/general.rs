//! General: the organization's name and id, for every member; what Owners and Admins change about it.
//!
//! Deleting it is [`super::organization_end`]'s, rules for keys are [`super::security`]'s.

use askama::Template;
use axum::response::Response;
use keyward_core::field::FieldProblems;
use keyward_core::management_right::ManagementRight;
use keyward_core::organization::USAGE_RETENTION_BOUNDS_DAYS;
use keyward_core::role::Role;
use keyward_engine::EngineError;
use keyward_engine::edit_settings::SettingsEdit;

use crate::call::Call;
use crate::mending::Mending;
use crate::refused::Refused;
use crate::reply;
use crate::routes::{ConsoleRoutes, done};
use crate::shell::{Section, Shell, role_name};
use crate::visit::Visit;
use crate::words::When;

const PATH: &str = "/org/{organization}/settings/general";

const DONE: &[(&str, &str)] = &[
    ("saved", "The settings were saved."),
    (
        "restored",
        "The organization is restored. It stays stopped until somebody resumes it under Security: no key comes alive by itself.",
    ),
];

#[derive(Template)]
#[template(path = "general.html")]
struct GeneralPage {
    shell: Shell,
    base: String,
    id: String,
    name_now: String,
    role: &'static str,
    created: When,
    is_manager: bool,
    is_owner: bool,
    deletion: Option<Deletion>,
    version: i64,
    name: String,
    has_pickers: bool,
    retention: String,
    fewest_days: u32,
    most_days: u32,
    mending: Mending,
}

/// A deletion that can still be taken back.
struct Deletion {
    at: When,
    purge: When,
}

pub(super) fn add(routes: ConsoleRoutes) -> ConsoleRoutes {
    routes.page(PATH, ManagementRight::OrganizationRead, show).form(
        PATH,
        ManagementRight::OrganizationWrite,
        save,
    )
}

async fn show(visit: Visit, call: Call) -> Result<Response, Refused> {
    page(&visit, &call, Mending::none())
}

async fn save(visit: Visit, call: Call) -> Result<Response, Refused> {
    let (version, edit) = match read(&call) {
        Ok(read) => read,
        Err(error) => return page(&visit, &call, Mending::after(error)?),
    };
    let edited = call
        .engine()
        .edit_settings(&call.context, visit.id(), Some(version), edit)
        .await;
    match edited {
        Ok(_) => Ok(done(&visit.url("settings/general"), "saved")),
        Err(error) => page(
            &visit,
            &call,
            Mending::after(error)?.rename("usage_retention_days", "retention"),
        ),
    }
}

/// The version that the form was made of; a form without one is none of ours, and is stale.
pub(super) fn version_of(call: &Call) -> i64 {
    call.form
        .text("version")
        .and_then(|version| version.parse().ok())
        .unwrap_or_default()
}

fn read(call: &Call) -> Result<(i64, SettingsEdit), EngineError> {
    let mut problems = FieldProblems::new();
    let days = call.form.text("retention").unwrap_or_default();
    let days = problems.keep(
        "retention",
        days.parse::<u32>().map_err(|_| "is a whole number of days"),
    );
    let edit = SettingsEdit {
        name: Some(call.form.text("name").unwrap_or_default().to_owned()),
        advanced_access_control: Some(call.form.is_on("advanced")),
        usage_retention_days: days,
        ..SettingsEdit::default()
    };
    let read = (version_of(call), edit);
    problems.finish(read).map_err(EngineError::Invalid)
}

fn page(visit: &Visit, call: &Call, mending: Mending) -> Result<Response, Refused> {
    let organization = &visit.organization;
    let settings = &organization.settings;
    let typed = |name: &str, now: String| match mending.is_needed() {
        true => call.form.raw(name).unwrap_or_default().to_owned(),
        false => now,
    };
    let (fewest_days, most_days) = USAGE_RETENTION_BOUNDS_DAYS;
    let page = GeneralPage {
        shell: Shell::of(visit, call, Section::General, "General", DONE),
        base: visit.url("settings/general"),
        id: organization.id.to_string(),
        name_now: organization.name.clone(),
        role: role_name(visit.role),
        created: When::date(organization.created_at),
        is_manager: visit.may(ManagementRight::OrganizationWrite),
        is_owner: visit.role == Role::Owner,
        deletion: organization.deletion.as_ref().map(|deletion| Deletion {
            at: When::exact(deletion.deleted_at),
            purge: When::exact(deletion.purge_at),
        }),
        version: organization.version,
        name: typed("name", organization.name.clone()),
        has_pickers: if mending.is_needed() {
            call.form.is_on("advanced")
        } else {
            settings.advanced_access_control
        },
        retention: typed("retention", settings.usage_retention_days.to_string()),
        fewest_days,
        most_days,
        mending,
    };
    let status = page.mending.status();
    reply::page_with(status, &page)
}
