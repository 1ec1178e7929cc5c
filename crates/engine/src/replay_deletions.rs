//! End once more what ended after a backup was made ([`crate::later_deletions`]), so that a restore revives nothing.
//!
//! Each deletion is a write of its own with its entry in the trail, which names the entry that it repeats. What ended already
//! is found so: running it again changes nothing and tells nothing. What the backup does not know, because it was made later,
//! is not there. A failure of the database stops it; what was done stays done, and the next run goes on.

use std::collections::BTreeMap;

use keyward_core::audit::{Detail, Event, NO_ORGANIZATION};
use keyward_core::ids::{InvitationId, KeyId, OrganizationId, PersonId};
use keyward_core::invitation::InvitationEnd;
use keyward_core::record::KeyRecord;
use keyward_core::role::Role;
use keyward_core::state::{DeleteReason, KeyState, SecretLife};
use keyward_core::time::Timestamp;
use keyward_store::keys::StoredKey;
use keyward_store::organizations::{Organization, OrganizationDeletion};

use crate::Engine;
use crate::change_role::{require_another_owner, revoke_invitations_by};
use crate::context::Context;
use crate::delete_key::deletion;
use crate::delete_organization::RESTORABLE_MS;
use crate::error::EngineError;
use crate::key_write::{BrokenSeals, Change, Plan, SecretsChange};
use crate::later_deletions::{Ended, LaterDeletion, LaterDeletions};
use crate::organization_write::{OrganizationChange, OrganizationPlan};
use crate::sealing::Seals;

/// What became of one deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replay {
    /// It ended now.
    Replayed,
    /// It had ended.
    AlreadySo,
    /// The database does not have it.
    NotFound,
    /// It can't be ended; why.
    Refused(String),
}

impl Replay {
    /// The name in replies.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Replayed => "replayed",
            Self::AlreadySo => "already_so",
            Self::NotFound => "not_found",
            Self::Refused(_) => "refused",
        }
    }
}

/// A deletion and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayedDeletion {
    /// What ended.
    pub deletion: LaterDeletion,
    /// What became of it.
    pub outcome: Replay,
}

/// What is repeated, where.
struct Repeating<'a> {
    context: &'a Context,
    organization: &'a OrganizationId,
    deletion: &'a LaterDeletion,
    /// What was made after this moment is something else of the same name.
    made_until: Timestamp,
}

impl Repeating<'_> {
    /// Adds which entry is repeated.
    fn told(&self, detail: Detail) -> Detail {
        detail
            .fact("replays_sequence", self.deletion.sequence)
            .fact("replays_at_ms", self.deletion.at.as_unix_ms())
    }

    fn event(&self, action: &'static str, target: String, detail: Detail) -> Event {
        Event {
            actor: self.context.actor.to_string(),
            action,
            target,
            request_id: self.context.request_id.to_string(),
            detail: self.told(detail),
        }
    }
}

impl Engine {
    /// Ends what ended later.
    ///
    /// # Errors
    /// [`EngineError`] of the database; what was done stays done.
    pub async fn replay_deletions(
        &self,
        context: &Context,
        later: &LaterDeletions,
    ) -> Result<Vec<ReplayedDeletion>, EngineError> {
        let Some(organization) = &later.organization else {
            return Ok(Vec::new());
        };
        let mut replayed = Vec::with_capacity(later.deletions.len());
        for deletion in &later.deletions {
            let repeating = Repeating {
                context,
                organization,
                deletion,
                made_until: later.common_at,
            };
            let outcome = match self.repeat(&repeating).await {
                Ok(true) => Replay::Replayed,
                Ok(false) => Replay::AlreadySo,
                Err(EngineError::NotFound(_)) => Replay::NotFound,
                Err(EngineError::Conflict(why) | EngineError::Forbidden(why)) => Replay::Refused(why),
                Err(EngineError::SealBroken) => Replay::Refused(
                    "its seals do not open, so that no verify accepts it; delete it".to_owned(),
                ),
                Err(error) => return Err(error),
            };
            replayed.push(ReplayedDeletion {
                deletion: deletion.clone(),
                outcome,
            });
        }
        self.tell_of_replay(context, later, &replayed).await?;
        Ok(replayed)
    }

    /// Repeats one deletion; whether it changed something.
    async fn repeat(&self, repeating: &Repeating<'_>) -> Result<bool, EngineError> {
        match &repeating.deletion.ended {
            Ended::Key(id, reason) => self.end_key_again(repeating, *id, *reason).await,
            Ended::Secrets(id, lives) => self.end_secrets_again(repeating, *id, lives.clone()).await,
            Ended::Token(id) => {
                let detail = repeating.told(Detail::new().fact("reason", "replayed"));
                let organization = repeating.organization.clone();
                let ended = self.end_token(repeating.context.clone(), organization, *id, detail);
                Ok(ended.await?.is_changed)
            }
            Ended::Member(person) => self.remove_member_again(repeating, person).await,
            Ended::Invitation(id) => self.end_invitation_again(repeating, id).await,
            Ended::Organization => self.delete_organization_again(repeating).await,
        }
    }

    async fn end_key_again(
        &self,
        repeating: &Repeating<'_>,
        id: KeyId,
        reason: DeleteReason,
    ) -> Result<bool, EngineError> {
        let (subject, ended_at) = ((repeating.organization.clone(), id), repeating.deletion.at);
        let told = repeating.told(Detail::new());
        let plan = move |stored: &StoredKey, seals, now: Timestamp| {
            let record = &stored.key.record;
            if record.state.is_deleted() && seals == Seals::Intact {
                return Plan::Reached;
            }
            let mut change = deletion(stored, reason, now);
            change.key.record = KeyRecord {
                state: KeyState::Deleted {
                    reason,
                    at: ended_at.min(now),
                },
                ..record.clone()
            };
            change.detail = change.detail.and(told);
            Plan::Change(Box::new(change))
        };
        let context = repeating.context.clone();
        Ok(self
            .write_key(context, subject, BrokenSeals::Wipe, plan)
            .await?
            .is_changed)
    }

    async fn end_secrets_again(
        &self,
        repeating: &Repeating<'_>,
        id: KeyId,
        lives: BTreeMap<i64, SecretLife>,
    ) -> Result<bool, EngineError> {
        let (subject, made_until) = ((repeating.organization.clone(), id), repeating.made_until);
        let told = repeating.told(Detail::new());
        let plan = move |stored: &StoredKey, _, now: Timestamp| {
            if stored.key.record.state.is_deleted() {
                return Plan::Reached;
            }
            let (mut detail, mut changed, mut is_there) = (told, Vec::new(), false);
            for secret in stored
                .secrets
                .iter()
                .filter(|secret| secret.created_at <= made_until)
            {
                let Some(life) = lives.get(&secret.number) else {
                    continue;
                };
                is_there = true;
                let life = match life.ends_at() {
                    Some(end) if end > now => *life,
                    _ => SecretLife::Ended,
                };
                if is_shorter(life, secret.life) {
                    let name = format!("secret_{}", secret.number);
                    detail = detail
                        .fact(&name, life.name())
                        .fact(&format!("{name}_was"), secret.life.name());
                    if let Some(end) = life.ends_at() {
                        detail = detail.fact(&format!("{name}_until_ms"), end.as_unix_ms());
                    }
                    changed.push((secret.number, life));
                }
            }
            match (is_there, changed.is_empty()) {
                (false, _) => Plan::Refuse(EngineError::NotFound("secret")),
                (true, true) => Plan::Reached,
                (true, false) => Plan::Change(Box::new(Change {
                    secrets: SecretsChange {
                        lives: changed,
                        added: None,
                    },
                    ..Change::of_key(stored.key.clone(), "key.rotation_end", detail)
                })),
            }
        };
        let context = repeating.context.clone();
        Ok(self
            .write_key(context, subject, BrokenSeals::Refuse, plan)
            .await?
            .is_changed)
    }

    /// The keys that the member made stay: those that ended with them are told of by entries of their own.
    async fn remove_member_again(
        &self,
        repeating: &Repeating<'_>,
        person: &PersonId,
    ) -> Result<bool, EngineError> {
        let (organization, now) = (repeating.organization, self.now());
        let mut tx = self.inner.store.begin().await?;
        let found = tx.lock_organization(organization).await?;
        found.ok_or(EngineError::NotFound("organization"))?;
        // Who is none may have been removed by an earlier run, or joined after the backup.
        let Some(member) = tx.find_member(organization, person).await? else {
            return Ok(false);
        };
        if member.created_at > repeating.made_until {
            return Ok(false);
        }
        if member.role == Role::Owner {
            require_another_owner(&mut tx, organization).await?;
        }
        tx.delete_member(organization, person).await?;
        let revoked = revoke_invitations_by(&mut tx, organization, person, Role::ALL, now).await?;
        let detail = Detail::new()
            .fact("role", member.role.name())
            .fact("keys", "keep")
            .fact("revoked_invitations", revoked);
        let event = repeating.event("member.remove", format!("person/{person}"), detail);
        tx.append_audit(organization.as_str(), &event, now).await?;
        tx.fence(self.inner.right.epoch()).await?;
        tx.commit().await?;
        Ok(true)
    }

    async fn end_invitation_again(
        &self,
        repeating: &Repeating<'_>,
        id: &InvitationId,
    ) -> Result<bool, EngineError> {
        let (organization, now) = (repeating.organization, self.now());
        let mut tx = self.inner.store.begin().await?;
        let found = tx.lock_organization(organization).await?;
        found.ok_or(EngineError::NotFound("organization"))?;
        let found = tx.find_invitation(organization, id).await?;
        let invitation = found.ok_or(EngineError::NotFound("invitation"))?;
        if invitation.over_at(now).is_some() {
            return Ok(false);
        }
        tx.end_invitation(organization, id, InvitationEnd::Revoked, now)
            .await?;
        let detail = Detail::new().fact("role", invitation.role.name());
        let event = repeating.event("invitation.revoke", format!("invitation/{id}"), detail);
        tx.append_audit(organization.as_str(), &event, now).await?;
        tx.fence(self.inner.right.epoch()).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// It is purged 30 days from now, and can be restored until then.
    async fn delete_organization_again(&self, repeating: &Repeating<'_>) -> Result<bool, EngineError> {
        let deleted_by = repeating.context.actor.clone();
        let told = repeating.told(Detail::new());
        let plan = move |found: &Organization, now: Timestamp| {
            if found.deletion.is_some() && found.state.is_stopped() {
                return Ok(OrganizationPlan::Reached);
            }
            let deletion = OrganizationDeletion {
                deleted_by,
                deleted_at: now,
                purge_at: now.plus_ms(RESTORABLE_MS),
                purge_begun_at: None,
            };
            Ok(OrganizationPlan::Change(Box::new(OrganizationChange {
                action: "organization.delete",
                detail: told
                    .fact("was", found.state.name())
                    .fact("purge_at_ms", deletion.purge_at.as_unix_ms()),
                organization: Organization {
                    state: found.state.stopped(),
                    deletion: Some(deletion),
                    ..found.clone()
                },
            })))
        };
        let (context, organization) = (repeating.context.clone(), repeating.organization.clone());
        Ok(self
            .write_organization(context, organization, plan)
            .await?
            .is_changed)
    }

    /// Once more in the installation's own trail, if anything ended.
    async fn tell_of_replay(
        &self,
        context: &Context,
        later: &LaterDeletions,
        replayed: &[ReplayedDeletion],
    ) -> Result<(), EngineError> {
        let count = |outcome: &str| {
            let same = replayed.iter().filter(|one| one.outcome.name() == outcome);
            same.count()
        };
        if count("replayed") == 0 {
            return Ok(());
        }
        let event = Event {
            actor: context.actor.to_string(),
            action: "database.replay_deletions",
            target: "database".to_owned(),
            request_id: context.request_id.to_string(),
            detail: Detail::new()
                .fact("chain", later.chain())
                .fact("common_sequence", later.common)
                .fact("last_sequence", later.last)
                .fact("replayed", count("replayed"))
                .fact("already_so", count("already_so"))
                .fact("not_found", count("not_found"))
                .fact("refused", count("refused")),
        };
        let mut tx = self.inner.store.begin().await?;
        tx.append_audit(NO_ORGANIZATION, &event, self.now()).await?;
        tx.fence(self.inner.right.epoch()).await?;
        Ok(tx.commit().await?)
    }
}

/// Whether a secret would live shorter by it.
fn is_shorter(life: SecretLife, was: SecretLife) -> bool {
    match (life, was) {
        (_, SecretLife::Ended) => false,
        (SecretLife::Ended, _) => true,
        (life, was) => match (life.ends_at(), was.ends_at()) {
            (Some(end), Some(was)) => end < was,
            (Some(_), None) => true,
            (None, _) => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_lives_longer_by_a_replay() {
        let until = |ms| SecretLife::Until(Timestamp::from_unix_ms(ms));
        let pending = SecretLife::Pending {
            until: Timestamp::from_unix_ms(5),
            grace_ms: 1,
        };
        for (life, was, expected) in [
            (SecretLife::Ended, SecretLife::Current, true),
            (SecretLife::Ended, until(5), true),
            (SecretLife::Ended, pending, true),
            (SecretLife::Ended, SecretLife::Ended, false),
            (until(5), SecretLife::Current, true),
            (until(5), until(6), true),
            (until(5), until(5), false),
            (until(6), until(5), false),
            (until(6), pending, false),
            (until(6), SecretLife::Ended, false),
        ] {
            assert_eq!(is_shorter(life, was), expected, "{life:?} {was:?}");
        }
    }
}
