//! Delete a key: for good, with a reason, and true when the call returns.
//!
//! A second delete finds the state reached and does the same tombstone again, so that a caller whose first answer was
//! lost can make sure. The first reason stays.

use keyward_core::audit::Detail;
use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::record::KeyRecord;
use keyward_core::state::{DeleteReason, KeyState};

use crate::Engine;
use crate::context::Context;
use crate::error::EngineError;
use crate::key_write::{BrokenSeals, Change, Plan};

pub use crate::key_write::Written;

impl Engine {
    /// Deletes a key.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn delete_key(
        &self,
        context: Context,
        organization: OrganizationId,
        id: KeyId,
        reason: DeleteReason,
    ) -> Result<Written, EngineError> {
        self.write_key(context, organization, id, move |stored, now| {
            let record = &stored.key.record;
            if record.state.is_deleted() {
                return Plan::Reached;
            }
            Plan::Change(Change {
                record: KeyRecord { state: KeyState::Deleted { reason, at: now }, ..record.clone() },
                action: "key.delete",
                detail: Detail::new().fact("reason", reason.name()).fact("was", record.state.name()),
                broken_seals: BrokenSeals::Wipe,
            })
        })
        .await
    }
}
