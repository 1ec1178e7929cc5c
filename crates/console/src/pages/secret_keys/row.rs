//! One key as a row of the table: its words, its badges, and what its menu offers.

use std::collections::HashSet;

use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::record::{Actor, Key, ShownState};
use keyward_core::rotation::DueStatus;
use keyward_core::time::{DAY_MS, Timestamp};
use keyward_engine::Engine;
use keyward_engine::describe_keys::ActorName;
use keyward_engine::last_use::KeyUse;

use super::victims::{address_words, client_words};
use crate::refused::Refused;
use crate::words::{When, access_text, environment_name, level_name};

/// Longest name of a creator that is shown whole: an address can have 254 characters, and fifty of them stand on a page.
const MAX_CREATOR: usize = 60;

/// A word with a colour.
pub(super) struct Badge {
    /// The class beside `badge`; empty for a quiet one.
    pub(super) class: &'static str,
    pub(super) text: String,
}

/// When a key was last used, and from where.
pub(super) struct LastUsed {
    pub(super) at: When,
    /// Address and client, where they are known.
    pub(super) from: String,
}

/// A row.
pub(super) struct Row {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) hint: String,
    pub(super) badges: Vec<Badge>,
    pub(super) environment: &'static str,
    /// A badge about the next rotation, for what needs somebody.
    pub(super) due: Option<Badge>,
    /// The same in quiet words.
    pub(super) schedule: String,
    pub(super) last_used: Option<LastUsed>,
    pub(super) created: When,
    pub(super) created_by: String,
    pub(super) access: String,
    pub(super) permission: &'static str,
    pub(super) is_deleted: bool,
    pub(super) can_pause: bool,
    pub(super) can_resume: bool,
}

/// What is known of keys beside the keys themselves.
struct Known {
    uses: std::collections::HashMap<KeyId, KeyUse>,
    rotating: HashSet<KeyId>,
    names: Vec<(Actor, ActorName)>,
}

/// Rows of these keys, in their order.
///
/// # Errors
/// [`Refused::Unavailable`].
pub(super) async fn rows_of(
    engine: &Engine,
    organization: &OrganizationId,
    keys: &[Key],
) -> Result<Vec<Row>, Refused> {
    let ids: Vec<KeyId> = keys.iter().map(|key| key.record.id).collect();
    let makers: Vec<Actor> = keys.iter().map(|key| key.created_by.clone()).collect();
    let uses = engine.last_uses(organization, &ids).await;
    let known = Known {
        uses: uses.map_err(keyward_engine::EngineError::from)?,
        rotating: engine.rotating_keys(organization, &ids).await?,
        names: engine.name_actors(organization, &makers).await?,
    };
    let now = engine.now();
    Ok(keys.iter().map(|key| row_of(key, &known, now)).collect())
}

fn row_of(key: &Key, known: &Known, now: Timestamp) -> Row {
    let state = key.shown_state(now);
    let id = key.record.id;
    let (due, schedule) = due_words(key, now);
    let name = known.names.iter().find(|(actor, _)| *actor == key.created_by);
    Row {
        id: id.to_string(),
        name: key.name.to_string(),
        hint: key.hint.clone(),
        badges: badges_of(state, known.rotating.contains(&id)),
        environment: environment_name(key.environment),
        due,
        schedule,
        last_used: known.uses.get(&id).map(|used| last_used(used, now)),
        created: When::date(key.created_at),
        created_by: shortened(&crate::naming::words_of(name.map(|(_, name)| name))),
        access: access_text(key.record.access.scopes()),
        permission: level_name(key.record.access.permission().level()),
        is_deleted: state == ShownState::Deleted,
        can_pause: state == ShownState::Active,
        can_resume: state == ShownState::Paused,
    }
}

fn badges_of(state: ShownState, is_rotating: bool) -> Vec<Badge> {
    let badge = |class, text: &str| Badge {
        class,
        text: text.to_owned(),
    };
    let mut badges = Vec::new();
    match state {
        ShownState::Active => {}
        ShownState::Paused => badges.push(badge("warn", "Paused")),
        ShownState::Expired => badges.push(badge("warn", "Expired")),
        ShownState::Deleted => badges.push(badge("danger", "Deleted")),
    }
    if is_rotating && state != ShownState::Deleted {
        badges.push(badge("ok", "Rotating"));
    }
    badges
}

/// What a key's next rotation asks for: a badge where somebody has to do something soon, otherwise a quiet word.
pub(super) fn due_words(key: &Key, now: Timestamp) -> (Option<Badge>, String) {
    if matches!(key.shown_state(now), ShownState::Expired | ShownState::Deleted) {
        return (None, String::new());
    }
    let Some(due_at) = key.rotation_due_at() else {
        return (None, "No schedule".to_owned());
    };
    let left_ms = due_at.as_unix_ms() - now.as_unix_ms();
    let days = |ms: i64| match ms {
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    };
    let badge = |class, text| (Some(Badge { class, text }), String::new());
    match key.due_status(now) {
        DueStatus::NotDue => (None, format!("Rotate in {}", days(begun_days(left_ms)))),
        DueStatus::DueSoon if left_ms < DAY_MS => badge("warn", "Due within a day".to_owned()),
        DueStatus::DueSoon => badge("warn", format!("Due in {}", days(begun_days(left_ms)))),
        DueStatus::Due => badge("danger", "Due today".to_owned()),
        DueStatus::Overdue => badge(
            "danger",
            format!("Overdue {}", days((-left_ms).div_euclid(DAY_MS))),
        ),
    }
}

/// Days that are left, the last one as soon as it has begun.
const fn begun_days(left_ms: i64) -> i64 {
    left_ms.saturating_add(DAY_MS - 1).div_euclid(DAY_MS)
}

pub(super) fn last_used(used: &KeyUse, now: Timestamp) -> LastUsed {
    let last = used.secrets.iter().max_by_key(|one| one.last_used_at);
    let from = last
        .and_then(|one| one.last.as_ref())
        .map(|last| format!("{}, {}", address_words(&last.address), client_words(&last.client)));
    LastUsed {
        at: When::relative(used.last_used_at, now),
        from: from.unwrap_or_default(),
    }
}

pub(super) fn shortened(text: &str) -> String {
    if text.chars().count() <= MAX_CREATOR {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(MAX_CREATOR).collect();
    short.push('\u{2026}');
    short
}
