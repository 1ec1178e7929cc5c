//! A key's record: everything that decides about it, and beside it what only describes it.
//!
//! [`KeyRecord`] is what a decision reads and what a seal is bound to; [`Key`] adds name, creator and the like.
//! Changing a field of the first without sealing anew makes the record unopenable, on purpose.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::access::Access;
use crate::canonical::Canonical;
use crate::condition::{AddressRule, Conditions};
use crate::environment::Environment;
use crate::ids::{KeyId, OrganizationId, PersonId, TokenId};
use crate::rotation::DueStatus;
use crate::state::{KeyState, SecretLife};
use crate::tag::Tags;
use crate::time::Timestamp;

/// What decides about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// The key's id.
    pub id: KeyId,
    /// The one organization it belongs to.
    pub organization_id: OrganizationId,
    /// Raised by one with every write, under the row's lock; orders what caches hear.
    pub version: i64,
    /// The stored state.
    pub state: KeyState,
    /// Scopes and permission.
    pub access: Access,
    /// Conditions.
    pub conditions: Conditions,
}

impl KeyRecord {
    /// The associated data that secret `number` is sealed to: every field that decides, in one unambiguous form.
    pub fn seal_binding(&self, number: i64, life: SecretLife) -> Vec<u8> {
        let (state_at, life_end) = (
            match self.state {
                KeyState::Deleted { at, .. } => Some(at.as_unix_ms()),
                KeyState::Active | KeyState::Paused { .. } => None,
            },
            life.ends_at().map(Timestamp::as_unix_ms),
        );
        let mut bytes = Canonical::new("keyward sealed key v1")
            .text(self.organization_id.as_str())
            .bytes(self.id.as_bytes())
            .number(self.version)
            .number(number)
            .text(life.name())
            .optional_number(life_end);
        if let SecretLife::Pending { grace_ms, .. } = life {
            bytes = bytes.number(grace_ms);
        }
        bytes = bytes
            .text(self.state.name())
            .text(self.state.reason().unwrap_or_default())
            .optional_number(state_at)
            .number(i64::from(self.access.scopes().bits()))
            .text(self.access.permission().level().name());
        let rules = self.access.permission().rules();
        bytes = bytes.number(rules.len() as i64);
        for rule in rules {
            bytes = bytes.number(rule.operations.len() as i64);
            for operation in &rule.operations {
                bytes = bytes.text(&operation.to_string());
            }
            bytes = bytes.number(rule.resources.len() as i64);
            for resource in &rule.resources {
                bytes = bytes.text(&resource.to_string());
            }
        }
        let conditions = &self.conditions;
        bytes = bytes
            .optional_number(conditions.not_before.map(Timestamp::as_unix_ms))
            .optional_number(conditions.expires_at.map(Timestamp::as_unix_ms));
        bytes = match &conditions.addresses {
            AddressRule::Anywhere => bytes.text("anywhere"),
            AddressRule::Only(networks) => networks.iter().fold(
                bytes.text("only").number(networks.len() as i64),
                |bytes, network| bytes.text(&network.to_string()),
            ),
        };
        bytes
            .optional_number(conditions.rate_limit.map(|limit| i64::from(limit.requests)))
            .optional_number(conditions.rate_limit.map(|limit| i64::from(limit.per_ms)))
            .finish()
    }
}

/// A key as its owners see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// What decides.
    pub record: KeyRecord,
    /// What people call it; need not be unique.
    pub name: KeyName,
    /// A longer text, empty if there is none.
    pub description: String,
    /// Where it is used; `None` is shown as None.
    pub environment: Option<Environment>,
    /// Who made it.
    pub created_by: Actor,
    /// Who answers for it since its creator handed it over; `None` is the creator still.
    pub responsible: Option<PersonId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Words to find it by.
    pub tags: Tags,
    /// Milliseconds between rotations; `None` as needed.
    pub rotate_every_ms: Option<i64>,
    /// When its current secret took the place of another one; `None` if it is the first.
    pub rotated_at: Option<Timestamp>,
    /// Head and tail of its current secret.
    pub hint: String,
}

/// What a list shows as a key's state at a moment: the stored state, and what time makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShownState {
    /// Usable.
    Active,
    /// Paused.
    Paused,
    /// Past its expiry.
    Expired,
    /// Deleted.
    Deleted,
}

impl ShownState {
    /// The name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Expired => "expired",
            Self::Deleted => "deleted",
        }
    }
}

impl Key {
    /// When its secret is to be rotated.
    pub fn rotation_due_at(&self) -> Option<Timestamp> {
        let every_ms = self.rotate_every_ms?;
        Some(self.rotated_at.unwrap_or(self.created_at).plus_ms(every_ms))
    }

    /// How it stands to its next rotation; an ended key is never due.
    pub fn due_status(&self, now: Timestamp) -> DueStatus {
        match self.shown_state(now) {
            ShownState::Active | ShownState::Paused => DueStatus::of(self.rotation_due_at(), now),
            ShownState::Expired | ShownState::Deleted => DueStatus::NotDue,
        }
    }

    /// The state as it is shown at `now`, in the order in which refusals are checked.
    pub fn shown_state(&self, now: Timestamp) -> ShownState {
        match self.record.state {
            KeyState::Deleted { .. } => ShownState::Deleted,
            KeyState::Paused { .. } => ShownState::Paused,
            KeyState::Active if self.record.conditions.is_over(now) => ShownState::Expired,
            KeyState::Active => ShownState::Active,
        }
    }
}

/// A key's name: 1 to 100 characters without control characters, not blank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyName(String);

/// The text is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a name is 1 to 100 characters, not only spaces, without control characters")]
pub struct NameRefused;

/// Longest name, in characters.
pub const MAX_NAME: usize = 100;

/// Checks a name of anything that people name.
///
/// # Errors
/// [`NameRefused`].
pub fn check_name(text: &str) -> Result<(), NameRefused> {
    let is_good = text.chars().any(|c| !c.is_whitespace() && !is_invisible(c))
        && text.chars().count() <= MAX_NAME
        && !text.chars().any(is_disruptive);
    if is_good { Ok(()) } else { Err(NameRefused) }
}

/// Control characters, and marks that reorder what is shown around them: a text of one key must not be able to
/// disguise its neighbours.
pub(crate) fn is_disruptive(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

/// Characters of no width: a name of nothing else would be a row without a name.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{3164}')
}

impl KeyName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyName {
    type Err = NameRefused;
    fn from_str(text: &str) -> Result<Self, NameRefused> {
        check_name(text).map(|()| Self(text.to_owned()))
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Who did something: a person, a key through the resource API, a management token, the operator on the machine, or
/// Keyward itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Actor {
    /// A member of an organization.
    Person(PersonId),
    /// A secret key.
    Key(KeyId),
    /// A management token.
    Token(TokenId),
    /// Whoever may use the data folder's socket.
    LocalAdministrator,
    /// A background job.
    System,
}

impl fmt::Display for Actor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Person(id) => write!(formatter, "person/{id}"),
            Self::Key(id) => write!(formatter, "key/{id}"),
            Self::Token(id) => write!(formatter, "token/{id}"),
            Self::LocalAdministrator => formatter.write_str("local_administrator"),
            Self::System => formatter.write_str("system"),
        }
    }
}

/// The text names no actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an actor is person/ID, key/ID, token/ID, local_administrator or system")]
pub struct ActorRefused;

impl FromStr for Actor {
    type Err = ActorRefused;
    fn from_str(text: &str) -> Result<Self, ActorRefused> {
        match (text, text.split_once('/')) {
            ("local_administrator", _) => Ok(Self::LocalAdministrator),
            ("system", _) => Ok(Self::System),
            (_, Some(("person", id))) => id.parse().map(Self::Person).map_err(|_| ActorRefused),
            (_, Some(("key", id))) => id.parse().map(Self::Key).map_err(|_| ActorRefused),
            (_, Some(("token", id))) => id.parse().map(Self::Token).map_err(|_| ActorRefused),
            _ => Err(ActorRefused),
        }
    }
}

impl TryFrom<String> for Actor {
    type Error = ActorRefused;
    fn try_from(text: String) -> Result<Self, ActorRefused> {
        text.parse()
    }
}

impl From<Actor> for String {
    fn from(actor: Actor) -> Self {
        actor.to_string()
    }
}
