//! Accept an invitation: whoever brings the secret of its link becomes a member, once.
//!
//! Nobody is known here but by that secret, so that it must stay cheap to be wrong: a text that can't be one ends before
//! the database, and any other costs one look-up. Person, membership and the end of the invitation are one transaction.

use keyward_core::audit::{Detail, Event};
use keyward_core::invitation::{InvitationDigest, InvitationEnd, InvitationOver};
use keyward_core::record::Actor;
use keyward_core::secret::{InvitationKind, PassphraseKind, Secret};
use keyward_core::usage::ClientName;
use keyward_store::invitations::Invitation;
use keyward_store::members::Member;
use keyward_store::organizations::Organization;

use crate::Engine;
use crate::clock::SystemRandom;
use crate::create_organization::new_person_id;
use crate::error::EngineError;
use crate::refused_sign_ins::RefusedSignIn;
use crate::sessions::{NewSession, Session};
use crate::sign_ins::Arrival;

/// Somebody who just became a member.
#[derive(Debug, Clone, PartialEq)]
pub struct AcceptedInvitation {
    /// Of what.
    pub organization: Organization,
    /// Who and as what.
    pub member: Member,
}

impl Engine {
    /// Accepts an invitation.
    ///
    /// # Errors
    /// [`EngineError::InvitationOver`] for one that ended, [`EngineError::NotFound`] for none,
    /// [`EngineError::Conflict`] for whoever belongs to the organization already.
    pub async fn accept_invitation(
        &self,
        arrival: &Arrival,
        secret: &Secret<InvitationKind>,
    ) -> Result<AcceptedInvitation, EngineError> {
        let unknown = EngineError::NotFound("invitation");
        let Some(digest) = InvitationDigest::of(secret.reveal()) else {
            return Err(unknown);
        };
        let found = self.inner.store.find_invitation_by_digest(&digest).await?;
        let seen = found.ok_or(unknown)?;
        let now = self.now();
        // Asked before the database is written to, and once more under the lock.
        if let Some(over) = seen.over_at(now) {
            return Err(self.refuse_invitation(&seen, over, (over.name(), arrival)));
        }
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
        tx.end_invitation(&organization.id, &invitation.id, InvitationEnd::Accepted, now)
            .await?;
        let person = tx
            .person_with_email(&invitation.email, &new_person_id()?, now)
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
        tx.commit().await?;
        Ok(AcceptedInvitation {
            organization,
            member: Member {
                person_id: person,
                email: invitation.email.to_string(),
                role: invitation.role,
                created_at: now,
            },
        })
    }

    /// Accepts an invitation for somebody whom nobody knows yet, and sets their passphrase.
    ///
    /// # Errors
    /// As for [`Engine::accept_invitation`]; [`EngineError::Conflict`] if somebody has the address already,
    /// [`EngineError::Invalid`] with the field `passphrase`, which loses nothing.
    pub async fn accept_invitation_anew(
        &self,
        arrival: &Arrival,
        client: &ClientName,
        secret: &Secret<InvitationKind>,
        passphrase: &Secret<PassphraseKind>,
    ) -> Result<(AcceptedInvitation, NewSession), EngineError> {
        todo!("{arrival:?} {client:?} {secret:?} {passphrase:?}")
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
        todo!("{arrival:?} {session:?} {secret:?}")
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
