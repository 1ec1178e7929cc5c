//! Edit Permission: the settings of a key that exists, with what an edit would change in words before it is made.
//!
//! The form says which version of the key it was filled in from. If somebody else was quicker, nothing is written: the page says
//! who, shows what is there now beside what was typed, and goes on from the present version. An edit holds from the next request on.

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use keyward_core::field::FieldProblem;
use keyward_core::ids::KeyId;
use keyward_core::management_right::ManagementRight;
use keyward_core::new_key::KeyDraft;
use keyward_core::record::{Actor, Key};
use keyward_core::time::Timestamp;
use keyward_engine::EngineError;
use keyward_store::audit::AuditQuery;

use super::key_difference::Differences;
use super::key_fields::{About, KeyFields, summary_of};
use super::key_form::{KeyForm, Press, Reading, edit_of, joined};
use super::key_rules::Datasets;
use super::key_summary::DatasetNames;
use crate::call::Call;
use crate::refused::Refused;
use crate::reply;
use crate::routes::{ConsoleRoutes, done};
use crate::shell::{Section, Shell};
use crate::values::Values;
use crate::visit::Visit;
use crate::words::relative;

#[derive(Template)]
#[template(path = "edit_key.html")]
struct EditPage {
    shell: Shell,
    fields: KeyFields,
    differences: Option<Differences>,
    main_button: &'static str,
    name: String,
    /// The version that the form is filled in from.
    version: i64,
    /// Who was quicker, and when.
    quicker: Option<String>,
    action: String,
    cancel: String,
}

/// The part that follows the form while it is filled in.
#[derive(Template)]
#[template(
    source = "{{ summary }}{% if let Some(differences) = differences %}{{ differences }}{% endif %}",
    ext = "html"
)]
struct SummaryPart {
    summary: super::key_summary::Summary,
    differences: Option<Differences>,
}

const HEADS: (&str, &str) = ("Now", "After saving");

pub(super) fn add(routes: ConsoleRoutes) -> ConsoleRoutes {
    routes
        .page(
            "/org/{organization}/settings/secret-keys/{key}/edit",
            ManagementRight::KeysWrite,
            open,
        )
        .form(
            "/org/{organization}/settings/secret-keys/{key}/edit",
            ManagementRight::KeysWrite,
            edit,
        )
        .page(
            "/org/{organization}/settings/secret-keys/{key}/edit/summary",
            ManagementRight::KeysWrite,
            summary,
        )
}

/// The key of the path.
pub(super) async fn key_of(visit: &Visit, call: &Call) -> Result<Key, Refused> {
    let id: KeyId = call.path("key").parse().map_err(|_| Refused::NotFound)?;
    Ok(call.engine().show_key(visit.id(), id).await?)
}

fn reading<'a>(visit: &Visit, key: &'a Key) -> Reading<'a> {
    let settings = &visit.organization.settings;
    Reading {
        policy: settings.creation_policy(),
        pickers: settings.pickers(),
        key: Some(key),
        // The longest life counts from there, so that no chain of edits makes it longer.
        begin: key.created_at,
    }
}

fn refuse_deleted(key: &Key) -> Result<(), Refused> {
    if key.record.state.is_deleted() {
        return Err(Refused::Conflict(
            "the key was deleted, and a deleted key never comes back; make a new one, or replace it"
                .to_owned(),
        ));
    }
    Ok(())
}

async fn open(visit: Visit, call: Call) -> Result<Response, Refused> {
    let key = key_of(&visit, &call).await?;
    refuse_deleted(&key)?;
    let form = KeyForm::of_key(&key, visit.organization.settings.creation_policy());
    let (draft, _) = form.read(reading(&visit, &key));
    page(&visit, &call, &key, (form, draft), Shown::plain(StatusCode::OK)).await
}

/// The form that was sent; what the script leaves out of it is as it is.
fn form_of(values: &Values, key: &Key) -> KeyForm {
    let mut form = KeyForm::of_values(values);
    if !values.is_on("name") {
        form.name = key.name.to_string();
        form.description.clone_from(&key.description);
    }
    form
}

/// What saving would change; `None` while it can't be said.
fn changes(
    call: &Call,
    key: &Key,
    draft: &KeyDraft,
    reading: Reading<'_>,
    names: &DatasetNames,
) -> Result<Differences, Vec<FieldProblem>> {
    let edit = edit_of(draft, key, reading);
    let edited = edit.apply_within(key, (reading.policy, reading.pickers), call.now())?;
    Ok(Differences::between(key, &edited, HEADS, names))
}

async fn summary(visit: Visit, call: Call) -> Result<Response, Refused> {
    let key = key_of(&visit, &call).await?;
    let reading = reading(&visit, &key);
    let (draft, _) = form_of(&call.query, &key).read(reading);
    let datasets = Datasets::of(&visit, &call).await?;
    let summary = summary_of(&draft, &datasets);
    let names = datasets.named.into_iter().collect();
    reply::page(&SummaryPart {
        summary,
        differences: changes(&call, &key, &draft, reading, &names).ok(),
    })
}

async fn edit(visit: Visit, call: Call) -> Result<Response, Refused> {
    let key = key_of(&visit, &call).await?;
    refuse_deleted(&key)?;
    let mut form = form_of(&call.form, &key);
    let press = Press::of(&call.form);
    form.press(press);
    let reading = reading(&visit, &key);
    let (draft, unread) = form.read(reading);
    let version: i64 = call
        .form
        .text("version")
        .and_then(|text| text.parse().ok())
        .unwrap_or(-1);
    let mut shown = Shown::plain(StatusCode::OK);
    shown.version = Some(version);
    if press != Press::Do {
        shown.is_told = press == Press::Tell;
        return page(&visit, &call, &key, (form, draft), shown).await;
    }
    // Whoever was quicker is told first: problems may rest on what is not there any more.
    if version != key.record.version {
        return stale(&visit, &call, &key, (form, draft)).await;
    }
    let edit = edit_of(&draft, &key, reading);
    shown.status = StatusCode::UNPROCESSABLE_ENTITY;
    if !unread.is_empty() {
        let amiss = edit
            .apply_within(&key, (reading.policy, reading.pickers), call.now())
            .err();
        shown.problems = joined(unread, form.place(amiss.unwrap_or_default()));
        return page(&visit, &call, &key, (form, draft), shown).await;
    }
    let id = key.record.id;
    let written = call
        .engine()
        .edit_key(
            call.context.clone(),
            visit.id().clone(),
            id,
            (edit, Some(version)),
        )
        .await;
    match written {
        Ok(_) => Ok(done(&visit.url(&format!("settings/secret-keys/{id}")), "edited")),
        Err(EngineError::Invalid(problems)) => {
            shown.problems = form.place(problems);
            page(&visit, &call, &key, (form, draft), shown).await
        }
        Err(EngineError::Stale { .. }) => {
            let key = key_of(&visit, &call).await?;
            stale(&visit, &call, &key, (form, draft)).await
        }
        Err(error) => Err(error.into()),
    }
}

async fn stale(
    visit: &Visit,
    call: &Call,
    key: &Key,
    typed: (KeyForm, KeyDraft),
) -> Result<Response, Refused> {
    refuse_deleted(key)?;
    let mut shown = Shown::plain(StatusCode::CONFLICT);
    shown.quicker = Some(who_was_quicker(visit, call, key).await?);
    shown.is_told = true;
    page(visit, call, key, typed, shown).await
}

/// `ana@example.com changed this key 2 minutes ago`, as the trail has it.
async fn who_was_quicker(visit: &Visit, call: &Call, key: &Key) -> Result<String, Refused> {
    let query = AuditQuery {
        target: Some(format!("key/{}", key.record.id)),
        ..AuditQuery::default()
    };
    let organization = visit.organization.id.as_str();
    let entries = call.engine().list_audit(organization, &query, None, 1).await?;
    let last = entries.items.first();
    let who = match last.and_then(|entry| entry.actor.parse().ok()) {
        Some(Actor::Person(id)) if id == visit.person.session.person_id => {
            "You, in another window,".to_owned()
        }
        Some(Actor::Person(id)) => {
            let members = call.engine().list_members(visit.id()).await?;
            let member = members.into_iter().find(|member| member.person_id == id);
            member.map_or_else(|| "Somebody who has left".to_owned(), |member| member.email)
        }
        Some(Actor::Token(id)) => format!("The management token {id}"),
        Some(Actor::LocalAdministrator) => "The server's operator".to_owned(),
        _ => "Somebody else".to_owned(),
    };
    let at = last.map_or(key.updated_at, |entry| Timestamp::from_unix_ms(entry.at));
    Ok(format!("{who} changed this key {}", relative(at, call.now())))
}

/// What the page says beside the fields.
struct Shown {
    status: StatusCode,
    /// The version that the form was filled in from; the key's own where it is absent.
    version: Option<i64>,
    problems: Vec<FieldProblem>,
    quicker: Option<String>,
    /// Whether the differences were asked for.
    is_told: bool,
}

impl Shown {
    const fn plain(status: StatusCode) -> Self {
        Self {
            status,
            version: None,
            problems: Vec::new(),
            quicker: None,
            is_told: false,
        }
    }
}

async fn page(
    visit: &Visit,
    call: &Call,
    key: &Key,
    (form, draft): (KeyForm, KeyDraft),
    shown: Shown,
) -> Result<Response, Refused> {
    let datasets = Datasets::of(visit, call).await?;
    let about = About {
        settings: &visit.organization.settings,
        reading: reading(visit, key),
        now: call.now(),
        datasets: &datasets,
    };
    let names = datasets.named.iter().cloned().collect();
    let told = shown
        .is_told
        .then(|| changes(call, key, &draft, about.reading, &names));
    let (differences, problems) = match told {
        Some(Ok(differences)) => (Some(differences), shown.problems),
        Some(Err(amiss)) if shown.problems.is_empty() => (None, form.place(amiss)),
        _ => (None, shown.problems),
    };
    let key_url = visit.url(&format!("settings/secret-keys/{}", key.record.id));
    reply::page_with(
        shown.status,
        &EditPage {
            shell: Shell::of(visit, call, Section::SecretKeys, "Edit Permission", &[]),
            fields: KeyFields::of(form, &draft, problems, &about),
            differences,
            main_button: "Save",
            name: key.name.to_string(),
            version: shown.version.unwrap_or(key.record.version),
            quicker: shown.quicker,
            action: format!("{key_url}/edit"),
            cancel: key_url,
        },
    )
}
