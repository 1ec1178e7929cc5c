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
use keyward_core::key_digest::KeyDigest;
use keyward_core::keyring::Keyring;
use keyward_core::record::{Key, KeyRecord};
use keyward_core::rotation::{ENDED_SECRET_LIFE_MS, KEPT_ENDED_SECRETS};
use keyward_core::seal::{Sealed, seal};
use keyward_core::state::SecretLife;
use keyward_core::time::Timestamp;
use keyward_store::idempotency::Outcome;
use keyward_store::keys::{StoredKey, StoredSecret};
use keyward_store::{StoreError, Tx};

use crate::Engine;
use crate::cache::CachedKey;
use crate::clock::SystemRandom;
use crate::confirmations::Confirmed;
use crate::context::Context;
use crate::error::EngineError;
use crate::once::FirstAttempt;
use crate::policy::confirm_creation;
use crate::sealing::{self, Seals};
use crate::show_keys::ShownSecret;
use crate::standing::confirm_key_writer;

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
    Change(Box<Change>),
    /// It does not fit.
    Refuse(EngineError),
}

/// A change of a key.
pub(crate) struct Change {
    /// The key as it shall be; its version and the moment of the change are set here.
    pub(crate) key: Key,
    /// What becomes of its secrets.
    pub(crate) secrets: SecretsChange,
    /// What is written in the same transaction.
    pub(crate) beside: Beside,
    /// The audit action.
    pub(crate) action: &'static str,
    /// The audit facts.
    pub(crate) detail: Detail,
}

/// What a write does to a key's secrets; those that it does not name stay as they are.
#[derive(Default)]
pub(crate) struct SecretsChange {
    /// Other lives, by number.
    pub(crate) lives: Vec<(i64, SecretLife)>,
    /// A secret that is new.
    pub(crate) added: Option<NewSecret>,
}

/// A secret that a write adds.
pub(crate) struct NewSecret {
    /// What it begins as.
    pub(crate) life: SecretLife,
    /// The digest of its text.
    pub(crate) digest: KeyDigest,
    /// Head and tail of its text.
    pub(crate) hint: String,
}

/// What is written together with the change of a key, or not at all.
#[derive(Default)]
pub(crate) struct Beside {
    /// A key that takes its place.
    pub(crate) replacement: Option<Box<NewRows>>,
    /// What a replay of the request is answered from.
    pub(crate) outcome: Option<Outcome>,
    /// The request as the first of its kind, for as long as it runs.
    #[expect(dead_code, reason = "held for what its drop does")]
    pub(crate) first: Option<FirstAttempt>,
}

/// A new key, ready to be inserted.
pub(crate) struct NewRows {
    /// The key.
    pub(crate) key: Key,
    /// Its first secret.
    pub(crate) secret: StoredSecret,
    /// The audit event of its creation.
    pub(crate) event: Event,
}

impl Change {
    /// A change of what decides about a key, and of nothing else.
    pub(crate) fn of_record(
        stored: &StoredKey,
        record: KeyRecord,
        action: &'static str,
        detail: Detail,
    ) -> Self {
        Self::of_key(
            Key {
                record,
                ..stored.key.clone()
            },
            action,
            detail,
        )
    }

    /// A change of a key, but not of its secrets.
    pub(crate) fn of_key(key: Key, action: &'static str, detail: Detail) -> Self {
        Self {
            key,
            secrets: SecretsChange::default(),
            beside: Beside::default(),
            action,
            detail,
        }
    }
}

/// What to do where a key's seals do not open, or its row can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BrokenSeals {
    /// Change nothing.
    Refuse,
    /// End the key for good, and wipe what is left of its seals.
    Wipe,
}

/// One write of a key.
pub(crate) struct Write<'a> {
    pub(crate) context: &'a Context,
    pub(crate) organization: &'a OrganizationId,
    pub(crate) id: KeyId,
    pub(crate) broken_seals: BrokenSeals,
}

/// What was about to be committed, to tell it from what others wrote when the answer is lost: seals are never the same twice.
pub(crate) struct Sent {
    record: KeyRecord,
    seals: Vec<Sealed>,
}

impl Sent {
    pub(crate) fn of(stored: &StoredKey) -> Self {
        Self {
            record: stored.key.record.clone(),
            seals: stored
                .secrets
                .iter()
                .map(|secret| secret.sealed.clone())
                .collect(),
        }
    }
}

/// A key after a write.
#[derive(Debug, Clone)]
pub struct Written {
    /// The key as it is now.
    pub key: Key,
    /// Its secrets, newest first.
    pub secrets: Vec<ShownSecret>,
    /// Whether this call changed it, or found it so.
    pub is_changed: bool,
    /// Who knows of it.
    pub known: Confirmed,
}

impl Written {
    /// With what is known of other nodes.
    pub(crate) fn known_to(self, known: Confirmed) -> Self {
        Self { known, ..self }
    }
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
        let (mut sent, mut has_ended) = (None, false);
        let attempt = self.attempt(write, plan, (&mut sent, &mut has_ended));
        let attempt = tokio::time::timeout(ATTEMPT_PATIENCE, attempt).await;
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
        match outcome {
            Ok(written) => Ok(written.known_to(self.confirm().await)),
            Err(error) => {
                // That it is refused for its end tells of the end, which may not have been answered for.
                if has_ended {
                    self.confirm_found().await?;
                }
                Err(error)
            }
        }
    }

    /// Tries the write once. What it is about to commit is put into `sent` just before: an error without it means that
    /// nothing was changed. `has_ended` tells that the key was found deleted.
    async fn attempt(
        &self,
        write: &Write<'_>,
        plan: impl FnOnce(&StoredKey, Seals, Timestamp) -> Plan + Send,
        (sent, has_ended): (&mut Option<Sent>, &mut bool),
    ) -> Result<Written, EngineError> {
        let _sealing = self.inner.sealing.read().await;
        let keyring = self.keyring();
        let now = self.now();
        let mut tx = self.inner.store.begin().await?;
        let Some(stored) = self.lock(&mut tx, write).await? else {
            return Err(EngineError::NotFound("secret key"));
        };
        confirm_key_writer(&mut tx, write.organization, &write.context.actor).await?;
        *has_ended = stored.key.record.state.is_deleted();
        let seals = sealing::seals_of(&keyring, &stored);
        let change = match plan(&stored, seals, now) {
            Plan::Refuse(error) => return Err(error),
            _ if seals == Seals::Broken && write.broken_seals == BrokenSeals::Refuse => {
                return Err(EngineError::SealBroken);
            }
            Plan::Reached => {
                tx.end_seen_by_standby().await?;
                return Ok(self.apply(stored, false));
            }
            Plan::Change(change) => *change,
        };
        // Dropped at the end, so that a repetition of the request is told that this one runs.
        let (stored, mut beside) = self
            .put(&mut tx, write.context, (stored, seals), change, now)
            .await?;
        // A replacement is not put into memory: what others do to it meanwhile would not be known of, as it is not marked.
        self.put_beside(&mut tx, &stored.key, &mut beside, now).await?;
        *sent = Some(Sent::of(&stored));
        tx.commit().await?;
        Ok(self.apply(stored, true))
    }

    /// Writes a change of a locked key into the transaction; the key as it is then.
    pub(crate) async fn put(
        &self,
        tx: &mut Tx,
        context: &Context,
        (stored, seals): (StoredKey, Seals),
        change: Change,
        now: Timestamp,
    ) -> Result<(StoredKey, Beside), EngineError> {
        let keyring = self.keyring();
        let was = &stored.key.record;
        let id = was.id;
        let key = Key {
            record: KeyRecord {
                version: was.version.saturating_add(1),
                ..change.key.record
            },
            updated_at: now,
            ..change.key
        };
        let changed = if seals == Seals::Broken {
            tracing::error!(key.id = %id, "ALARM: a key whose seals do not open is ended and wiped");
            self.inner.metrics.alarms.increment(1);
            ChangedSecrets::unchanged(sealing::wiped(&keyring, &stored.secrets))
        } else {
            change_secrets(&keyring, (was, &key.record), &stored.secrets, change.secrets, now)?
        };
        tx.update_key(&key, was.version, &changed.kept).await?;
        for secret in &changed.removed {
            tx.remove_secret(id, *secret).await?;
        }
        if let Some(added) = &changed.added {
            tx.insert_secret(id, added).await?;
        }
        let event = Event {
            actor: context.actor.to_string(),
            action: change.action,
            target: format!("key/{id}"),
            request_id: context.request_id.to_string(),
            detail: match seals {
                Seals::Broken => change.detail.fact("wiped", true),
                Seals::Intact => change.detail,
            },
        };
        tx.record_key_write(&key.record, &event, self.inner.right.epoch(), now)
            .await?;
        let secrets: Vec<StoredSecret> = changed.added.into_iter().chain(changed.kept).collect();
        let hint = secrets
            .iter()
            .find(|secret| secret.life == SecretLife::Current)
            .map_or(key.hint.clone(), |secret| secret.hint.clone());
        let written = StoredKey {
            key: Key { hint, ..key },
            has_ended_secrets: secrets.iter().any(|secret| !secret.life.is_live()),
            secrets,
            ..stored
        };
        Ok((written, change.beside))
    }

    /// Writes what goes with a change.
    async fn put_beside(
        &self,
        tx: &mut Tx,
        key: &Key,
        beside: &mut Beside,
        now: Timestamp,
    ) -> Result<(), EngineError> {
        let organization = &key.record.organization_id;
        if let Some(rows) = beside.replacement.take() {
            // Sealed before the lock of the keyring was held; what a rotation would have missed must not commit.
            if rows.secret.sealed.keyring_version != self.keyring().active() {
                return Err(EngineError::Busy);
            }
            confirm_creation(tx, &rows.key.created_by, &rows.key.record, now).await?;
            tx.insert_key(&rows.key, &rows.secret).await?;
            tx.record_key_write(&rows.key.record, &rows.event, self.inner.right.epoch(), now)
                .await?;
        }
        if let Some(outcome) = &beside.outcome {
            match tx.insert_outcome(organization, outcome).await {
                Err(StoreError::AlreadyExists) => return Err(EngineError::InProgress),
                other => other?,
            }
        }
        Ok(())
    }

    /// The key under its row's lock. A row that can't be read is made readable first by a write that ends the key:
    /// nobody must be able to keep a key from being deleted by spoiling its row.
    pub(crate) async fn lock(&self, tx: &mut Tx, write: &Write<'_>) -> Result<Option<StoredKey>, StoreError> {
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
    pub(crate) async fn settle(&self, write: &Write<'_>) -> Option<Option<StoredKey>> {
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
        // What can be seen after a crash of the server may not be on its standby yet.
        tx.end_seen_by_standby().await?;
        Ok(stored)
    }

    /// What is answered after a lost answer, by what is there now: under the row's lock nothing is under way any more.
    pub(crate) fn judge(&self, settled: Option<StoredKey>, sent: &Sent) -> Result<Written, EngineError> {
        let stored = settled.ok_or(EngineError::NotFound("secret key"))?;
        let found = Sent::of(&stored);
        let is_done = (found.record == sent.record && found.seals == sent.seals)
            || (found.record.state.is_deleted() && sent.record.state.is_deleted());
        let is_earlier = found.record.version < sent.record.version;
        let written = self.apply(stored, true);
        match (is_done, is_earlier) {
            (true, _) => Ok(written),
            (false, true) => Err(EngineError::Unavailable(StoreError::NotCommitted)),
            // Others wrote meanwhile, so that nobody can say.
            (false, false) => Err(EngineError::OutcomeUnknown),
        }
    }

    /// Makes the committed state what verifies read, and describes it.
    pub(crate) fn apply(&self, stored: StoredKey, is_changed: bool) -> Written {
        let key = stored.key.clone();
        let secrets = stored.secrets.iter().map(ShownSecret::of).collect();
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
            secrets,
            is_changed,
            known: Confirmed::ALONE,
        }
    }
}

/// A key's secrets after a change.
struct ChangedSecrets {
    kept: Vec<StoredSecret>,
    removed: Vec<i64>,
    added: Option<StoredSecret>,
}

impl ChangedSecrets {
    const fn unchanged(kept: Vec<StoredSecret>) -> Self {
        Self {
            kept,
            removed: Vec::new(),
            added: None,
        }
    }
}

/// Seals a key's secrets for its changed record, gives them their lives, and lets go of ended ones that are not kept longer.
fn change_secrets(
    keyring: &Keyring,
    (was, now_record): (&KeyRecord, &KeyRecord),
    secrets: &[StoredSecret],
    change: SecretsChange,
    now: Timestamp,
) -> Result<ChangedSecrets, EngineError> {
    let random = &mut SystemRandom;
    let mut changed = ChangedSecrets::unchanged(Vec::with_capacity(secrets.len()));
    let mut ended = 0;
    for secret in secrets {
        let life = change
            .lives
            .iter()
            .find(|(number, _)| *number == secret.number)
            .map_or(secret.life, |(_, life)| *life);
        let ended_at = match life {
            SecretLife::Ended => Some(secret.ended_at.unwrap_or(now)),
            SecretLife::Current | SecretLife::Until(_) | SecretLife::Pending { .. } => None,
        };
        let is_old = ended_at.is_some_and(|at| at.plus_ms(ENDED_SECRET_LIFE_MS) <= now);
        ended += usize::from(ended_at.is_some());
        if is_old || (ended_at.is_some() && ended > KEPT_ENDED_SECRETS) {
            changed.removed.push(secret.number);
            continue;
        }
        let sealed = sealing::reseal_as(keyring, (was, secret), (now_record, life), random)?;
        changed.kept.push(StoredSecret { ended_at, ..sealed });
    }
    if let Some(new) = change.added {
        let number = secrets.iter().map(|secret| secret.number).max().unwrap_or(0) + 1;
        let binding = now_record.seal_binding(number, new.life);
        changed.added = Some(StoredSecret {
            number,
            life: new.life,
            sealed: seal(keyring, &new.digest, &binding, random)?,
            hint: new.hint,
            created_at: now,
            ended_at: None,
        });
    }
    Ok(changed)
}
