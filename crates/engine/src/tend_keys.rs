//! What has to be done for keys because time went by: ending secrets, telling of due rotations, forgetting what is kept for minutes.
//!
//! Nothing here decides about a request: a secret whose time is over is refused by the decision at its millisecond, whether this
//! ran or not. It is driven by a tick of the server ([`Engine::tend_keys_until_stopped`]); tests call [`Engine::tend_keys`].

use std::sync::atomic::Ordering;
use std::time::Duration;

use keyward_core::idempotency::{OUTCOME_LIFE_MS, VALUE_LIFE_MS};
use keyward_core::record::Actor;
use keyward_core::rotation::{DUE_DAY_MS, DUE_SOON_MS};
use keyward_core::session::IDLE_MS;
use keyward_core::time::{DAY_MS, MINUTE_MS, SECOND_MS, Timestamp};
use keyward_store::due::{DueNotice, SecretOver};

use crate::Engine;
use crate::bulk::PREVIEW_LIFE_MS;
use crate::context::Context;
use crate::error::EngineError;
use crate::key_write::Written;
use crate::second_factor::OFFER_LIFE_MS;

const TICK: Duration = Duration::from_secs(1);
/// So many of each at a time; what is left comes with the next tick.
const STEP: i64 = 200;
/// A pending secret that was used in its last moment must not be dropped before that use is known.
const LATE_USE_MS: i64 = 5 * SECOND_MS;

/// When the second reminder comes.
const SHORTLY_MS: i64 = 3 * DAY_MS;
/// Nobody is told of what expired before that: an upgrade must not tell of every key that ever did.
const EXPIRED_LONG_AGO_MS: i64 = 7 * DAY_MS;

/// What one round did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tended {
    /// Secrets that were ended.
    pub ended_secrets: usize,
    /// Notices of rotations and expiries that went into the outbox.
    pub notices: usize,
}

impl Engine {
    /// Tends every second until the engine shuts down. To be run in a task of its own.
    pub async fn tend_keys_until_stopped(&self, new_context: impl Fn() -> Context + Send) {
        loop {
            tokio::select! {
                () = self.inner.stop.cancelled() => return,
                () = tokio::time::sleep(TICK) => {}
            }
            if !self.inner.right.is_held_first() {
                continue;
            }
            if let Err(error) = self.tend_keys(&new_context()).await {
                tracing::warn!(%error, "what time brings about could not be done; it is tried again");
            }
        }
    }

    /// Does once what is due now.
    ///
    /// # Errors
    /// [`EngineError`]; what was done so far stays done, and the rest is found again.
    pub async fn tend_keys(&self, context: &Context) -> Result<Tended, EngineError> {
        let now = self.now();
        let (ended_secrets, notices) = (self.end_secrets(context, now).await, self.tell_due(now).await);
        self.forget_outdated(now).await?;
        Ok(Tended {
            ended_secrets: ended_secrets?,
            notices: notices?,
        })
    }

    async fn forget_outdated(&self, now: Timestamp) -> Result<(), EngineError> {
        // A write, so not at every tick.
        let cleaned_at = self.inner.cleaned_at_ms.load(Ordering::Relaxed);
        if now.as_unix_ms() >= cleaned_at.saturating_add(MINUTE_MS) {
            self.inner
                .store
                .clean_outcomes(now.plus_ms(-VALUE_LIFE_MS), now.plus_ms(-OUTCOME_LIFE_MS))
                .await?;
            self.inner
                .store
                .clean_previews(now.plus_ms(-PREVIEW_LIFE_MS))
                .await?;
            let mut tx = self.inner.store.begin().await?;
            tx.forget_sessions(now, now.plus_ms(-IDLE_MS)).await?;
            tx.forget_sign_in_links(now).await?;
            tx.forget_offered_factors(now.plus_ms(-OFFER_LIFE_MS)).await?;
            self.commit_fenced(tx).await?;
            self.inner
                .cleaned_at_ms
                .store(now.as_unix_ms(), Ordering::Relaxed);
        }
        Ok(())
    }

    async fn end_secrets(&self, context: &Context, now: Timestamp) -> Result<usize, EngineError> {
        let over = self
            .inner
            .store
            .list_secrets_over(now.plus_ms(-LATE_USE_MS), STEP)
            .await?;
        let mut ended = 0;
        for secret in over {
            let context = Context::new(Actor::System, context.request_id.clone());
            let id = secret.key_id;
            match self.end_or_activate(context, &secret).await {
                Ok(written) => ended += usize::from(written.is_changed),
                // It is refused as it is; the others must not wait for it.
                Err(error) => tracing::warn!(key.id = %id, %error, "an old secret could not be ended"),
            }
        }
        Ok(ended)
    }

    /// Ends what is over; a pending secret that was used in its time takes over after all.
    async fn end_or_activate(&self, context: Context, over: &SecretOver) -> Result<Written, EngineError> {
        let (organization, id) = (&over.organization_id, over.key_id);
        let uses = self.last_uses(organization, &[id]).await?;
        let first_use = uses
            .get(&id)
            .and_then(|key| key.secrets.iter().find(|one| one.number == over.number));
        if let Some(first_use) = first_use {
            let subject = (organization.clone(), id);
            self.activate_secret(context.clone(), subject, (over.number, first_use.first_used_at))
                .await?;
        }
        self.end_overdue_secrets(context, organization.clone(), id).await
    }

    async fn tell_due(&self, now: Timestamp) -> Result<usize, EngineError> {
        let mut notices = 0;
        // The most urgent first: what was told as overdue is not told as due any more.
        for (within_ms, urgency, kind) in [
            (-DUE_DAY_MS, 4, "key.rotation_overdue"),
            (0, 3, "key.rotation_due"),
            (SHORTLY_MS, 2, "key.rotation_due_in_3_days"),
            (DUE_SOON_MS, 1, "key.rotation_due_soon"),
        ] {
            // One more millisecond, because a date is reached at its moment and not after it.
            let before = now.plus_ms(within_ms + 1);
            let untold = self.inner.store.list_untold((before, now), urgency, STEP).await?;
            for one in untold {
                let mut tx = self.inner.store.begin().await?;
                let notice = DueNotice { urgency, kind };
                if tx.tell_due(&one, notice, self.inner.right.epoch(), now).await? {
                    tx.commit().await?;
                    notices += 1;
                }
            }
        }
        Ok(notices + self.tell_expiries(now).await?)
    }

    /// As with rotations. A key that was made shortly before its end is not told of as soon as it is made.
    async fn tell_expiries(&self, now: Timestamp) -> Result<usize, EngineError> {
        let mut notices = 0;
        for (within_ms, urgency, kind) in [
            (0, 3, "key.expired"),
            (SHORTLY_MS, 2, "key.expires_in_3_days"),
            (DUE_SOON_MS, 1, "key.expires_soon"),
        ] {
            let span = (now.plus_ms(-EXPIRED_LONG_AGO_MS), now.plus_ms(within_ms + 1));
            let store = &self.inner.store;
            let untold = store
                .list_untold_expiries(span, (urgency, within_ms), STEP)
                .await?;
            for one in untold {
                let mut tx = store.begin().await?;
                let notice = DueNotice { urgency, kind };
                if tx
                    .tell_expiry(&one, notice, self.inner.right.epoch(), now)
                    .await?
                {
                    tx.commit().await?;
                    notices += 1;
                }
            }
        }
        Ok(notices)
    }
}
