//! Plain keys: those of whom a few bytes say all that decides, so that most verifies need not look at the whole record.
//!
//! A [`PlainKey`] can only say "surely accepted". Whatever it does not say, [`crate::decision::decide`] decides, and tests
//! hold the two together: what is surely accepted here is accepted there, for every record and every question. It knows no
//! refusal.

use crate::condition::AddressRule;
use crate::decision::{OrganizationClaim, OrganizationState, Purpose, Question};
use crate::ids::OrganizationId;
use crate::level::PermissionLevel;
use crate::operation::LevelAnswer;
use crate::record::KeyRecord;
use crate::scope::ScopeSet;
use crate::state::{KeyState, SecretLife};
use crate::time::{SECOND_MS, Timestamp};

/// What a plain key may do, and until which second. Six bytes, and no more in an `Option`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlainKey {
    scopes: ScopeSet,
    level: PermissionLevel,
    /// Whole seconds of Unix time before which it has certainly not expired; bytes, so that nothing has to be aligned.
    certain_until_s: [u8; 4],
}

impl PlainKey {
    /// The plain form of an active key with this secret, without any condition but an expiry and without rules; `None`
    /// for every other key.
    pub fn of(record: &KeyRecord, life: SecretLife) -> Option<Self> {
        let conditions = &record.conditions;
        let level = record.access.permission().level();
        let is_plain = record.state == KeyState::Active
            && life == SecretLife::Current
            && level != PermissionLevel::Restricted
            && conditions.not_before.is_none()
            && conditions.addresses == AddressRule::Anywhere
            && conditions.rate_limit.is_none();
        is_plain.then(|| Self {
            scopes: record.access.scopes(),
            level,
            certain_until_s: conditions
                .expires_at
                .map_or(u32::MAX, whole_seconds)
                .to_le_bytes(),
        })
    }

    /// Whether the key, which belongs to an organization of this id and in this state, is accepted beyond doubt. `false`
    /// says nothing.
    pub fn surely_accepts(
        self,
        (organization, state): (&OrganizationId, OrganizationState),
        question: &Question<'_>,
    ) -> bool {
        state == OrganizationState::Open
            && self.is_claimed_rightly(organization, question.claim)
            && question.now < self.certain_until()
            && match question.purpose {
                Purpose::Identify => true,
                Purpose::Perform { operation, .. } => {
                    operation.scope_need().is_met_by(self.scopes)
                        && operation.at_level(self.level) == LevelAnswer::Yes
                }
            }
    }

    /// Its scopes.
    pub const fn scopes(self) -> ScopeSet {
        self.scopes
    }

    /// Its level.
    pub const fn level(self) -> PermissionLevel {
        self.level
    }

    fn is_claimed_rightly(self, organization: &OrganizationId, claim: OrganizationClaim<'_>) -> bool {
        match claim {
            OrganizationClaim::NotAsked => true,
            OrganizationClaim::Asked { header, path } => {
                header == Some(organization.as_str().as_bytes())
                    && path.is_none_or(|path| path == organization.as_str())
            }
        }
    }

    fn certain_until(self) -> Timestamp {
        Timestamp::from_unix_ms(i64::from(u32::from_le_bytes(self.certain_until_s)) * SECOND_MS)
    }
}

/// Rounded down, and never beyond what the number holds: the rest is decided by the record.
fn whole_seconds(end: Timestamp) -> u32 {
    u32::try_from(end.as_unix_ms().div_euclid(SECOND_MS).max(0)).unwrap_or(u32::MAX)
}
