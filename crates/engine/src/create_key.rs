//! Create a key: checked as a whole, written in one transaction, its value handed out once.
//!
//! The value exists in the reply and nowhere else; what is kept is its sealed digest.

use std::sync::Arc;

use keyward_core::audit::{Detail, Event};
use keyward_core::decision::OrganizationState;
use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::key_text::{KeyText, new_key_id, new_key_text};
use keyward_core::new_key::{KeyDraft, NewKey};
use keyward_core::record::{Actor, Key, KeyRecord};
use keyward_core::seal::seal;
use keyward_core::secret::{KeyTextKind, Secret};
use keyward_core::state::{KeyState, SecretLife};
use keyward_core::time::Timestamp;
use keyward_store::StoreError;
use keyward_store::keys::{StoredKey, StoredSecret};

use crate::Engine;
use crate::clock::SystemRandom;
use crate::context::Context;
use crate::error::EngineError;
use crate::policy::confirm_creation;
use crate::sealing;

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
        let engine = self.clone();
        // In a task of its own, as every write of a key: a dropped request leaves no half-told story in the trail.
        let task = self
            .inner
            .tasks
            .spawn(async move { engine.create_key_here(context, organization, draft).await });
        task.await.unwrap_or(Err(EngineError::OutcomeUnknown))
    }

    async fn create_key_here(
        &self,
        context: Context,
        organization: OrganizationId,
        draft: KeyDraft,
    ) -> Result<CreatedKey, EngineError> {
        if !self.inner.right.is_held() {
            return Err(EngineError::Unavailable(StoreError::NotTheWriter));
        }
        let now = self.now();
        let policy = self.creation_policy(&organization).await?;
        let new = NewKey::check(draft, policy, now).map_err(EngineError::Invalid)?;

        let _sealing = self.inner.sealing.read().await;
        let keyring = self.keyring();
        let random = &mut SystemRandom;
        let id = new_key_id(&keyring, random)?;
        let value = new_key_text(&self.inner.prefix, id, random)?;
        let text = KeyText::parse(value.reveal(), &self.inner.prefix)
            .map_err(|_| EngineError::Random(keyward_core::random::RandomUnavailable))?;
        let record = KeyRecord {
            id,
            organization_id: organization,
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
            hint: secret.hint.clone(),
        };
        let event = created_event(&context, &key)?;
        // As every write: somebody may delete the key before it is applied here, and the mark remembers that.
        let mark = self.inner.cache.mark(id);
        let outcome = self.insert(&key, &secret, &event, now).await;
        if let Ok((organization_version, organization_state)) = outcome {
            let stored = StoredKey {
                key: key.clone(),
                organization_state,
                organization_version,
                has_ended_secrets: false,
                secrets: vec![secret],
            };
            if let Ok(cached) = sealing::open_live(&keyring, stored) {
                self.inner.cache.apply(Arc::new(cached));
            }
        }
        self.inner.cache.unmark(mark);
        outcome.map(|_| CreatedKey { key, value })
    }

    /// Writes the key; how its organization stands is read here, after the mark, as everything that the cache is given.
    async fn insert(
        &self,
        key: &Key,
        secret: &StoredSecret,
        event: &Event,
        now: Timestamp,
    ) -> Result<(i64, OrganizationState), EngineError> {
        let mut tx = self.inner.store.begin().await?;
        confirm_creation(&mut tx, &key.created_by, &key.record, now).await?;
        tx.insert_key(key, secret).await?;
        let standing = tx.organization_standing(&key.record.organization_id).await?;
        let standing = standing.ok_or(EngineError::NotFound("organization"))?;
        tx.record_key_write(&key.record, event, self.inner.right.epoch(), now)
            .await?;
        tx.commit().await?;
        Ok(standing)
    }
}

fn created_event(context: &Context, key: &Key) -> Result<Event, EngineError> {
    let access = &key.record.access;
    let mut detail = Detail::new()
        .fact("scopes", access.scopes().to_string())
        .fact("level", access.permission().level().name())
        .fact("rules", access.permission().rules().len())
        .fact(
            "environment",
            key.environment.map(keyward_core::environment::Environment::name),
        )
        .personal("name", key.name.as_str(), &mut SystemRandom)?;
    if let Some(end) = key.record.conditions.expires_at {
        detail = detail.fact("expires_at_ms", end.as_unix_ms());
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
