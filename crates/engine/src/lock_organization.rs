//! Lock an organization, and unlock it: every operation of its keys is refused, last, so that a key is told first what
//! else is wrong with it.
//!
//! A stop that is there stays. A repeated call finds the state reached and makes sure of it again.

use keyward_core::decision::OrganizationState;
use keyward_core::ids::OrganizationId;

use crate::Engine;
use crate::context::Context;
use crate::error::EngineError;
use crate::organization_write::UnreadableRow;
use crate::stop_organization::OrganizationWritten;

impl Engine {
    /// Locks an organization.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn lock_organization(
        &self,
        context: Context,
        id: OrganizationId,
    ) -> Result<OrganizationWritten, EngineError> {
        self.set_organization_state(
            context,
            (id, UnreadableRow::Refuse),
            OrganizationState::locked,
            "organization.lock",
        )
        .await
    }

    /// Unlocks an organization.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn unlock_organization(
        &self,
        context: Context,
        id: OrganizationId,
    ) -> Result<OrganizationWritten, EngineError> {
        self.set_organization_state(
            context,
            (id, UnreadableRow::Refuse),
            OrganizationState::unlocked,
            "organization.unlock",
        )
        .await
    }
}
