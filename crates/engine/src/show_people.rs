//! What a person who is signed in belongs to.

use keyward_core::ids::PersonId;
use keyward_core::role::Role;
use keyward_store::organizations::Organization;

use crate::Engine;
use crate::error::EngineError;

/// Most that are shown.
const MAX_SHOWN: i64 = 100;

/// An organization, and what somebody is in it.
#[derive(Debug, Clone, PartialEq)]
pub struct OrganizationOfPerson {
    /// The organization.
    pub organization: Organization,
    /// Their role.
    pub role: Role,
}

impl Engine {
    /// The organizations that a person belongs to, by name; at most 100.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn organizations_of(
        &self,
        person: &PersonId,
    ) -> Result<Vec<OrganizationOfPerson>, EngineError> {
        let found = self.inner.store.list_organizations_of(person, MAX_SHOWN).await?;
        let mut all: Vec<_> = found
            .into_iter()
            .map(|(organization, role)| OrganizationOfPerson { organization, role })
            .collect();
        // Once more, because each database has an order of its own for letters.
        all.sort_by_cached_key(|one| (one.organization.name.to_lowercase(), one.organization.id.clone()));
        Ok(all)
    }
}
