//! Pausing, resuming and removing one key. Before an end stands who would be refused; the end itself is the engine's.

use askama::Template;
use axum::response::Response;
use keyward_core::ids::KeyId;
use keyward_core::record::{Key, ShownState};
use keyward_core::state::DeleteReason;

use super::victims::Victims;
use super::{SENTENCES, TABLE};
use crate::call::Call;
use crate::refused::Refused;
use crate::reply;
use crate::routes::done;
use crate::shell::{Section, Shell};
use crate::visit::Visit;

/// Why keys are removed, as people choose it.
pub(super) const REASONS: [(DeleteReason, &str); 6] = [
    (DeleteReason::Removed, "Not needed any more"),
    (DeleteReason::Unused, "Not used by anybody"),
    (DeleteReason::Compromised, "The value leaked"),
    (DeleteReason::Replaced, "Another key took over"),
    (DeleteReason::CreatorLeft, "The creator left"),
    (DeleteReason::Other, "Something else"),
];

#[derive(Template)]
#[template(path = "key_pause.html")]
struct PausePage {
    shell: Shell,
    table: String,
    action: String,
    name: String,
    hint: String,
    victims: Victims,
    /// Why it can't be paused.
    hindrance: Option<&'static str>,
}

#[derive(Template)]
#[template(path = "key_remove.html")]
struct RemovePage {
    shell: Shell,
    table: String,
    action: String,
    /// The flow for a key that leaked.
    compromised: String,
    name: String,
    hint: String,
    victims: Victims,
    is_deleted: bool,
    reasons: Vec<(&'static str, &'static str)>,
}

/// The id in the path; what is none names no key.
fn key_of(call: &Call) -> Result<KeyId, Refused> {
    call.path("key").parse().map_err(|_| Refused::NotFound)
}

fn shell(visit: &Visit, call: &Call, title: &str) -> Shell {
    Shell::of(visit, call, Section::SecretKeys, title, &SENTENCES)
}

async fn victims_of(visit: &Visit, call: &Call) -> Result<(Key, Victims), Refused> {
    Victims::of_key(call.engine(), visit.id(), key_of(call)?).await
}

pub(super) async fn show_pause(visit: Visit, call: Call) -> Result<Response, Refused> {
    let (key, victims) = victims_of(&visit, &call).await?;
    let table = visit.url(TABLE);
    reply::page(&PausePage {
        shell: shell(&visit, &call, "Pause key"),
        action: format!("{table}/{}/pause", key.record.id),
        table,
        name: key.name.to_string(),
        hint: key.hint.clone(),
        victims,
        hindrance: match key.shown_state(call.now()) {
            ShownState::Active => None,
            ShownState::Paused => Some("It is paused already, and refused."),
            ShownState::Expired => Some("It expired, and is refused without being paused."),
            ShownState::Deleted => Some("It is deleted, which nothing undoes."),
        },
    })
}

pub(super) async fn pause(visit: Visit, call: Call) -> Result<Response, Refused> {
    let id = key_of(&call)?;
    call.engine()
        .pause_key(call.context.clone(), visit.id().clone(), id)
        .await?;
    Ok(done(&visit.url(TABLE), "paused"))
}

pub(super) async fn resume(visit: Visit, call: Call) -> Result<Response, Refused> {
    let id = key_of(&call)?;
    call.engine()
        .resume_key(call.context.clone(), visit.id().clone(), id)
        .await?;
    Ok(done(&visit.url(TABLE), "resumed"))
}

pub(super) async fn show_remove(visit: Visit, call: Call) -> Result<Response, Refused> {
    let (key, victims) = victims_of(&visit, &call).await?;
    let table = visit.url(TABLE);
    let own = format!("{table}/{}", key.record.id);
    reply::page(&RemovePage {
        shell: shell(&visit, &call, "Remove key"),
        table,
        action: format!("{own}/remove"),
        compromised: format!("{own}/compromised"),
        name: key.name.to_string(),
        hint: key.hint.clone(),
        victims,
        is_deleted: key.record.state.is_deleted(),
        reasons: REASONS.map(|(reason, words)| (reason.name(), words)).to_vec(),
    })
}

pub(super) async fn remove(visit: Visit, call: Call) -> Result<Response, Refused> {
    let id = key_of(&call)?;
    let reason = reason_of(&call).unwrap_or(DeleteReason::Removed);
    call.engine()
        .delete_key(call.context.clone(), visit.id().clone(), id, reason)
        .await?;
    Ok(done(&visit.url(TABLE), "removed"))
}

/// The reason that a form names.
pub(super) fn reason_of(call: &Call) -> Option<DeleteReason> {
    call.form.text("reason").and_then(DeleteReason::from_name)
}
