//! Replace a key that is compromised: its settings, editable, for a new key that takes its place (R46).
//!
//! A key that lives is ended as compromised in the same transaction in which its replacement is made; a key that was deleted before
//! gets one that is made on its own. The form carries its own idempotency key, as that of a new key does.

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use keyward_core::field::FieldProblem;
use keyward_core::management_right::ManagementRight;
use keyward_core::new_key::KeyDraft;
use keyward_core::record::Key;
use keyward_core::secret::{KeyTextKind, Secret};
use keyward_engine::EngineError;
use keyward_engine::once::Once;
use keyward_engine::show_usage::Span;

use super::create_key::{BETWEEN_LOOKS, LOOKS, attempt_of, create_once, draw_attempt};
use super::edit_key::key_of;
use super::key_difference::Differences;
use super::key_fields::{About, KeyFields, summary_of};
use super::key_form::{KeyForm, Press, Reading, edit_of, joined};
use super::key_rules::Datasets;
use super::key_value::{Told, show, show_over};
use crate::call::Call;
use crate::refused::Refused;
use crate::reply;
use crate::routes::ConsoleRoutes;
use crate::shell::{Section, Shell};
use crate::visit::Visit;
use crate::words::{counted, relative};

#[derive(Template)]
#[template(path = "replace_key.html")]
struct ReplacePage {
    shell: Shell,
    fields: KeyFields,
    /// The replacement is a key of its own: nothing of the old one is changed to something else.
    differences: Option<Differences>,
    main_button: &'static str,
    name: String,
    hint: String,
    /// Whether the old key was ended before.
    is_deleted: bool,
    last_used: String,
    /// Who used it within 24 hours, a sentence each.
    victims: Vec<String>,
    attempt: String,
    notice: Option<&'static str>,
    action: String,
    key_url: String,
}

const OTHER_REQUEST: &str = "This form was sent before with other values, so nothing was changed now. Look at the list of keys \
     before you send it once more.";

pub(super) fn add(routes: ConsoleRoutes) -> ConsoleRoutes {
    routes
        .page(
            "/org/{organization}/settings/secret-keys/{key}/replace",
            ManagementRight::KeysWrite,
            open,
        )
        .page(
            "/org/{organization}/settings/secret-keys/{key}/replace/summary",
            ManagementRight::KeysWrite,
            summary,
        )
        .form(
            "/org/{organization}/settings/secret-keys/{key}/replace",
            ManagementRight::KeysWrite,
            replace,
        )
}

fn reading<'a>(visit: &Visit, call: &Call, key: &'a Key) -> Reading<'a> {
    let settings = &visit.organization.settings;
    Reading {
        policy: settings.creation_policy(),
        pickers: settings.pickers(),
        key: Some(key),
        begin: call.now(),
    }
}

async fn open(visit: Visit, call: Call) -> Result<Response, Refused> {
    let key = key_of(&visit, &call).await?;
    let mut form = KeyForm::of_key(&key, visit.organization.settings.creation_policy());
    if key.record.conditions.is_over(call.now()) {
        // An end that has passed is no end for a new key.
        form.expires.clear();
    }
    let (draft, _) = form.read(reading(&visit, &call, &key));
    let shown = Shown::plain(StatusCode::OK, draw_attempt()?);
    page(&visit, &call, &key, (form, draft), shown).await
}

async fn summary(visit: Visit, call: Call) -> Result<Response, Refused> {
    let key = key_of(&visit, &call).await?;
    let form = KeyForm::of_values(&call.query);
    let (draft, _) = form.read(reading(&visit, &call, &key));
    let datasets = Datasets::of(&visit, &call).await?;
    reply::page(&summary_of(&draft, &datasets))
}

async fn replace(visit: Visit, call: Call) -> Result<Response, Refused> {
    let key = key_of(&visit, &call).await?;
    let mut form = KeyForm::of_values(&call.form);
    let press = Press::of(&call.form);
    form.press(press);
    let reading = reading(&visit, &call, &key);
    let (draft, unread) = form.read(reading);
    let sent = call.form.text("attempt").unwrap_or_default().to_owned();
    let mut shown = Shown::plain(StatusCode::OK, sent.clone());
    if press != Press::Do {
        return page(&visit, &call, &key, (form, draft), shown).await;
    }
    shown.status = StatusCode::UNPROCESSABLE_ENTITY;
    if !unread.is_empty() {
        let edit = edit_of(&draft, &key, reading);
        let amiss = edit
            .replacement(&key, (reading.policy, reading.pickers), call.now())
            .err();
        shown.problems = joined(unread, form.place(amiss.unwrap_or_default()));
        return page(&visit, &call, &key, (form, draft), shown).await;
    }
    match make(&visit, &call, &key, &draft, &sent).await {
        Ok((made, Some(value))) => show(&visit, &call, &made, &value, Told::Replaced).await,
        Ok((made, None)) => show_over(&visit, &call, &made, Told::Replaced).await,
        Err(EngineError::Invalid(problems)) => {
            shown.problems = form.place(problems);
            page(&visit, &call, &key, (form, draft), shown).await
        }
        Err(EngineError::OtherRequest) => {
            shown.status = StatusCode::CONFLICT;
            shown.notice = Some(OTHER_REQUEST);
            shown.attempt = draw_attempt()?;
            page(&visit, &call, &key, (form, draft), shown).await
        }
        Err(error) => Err(error.into()),
    }
}

/// Makes the replacement, once: with the end of the old key in one step, or alone if that one was ended before.
async fn make(
    visit: &Visit,
    call: &Call,
    key: &Key,
    draft: &KeyDraft,
    sent: &str,
) -> Result<(Key, Option<Secret<KeyTextKind>>), EngineError> {
    let edit = edit_of(draft, key, reading(visit, call, key));
    let id = key.record.id;
    let route = format!("replace the key {id} in the console");
    let mut looks = 0;
    loop {
        let attempt = attempt_of(sent, &route, visit, &call.form);
        let subject = (visit.id().clone(), id);
        let replaced = call
            .engine()
            .replace_key(call.context.clone(), subject, edit.clone(), attempt)
            .await;
        match replaced {
            Ok(Once::Now(replaced)) => return Ok((replaced.new.key, Some(replaced.new.value))),
            Ok(Once::Before(repeated)) => return Ok((repeated.key, repeated.value)),
            Err(EngineError::InProgress) if looks < LOOKS => {
                looks += 1;
                tokio::time::sleep(BETWEEN_LOOKS).await;
            }
            // A form that is repeated was answered above: this key was ended by something else.
            Err(EngineError::Conflict(_)) if key.record.state.is_deleted() => break,
            Err(error) => return Err(error),
        }
    }
    // No wider than the old key, by whichever way it ended (R54).
    let policy = reading(visit, call, key);
    edit.replacement(key, (policy.policy, policy.pickers), call.now())
        .map_err(EngineError::Invalid)?;
    match create_once(visit, call, draft, (&route, sent)).await? {
        Once::Now(made) => Ok((made.key, Some(made.value))),
        Once::Before(repeated) => Ok((repeated.key, repeated.value)),
    }
}

/// What the page says beside the fields.
struct Shown {
    status: StatusCode,
    attempt: String,
    problems: Vec<FieldProblem>,
    notice: Option<&'static str>,
}

impl Shown {
    const fn plain(status: StatusCode, attempt: String) -> Self {
        Self {
            status,
            attempt,
            problems: Vec::new(),
            notice: None,
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
    let (id, now) = (key.record.id, call.now());
    let datasets = Datasets::of(visit, call).await?;
    let about = About {
        settings: &visit.organization.settings,
        reading: reading(visit, call, key),
        now,
        datasets: &datasets,
    };
    let usage = call
        .engine()
        .usage_summary(visit.id(), id, Span::last_days(1, now))
        .await?;
    let last = usage.last_uses.iter().map(|one| one.last_used_at).max();
    let top = |entries: &[keyward_store::usage_queries::TopEntry], kind: &str| {
        let accepted: Vec<_> = entries
            .iter()
            .filter(|entry| entry.accepted > 0)
            .cloned()
            .collect();
        let told = accepted.into_iter().map(|entry| {
            let count = u64::try_from(entry.accepted).unwrap_or_default();
            format!("{kind} {}: {}", entry.name, counted(count, "request", "requests"))
        });
        told.collect::<Vec<_>>()
    };
    let mut victims = top(&usage.clients, "Client");
    victims.extend(top(&usage.addresses, "Address"));
    let key_url = visit.url(&format!("settings/secret-keys/{id}"));
    let is_deleted = key.record.state.is_deleted();
    reply::page_with(
        shown.status,
        &ReplacePage {
            shell: Shell::of(visit, call, Section::SecretKeys, "Replace key", &[]),
            fields: KeyFields::of(form, &draft, shown.problems, &about),
            differences: None,
            main_button: if is_deleted {
                "Generate the replacement"
            } else {
                "End it and generate the replacement"
            },
            name: key.name.to_string(),
            hint: key.hint.clone(),
            is_deleted,
            last_used: last.map_or_else(|| "never".to_owned(), |at| relative(at, now)),
            victims,
            attempt: shown.attempt,
            notice: shown.notice,
            action: format!("{key_url}/replace"),
            key_url,
        },
    )
}
