//! What an organization looks like at a glance: how many keys, what needs a person, what was asked and refused lately.
//!
//! Everything here costs about the same with ten keys and with a hundred thousand: it comes from indexes, from the organization's
//! own sums, or ends at a number that is said.

use keyward_core::ids::{OrganizationId, PersonId};
use keyward_core::record::{Actor, Key};
use keyward_core::time::{DAY_MS, HOUR_MS};
use keyward_core::usage::{Outcome, hour_of};
use keyward_store::invitations::Invitation;
use keyward_store::overview_counts::KeyCount;
use keyward_store::usage_overview::{AddressPlace, SeenAddress};
use keyward_store::usage_queries::{Hours, Step, UsagePoint};

use crate::Engine;
use crate::error::EngineError;
use crate::remove_member::LivingKeys;
use crate::show_usage::Span;

/// After so many days without a use a key counts as unused here.
pub const UNUSED_DAYS: i64 = 90;
/// Unused keys are counted up to here.
pub const MOST_UNUSED: usize = 1_000;
/// Days of the curve.
const DAYS: i64 = 30;
/// Days in which an address counts as new.
const DAYS_OF_NEWS: i64 = 7;
/// Addresses that are named.
const MOST_ADDRESSES: i64 = 50;
/// Invitations that are named.
const MOST_INVITATIONS: i64 = 1_000;
/// Creators that are told apart.
const MOST_CREATORS: i64 = 10_000;

/// An organization at a glance.
#[derive(Debug, Clone)]
pub struct Overview {
    /// Keys by environment.
    pub keys: Vec<KeyCount>,
    /// Whether there ever was a key, deleted ones included.
    pub had_keys: bool,
    /// Living keys that nobody used for [`UNUSED_DAYS`] days, up to [`MOST_UNUSED`].
    pub unused: usize,
    /// Refused requests of the last 24 hours by code, the most frequent first.
    pub refused: Vec<(String, i64)>,
    /// Requests of the last 30 days, oldest first, without gaps.
    pub days: Vec<UsagePoint>,
    /// Addresses that a key was first used from in the last 7 days, where it had been used from elsewhere before.
    pub new_addresses: Vec<SeenAddress>,
    /// Invitations that can still be accepted.
    pub open_invitations: usize,
}

impl Engine {
    /// An organization at a glance.
    ///
    /// # Errors
    /// [`EngineError::NotFound`].
    pub async fn show_overview(&self, organization: &OrganizationId) -> Result<Overview, EngineError> {
        let now = self.now();
        // It settles what is only counted, for all that follows.
        let days = self
            .organization_series(organization, Span::last_days(DAYS - 1, now), Step::Day)
            .await?;
        let store = &self.inner.store;
        let keys = store.count_keys_by_environment(organization, now).await?;
        let had_keys = !keys.is_empty() || !store.list_keys(organization, "", 1).await?.is_empty();
        let hours = Hours {
            from: hour_of(now.plus_ms(-DAY_MS + HOUR_MS)),
            until: hour_of(now),
        };
        let mut refused: Vec<(String, i64)> = Vec::new();
        for sum in store.organization_sums(organization, hours).await? {
            if sum.outcome == Outcome::Accepted.name() {
                continue;
            }
            match refused.iter_mut().find(|(code, _)| *code == sum.outcome) {
                Some((_, uses)) => *uses += sum.uses,
                None => refused.push((sum.outcome, sum.uses)),
            }
        }
        refused.sort_by_key(|(_, uses)| std::cmp::Reverse(*uses));
        let since = now.plus_ms(-DAYS_OF_NEWS * DAY_MS);
        let addresses = store
            .new_addresses(organization, since, &AddressPlace::newest(), MOST_ADDRESSES)
            .await?;
        Ok(Overview {
            keys,
            had_keys,
            unused: self.count_unused(organization).await?,
            refused,
            days,
            new_addresses: addresses
                .into_iter()
                .filter(|seen| !seen.is_first_of_key)
                .collect(),
            open_invitations: self.list_open_invitations(organization).await?.len(),
        })
    }

    async fn count_unused(&self, organization: &OrganizationId) -> Result<usize, EngineError> {
        let since = self.now().plus_ms(-UNUSED_DAYS * DAY_MS);
        let store = &self.inner.store;
        let most = i64::try_from(MOST_UNUSED).unwrap_or(i64::MAX);
        let used = store.keys_unused_since(organization, since, None, most).await?;
        let missing = most - i64::try_from(used.len()).unwrap_or(most);
        if missing == 0 {
            return Ok(used.len());
        }
        let never = store.keys_never_used(organization, since, None, missing).await?;
        Ok(used.len() + never.len())
    }

    /// Invitations that can still be accepted, the newest first.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn list_open_invitations(
        &self,
        organization: &OrganizationId,
    ) -> Result<Vec<Invitation>, EngineError> {
        Ok(self
            .inner
            .store
            .list_open_invitations(organization, self.now(), MOST_INVITATIONS)
            .await?)
    }

    /// How many living keys each of those made who made any.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn count_keys_by_creator(
        &self,
        organization: &OrganizationId,
    ) -> Result<Vec<(Actor, i64)>, EngineError> {
        let store = &self.inner.store;
        Ok(store.count_keys_by_creator(organization, MOST_CREATORS).await?)
    }

    /// The living keys that a member answers for: what somebody decides about who removes them.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn keys_of_member(
        &self,
        organization: &OrganizationId,
        person: &PersonId,
    ) -> Result<LivingKeys, EngineError> {
        let store = &self.inner.store;
        let count = store.count_keys_of_person(organization, person).await?;
        let keys: Vec<Key> = store
            .list_keys_of_person(organization, person, crate::remove_member::MAX_LISTED)
            .await?;
        Ok(LivingKeys {
            count: u64::try_from(count).unwrap_or_default(),
            keys,
        })
    }
}
