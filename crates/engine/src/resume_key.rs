//! Pause and resume: the reversible end of a key, and the way out of it.
//!
//! Resuming also lets go of a key that a restored backup left held.

use keyward_core::audit::Detail;
use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::record::KeyRecord;
use keyward_core::state::{KeyState, PauseReason};
use keyward_store::keys::StoredKey;

use crate::Engine;
use crate::context::Context;
use crate::error::EngineError;
use crate::key_write::{BrokenSeals, Change, Plan, Written};

impl Engine {
    /// Pauses a key until it is resumed.
    ///
    /// # Errors
    /// [`EngineError::Conflict`] for a deleted key.
    pub async fn pause_key(
        &self,
        context: Context,
        organization: OrganizationId,
        id: KeyId,
    ) -> Result<Written, EngineError> {
        let paused = KeyState::Paused {
            reason: PauseReason::Requested,
        };
        self.set_state(context, organization, id, paused, "key.pause")
            .await
    }

    /// Resumes a paused or held key.
    ///
    /// # Errors
    /// [`EngineError::Conflict`] for a deleted key: it never comes back.
    pub async fn resume_key(
        &self,
        context: Context,
        organization: OrganizationId,
        id: KeyId,
    ) -> Result<Written, EngineError> {
        self.set_state(context, organization, id, KeyState::Active, "key.resume")
            .await
    }

    async fn set_state(
        &self,
        context: Context,
        organization: OrganizationId,
        id: KeyId,
        state: KeyState,
        action: &'static str,
    ) -> Result<Written, EngineError> {
        self.write_key(
            context,
            (organization, id),
            BrokenSeals::Refuse,
            move |stored, _, _| state_change(stored, state, action),
        )
        .await
    }
}

/// How a key gets from its state to `state`.
pub(crate) fn state_change(stored: &StoredKey, state: KeyState, action: &'static str) -> Plan {
    let record = &stored.key.record;
    match record.state {
        KeyState::Deleted { .. } => Plan::Refuse(EngineError::Conflict(
            "the key was deleted and never comes back; make a new one".to_owned(),
        )),
        same if same == state => Plan::Reached,
        was => {
            let detail = Detail::new()
                .fact("was", was.name())
                .fact("reason", was.reason())
                .fact("is", state.name());
            let changed = KeyRecord {
                state,
                ..record.clone()
            };
            Plan::Change(Box::new(Change::of_record(stored, changed, action, detail)))
        }
    }
}
