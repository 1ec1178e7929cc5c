//! The one way in which an existing key is changed: marked, in one transaction, applied, then answered.
//!
//! Runs in a task of its own, so that a client that disconnects at any point leaves either no change or a change that
//! every verify knows. The mark stays until the outcome is known: after a commit whose answer was lost, the row is
//! asked (its lock waits for a commit that is still under way) until the database says what happened, and only a write
//! that did take effect is answered as one.

use std::sync::Arc;
use std::time::Duration;

use keyward_core::audit::{Detail, Event};
use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::record::{Key, KeyRecord};
use keyward_core::time::Timestamp;
use keyward_store::keys::StoredKey;
use keyward_store::{StoreError, Tx};

use crate::Engine;
use crate::cache::CachedKey;
use crate::clock::SystemRandom;
use crate::context::Context;
use crate::error::EngineError;
use crate::sealing::{self, Seals};

/// How long a caller waits for a write whose outcome is not known; the write itself goes on.
pub(crate) const CALLER_PATIENCE: Duration = Duration::from_secs(20);
/// How long a write may take until the answer to its commit; a database that is silent for longer is asked anew.
pub(crate) const ATTEMPT_PATIENCE: Duration = Duration::from_secs(15);
pub(crate) const RETRY_EVERY: Duration = Duration::from_millis(500);

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
}

/// What to do where a key's seals do not open, or its row can't be read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum BrokenSeals {
    /// Change nothing.
    Refuse,
    /// End the key for good, and wipe what is left of its seals.
    Wipe,
}

/// One write of a key.
struct Write<'a> {
    context: &'a Context,
    organization: &'a OrganizationId,
    id: KeyId,
    broken_seals: BrokenSeals,
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
        subject: (OrganizationId, KeyId),
        broken_seals: BrokenSeals,
        plan: impl FnOnce(&StoredKey, Seals, Timestamp) -> Plan + Send + 'static,
    ) -> Result<Written, EngineError> {
        let engine = self.clone();
        let task = self.inner.tasks.spawn(async move {
            let (organization, id) = subject;
            let write = Write {
                context: &context,
                organization: &organization,
                id,
                broken_seals,
            };
            engine.write_marked(&write, plan).await
        });
        match tokio::time::timeout(CALLER_PATIENCE, task).await {
            Ok(Ok(outcome)) => outcome,
            // The task goes on; a panic in it leaves the mark, and the key is read through.
            Ok(Err(_)) | Err(_) => Err(EngineError::OutcomeUnknown),
        }
    }

    async fn write_marked(
        &self,
        write: &Write<'_>,
        plan: impl FnOnce(&StoredKey, Seals, Timestamp) -> Plan + Send,
    ) -> Result<Written, EngineError> {
        if !self.inner.right.is_held() {
            return Err(EngineError::Unavailable(StoreError::NotTheWriter));
        }
        let mark = self.inner.cache.mark(write.id);
        let mut sent = None;
        let attempt = tokio::time::timeout(ATTEMPT_PATIENCE, self.attempt(write, plan, &mut sent)).await;
        let attempt = attempt.unwrap_or(Err(EngineError::Unavailable(StoreError::TimedOut)));
        let outcome = match (attempt, sent) {
            (Err(_), Some(sent)) => match self.settle(write).await {
                Some(settled) => self.judge(settled, &sent),
                // Still unknown: the mark stays.
                None => return Err(EngineError::OutcomeUnknown),
            },
            (outcome, _) => outcome,
        };
        if matches!(outcome, Err(EngineError::NotFound(_))) {
            self.inner.cache.forget(write.id);
        }
        self.inner.cache.unmark(mark);
        outcome
    }

    /// Tries the write once. What it is about to commit is put into `sent` just before: an error without it means that
    /// nothing was changed.
    async fn attempt(
        &self,
        write: &Write<'_>,
        plan: impl FnOnce(&StoredKey, Seals, Timestamp) -> Plan + Send,
        sent: &mut Option<KeyRecord>,
    ) -> Result<Written, EngineError> {
        let _sealing = self.inner.sealing.read().await;
        let keyring = self.keyring();
        let now = self.now();
        let mut tx = self.inner.store.begin().await?;
        let Some(mut stored) = self.lock(&mut tx, write).await? else {
            return Err(EngineError::NotFound("secret key"));
        };
        let seals = sealing::seals_of(&keyring, &stored);
        let change = match plan(&stored, seals, now) {
            Plan::Refuse(error) => return Err(error),
            _ if seals == Seals::Broken && write.broken_seals == BrokenSeals::Refuse => {
                return Err(EngineError::SealBroken);
            }
            Plan::Reached => return Ok(self.apply(stored, false)),
            Plan::Change(change) => change,
        };
        let id = write.id;
        let was = stored.key.record.clone();
        let record = KeyRecord {
            version: was.version.saturating_add(1),
            ..change.record
        };
        let secrets = if seals == Seals::Broken {
            tracing::error!(key.id = %id, "ALARM: a key whose seals do not open is ended and wiped");
            self.inner.metrics.alarms.increment(1);
            sealing::wiped(&keyring, &stored.secrets)
        } else {
            sealing::reseal(&keyring, &was, &record, &stored.secrets, &mut SystemRandom)?
        };
        tx.update_key(&record, was.version, &secrets, now).await?;
        let event = Event {
            actor: write.context.actor.to_string(),
            action: change.action,
            target: format!("key/{id}"),
            request_id: write.context.request_id.to_string(),
            detail: change.detail,
        };
        tx.record_key_write(&record, &event, self.inner.right.epoch(), now)
            .await?;
        *sent = Some(record.clone());
        tx.commit().await?;
        stored.key.record = record;
        stored.key.updated_at = now;
        stored.secrets = secrets;
        Ok(self.apply(stored, true))
    }

    /// The key under its row's lock. A row that can't be read is made readable first by a write that ends the key:
    /// nobody must be able to keep a key from being deleted by spoiling its row.
    async fn lock(&self, tx: &mut Tx, write: &Write<'_>) -> Result<Option<StoredKey>, StoreError> {
        match tx.lock_key(write.organization, write.id).await {
            Err(StoreError::Unreadable { what }) if write.broken_seals == BrokenSeals::Wipe => {
                tracing::error!(key.id = %write.id, what, "ALARM: a key whose row can't be read is ended");
                tx.make_readable(write.organization, write.id, self.keyring().active())
                    .await?;
                tx.lock_key(write.organization, write.id).await
            }
            other => other,
        }
    }

    /// Finds out what became of a commit whose answer was lost; `None` if the engine stops before the database says.
    async fn settle(&self, write: &Write<'_>) -> Option<Option<StoredKey>> {
        loop {
            match tokio::time::timeout(ATTEMPT_PATIENCE, self.read_settled(write)).await {
                Ok(Ok(found)) => return Some(found),
                Ok(Err(error)) => {
                    tracing::warn!(key.id = %write.id, %error, "the outcome of a write is not known yet");
                }
                Err(_) => tracing::warn!(key.id = %write.id, "the outcome of a write is not known yet"),
            }
            tokio::select! {
                () = self.inner.stop.cancelled() => return None,
                () = tokio::time::sleep(RETRY_EVERY) => {}
            }
        }
    }

    async fn read_settled(&self, write: &Write<'_>) -> Result<Option<StoredKey>, StoreError> {
        let mut tx = self.inner.store.begin().await?;
        let stored = tx.lock_key(write.organization, write.id).await?;
        tx.rollback().await?;
        Ok(stored)
    }

    /// What is answered after a lost answer, by what is there now: under the row's lock nothing is under way any more.
    fn judge(&self, settled: Option<StoredKey>, sent: &KeyRecord) -> Result<Written, EngineError> {
        let stored = settled.ok_or(EngineError::NotFound("secret key"))?;
        let found = &stored.key.record;
        let is_done = found == sent || (found.state.is_deleted() && sent.state.is_deleted());
        let is_earlier = found.version < sent.version;
        let written = self.apply(stored, true);
        match (is_done, is_earlier) {
            (true, _) => Ok(written),
            (false, true) => Err(EngineError::Unavailable(StoreError::NotCommitted)),
            // Others wrote meanwhile, so that nobody can say.
            (false, false) => Err(EngineError::OutcomeUnknown),
        }
    }

    /// Makes the committed state what verifies read, and describes it.
    fn apply(&self, stored: StoredKey, is_changed: bool) -> Written {
        let key = stored.key.clone();
        let id = key.record.id;
        let organization = sealing::standing_of(&stored);
        match sealing::open_live(&self.keyring(), stored) {
            Ok(cached) => self.inner.cache.apply(Arc::new(cached)),
            Err(refused) => {
                self.alarm(id, refused);
                // Ordered after everything older, and matching no secret: a late fill can't bring the key back.
                let blank = CachedKey::new(key.record.clone(), organization, Vec::new(), true);
                self.inner.cache.apply(Arc::new(blank));
                self.inner.cache.forget(id);
            }
        }
        Written {
            key,
            is_changed,
            confirmed: 1,
            waited_out: 0,
            waited_ms: 0,
        }
    }
}
