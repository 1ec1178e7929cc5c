//! Replace a compromised key: the old one is deleted and a copy with a new id and value made, in one transaction.
//!
//! The copy is never wider than what it replaces, unless somebody asks for that by name. It has no history of the old one.

use keyward_core::edit_key::KeyEdit;
use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::state::DeleteReason;

use crate::Engine;
use crate::context::Context;
use crate::create_key::CreatedKey;
use crate::delete_key::deletion;
use crate::error::EngineError;
use crate::key_write::{Beside, BrokenSeals, Plan, Written};
use crate::once::{Attempt, Once};

/// The old key, and the one in its place.
#[derive(Debug)]
pub struct ReplacedKey {
    /// The old key, deleted as compromised.
    pub old: Written,
    /// The new one with its value.
    pub new: CreatedKey,
}

impl Engine {
    /// Replaces a key by a copy with `edit` laid over its settings.
    ///
    /// # Errors
    /// [`EngineError::Invalid`], [`EngineError::Conflict`] if the key is deleted, or was changed while this was asked.
    pub async fn replace_key(
        &self,
        context: Context,
        (organization, id): (OrganizationId, KeyId),
        edit: KeyEdit,
        attempt: Option<Attempt>,
    ) -> Result<Once<ReplacedKey>, EngineError> {
        let first = match self.begin_once(&context, &organization, attempt).await? {
            Once::Now(first) => first,
            Once::Before(repeated) => return Ok(Once::Before(repeated)),
        };
        let key = self.show_key(&organization, id).await?;
        if key.record.state.is_deleted() {
            self.confirm_found().await?;
            return Err(already_deleted());
        }
        let now = self.now();
        let settings = self.undeleted_organization(&organization).await?.settings;
        let new = edit
            .replacement(&key, (settings.creation_policy(), settings.pickers()), now)
            .map_err(EngineError::Invalid)?;
        let (rows, value) = self.new_rows(&context, &organization, new, now)?;
        let outcome = first
            .as_ref()
            .map(|first| first.outcome(self, rows.key.record.id, &value, now))
            .transpose()?;
        let created = rows.key.clone();
        let seen = key.record.version;
        let old = self
            .write_key(
                context,
                (organization, id),
                BrokenSeals::Refuse,
                move |stored, _, now| {
                    if stored.key.record.state.is_deleted() {
                        return Plan::Refuse(already_deleted());
                    }
                    if stored.key.record.version != seen {
                        return Plan::Refuse(EngineError::Conflict(
                            "the key was changed while it was about to be replaced; try again".to_owned(),
                        ));
                    }
                    let mut change = deletion(stored, DeleteReason::Compromised, now);
                    change.detail = change.detail.fact("replaced_by", rows.key.record.id.to_string());
                    change.beside = Beside {
                        replacement: Some(Box::new(rows)),
                        outcome,
                        first,
                    };
                    Plan::Change(Box::new(change))
                },
            )
            .await?;
        let new = CreatedKey { key: created, value };
        Ok(Once::Now(ReplacedKey { old, new }))
    }
}

fn already_deleted() -> EngineError {
    EngineError::Conflict(
        "the key was deleted already; make a new key with the settings that it had".to_owned(),
    )
}
