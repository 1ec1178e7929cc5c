//! A key's page: what it is, what it may do, its secrets, what it was used for, and what could be done about it.
//!
//! A key that ended is shown like a living one, without the buttons that only a living one has.

use askama::Template;
use axum::response::Response;
use keyward_core::management_right::ManagementRight;
use keyward_core::record::{Actor, Key, ShownState};
use keyward_core::rotation::DueStatus;
use keyward_core::state::{KeyState, PauseReason};
use keyward_core::time::{Timestamp, duration_words};
use keyward_core::usage::hour_of;
use keyward_core::usage_rise::{BASELINE_DAYS, RECENT_HOURS, RiseHours, is_rise};
use keyward_engine::show_usage::{HistoryPage, Span};
use keyward_store::usage_queries::{HistoryFilter, Step, UsagePoint};

use super::access_words::dataset_names;
use super::activity_rows::{ActivityRow, rows_of};
use super::chart::{Chart, requests};
use super::explain_key::ExplainForm;
use super::key_advice::AdvicePart;
use super::key_head::{KeyHead, reason_words, subject};
use super::key_secrets::SecretsPart;
use super::key_summary::Summary;
use crate::call::Call;
use crate::naming::Naming;
use crate::refused::Refused;
use crate::reply;
use crate::routes::ConsoleRoutes;
use crate::shell::{Section, Shell};
use crate::visit::Visit;
use crate::words::{
    When, access_text, environment_name, exact, grouped, level_name, level_sentence, relative,
};

/// Days of the chart.
const DAYS: i64 = 30;
/// Rows of activity on this page.
const ROWS: u32 = 6;

#[derive(Template)]
#[template(path = "key.html")]
struct KeyPage {
    shell: Shell,
    head: KeyHead,
    description: String,
    state: StateShown,
    /// What is unusual, to be said first.
    notices: Vec<Notice>,
    access: String,
    level: &'static str,
    level_sentence: &'static str,
    last_used: Option<When>,
    due: Due,
    summary: Summary,
    environment: &'static str,
    creator: String,
    responsible: Option<String>,
    tags: Vec<String>,
    hint: String,
    created: When,
    updated: When,
    secrets: SecretsPart,
    chart: Chart,
    activity: Vec<ActivityRow>,
    advice: Option<AdvicePart>,
    explain: ExplainForm,
}

/// What can be done with the key.
struct StateShown {
    is_living: bool,
    is_paused: bool,
    is_rotatable: bool,
}

struct Notice {
    tone: &'static str,
    text: String,
}

/// The next rotation.
struct Due {
    text: String,
    at: Option<When>,
    hint: String,
    tone: &'static str,
}

/// What the page says after a form.
const SENTENCES: [(&str, &str); 16] = [
    ("created", "The key is made."),
    (
        "edited",
        "Saved. The next request is decided by the new settings.",
    ),
    ("unchanged", "Nothing was different, so nothing was changed."),
    (
        "narrowed",
        "Narrowed. The next request is decided by the new access; Edit Permission can widen it again.",
    ),
    (
        "advice-changed",
        "Nothing was changed: the key was used or edited since the advice was shown. Look at the advice as it is now.",
    ),
    (
        "paused",
        "Paused: every request with this key is refused until somebody resumes it.",
    ),
    ("resumed", "Resumed: requests with this key are accepted again."),
    (
        "rotated-before",
        "This form was sent before, and the key was rotated then. Its value is shown only for the first ten minutes.",
    ),
    (
        "rotation-finished",
        "The old secret is ended: whoever still uses it is refused from now on.",
    ),
    (
        "rotation-cancelled",
        "The new secret is ended, and the old one goes on.",
    ),
    (
        "rotation-activated",
        "The new secret is the current one. The old one is accepted for the time that was chosen.",
    ),
    ("replaced", "The old key is ended, and its replacement is made."),
    ("removed", "The key is removed: every request with it is refused."),
    ("deleted", "The key is removed: every request with it is refused."),
    ("revoked", "Revoked: every request with this key is refused."),
    ("handed-over", "Somebody else answers for the key now."),
];

pub(super) fn add(routes: ConsoleRoutes) -> ConsoleRoutes {
    routes.page(
        "/org/{organization}/settings/secret-keys/{key}",
        ManagementRight::KeysRead,
        show,
    )
}

async fn show(visit: Visit, call: Call) -> Result<Response, Refused> {
    let (id, now, engine) = (subject(&call)?, call.now(), call.engine());
    let (key, secrets) = engine.show_key_whole(visit.id(), id).await?;
    let uses = engine.last_uses(visit.id(), &[id]).await;
    let uses = uses.map_err(keyward_engine::EngineError::from)?;
    let used = uses.get(&id);
    let span = Span::last_days(DAYS - 1, now);
    let (_, points) = engine.usage_series(visit.id(), id, span, Step::Day).await?;
    let page = HistoryPage {
        filter: HistoryFilter::default(),
        span: Span::last_days(DAYS, now),
        after: String::new(),
        limit: ROWS,
    };
    let (_, history) = engine.usage_history(visit.id(), id, &page).await?;
    let seen = engine.key_addresses(visit.id(), id).await?;
    let head = KeyHead::of(&visit, &key, &secrets, now);
    let state = StateShown::of(&key, now);
    let access = &key.record.access;
    let datasets = dataset_names(&visit, &call).await?;
    let mut naming = Naming::new(engine, visit.id());
    let responsible = match &key.responsible {
        Some(person) => Some(naming.of(&Actor::Person(person.clone())).await?),
        None => None,
    };
    reply::page(&KeyPage {
        notices: notices(&visit, &call, &key).await?,
        description: key.description.clone(),
        access: access_text(key.record.access.scopes()),
        level: level_name(key.record.access.permission().level()),
        level_sentence: level_sentence(key.record.access.permission().level()),
        last_used: used.map(|used| When::relative(used.last_used_at, now)),
        due: Due::of(&key, now),
        summary: Summary::of(
            access.scopes(),
            access.permission(),
            &key.record.conditions,
            &datasets,
        ),
        environment: environment_name(key.environment),
        creator: naming.of(&key.created_by).await?,
        responsible,
        tags: key.tags.iter().map(|tag| tag.as_str().to_owned()).collect(),
        hint: key.hint.clone(),
        created: When::exact(key.created_at),
        updated: When::relative(key.updated_at, now),
        secrets: SecretsPart::of(&visit, &call, (&key, &secrets), used).await?,
        chart: Chart::of(&points, Step::Day, "with this key"),
        activity: rows_of(history.items, &seen),
        advice: if state.is_living {
            AdvicePart::of(&visit, &call, id).await?
        } else {
            None
        },
        explain: ExplainForm::of(&head.url, &call.query),
        shell: Shell::of(&visit, &call, Section::SecretKeys, &head.name, &SENTENCES),
        head,
        state,
    })
}

impl StateShown {
    fn of(key: &Key, now: Timestamp) -> Self {
        let shown = key.shown_state(now);
        Self {
            is_living: shown != ShownState::Deleted,
            is_paused: shown == ShownState::Paused,
            is_rotatable: matches!(shown, ShownState::Active | ShownState::Paused),
        }
    }
}

impl Due {
    fn of(key: &Key, now: Timestamp) -> Self {
        let hint = key
            .rotate_every_ms
            .map(|every| format!("every {}", duration_words(every)))
            .unwrap_or_default();
        if key.shown_state(now) == ShownState::Deleted {
            return Self {
                text: "None: the key ended".to_owned(),
                at: None,
                hint: String::new(),
                tone: "",
            };
        }
        let Some(at) = key.rotation_due_at() else {
            return Self {
                text: "As needed".to_owned(),
                at: None,
                hint: "no due date".to_owned(),
                tone: "",
            };
        };
        let (text, tone) = match key.due_status(now) {
            DueStatus::NotDue => ("Due", ""),
            DueStatus::DueSoon => ("Due soon,", "warn-text"),
            DueStatus::Due => ("Due since", "warn-text"),
            DueStatus::Overdue => ("Overdue since", "danger-text"),
        };
        let at = match key.due_status(now) {
            DueStatus::NotDue | DueStatus::DueSoon => When::relative(at, now),
            DueStatus::Due | DueStatus::Overdue => When::date(at),
        };
        Self {
            text: text.to_owned(),
            at: Some(at),
            hint,
            tone,
        }
    }
}

async fn notices(visit: &Visit, call: &Call, key: &Key) -> Result<Vec<Notice>, Refused> {
    let now = call.now();
    let mut notices = Vec::new();
    let notice = |tone, text| Notice { tone, text };
    match key.record.state {
        KeyState::Deleted { reason, at } => notices.push(notice(
            "danger",
            format!(
                "This key ended {} ({}) because {}. It never comes back; what it was used for stays readable here.",
                relative(at, now),
                exact(at),
                reason_words(reason)
            ),
        )),
        KeyState::Paused { reason } => notices.push(notice(
            "warn",
            match reason {
                PauseReason::Requested => {
                    "Paused: every request with this key is refused until somebody resumes it.".to_owned()
                }
                PauseReason::Restored => "This key came back with a restored backup and is held: it is refused until somebody \
                                          looks at it and resumes it."
                    .to_owned(),
            },
        )),
        KeyState::Active => {}
    }
    if !key.record.state.is_deleted() && key.record.conditions.is_over(now) {
        notices.push(notice(
            "warn",
            "This key has expired and is refused. Give it a later expiry with Edit Permission, or make a new one.".to_owned(),
        ));
    }
    if let Some(rise) = rise_of(visit, call, key).await? {
        notices.push(notice("warn", rise));
    }
    Ok(notices)
}

/// A sentence if the key's refusals have risen, by the rule that people are told by.
pub(super) async fn rise_of(visit: &Visit, call: &Call, key: &Key) -> Result<Option<String>, Refused> {
    let now = call.now();
    let span = Span::last_days(BASELINE_DAYS + 1, now);
    let found = call
        .engine()
        .usage_series(visit.id(), key.record.id, span, Step::Hour)
        .await?;
    let hours = RiseHours::at(now);
    let refused = |from: i64, until: i64| -> i64 {
        let within = |point: &&UsagePoint| (from..=until).contains(&hour_of(point.at));
        found.1.iter().filter(within).map(|point| point.refused).sum()
    };
    let recent = refused(hours.recent_from, hours.until);
    let baseline = refused(hours.baseline_from, hours.recent_from - 1);
    Ok(is_rise(recent, baseline).then(|| {
        format!(
            "Refusals rise: {} refused in the last {RECENT_HOURS} hours, against {} in the {BASELINE_DAYS} days before. The activity \
             shows who and why.",
            requests(recent),
            grouped(baseline.unsigned_abs())
        )
    }))
}
