//! Create a key: checked as a whole, written in one transaction, its value handed out once.
//!
//! The value exists in the reply and nowhere else; what is kept is its sealed digest.

use keyward_core::audit::{Detail, Event};
use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::key_text::{KeyText, new_key_id, new_key_text};
use keyward_core::new_key::{KeyDraft, NewKey};
use keyward_core::record::{Actor, Key, KeyRecord};
use keyward_core::seal::seal;
use keyward_core::secret::{KeyTextKind, Secret};
use keyward_core::state::{KeyState, SecretLife};
use keyward_core::time::Timestamp;
use keyward_store::StoreError;
use keyward_store::idempotency::Outcome;
use keyward_store::keys::{StoredKey, StoredSecret};
use serde_json::json;

use crate::Engine;
use crate::changes::{networks, personal};
use crate::clock::SystemRandom;
use crate::context::Context;
use crate::error::EngineError;
use crate::key_write::NewRows;
use crate::once::{Attempt, FirstAttempt, Once};
use crate::policy::confirm_creation;

/// A new key with its value.
#[derive(Debug)]
pub struct CreatedKey {
    /// The key.
    pub key: Key,
    /// Its value, to be shown once.
    pub value: Secret<KeyTextKind>,
}

impl Engine {
    /// Creates a key.
    ///
    /// # Errors
    /// [`EngineError::Invalid`] with every field's problem, [`EngineError::NotFound`] without the organization, ...
    pub async fn create_key(
        &self,
        context: Context,
        organization: OrganizationId,
        draft: KeyDraft,
    ) -> Result<CreatedKey, EngineError> {
        match self.create_key_once(context, organization, draft, None).await? {
            Once::Now(created) => Ok(created),
            // Without an idempotency key nothing is a repetition.
            Once::Before(_) => Err(EngineError::OutcomeUnknown),
        }
    }

    /// Creates a key, unless the same attempt made it before.
    ///
    /// # Errors
    /// As [`Engine::create_key`]; [`EngineError::InProgress`], [`EngineError::OtherRequest`].
    pub async fn create_key_once(
        &self,
        context: Context,
        organization: OrganizationId,
        draft: KeyDraft,
        attempt: Option<Attempt>,
    ) -> Result<Once<CreatedKey>, EngineError> {
        let engine = self.clone();
        // In a task of its own, as every write of a key: a dropped request leaves no half-told story in the trail.
        let task = self.inner.tasks.spawn(async move {
            let first = match engine.begin_once(&context, &organization, attempt).await? {
                Once::Now(first) => first,
                Once::Before(repeated) => return Ok(Once::Before(repeated)),
            };
            let created = engine
                .create_key_here(context, organization, draft, first.as_ref())
                .await;
            created.map(Once::Now)
        });
        task.await.unwrap_or(Err(EngineError::OutcomeUnknown))
    }

    async fn create_key_here(
        &self,
        context: Context,
        organization: OrganizationId,
        draft: KeyDraft,
        first: Option<&FirstAttempt>,
    ) -> Result<CreatedKey, EngineError> {
        if !self.inner.right.is_held() {
            return Err(EngineError::Unavailable(StoreError::NotTheWriter));
        }
        let now = self.now();
        let settings = self.undeleted_organization(&organization).await?.settings;
        let new = NewKey::check(draft, settings.creation_policy(), now).map_err(EngineError::Invalid)?;

        let _sealing = self.inner.sealing.read().await;
        let (rows, value) = self.new_rows(&context, &organization, new, now)?;
        let id = rows.key.record.id;
        let outcome = first
            .map(|first| first.outcome(self, id, &value, now))
            .transpose()?;
        // As every write: somebody may delete the key before it is applied here, and the mark remembers that.
        let mark = self.inner.cache.mark(id);
        let inserted = self.insert(&rows, outcome.as_ref(), now).await;
        if let Ok(Some(stored)) = &inserted {
            self.apply(stored.clone(), true);
        }
        self.inner.cache.unmark(mark);
        inserted.map(|_| CreatedKey { key: rows.key, value })
    }

    /// The rows of a new key, with its value.
    pub(crate) fn new_rows(
        &self,
        context: &Context,
        organization: &OrganizationId,
        new: NewKey,
        now: Timestamp,
    ) -> Result<(NewRows, Secret<KeyTextKind>), EngineError> {
        let keyring = self.keyring();
        let random = &mut SystemRandom;
        let id = new_key_id(&keyring, random)?;
        let value = new_key_text(&self.inner.prefix, id, random)?;
        let text = KeyText::parse(value.reveal(), &self.inner.prefix)
            .map_err(|_| EngineError::Random(keyward_core::random::RandomUnavailable))?;
        let record = KeyRecord {
            id,
            organization_id: organization.clone(),
            version: 1,
            state: KeyState::Active,
            access: new.access,
            conditions: new.conditions,
        };
        let life = SecretLife::Current;
        let secret = StoredSecret {
            number: 1,
            life,
            sealed: seal(&keyring, &text.digest(), &record.seal_binding(1, life), random)?,
            hint: text.hint().to_string(),
            created_at: now,
            ended_at: None,
        };
        let key = Key {
            record,
            name: new.name,
            description: new.description,
            environment: new.environment,
            created_by: context.actor.clone(),
            responsible: None,
            created_at: now,
            updated_at: now,
            tags: new.tags,
            rotate_every_ms: new.rotate_every_ms,
            rotated_at: None,
            hint: secret.hint.clone(),
        };
        let event = created_event(context, &key)?;
        Ok((NewRows { key, secret, event }, value))
    }

    /// Writes the key; how its organization stands is read here, after the mark, as everything that the cache is given.
    async fn insert(
        &self,
        rows: &NewRows,
        outcome: Option<&Outcome>,
        now: Timestamp,
    ) -> Result<Option<StoredKey>, EngineError> {
        let record = &rows.key.record;
        let mut tx = self.inner.store.begin().await?;
        confirm_creation(&mut tx, &rows.key.created_by, record, now).await?;
        tx.insert_key(&rows.key, &rows.secret).await?;
        tx.record_key_write(record, &rows.event, self.inner.right.epoch(), now)
            .await?;
        if let Some(outcome) = outcome {
            match tx.insert_outcome(&record.organization_id, outcome).await {
                Err(StoreError::AlreadyExists) => return Err(EngineError::InProgress),
                other => other?,
            }
        }
        let stored = tx.lock_key(&record.organization_id, record.id).await?;
        tx.commit().await?;
        Ok(stored)
    }
}

fn created_event(context: &Context, key: &Key) -> Result<Event, EngineError> {
    let access = &key.record.access;
    let mut detail = Detail::new()
        .fact("scopes", access.scopes().to_string())
        .fact("level", access.permission().level().name())
        .fact("rules", json!(access.permission().rules()))
        .fact(
            "environment",
            key.environment.map(keyward_core::environment::Environment::name),
        )
        .fact("rotate_every_ms", key.rotate_every_ms);
    detail = personal(detail, "name", key.name.as_str())?;
    let conditions = &key.record.conditions;
    if let Some(begin) = conditions.not_before {
        detail = detail.fact("not_before_ms", begin.as_unix_ms());
    }
    if let Some(end) = conditions.expires_at {
        detail = detail.fact("expires_at_ms", end.as_unix_ms());
    }
    if let Some(limit) = conditions.rate_limit {
        detail = detail.fact("rate_limit", json!(limit));
    }
    if let Some(count) = networks(conditions) {
        detail = detail.fact("networks", count);
        detail = personal(detail, "addresses", &json!(conditions.addresses).to_string())?;
    }
    if !key.description.is_empty() {
        detail = personal(detail, "description", &key.description)?;
    }
    let tags = json!(key.tags).to_string();
    if tags != "[]" {
        detail = personal(detail, "tags", &tags)?;
    }
    Ok(Event {
        actor: context.actor.to_string(),
        action: "key.create",
        target: target_of(key.record.id),
        request_id: context.request_id.to_string(),
        detail,
    })
}

fn target_of(id: KeyId) -> String {
    format!("key/{id}")
}

/// Whoever is shown as the creator of a key.
pub fn creator_text(actor: &Actor) -> String {
    match actor {
        Actor::LocalAdministrator => "local administrator".to_owned(),
        other => other.to_string(),
    }
}
