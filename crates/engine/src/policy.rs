//! What an organization prescribes for its keys, read when a key is made or edited.

use keyward_core::field::FieldProblem;
use keyward_core::ids::OrganizationId;
use keyward_core::record::{Actor, KeyRecord};
use keyward_core::time::Timestamp;
use keyward_store::Tx;
use keyward_store::organizations::Organization;

use crate::Engine;
use crate::error::EngineError;
use crate::standing::confirm_key_writer;

impl Engine {
    /// The organization, unless it was deleted: nothing new is made in it until it is restored.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::Conflict`].
    pub(crate) async fn undeleted_organization(
        &self,
        id: &OrganizationId,
    ) -> Result<Organization, EngineError> {
        let found = self.show_organization(id).await?;
        if found.deletion.is_some() {
            return Err(EngineError::Conflict(
                "the organization is deleted; restore it first".to_owned(),
            ));
        }
        Ok(found)
    }
}

/// Makes sure, in the transaction that makes a key, that it may be made: the policy may have changed since it was read, and
/// whoever makes the key may have been removed or given another role. A person stays in theirs until the transaction ends, so that no
/// key of somebody who was removed appears after the removal.
///
/// # Errors
/// [`EngineError::NotFound`], [`EngineError::Invalid`], [`EngineError::Conflict`] for a deleted organization and another role.
pub(crate) async fn confirm_creation(
    tx: &mut Tx,
    actor: &Actor,
    record: &KeyRecord,
    now: Timestamp,
) -> Result<(), EngineError> {
    let id = &record.organization_id;
    confirm_key_writer(tx, id, actor).await?;
    let found = tx.find_organization(id).await?;
    let organization = found.ok_or(EngineError::NotFound("organization"))?;
    if organization.deletion.is_some() {
        return Err(EngineError::Conflict(
            "the organization is deleted; restore it before you make keys".to_owned(),
        ));
    }
    let policy = organization.settings.creation_policy();
    match policy.problem_of_end(record.conditions.expires_at, now) {
        None => Ok(()),
        Some(message) => Err(EngineError::Invalid(vec![FieldProblem {
            field: "expires_at".to_owned(),
            message,
        }])),
    }
}
