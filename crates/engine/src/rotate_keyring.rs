//! Rotate the keyring: a new version, every record sealed anew in small steps, then the old versions destroyed.
//!
//! No key holder notices. The new version is saved before anything is sealed under it, and the old ones are destroyed
//! only when nothing is sealed under them any more; a rotation that was interrupted is finished by the next one.

use std::sync::{Arc, PoisonError};

use keyward_core::audit::{Detail, Event, NO_ORGANIZATION};
use keyward_core::keyring::{Keyring, KeyringSummary};
use keyward_core::seal::{Sealed, open, seal};
use keyward_core::webhook_secret::WebhookSecret;
use keyward_store::StoreError;

use crate::Engine;
use crate::clock::SystemRandom;
use crate::context::Context;
use crate::error::EngineError;
use crate::sealing;
use crate::verify_token::is_wiped;

/// Keys per transaction: short enough that writes of keys wait only a moment.
const STEP: i64 = 100;

/// What a rotation did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyringRotated {
    /// The keyring now.
    pub keyring: KeyringSummary,
    /// Keys whose secrets were sealed anew.
    pub resealed: u64,
    /// Management tokens that were sealed anew.
    pub resealed_tokens: u64,
    /// Second factors of people, offered ones included, that were sealed anew.
    pub resealed_second_factors: u64,
    /// Keys, tokens, second factors and webhooks' signing secrets that are still under an old version because their seals do not open; then that version is kept.
    pub broken: u64,
}

/// Saves a keyring durably, replacing the one that was there.
pub type SaveKeyring<'a> = &'a (dyn Fn(&Keyring) -> std::io::Result<()> + Send + Sync);

impl Engine {
    /// Rotates the keyring.
    ///
    /// # Errors
    /// [`EngineError`]; what was sealed anew stays so, and the old versions are kept.
    pub async fn rotate_keyring(
        &self,
        context: Context,
        save: SaveKeyring<'_>,
    ) -> Result<KeyringRotated, EngineError> {
        if !self.inner.right.is_held() {
            return Err(EngineError::Unavailable(StoreError::NotTheWriter));
        }
        // Two at once would each make a version of the same number, and what one sealed the other could not open.
        let Ok(_alone) = self.inner.rotating.try_lock() else {
            return Err(EngineError::Conflict(
                "the keyring is being rotated already".to_owned(),
            ));
        };
        let others = self.count_other_nodes().await?;
        if others > 0 {
            return Err(EngineError::Conflict(format!(
                "{others} other node(s) serve this database and would not have the new version: stop them, rotate, give each of \
                 them this node's keyring file, and start them again"
            )));
        }
        let next = self.keyring().with_new_version(&mut SystemRandom, self.now())?;
        // Told first, here and below: what can't be told is not done, and a version whose file could not be saved after all
        // is one that nothing is sealed under.
        let begun = Detail::new()
            .fact("active_before", self.keyring().active())
            .fact("active_after", next.active());
        self.audit_keyring(&context, "keyring.add_version", begun).await?;
        save(&next).map_err(not_saved)?;
        {
            // Whoever is sealing now commits first; from here on everything is sealed under the new version.
            let _nobody_seals = self.inner.sealing.write().await;
            self.swap_keyring(next);
        }
        // The old version vouches for the new one while it is there.
        self.publish_audit_keys().await?;
        let (resealed, broken_keys) = self.reseal_all().await?;
        let (resealed_tokens, broken_tokens) = self.reseal_tokens().await?;
        let broken_contacts = self.reseal_contacts().await?;
        let (resealed_second_factors, broken_factors) = self.reseal_second_factors().await?;
        let broken = broken_keys + broken_tokens + broken_contacts + broken_factors;
        // Asked again: nothing may be left under a version that is destroyed.
        let active = i64::from(self.keyring().active());
        let is_done = self
            .inner
            .store
            .sealed_under()
            .await?
            .is_none_or(|(low, high)| low == active && high == active);
        // A node that joined meanwhile seals under the old version.
        let is_alone = self.count_other_nodes().await? == 0;
        let is_replaced = broken == 0 && is_done && is_alone;
        let ended = Detail::new()
            .fact("version", active)
            .fact("resealed", resealed)
            .fact("resealed_tokens", resealed_tokens)
            .fact("resealed_second_factors", resealed_second_factors)
            .fact("broken", broken)
            .fact("old_versions", if is_replaced { "destroyed" } else { "kept" });
        self.audit_keyring(&context, "keyring.rotate", ended).await?;
        if is_replaced {
            let last = self.keyring().with_active_only()?;
            save(&last).map_err(not_saved)?;
            self.swap_keyring(last);
        }
        // What the old key signed is believed only as far as the new one reaches; one that fails comes at the next interval.
        if let Err(error) = self.checkpoint_grown_chains().await {
            tracing::warn!(%error, "the audit trail has no checkpoint of the new keyring version yet");
        }
        Ok(KeyringRotated {
            keyring: self.keyring().summary(),
            resealed,
            resealed_tokens,
            resealed_second_factors,
            broken,
        })
    }

    async fn audit_keyring(
        &self,
        context: &Context,
        action: &'static str,
        detail: Detail,
    ) -> Result<(), EngineError> {
        let event = Event {
            actor: context.actor.to_string(),
            action,
            target: format!("keyring/{}", self.keyring().id()),
            request_id: context.request_id.to_string(),
            detail,
        };
        let mut tx = self.inner.store.begin().await?;
        tx.append_audit(NO_ORGANIZATION, &event, self.now()).await?;
        tx.fence(self.inner.right.epoch()).await?;
        Ok(tx.commit().await?)
    }

    fn swap_keyring(&self, next: Keyring) {
        *self.inner.keyring.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
    }

    async fn reseal_all(&self) -> Result<(u64, u64), EngineError> {
        let keyring = self.keyring();
        let (mut resealed, mut broken) = (0, 0);
        let mut after = String::new();
        loop {
            let ids = self
                .inner
                .store
                .list_keys_sealed_before(keyring.active(), &after, STEP)
                .await?;
            let Some((_, last)) = ids.last() else {
                return Ok((resealed, broken));
            };
            after = last.to_string();
            let mut tx = self.inner.store.begin().await?;
            for (organization, id) in ids {
                let stored = match tx.lock_key(&organization, id).await {
                    Ok(Some(stored)) => stored,
                    Ok(None) => continue,
                    Err(StoreError::Unreadable { what }) => {
                        tracing::error!(key.id = %id, what, "ALARM: a key can't be read, so its keyring version is kept");
                        self.inner.metrics.alarms.increment(1);
                        broken += 1;
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                };
                let record = &stored.key.record;
                match sealing::reseal(&keyring, record, record, &stored.secrets, &mut SystemRandom) {
                    Ok(secrets) => {
                        tx.update_seals(id, &secrets).await?;
                        resealed += 1;
                    }
                    Err(EngineError::SealBroken)
                        if stored.secrets.iter().all(|secret| secret.sealed.bytes.is_empty()) =>
                    {
                        // Wiped by a deletion: nothing is lost with the old version.
                        let secrets: Vec<_> = stored
                            .secrets
                            .into_iter()
                            .map(|mut secret| {
                                secret.sealed.keyring_version = keyring.active();
                                secret
                            })
                            .collect();
                        tx.update_seals(id, &secrets).await?;
                    }
                    Err(EngineError::SealBroken) => {
                        tracing::error!(key.id = %id, "ALARM: a sealed record does not open, so its keyring version is kept");
                        self.inner.metrics.alarms.increment(1);
                        broken += 1;
                    }
                    Err(error) => return Err(error),
                }
            }
            tx.fence(self.inner.right.epoch()).await?;
            tx.commit().await?;
        }
    }

    async fn reseal_tokens(&self) -> Result<(u64, u64), EngineError> {
        let keyring = self.keyring();
        let (mut resealed, mut broken) = (0, 0);
        let mut after = String::new();
        loop {
            let store = &self.inner.store;
            let ids = store
                .list_tokens_sealed_before(keyring.active(), &after, STEP)
                .await?;
            let Some((_, last)) = ids.last() else {
                return Ok((resealed, broken));
            };
            after = last.to_string();
            let mut tx = store.begin().await?;
            for (organization, id) in ids {
                let stored = match tx.lock_token(&organization, id).await {
                    Ok(Some(stored)) => stored,
                    Ok(None) => continue,
                    Err(StoreError::Unreadable { what }) => {
                        tracing::error!(token.id = %id, what, "ALARM: a management token can't be read, so its keyring version is kept");
                        self.inner.metrics.alarms.increment(1);
                        broken += 1;
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                };
                let record = &stored.token.record;
                let binding = record.seal_binding();
                match open(&keyring, &stored.sealed, &binding) {
                    Ok(digest) => {
                        let sealed = seal(&keyring, &digest, &binding, &mut SystemRandom)?;
                        tx.update_token_seal(record, &sealed).await?;
                        resealed += 1;
                    }
                    // Nothing is lost with the old version.
                    Err(_) if is_wiped(&stored) => {
                        let sealed = Sealed {
                            keyring_version: keyring.active(),
                            bytes: Vec::new(),
                        };
                        tx.update_token_seal(record, &sealed).await?;
                    }
                    Err(refused) => {
                        self.token_alarm(id, refused);
                        broken += 1;
                    }
                }
            }
            tx.fence(self.inner.right.epoch()).await?;
            tx.commit().await?;
        }
    }
}

impl Engine {
    /// Seals webhooks' signing secrets anew; how many do not open.
    async fn reseal_contacts(&self) -> Result<u64, EngineError> {
        let keyring = self.keyring();
        let mut broken = 0;
        let mut after = (String::new(), String::new());
        loop {
            let store = &self.inner.store;
            let rows = store
                .list_contacts_sealed_before(keyring.active(), (&after.0, &after.1), STEP)
                .await?;
            let Some(last) = rows.last() else {
                return Ok(broken);
            };
            after = (last.organization_id.to_string(), last.contact.clone());
            let mut tx = store.begin().await?;
            for listed in rows {
                // Its row is read again under its organization's lock: it may have got another secret meanwhile.
                let organization = &listed.organization_id;
                if tx.hold_organization(organization).await?.is_none() {
                    continue;
                }
                let found = tx.list_contacts(organization).await?;
                let found = found.into_iter().find(|row| row.contact == listed.contact);
                let Some(sealed) = found.and_then(|row| row.sealed) else {
                    continue;
                };
                let place = (organization, listed.contact.as_str());
                match WebhookSecret::open(&keyring, &sealed, place) {
                    Ok(secret) => {
                        let sealed = secret.seal(&keyring, place, &mut SystemRandom)?;
                        tx.update_contact_seal(organization, &listed.contact, &sealed)
                            .await?;
                    }
                    Err(refused) => {
                        tracing::error!(contact = listed.contact, %refused, "ALARM: a signing secret does not open, so its keyring version is kept");
                        self.inner.metrics.alarms.increment(1);
                        broken += 1;
                    }
                }
            }
            tx.fence(self.inner.right.epoch()).await?;
            tx.commit().await?;
        }
    }
}

impl Engine {
    /// Seals seeds of second factors anew; how many, and how many do not open.
    async fn reseal_second_factors(&self) -> Result<(u64, u64), EngineError> {
        let keyring = self.keyring();
        let (mut resealed, mut broken) = (0, 0);
        let mut after = (String::new(), "");
        loop {
            let store = &self.inner.store;
            let places = store
                .list_factors_sealed_before(keyring.active(), (&after.0, after.1), STEP)
                .await?;
            let Some((person, standing)) = places.last() else {
                return Ok((resealed, broken));
            };
            after = (person.to_string(), standing.name());
            let mut tx = store.begin().await?;
            for (person, standing) in places {
                // Read again under the person's lock: another may have been set up meanwhile.
                if tx.lock_person(&person).await?.is_none() {
                    continue;
                }
                let place = (&person, standing);
                let Some(factor) = tx.find_second_factor(&person, standing).await? else {
                    continue;
                };
                match self.open_seed(place, &factor) {
                    Ok(seed) => {
                        let sealed = seed.seal(&keyring, place, &mut SystemRandom)?;
                        tx.update_factor_seal(place, &sealed).await?;
                        resealed += 1;
                    }
                    Err(EngineError::SealBroken) => broken += 1,
                    Err(error) => return Err(error),
                }
            }
            tx.fence(self.inner.right.epoch()).await?;
            tx.commit().await?;
        }
    }
}

fn not_saved(error: std::io::Error) -> EngineError {
    EngineError::Conflict(format!("the keyring could not be saved: {error}"))
}
