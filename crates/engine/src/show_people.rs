//! What a person who is signed in belongs to.

use keyward_core::ids::PersonId;
use keyward_core::role::Role;
use keyward_store::organizations::Organization;

use crate::Engine;
use crate::error::EngineError;

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
        todo!("{person}")
    }
}
