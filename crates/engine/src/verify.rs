//! Verify: is this key accepted, here and now, for this? The path that Keyward exists for.
//!
//! From memory: one look, one constant-time comparison, one decision; no write, no lock across an await. From the
//! database, where memory may not be used: a shared load, put through the cache. A database that does not answer is
//! `store_unavailable`, never "unknown" and never an allow.

use std::sync::Arc;

use keyward_core::address::CallerAddress;
use keyward_core::credentials::Credentials;
use keyward_core::decision::{
    OrganizationClaim, OrganizationState, Purpose, Question, RateStanding, decide, decide_rate,
};
use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::key_digest::KeyDigest;
use keyward_core::level::PermissionLevel;
use keyward_core::operation::Operation;
use keyward_core::plain::PlainKey;
use keyward_core::record::KeyRecord;
use keyward_core::refusal::Refusal;
use keyward_core::scope::ScopeSet;
use keyward_core::seal::OpenRefused;
use keyward_core::state::SecretLife;
use keyward_store::keys::StoredKey;

use crate::Engine;
use crate::cache::{CachedKey, CachedSecret, Filled, LoadTicket, Look, VerificationCache};
use crate::loads::{Loaded, PATIENCE, Turn, outcome_of};
use crate::permit::{Identity, OwnedResource, Permit};
use crate::sealing;

/// How often a load that was overtaken by a write is repeated.
const MAX_RELOADS: usize = 4;

/// What is asked, besides the key.
#[derive(Debug, Clone, Copy)]
pub struct VerifyQuestion<'a> {
    /// The key and the organization header.
    pub credentials: Credentials<'a>,
    /// How the request names its organization.
    pub claim: OrganizationClaim<'a>,
    /// What it is for.
    pub purpose: Purpose<'a>,
    /// Where it comes from.
    pub address: CallerAddress,
}

/// What a verify tells of an accepted key.
#[derive(Debug, Clone, Copy)]
pub struct Accepted<'a> {
    /// The key's id.
    pub key_id: KeyId,
    /// The organization it belongs to.
    pub organization_id: &'a OrganizationId,
    /// Its scopes.
    pub scopes: ScopeSet,
    /// Its level.
    pub level: PermissionLevel,
}

impl<'a> Accepted<'a> {
    fn of(key: &'a CachedKey) -> Self {
        let access = &key.record.access;
        Self {
            key_id: key.record.id,
            organization_id: &key.record.organization_id,
            scopes: access.scopes(),
            level: access.permission().level(),
        }
    }
}

impl Engine {
    /// Verifies a key, and makes `accept`'s value from the accepted key in place, so that the way from memory copies
    /// nothing.
    ///
    /// # Errors
    /// The refusal that the caller gets.
    pub async fn verify<T>(
        &self,
        question: &VerifyQuestion<'_>,
        accept: impl Fn(Accepted<'_>) -> T,
    ) -> Result<T, Refusal> {
        let (digest, accepted) = self.verify_plain(question, &accept);
        if let Some(accepted) = accepted {
            self.inner.metrics.accepted.increment(1);
            return Ok(accepted);
        }
        // Boxed, so that the usual way does not carry the room for this one.
        Box::pin(self.verify_whole(question, &digest, &|key: &Arc<CachedKey>, _| {
            accept(Accepted::of(key))
        }))
        .await
    }

    /// Verifies by the whole record of the key, from memory or from the database.
    async fn verify_whole<T>(
        &self,
        question: &VerifyQuestion<'_>,
        digest: &KeyDigest,
        accept: &impl Fn(&Arc<CachedKey>, i64) -> T,
    ) -> Result<T, Refusal> {
        let outcome = match self.verify_in_memory(question, digest, accept) {
            Some(outcome) => outcome,
            None => Box::pin(self.verify_from_store(question, digest, accept)).await,
        };
        match &outcome {
            Ok(_) => self.inner.metrics.accepted.increment(1),
            Err(refusal) => self.inner.metrics.count_refusal(refusal.code()),
        }
        outcome
    }

    /// The shortest way: a plain key in memory that is accepted beyond doubt. `None` says nothing.
    fn verify_plain<T>(
        &self,
        question: &VerifyQuestion<'_>,
        accept: &impl Fn(Accepted<'_>) -> T,
    ) -> (KeyDigest, Option<T>) {
        let key = question.credentials.key;
        let key_id = key.id();
        let answer_surely = |plain: PlainKey, organization_id: &OrganizationId, state| {
            let asked = self.question_now(question);
            plain.surely_accepts((organization_id, state), &asked).then(|| {
                accept(Accepted {
                    key_id,
                    organization_id,
                    scopes: plain.scopes(),
                    level: plain.level(),
                })
            })
        };
        let (digest, accepted) = self
            .inner
            .cache
            .look_plain(key_id, || key.digest(), answer_surely);
        // Asked now, when the answer is made, as for every answer from memory.
        (digest, accepted.flatten().filter(|_| self.inner.right.is_held()))
    }

    /// Counts a refusal that was decided before any key was looked at.
    pub fn count_refusal(&self, refusal: &Refusal) {
        self.inner.metrics.count_refusal(refusal.code());
    }

    /// Verifies a key and says whose it is.
    ///
    /// # Errors
    /// The refusal.
    pub async fn identify(&self, question: &VerifyQuestion<'_>) -> Result<Identity, Refusal> {
        let digest = question.credentials.key.digest();
        self.verify_whole(question, &digest, &|key: &Arc<CachedKey>, secret_number| {
            Identity {
                key: Arc::clone(key),
                secret_number,
            }
        })
        .await
    }

    /// Verifies a key for one operation on one resource.
    ///
    /// # Errors
    /// The refusal.
    pub async fn permit(
        &self,
        credentials: Credentials<'_>,
        claim: OrganizationClaim<'_>,
        (operation, resource): (Operation, OwnedResource),
        address: CallerAddress,
    ) -> Result<Permit, Refusal> {
        let purpose = Purpose::Perform {
            operation,
            resource: resource.as_resource(),
        };
        let identity = self
            .identify(&VerifyQuestion {
                credentials,
                claim,
                purpose,
                address,
            })
            .await?;
        Ok(Permit {
            identity,
            operation,
            resource,
            address,
        })
    }

    /// The way without the database; `None` where it must be asked.
    fn verify_in_memory<T>(
        &self,
        question: &VerifyQuestion<'_>,
        digest: &KeyDigest,
        accept: &impl Fn(&Arc<CachedKey>, i64) -> T,
    ) -> Option<Result<T, Refusal>> {
        let look = self
            .inner
            .cache
            .look(question.credentials.key.id(), |key, organization| {
                self.answer_live((key, organization), question, digest, accept)
            });
        let Look::Here(Some(outcome)) = look else {
            return None;
        };
        // Asked now, when the answer is made, and not when the request came in: the lease may have ended between.
        self.inner.right.is_held().then_some(outcome)
    }

    /// The answer of a key's live secrets; `None` if none matches and ended ones may.
    fn answer_live<T>(
        &self,
        (key, organization): (&Arc<CachedKey>, OrganizationState),
        question: &VerifyQuestion<'_>,
        digest: &KeyDigest,
        accept: &impl Fn(&Arc<CachedKey>, i64) -> T,
    ) -> Option<Result<T, Refusal>> {
        match key.matching_secret(digest) {
            Some(secret) => Some(
                self.decide(&key.record, secret.life, organization, question)
                    .map(|()| accept(key, secret.number)),
            ),
            None if key.has_ended_secrets => None,
            None => Some(Err(Refusal::KeyUnknown)),
        }
    }

    fn decide(
        &self,
        record: &KeyRecord,
        life: SecretLife,
        organization: OrganizationState,
        question: &VerifyQuestion<'_>,
    ) -> Result<(), Refusal> {
        decide(record, life, organization, &self.question_now(question))?;
        // No key has a rate limit yet: creation takes none.
        decide_rate(RateStanding::Within)
    }

    fn question_now<'a>(&self, question: &VerifyQuestion<'a>) -> Question<'a> {
        Question {
            claim: question.claim,
            purpose: question.purpose,
            address: question.address,
            now: self.now(),
        }
    }

    async fn verify_from_store<T>(
        &self,
        question: &VerifyQuestion<'_>,
        digest: &KeyDigest,
        accept: &impl Fn(&Arc<CachedKey>, i64) -> T,
    ) -> Result<T, Refusal> {
        let id = question.credentials.key.id();
        if !self.keyring().knows_key_id(id) {
            return Err(Refusal::KeyUnknown);
        }
        let (key, organization) = match self.load(id).await {
            Loaded::Key(key, organization) => (key, organization),
            Loaded::Nothing => return Err(Refusal::KeyUnknown),
            Loaded::Failed => return Err(Refusal::StoreUnavailable),
        };
        match self.answer_live((&key, organization), question, digest, accept) {
            Some(outcome) => outcome,
            None => Err(self.refuse_ended(id, question, digest).await),
        }
    }

    /// Compares with the ended secrets: their holder is told so. There is no way from here to an allow.
    async fn refuse_ended(&self, id: KeyId, question: &VerifyQuestion<'_>, digest: &KeyDigest) -> Refusal {
        let found = match self.read_ended(id).await {
            Ok(Some(found)) => found,
            Ok(None) => return Refusal::KeyUnknown,
            Err(refusal) => return refusal,
        };
        let (stored, opened) = found;
        if !opened.iter().any(|secret| secret.digest.matches(digest)) {
            return Refusal::KeyUnknown;
        }
        let (record, organization) = (&stored.key.record, stored.organization_state);
        self.decide(record, SecretLife::Ended, organization, question)
            .err()
            .unwrap_or(Refusal::KeySuperseded)
    }

    /// Reads and opens the ended secrets of a key; twice, as [`Engine::read_key`] does.
    async fn read_ended(&self, id: KeyId) -> Result<Option<(StoredKey, Vec<CachedSecret>)>, Refusal> {
        let mut last = None;
        for _ in 0..2 {
            let keyring = self.keyring();
            let read = tokio::time::timeout(PATIENCE, self.inner.store.load_ended_key(id)).await;
            let stored = match read {
                Ok(Ok(Some(stored))) => stored,
                Ok(Ok(None)) => return Ok(None),
                Ok(Err(error)) => {
                    tracing::warn!(key.id = %id, %error, "the ended secrets of a key could not be read");
                    return Err(Refusal::StoreUnavailable);
                }
                Err(_) => return Err(Refusal::StoreUnavailable),
            };
            let opened: Result<Vec<_>, _> = stored
                .secrets
                .iter()
                .filter(|secret| !sealing::is_wiped(&stored.key.record, secret))
                .map(|secret| sealing::open_one(&keyring, &stored.key.record, secret))
                .collect();
            match opened {
                Ok(opened) => return Ok(Some((stored, opened))),
                Err(refused) => last = Some(refused),
            }
        }
        Err(last.map_or(Refusal::StoreUnavailable, |refused| self.alarm(id, refused)))
    }

    /// Loads a key through the cache, together with whoever else waits for it.
    async fn load(&self, id: KeyId) -> Loaded {
        self.inner.metrics.from_store.increment(1);
        let outcome = match self.inner.loads.join(id) {
            Turn::Wait(outcome) => outcome,
            Turn::Lead(outcome) => {
                let engine = self.clone();
                // A task of its own: the request that leads may be dropped, and others wait for the load.
                self.inner.tasks.spawn(async move {
                    engine.inner.loads.run(id, || engine.load_once(id)).await;
                });
                outcome
            }
        };
        outcome_of(outcome).await
    }

    async fn load_once(&self, id: KeyId) -> Loaded {
        for _ in 0..MAX_RELOADS {
            let running = RunningLoad::begin(&self.inner.cache, id);
            match self.read_key(id).await {
                Loaded::Key(key, _) => match running.finish(key) {
                    Filled::Use(key, organization) => return Loaded::Key(key, organization),
                    Filled::Stale => {}
                },
                other => return other,
            }
        }
        Loaded::Failed
    }

    /// Reads and opens a key. A seal that does not open is tried once more: the keyring may just have been rotated.
    pub(crate) async fn read_key(&self, id: KeyId) -> Loaded {
        let mut last = None;
        for _ in 0..2 {
            let keyring = self.keyring();
            match self.inner.store.load_live_key(id).await {
                Ok(None) => return Loaded::Nothing,
                Ok(Some(stored)) => match sealing::open_live(&keyring, stored) {
                    Ok(key) => {
                        let organization = key.organization.state;
                        return Loaded::Key(Arc::new(key), organization);
                    }
                    Err(refused) => last = Some(refused),
                },
                Err(error) => {
                    tracing::warn!(key.id = %id, %error, "a key could not be read");
                    return Loaded::Failed;
                }
            }
        }
        if let Some(refused) = last {
            self.alarm(id, refused);
        }
        Loaded::Failed
    }

    pub(crate) fn alarm(&self, id: KeyId, refused: OpenRefused) -> Refusal {
        self.inner.metrics.alarms.increment(1);
        tracing::error!(key.id = %id, error = %refused, "ALARM: a sealed record does not open");
        Refusal::StoreUnavailable
    }
}

/// A load that is under way. One that is dropped (it took too long, or its task ended) is given up, so that changes are
/// not remembered for it for ever.
struct RunningLoad<'a> {
    cache: &'a VerificationCache,
    ticket: Option<LoadTicket>,
}

impl<'a> RunningLoad<'a> {
    fn begin(cache: &'a VerificationCache, id: KeyId) -> Self {
        Self {
            cache,
            ticket: Some(cache.begin_load(id)),
        }
    }

    fn finish(mut self, key: Arc<CachedKey>) -> Filled {
        match self.ticket.take() {
            Some(ticket) => self.cache.finish_load(ticket, key),
            None => Filled::Stale,
        }
    }
}

impl Drop for RunningLoad<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.cache.abandon_load(ticket);
        }
    }
}
