//! Opening and sealing a key's secrets: the bridge between stored rows and what verifies compare.
//!
//! A seal that does not open is an alarm, never an answer about the key.

use std::sync::Arc;

use keyward_core::keyring::Keyring;
use keyward_core::random::RandomSource;
use keyward_core::record::KeyRecord;
use keyward_core::seal::{OpenRefused, Sealed, open, seal};
use keyward_core::state::SecretLife;
use keyward_store::keys::{StoredKey, StoredSecret};

use crate::cache::{CachedKey, CachedSecret};
use crate::error::EngineError;
use crate::organization_cell::OrganizationStanding;

/// Opens the live secrets of a stored key for the cache.
///
/// # Errors
/// [`OpenRefused`] if any does not fit its row.
pub(crate) fn open_live(keyring: &Keyring, stored: StoredKey) -> Result<CachedKey, OpenRefused> {
    let has_ended_secrets = stored.has_ended_secrets;
    let organization = standing_of(&stored);
    let record = stored.key.record;
    let secrets = stored
        .secrets
        .iter()
        .filter(|secret| secret.life != SecretLife::Ended && !is_wiped(&record, secret))
        .map(|secret| open_one(keyring, &record, secret))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(CachedKey::new(record, organization, secrets, has_ended_secrets))
}

/// How the organization of a stored key stood.
pub(crate) const fn standing_of(stored: &StoredKey) -> OrganizationStanding {
    OrganizationStanding {
        version: stored.organization_version,
        state: stored.organization_state,
    }
}

/// Whether a key's secrets fit its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seals {
    /// Every one does.
    Intact,
    /// At least one does not.
    Broken,
}

/// Whether every secret of a stored key fits its row, ended ones included.
pub(crate) fn seals_of(keyring: &Keyring, stored: &StoredKey) -> Seals {
    let record = &stored.key.record;
    let is_intact = |secret| is_wiped(record, secret) || open_one(keyring, record, secret).is_ok();
    if stored.secrets.iter().all(is_intact) {
        Seals::Intact
    } else {
        Seals::Broken
    }
}

/// Whether the seal was wiped when the key was deleted: it opens nothing, and that is no alarm.
pub(crate) fn is_wiped(record: &KeyRecord, secret: &StoredSecret) -> bool {
    record.state.is_deleted() && secret.sealed.bytes.is_empty()
}

/// Opens one secret of a record.
///
/// # Errors
/// [`OpenRefused`].
pub(crate) fn open_one(
    keyring: &Keyring,
    record: &KeyRecord,
    secret: &StoredSecret,
) -> Result<CachedSecret, OpenRefused> {
    let binding = record.seal_binding(secret.number, secret.life);
    let digest = open(keyring, &secret.sealed, &binding)?.into();
    Ok(CachedSecret::new(secret.number, secret.life, digest))
}

/// Seals every secret anew for a changed record; each must still fit the record as it was, so that no write launders
/// a row that was changed by other means.
///
/// # Errors
/// [`EngineError::SealBroken`], [`EngineError::Random`].
pub(crate) fn reseal(
    keyring: &Keyring,
    was: &KeyRecord,
    now: &KeyRecord,
    secrets: &[StoredSecret],
    random: &mut dyn RandomSource,
) -> Result<Vec<StoredSecret>, EngineError> {
    secrets
        .iter()
        .map(|secret| {
            let digest = open(
                keyring,
                &secret.sealed,
                &was.seal_binding(secret.number, secret.life),
            )
            .map_err(|_| EngineError::SealBroken)?;
            let sealed = seal(
                keyring,
                &digest,
                &now.seal_binding(secret.number, secret.life),
                random,
            )?;
            Ok(StoredSecret {
                sealed,
                ..secret.clone()
            })
        })
        .collect()
}

/// The secrets with seals that open nothing: for the deletion of a key whose seals are broken, so that what is left of
/// it can never be put together again.
pub(crate) fn wiped(keyring: &Keyring, secrets: &[StoredSecret]) -> Vec<StoredSecret> {
    secrets
        .iter()
        .map(|secret| {
            let mut secret = secret.clone();
            // No old keyring version has to be kept for it.
            secret.sealed = Sealed {
                keyring_version: keyring.active(),
                bytes: Vec::new(),
            };
            secret
        })
        .collect()
}

/// A keyring that is read by many and replaced at a rotation.
pub(crate) type SharedKeyring = std::sync::RwLock<Arc<Keyring>>;
