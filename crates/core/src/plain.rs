//! Plain keys: those of whom a few bits say all that decides, so that most verifies need not look at the whole record.
//!
//! A [`PlainKey`] can only say "surely accepted". Whatever it does not say, [`crate::decision::decide`] decides about the
//! record that [`PlainKey::record`] makes of it again, and tests hold them together: what is surely accepted here is
//! accepted there, for every record and every question, and the record is the one it was made of. It knows no refusal.

use crate::access::{Access, Permission};
use crate::condition::{AddressRule, Conditions};
use crate::decision::{OrganizationClaim, OrganizationState, Purpose, Question};
use crate::ids::{KeyId, OrganizationId};
use crate::level::PermissionLevel;
use crate::operation::LevelAnswer;
use crate::record::KeyRecord;
use crate::scope::ScopeSet;
use crate::state::{KeyState, SecretLife};
use crate::time::Timestamp;

/// 2020-01-01T00:00:00Z in Unix milliseconds, from which expiries are counted.
const BASE_MS: i64 = 1_577_836_800_000;
const EXPIRY_BITS: u32 = 41;
/// Of a key that does not expire. One bit less than it is in 2089.
const NEVER: u64 = (1 << EXPIRY_BITS) - 1;
const SCOPE_BITS: u32 = 3;

/// What a plain key may do, and until when: everything that decides about it but its ids and its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlainKey {
    /// From the lowest bit on: milliseconds of the expiry after the base, scopes, level.
    bits: u64,
}

impl PlainKey {
    /// How many of the lowest bits of [`PlainKey::to_bits`] are used.
    pub const BITS: u32 = EXPIRY_BITS + SCOPE_BITS + 2;

    /// The plain form of an active key with this secret, without any condition but an expiry and without rules; `None`
    /// for every other key, and for one that expires before 2020 or after 2089.
    pub fn of(record: &KeyRecord, life: SecretLife) -> Option<Self> {
        let conditions = &record.conditions;
        let level = match record.access.permission() {
            Permission::Full => 0,
            Permission::ReadOnly => 1,
            Permission::LabelerOnly => 2,
            Permission::Restricted(_) => return None,
        };
        let is_plain = record.state == KeyState::Active
            && life == SecretLife::Current
            && conditions.not_before.is_none()
            && conditions.addresses == AddressRule::Anywhere
            && conditions.rate_limit.is_none();
        if !is_plain {
            return None;
        }
        let expiry = match conditions.expires_at {
            None => NEVER,
            Some(end) => u64::try_from(end.as_unix_ms().checked_sub(BASE_MS)?)
                .ok()
                .filter(|ms| *ms < NEVER)?,
        };
        let access = u64::from(record.access.scopes().bits()) | (level << SCOPE_BITS);
        Some(Self {
            bits: expiry | (access << EXPIRY_BITS),
        })
    }

    /// The key in [`PlainKey::BITS`] bits.
    pub const fn to_bits(self) -> u64 {
        self.bits
    }

    /// The key that these bits were made of; higher ones are passed over.
    pub const fn from_bits(bits: u64) -> Self {
        Self {
            bits: bits & ((1 << Self::BITS) - 1),
        }
    }

    /// The record that this was made of, with what it does not hold itself. Never `None` for what [`PlainKey::of`] made.
    pub fn record(self, id: KeyId, organization_id: OrganizationId, version: i64) -> Option<KeyRecord> {
        let permission = match self.level() {
            PermissionLevel::Full => Permission::Full,
            PermissionLevel::ReadOnly => Permission::ReadOnly,
            PermissionLevel::LabelerOnly => Permission::LabelerOnly,
            PermissionLevel::Restricted => return None,
        };
        Some(KeyRecord {
            id,
            organization_id,
            version,
            state: KeyState::Active,
            access: Access::new(self.scopes(), permission).ok()?,
            conditions: Conditions {
                expires_at: (self.expiry() != NEVER).then(|| self.end()),
                ..Conditions::NONE
            },
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
            && (question.now < self.end() || self.expiry() == NEVER)
            && match question.purpose {
                Purpose::Identify => true,
                Purpose::Perform { operation, .. } => {
                    operation.scope_need().is_met_by(self.scopes())
                        && operation.at_level(self.level()) == LevelAnswer::Yes
                }
            }
    }

    /// Its scopes.
    pub fn scopes(self) -> ScopeSet {
        let bits = (self.bits >> EXPIRY_BITS) & ((1 << SCOPE_BITS) - 1);
        ScopeSet::from_bits(bits as u8).unwrap_or_default()
    }

    /// Its level.
    pub const fn level(self) -> PermissionLevel {
        match (self.bits >> (EXPIRY_BITS + SCOPE_BITS)) & 3 {
            0 => PermissionLevel::Full,
            1 => PermissionLevel::ReadOnly,
            2 => PermissionLevel::LabelerOnly,
            // Nothing makes these bits; and no level allows less by itself.
            _ => PermissionLevel::Restricted,
        }
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

    const fn expiry(self) -> u64 {
        self.bits & NEVER
    }

    /// The moment from which it is refused, of a key that expires.
    const fn end(self) -> Timestamp {
        Timestamp::from_unix_ms(BASE_MS + self.expiry() as i64)
    }
}
