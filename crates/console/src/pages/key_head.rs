//! What every page about one key begins with: its place, its name, how it stands.
//!
//! [`subject`] reads the key of the path; that it is the organization's own is the engine's to find, which is asked with both.

use keyward_core::ids::KeyId;
use keyward_core::record::{Key, ShownState};
use keyward_core::rotation::DueStatus;
use keyward_core::state::{DeleteReason, KeyState, PauseReason};
use keyward_core::time::Timestamp;
use keyward_engine::show_keys::ShownSecret;

use crate::call::Call;
use crate::refused::Refused;
use crate::visit::Visit;

/// A word about a state, with its tone: a class of the stylesheet, which never says more than the word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Badge {
    pub(super) text: &'static str,
    pub(super) tone: &'static str,
}

/// Place, name and state.
pub(super) struct KeyHead {
    pub(super) id: String,
    pub(super) name: String,
    /// The address of the key's page; those of its other pages begin with it.
    pub(super) url: String,
    /// The address of all keys.
    pub(super) keys_url: String,
    pub(super) badges: Vec<Badge>,
}

/// The id in the path.
///
/// # Errors
/// [`Refused::NotFound`].
pub(super) fn subject(call: &Call) -> Result<KeyId, Refused> {
    call.path("key").parse().map_err(|_| Refused::NotFound)
}

impl Badge {
    pub(super) const fn new(text: &'static str, tone: &'static str) -> Self {
        Self { text, tone }
    }
}

impl KeyHead {
    pub(super) fn of(visit: &Visit, key: &Key, secrets: &[ShownSecret], now: Timestamp) -> Self {
        Self {
            id: key.record.id.to_string(),
            name: key.name.to_string(),
            url: visit.url(&format!("settings/secret-keys/{}", key.record.id)),
            keys_url: visit.url("settings/secret-keys"),
            badges: badges(key, secrets, now),
        }
    }
}

fn badges(key: &Key, secrets: &[ShownSecret], now: Timestamp) -> Vec<Badge> {
    let state = match key.shown_state(now) {
        ShownState::Active if key.record.conditions.is_early(now) => Badge::new("Not valid yet", "warn"),
        ShownState::Active => Badge::new("Active", "ok"),
        ShownState::Paused => match key.record.state {
            KeyState::Paused {
                reason: PauseReason::Restored,
            } => Badge::new("Held after a restore", "warn"),
            _ => Badge::new("Paused", "warn"),
        },
        ShownState::Expired => Badge::new("Expired", "warn"),
        ShownState::Deleted => Badge::new(
            match key.record.state {
                KeyState::Deleted { reason, .. } => ended_word(reason),
                _ => "Deleted",
            },
            "danger",
        ),
    };
    let mut badges = vec![state];
    if key.record.state.is_deleted() {
        return badges;
    }
    if is_rotating(secrets, now) {
        badges.push(Badge::new("Rotating", "ok"));
    }
    match key.due_status(now) {
        DueStatus::NotDue => {}
        DueStatus::DueSoon => badges.push(Badge::new("Rotation due soon", "warn")),
        DueStatus::Due => badges.push(Badge::new("Rotation due", "warn")),
        DueStatus::Overdue => badges.push(Badge::new("Rotation overdue", "danger")),
    }
    badges
}

/// Whether two secrets of the key live.
pub(super) fn is_rotating(secrets: &[ShownSecret], now: Timestamp) -> bool {
    let live = secrets
        .iter()
        .filter(|secret| secret.life.is_live() && !secret.life.is_superseded(now));
    live.count() > 1
}

const fn ended_word(reason: DeleteReason) -> &'static str {
    match reason {
        DeleteReason::Compromised => "Revoked as compromised",
        DeleteReason::Replaced => "Replaced",
        DeleteReason::Removed | DeleteReason::CreatorLeft | DeleteReason::Unused | DeleteReason::Other => {
            "Deleted"
        }
    }
}

/// Why a key ended, to go on after "because".
pub(super) const fn reason_words(reason: DeleteReason) -> &'static str {
    match reason {
        DeleteReason::Removed => "it was not needed any more",
        DeleteReason::Compromised => "its value was compromised",
        DeleteReason::Replaced => "another key took its place",
        DeleteReason::CreatorLeft => "whoever made it left",
        DeleteReason::Unused => "nobody used it",
        DeleteReason::Other => "of another reason",
    }
}
