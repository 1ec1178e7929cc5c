//! Remove a member, after it is said what becomes of the keys that they answer for.
//!
//! Without a word about the keys nothing happens, and whoever asked is told which ones there are. Keys are handed over
//! or ended one by one, each in its own transaction; the membership goes last, in one that finds no such key left. So a
//! removal that was interrupted leaves a member, and asking again goes on where it stopped.

use keyward_core::audit::{Detail, Event};
use keyward_core::ids::{KeyId, OrganizationId, PersonId};
use keyward_core::record::{Actor, Key};
use keyward_core::role::Role;
use keyward_core::state::DeleteReason;
use keyward_store::members::Member;
use keyward_store::{StoreError, Tx};

use crate::Engine;
use crate::change_role::{require_another_owner, revoke_invitations_by};
use crate::clock::SystemRandom;
use crate::context::Context;
use crate::error::EngineError;
use crate::standing::{acting_role, require_change, require_key_writer};

/// Most keys that an answer lists.
pub(crate) const MAX_LISTED: i64 = 100;
/// Keys that are looked up at a time.
const STEP: i64 = 100;

/// What becomes of the keys of somebody who leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeysOfLeaver {
    /// They stay as they are.
    Keep,
    /// This person, an Owner or Admin, answers for them from now on.
    HandOver(PersonId),
    /// They end, because their creator left.
    End,
}

impl KeysOfLeaver {
    const fn name(&self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::HandOver(_) => "hand_over",
            Self::End => "end",
        }
    }
}

/// What a removal did, or needs to know.
#[derive(Debug, Clone)]
pub enum Removal {
    /// The person is no member any more.
    Done(MemberRemoved),
    /// There are keys, and nobody said what becomes of them. Nothing was changed.
    Undecided(LivingKeys),
}

/// What a removal did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberRemoved {
    /// Who is gone.
    pub member: Member,
    /// Keys that were left as they are.
    pub kept: u64,
    /// Keys that were handed over by this call.
    pub handed_over: u64,
    /// Keys that were ended by this call; no verify accepts them any more.
    pub ended: u64,
}

/// Keys that did not end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LivingKeys {
    /// How many there are.
    pub count: u64,
    /// The first of them.
    pub keys: Vec<Key>,
}

impl Engine {
    /// Removes a member.
    ///
    /// # Errors
    /// [`EngineError::Forbidden`], [`EngineError::Conflict`] for the last Owner or an unfit successor; where keys were
    /// ended or handed over before a failure, they stay so.
    pub async fn remove_member(
        &self,
        context: Context,
        organization: OrganizationId,
        person: PersonId,
        keys: Option<KeysOfLeaver>,
    ) -> Result<Removal, EngineError> {
        let engine = self.clone();
        // In a task of its own: whoever asked may go away between two keys.
        let task = self.inner.tasks.spawn(async move {
            let leaver = Leaver {
                context: &context,
                organization: &organization,
                person: &person,
            };
            engine.remove_member_here(&leaver, keys).await
        });
        task.await.unwrap_or(Err(EngineError::OutcomeUnknown))
    }

    async fn remove_member_here(
        &self,
        leaver: &Leaver<'_>,
        keys: Option<KeysOfLeaver>,
    ) -> Result<Removal, EngineError> {
        let mut tx = self.inner.store.begin().await?;
        let (_, acting) = leaver.confirm(&mut tx).await?;
        if let Some(KeysOfLeaver::HandOver(to)) = &keys {
            leaver.confirm_successor(&mut tx, to).await?;
        }
        tx.rollback().await?;
        let keys = match keys {
            Some(keys) => keys,
            // Somebody who may not know of keys leaves: their keys are not theirs to decide about.
            None if acting == Role::Member => KeysOfLeaver::Keep,
            None => {
                let living = self.keys_of_member(leaver.organization, leaver.person).await?;
                if living.count > 0 {
                    return Ok(Removal::Undecided(living));
                }
                // A key that appears from here on was decided about by nobody: it is kept, and shows its creator.
                KeysOfLeaver::Keep
            }
        };
        if acting == Role::Member && keys != KeysOfLeaver::Keep {
            return Err(EngineError::Forbidden(
                "only an Owner or Admin decides about keys; leave without deciding about them".to_owned(),
            ));
        }
        self.remove_deciding(leaver, &keys).await.map(Removal::Done)
    }

    async fn remove_deciding(
        &self,
        leaver: &Leaver<'_>,
        keys: &KeysOfLeaver,
    ) -> Result<MemberRemoved, EngineError> {
        let (mut handed_over, mut ended) = (0, 0);
        loop {
            let left = match keys {
                KeysOfLeaver::Keep => Vec::new(),
                KeysOfLeaver::HandOver(_) | KeysOfLeaver::End => {
                    let mut tx = self.inner.store.begin().await?;
                    let left = tx
                        .list_key_ids_of_person(leaver.organization, leaver.person, STEP)
                        .await?;
                    tx.rollback().await?;
                    left
                }
            };
            if *keys == KeysOfLeaver::End {
                // Those that had ended before may have been ended by a request that was not answered.
                self.confirm_found().await?;
            }
            for id in left {
                match keys {
                    KeysOfLeaver::Keep => {}
                    KeysOfLeaver::HandOver(to) => handed_over += self.hand_over(leaver, id, to).await?,
                    KeysOfLeaver::End => ended += self.end_key_of(leaver, id).await?,
                }
            }
            if let Some((member, kept)) = self.end_membership(leaver, keys, (handed_over, ended)).await? {
                return Ok(MemberRemoved {
                    member,
                    kept,
                    handed_over,
                    ended,
                });
            }
        }
    }

    async fn end_key_of(&self, leaver: &Leaver<'_>, id: KeyId) -> Result<u64, EngineError> {
        let context = leaver.context.clone();
        let organization = leaver.organization.clone();
        let written = self
            .delete_key(context, organization, id, DeleteReason::CreatorLeft)
            .await?;
        Ok(u64::from(written.is_changed))
    }

    /// Makes `to` answer for a key; 1 if it was handed over, 0 if it ended meanwhile. What decides about the key stays,
    /// and with it its version and seals.
    async fn hand_over(&self, leaver: &Leaver<'_>, id: KeyId, to: &PersonId) -> Result<u64, EngineError> {
        if !self.inner.right.is_held() {
            return Err(EngineError::Unavailable(StoreError::NotTheWriter));
        }
        let now = self.now();
        let organization = leaver.organization;
        let mut tx = self.inner.store.begin().await?;
        let Some(stored) = tx.lock_key(organization, id).await? else {
            return Ok(0);
        };
        let record = &stored.key.record;
        if record.state.is_deleted() {
            return Ok(0);
        }
        // After the key: others that hold it wait for the organization, and its holder waits for members.
        leaver.confirm_successor(&mut tx, to).await?;
        leaver.confirm_acting(&mut tx).await?;
        tx.set_responsible(organization, id, to, now).await?;
        let event = Event {
            actor: leaver.context.actor.to_string(),
            action: "key.hand_over",
            target: format!("key/{id}"),
            request_id: leaver.context.request_id.to_string(),
            detail: Detail::new()
                .fact("from", leaver.person.as_str())
                .fact("to", to.as_str()),
        };
        tx.record_key_write(record, &event, self.inner.right.epoch(), now)
            .await?;
        tx.commit().await?;
        Ok(1)
    }

    /// Ends the membership; `None` if a key appeared meanwhile that has to be decided about first.
    async fn end_membership(
        &self,
        leaver: &Leaver<'_>,
        keys: &KeysOfLeaver,
        (handed_over, ended): (u64, u64),
    ) -> Result<Option<(Member, u64)>, EngineError> {
        let now = self.now();
        let (organization, person) = (leaver.organization, leaver.person);
        let mut tx = self.inner.store.begin().await?;
        let (member, _) = leaver.confirm(&mut tx).await?;
        // First: whoever makes a key holds their membership until the key is there.
        tx.delete_member(organization, person).await?;
        let left = tx.count_keys_of_person(organization, person).await?;
        if left > 0 && *keys != KeysOfLeaver::Keep {
            tx.rollback().await?;
            return Ok(None);
        }
        let kept = u64::try_from(left).unwrap_or_default();
        let revoked = revoke_invitations_by(&mut tx, organization, person, Role::ALL, now).await?;
        let event = Event {
            actor: leaver.context.actor.to_string(),
            action: "member.remove",
            target: format!("person/{person}"),
            request_id: leaver.context.request_id.to_string(),
            detail: Detail::new()
                .fact("role", member.role.name())
                .fact("keys", keys.name())
                .fact("kept", kept)
                .fact("handed_over", handed_over)
                .fact("ended", ended)
                .fact("revoked_invitations", revoked)
                .personal("email", &member.email, &mut SystemRandom)?,
        };
        tx.append_audit(organization.as_str(), &event, now).await?;
        tx.commit().await?;
        Ok(Some((member, kept)))
    }
}

/// Somebody who is to leave an organization.
struct Leaver<'a> {
    context: &'a Context,
    organization: &'a OrganizationId,
    person: &'a PersonId,
}

impl Leaver<'_> {
    /// Makes sure, under the organization's lock, that the person may be removed by whoever asks; with the role of the
    /// latter.
    async fn confirm(&self, tx: &mut Tx) -> Result<(Member, Role), EngineError> {
        let found = tx.lock_organization(self.organization).await?;
        found.ok_or(EngineError::NotFound("organization"))?;
        let acting = acting_role(tx, self.organization, &self.context.actor).await?;
        let found = tx.find_member(self.organization, self.person).await?;
        let member = found.ok_or(EngineError::NotFound("member"))?;
        if self.context.actor != Actor::Person(self.person.clone()) {
            require_change(acting, member.role)?;
        }
        if member.role == Role::Owner {
            require_another_owner(tx, self.organization).await?;
        }
        Ok((member, acting))
    }

    /// Makes sure that whoever asked for the removal may still write keys. Their row is read and not locked: a change of role locks two
    /// members, and so would this, in another order.
    async fn confirm_acting(&self, tx: &mut Tx) -> Result<(), EngineError> {
        let Actor::Person(acting) = &self.context.actor else {
            return Ok(());
        };
        let found = tx.find_member(self.organization, acting).await?;
        require_key_writer(found.map(|member| member.role))
    }

    /// Makes sure that keys can be handed over to `to`, who stays what they are until the transaction ends.
    async fn confirm_successor(&self, tx: &mut Tx, to: &PersonId) -> Result<(), EngineError> {
        let role = tx.lock_member(self.organization, to).await?;
        let is_fit = to != self.person && role.is_some_and(Role::is_manager);
        if is_fit {
            Ok(())
        } else {
            Err(EngineError::Conflict(
                "keys are handed over to another member who is an Owner or Admin; name one in `to`"
                    .to_owned(),
            ))
        }
    }
}
