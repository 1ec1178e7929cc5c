//! List and show organizations and their people.

use keyward_core::ids::OrganizationId;
use keyward_store::organizations::{Member, Membership, Organization};

use crate::Engine;
use crate::error::EngineError;
use crate::show_keys::Page;

/// Most members that one answer shows.
const MAX_MEMBERS: i64 = 1_000;

impl Engine {
    /// One organization.
    ///
    /// # Errors
    /// [`EngineError::NotFound`].
    pub async fn show_organization(&self, id: &OrganizationId) -> Result<Organization, EngineError> {
        let found = self.inner.store.find_organization(id).await?;
        found.ok_or(EngineError::NotFound("organization"))
    }

    /// Organizations after a position; for the operator on the machine only.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn list_organizations(
        &self,
        after: &str,
        limit: u32,
    ) -> Result<Page<Organization>, EngineError> {
        let rows = self
            .inner
            .store
            .list_organizations(after, i64::from(limit) + 1)
            .await?;
        Ok(Page::cut(rows, limit, |organization| organization.id.to_string()))
    }

    /// The people of an organization.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn list_members(&self, organization: &OrganizationId) -> Result<Vec<Member>, EngineError> {
        Ok(self.inner.store.list_members(organization, MAX_MEMBERS).await?)
    }

    /// The memberships of whoever has this id or e-mail address: in one organization, or in all; at most two, which is
    /// enough to see that it is not one.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn memberships_of(
        &self,
        organization: Option<&OrganizationId>,
        person: &str,
    ) -> Result<Vec<Membership>, EngineError> {
        Ok(self.inner.store.find_memberships(organization, person, 2).await?)
    }
}
