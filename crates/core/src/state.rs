//! The states of a key and of a secret, as they are stored.
//!
//! `expired` is not stored: it follows from the conditions and the time. A deleted key is never brought back; no
//! function here leads out of [`KeyState::Deleted`].

use crate::time::Timestamp;

/// Why a key is paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PauseReason {
    /// Somebody paused it.
    Requested,
    /// It came back with a restored backup and is held until somebody looks at it.
    Restored,
}

/// Why a key was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeleteReason {
    /// Not needed any more.
    Removed,
    /// Its value leaked.
    Compromised,
    /// Another key took its place.
    Replaced,
    /// Its creator left.
    CreatorLeft,
    /// Nobody used it.
    Unused,
    /// Something else.
    Other,
}

/// The stored state of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyState {
    /// Usable, within its conditions.
    Active,
    /// Refused until somebody resumes it.
    Paused {
        /// Why.
        reason: PauseReason,
    },
    /// Refused for ever.
    Deleted {
        /// Why.
        reason: DeleteReason,
        /// When.
        at: Timestamp,
    },
}

macro_rules! named {
    ($type:ident { $($variant:ident => $name:literal),+ $(,)? }) => {
        impl $type {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name in the API and the database.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// The value of that name.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.name() == name)
            }
        }
    };
}
named!(PauseReason { Requested => "requested", Restored => "restored" });
named!(DeleteReason {
    Removed => "removed",
    Compromised => "compromised",
    Replaced => "replaced",
    CreatorLeft => "creator_left",
    Unused => "unused",
    Other => "other",
});

impl KeyState {
    /// The state's name in the API and the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused { .. } => "paused",
            Self::Deleted { .. } => "deleted",
        }
    }

    /// Whether the key ended for good.
    pub const fn is_deleted(self) -> bool {
        matches!(self, Self::Deleted { .. })
    }

    /// The reason's name, where the state has one.
    pub const fn reason(self) -> Option<&'static str> {
        match self {
            Self::Active => None,
            Self::Paused { reason } => Some(reason.name()),
            Self::Deleted { reason, .. } => Some(reason.name()),
        }
    }
}

/// The life of one secret of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SecretLife {
    /// The key's current secret.
    Current,
    /// Rotated out, and still accepted before this moment.
    Until(Timestamp),
    /// Made by a rotation that takes effect with its first use: accepted before this moment, and dropped then unless it was
    /// used.
    Pending {
        /// When it is dropped.
        until: Timestamp,
        /// For how long the old secret stays after the first use of this one, in milliseconds.
        grace_ms: i64,
    },
    /// Rotated out and not accepted; kept to tell its holder so.
    Ended,
}

impl SecretLife {
    /// Whether the secret has been replaced for good at `now`.
    pub fn is_superseded(self, now: Timestamp) -> bool {
        match self {
            Self::Current => false,
            Self::Until(end) | Self::Pending { until: end, .. } => now >= end,
            Self::Ended => true,
        }
    }

    /// Whether the secret is stored as one that may still be accepted, whatever the time says.
    pub const fn is_live(self) -> bool {
        !matches!(self, Self::Ended)
    }

    /// The name in the API and the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Until(_) => "until",
            Self::Pending { .. } => "pending",
            Self::Ended => "ended",
        }
    }

    /// When it ends by itself, if it does.
    pub const fn ends_at(self) -> Option<Timestamp> {
        match self {
            Self::Until(end) | Self::Pending { until: end, .. } => Some(end),
            Self::Current | Self::Ended => None,
        }
    }
}
