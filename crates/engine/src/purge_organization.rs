//! Purge organizations whose 30 days are over: in small steps, each a transaction that others need not wait for.
//!
//! Keys are ended first, as any key is, so that whoever follows the feed hears of each; then the rows go, and the
//! organization last. Its audit trail stays, and a tombstone keeps its id from being given again. A purge that has begun
//! can't be taken back; one that was interrupted is finished by the next.

use std::sync::Weak;
use std::time::Duration;

use keyward_core::audit::{Detail, Event};
use keyward_core::ids::{OrganizationId, RequestId};
use keyward_core::random::RandomUnavailable;
use keyward_core::record::Actor;
use keyward_core::state::DeleteReason;
use keyward_core::time::Timestamp;
use keyward_core::usage::hour_of;
use keyward_store::organizations::OrganizationDeletion;
use keyward_store::{StoreError, Tx};
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::delete_organization::is_over;
use crate::error::EngineError;
use crate::{Engine, Inner};

/// How often is looked for what is due.
pub const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Organizations of one look.
const ORGANIZATIONS: i64 = 100;
/// Keys that are looked up, and removed, at a time.
const KEYS: i64 = 50;
/// Other rows that are removed at a time.
const ROWS: i64 = 500;

impl Engine {
    /// Purges the organizations that are due at `now`; which ones are gone. One that fails does not keep the others.
    ///
    /// # Errors
    /// The last failure; what was done stays done, and the next call goes on.
    pub async fn run_due_purges(&self, now: Timestamp) -> Result<Vec<OrganizationId>, EngineError> {
        // Two at once would do each other's work twice.
        let _alone = self.inner.purging.lock().await;
        let mut purged = Vec::new();
        let mut failed = None;
        for id in self.inner.store.list_due_purges(now, ORGANIZATIONS).await? {
            match self.purge(&id, now).await {
                Ok(true) => purged.push(id),
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(organization.id = %id, %error, "an organization could not be purged; it is tried again");
                    failed = Some(error);
                }
            }
        }
        match failed {
            None => Ok(purged),
            Some(error) => Err(error),
        }
    }

    /// Purges one organization; whether it is gone. It is not if it was restored meanwhile, or the engine stops.
    async fn purge(&self, id: &OrganizationId, now: Timestamp) -> Result<bool, EngineError> {
        if !self.inner.right.is_held() {
            return Err(EngineError::Unavailable(StoreError::NotTheWriter));
        }
        let request_id: RequestId = uuid::Uuid::now_v7()
            .simple()
            .to_string()
            .parse()
            .map_err(|_| RandomUnavailable)?;
        let context = Context::new(Actor::System, request_id);
        if !self.begin_purge(&context, id, now).await? {
            return Ok(false);
        }
        tracing::info!(organization.id = %id, "purging an organization begins");
        loop {
            if self.inner.stop.is_cancelled() {
                return Ok(false);
            }
            let living = self.inner.store.list_living_key_ids(id, "", KEYS).await?;
            for key in &living {
                let ended = self.delete_key(context.clone(), id.clone(), *key, DeleteReason::Other);
                match ended.await {
                    Ok(_) | Err(EngineError::NotFound(_)) => {}
                    Err(error) => return Err(error),
                }
                if self.inner.stop.is_cancelled() {
                    return Ok(false);
                }
            }
            if living.is_empty() && self.purge_some(&context, id, now).await? {
                tracing::info!(organization.id = %id, "an organization was purged");
                return Ok(true);
            }
        }
    }

    /// Marks an organization as being purged, if it is due; from then on it can't be restored.
    async fn begin_purge(
        &self,
        context: &Context,
        id: &OrganizationId,
        now: Timestamp,
    ) -> Result<bool, EngineError> {
        let mut tx = self.inner.store.begin().await?;
        let Some(mut organization) = tx.lock_organization(id).await? else {
            return Ok(false);
        };
        let Some(deletion) = organization.deletion.as_mut() else {
            return Ok(false);
        };
        if !is_over(deletion, now) {
            return Ok(false);
        }
        if deletion.purge_begun_at.is_some() {
            return Ok(true);
        }
        deletion.purge_begun_at = Some(now);
        let detail = detail_of(deletion);
        tx.update_organization(&organization).await?;
        tx.append_audit(
            id.as_str(),
            &event(context, id, "organization.begin_purge", detail),
            now,
        )
        .await?;
        tx.fence(self.inner.right.epoch()).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Removes some rows of an organization without a living key; whether that was the last of it.
    async fn purge_some(
        &self,
        context: &Context,
        id: &OrganizationId,
        now: Timestamp,
    ) -> Result<bool, EngineError> {
        let mut tx = self.inner.store.begin().await?;
        let Some(organization) = tx.lock_organization(id).await? else {
            return Ok(true);
        };
        let keys = tx.purge_ended_keys(id, KEYS).await?;
        let is_last = keys.is_empty() && tx.purge_rows(id, ROWS).await? == 0;
        if is_last {
            let detail = organization.deletion.as_ref().map_or_else(Detail::new, detail_of);
            tx.append_audit(
                id.as_str(),
                &event(context, id, "organization.purge", detail),
                now,
            )
            .await?;
            tx.finish_purge(id, now).await?;
        }
        self.commit_purge(tx).await?;
        for key in keys {
            // Without a row there is nothing to say of it any more, not even that it ended.
            self.inner.cache.forget(key);
        }
        Ok(is_last)
    }

    async fn commit_purge(&self, mut tx: Tx) -> Result<(), EngineError> {
        tx.fence(self.inner.right.epoch()).await?;
        Ok(tx.commit().await?)
    }
}

fn detail_of(deletion: &OrganizationDeletion) -> Detail {
    Detail::new()
        .fact("deleted_by", deletion.deleted_by.to_string())
        .fact("deleted_at_ms", deletion.deleted_at.as_unix_ms())
}

fn event(context: &Context, id: &OrganizationId, action: &'static str, detail: Detail) -> Event {
    Event {
        actor: context.actor.to_string(),
        action,
        target: format!("organization/{id}"),
        request_id: context.request_id.to_string(),
        detail,
    }
}

/// Looks for what is due until the engine stops or is dropped.
pub(crate) async fn keep_purging(engine: Weak<Inner>, stop: CancellationToken) {
    // The hour in which old uses were forgotten last.
    let mut forgotten_in = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let Some(inner) = engine.upgrade() else { return };
        let engine = Engine { inner };
        if engine.inner.right.is_held_first()
            && let Err(error) = engine.tell_rises().await
        {
            tracing::warn!(%error, "whether refusals of keys rise could not be looked at; it is tried again");
        }
        let hour = hour_of(engine.now());
        if engine.inner.right.is_held_first() && forgotten_in != Some(hour) {
            match engine.forget_old_usage(engine.now()).await {
                Ok(_) => forgotten_in = Some(hour),
                Err(error) => {
                    tracing::warn!(%error, "old uses of keys were not forgotten; it is tried again")
                }
            }
        }
        if engine.inner.right.is_held_first()
            && let Err(error) = engine.run_due_purges(engine.now()).await
        {
            tracing::warn!(%error, "what is due to be purged was not purged; it is tried again");
        }
    }
}
