//! Invitations by link: create, list, revoke. Accepting one is in [`crate::accept_invitation`].
//!
//! The secret of a link is drawn here and handed out once; what is kept is its digest. Who may not make somebody an Owner
//! may not invite one either, and a later invitation of an address takes the place of the one before.

use keyward_core::audit::{Detail, Event};
use keyward_core::email::EmailAddress;
use keyward_core::field::FieldProblem;
use keyward_core::ids::{InvitationId, OrganizationId};
use keyward_core::invitation::{
    DEFAULT_LIFETIME_MS, InvitationDigest, InvitationEnd, MAX_LIFETIME_MS, new_invitation_secret,
};
use keyward_core::random::RandomUnavailable;
use keyward_core::role::Role;
use keyward_core::secret::{InvitationKind, Secret};
use keyward_core::time::duration_words;
use keyward_store::invitations::Invitation;

use crate::Engine;
use crate::clock::SystemRandom;
use crate::context::Context;
use crate::error::EngineError;
use crate::show_keys::Page;
use crate::standing::{acting_role, require_change, require_manager};

/// Most invitations of an organization that can be accepted at a time.
pub const MAX_OPEN: i64 = 1_000;

/// Who is to be invited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvitationDraft {
    /// Their address.
    pub email: EmailAddress,
    /// In which role.
    pub role: Role,
    /// For how long; 7 days if it is not said.
    pub lifetime_ms: Option<i64>,
}

/// A new invitation with the secret of its link.
#[derive(Debug)]
pub struct CreatedInvitation {
    /// The invitation.
    pub invitation: Invitation,
    /// The secret, to be shown once.
    pub secret: Secret<InvitationKind>,
}

impl Engine {
    /// Invites somebody. Invitations of the same address that can still be accepted are replaced.
    ///
    /// # Errors
    /// [`EngineError::Invalid`], [`EngineError::Forbidden`], [`EngineError::Conflict`] for whoever belongs to the
    /// organization already.
    pub async fn create_invitation(
        &self,
        context: &Context,
        organization: &OrganizationId,
        draft: InvitationDraft,
    ) -> Result<CreatedInvitation, EngineError> {
        let lifetime_ms = draft.lifetime_ms.unwrap_or(DEFAULT_LIFETIME_MS);
        if !(1..=MAX_LIFETIME_MS).contains(&lifetime_ms) {
            return Err(EngineError::Invalid(vec![FieldProblem {
                field: "expires_in".to_owned(),
                message: format!("must be at most {}", duration_words(MAX_LIFETIME_MS)),
            }]));
        }
        let now = self.now();
        let secret = new_invitation_secret(&mut SystemRandom)?;
        let digest = InvitationDigest::of(secret.reveal()).ok_or(RandomUnavailable)?;
        let id: InvitationId = uuid::Uuid::now_v7()
            .to_string()
            .parse()
            .map_err(|_| RandomUnavailable)?;
        let invitation = Invitation {
            organization_id: organization.clone(),
            id,
            email: draft.email,
            role: draft.role,
            invited_by: context.actor.clone(),
            created_at: now,
            expires_at: now.plus_ms(lifetime_ms),
            ended: None,
        };
        let mut tx = self.inner.store.begin().await?;
        let found = tx.lock_organization(organization).await?;
        let found = found.ok_or(EngineError::NotFound("organization"))?;
        let acting = acting_role(&mut tx, organization, &context.actor).await?;
        require_change(acting, invitation.role)?;
        // What is replaced is taken back: whoever may not do that may not do it by this way either.
        for role in tx.open_invitation_roles(organization, &invitation.email).await? {
            require_change(acting, role)?;
        }
        if found.deletion.is_some() {
            return Err(EngineError::Conflict(
                "the organization is deleted; restore it before you invite somebody".to_owned(),
            ));
        }
        let there = tx.find_member_by_email(organization, &invitation.email).await?;
        if let Some(member) = there {
            return Err(EngineError::Conflict(format!(
                "whoever has this address belongs to the organization already, as {}; change their role instead",
                member.role.name()
            )));
        }
        let replaced = tx
            .replace_invitations(organization, &invitation.email, now)
            .await?;
        if tx.count_open_invitations(organization, now).await? >= MAX_OPEN {
            return Err(EngineError::Conflict(format!(
                "there are {MAX_OPEN} invitations that nobody accepted yet; take some back first"
            )));
        }
        tx.insert_invitation(&invitation, &digest).await?;
        let event = Event {
            actor: context.actor.to_string(),
            action: "invitation.create",
            target: format!("invitation/{}", invitation.id),
            request_id: context.request_id.to_string(),
            detail: Detail::new()
                .fact("role", invitation.role.name())
                .fact("expires_at_ms", invitation.expires_at.as_unix_ms())
                .fact("replaced", replaced)
                .personal("email", invitation.email.as_str(), &mut SystemRandom)?,
        };
        tx.append_audit(organization.as_str(), &event, now).await?;
        tx.commit().await?;
        Ok(CreatedInvitation { invitation, secret })
    }

    /// Invitations of an organization after a position, in the order in which they were made; ended ones as well.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn list_invitations(
        &self,
        organization: &OrganizationId,
        after: &str,
        limit: u32,
    ) -> Result<Page<Invitation>, EngineError> {
        let limit_and_one = i64::from(limit) + 1;
        let rows = self
            .inner
            .store
            .list_invitations(organization, after, limit_and_one);
        Ok(Page::cut(rows.await?, limit, |invitation| {
            invitation.id.to_string()
        }))
    }

    /// Takes an invitation back. One that was taken back or replaced before stays as it is.
    ///
    /// # Errors
    /// [`EngineError::Conflict`] for one that was accepted: then there is a member to remove.
    pub async fn revoke_invitation(
        &self,
        context: &Context,
        organization: &OrganizationId,
        id: &InvitationId,
    ) -> Result<Invitation, EngineError> {
        let now = self.now();
        let mut tx = self.inner.store.begin().await?;
        let found = tx.lock_organization(organization).await?;
        found.ok_or(EngineError::NotFound("organization"))?;
        let acting = acting_role(&mut tx, organization, &context.actor).await?;
        require_manager(acting)?;
        let found = tx.find_invitation(organization, id).await?;
        let invitation = found.ok_or(EngineError::NotFound("invitation"))?;
        require_change(acting, invitation.role)?;
        match invitation.ended {
            Some((InvitationEnd::Accepted, _)) => {
                return Err(EngineError::Conflict(
                    "the invitation was accepted; remove the member instead".to_owned(),
                ));
            }
            Some(_) => return Ok(invitation),
            None => {}
        }
        tx.end_invitation(organization, id, InvitationEnd::Revoked, now)
            .await?;
        let event = Event {
            actor: context.actor.to_string(),
            action: "invitation.revoke",
            target: format!("invitation/{id}"),
            request_id: context.request_id.to_string(),
            detail: Detail::new().fact("role", invitation.role.name()),
        };
        tx.append_audit(organization.as_str(), &event, now).await?;
        tx.commit().await?;
        Ok(Invitation {
            ended: Some((InvitationEnd::Revoked, now)),
            ..invitation
        })
    }
}
