//! Which keys of an organization are meant: the filter that lists, bulk operations and emergency stops share.
//!
//! An empty filter means every key. Each part narrows; several values of one part widen it again ("production or staging"). The
//! store turns it into SQL, and [`KeyFilter::admits`] says the same of a single key, so that a key can be looked at again under
//! its lock.

use serde::{Deserialize, Serialize};

use crate::environment::Environment;
use crate::ids::KeyId;
use crate::level::PermissionLevel;
use crate::record::{Actor, Key, ShownState};
use crate::rotation::DueStatus;
use crate::scope::Scope;
use crate::tag::Tag;
use crate::time::Timestamp;

/// Which keys are meant.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyFilter {
    /// These, if it is not empty.
    pub ids: Vec<KeyId>,
    /// In one of these states.
    pub states: Vec<ShownState>,
    /// Of one of these environments; `None` among them means keys without one.
    pub environments: Vec<Option<Environment>>,
    /// With each of these scopes.
    pub scopes: Vec<Scope>,
    /// Of one of these levels.
    pub levels: Vec<PermissionLevel>,
    /// Made by one of these.
    pub creators: Vec<Actor>,
    /// With one of these tags.
    pub tags: Vec<Tag>,
    /// At one of these points before or after their rotation is due.
    pub due: Vec<DueStatus>,
    /// Not used since then. A key that was never used counts from its creation, so that a new one is not called unused.
    pub unused_since: Option<Timestamp>,
    /// With this in name or description, whatever the capitals; or with this id.
    pub text: Option<String>,
    /// With a hint that begins so.
    pub hint_head: Option<String>,
    /// With a hint that ends so.
    pub hint_tail: Option<String>,
}

impl KeyFilter {
    /// Whether `key`, last used at `last_used_at`, is meant at `now`.
    pub fn admits(&self, key: &Key, last_used_at: Option<Timestamp>, now: Timestamp) -> bool {
        fn is_one_of<T: PartialEq>(wanted: &[T], own: &T) -> bool {
            wanted.is_empty() || wanted.contains(own)
        }
        let record = &key.record;
        is_one_of(&self.ids, &record.id)
            && is_one_of(&self.states, &key.shown_state(now))
            && is_one_of(&self.environments, &key.environment)
            && self
                .scopes
                .iter()
                .all(|scope| record.access.scopes().contains(*scope))
            && is_one_of(&self.levels, &record.access.permission().level())
            && is_one_of(&self.creators, &key.created_by)
            && (self.tags.is_empty() || key.tags.iter().any(|tag| self.tags.contains(tag)))
            && is_one_of(&self.due, &key.due_status(now))
            && self
                .unused_since
                .is_none_or(|since| last_used_at.unwrap_or(key.created_at) < since)
            && self.text.as_ref().is_none_or(|text| is_found(key, text))
            && self
                .hint_head
                .as_ref()
                .is_none_or(|head| key.hint.starts_with(head.as_str()))
            && self
                .hint_tail
                .as_ref()
                .is_none_or(|tail| key.hint.ends_with(tail.as_str()))
    }
}

fn is_found(key: &Key, text: &str) -> bool {
    let wanted = text.to_lowercase();
    search_text(key).contains(&wanted) || key.record.id.as_str() == wanted
}

/// What a search looks through. The name comes first, so that this sorts as the name does, whatever its capitals.
pub fn search_text(key: &Key) -> String {
    format!("{}\n{}", key.name, key.description).to_lowercase()
}

/// What a list is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeySort {
    /// By the moment of creation.
    #[default]
    Created,
    /// By name, whatever the capitals.
    Name,
    /// By last use; never used comes first.
    LastUsed,
    /// By expiry; without one comes last.
    Expires,
    /// By the date of the next rotation; without one comes last.
    Due,
}

impl KeySort {
    /// Every order.
    pub const ALL: [Self; 5] = [
        Self::Created,
        Self::Name,
        Self::LastUsed,
        Self::Expires,
        Self::Due,
    ];

    /// The name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Name => "name",
            Self::LastUsed => "last_used",
            Self::Expires => "expires",
            Self::Due => "due",
        }
    }

    /// The order of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|sort| sort.name() == name)
    }
}

/// In which direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// The smallest first.
    #[default]
    Ascending,
    /// The largest first.
    Descending,
}
