//! Generate a secret key: its form, the part that tells what the key could do, and the value, once.
//!
//! The form carries an idempotency key that was drawn for it. Sent twice, or reloaded, it makes one key and is told the same value
//! for ten minutes. Every button of the form but the last one shows the form again with one thing changed.

use askama::Template;
use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::StatusCode;
use keyward_core::environment::Environment;
use keyward_core::field::FieldProblem;
use keyward_core::idempotency::{read_idempotency_key, request_digest};
use keyward_core::management_right::ManagementRight;
use keyward_core::new_key::{KeyDraft, NewKey};
use keyward_engine::EngineError;
use keyward_engine::once::{Attempt, Once};
use std::time::Duration;

use super::key_difference::Differences;
use super::key_fields::{About, KeyFields, summary_of};
use super::key_form::{KeyForm, Press, Reading, joined};
use super::key_rules::Datasets;
use super::key_value::{Told, show, show_over};
use crate::call::Call;
use crate::refused::Refused;
use crate::reply;
use crate::routes::ConsoleRoutes;
use crate::shell::{Section, Shell};
use crate::values::Values;
use crate::visit::Visit;

#[derive(Template)]
#[template(path = "create_key.html")]
struct CreatePage {
    shell: Shell,
    fields: KeyFields,
    /// Nothing is there to differ from.
    differences: Option<Differences>,
    main_button: &'static str,
    /// The form's idempotency key.
    attempt: String,
    /// What is said above the fields.
    notice: Option<&'static str>,
    /// Whether somebody filled it in: then no environment changes anything by itself.
    is_touched: bool,
    action: String,
    cancel: String,
}

const TITLE: &str = "Generate Secret Key";
const OTHER_REQUEST: &str = "A key was made from this form before, with other values, so nothing was made now. Look at the list; \
     if you want another key, send the form once more.";

/// How often a form that was sent twice looks whether its first sending is done, and how long between.
pub(super) const LOOKS: u32 = 50;
pub(super) const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

pub(super) fn add(routes: ConsoleRoutes) -> ConsoleRoutes {
    routes
        .page(
            "/org/{organization}/settings/secret-keys/new",
            ManagementRight::KeysWrite,
            new,
        )
        .form(
            "/org/{organization}/settings/secret-keys/new",
            ManagementRight::KeysWrite,
            create,
        )
        .page(
            "/org/{organization}/settings/secret-keys/new/summary",
            ManagementRight::KeysWrite,
            summary,
        )
}

fn reading<'a>(visit: &Visit, call: &Call) -> Reading<'a> {
    let settings = &visit.organization.settings;
    Reading {
        policy: settings.creation_policy(),
        pickers: settings.pickers(),
        key: None,
        begin: call.now(),
    }
}

async fn new(visit: Visit, call: Call) -> Result<Response, Refused> {
    let environment = call.query.text("environment").and_then(Environment::from_name);
    let form = KeyForm::new(environment);
    let (draft, _) = form.read(reading(&visit, &call));
    let shown = Shown {
        attempt: draw_attempt()?,
        problems: Vec::new(),
        notice: None,
        is_touched: false,
    };
    page(&visit, &call, StatusCode::OK, (form, draft), shown).await
}

async fn summary(visit: Visit, call: Call) -> Result<Response, Refused> {
    let form = KeyForm::of_values(&call.query);
    let (draft, _) = form.read(reading(&visit, &call));
    let datasets = Datasets::of(&visit, &call).await?;
    reply::page(&summary_of(&draft, &datasets))
}

async fn create(visit: Visit, call: Call) -> Result<Response, Refused> {
    let mut form = KeyForm::of_values(&call.form);
    let press = Press::of(&call.form);
    form.press(press);
    let reading = reading(&visit, &call);
    let (draft, unread) = form.read(reading);
    let sent = call.form.text("attempt").unwrap_or_default().to_owned();
    if press != Press::Do {
        let shown = Shown {
            attempt: sent,
            problems: Vec::new(),
            notice: None,
            is_touched: true,
        };
        return page(&visit, &call, StatusCode::OK, (form, draft), shown).await;
    }
    if !unread.is_empty() {
        let amiss = NewKey::check(draft.clone(), reading.policy, call.now()).err();
        let problems = joined(unread, form.place(amiss.unwrap_or_default()));
        return mend(&visit, &call, (form, draft), sent, problems).await;
    }
    let made = create_once(&visit, &call, &draft, ("create a key in the console", &sent)).await;
    match made {
        Ok(Once::Now(made)) => show(&visit, &call, &made.key, &made.value, Told::Created).await,
        Ok(Once::Before(repeated)) => match &repeated.value {
            Some(value) => show(&visit, &call, &repeated.key, value, Told::Created).await,
            None => show_over(&visit, &call, &repeated.key, Told::Created).await,
        },
        Err(EngineError::Invalid(problems)) => {
            let problems = form.place(problems);
            mend(&visit, &call, (form, draft), sent, problems).await
        }
        Err(EngineError::OtherRequest) => {
            let shown = Shown {
                attempt: draw_attempt()?,
                problems: Vec::new(),
                notice: Some(OTHER_REQUEST),
                is_touched: true,
            };
            page(&visit, &call, StatusCode::CONFLICT, (form, draft), shown).await
        }
        Err(error) => Err(error.into()),
    }
}

/// Creates the key of a form, once: a second sending waits for what the first one made.
pub(super) async fn create_once(
    visit: &Visit,
    call: &Call,
    draft: &KeyDraft,
    (route, sent): (&str, &str),
) -> Result<Once<keyward_engine::create_key::CreatedKey>, EngineError> {
    let mut looks = 0;
    loop {
        let attempt = attempt_of(sent, route, visit, &call.form);
        let (context, organization) = (call.context.clone(), visit.id().clone());
        let made = call
            .engine()
            .create_key_once(context, organization, draft.clone(), attempt)
            .await;
        match made {
            Err(EngineError::InProgress) if looks < LOOKS => {
                looks += 1;
                tokio::time::sleep(BETWEEN_LOOKS).await;
            }
            other => return other,
        }
    }
}

/// The attempt of a form. A form without its own idempotency key is none of our pages' and is a request of its own.
pub(super) fn attempt_of(sent: &str, route: &str, visit: &Visit, form: &Values) -> Option<Attempt> {
    let key = read_idempotency_key(sent.as_bytes()).ok()?;
    let mut typed = form_urlencoded::Serializer::new(String::new());
    // The proof is another one after signing in again; that makes it no other request.
    for (name, value) in form.pairs().filter(|(name, _)| *name != crate::csrf::FIELD) {
        typed.append_pair(name, value);
    }
    Some(Attempt {
        key,
        request: request_digest(route, visit.organization.id.as_str(), typed.finish().as_bytes()),
    })
}

/// An idempotency key for a new form.
///
/// # Errors
/// [`Refused::Unavailable`] without random bytes.
pub(super) fn draw_attempt() -> Result<String, Refused> {
    let mut bytes = [0_u8; 24];
    getrandom::fill(&mut bytes).map_err(|_| Refused::Unavailable("no random bytes".to_owned()))?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

/// What the page says beside the fields.
struct Shown {
    attempt: String,
    problems: Vec<FieldProblem>,
    notice: Option<&'static str>,
    is_touched: bool,
}

async fn mend(
    visit: &Visit,
    call: &Call,
    typed: (KeyForm, KeyDraft),
    attempt: String,
    problems: Vec<FieldProblem>,
) -> Result<Response, Refused> {
    let shown = Shown {
        attempt,
        problems,
        notice: None,
        is_touched: true,
    };
    page(visit, call, StatusCode::UNPROCESSABLE_ENTITY, typed, shown).await
}

async fn page(
    visit: &Visit,
    call: &Call,
    status: StatusCode,
    (form, draft): (KeyForm, KeyDraft),
    shown: Shown,
) -> Result<Response, Refused> {
    let datasets = Datasets::of(visit, call).await?;
    let about = About {
        settings: &visit.organization.settings,
        reading: reading(visit, call),
        now: call.now(),
        datasets: &datasets,
    };
    reply::page_with(
        status,
        &CreatePage {
            shell: Shell::of(visit, call, Section::SecretKeys, TITLE, &[]),
            fields: KeyFields::of(form, &draft, shown.problems, &about),
            differences: None,
            main_button: "Generate key",
            attempt: shown.attempt,
            notice: shown.notice,
            is_touched: shown.is_touched,
            action: visit.url("settings/secret-keys/new"),
            cancel: visit.url("settings/secret-keys"),
        },
    )
}
