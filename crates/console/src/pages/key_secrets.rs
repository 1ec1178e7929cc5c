//! A key's secrets on its page: the one, or the two of a rotation with who still uses the old one, and what ended before.
//!
//! Who still uses the old secret is who used it since the new one was made and did not come with the new one after that. What
//! ending it now would do to whom is said beside the button that does it.

use askama::Template;
use askama::filters::HtmlSafe;
use axum::response::Response;
use keyward_core::ids::KeyId;
use keyward_core::management_right::ManagementRight;
use keyward_core::record::{Key, ShownState};
use keyward_core::state::SecretLife;
use keyward_core::time::{Timestamp, duration_words};
use keyward_core::usage::Outcome;
use keyward_engine::last_use::KeyUse;
use keyward_engine::show_keys::ShownSecret;
use keyward_engine::show_usage::Span;
use keyward_store::usage_queries::{HistoryFilter, OutcomeFilter};

use super::callers::Callers;
use super::key_head::subject;
use crate::call::Call;
use crate::refused::Refused;
use crate::routes::{ConsoleRoutes, done};
use crate::visit::Visit;
use crate::words::{When, relative};

/// The part of the key's page.
#[derive(Template)]
#[template(path = "key_secrets.html")]
pub(super) struct SecretsPart {
    key_url: String,
    csrf: String,
    rotation: Option<Rotation>,
    live: Vec<SecretRow>,
    ended: Vec<SecretRow>,
}

// Its own template escapes every value of it.
impl HtmlSafe for SecretsPart {}

/// A rotation that is under way.
struct Rotation {
    /// When the old secret ends, or what it waits for.
    until: String,
    /// Who still uses the old secret, and what ending it now would do to them.
    sentence: String,
    is_used: bool,
    /// Whether the new secret waits for its first use.
    is_pending: bool,
}

struct SecretRow {
    label: &'static str,
    hint: String,
    made: When,
    /// Until when it is accepted, or since when not.
    until: Option<When>,
    until_words: &'static str,
    last_used: Option<When>,
    by: String,
    /// Whether its use deserves a look.
    is_marked: bool,
}

pub(super) fn add(routes: ConsoleRoutes) -> ConsoleRoutes {
    let write = ManagementRight::KeysWrite;
    routes
        .form(
            "/org/{organization}/settings/secret-keys/{key}/rotation/finish",
            write,
            finish,
        )
        .form(
            "/org/{organization}/settings/secret-keys/{key}/rotation/cancel",
            write,
            cancel,
        )
        .form(
            "/org/{organization}/settings/secret-keys/{key}/rotation/activate",
            write,
            activate,
        )
}

async fn finish(visit: Visit, call: Call) -> Result<Response, Refused> {
    let id = subject(&call)?;
    let engine = call.engine();
    engine
        .finish_rotation(call.context.clone(), visit.id().clone(), id)
        .await?;
    Ok(back(&visit, id, "rotation-finished"))
}

async fn cancel(visit: Visit, call: Call) -> Result<Response, Refused> {
    let id = subject(&call)?;
    let engine = call.engine();
    engine
        .cancel_rotation(call.context.clone(), visit.id().clone(), id)
        .await?;
    Ok(back(&visit, id, "rotation-cancelled"))
}

async fn activate(visit: Visit, call: Call) -> Result<Response, Refused> {
    let id = subject(&call)?;
    let engine = call.engine();
    engine
        .activate_rotation(call.context.clone(), visit.id().clone(), id)
        .await?;
    Ok(back(&visit, id, "rotation-activated"))
}

fn back(visit: &Visit, id: KeyId, word: &'static str) -> Response {
    done(&visit.url(&format!("settings/secret-keys/{id}")), word)
}

/// The two secrets of a rotation: the new one and the old one.
fn both(secrets: &[ShownSecret], now: Timestamp) -> Option<(&ShownSecret, &ShownSecret)> {
    let live = |secret: &&ShownSecret| secret.life.is_live() && !secret.life.is_superseded(now);
    let mut live: Vec<&ShownSecret> = secrets.iter().filter(live).collect();
    live.sort_by_key(|secret| std::cmp::Reverse(secret.number));
    match live.as_slice() {
        [new, old] => Some((new, old)),
        _ => None,
    }
}

/// Who used the old secret of a rotation and did not come with the new one after that; `None` without a rotation.
///
/// # Errors
/// What the engine says.
pub(super) async fn users_of_old(
    visit: &Visit,
    call: &Call,
    id: KeyId,
    secrets: &[ShownSecret],
) -> Result<Option<Callers>, Refused> {
    let now = call.now();
    let Some((new, old)) = both(secrets, now) else {
        return Ok(None);
    };
    let filter = HistoryFilter {
        outcome: Some(OutcomeFilter::One(Outcome::Accepted)),
        ..HistoryFilter::default()
    };
    let span = Span {
        from: new.created_at,
        until: now,
    };
    let callers = Callers::find(call.engine(), (visit.id(), id), filter, span).await?;
    let moved: Vec<_> = callers
        .items
        .iter()
        .filter(|caller| caller.secret == new.number)
        .cloned()
        .collect();
    Ok(Some(callers.only(|caller| {
        let has_moved = moved.iter().any(|other| {
            other.address == caller.address
                && other.client == caller.client
                && other.last_at >= caller.last_at
        });
        caller.secret == old.number && !has_moved
    })))
}

impl SecretsPart {
    /// The part of a key with these secrets, newest first.
    ///
    /// # Errors
    /// What the engine says.
    pub(super) async fn of(
        visit: &Visit,
        call: &Call,
        (key, secrets): (&Key, &[ShownSecret]),
        used: Option<&KeyUse>,
    ) -> Result<Self, Refused> {
        let (id, now) = (key.record.id, call.now());
        let rotation = match (both(secrets, now), users_of_old(visit, call, id, secrets).await?) {
            (Some((new, old)), Some(users))
                if matches!(key.shown_state(now), ShownState::Active | ShownState::Paused) =>
            {
                Some(Rotation::of(new, old, &users, now))
            }
            _ => None,
        };
        let is_over = |secret: &ShownSecret| {
            !secret.life.is_live() || secret.life.is_superseded(now) || key.record.state.is_deleted()
        };
        let newest = secrets.iter().map(|secret| secret.number).max();
        let row = |secret: &ShownSecret| {
            let of_secret = used.and_then(|used| used.secrets.iter().find(|one| one.number == secret.number));
            let label = if is_over(secret) {
                "Ended"
            } else if rotation.is_none() {
                "Current"
            } else if Some(secret.number) == newest {
                "New"
            } else {
                "Old"
            };
            let (until, until_words) = if is_over(secret) {
                let ended = secret.ended_at.or(secret.life.ends_at());
                (ended.map(|at| When::relative(at, now)), "ended")
            } else {
                match secret.life {
                    SecretLife::Until(end) => (Some(When::relative(end, now)), ""),
                    SecretLife::Pending { until, .. } => {
                        (Some(When::relative(until, now)), "dropped if unused")
                    }
                    _ => match key.record.conditions.expires_at {
                        Some(end) => (Some(When::relative(end, now)), "with the key"),
                        None => (None, ""),
                    },
                }
            };
            SecretRow {
                label,
                hint: secret.hint.clone(),
                made: When::relative(secret.created_at, now),
                until,
                until_words,
                last_used: of_secret.map(|one| When::relative(one.last_used_at, now)),
                by: of_secret
                    .and_then(|one| one.last.as_ref())
                    .map(|last| format!("{} {}", last.address, last.client))
                    .unwrap_or_default(),
                is_marked: label == "Old" && rotation.as_ref().is_some_and(|rotation| rotation.is_used),
            }
        };
        let (ended, live): (Vec<&ShownSecret>, Vec<&ShownSecret>) =
            secrets.iter().partition(|secret| is_over(secret));
        let live: Vec<SecretRow> = live.into_iter().map(row).collect();
        let ended = ended.into_iter().map(row).collect();
        Ok(Self {
            key_url: visit.url(&format!("settings/secret-keys/{id}")),
            csrf: visit.person.csrf.as_str().to_owned(),
            live,
            ended,
            rotation,
        })
    }
}

impl Rotation {
    fn of(new: &ShownSecret, old: &ShownSecret, users: &Callers, now: Timestamp) -> Self {
        let (until, is_pending) = match (new.life, old.life) {
            (SecretLife::Pending { grace_ms, until }, _) => (
                format!(
                    "The new secret waits for its first use. The old one is accepted until then, and {} longer. Unused, the new one \
                     is dropped {}.",
                    duration_words(grace_ms),
                    relative(until, now)
                ),
                true,
            ),
            (_, SecretLife::Until(end)) => (
                format!(
                    "Both secrets are accepted; the old one ends {}.",
                    relative(end, now)
                ),
                false,
            ),
            _ => ("Both secrets are accepted.".to_owned(), false),
        };
        let is_used = !users.items.is_empty();
        let sentence = if is_used {
            let (verb, whom) = if users.items.len() == 1 && users.is_whole {
                ("uses", "that client")
            } else {
                ("use", "them")
            };
            format!(
                "{} still {verb} the old secret: {}. Ending it now would refuse {whom}.",
                users.counted(),
                users.named(now)
            )
        } else {
            "Nobody who did not move on has used the old secret since the new one was made. Ending it now would refuse nobody that is \
             known."
                .to_owned()
        };
        Self {
            until,
            sentence,
            is_used,
            is_pending,
        }
    }
}
