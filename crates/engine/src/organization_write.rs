//! The one way in which what decides about an organization is changed: marked, in one transaction, applied, answered.
//!
//! As a write of a key ([`crate::key_write`]): in a task of its own, with a mark that stays until the outcome is known,
//! so that every verify of the organization's keys that begins after the answer knows the change. It is one row and one
//! cell, however many keys there are. An edit that decides nothing (a name, by the resource API) does not come through
//! here; it raises the version all the same, under the same row's lock.

use keyward_core::audit::{Detail, Event};
use keyward_core::ids::OrganizationId;
use keyward_core::time::Timestamp;
use keyward_store::StoreError;
use keyward_store::organizations::Organization;

use crate::Engine;
use crate::confirmations::Confirmed;
use crate::context::Context;
use crate::error::EngineError;
use crate::key_write::{ATTEMPT_PATIENCE, CALLER_PATIENCE, RETRY_EVERY};
use crate::organization_cell::{OrganizationMark, OrganizationStanding};

/// What to do with an organization's row that can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnreadableRow {
    /// Change nothing.
    Refuse,
    /// Put defaults in the place of what can't be read: nobody must be able to keep an organization from being stopped by
    /// spoiling its row.
    Mend,
}

/// What a write wants to do with the organization as it found it.
pub(crate) enum OrganizationPlan {
    /// What was asked for is there already; it is applied and confirmed all the same.
    Reached,
    /// Change it.
    Change(Box<OrganizationChange>),
}

/// A change of an organization.
pub(crate) struct OrganizationChange {
    /// The organization as it shall be; version and time of the change are set here.
    pub(crate) organization: Organization,
    /// The audit action.
    pub(crate) action: &'static str,
    /// The audit facts.
    pub(crate) detail: Detail,
}

/// An organization after a write.
#[derive(Debug, Clone)]
pub struct OrganizationWritten {
    /// The organization as it is now.
    pub organization: Organization,
    /// Whether this call changed it, or found it so.
    pub is_changed: bool,
    /// Who knows of it.
    pub known: Confirmed,
}

impl Engine {
    /// Changes an organization by a plan made from what is found under the row's lock; a plan that fails changes nothing.
    ///
    /// # Errors
    /// [`EngineError`]; after `OutcomeUnknown` the write goes on, and asking again is safe.
    pub(crate) async fn write_organization(
        &self,
        context: Context,
        id: OrganizationId,
        plan: impl FnOnce(&Organization, Timestamp) -> Result<OrganizationPlan, EngineError> + Send + 'static,
    ) -> Result<OrganizationWritten, EngineError> {
        self.write_organization_as(context, id, UnreadableRow::Refuse, plan)
            .await
    }

    /// As [`Engine::write_organization`], and says what is done with a row that can't be read.
    ///
    /// # Errors
    /// As there.
    pub(crate) async fn write_organization_as(
        &self,
        context: Context,
        id: OrganizationId,
        unreadable: UnreadableRow,
        plan: impl FnOnce(&Organization, Timestamp) -> Result<OrganizationPlan, EngineError> + Send + 'static,
    ) -> Result<OrganizationWritten, EngineError> {
        let engine = self.clone();
        let task = self.inner.tasks.spawn(async move {
            engine
                .write_marked_organization((&context, &id), unreadable, plan)
                .await
        });
        match tokio::time::timeout(CALLER_PATIENCE, task).await {
            Ok(Ok(outcome)) => outcome,
            // The task goes on; a panic in it leaves the mark, and the organization's keys are read through.
            Ok(Err(_)) | Err(_) => Err(EngineError::OutcomeUnknown),
        }
    }

    async fn write_marked_organization(
        &self,
        (context, id): (&Context, &OrganizationId),
        unreadable: UnreadableRow,
        plan: impl FnOnce(&Organization, Timestamp) -> Result<OrganizationPlan, EngineError> + Send,
    ) -> Result<OrganizationWritten, EngineError> {
        if !self.inner.right.is_held() {
            return Err(EngineError::Unavailable(StoreError::NotTheWriter));
        }
        let mark = self.inner.cache.mark_organization(id);
        let mut sent = None;
        let attempt = self.attempt_organization((context, id, unreadable), &mark, plan, &mut sent);
        let attempt = tokio::time::timeout(ATTEMPT_PATIENCE, attempt).await;
        let attempt = attempt.unwrap_or(Err(EngineError::Unavailable(StoreError::TimedOut)));
        let outcome = match (attempt, sent) {
            (Err(_), Some(sent)) => match self.settle_organization(id).await {
                Some(settled) => self.judge_organization(&mark, settled, &sent),
                // Still unknown: the mark stays.
                None => return Err(EngineError::OutcomeUnknown),
            },
            (outcome, _) => outcome,
        };
        self.inner.cache.unmark_organization(mark);
        let written = outcome?;
        let known = self.confirm().await;
        Ok(OrganizationWritten { known, ..written })
    }

    /// Tries the write once. What it is about to commit is put into `sent` just before: an error without it means that
    /// nothing was changed.
    async fn attempt_organization(
        &self,
        (context, id, unreadable): (&Context, &OrganizationId, UnreadableRow),
        mark: &OrganizationMark,
        plan: impl FnOnce(&Organization, Timestamp) -> Result<OrganizationPlan, EngineError> + Send,
        sent: &mut Option<Organization>,
    ) -> Result<OrganizationWritten, EngineError> {
        let now = self.now();
        let mut tx = self.inner.store.begin().await?;
        let found = match tx.lock_organization(id).await {
            Err(StoreError::Unreadable { what }) if unreadable == UnreadableRow::Mend => {
                tracing::error!(organization.id = %id, what, "ALARM: an organization whose row can't be read is stopped");
                self.inner.metrics.alarms.increment(1);
                tx.make_organization_readable(id).await?;
                tx.lock_organization(id).await?
            }
            found => found?,
        };
        let found = found.ok_or(EngineError::NotFound("organization"))?;
        let change = match plan(&found, now)? {
            OrganizationPlan::Reached => {
                tx.end_seen_by_standby().await?;
                return Ok(self.apply_organization(mark, found, false));
            }
            OrganizationPlan::Change(change) => change,
        };
        let mut organization = Organization {
            id: found.id,
            version: found.version,
            updated_at: now,
            ..change.organization
        };
        tx.update_organization(&organization).await?;
        organization.version += 1;
        let event = Event {
            actor: context.actor.to_string(),
            action: change.action,
            target: format!("organization/{id}"),
            request_id: context.request_id.to_string(),
            detail: change.detail,
        };
        let written = (id, organization.version);
        tx.record_organization_write(written, &event, self.inner.right.epoch(), now)
            .await?;
        *sent = Some(organization.clone());
        tx.commit().await?;
        Ok(self.apply_organization(mark, organization, true))
    }

    /// Finds out what became of a commit whose answer was lost; `None` if the engine stops before the database says.
    async fn settle_organization(&self, id: &OrganizationId) -> Option<Option<Organization>> {
        loop {
            match tokio::time::timeout(ATTEMPT_PATIENCE, self.read_settled_organization(id)).await {
                Ok(Ok(found)) => return Some(found),
                Ok(Err(error)) => {
                    tracing::warn!(organization.id = %id, %error, "the outcome of a write is not known yet");
                }
                Err(_) => tracing::warn!(organization.id = %id, "the outcome of a write is not known yet"),
            }
            tokio::select! {
                () = self.inner.stop.cancelled() => return None,
                () = tokio::time::sleep(RETRY_EVERY) => {}
            }
        }
    }

    async fn read_settled_organization(
        &self,
        id: &OrganizationId,
    ) -> Result<Option<Organization>, StoreError> {
        let mut tx = self.inner.store.begin().await?;
        let found = tx.lock_organization(id).await?;
        // What can be seen after a crash of the server may not be on its standby yet.
        tx.end_seen_by_standby().await?;
        Ok(found)
    }

    /// What is answered after a lost answer, by what is there now: under the row's lock nothing is under way any more.
    fn judge_organization(
        &self,
        mark: &OrganizationMark,
        settled: Option<Organization>,
        sent: &Organization,
    ) -> Result<OrganizationWritten, EngineError> {
        let found = settled.ok_or(EngineError::NotFound("organization"))?;
        let (is_done, is_earlier) = (found == *sent, found.version < sent.version);
        let written = self.apply_organization(mark, found, true);
        match (is_done, is_earlier) {
            (true, _) => Ok(written),
            (false, true) => Err(EngineError::Unavailable(StoreError::NotCommitted)),
            // Others wrote meanwhile, so that nobody can say.
            (false, false) => Err(EngineError::OutcomeUnknown),
        }
    }

    /// Makes the committed state what verifies read, and describes it.
    fn apply_organization(
        &self,
        mark: &OrganizationMark,
        organization: Organization,
        is_changed: bool,
    ) -> OrganizationWritten {
        let standing = OrganizationStanding {
            version: organization.version,
            state: organization.state,
        };
        self.inner.cache.apply_organization(mark, standing);
        OrganizationWritten {
            organization,
            is_changed,
            known: Confirmed::ALONE,
        }
    }
}
