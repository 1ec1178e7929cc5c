//! Rotate a key: a new secret for it, and what becomes of the old one. The answer of the form is the page with the value.
//!
//! The form carries a random number, made with the page: sent twice, it rotates once, and the second answer is the first one's, as long
//! as a value is kept for that. It names the key's version besides, so that somebody else's change is not overrun.

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use keyward_core::field::FieldProblem;
use keyward_core::idempotency::{read_idempotency_key, request_digest};
use keyward_core::management_right::ManagementRight;
use keyward_core::record::{Key, ShownState};
use keyward_core::rotation::{MAX_OVERLAP_MS, RotationChoice, RotationMode};
use keyward_core::time::{DAY_MS, HOUR_MS, Timestamp, duration_words};
use keyward_core::usage::Outcome;
use keyward_engine::EngineError;
use keyward_engine::once::{Attempt, Once};
use keyward_engine::show_keys::ShownSecret;
use keyward_engine::show_usage::Span;
use keyward_store::usage_queries::{HistoryFilter, OutcomeFilter};

use super::callers::Callers;
use super::explain_key::read_moment;
use super::key_head::{KeyHead, is_rotating, subject};
use super::key_value::{self, Told};
use crate::call::Call;
use crate::refused::Refused;
use crate::reply;
use crate::routes::ConsoleRoutes;
use crate::shell::{Section, Shell};
use crate::values::Values;
use crate::visit::Visit;
use crate::words::exact;

/// Spans that are offered.
const SPANS: [(&str, i64); 5] = [
    ("1h", HOUR_MS),
    ("1d", DAY_MS),
    ("3d", 3 * DAY_MS),
    ("7d", 7 * DAY_MS),
    ("30d", MAX_OVERLAP_MS),
];
const USUAL_SPAN: &str = "1d";

#[derive(Template)]
#[template(path = "rotate_key.html")]
struct RotatePage {
    shell: Shell,
    head: KeyHead,
    /// Why it can't be rotated just now.
    obstacle: Option<String>,
    /// Who uses the key now.
    users: String,
    /// What ending the old secret at once would do to them.
    effect_at_once: String,
    mode: &'static str,
    overlaps: Vec<SpanChoice>,
    graces: Vec<SpanChoice>,
    until: String,
    until_problem: Option<String>,
    mode_problem: Option<String>,
    key_end: Option<String>,
    version: i64,
    once: String,
}

struct SpanChoice {
    name: &'static str,
    label: String,
    is_chosen: bool,
}

pub(super) fn add(routes: ConsoleRoutes) -> ConsoleRoutes {
    const PATH: &str = "/org/{organization}/settings/secret-keys/{key}/rotate";
    routes
        .page(PATH, ManagementRight::KeysWrite, show)
        .form(PATH, ManagementRight::KeysWrite, rotate)
}

async fn show(visit: Visit, call: Call) -> Result<Response, Refused> {
    let id = subject(&call)?;
    let (key, secrets) = call.engine().show_key_whole(visit.id(), id).await?;
    let page = RotatePage::of(&visit, &call, (&key, &secrets), &[]).await?;
    reply::page(&page)
}

async fn rotate(visit: Visit, call: Call) -> Result<Response, Refused> {
    let id = subject(&call)?;
    let (key, secrets) = call.engine().show_key_whole(visit.id(), id).await?;
    let problems = match attempt(&visit, &call, &key).await? {
        Ok(response) => return Ok(response),
        Err(problems) => problems,
    };
    let page = RotatePage::of(&visit, &call, (&key, &secrets), &problems).await?;
    reply::page_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
}

/// Rotates, or says what is wrong with the form.
async fn attempt(
    visit: &Visit,
    call: &Call,
    key: &Key,
) -> Result<Result<Response, Vec<FieldProblem>>, Refused> {
    let id = key.record.id;
    let choice = match read(&call.form, call.now()) {
        Ok(choice) => choice,
        Err(problem) => return Ok(Err(vec![problem])),
    };
    let once = read_idempotency_key(call.form.text("once").unwrap_or_default().as_bytes());
    let version = call.form.text("version").and_then(|text| text.parse().ok());
    let (Ok(once), Some(version)) = (once, version) else {
        return Err(Refused::Conflict(
            "the form is not whole; open the page again".to_owned(),
        ));
    };
    // The same choice of the same form is the same request, whenever it is sent.
    let said: Vec<String> = ["mode", "overlap", "until", "grace"]
        .iter()
        .map(|name| format!("{name}={}", call.form.text(name).unwrap_or_default()))
        .collect();
    let attempt = Attempt {
        key: once,
        request: request_digest("console rotate_key", id.as_str(), said.join("\n").as_bytes()),
    };
    let done = call
        .engine()
        .rotate_key(
            call.context.clone(),
            (visit.id().clone(), id),
            (choice, Some(version)),
            Some(attempt),
        )
        .await;
    let (key, value) = match done {
        Ok(Once::Now(rotated)) => (rotated.written.key, Some(rotated.value)),
        Ok(Once::Before(repeated)) => (repeated.key, repeated.value),
        Err(EngineError::Invalid(problems)) => return Ok(Err(problems)),
        Err(other) => return Err(other.into()),
    };
    let response = match value {
        Some(value) => key_value::show(visit, call, &key, &value, Told::Rotated).await?,
        None => key_value::show_over(visit, call, &key, Told::Rotated).await?,
    };
    Ok(Ok(response))
}

/// Reads the mode with what belongs to it.
fn read(form: &Values, now: Timestamp) -> Result<RotationChoice, FieldProblem> {
    let problem = |field: &str, message: &str| FieldProblem {
        field: field.to_owned(),
        message: message.to_owned(),
    };
    let span = |name: &str| {
        let asked = form.text(name).unwrap_or(USUAL_SPAN);
        let found = SPANS.into_iter().find(|(known, _)| *known == asked);
        found
            .map(|(_, ms)| ms)
            .ok_or_else(|| problem(name, "choose one of the spans"))
    };
    let mode = match form.text("mode") {
        Some("immediate") => RotationMode::Immediate,
        Some("overlap") => match form.text("until") {
            Some(text) => RotationMode::Overlap {
                until: read_moment(text)
                    .ok_or_else(|| problem("until", "is a moment in UTC such as 2027-01-31 12:00"))?,
            },
            None if form.text("overlap") == Some(USUAL_SPAN) => return Ok(RotationChoice::UsualOverlap),
            None => RotationMode::Overlap {
                until: now.plus_ms(span("overlap")?),
            },
        },
        Some("on_first_use") => RotationMode::OnFirstUse {
            grace_ms: span("grace")?,
        },
        _ => return Err(problem("mode", "choose what becomes of the old secret")),
    };
    Ok(RotationChoice::Mode(mode))
}

impl RotatePage {
    async fn of(
        visit: &Visit,
        call: &Call,
        (key, secrets): (&Key, &[ShownSecret]),
        problems: &[FieldProblem],
    ) -> Result<Self, Refused> {
        let now = call.now();
        let head = KeyHead::of(visit, key, secrets, now);
        let filter = HistoryFilter {
            outcome: Some(OutcomeFilter::One(Outcome::Accepted)),
            ..HistoryFilter::default()
        };
        let ids = (visit.id(), key.record.id);
        let users = Callers::find(call.engine(), ids, filter, Span::last_days(1, now)).await?;
        let (told, effect_at_once) = if users.items.is_empty() {
            (
                "Nobody used this key in the last 24 hours.".to_owned(),
                "It would refuse nobody that is known.".to_owned(),
            )
        } else {
            (
                format!(
                    "{} used it in the last 24 hours: {}.",
                    users.counted(),
                    users.named(now)
                ),
                "It would refuse them until they have the new one.".to_owned(),
            )
        };
        let of_field = |field: &str| {
            let found = problems.iter().find(|problem| problem.field == field);
            found.map(|problem| format!("This {}.", problem.message))
        };
        let title = format!("Rotate {}", head.name);
        Ok(Self {
            shell: Shell::of(visit, call, Section::SecretKeys, &title, &[]),
            head,
            obstacle: obstacle(key, secrets, now),
            users: told,
            effect_at_once,
            mode: match call.form.text("mode") {
                Some("immediate") => "immediate",
                Some("on_first_use") => "on_first_use",
                _ => "overlap",
            },
            overlaps: choices(call.form.text("overlap")),
            graces: choices(call.form.text("grace")),
            until: call.form.raw("until").unwrap_or_default().to_owned(),
            until_problem: of_field("until"),
            mode_problem: problems
                .iter()
                .find(|problem| problem.field != "until")
                .map(|problem| format!("{}: {}.", problem.field, problem.message)),
            key_end: key.record.conditions.expires_at.map(exact),
            version: key.record.version,
            once: match call.form.text("once") {
                Some(once) => once.to_owned(),
                None => new_once()?,
            },
        })
    }
}

fn obstacle(key: &Key, secrets: &[ShownSecret], now: Timestamp) -> Option<String> {
    let why = match key.shown_state(now) {
        ShownState::Deleted => "The key was deleted and never comes back; make a new one.",
        ShownState::Expired => "The key has expired. Give it a later expiry first, or make a new one.",
        ShownState::Active | ShownState::Paused if is_rotating(secrets, now) => {
            "A rotation of this key is under way. Finish or cancel it on the key's page first."
        }
        ShownState::Active | ShownState::Paused => return None,
    };
    Some(why.to_owned())
}

fn choices(chosen: Option<&str>) -> Vec<SpanChoice> {
    let chosen = chosen.unwrap_or(USUAL_SPAN);
    SPANS
        .into_iter()
        .map(|(name, ms)| SpanChoice {
            name,
            label: duration_words(ms),
            is_chosen: name == chosen,
        })
        .collect()
}

/// What makes two sendings of one form known as one.
fn new_once() -> Result<String, Refused> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|_| Refused::Unavailable("no random bytes".to_owned()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
