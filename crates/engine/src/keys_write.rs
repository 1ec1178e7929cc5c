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
use crate::key_write::{BrokenSeals, Plan, Sent, Write, Written};
use crate::sealing::{self, Seals};
use crate::standing::confirm_key_writer;

/// Most keys of one transaction.
pub(crate) const CHUNK: usize = 1_000;
/// A chunk takes longer than one key; the write itself goes on after it.
const CALLER_PATIENCE: Duration = Duration::from_secs(60);
const ATTEMPT_PATIENCE: Duration = Duration::from_secs(45);

/// What became of one key of a chunk.
pub(crate) type Each = (KeyId, Result<Written, EngineError>);

/// What is about to become of one key of a chunk.
enum Planned {
    Refused(EngineError),
    Reached(StoredKey),
    Changed(StoredKey),
}

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
        let mut planned = Vec::new();
        let attempt =
            tokio::time::timeout(ATTEMPT_PATIENCE, self.attempt_chunk(writes, plan, &mut planned)).await;
        let attempt = attempt.unwrap_or(Err(EngineError::Unavailable(StoreError::TimedOut)));
        let is_sent = planned
            .iter()
            .any(|(_, planned)| matches!(planned, Planned::Changed(_)));
        let outcome = match attempt {
            Ok(()) => Ok(self.apply_chunk(planned)),
            Err(_) if is_sent => match self.settle_chunk(writes, planned).await {
                Some(settled) => settled,
                // Still unknown: the marks stay.
                None => return Err(EngineError::OutcomeUnknown),
            },
            Err(error) => Err(error),
        };
        marks.into_iter().for_each(|mark| self.inner.cache.unmark(mark));
        let written = outcome?;
        let known = self.confirm().await;
        let each = written.into_iter();
        Ok(each
            .map(|(id, each)| (id, each.map(|one| one.known_to(known))))
            .collect())
    }

    /// Tries the chunk once. What it is about to commit is put into `planned` just before: an error with no change in there
    /// means that nothing was changed.
    async fn attempt_chunk(
        &self,
        writes: &[Write<'_>],
        plan: &PlanEach,
        planned: &mut Vec<(KeyId, Planned)>,
    ) -> Result<(), EngineError> {
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
        // All writes of a chunk are of one caller in one organization.
        if let Some(write) = writes.first() {
            confirm_key_writer(&mut tx, write.organization, &write.context.actor).await?;
        }
        let mut results = Vec::with_capacity(writes.len());
        let mut has_changes = false;
        for (write, found) in writes.iter().zip(locked) {
            let stored = match found {
                Ok(stored) => stored,
                Err(error) => {
                    results.push((write.id, Planned::Refused(error)));
                    continue;
                }
            };
            let seals = sealing::seals_of(&keyring, &stored);
            let outcome = match plan(&stored, seals, now) {
                Plan::Refuse(error) => Planned::Refused(error),
                _ if seals == Seals::Broken && write.broken_seals == BrokenSeals::Refuse => {
                    Planned::Refused(EngineError::SealBroken)
                }
                Plan::Reached => Planned::Reached(stored),
                Plan::Change(change) => {
                    let (stored, _) = self
                        .put(&mut tx, write.context, (stored, seals), *change, now)
                        .await?;
                    has_changes = true;
                    Planned::Changed(stored)
                }
            };
            results.push((write.id, outcome));
        }
        *planned = results;
        if has_changes {
            Ok(tx.commit().await?)
        } else {
            // What it found reached may have been reached a moment ago.
            Ok(tx.end_seen_by_standby().await?)
        }
    }

    fn apply_chunk(&self, planned: Vec<(KeyId, Planned)>) -> Vec<Each> {
        let applied = planned.into_iter().map(|(id, planned)| {
            let outcome = match planned {
                Planned::Refused(error) => Err(error),
                Planned::Reached(stored) => Ok(self.apply(stored, false)),
                Planned::Changed(stored) => Ok(self.apply(stored, true)),
            };
            (id, outcome)
        });
        applied.collect()
    }

    /// After a lost answer: every key that was to be changed is asked what became of it. All of them were or none, so that one
    /// of them that can say speaks for those that somebody else has changed since. `None` if the engine stops before the
    /// database says.
    async fn settle_chunk(
        &self,
        writes: &[Write<'_>],
        planned: Vec<(KeyId, Planned)>,
    ) -> Option<Result<Vec<Each>, EngineError>> {
        let mut results = Vec::with_capacity(planned.len());
        let mut changed_since = Vec::new();
        let (mut was_done, mut was_undone) = (false, false);
        for (write, (id, planned)) in writes.iter().zip(planned) {
            let sent = match planned {
                Planned::Refused(error) => {
                    results.push((id, Err(error)));
                    continue;
                }
                Planned::Reached(stored) => {
                    results.push((id, Ok(self.apply(stored, false))));
                    continue;
                }
                Planned::Changed(stored) => Sent::of(&stored),
            };
            let settled = self.settle(write).await?;
            let found = settled.clone();
            match self.judge(settled, &sent) {
                Ok(written) => {
                    was_done = true;
                    results.push((id, Ok(written)));
                }
                Err(EngineError::Unavailable(StoreError::NotCommitted)) => was_undone = true,
                Err(EngineError::OutcomeUnknown) => changed_since.extend(found.map(|found| (id, found))),
                Err(error) => results.push((id, Err(error))),
            }
            tokio::task::yield_now().await;
        }
        Some(match (was_done, was_undone) {
            (_, true) => {
                tracing::warn!("a chunk of key writes did not commit");
                Err(EngineError::Unavailable(StoreError::NotCommitted))
            }
            (true, false) => {
                let done = changed_since.into_iter();
                results.extend(done.map(|(id, found)| (id, Ok(self.apply(found, true)))));
                Ok(results)
            }
            (false, false) => Err(EngineError::OutcomeUnknown),
        })
    }
}
