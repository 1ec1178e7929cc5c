//! Delete a key: for good, with a reason, and true when the call returns.
//!
//! A second delete finds the state reached and does the same tombstone again, so that a caller whose first answer was
//! lost can make sure. The first reason stays.

use keyward_core::audit::Detail;
use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::record::KeyRecord;
use keyward_core::state::{DeleteReason, KeyState};
use keyward_core::time::Timestamp;
use keyward_store::keys::StoredKey;

use crate::Engine;
use crate::context::Context;
use crate::error::EngineError;
use crate::key_write::{BrokenSeals, Change, Plan};
use crate::sealing::Seals;

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
        self.write_key(
            context,
            (organization, id),
            BrokenSeals::Wipe,
            move |stored, seals, now| {
                let record = &stored.key.record;
                // A row that says `deleted` and does not fit its seals could be put back as it was: it is ended here.
                if record.state.is_deleted() && seals == Seals::Intact {
                    return Plan::Reached;
                }
                Plan::Change(Box::new(deletion(stored, reason, now)))
            },
        )
        .await
    }
}

/// The change that ends a key.
pub(crate) fn deletion(stored: &StoredKey, reason: DeleteReason, now: Timestamp) -> Change {
    let record = &stored.key.record;
    let detail = Detail::new()
        .fact("reason", reason.name())
        .fact("was", record.state.name());
    let ended = KeyRecord {
        state: KeyState::Deleted { reason, at: now },
        ..record.clone()
    };
    Change::of_record(stored, ended, "key.delete", detail)
}
