//! Refused sign-ins in the trail: of those who held the whole secret of something that is over.
//!
//! That is a management token that was deleted or has expired (`token.refused`), and the link of an invitation that ended
//! (`invitation.refused`). Beside them it is told of people who exist that their passphrase or code was wrong (`person.refused`), in
//! the chain of what belongs to no organization. The rule: for each of them and each reason at most one entry a minute, with how often it happened since
//! the entry before; so many are kept apart and no more, and what is over that is counted in one entry of its own
//! (`sign_ins.refused_others`). A refusal never waits for any of this and stays one whether it is written or not: it is noted in
//! memory, and written in the background every second. A process that is killed loses what it had not written. Strangers, whose
//! secret matched nothing, are only in the metrics, and whoever lacks a right was not refused in.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use keyward_core::address::CallerAddress;
use keyward_core::audit::{Detail, Event, NO_ORGANIZATION};
use keyward_core::ids::{InvitationId, OrganizationId, PersonId, TokenId};
use keyward_core::record::Actor;
use keyward_core::time::{MINUTE_MS, Timestamp};
use keyward_store::StoreError;
use tokio_util::sync::CancellationToken;

use crate::clock::SystemRandom;
use crate::sign_ins::Arrival;
use crate::{Engine, Inner};

/// How often is looked for what is to be written.
const FLUSH_EVERY: Duration = Duration::from_secs(1);
/// How far apart two entries of the same refusal are.
pub const TOLD_EVERY_MS: i64 = MINUTE_MS;
/// Most refusals that are kept apart.
const MAX_APART: usize = 1_000;
/// How long one entry may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// Whoever holds a link of an invitation or tries a passphrase, and is nobody else.
const STRANGER: &str = "stranger";

/// What was refused, and why.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct RefusedSignIn {
    chain: String,
    actor: String,
    action: &'static str,
    target: String,
    reason: &'static str,
}

impl RefusedSignIn {
    /// A token that is over.
    pub(crate) fn of_token(organization: &OrganizationId, id: TokenId, reason: &'static str) -> Self {
        Self {
            chain: organization.to_string(),
            actor: Actor::Token(id).to_string(),
            action: "token.refused",
            target: format!("token/{id}"),
            reason,
        }
    }

    /// An invitation that is over.
    pub(crate) fn of_invitation(
        organization: &OrganizationId,
        id: &InvitationId,
        reason: &'static str,
    ) -> Self {
        Self {
            chain: organization.to_string(),
            actor: STRANGER.to_owned(),
            action: "invitation.refused",
            target: format!("invitation/{id}"),
            reason,
        }
    }

    /// A person whose passphrase or code was wrong. Whoever tried may be anybody.
    pub(crate) fn of_person(id: &PersonId, reason: &'static str) -> Self {
        Self {
            chain: NO_ORGANIZATION.to_owned(),
            actor: STRANGER.to_owned(),
            action: "person.refused",
            target: format!("person/{id}"),
            reason,
        }
    }

    fn of_others() -> Self {
        Self {
            chain: NO_ORGANIZATION.to_owned(),
            actor: Actor::System.to_string(),
            action: "sign_ins.refused_others",
            target: "sign_ins".to_owned(),
            reason: "too_many",
        }
    }
}

/// How often something was refused since it was told.
#[derive(Debug, Clone)]
struct Noted {
    count: u64,
    first_at: Timestamp,
    last_at: Timestamp,
    /// The last one.
    arrival: Arrival,
    told_at: Option<Timestamp>,
}

/// What was refused and may not be told yet.
#[derive(Default)]
pub(crate) struct RefusedSignIns {
    noted: Mutex<HashMap<RefusedSignIn, Noted>>,
    /// Held by the one flush that runs.
    flushing: tokio::sync::Mutex<()>,
}

impl RefusedSignIns {
    /// Notes a refusal.
    pub(crate) fn note(&self, refused: RefusedSignIn, arrival: &Arrival, now: Timestamp) {
        let mut noted = self.locked();
        let has_room = noted.len() < MAX_APART || noted.contains_key(&refused);
        let refused = if has_room {
            refused
        } else {
            RefusedSignIn::of_others()
        };
        let one = noted.entry(refused).or_insert_with(|| Noted {
            count: 0,
            first_at: now,
            last_at: now,
            arrival: arrival.clone(),
            told_at: None,
        });
        if one.count == 0 {
            one.first_at = now;
        }
        one.count = one.count.saturating_add(1);
        one.last_at = now;
        one.arrival = arrival.clone();
    }

    /// What is to be told at `now`, in a steady order; all of it if `is_last`.
    fn due(&self, now: Timestamp, is_last: bool) -> Vec<(RefusedSignIn, Noted)> {
        let mut noted = self.locked();
        let is_quiet = |told_at: Option<Timestamp>| told_at.is_none_or(|at| now >= at.plus_ms(TOLD_EVERY_MS));
        noted.retain(|_, one| one.count > 0 || !is_quiet(one.told_at));
        let mut due: Vec<_> = noted
            .iter()
            .filter(|(_, one)| one.count > 0 && (is_last || is_quiet(one.told_at)))
            .map(|(refused, one)| (refused.clone(), one.clone()))
            .collect();
        due.sort_unstable_by(|(a, _), (b, _)| {
            (&a.chain, &a.target, a.reason).cmp(&(&b.chain, &b.target, b.reason))
        });
        due
    }

    /// Forgets what was told.
    fn told(&self, refused: &RefusedSignIn, count: u64, now: Timestamp) {
        if let Some(one) = self.locked().get_mut(refused) {
            one.count = one.count.saturating_sub(count);
            one.told_at = Some(now);
        }
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<RefusedSignIn, Noted>> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Writes what was refused and is to be told by now. What could not be written is kept for the next time.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn flush_refused_sign_ins(&self) -> Result<(), StoreError> {
        self.flush_refused(false).await
    }

    /// As [`Engine::flush_refused_sign_ins`], and does not wait until a minute is over.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn flush_last_refused_sign_ins(&self) -> Result<(), StoreError> {
        self.flush_refused(true).await
    }

    async fn flush_refused(&self, is_last: bool) -> Result<(), StoreError> {
        let _alone = self.inner.refused_sign_ins.flushing.lock().await;
        let now = self.now();
        for (refused, noted) in self.inner.refused_sign_ins.due(now, is_last) {
            tokio::time::timeout(PATIENCE, self.write_refused(&refused, &noted, now))
                .await
                .unwrap_or(Err(StoreError::TimedOut))?;
            self.inner.refused_sign_ins.told(&refused, noted.count, now);
        }
        Ok(())
    }

    /// One transaction each, so that no chain's head is held while another one is waited for.
    async fn write_refused(
        &self,
        refused: &RefusedSignIn,
        noted: &Noted,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if !self.inner.right.is_held() {
            return Err(StoreError::NotTheWriter);
        }
        let mut detail = Detail::new()
            .fact("reason", refused.reason)
            .fact("count", noted.count)
            .fact("first_at_ms", noted.first_at.as_unix_ms())
            .fact("last_at_ms", noted.last_at.as_unix_ms());
        if let CallerAddress::Known(address) = noted.arrival.address {
            // Without random numbers nothing is personal: better no address than one in the clear.
            detail = detail
                .clone()
                .personal("address", &address.to_string(), &mut SystemRandom)
                .unwrap_or(detail);
        }
        let event = Event {
            actor: refused.actor.clone(),
            action: refused.action,
            target: refused.target.clone(),
            request_id: noted.arrival.request_id.to_string(),
            detail,
        };
        let mut tx = self.inner.store.begin().await?;
        tx.append_audit(&refused.chain, &event, now).await?;
        tx.fence(self.inner.right.epoch()).await?;
        tx.commit().await
    }
}

/// Writes refused sign-ins until the engine stops or is dropped; the shut-down writes the last ones.
pub(crate) async fn keep_telling(engine: Weak<Inner>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(FLUSH_EVERY) => {}
        }
        let Some(inner) = engine.upgrade() else { return };
        if let Err(error) = (Engine { inner }).flush_refused_sign_ins().await {
            tracing::warn!(%error, "refused sign-ins could not be written to the trail; they are kept, and tried again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_ms(1_000_000);

    fn arrival() -> Arrival {
        Arrival {
            request_id: "request-1".parse().unwrap(),
            address: CallerAddress::Unknown,
        }
    }

    fn refused(number: usize) -> RefusedSignIn {
        RefusedSignIn {
            chain: "org-1".to_owned(),
            actor: STRANGER.to_owned(),
            action: "token.refused",
            target: format!("token/{number}"),
            reason: "expired",
        }
    }

    fn counts(due: &[(RefusedSignIn, Noted)]) -> Vec<u64> {
        due.iter().map(|(_, noted)| noted.count).collect()
    }

    #[test]
    fn a_refusal_is_told_at_once_and_then_once_a_minute_with_its_count() {
        let refusals = RefusedSignIns::default();
        refusals.note(refused(1), &arrival(), NOW);
        assert_eq!(counts(&refusals.due(NOW, false)), [1]);
        assert_eq!(
            counts(&refusals.due(NOW, false)),
            [1],
            "and the database does not answer"
        );
        refusals.told(&refused(1), 1, NOW);
        for second in 1..=5 {
            refusals.note(refused(1), &arrival(), NOW.plus_ms(second));
        }
        let soon = NOW.plus_ms(TOLD_EVERY_MS - 1);
        assert!(refusals.due(soon, false).is_empty());
        assert_eq!(
            counts(&refusals.due(soon, true)),
            [5],
            "the last flush waits for nothing"
        );
        let later = NOW.plus_ms(TOLD_EVERY_MS);
        let due = refusals.due(later, false);
        assert_eq!(counts(&due), [5]);
        assert_eq!(due[0].1.first_at, NOW.plus_ms(1));
        refusals.told(&refused(1), 5, later);
        assert!(refusals.due(later.plus_ms(TOLD_EVERY_MS), false).is_empty());
        assert!(refusals.locked().is_empty(), "what is told and over is forgotten");
    }

    #[test]
    fn what_is_too_much_is_counted_together() {
        let refusals = RefusedSignIns::default();
        for number in 0..MAX_APART + 7 {
            refusals.note(refused(number), &arrival(), NOW);
        }
        let due = refusals.due(NOW, false);
        assert_eq!(due.len(), MAX_APART + 1);
        let others = due.iter().find(|(one, _)| *one == RefusedSignIn::of_others());
        assert_eq!(others.map(|(_, noted)| noted.count), Some(7));
    }
}
