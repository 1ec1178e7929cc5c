//! The one way in which an existing key is changed: marked, in one transaction, applied, then answered.
//!
//! Runs in a task of its own, so that a client that disconnects at any point leaves either no change or a change that
//! every verify knows. The mark stays until the outcome is known: after a commit whose answer was lost, the row is
//! asked (its lock waits for a commit that is still under way) until the database says what happened.

use std::sync::Arc;
use std::time::Duration;

use keyward_core::audit::{Detail, Event};
use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::record::{Key, KeyRecord};
use keyward_core::time::Timestamp;
use keyward_store::StoreError;
use keyward_store::keys::StoredKey;

use crate::Engine;
use crate::cache::CachedKey;
use crate::clock::SystemRandom;
use crate::context::Context;
use crate::error::EngineError;
use crate::sealing;

/// How long a caller waits for a write whose outcome is not known; the write itself goes on.
const CALLER_PATIENCE: Duration = Duration::from_secs(20);
const RETRY_EVERY: Duration = Duration::from_millis(500);

/// What a write wants to do with the key as it found it.
pub(crate) enum Plan {
    /// The state that was asked for is there already; it is applied and confirmed all the same.
    Reached,
    /// Change it.
    Change(Change),
    /// It does not fit.
    Refuse(EngineError),
}

/// A change of what decides about a key.
pub(crate) struct Change {
    /// The record as it shall be; the version is raised here.
    pub(crate) record: KeyRecord,
    /// The audit action.
    pub(crate) action: &'static str,
    /// The audit facts.
    pub(crate) detail: Detail,
    /// What to do where the seals of the key do not open.
    pub(crate) broken_seals: BrokenSeals,
}

/// What to do where a key's seals do not open.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum BrokenSeals {
    /// Change nothing.
    Refuse,
    /// End the key for good, and wipe what is left of its seals.
    Wipe,
}

/// A key after a write.
#[derive(Debug, Clone)]
pub struct Written {
    /// The key as it is now.
    pub key: Key,
    /// Whether this call changed it, or found it so.
    pub is_changed: bool,
    /// Nodes that confirmed the change.
    pub confirmed: u32,
    /// Nodes that were waited out.
    pub waited_out: u32,
    /// How long was waited for them, in milliseconds.
    pub waited_ms: u64,
}

impl Engine {
    /// Changes a key by a plan made from what is found under the row's lock.
    ///
    /// # Errors
    /// [`EngineError`]; after `OutcomeUnknown` the write goes on, and asking again is safe.
    pub(crate) async fn write_key(
        &self,
        context: Context,
        organization: OrganizationId,
        id: KeyId,
        plan: impl FnOnce(&StoredKey, Timestamp) -> Plan + Send + 'static,
    ) -> Result<Written, EngineError> {
        let engine = self.clone();
        let task = self.inner.tasks.spawn(async move { engine.write_marked(context, organization, id, plan).await });
        match tokio::time::timeout(CALLER_PATIENCE, task).await {
            Ok(Ok(outcome)) => outcome,
            // The task goes on; a panic in it leaves the mark, and the key is read through.
            Ok(Err(_)) | Err(_) => Err(EngineError::OutcomeUnknown),
        }
    }

    async fn write_marked(
        &self,
        context: Context,
        organization: OrganizationId,
        id: KeyId,
        plan: impl FnOnce(&StoredKey, Timestamp) -> Plan + Send,
    ) -> Result<Written, EngineError> {
        if !self.inner.right.is_held() {
            return Err(EngineError::Unavailable(StoreError::NotTheWriter));
        }
        let mark = self.inner.cache.mark(id);
        let attempt = self.attempt(&context, &organization, id, plan).await;
        let outcome = match attempt {
            Err(EngineError::OutcomeUnknown) => self.settle(&organization, id).await,
            other => other,
        };
        if !matches!(outcome, Err(EngineError::OutcomeUnknown)) {
            self.inner.cache.unmark(mark);
        }
        outcome
    }

    async fn attempt(
        &self,
        context: &Context,
        organization: &OrganizationId,
        id: KeyId,
        plan: impl FnOnce(&StoredKey, Timestamp) -> Plan + Send,
    ) -> Result<Written, EngineError> {
        let _sealing = self.inner.sealing.read().await;
        let keyring = self.keyring();
        let now = self.now();
        let mut tx = self.inner.store.begin().await?;
        let Some(mut stored) = tx.lock_key(organization, id).await? else {
            tx.rollback().await?;
            return Err(EngineError::NotFound("secret key"));
        };
        let change = match plan(&stored, now) {
            Plan::Reached => {
                tx.rollback().await?;
                return Ok(self.apply(stored, false));
            }
            Plan::Refuse(error) => {
                tx.rollback().await?;
                return Err(error);
            }
            Plan::Change(change) => change,
        };
        let was = stored.key.record.clone();
        let record = KeyRecord { version: was.version + 1, ..change.record };
        let secrets = match sealing::reseal(&keyring, &was, &record, &stored.secrets, &mut SystemRandom) {
            Err(EngineError::SealBroken) if change.broken_seals == BrokenSeals::Wipe => {
                tracing::error!(key.id = %id, "ALARM: a key whose seals do not open is ended and wiped");
                self.inner.metrics.alarms.increment(1);
                sealing::wiped(&stored.secrets)
            }
            other => other?,
        };
        tx.update_key(&record, was.version, &secrets, now).await?;
        let event = Event {
            actor: context.actor.to_string(),
            action: change.action,
            target: format!("key/{id}"),
            request_id: context.request_id.to_string(),
            detail: change.detail,
        };
        tx.record_key_write(&record, &event, self.inner.right.epoch(), now).await?;
        tx.commit().await?;
        stored.key.record = record;
        stored.key.updated_at = now;
        stored.secrets = secrets;
        Ok(self.apply(stored, true))
    }

    /// Finds out what became of a commit whose answer was lost.
    async fn settle(&self, organization: &OrganizationId, id: KeyId) -> Result<Written, EngineError> {
        loop {
            match self.read_settled(organization, id).await {
                Ok(Some(stored)) => return Ok(self.apply(stored, true)),
                Ok(None) => return Err(EngineError::NotFound("secret key")),
                Err(error) => tracing::warn!(key.id = %id, %error, "the outcome of a write is not known yet"),
            }
            tokio::select! {
                () = self.inner.stop.cancelled() => return Err(EngineError::OutcomeUnknown),
                () = tokio::time::sleep(RETRY_EVERY) => {}
            }
        }
    }

    async fn read_settled(
        &self,
        organization: &OrganizationId,
        id: KeyId,
    ) -> Result<Option<StoredKey>, StoreError> {
        let mut tx = self.inner.store.begin().await?;
        let stored = tx.lock_key(organization, id).await?;
        tx.rollback().await?;
        Ok(stored)
    }

    /// Makes the committed state what verifies read, and describes it.
    fn apply(&self, stored: StoredKey, is_changed: bool) -> Written {
        let key = stored.key.clone();
        let id = key.record.id;
        match sealing::open_live(&self.keyring(), stored) {
            Ok(cached) => self.inner.cache.apply(Arc::new(cached)),
            Err(refused) => {
                self.alarm(id, refused);
                // Ordered after everything older, and matching no secret: a late fill can't bring the key back.
                let blank = CachedKey::new(key.record.clone(), keyward_core::decision::OrganizationState::Stopped, Vec::new(), true);
                self.inner.cache.apply(Arc::new(blank));
                self.inner.cache.forget(id);
            }
        }
        Written { key, is_changed, confirmed: 1, waited_out: 0, waited_ms: 0 }
    }
}
