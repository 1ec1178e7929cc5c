//! List and show organizations and their people, as those who may see them do.

use keyward_core::ids::{OrganizationId, PersonId};
use keyward_store::members::{Member, Membership};
use keyward_store::organizations::Organization;

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

    /// Ids of organizations after a position; for the operator on the machine only.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn list_organization_ids(
        &self,
        after: &str,
        limit: u32,
    ) -> Result<Page<OrganizationId>, EngineError> {
        let rows = self
            .inner
            .store
            .list_organization_ids(after, i64::from(limit) + 1)
            .await?;
        Ok(Page::cut(rows, limit, ToString::to_string))
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

    /// The first people of an organization.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn list_members(&self, organization: &OrganizationId) -> Result<Vec<Member>, EngineError> {
        Ok(self
            .inner
            .store
            .list_members(organization, "", MAX_MEMBERS)
            .await?)
    }

    /// People of an organization after a position, in the order of their ids.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn list_members_after(
        &self,
        organization: &OrganizationId,
        after: &str,
        limit: u32,
    ) -> Result<Page<Member>, EngineError> {
        let limit_and_one = i64::from(limit) + 1;
        let rows = self.inner.store.list_members(organization, after, limit_and_one);
        Ok(Page::cut(rows.await?, limit, |member| {
            member.person_id.to_string()
        }))
    }

    /// One of the people of an organization.
    ///
    /// # Errors
    /// [`EngineError::NotFound`].
    pub async fn show_member(
        &self,
        organization: &OrganizationId,
        person: &PersonId,
    ) -> Result<Member, EngineError> {
        let found = self.inner.store.find_member(organization, person).await?;
        found.ok_or(EngineError::NotFound("member"))
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
