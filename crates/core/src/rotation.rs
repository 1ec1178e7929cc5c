//! Rotation: how a key's secret is replaced by another one, when that is due, and for how long the old one is accepted.
//!
//! Arithmetic alone. A rotation never lengthens a key's life: an old secret ends with its key at the latest. At most two
//! secrets of a key are alive at a time.

use serde::{Deserialize, Serialize};

use crate::environment::Environment;
use crate::field::FieldProblem;
use crate::state::SecretLife;
use crate::time::{DAY_MS, HOUR_MS, Timestamp, duration_words};

/// The longest time for which an old secret is accepted beside the new one.
pub const MAX_OVERLAP_MS: i64 = 30 * DAY_MS;
/// For how long an old secret is accepted if nobody says otherwise.
pub const DEFAULT_OVERLAP_MS: i64 = DAY_MS;
/// A new secret that is not used for so long is dropped, and the old one stays.
pub const UNUSED_SECRET_LIFE_MS: i64 = 30 * DAY_MS;
/// How many ended secrets of a key are kept, to tell their holders.
pub const KEPT_ENDED_SECRETS: usize = 10;
/// For how long an ended secret is kept.
pub const ENDED_SECRET_LIFE_MS: i64 = 400 * DAY_MS;
/// How long before a rotation is due it is called due soon.
pub const DUE_SOON_MS: i64 = 14 * DAY_MS;
/// For how long a rotation that is due is not yet called overdue.
pub const DUE_DAY_MS: i64 = 24 * HOUR_MS;
/// The shortest and the longest time between two rotations that can be asked for.
pub const ROTATE_EVERY_MS: std::ops::RangeInclusive<i64> = DAY_MS..=3_650 * DAY_MS;

/// How a rotation treats the old secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RotationMode {
    /// The old secret is refused from now on.
    Immediate,
    /// The old secret is accepted before this moment.
    Overlap {
        /// When it ends.
        until: Timestamp,
    },
    /// The old secret stays until the new one is used for the first time, and for this long after.
    OnFirstUse {
        /// Milliseconds.
        grace_ms: i64,
    },
}

impl RotationMode {
    /// The name in the API and the trail.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Immediate => "immediate",
            Self::Overlap { .. } => "overlap",
            Self::OnFirstUse { .. } => "on_first_use",
        }
    }

    /// Checks the mode of a rotation at `now` of a key that ends at `expires_at`.
    ///
    /// # Errors
    /// The problem of `until` or `grace`.
    pub fn check(self, expires_at: Option<Timestamp>, now: Timestamp) -> Result<Self, Vec<FieldProblem>> {
        let problem = |field: &str, message: String| {
            Err(vec![FieldProblem {
                field: field.to_owned(),
                message,
            }])
        };
        match self {
            Self::Overlap { until } if until <= now => problem(
                "until",
                "lies in the past; to end the old secret at once, use the mode `immediate`".to_owned(),
            ),
            Self::Overlap { until } if until > now.plus_ms(MAX_OVERLAP_MS) => problem(
                "until",
                format!("lies more than {} ahead", duration_words(MAX_OVERLAP_MS)),
            ),
            Self::Overlap { until } if expires_at.is_some_and(|end| until > end) => {
                problem("until", "lies after the end of the key itself".to_owned())
            }
            Self::OnFirstUse { grace_ms } if !(1..=MAX_OVERLAP_MS).contains(&grace_ms) => problem(
                "grace",
                format!(
                    "is more than nothing and at most {}",
                    duration_words(MAX_OVERLAP_MS)
                ),
            ),
            good => Ok(good),
        }
    }

    /// What the new and the old secret are from `now` on.
    pub fn lives(self, now: Timestamp) -> (SecretLife, SecretLife) {
        match self {
            Self::Immediate => (SecretLife::Current, SecretLife::Ended),
            Self::Overlap { until } => (SecretLife::Current, SecretLife::Until(until)),
            Self::OnFirstUse { grace_ms } => (
                SecretLife::Pending {
                    until: now.plus_ms(UNUSED_SECRET_LIFE_MS),
                    grace_ms,
                },
                SecretLife::Current,
            ),
        }
    }
}

/// What kind of rotation is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RotationChoice {
    /// This one.
    Mode(RotationMode),
    /// An overlap of a day, or until the key's own end if that comes before.
    UsualOverlap,
}

/// When the old secret ends after the new one was used for the first time: never later than the key.
pub fn end_of_grace(first_used_at: Timestamp, grace_ms: i64, expires_at: Option<Timestamp>) -> Timestamp {
    let end = first_used_at.plus_ms(grace_ms.clamp(0, MAX_OVERLAP_MS));
    expires_at.map_or(end, |key_end| end.min(key_end))
}

/// How a key stands to its next rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DueStatus {
    /// No date, or one far away.
    NotDue,
    /// Within the next 14 days.
    DueSoon,
    /// The date was reached within the last 24 hours.
    Due,
    /// The date is longer ago.
    Overdue,
}

impl DueStatus {
    /// Every status, the least urgent first.
    pub const ALL: [Self; 4] = [Self::NotDue, Self::DueSoon, Self::Due, Self::Overdue];

    /// The status at `now` of a rotation that is due at `due_at`.
    pub fn of(due_at: Option<Timestamp>, now: Timestamp) -> Self {
        match due_at {
            Some(due_at) if now >= due_at.plus_ms(DUE_DAY_MS) => Self::Overdue,
            Some(due_at) if now >= due_at => Self::Due,
            Some(due_at) if now >= due_at.plus_ms(-DUE_SOON_MS) => Self::DueSoon,
            _ => Self::NotDue,
        }
    }

    /// The due dates that have this status at `now`: from the first up to and without the second; `None` is open.
    pub fn dates(self, now: Timestamp) -> (Option<Timestamp>, Option<Timestamp>) {
        // One more millisecond each, because a date is reached at its moment and not after it.
        let (soon, today, past) = (
            now.plus_ms(DUE_SOON_MS + 1),
            now.plus_ms(1),
            now.plus_ms(1 - DUE_DAY_MS),
        );
        match self {
            Self::NotDue => (Some(soon), None),
            Self::DueSoon => (Some(today), Some(soon)),
            Self::Due => (Some(past), Some(today)),
            Self::Overdue => (None, Some(past)),
        }
    }

    /// The name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotDue => "not_due",
            Self::DueSoon => "due_soon",
            Self::Due => "due",
            Self::Overdue => "overdue",
        }
    }

    /// The status of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

/// What a request says of how often a key is to be rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScheduleChoice {
    /// Nothing: what the environment proposes.
    Proposed,
    /// No due date.
    AsNeeded,
    /// So often, in milliseconds.
    Every(i64),
}

/// An organization's own proposals for how often keys of an environment are rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RotationPolicy([Option<ScheduleOverride>; Environment::ALL.len()]);

/// A proposal that replaces the preset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleOverride {
    /// No due date.
    AsNeeded,
    /// So often, in milliseconds.
    Every(i64),
}

impl RotationPolicy {
    /// Nothing but the presets.
    pub const NONE: Self = Self([None; Environment::ALL.len()]);

    /// This policy with another proposal for `environment`; `None` goes back to the preset.
    #[must_use]
    pub fn with(mut self, environment: Environment, proposal: Option<ScheduleOverride>) -> Self {
        for (slot, of) in self.0.iter_mut().zip(Environment::ALL) {
            if of == environment {
                *slot = proposal;
            }
        }
        self
    }

    /// The organization's own proposal for `environment`, if it has one.
    pub fn own(&self, environment: Environment) -> Option<ScheduleOverride> {
        let position = Environment::ALL.iter().position(|of| *of == environment)?;
        self.0.get(position).copied().flatten()
    }

    /// Milliseconds between the rotations of a key, by what was asked for and its environment; `None` as needed.
    pub fn rotate_every_ms(&self, choice: ScheduleChoice, environment: Option<Environment>) -> Option<i64> {
        match (choice, environment) {
            (ScheduleChoice::Every(ms), _) => Some(ms),
            (ScheduleChoice::AsNeeded, _) | (ScheduleChoice::Proposed, None) => None,
            (ScheduleChoice::Proposed, Some(environment)) => match self.own(environment) {
                Some(ScheduleOverride::Every(ms)) => Some(ms),
                Some(ScheduleOverride::AsNeeded) => None,
                None => environment.preset().rotate_every_ms,
            },
        }
    }
}
