//! The environment that a key is meant for: a label with a preset, never a permission by itself.
//!
//! Absent means "no preset" and is shown as None.

use serde::{Deserialize, Serialize};

use crate::level::PermissionLevel;
use crate::scope::ScopeSet;
use crate::time::DAY_MS;

/// Where a key is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Environment {
    /// Serves users.
    Production,
    /// Tries out what production will get.
    Staging,
    /// On a developer's machine.
    Development,
    /// In pipelines.
    CiCd,
}

/// What creation proposes for an environment (R31-R39).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    /// The proposed level.
    pub level: PermissionLevel,
    /// The proposed scopes; none for pipelines, so that somebody has to choose.
    pub scopes: ScopeSet,
    /// Days between rotations in milliseconds; `None` as needed.
    pub rotate_every_ms: Option<i64>,
}

impl Environment {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Production, Self::Staging, Self::Development, Self::CiCd];

    /// The name in the API and the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Staging => "staging",
            Self::Development => "development",
            Self::CiCd => "ci_cd",
        }
    }

    /// The environment of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|environment| environment.name() == name)
    }

    /// What is proposed for a key of this environment.
    pub const fn preset(self) -> Preset {
        match self {
            Self::Production => Preset {
                level: PermissionLevel::Full,
                scopes: ScopeSet::ALL,
                rotate_every_ms: Some(90 * DAY_MS),
            },
            Self::Staging => Preset {
                level: PermissionLevel::Full,
                scopes: ScopeSet::ALL,
                rotate_every_ms: Some(180 * DAY_MS),
            },
            Self::Development => Preset {
                level: PermissionLevel::ReadOnly,
                scopes: ScopeSet::ALL,
                rotate_every_ms: None,
            },
            Self::CiCd => Preset {
                level: PermissionLevel::ReadOnly,
                scopes: ScopeSet::NONE,
                rotate_every_ms: Some(90 * DAY_MS),
            },
        }
    }
}
