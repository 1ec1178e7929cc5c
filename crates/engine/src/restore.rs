//! Restore a backup into an empty database, with every key that was alive held until somebody looks at it.
//!
//! A backup is the past: a key that was deleted after it was made would be alive again. So the rows and the holds are
//! one transaction, and nothing serves from the database before it. Management tokens are ended for good with it: the
//! operator makes others, which costs less than to find out which of them leaked meanwhile. Letting go is the operator's decision: all at once
//! ([`Engine::release_held`]) or one by one ([`Engine::resume_key`]).

use keyward_core::audit::{Detail, Event, NO_ORGANIZATION};
use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::keyring::Keyring;
use keyward_core::management_token::{TokenRecord, TokenState};
use keyward_core::record::{Key, KeyRecord};
use keyward_core::seal::{open, seal};
use keyward_core::state::{KeyState, PauseReason};
use keyward_core::time::Timestamp;
use keyward_store::audit::RESTORE_DATABASE;
use keyward_store::{Store, StoreError, Tx};
use tokio::io::AsyncBufReadExt;

use crate::changes::fact_change;
use crate::clock::SystemRandom;
use crate::context::Context;
use crate::delete_organization::RESTORABLE_MS;
use crate::error::EngineError;
use crate::sealing;
use crate::{Engine, KEYRING_CHECK, KEYRING_ID, check_text, missing_version};

const STEP: i64 = 200;

/// What becomes of the keys of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OldState {
    /// Every key that was alive is held.
    Hold,
    /// The operator accepts the old state as it is.
    Accept,
}

/// What a restore did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// Rows of all tables.
    pub rows: u64,
    /// Keys that are held now.
    pub held: u64,
    /// Management tokens that were alive and are ended now.
    pub ended_tokens: u64,
}

/// Loads a backup that was checked into a migrated, empty database, in one transaction.
///
/// # Errors
/// [`EngineError`]; nothing was changed then.
pub async fn restore<R: AsyncBufReadExt + Unpin>(
    store: &Store,
    keyring: &Keyring,
    input: &mut R,
    old_state: OldState,
    context: &Context,
    now: Timestamp,
) -> Result<Restored, EngineError> {
    if !store.is_empty().await? {
        return Err(EngineError::Conflict(
            "the database is not empty; restore into a new data folder or database".to_owned(),
        ));
    }
    let mut tx = store.begin().await?;
    let copied = tx.load(input).await?;
    check_keyring(&mut tx, keyring).await?;
    let epoch = tx.raise_epoch().await?;
    let mut held = 0;
    let mut ended_tokens = 0;
    let mut postponed_purges = 0;
    if old_state == OldState::Hold {
        // Whoever restores the past may do so to have an organization back that was purged since.
        postponed_purges = postpone_purges(&mut tx, context, now).await?;
        ended_tokens = end_tokens(&mut tx, keyring, context, now).await?;
        let mut after = String::new();
        loop {
            let ids = tx.list_key_ids_in_state("active", &after, STEP).await?;
            let Some((_, last)) = ids.last() else { break };
            after = last.to_string();
            for (organization, id) in ids {
                hold(&mut tx, keyring, (&organization, id), context, epoch, now).await?;
                held += 1;
            }
        }
    }
    let event = Event {
        actor: context.actor.to_string(),
        action: RESTORE_DATABASE,
        target: "database".to_owned(),
        request_id: context.request_id.to_string(),
        detail: Detail::new()
            .fact("rows", copied.rows)
            .fact("held", held)
            .fact("postponed_purges", postponed_purges)
            .fact("ended_tokens", ended_tokens)
            .fact("old_state_accepted", old_state == OldState::Accept),
    };
    tx.append_audit(NO_ORGANIZATION, &event, now).await?;
    tx.commit().await?;
    Ok(Restored {
        rows: copied.rows,
        held,
        ended_tokens,
    })
}

/// Gives every organization that was to be purged the whole time again; how many there are.
async fn postpone_purges(tx: &mut Tx, context: &Context, now: Timestamp) -> Result<usize, EngineError> {
    let until = now.plus_ms(RESTORABLE_MS);
    let postponed = tx.postpone_purges(until).await?;
    for (organization, before) in &postponed {
        let event = Event {
            actor: context.actor.to_string(),
            action: "organization.postpone_purge",
            target: format!("organization/{organization}"),
            request_id: context.request_id.to_string(),
            detail: fact_change(
                Detail::new(),
                "purge_at_ms",
                before.as_unix_ms(),
                until.as_unix_ms(),
            ),
        };
        tx.append_audit(organization.as_str(), &event, now).await?;
    }
    Ok(postponed.len())
}

/// Ends every management token that was alive.
async fn end_tokens(
    tx: &mut Tx,
    keyring: &Keyring,
    context: &Context,
    now: Timestamp,
) -> Result<u64, EngineError> {
    let mut ended = 0;
    let mut after = String::new();
    loop {
        let ids = tx.list_active_tokens(&after, STEP).await?;
        let Some((_, last)) = ids.last() else {
            return Ok(ended);
        };
        after = last.to_string();
        for (organization, id) in ids {
            let found = tx.lock_token(&organization, id).await?;
            let was = found.ok_or(EngineError::Unavailable(StoreError::Unreadable {
                what: "restored management token",
            }))?;
            let record = TokenRecord {
                version: was.token.record.version + 1,
                state: TokenState::Deleted { at: now },
                ..was.token.record.clone()
            };
            match open(keyring, &was.sealed, &was.token.record.seal_binding()) {
                // Kept, so that whoever still holds its text is told that it ended.
                Ok(digest) => {
                    let sealed = seal(keyring, &digest, &record.seal_binding(), &mut SystemRandom)?;
                    tx.update_token(&record, was.token.record.version, &sealed)
                        .await?;
                }
                Err(_) => tx.wipe_token(&organization, id, now, keyring.active()).await?,
            }
            let event = Event {
                actor: context.actor.to_string(),
                action: "token.delete",
                target: format!("token/{id}"),
                request_id: context.request_id.to_string(),
                detail: Detail::new().fact("reason", "restored").fact("was", "active"),
            };
            tx.append_audit(organization.as_str(), &event, now).await?;
            ended += 1;
        }
    }
}

/// Refuses a backup whose records this keyring does not open: to hold them would bind their seals to nothing.
async fn check_keyring(tx: &mut Tx, keyring: &Keyring) -> Result<(), EngineError> {
    let check = check_text(keyring);
    let own = [(KEYRING_ID, keyring.id()), (KEYRING_CHECK, check.as_str())];
    for (name, own) in own {
        if tx.setting(name).await?.is_some_and(|found| found != own) {
            return Err(EngineError::Conflict(format!(
                "the backup was made with another keyring than `{}`; restore it with its own",
                keyring.id()
            )));
        }
    }
    match missing_version(keyring, tx.sealed_under().await?) {
        Some(missing) => Err(EngineError::Conflict(format!(
            "the backup's records are sealed under version {missing} of the keyring, which this file does not hold: the \
             keyring was rotated since; restore it with the copy of that time"
        ))),
        None => Ok(()),
    }
}

async fn hold(
    tx: &mut Tx,
    keyring: &Keyring,
    (organization, id): (&OrganizationId, KeyId),
    context: &Context,
    epoch: i64,
    now: Timestamp,
) -> Result<(), EngineError> {
    let stored = tx.lock_key(organization, id).await?;
    let stored = stored.ok_or(EngineError::Unavailable(StoreError::Unreadable {
        what: "restored key",
    }))?;
    let was = &stored.key.record;
    let state = KeyState::Paused {
        reason: PauseReason::Restored,
    };
    let record = KeyRecord {
        state,
        version: was.version + 1,
        ..was.clone()
    };
    // A seal that does not open stays as it is: it opens nothing, held or not.
    let secrets = match sealing::reseal(keyring, was, &record, &stored.secrets, &mut SystemRandom) {
        Err(EngineError::SealBroken) => stored.secrets.clone(),
        other => other?,
    };
    let key = Key {
        record,
        updated_at: now,
        ..stored.key.clone()
    };
    tx.update_key(&key, was.version, &secrets).await?;
    let event = Event {
        actor: context.actor.to_string(),
        action: "key.pause",
        target: format!("key/{id}"),
        request_id: context.request_id.to_string(),
        detail: Detail::new()
            .fact("was", was.state.name())
            .fact("reason", PauseReason::Restored.name())
            .fact("is", state.name()),
    };
    tx.record_key_write(&key.record, &event, epoch, now).await?;
    Ok(())
}

impl Engine {
    /// Tells, before the first key is let go of, that the old state was accepted; each key has an entry of its own.
    async fn audit_acceptance(&self, context: &Context) -> Result<(), EngineError> {
        let event = Event {
            actor: context.actor.to_string(),
            action: "database.accept_old_state",
            target: "database".to_owned(),
            request_id: context.request_id.to_string(),
            detail: Detail::new(),
        };
        let mut tx = self.inner.store.begin().await?;
        tx.append_audit(NO_ORGANIZATION, &event, self.now()).await?;
        tx.fence(self.inner.right.epoch()).await?;
        Ok(tx.commit().await?)
    }

    /// Resumes every key that a restore left held: the operator accepts the old state.
    ///
    /// # Errors
    /// [`EngineError`]; what was resumed so far stays so.
    pub async fn release_held(&self, context: &Context) -> Result<u64, EngineError> {
        self.audit_acceptance(context).await?;
        let mut released = 0;
        let mut after = String::new();
        loop {
            let reason = PauseReason::Restored.name();
            let ids = self
                .inner
                .store
                .list_key_ids_in_state("paused", reason, &after, STEP)
                .await?;
            let Some((_, last)) = ids.last() else {
                return Ok(released);
            };
            after = last.to_string();
            for (organization, id) in ids {
                match self.resume_key(context.clone(), organization, id).await {
                    Ok(_) => released += 1,
                    Err(EngineError::SealBroken) => {
                        tracing::error!(key.id = %id, "ALARM: a held key's seals do not open; it stays held");
                    }
                    // Deleted meanwhile.
                    Err(EngineError::Conflict(_) | EngineError::NotFound(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
}
