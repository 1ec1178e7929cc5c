//! A management token's record: what decides about it, and beside it what only describes it.
//!
//! A token manages keys, people and settings of one organization over the network, within the rights that it was given;
//! it opens nothing that a secret key opens, and no secret key stands in for one. [`TokenRecord`] is what a sign-in reads
//! and what the seal of the token's digest is bound to: a row whose rights, end or state were changed by hand does not
//! open. A token's rights and end never change; who needs others makes another token.

use crate::canonical::Canonical;
use crate::ids::{OrganizationId, TokenId};
use crate::management_right::RightSet;
use crate::record::{Actor, KeyName};
use crate::time::Timestamp;

/// The stored state of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenState {
    /// Accepted, until its end.
    Active,
    /// Refused for ever.
    Deleted {
        /// Since when.
        at: Timestamp,
    },
}

impl TokenState {
    /// The name in the API and the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Deleted { .. } => "deleted",
        }
    }

    /// Whether the token ended for good.
    pub const fn is_deleted(self) -> bool {
        matches!(self, Self::Deleted { .. })
    }
}

/// What decides about a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// Its id.
    pub id: TokenId,
    /// The one organization that it manages.
    pub organization_id: OrganizationId,
    /// Raised with every write, under the row's lock.
    pub version: i64,
    /// What it may do.
    pub rights: RightSet,
    /// From when on it is refused; `None` is a token without an end.
    pub expires_at: Option<Timestamp>,
    /// The stored state.
    pub state: TokenState,
}

impl TokenRecord {
    /// The associated data that the token's digest is sealed to: every field that decides, in one unambiguous form.
    pub fn seal_binding(&self) -> Vec<u8> {
        let deleted_at = match self.state {
            TokenState::Active => None,
            TokenState::Deleted { at } => Some(at.as_unix_ms()),
        };
        Canonical::new("keyward sealed management token v1")
            .text(self.organization_id.as_str())
            .bytes(self.id.as_bytes())
            .number(self.version)
            .text(&self.rights.to_text())
            .optional_number(self.expires_at.map(Timestamp::as_unix_ms))
            .text(self.state.name())
            .optional_number(deleted_at)
            .finish()
    }

    /// Whether the token's time is over; the moment itself is already over.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| now >= end)
    }
}

/// A token as its owners see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What decides.
    pub record: TokenRecord,
    /// What people call it; need not be unique.
    pub name: KeyName,
    /// Who made it.
    pub created_by: Actor,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last accepted, to about a minute.
    pub last_used_at: Option<Timestamp>,
    /// Head and tail of its text.
    pub hint: String,
}

impl Token {
    /// The state as it is shown at `now`: `active`, `expired` or `deleted`.
    pub fn shown_state(&self, now: Timestamp) -> &'static str {
        match self.record.state {
            TokenState::Active if self.record.is_over(now) => "expired",
            state => state.name(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::management_right::ManagementRight;

    #[test]
    fn every_field_that_decides_is_bound() {
        let record = TokenRecord {
            id: "0123456789abcdef".parse().unwrap(),
            organization_id: "org-1".parse().unwrap(),
            version: 1,
            rights: RightSet::NONE.with(ManagementRight::KeysRead),
            expires_at: None,
            state: TokenState::Active,
        };
        let at = Timestamp::from_unix_ms(0);
        let others = [
            TokenRecord {
                id: "0123456789abcdee".parse().unwrap(),
                ..record.clone()
            },
            TokenRecord {
                organization_id: "org-2".parse().unwrap(),
                ..record.clone()
            },
            TokenRecord {
                version: 2,
                ..record.clone()
            },
            TokenRecord {
                rights: record.rights.with(ManagementRight::KeysWrite),
                ..record.clone()
            },
            TokenRecord {
                expires_at: Some(at),
                ..record.clone()
            },
            TokenRecord {
                state: TokenState::Deleted { at },
                ..record.clone()
            },
        ];
        let mut bindings: HashSet<Vec<u8>> = others.iter().map(TokenRecord::seal_binding).collect();
        bindings.insert(record.seal_binding());
        assert_eq!(bindings.len(), others.len() + 1);
    }

    #[test]
    fn a_token_ends_at_its_end_and_not_before() {
        let end = Timestamp::from_unix_ms(1_000);
        let record = TokenRecord {
            id: "0123456789abcdef".parse().unwrap(),
            organization_id: "org-1".parse().unwrap(),
            version: 1,
            rights: RightSet::NONE,
            expires_at: Some(end),
            state: TokenState::Active,
        };
        assert!(!record.is_over(end.plus_ms(-1)));
        assert!(record.is_over(end));
    }
}
