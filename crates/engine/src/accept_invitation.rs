//! Accept an invitation: whoever brings the secret of its link becomes a member, once.
//!
//! Nobody is known here but by that secret, so that it must stay cheap to be wrong: a text that can't be one ends before
//! the database, and any other costs one look-up. Person, membership and the end of the invitation are one transaction.
//!
//! A link shows that somebody got it, not that they are whoever has the address. So it sets a passphrase only for a person whom its
//! own transaction makes; whoever has a passphrase signs in and accepts as themselves; and nobody else's account is opened by it.

use keyward_core::audit::{Detail, Event};
use keyward_core::ids::PersonId;
use keyward_core::invitation::{InvitationDigest, InvitationEnd, InvitationOver};
use keyward_core::record::Actor;
use keyward_core::secret::{InvitationKind, PassphraseKind, Secret};
use keyward_core::session::SessionStage;
use keyward_core::time::Timestamp;
use keyward_core::usage::ClientName;
use keyward_store::Tx;
use keyward_store::invitations::Invitation;
use keyward_store::members::Member;
use keyward_store::organizations::Organization;

use crate::Engine;
use crate::clock::SystemRandom;
use crate::create_organization::new_person_id;
use crate::error::EngineError;
use crate::person_write::{lock_whole_session, require_whole};
use crate::refused_sign_ins::RefusedSignIn;
use crate::sessions::{NewSession, Session, begin_session};
use crate::sign_ins::Arrival;

/// Somebody who just became a member.
#[derive(Debug, Clone, PartialEq)]
pub struct AcceptedInvitation {
    /// Of what.
    pub organization: Organization,
    /// Who and as what.
    pub member: Member,
}

/// Who accepts.
enum Accepting<'a> {
    /// Whoever has the link.
    Bearer,
    /// Somebody whom nobody knows yet, with the hash of their passphrase.
    Anew { phc: &'a str, client: &'a ClientName },
    /// Whoever is signed in.
    SignedIn(&'a Session),
}

impl Engine {
    /// Accepts an invitation without signing in.
    ///
    /// # Errors
    /// [`EngineError::InvitationOver`] for one that ended, [`EngineError::NotFound`] for none,
    /// [`EngineError::Conflict`] for whoever belongs to the organization already, or has a passphrase and can sign in.
    pub async fn accept_invitation(
        &self,
        arrival: &Arrival,
        secret: &Secret<InvitationKind>,
    ) -> Result<AcceptedInvitation, EngineError> {
        let seen = self.open_invitation(arrival, secret).await?;
        let accepted = self.accept(arrival, &seen, Accepting::Bearer).await?;
        Ok(accepted.0)
    }

    /// Accepts an invitation for somebody whom nobody knows yet, and sets their passphrase.
    ///
    /// # Errors
    /// As for [`Engine::accept_invitation`]; [`EngineError::Conflict`] if somebody has the address already,
    /// [`EngineError::Invalid`] with the field `passphrase`, which loses nothing; [`EngineError::Busy`].
    pub async fn accept_invitation_anew(
        &self,
        arrival: &Arrival,
        client: &ClientName,
        secret: &Secret<InvitationKind>,
        passphrase: &Secret<PassphraseKind>,
    ) -> Result<(AcceptedInvitation, NewSession), EngineError> {
        let seen = self.open_invitation(arrival, secret).await?;
        // Asked before anything is hashed, and once more in the transaction.
        let there = self.inner.store.find_person_to_sign_in(&seen.email).await?;
        if there.is_some() {
            return Err(somebody_has_it());
        }
        let phc = self.hash_passphrase(arrival, passphrase, &seen.email).await?;
        let anew = Accepting::Anew { phc: &phc, client };
        let (accepted, begun) = self.accept(arrival, &seen, anew).await?;
        let begun = begun.ok_or_else(somebody_has_it)?;
        self.tell_begun(&begun, arrival).await?;
        Ok((accepted, begun))
    }

    /// Accepts an invitation as whoever is signed in.
    ///
    /// # Errors
    /// As for [`Engine::accept_invitation`]; [`EngineError::Forbidden`] if another address is invited.
    pub async fn accept_invitation_as(
        &self,
        arrival: &Arrival,
        session: &Session,
        secret: &Secret<InvitationKind>,
    ) -> Result<AcceptedInvitation, EngineError> {
        require_whole(session)?;
        let seen = self.open_invitation(arrival, secret).await?;
        let accepted = self.accept(arrival, &seen, Accepting::SignedIn(session)).await?;
        Ok(accepted.0)
    }

    /// The invitation of a link, if it can still be accepted.
    async fn open_invitation(
        &self,
        arrival: &Arrival,
        secret: &Secret<InvitationKind>,
    ) -> Result<Invitation, EngineError> {
        let unknown = EngineError::NotFound("invitation");
        let Some(digest) = InvitationDigest::of(secret.reveal()) else {
            return Err(unknown);
        };
        let found = self.inner.store.find_invitation_by_digest(&digest).await?;
        let seen = found.ok_or(unknown)?;
        // Asked before the database is written to, and once more under the lock.
        match seen.over_at(self.now()) {
            Some(over) => Err(self.refuse_invitation(&seen, over, (over.name(), arrival))),
            None => Ok(seen),
        }
    }

    async fn accept(
        &self,
        arrival: &Arrival,
        seen: &Invitation,
        accepting: Accepting<'_>,
    ) -> Result<(AcceptedInvitation, Option<NewSession>), EngineError> {
        let now = self.now();
        let mut tx = self.inner.store.begin().await?;
        let found = tx.lock_organization(&seen.organization_id).await?;
        let organization = found.ok_or(EngineError::NotFound("invitation"))?;
        let found = tx.find_invitation(&organization.id, &seen.id).await?;
        let invitation = found.ok_or(EngineError::NotFound("invitation"))?;
        if let Some(over) = invitation.over_at(now) {
            return Err(self.refuse_invitation(&invitation, over, (over.name(), arrival)));
        }
        if organization.deletion.is_some() {
            let why = ("organization_deleted", arrival);
            return Err(self.refuse_invitation(&invitation, InvitationOver::Revoked, why));
        }
        let there = tx
            .find_member_by_email(&organization.id, &invitation.email)
            .await?;
        if there.is_some() {
            return Err(EngineError::Conflict(
                "whoever was invited belongs to the organization already".to_owned(),
            ));
        }
        let person = person_who_accepts(&mut tx, &invitation, &accepting, now).await?;
        tx.end_invitation(&organization.id, &invitation.id, InvitationEnd::Accepted, now)
            .await?;
        tx.insert_member(&organization.id, &person, invitation.role, now)
            .await?;
        let event = Event {
            actor: Actor::Person(person.clone()).to_string(),
            action: "invitation.accept",
            target: format!("invitation/{}", invitation.id),
            request_id: arrival.request_id.to_string(),
            detail: Detail::new()
                .fact("person", person.as_str())
                .fact("role", invitation.role.name())
                .personal("email", invitation.email.as_str(), &mut SystemRandom)?,
        };
        tx.append_audit(organization.id.as_str(), &event, now).await?;
        let begun = match accepting {
            Accepting::Anew { phc, client } => {
                tx.put_passphrase(&person, phc, now).await?;
                let (who, from) = ((&person, &invitation.email), (arrival, client));
                let begun = begin_session(&mut tx, who, SessionStage::Whole, from, now).await?;
                self.append_begun(&mut tx, &begun, (arrival, Detail::new()), now)
                    .await?;
                Some(begun)
            }
            Accepting::Bearer | Accepting::SignedIn(_) => None,
        };
        self.commit_fenced(tx).await?;
        let member = Member {
            person_id: person,
            email: invitation.email.to_string(),
            role: invitation.role,
            created_at: now,
        };
        Ok((AcceptedInvitation { organization, member }, begun))
    }

    /// Notes for the trail that somebody holds the link of an invitation that is over.
    fn refuse_invitation(
        &self,
        invitation: &Invitation,
        over: InvitationOver,
        (reason, arrival): (&'static str, &Arrival),
    ) -> EngineError {
        let refused = RefusedSignIn::of_invitation(&invitation.organization_id, &invitation.id, reason);
        self.inner.refused_sign_ins.note(refused, arrival, self.now());
        EngineError::InvitationOver(over)
    }
}

/// Who becomes a member, made now where nobody has the address.
async fn person_who_accepts(
    tx: &mut Tx,
    invitation: &Invitation,
    accepting: &Accepting<'_>,
    now: Timestamp,
) -> Result<PersonId, EngineError> {
    match accepting {
        Accepting::Bearer => {
            let id = new_person_id()?;
            let person = tx.person_with_email(&invitation.email, &id, now).await?;
            // Locked, so that nobody sets a passphrase between the question and the commit.
            tx.lock_person(&person).await?;
            match tx.find_passphrase(&person).await? {
                None => Ok(person),
                Some(_) => Err(EngineError::Conflict(
                    "whoever was invited has a passphrase; sign in and accept the invitation there"
                        .to_owned(),
                )),
            }
        }
        Accepting::Anew { .. } => {
            let id = new_person_id()?;
            if tx.insert_person(&id, &invitation.email, now).await? {
                Ok(id)
            } else {
                Err(somebody_has_it())
            }
        }
        Accepting::SignedIn(session) => {
            let email = lock_whole_session(tx, session, now).await?;
            if email == invitation.email {
                Ok(session.person_id.clone())
            } else {
                Err(EngineError::Forbidden(
                    "another e-mail address is invited than the one that you are signed in with".to_owned(),
                ))
            }
        }
    }
}

fn somebody_has_it() -> EngineError {
    EngineError::Conflict(
        "somebody has this e-mail address already; they sign in and accept the invitation there".to_owned(),
    )
}
