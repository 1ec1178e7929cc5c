//! Stop an organization as a whole, and resume it: one row, true when the call returns, however many keys there are.
//!
//! A stop ends nothing: every key counts as paused until the organization is resumed, and keeps its own state. A lock
//! that is there stays. A repeated call finds the state reached and makes sure of it again.

use keyward_core::audit::Detail;
use keyward_core::decision::OrganizationState;
use keyward_core::ids::OrganizationId;
use keyward_store::organizations::Organization;

use crate::Engine;
use crate::context::Context;
use crate::error::EngineError;
use crate::organization_write::{OrganizationChange, OrganizationPlan, UnreadableRow};

pub use crate::organization_write::OrganizationWritten;

impl Engine {
    /// Stops an organization: from now on every key of it is refused as paused.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn stop_organization(
        &self,
        context: Context,
        id: OrganizationId,
    ) -> Result<OrganizationWritten, EngineError> {
        self.set_organization_state(
            context,
            (id, UnreadableRow::Mend),
            OrganizationState::stopped,
            "organization.stop",
        )
        .await
    }

    /// Resumes a stopped organization.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn resume_organization(
        &self,
        context: Context,
        id: OrganizationId,
    ) -> Result<OrganizationWritten, EngineError> {
        self.set_organization_state(
            context,
            (id, UnreadableRow::Refuse),
            OrganizationState::resumed,
            "organization.resume",
        )
        .await
    }

    /// Writes the state that `change` makes of the one that is found.
    pub(crate) async fn set_organization_state(
        &self,
        context: Context,
        (id, unreadable): (OrganizationId, UnreadableRow),
        change: fn(OrganizationState) -> OrganizationState,
        action: &'static str,
    ) -> Result<OrganizationWritten, EngineError> {
        self.write_organization_as(context, id, unreadable, move |found, _| {
            let state = change(found.state);
            if found.deletion.is_some() && !state.is_stopped() {
                return Err(EngineError::Conflict(
                    "the organization is deleted; restore it before you resume it".to_owned(),
                ));
            }
            if state == found.state {
                return Ok(OrganizationPlan::Reached);
            }
            Ok(OrganizationPlan::Change(Box::new(OrganizationChange {
                organization: Organization {
                    state,
                    ..found.clone()
                },
                action,
                detail: Detail::new()
                    .fact("was", found.state.name())
                    .fact("is", state.name()),
            })))
        })
        .await
    }
}
