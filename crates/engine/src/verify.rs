//! Verify: is this key accepted, here and now, for this? The path that Keyward exists for.
//!
//! From memory: one look, one constant-time comparison, one decision; no lock across an await, and no write but an entry in a
//! list of what was used ([`crate::usage_notes`]). From the
//! database, where memory may not be used: a shared load, put through the cache. A database that does not answer is
//! `store_unavailable`, never "unknown" and never an allow.

use std::sync::Arc;

use keyward_core::address::CallerAddress;
use keyward_core::condition::RateLimit;
use keyward_core::credentials::Credentials;
use keyward_core::decision::{OrganizationClaim, OrganizationState, Purpose, Question, decide, decide_rate};
use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::key_digest::KeyDigest;
use keyward_core::key_text::TOKEN_PREFIX;
use keyward_core::level::PermissionLevel;
use keyward_core::operation::Operation;
use keyward_core::rate::{RateStatus, Spending};
use keyward_core::record::KeyRecord;
use keyward_core::refusal::Refusal;
use keyward_core::scope::ScopeSet;
use keyward_core::seal::OpenRefused;
use keyward_core::state::SecretLife;
use keyward_core::time::Timestamp;
use keyward_core::usage::{ClientName, NO_SECRET, Outcome};
use keyward_store::keys::StoredKey;

use crate::Engine;
use crate::cache::{CachedKey, CachedSecret, Filled, LoadTicket, Look, PlainFound, VerificationCache};
use crate::loads::{Loaded, PATIENCE, Turn, outcome_of};
use crate::node_time::Moment;
use crate::permit::{Identity, OwnedResource, Permit};
use crate::sealing;
use crate::shared_rates::SharedRates;
use crate::usage_notes::{Note, Subject, small_number};

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
    /// What the client calls itself; it decides nothing.
    pub client: ClientName,
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
    /// How the bucket of its rate limit stands after this request; `None` for a key without one.
    pub rate: Option<RateStatus>,
}

impl<'a> Accepted<'a> {
    fn of(key: &'a CachedKey, rate: Option<RateStatus>) -> Self {
        let access = &key.record.access;
        Self {
            key_id: key.record.id,
            organization_id: &key.record.organization_id,
            scopes: access.scopes(),
            level: access.permission().level(),
            rate,
        }
    }
}

/// Whether an accept counts as a use of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counting {
    AsUse,
    Not,
}

/// A question on its way.
#[derive(Clone, Copy)]
struct Asked<'a> {
    question: &'a VerifyQuestion<'a>,
    /// Of the key that was presented.
    digest: &'a KeyDigest,
    counting: Counting,
}

/// What an answer is made from: the key, the number of its secret that was presented, and how its bucket stands.
trait Accept<T>: Fn(&Arc<CachedKey>, i64, Option<RateStatus>) -> T {}

impl<T, F: Fn(&Arc<CachedKey>, i64, Option<RateStatus>) -> T> Accept<T> for F {}

/// What was decided about a key, and when.
struct Judged<'a> {
    /// The secret that was presented; `None` where only the key's id matched.
    secret: Option<&'a CachedSecret>,
    decided: Result<(), Refusal>,
    moment: Moment,
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
        let digest = question.credentials.key.digest();
        if let Some(accepted) = self.verify_plain(question, &digest, &accept) {
            self.inner.metrics.accepted.increment(1);
            return Ok(accepted);
        }
        let asked = Asked {
            question,
            digest: &digest,
            counting: Counting::AsUse,
        };
        // Boxed, so that the usual way does not carry the room for this one.
        Box::pin(self.verify_whole(asked, &|key: &Arc<CachedKey>, _, rate| {
            accept(Accepted::of(key, rate))
        }))
        .await
    }

    /// Verifies by the whole record of the key, from memory or from the database.
    async fn verify_whole<T>(&self, asked: Asked<'_>, accept: &impl Accept<T>) -> Result<T, Refusal> {
        let outcome = match self.verify_in_memory(asked, accept) {
            Some(outcome) => outcome,
            None => Box::pin(self.verify_from_store(asked, accept)).await,
        };
        match (&outcome, asked.counting) {
            (_, Counting::Not) => {}
            (Ok(_), Counting::AsUse) => self.inner.metrics.accepted.increment(1),
            (Err(refusal), Counting::AsUse) => self.inner.metrics.count_refusal(refusal.code()),
        }
        outcome
    }

    /// The shortest way: a plain key in memory that is accepted beyond doubt. `None` says nothing.
    fn verify_plain<T>(
        &self,
        question: &VerifyQuestion<'_>,
        digest: &KeyDigest,
        accept: &impl Fn(Accepted<'_>) -> T,
    ) -> Option<T> {
        let key_id = question.credentials.key.id();
        let right = self.inner.right.seen();
        let answer_surely = |found: PlainFound<'_>| {
            let (asked, moment) = self.question_now(question);
            let (plain, organization_id) = (found.plain(), found.organization_id());
            let is_accepted = plain.surely_accepts((organization_id, found.organization_state()), &asked)
                // Of the moment that was read just now, as the answer is made; as for every answer from memory.
                && self.inner.right.is_still_held(right, moment.since_boot);
            is_accepted.then(|| {
                if self.inner.notes.is_counting() {
                    let subject = Subject {
                        organization: found.organization_number(self.inner.notes.names()),
                        key_id,
                        secret: found.secret_number(),
                    };
                    self.note(subject, question, (Outcome::Accepted, asked.now));
                }
                accept(Accepted {
                    key_id,
                    organization_id,
                    scopes: plain.scopes(),
                    level: plain.level(),
                    // A limited key is no plain one.
                    rate: None,
                })
            })
        };
        self.inner
            .cache
            .look_plain(key_id, digest, answer_surely)
            .flatten()
    }

    /// Asks the processor for what memory holds of a key that is about to be verified: for callers that have something to do until
    /// they can ask, and before the key is hashed. It changes no answer.
    pub fn prefetch(&self, key: KeyId) {
        self.inner.cache.prefetch(key);
    }

    /// What a client calls itself in its `User-Agent`, as it is counted; never a secret of ours.
    pub fn client_of(&self, user_agent: Option<&[u8]>) -> ClientName {
        let prefix = self.inner.prefix.as_str().as_bytes();
        ClientName::from_user_agent(user_agent, [prefix, TOKEN_PREFIX.as_bytes()])
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
        self.identify_counting(question, Counting::AsUse).await
    }

    /// What [`Engine::identify`] would answer, for those who only want to know: it counts as no use of the key, spends
    /// nothing of its rate limit, and is in no figure.
    ///
    /// # Errors
    /// The refusal.
    pub async fn identify_without_use(&self, question: &VerifyQuestion<'_>) -> Result<Identity, Refusal> {
        self.identify_counting(question, Counting::Not).await
    }

    async fn identify_counting(
        &self,
        question: &VerifyQuestion<'_>,
        counting: Counting,
    ) -> Result<Identity, Refusal> {
        let asked = Asked {
            question,
            digest: &question.credentials.key.digest(),
            counting,
        };
        self.verify_whole(asked, &|key: &Arc<CachedKey>, secret_number, rate| Identity {
            key: Arc::clone(key),
            secret_number,
            rate,
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
        (address, client): (CallerAddress, ClientName),
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
                client,
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
    fn verify_in_memory<T>(&self, asked: Asked<'_>, accept: &impl Accept<T>) -> Option<Result<T, Refusal>> {
        let id = asked.question.credentials.key.id();
        let right = self.inner.right.seen();
        let look = self.inner.cache.look(id, |key, organization| {
            let judged = self.judge_live((key, organization), asked)?;
            // At the moment of the decision, and not when the request came in: the lease may have ended between.
            // Only an answer that is given counts as a use.
            let is_given = self.inner.right.is_still_held(right, judged.moment.since_boot);
            if !is_given {
                return None;
            }
            let spent = match self.shared_limit(&key.record, &judged, asked) {
                // `None` where nothing is at hand: the database has to be asked.
                Some((rates, limit)) => Some(rates.spend(id, limit, judged.moment.now)?),
                None => None,
            };
            Some(self.answer((key, judged), spent, asked, accept))
        });
        match look {
            Look::Here(outcome) => outcome,
            Look::ReadThrough => None,
        }
    }

    /// The decision about a key by its live secrets; `None` if none matches and ended ones may.
    fn judge_live<'a>(
        &self,
        (key, organization): (&'a CachedKey, OrganizationState),
        asked: Asked<'_>,
    ) -> Option<Judged<'a>> {
        let (question, moment) = self.question_now(asked.question);
        let secret = key.matching_secret(asked.digest);
        let decided = match secret {
            Some(secret) => decide(&key.record, secret.life, organization, &question),
            None if key.has_ended_secrets => return None,
            None => Err(Refusal::KeyUnknown),
        };
        Some(Judged {
            secret,
            decided,
            moment,
        })
    }

    /// Makes the answer of a decision: spends the rate limit, and notes how the request ended.
    fn answer<T>(
        &self,
        (key, judged): (&Arc<CachedKey>, Judged<'_>),
        spent: Option<Spending>,
        asked: Asked<'_>,
        accept: &impl Accept<T>,
    ) -> Result<T, Refusal> {
        let Judged {
            secret,
            decided,
            moment: Moment { now, .. },
        } = judged;
        // Last, so that a request that is refused for anything else spends nothing.
        let ended = decided.and_then(|()| match spent {
            Some(spending) => decide_rate(spending).map(Some),
            None => self.spend(&key.record, now, asked.counting),
        });
        let number = secret.map_or(NO_SECRET, |secret| secret.number);
        let outcome = match &ended {
            Ok(_) => Outcome::Accepted,
            Err(refusal) => Outcome::Refused(refusal.code()),
        };
        self.note_asked((&key.record, number), asked, (outcome, now));
        ended.map(|rate| accept(key, number, rate))
    }

    /// Notes how a request ended, if it counts as a use.
    fn note_asked(&self, (record, secret): (&KeyRecord, i64), asked: Asked<'_>, ended: (Outcome, Timestamp)) {
        if asked.counting == Counting::Not || !self.inner.notes.is_counting() {
            return;
        }
        let subject = Subject {
            organization: self.inner.notes.names().number_of(&record.organization_id),
            key_id: record.id,
            secret: small_number(secret),
        };
        self.note(subject, asked.question, ended);
    }

    fn note(&self, subject: Subject, question: &VerifyQuestion<'_>, (outcome, at): (Outcome, Timestamp)) {
        self.inner.notes.note(Note {
            subject,
            used_for: question.purpose.into(),
            outcome,
            address: question.address,
            client: question.client,
            at,
        });
    }

    /// Takes the request out of the key's bucket, if it has a limit.
    fn spend(
        &self,
        record: &KeyRecord,
        now: Timestamp,
        counting: Counting,
    ) -> Result<Option<RateStatus>, Refusal> {
        let Some(limit) = record.conditions.rate_limit else {
            return Ok(None);
        };
        let rates = &self.inner.rates;
        let spending = match counting {
            Counting::AsUse => rates.spend(record.id, limit, now),
            Counting::Not => rates.ask(record.id, limit, now),
        };
        decide_rate(spending).map(Some)
    }

    fn question_now<'a>(&self, question: &VerifyQuestion<'a>) -> (Question<'a>, Moment) {
        let moment = self.inner.time.read();
        let asked = Question {
            claim: question.claim,
            purpose: question.purpose,
            address: question.address,
            now: moment.now,
            earliest: moment.earliest,
        };
        (asked, moment)
    }

    async fn verify_from_store<T>(&self, asked: Asked<'_>, accept: &impl Accept<T>) -> Result<T, Refusal> {
        let id = asked.question.credentials.key.id();
        if !self.keyring().knows_key_id(id) {
            return Err(Refusal::KeyUnknown);
        }
        let (key, organization) = match self.load(id).await {
            Loaded::Key(key, organization) => (key, organization),
            Loaded::Nothing => return Err(Refusal::KeyUnknown),
            Loaded::Failed => return Err(Refusal::StoreUnavailable),
        };
        match self.judge_live((&key, organization), asked) {
            Some(judged) => {
                let spent = match self.shared_limit(&key.record, &judged, asked) {
                    Some((rates, limit)) => {
                        let taking = rates.spend_or_take(&self.inner.store, (id, limit), judged.moment.now);
                        match tokio::time::timeout(PATIENCE, taking).await {
                            Ok(Ok(spending)) => Some(spending),
                            Ok(Err(_)) | Err(_) => return Err(Refusal::StoreUnavailable),
                        }
                    }
                    None => None,
                };
                self.answer((&key, judged), spent, asked, accept)
            }
            None => Err(self.refuse_ended(id, asked).await),
        }
    }

    /// The limit that a request which nothing else refuses spends from together with other nodes, if there is one.
    fn shared_limit(
        &self,
        record: &KeyRecord,
        judged: &Judged<'_>,
        asked: Asked<'_>,
    ) -> Option<(&SharedRates, RateLimit)> {
        let rates = self.inner.shared_rates.as_ref()?;
        let limit = record.conditions.rate_limit?;
        let is_spent = judged.decided.is_ok() && asked.counting == Counting::AsUse;
        is_spent.then_some((rates, limit))
    }

    /// Compares with the ended secrets: their holder is told so. There is no way from here to an allow.
    async fn refuse_ended(&self, id: KeyId, asked: Asked<'_>) -> Refusal {
        let found = match self.read_ended(id).await {
            Ok(Some(found)) => found,
            Ok(None) => return Refusal::KeyUnknown,
            Err(refusal) => return refusal,
        };
        let (stored, opened) = found;
        let (record, organization) = (&stored.key.record, stored.organization_state);
        let (question, _) = self.question_now(asked.question);
        let matching = opened.iter().find(|secret| secret.digest.matches(asked.digest));
        let refusal = match matching {
            Some(_) => decide(record, SecretLife::Ended, organization, &question)
                .err()
                .unwrap_or(Refusal::KeySuperseded),
            None => Refusal::KeyUnknown,
        };
        let number = matching.map_or(NO_SECRET, |secret| secret.number);
        let ended = (Outcome::Refused(refusal.code()), question.now);
        self.note_asked((record, number), asked, ended);
        refusal
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
