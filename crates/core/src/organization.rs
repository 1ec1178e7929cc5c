//! What an organization prescribes for itself: its settings, and how they are read and checked.
//!
//! No setting widens a key: [`OrganizationSettings::advanced_access_control`] only says whether pages offer the pickers,
//! and a longest life binds keys that are made or edited from then on. Sending to contacts is done elsewhere.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::contact::SecurityContact;
use crate::edit_key::Pickers;
use crate::environment::Environment;
use crate::field::FieldProblems;
use crate::new_key::CreationPolicy;
use crate::rotation::{RotationPolicy, ScheduleChoice, ScheduleOverride};
use crate::time::{DAY_MS, duration_words};

/// Shortest and longest of a longest life.
pub const LIFETIME_BOUNDS_MS: (i64, i64) = (DAY_MS, 3_650 * DAY_MS);
/// Fewest and most days between rotations.
pub const ROTATION_BOUNDS_DAYS: (u32, u32) = (1, 3_650);
/// Fewest and most days for which uses of keys are kept.
pub const USAGE_RETENTION_BOUNDS_DAYS: (u32, u32) = (1, 3_650);
/// For how many days they are kept if nobody says otherwise.
pub const USAGE_RETENTION_DAYS: u32 = 400;
/// Most security contacts.
pub const MAX_CONTACTS: usize = 20;

/// When keys of an environment are due for rotation, in place of the environment's preset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RotationRule {
    /// So many days after the last one.
    EveryDays(u32),
    /// As needed: there is no due date.
    AsNeeded,
}

/// An organization's settings. Stored as JSON; what an older row does not say has its default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OrganizationSettings {
    /// Whether pages offer the pickers of scopes and levels. Decides nothing about any key.
    pub advanced_access_control: bool,
    /// The longest life of keys in milliseconds; `None` leaves it open.
    pub max_key_lifetime_ms: Option<i64>,
    /// What differs from the environments' presets.
    pub rotation_policy: BTreeMap<Environment, RotationRule>,
    /// Who is told when a key is compromised.
    pub security_contacts: Vec<SecurityContact>,
    /// For how many days it is kept who used which key.
    pub usage_retention_days: u32,
    /// Whether Owners and Admins need a second factor to use their sessions. Binds neither management tokens nor whoever can
    /// open the socket on the machine.
    pub second_factor_required: bool,
}

impl Default for OrganizationSettings {
    fn default() -> Self {
        Self {
            advanced_access_control: true,
            max_key_lifetime_ms: None,
            rotation_policy: BTreeMap::new(),
            security_contacts: Vec::new(),
            usage_retention_days: USAGE_RETENTION_DAYS,
            second_factor_required: false,
        }
    }
}

impl OrganizationSettings {
    /// Notes every problem of the settings as a whole; single values were parsed before.
    pub fn check(&self, problems: &mut FieldProblems) {
        let (shortest, longest) = LIFETIME_BOUNDS_MS;
        if self
            .max_key_lifetime_ms
            .is_some_and(|ms| !(shortest..=longest).contains(&ms))
        {
            problems.add(
                "max_key_lifetime_ms",
                format!(
                    "must be from {} to {} ({shortest} to {longest}), or null for no limit",
                    duration_words(shortest),
                    duration_words(longest)
                ),
            );
        }
        let (fewest, most) = ROTATION_BOUNDS_DAYS;
        for (environment, rule) in &self.rotation_policy {
            if let RotationRule::EveryDays(days) = rule
                && !(fewest..=most).contains(days)
            {
                problems.add(
                    format!("rotation_policy.{}", environment.name()),
                    format!("must be {fewest} to {most} days, or null for no due date"),
                );
            }
        }
        let (fewest, most) = USAGE_RETENTION_BOUNDS_DAYS;
        if !(fewest..=most).contains(&self.usage_retention_days) {
            problems.add(
                "usage_retention_days",
                format!("must be {fewest} to {most} days, or null for {USAGE_RETENTION_DAYS}"),
            );
        }
        if self.security_contacts.len() > MAX_CONTACTS {
            problems.add("security_contacts", format!("at most {MAX_CONTACTS} contacts"));
            return;
        }
        for (at, contact) in self.security_contacts.iter().enumerate() {
            if self
                .security_contacts
                .iter()
                .take(at)
                .any(|earlier| earlier == contact)
            {
                problems.add(
                    format!("security_contacts[{at}].address"),
                    "is there already; name each contact once",
                );
            }
        }
    }

    /// What the settings prescribe for keys that are made or edited.
    pub fn creation_policy(&self) -> CreationPolicy {
        let rules = self.rotation_policy.iter();
        let rotation = rules.fold(RotationPolicy::NONE, |policy, (environment, rule)| {
            let proposal = match rule {
                RotationRule::EveryDays(days) => ScheduleOverride::Every(i64::from(*days) * DAY_MS),
                RotationRule::AsNeeded => ScheduleOverride::AsNeeded,
            };
            policy.with(*environment, Some(proposal))
        });
        CreationPolicy {
            max_lifetime_ms: self.max_key_lifetime_ms,
            rotation,
        }
    }

    /// Whether the pickers of scopes and level are shown.
    pub const fn pickers(&self) -> Pickers {
        if self.advanced_access_control {
            Pickers::Shown
        } else {
            Pickers::Hidden
        }
    }

    /// After how long a key of `environment` is due for rotation if nobody says otherwise; `None` as needed.
    pub fn rotate_every_ms(&self, environment: Environment) -> Option<i64> {
        self.creation_policy()
            .rotation
            .rotate_every_ms(ScheduleChoice::Proposed, Some(environment))
    }
}
