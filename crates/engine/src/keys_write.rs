//! Many keys changed in one transaction: for bulk operations and emergency stops, in chunks.
//!
//! What [`crate::key_write`] does for one key holds for every key of a chunk: marked before, applied after, one audit entry, feed
//! row and outbox event each. All rows are locked before the first is written, in the order of their ids, so that chunks and
//! single writes never wait for each other in a circle.

use std::time::Duration;

use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::time::Timestamp;
use keyward_store::StoreError;
use keyward_store::keys::StoredKey;

use crate::Engine;
use crate::context::Context;
use crate::error::EngineError;
use crate::key_write::{BrokenSeals, Plan, RETRY_EVERY, Sent, Write, Written};
use crate::sealing::{self, Seals};

/// Most keys of one transaction.
pub(crate) const CHUNK: usize = 1_000;
/// A chunk takes longer than one key; the write itself goes on after it.
const CALLER_PATIENCE: Duration = Duration::from_secs(60);
const ATTEMPT_PATIENCE: Duration = Duration::from_secs(45);

/// What became of one key of a chunk.
pub(crate) type Each = (KeyId, Result<Written, EngineError>);

/// What is decided about each key of a chunk, as it is found under its lock.
pub(crate) type PlanEach = dyn Fn(&StoredKey, Seals, Timestamp) -> Plan + Send + Sync;

impl Engine {
    /// Changes at most [`CHUNK`] keys of an organization in one transaction: all that their plans change, or none.
    ///
    /// # Errors
    /// [`EngineError`]: then none was changed, or (`OutcomeUnknown`) nobody can say yet and asking again is safe.
    pub(crate) async fn write_keys(
        &self,
        context: Context,
        organization: OrganizationId,
        (mut ids, broken_seals): (Vec<KeyId>, BrokenSeals),
        plan: Box<PlanEach>,
    ) -> Result<Vec<Each>, EngineError> {
        ids.sort_unstable();
        ids.dedup();
        let engine = self.clone();
        let task = self.inner.tasks.spawn(async move {
            let writes: Vec<Write<'_>> = ids
                .iter()
                .map(|id| Write {
                    context: &context,
                    organization: &organization,
                    id: *id,
                    broken_seals,
                })
                .collect();
            engine.write_chunk_marked(&writes, &*plan).await
        });
        match tokio::time::timeout(CALLER_PATIENCE, task).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) | Err(_) => Err(EngineError::OutcomeUnknown),
        }
    }

    async fn write_chunk_marked(
        &self,
        writes: &[Write<'_>],
        plan: &PlanEach,
    ) -> Result<Vec<Each>, EngineError> {
        if !self.inner.right.is_held() {
            return Err(EngineError::Unavailable(StoreError::NotTheWriter));
        }
        let marks: Vec<_> = writes
            .iter()
            .map(|write| self.inner.cache.mark(write.id))
            .collect();
        let mut sent = Vec::new();
        let attempt =
            tokio::time::timeout(ATTEMPT_PATIENCE, self.attempt_chunk(writes, plan, &mut sent)).await;
        let attempt = attempt.unwrap_or(Err(EngineError::Unavailable(StoreError::TimedOut)));
        let outcome = match attempt {
            Err(_) if !sent.is_empty() => self.settle_chunk(writes, &sent).await,
            other => other,
        };
        match outcome {
            // Still unknown: the marks stay.
            Err(EngineError::OutcomeUnknown) => Err(EngineError::OutcomeUnknown),
            outcome => {
                marks.into_iter().for_each(|mark| self.inner.cache.unmark(mark));
                outcome
            }
        }
    }

    async fn attempt_chunk(
        &self,
        writes: &[Write<'_>],
        plan: &PlanEach,
        sent: &mut Vec<(usize, Sent)>,
    ) -> Result<Vec<Each>, EngineError> {
        let _sealing = self.inner.sealing.read().await;
        let keyring = self.keyring();
        let now = self.now();
        let mut tx = self.inner.store.begin().await?;
        let mut locked = Vec::with_capacity(writes.len());
        for write in writes {
            locked.push(match self.lock(&mut tx, write).await {
                Err(StoreError::Unreadable { .. }) => Err(EngineError::SealBroken),
                found => found?.ok_or(EngineError::NotFound("secret key")),
            });
        }
        let mut results = Vec::with_capacity(writes.len());
        let mut about_to = Vec::new();
        for (at, (write, found)) in writes.iter().zip(locked).enumerate() {
            let stored = match found {
                Ok(stored) => stored,
                Err(error) => {
                    results.push((write.id, Err(error)));
                    continue;
                }
            };
            let seals = sealing::seals_of(&keyring, &stored);
            let planned = match plan(&stored, seals, now) {
                Plan::Refuse(error) => Err(error),
                _ if seals == Seals::Broken && write.broken_seals == BrokenSeals::Refuse => {
                    Err(EngineError::SealBroken)
                }
                Plan::Reached => Ok((stored, false)),
                Plan::Change(change) => {
                    let (stored, _) = self
                        .put(&mut tx, write.context, (stored, seals), *change, now)
                        .await?;
                    about_to.push((at, Sent::of(&stored)));
                    Ok((stored, true))
                }
            };
            results.push((write.id, planned));
        }
        *sent = about_to;
        if sent.is_empty() {
            tx.rollback().await?;
        } else {
            tx.commit().await?;
        }
        let applied = results.into_iter().map(|(id, planned)| {
            (
                id,
                planned.map(|(stored, is_changed)| self.apply(stored, is_changed)),
            )
        });
        Ok(applied.collect())
    }

    /// After a lost answer: what was done is asked of the first key that was to be changed, because all of them were or none.
    async fn settle_chunk(
        &self,
        writes: &[Write<'_>],
        sent: &[(usize, Sent)],
    ) -> Result<Vec<Each>, EngineError> {
        let mut results = Vec::with_capacity(sent.len());
        for (at, sent) in sent {
            let Some(write) = writes.get(*at) else { continue };
            let Some(settled) = self.settle(write).await else {
                return Err(EngineError::OutcomeUnknown);
            };
            results.push((write.id, self.judge(settled, sent)));
            tokio::task::yield_now().await;
        }
        let was_undone = results
            .iter()
            .all(|(_, outcome)| matches!(outcome, Err(EngineError::Unavailable(StoreError::NotCommitted))));
        if was_undone {
            tracing::warn!(
                every_ms = RETRY_EVERY.as_millis(),
                "a chunk of key writes did not commit"
            );
            return Err(EngineError::Unavailable(StoreError::NotCommitted));
        }
        Ok(results)
    }
}
