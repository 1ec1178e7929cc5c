//! Idempotency: a request that is sent again does not happen again.
//!
//! An attempt is known by a digest of its idempotency key and of who sent it to which organization. While the first one runs,
//! others are told so; once it ended, they get its outcome, and for ten minutes the value with it, if the key still lives
//! (`keyward_core::idempotency` says how that is sealed). The outcome is written in the transaction that did the work. Attempts
//! of other processes are not seen while they run; the outcome's row lets only one of them commit.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use keyward_core::audit::{Detail, Event};
use keyward_core::idempotency::{VALUE_LIFE_MS, attempt_digest, open_value, seal_value};
use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::record::Key;
use keyward_core::secret::{IdempotencyKeyKind, KeyTextKind, Secret};
use keyward_core::time::Timestamp;
use keyward_store::idempotency::Outcome;

use crate::Engine;
use crate::clock::SystemRandom;
use crate::confirmations::Confirmed;
use crate::context::Context;
use crate::error::EngineError;
use crate::show_keys::ShownSecret;

/// A request that may be a repetition.
pub struct Attempt {
    /// The caller's idempotency key.
    pub key: Secret<IdempotencyKeyKind>,
    /// The digest of route, subject and body.
    pub request: [u8; 32],
}

/// What became of a request: done now, or found done.
#[derive(Debug)]
pub enum Once<T> {
    /// It was done.
    Now(T),
    /// It had been done before.
    Before(Box<Repeated>),
}

/// What a repeated request is answered with.
#[derive(Debug)]
pub struct Repeated {
    /// The key, as it is now.
    pub key: Key,
    /// Its secrets, newest first.
    pub secrets: Vec<ShownSecret>,
    /// The value that the first request was answered with; `None` once its time is over, or the key's.
    pub value: Option<Secret<KeyTextKind>>,
    /// Who knows of what the first request did.
    pub known: Confirmed,
}

/// The attempts that run in this process.
pub(crate) type RunningAttempts = Arc<Mutex<HashSet<[u8; 32]>>>;

/// The first attempt with an idempotency key, while it runs.
pub(crate) struct FirstAttempt {
    attempt: Attempt,
    digest: [u8; 32],
    running: RunningAttempts,
}

impl Drop for FirstAttempt {
    fn drop(&mut self) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.remove(&self.digest);
    }
}

impl FirstAttempt {
    /// What is to be kept of it, for a key that is being made.
    pub(crate) fn outcome(
        &self,
        engine: &Engine,
        key_id: KeyId,
        value: &Secret<KeyTextKind>,
        now: Timestamp,
    ) -> Result<Outcome, EngineError> {
        let keyring = engine.keyring();
        Ok(Outcome {
            attempt: self.digest,
            request: self.attempt.request,
            key_id,
            sealed: seal_value(
                &keyring,
                &self.attempt.key,
                &self.digest,
                value,
                &mut SystemRandom,
            )?,
            created_at: now,
        })
    }
}

impl Engine {
    /// Begins a request that may be a repetition; without an attempt every request is a first one.
    ///
    /// # Errors
    /// [`EngineError::InProgress`], [`EngineError::OtherRequest`].
    pub(crate) async fn begin_once(
        &self,
        context: &Context,
        organization: &OrganizationId,
        attempt: Option<Attempt>,
    ) -> Result<Once<Option<FirstAttempt>>, EngineError> {
        let Some(attempt) = attempt else {
            return Ok(Once::Now(None));
        };
        let digest = attempt_digest(&attempt.key, &context.actor.to_string(), organization);
        let running = Arc::clone(&self.inner.running_attempts);
        let is_first = running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(digest);
        if !is_first {
            return Err(EngineError::InProgress);
        }
        let first = FirstAttempt {
            attempt,
            digest,
            running,
        };
        let Some(outcome) = self.inner.store.find_outcome(organization, &digest).await? else {
            return Ok(Once::Now(Some(first)));
        };
        if outcome.request != first.attempt.request {
            return Err(EngineError::OtherRequest);
        }
        // The first one may not have been answered: what it ended must have ended on every node before this one is.
        let known = self.confirm_found().await?;
        // What was there for a moment after a crash, and is not on the server that was promoted since, has not happened.
        if self
            .inner
            .store
            .find_outcome(organization, &digest)
            .await?
            .is_none()
        {
            return Ok(Once::Now(Some(first)));
        }
        let (key, secrets) = self.show_key_whole(organization, outcome.key_id).await?;
        let now = self.now();
        let is_open = now < outcome.created_at.plus_ms(VALUE_LIFE_MS) && !key.record.state.is_deleted();
        let value = is_open
            .then(|| open_value(&self.keyring(), &first.attempt.key, &digest, &outcome.sealed))
            .flatten();
        if value.is_some() {
            self.audit_repetition(context, organization, outcome.key_id)
                .await?;
        }
        Ok(Once::Before(Box::new(Repeated {
            key,
            secrets,
            value,
            known,
        })))
    }
}

impl Engine {
    /// Tells that a key's value is given out once more: what can't be told is not done.
    async fn audit_repetition(
        &self,
        context: &Context,
        organization: &OrganizationId,
        id: KeyId,
    ) -> Result<(), EngineError> {
        let event = Event {
            actor: context.actor.to_string(),
            action: "key.repeat_value",
            target: format!("key/{id}"),
            request_id: context.request_id.to_string(),
            detail: Detail::new(),
        };
        let mut tx = self.inner.store.begin().await?;
        tx.append_audit(organization.as_str(), &event, self.now()).await?;
        tx.fence(self.inner.right.epoch()).await?;
        Ok(tx.commit().await?)
    }
}

impl<T> Once<T> {
    /// The same with something else in the place of what was done now.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Once<U> {
        match self {
            Self::Now(done) => Once::Now(change(done)),
            Self::Before(repeated) => Once::Before(repeated),
        }
    }
}
