//! What an organization prescribes for its keys, read when a key is made or edited.

use keyward_core::edit_key::Pickers;
use keyward_core::ids::OrganizationId;
use keyward_core::new_key::CreationPolicy;

use crate::Engine;
use crate::error::EngineError;

impl Engine {
    /// The policy for keys of an organization.
    ///
    /// # Errors
    /// [`EngineError::NotFound`].
    pub(crate) async fn creation_policy(
        &self,
        organization: &OrganizationId,
    ) -> Result<CreationPolicy, EngineError> {
        let found = self.show_organization(organization).await?;
        Ok(found.settings.creation_policy())
    }

    /// Whether the organization shows the pickers of scopes and level.
    ///
    /// # Errors
    /// [`EngineError::NotFound`].
    pub(crate) async fn pickers(&self, organization: &OrganizationId) -> Result<Pickers, EngineError> {
        Ok(self.show_organization(organization).await?.settings.pickers())
    }
}
