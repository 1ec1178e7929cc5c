//! Delete an organization, and take that back: it is stopped at once, and purged 30 days later.
//!
//! Until then nothing of it is lost. A restored organization stays stopped, with its lock if it had one, until somebody
//! resumes it: no key comes alive by a deletion that was taken back. The purge itself is
//! [`crate::purge_organization`]'s.

use keyward_core::audit::Detail;
use keyward_core::field::FieldProblem;
use keyward_core::ids::OrganizationId;
use keyward_core::role::Role;
use keyward_core::time::{DAY_MS, Timestamp};
use keyward_store::organizations::{Organization, OrganizationDeletion};

use crate::Engine;
use crate::context::Context;
use crate::error::EngineError;
use crate::organization_write::{OrganizationChange, OrganizationPlan, OrganizationWritten};
use crate::standing::acting_role;

/// How long a deleted organization can be restored.
pub const RESTORABLE_MS: i64 = 30 * DAY_MS;

impl Engine {
    /// Deletes an organization; `confirmation` is its id once more. From now on every key of it is refused. One that is
    /// deleted already keeps its date.
    ///
    /// # Errors
    /// [`EngineError::Invalid`] for another confirmation, [`EngineError::Forbidden`] for whoever is no Owner.
    pub async fn delete_organization(
        &self,
        context: Context,
        id: OrganizationId,
        confirmation: &str,
    ) -> Result<OrganizationWritten, EngineError> {
        if confirmation != id.as_str() {
            return Err(EngineError::Invalid(vec![FieldProblem {
                field: "confirm".to_owned(),
                message: format!("must be the organization's id, `{id}`: everything in it ends"),
            }]));
        }
        self.require_owner(&context, &id).await?;
        let deleted_by = context.actor.clone();
        self.write_organization(context, id, move |found, now| {
            if found.deletion.is_some() && found.state.is_stopped() {
                return Ok(OrganizationPlan::Reached);
            }
            let deletion = OrganizationDeletion {
                deleted_by,
                deleted_at: now,
                purge_at: now.plus_ms(RESTORABLE_MS),
                purge_begun_at: None,
            };
            Ok(OrganizationPlan::Change(Box::new(OrganizationChange {
                action: "organization.delete",
                detail: Detail::new()
                    .fact("was", found.state.name())
                    .fact("purge_at_ms", deletion.purge_at.as_unix_ms()),
                organization: Organization {
                    state: found.state.stopped(),
                    deletion: Some(deletion),
                    ..found.clone()
                },
            })))
        })
        .await
    }

    /// Takes an organization's deletion back. It stays stopped until it is resumed.
    ///
    /// # Errors
    /// [`EngineError::Conflict`] once its time is over, [`EngineError::Forbidden`] for whoever is no Owner.
    pub async fn restore_organization(
        &self,
        context: Context,
        id: OrganizationId,
    ) -> Result<OrganizationWritten, EngineError> {
        self.require_owner(&context, &id).await?;
        self.write_organization(context, id, move |found, now| {
            let Some(deletion) = &found.deletion else {
                return Ok(OrganizationPlan::Reached);
            };
            if is_over(deletion, now) {
                return Err(EngineError::Conflict(
                    "the 30 days are over and the organization is being purged; it can't be restored"
                        .to_owned(),
                ));
            }
            Ok(OrganizationPlan::Change(Box::new(OrganizationChange {
                action: "organization.restore",
                detail: Detail::new().fact("is", found.state.name()),
                organization: Organization {
                    deletion: None,
                    ..found.clone()
                },
            })))
        })
        .await
    }

    async fn require_owner(&self, context: &Context, id: &OrganizationId) -> Result<(), EngineError> {
        let mut tx = self.inner.store.begin().await?;
        let acting = acting_role(&mut tx, id, &context.actor).await?;
        tx.rollback().await?;
        if acting == Role::Owner {
            return Ok(());
        }
        Err(EngineError::Forbidden(
            "only an Owner may delete or restore an organization".to_owned(),
        ))
    }
}

/// Whether an organization is purged at `now` and can't be restored any more.
pub(crate) fn is_over(deletion: &OrganizationDeletion, now: Timestamp) -> bool {
    deletion.purge_begun_at.is_some() || now >= deletion.purge_at
}
