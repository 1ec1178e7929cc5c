//! "Compromised?": the steps after a key's value got out, on one page, each with how it stands.
//!
//! Revoking is true when the page is back: from then on no request with the key is accepted anywhere. What the revocation hits is said
//! before it. Works without scripts; with one, who still tries is looked at again by itself.

use askama::Template;
use askama::filters::HtmlSafe;
use axum::response::Response;
use keyward_core::ids::KeyId;
use keyward_core::management_right::ManagementRight;
use keyward_core::state::{DeleteReason, KeyState};
use keyward_core::time::Timestamp;

use super::callers::{CallerRow, Callers, SHOWN};
use super::key_head::{KeyHead, reason_words, subject};
use super::leak::{Leak, ToldRow, attempts};
use super::usage_filter::{SPANS, span_of, span_words};
use crate::call::Call;
use crate::refused::Refused;
use crate::reply;
use crate::routes::{ConsoleRoutes, done};
use crate::shell::{Section, Shell};
use crate::visit::Visit;
use crate::words::{When, exact, relative};

#[derive(Template)]
#[template(path = "compromised.html")]
struct CompromisedPage {
    shell: Shell,
    head: KeyHead,
    /// When and why the key ended.
    ended: Option<String>,
    /// Who used it in the last day, and what revoking it does to them.
    victims: String,
    replacement: Option<ReplacementShown>,
    spans: Vec<(String, i64, bool)>,
    span_words: String,
    users: Vec<CallerRow>,
    users_more: String,
    attempts: AttemptsPart,
    told: Vec<ToldRow>,
    is_everybody_told: bool,
    security_url: String,
    /// The number of the first step that is not done: 1, 2, 5 or 6.
    current: u8,
}

struct ReplacementShown {
    url: String,
    name: String,
    made: When,
    is_certain: bool,
}

/// Who tried the key after its end; also sent alone, to be looked at again.
#[derive(Template)]
#[template(path = "compromised_attempts.html")]
struct AttemptsPart {
    /// Whether the key ended.
    has_ended: bool,
    summary: String,
    rows: Vec<CallerRow>,
    more: String,
}

// Its own template escapes every value of it.
impl HtmlSafe for AttemptsPart {}

/// What the page says after a form.
const SENTENCES: [(&str, &str); 2] = [
    (
        "revoked",
        "Revoked. From this moment on, every request with this key is refused, everywhere.",
    ),
    (
        "already",
        "The key had ended already, and stays so. Nothing was changed.",
    ),
];

pub(super) fn add(routes: ConsoleRoutes) -> ConsoleRoutes {
    const PATH: &str = "/org/{organization}/settings/secret-keys/{key}/compromised";
    routes
        .page(PATH, ManagementRight::KeysWrite, show)
        .form(PATH, ManagementRight::KeysWrite, revoke)
        .page(
            "/org/{organization}/settings/secret-keys/{key}/compromised/attempts",
            ManagementRight::KeysRead,
            show_attempts,
        )
}

async fn revoke(visit: Visit, call: Call) -> Result<Response, Refused> {
    let id = subject(&call)?;
    let written = call
        .engine()
        .delete_key(
            call.context.clone(),
            visit.id().clone(),
            id,
            DeleteReason::Compromised,
        )
        .await?;
    let word = if written.is_changed { "revoked" } else { "already" };
    let url = visit.url(&format!("settings/secret-keys/{id}/compromised"));
    Ok(done(&url, word))
}

async fn show(visit: Visit, call: Call) -> Result<Response, Refused> {
    let (id, now) = (subject(&call)?, call.now());
    let leak = Leak::find(&visit, &call, id).await?;
    let (_, days) = span_of(&call.query, now);
    let victims = leak.users(&visit, &call, 1).await?;
    let users = leak.users(&visit, &call, days).await?;
    let head = KeyHead::of(&visit, &leak.key, &leak.secrets, now);
    let replacement = leak.replacement.as_ref().map(|new| ReplacementShown {
        url: visit.url(&format!("settings/secret-keys/{}", new.id)),
        name: new.name.clone(),
        made: When::relative(new.made_at, now),
        is_certain: new.is_certain,
    });
    let is_everybody_told = !leak.told.is_empty() && leak.told.iter().all(|row| row.is_told);
    let current = match (&leak.ended, &replacement) {
        (None, _) => 1,
        (_, None) => 2,
        _ if !is_everybody_told => 5,
        _ => 6,
    };
    let mark = |address: &str| {
        if leak.is_new(address, now) {
            "New address"
        } else {
            ""
        }
    };
    let title = format!("Is {} compromised?", head.name);
    reply::page(&CompromisedPage {
        shell: Shell::of(&visit, &call, Section::SecretKeys, &title, &SENTENCES),
        ended: leak.ended.map(|(reason, at)| {
            format!(
                "Ended {} ({}) because {}. No request with it is accepted any more.",
                relative(at, now),
                exact(at),
                reason_words(reason)
            )
        }),
        victims: victims_words(&victims, now),
        replacement,
        spans: SPANS
            .into_iter()
            .map(|choice| (span_words(choice), choice, choice == days))
            .collect(),
        span_words: span_words(days),
        users: users.rows(now, |caller| mark(&caller.address)),
        users_more: more_words(&users),
        attempts: AttemptsPart::of(&visit, &call, id, leak.ended.map(|(_, at)| at)).await?,
        told: leak.told,
        is_everybody_told,
        security_url: visit.url("settings/security"),
        current,
        head,
    })
}

async fn show_attempts(visit: Visit, call: Call) -> Result<Response, Refused> {
    let id = subject(&call)?;
    let key = call.engine().show_key(visit.id(), id).await?;
    let ended_at = match key.record.state {
        KeyState::Deleted { at, .. } => Some(at),
        KeyState::Active | KeyState::Paused { .. } => None,
    };
    reply::page(&AttemptsPart::of(&visit, &call, id, ended_at).await?)
}

fn victims_words(users: &Callers, now: Timestamp) -> String {
    if users.items.is_empty() {
        return "Nobody used it in the last 24 hours: revoking it refuses nobody that is known.".to_owned();
    }
    format!(
        "{} used it in the last 24 hours: {}. Revoking it refuses their very next request.",
        users.counted(),
        users.named(now)
    )
}

fn more_words(callers: &Callers) -> String {
    match (callers.items.len().saturating_sub(SHOWN), callers.is_whole) {
        (0, true) => String::new(),
        (0, false) => "There is more than is shown here; the activity has all of it.".to_owned(),
        (more, _) => format!("And {more} more; the activity and the report have all of them."),
    }
}

impl AttemptsPart {
    async fn of(visit: &Visit, call: &Call, id: KeyId, ended_at: Option<Timestamp>) -> Result<Self, Refused> {
        let now = call.now();
        let Some(ended_at) = ended_at else {
            return Ok(Self {
                has_ended: false,
                summary: "Once the key is revoked, whoever goes on using it shows here, with every refused attempt.".to_owned(),
                rows: Vec::new(),
                more: String::new(),
            });
        };
        let found = attempts(visit, call, id, ended_at).await?;
        let times: i64 = found.items.iter().map(|caller| caller.refused).sum();
        let summary = match found.items.first() {
            None => "Nobody has tried it since.".to_owned(),
            Some(last) => format!(
                "{} tried it since, {} in all, the last {}. All of them were refused.",
                found.counted(),
                super::chart::requests(times),
                relative(last.last_at, now)
            ),
        };
        Ok(Self {
            has_ended: true,
            summary,
            more: more_words(&found),
            rows: found.rows(now, |_| ""),
        })
    }
}
