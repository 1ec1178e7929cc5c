//! The permission levels as people choose them.
//!
//! The level alone does not decide: [`crate::access::Permission`] carries the rules of a restricted key with it, so
//! that "restricted without rules" can't be written down.

use serde::{Deserialize, Serialize};

/// How much a key may do within its scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PermissionLevel {
    /// Read and write.
    Full,
    /// View, no modification.
    ReadOnly,
    /// Create and modify annotations only (and read what is needed for it).
    LabelerOnly,
    /// What the key's own rules say.
    Restricted,
}

impl PermissionLevel {
    /// All four, in the order in which they are shown.
    pub const ALL: [Self; 4] = [Self::Full, Self::ReadOnly, Self::LabelerOnly, Self::Restricted];

    /// The name in the API and the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::ReadOnly => "read_only",
            Self::LabelerOnly => "labeler_only",
            Self::Restricted => "restricted",
        }
    }

    /// The words that people read.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Full => "Full",
            Self::ReadOnly => "Read Only",
            Self::LabelerOnly => "Labeler Only",
            Self::Restricted => "Restricted",
        }
    }

    /// The level of that name; `read-only` is the same as `read_only`, as people type both.
    pub fn from_name(name: &str) -> Option<Self> {
        let name = name.replace('-', "_");
        Self::ALL.into_iter().find(|level| level.name() == name)
    }
}
