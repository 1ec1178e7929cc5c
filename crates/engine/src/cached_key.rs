//! A key as verifies read it: the whole record with its live secrets, however the cache holds it.
//!
//! Where it is held and for how long, [`crate::cache`] decides.

use keyward_core::key_digest::{KeptDigest, KeyDigest};
use keyward_core::record::KeyRecord;
use keyward_core::rule::ResourcePattern;
use keyward_core::state::SecretLife;

use crate::organization_cell::OrganizationStanding;

/// What the allocator takes beside what it gives.
const ALLOCATION: usize = 16;

/// A key as verifies read it.
#[derive(Debug)]
pub struct CachedKey {
    /// What decides.
    pub record: KeyRecord,
    /// Its organization as it stood when the key was read; of a key that was put together from memory, a standing that is
    /// news to nobody. Whoever decides asks the cache, which knows newer ones.
    pub organization: OrganizationStanding,
    /// The live secrets: at most two.
    pub secrets: Vec<CachedSecret>,
    /// Whether ended secrets exist, which are read only when the live ones did not match.
    pub has_ended_secrets: bool,
}

/// One live secret of a cached key.
#[derive(Debug)]
pub struct CachedSecret {
    /// Its number within the key.
    pub number: i64,
    /// Current or ending.
    pub life: SecretLife,
    /// Its digest.
    pub digest: KeptDigest,
}

impl CachedSecret {
    /// Puts the parts together.
    pub const fn new(number: i64, life: SecretLife, digest: KeptDigest) -> Self {
        Self { number, life, digest }
    }
}

impl CachedKey {
    /// Puts the parts together.
    pub fn new(
        record: KeyRecord,
        organization: OrganizationStanding,
        secrets: Vec<CachedSecret>,
        has_ended_secrets: bool,
    ) -> Self {
        Self {
            record,
            organization,
            secrets,
            has_ended_secrets,
        }
    }

    /// The live secret that `presented` is of; every one is compared, in constant time.
    pub fn matching_secret(&self, presented: &KeyDigest) -> Option<&CachedSecret> {
        // Not `find`, which would stop at the first that matches.
        self.secrets.iter().fold(None, |found, secret| {
            if secret.digest.matches(presented) {
                Some(secret)
            } else {
                found
            }
        })
    }

    pub(crate) fn order(&self) -> Order {
        Order {
            is_ended: self.record.state.is_deleted(),
            version: self.record.version,
        }
    }

    /// About how many bytes of memory it takes where it is held whole, what it points to included.
    pub(crate) fn weight(&self) -> usize {
        let rules = self.record.access.permission().rules();
        let networks = match &self.record.conditions.addresses {
            keyward_core::condition::AddressRule::Anywhere => 0,
            keyward_core::condition::AddressRule::Only(networks) => ALLOCATION + size_of_val(&**networks),
        };
        let of_rules: usize = rules
            .iter()
            .map(|rule| {
                let ids: usize = rule.resources.iter().map(weight_of_pattern).sum();
                2 * ALLOCATION + size_of_val(&*rule.operations) + size_of_val(&*rule.resources) + ids
            })
            .sum();
        let secrets = ALLOCATION + size_of_val(&*self.secrets);
        // The two counts of an `Arc` come on top.
        2 * ALLOCATION + size_of::<Self>() + secrets + networks + size_of_val(rules) + of_rules
    }
}

fn weight_of_pattern(pattern: &ResourcePattern) -> usize {
    match pattern {
        ResourcePattern::One(_, id) => 2 * ALLOCATION + id.as_str().len(),
        ResourcePattern::Everything | ResourcePattern::AllOf(_) => 0,
    }
}

/// What a cache knows about a key's place in time. An end comes after every life, then the version counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Order {
    pub(crate) is_ended: bool,
    pub(crate) version: i64,
}
