//! When keys were last used, as lists and pages show it: what the database knows, and what is counted here and not written
//! there yet. Refused requests and questions that count as no use are no uses.

use std::collections::HashMap;

use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::time::Timestamp;
use keyward_store::StoreError;
use keyward_store::usage::last_uses;
use keyward_store::uses::SecretUse;

use crate::Engine;

/// The uses of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUse {
    /// The last use of any of its secrets.
    pub last_used_at: Timestamp,
    /// Each secret that was ever used, by number.
    pub secrets: Vec<SecretUse>,
}

fn merge(uses: &mut HashMap<(KeyId, i64), SecretUse>, one: SecretUse) {
    match uses.entry((one.key_id, one.number)) {
        std::collections::hash_map::Entry::Occupied(mut known) => {
            let known = known.get_mut();
            known.first_used_at = known.first_used_at.min(one.first_used_at);
            if known.last_used_at < one.last_used_at {
                known.last_used_at = one.last_used_at;
                known.last = one.last;
            }
        }
        std::collections::hash_map::Entry::Vacant(place) => {
            place.insert(one);
        }
    }
}

impl Engine {
    /// When these keys of an organization were last used; a key that is not in the answer was never used.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn last_uses(
        &self,
        organization: &OrganizationId,
        keys: &[KeyId],
    ) -> Result<HashMap<KeyId, KeyUse>, StoreError> {
        // Memory first: what is written between the two looks is found in the database.
        let counted: Vec<_> = keys.iter().flat_map(|key| self.counted_of(*key)).collect();
        let mut uses = HashMap::new();
        for one in last_uses(counted.iter()) {
            if one.organization_id == *organization {
                merge(&mut uses, one);
            }
        }
        for one in self.inner.store.list_uses(organization, keys).await? {
            merge(&mut uses, one);
        }
        let mut found: HashMap<KeyId, KeyUse> = HashMap::new();
        for one in uses.into_values() {
            let last_used_at = one.last_used_at;
            let key = found.entry(one.key_id).or_insert_with(|| KeyUse {
                last_used_at,
                secrets: Vec::new(),
            });
            key.last_used_at = key.last_used_at.max(last_used_at);
            key.secrets.push(one);
        }
        for key in found.values_mut() {
            key.secrets.sort_unstable_by_key(|one| one.number);
        }
        Ok(found)
    }
}
