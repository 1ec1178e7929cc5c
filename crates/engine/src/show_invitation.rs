//! What whoever opens the link of an invitation is shown before they accept it. Spends nothing.

use keyward_core::email::EmailAddress;
use keyward_core::ids::OrganizationId;
use keyward_core::invitation::{InvitationDigest, InvitationOver};
use keyward_core::role::Role;
use keyward_core::secret::{InvitationKind, Secret};
use keyward_core::time::Timestamp;

use crate::Engine;
use crate::error::EngineError;

/// What somebody has to do to accept an invitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvitationNeeds {
    /// Set a passphrase: nobody has this address yet.
    Passphrase,
    /// Sign in: somebody with a passphrase has it.
    SignIn,
    /// Ask an operator for a sign-in link: a person without a passphrase has it.
    Link,
}

/// An invitation as its bearer sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvitationView {
    /// Into which organization.
    pub organization_id: OrganizationId,
    /// Its name.
    pub organization_name: String,
    /// Who is invited.
    pub email: EmailAddress,
    /// As what.
    pub role: Role,
    /// It is good before this moment.
    pub expires_at: Timestamp,
    /// What it takes to accept it.
    pub needs: InvitationNeeds,
}

impl Engine {
    /// What an invitation's link is for.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::InvitationOver`].
    pub async fn show_invitation_of(
        &self,
        secret: &Secret<InvitationKind>,
    ) -> Result<InvitationView, EngineError> {
        let unknown = || EngineError::NotFound("invitation");
        let digest = InvitationDigest::of(secret.reveal()).ok_or_else(unknown)?;
        let store = &self.inner.store;
        let found = store.find_invitation_by_digest(&digest).await?;
        let invitation = found.ok_or_else(unknown)?;
        if let Some(over) = invitation.over_at(self.now()) {
            return Err(EngineError::InvitationOver(over));
        }
        let found = store.find_organization(&invitation.organization_id).await?;
        let organization = found.ok_or_else(unknown)?;
        if organization.deletion.is_some() {
            return Err(EngineError::InvitationOver(InvitationOver::Revoked));
        }
        let needs = match store.find_person_to_sign_in(&invitation.email).await? {
            None => InvitationNeeds::Passphrase,
            Some(person) if person.phc.is_some() => InvitationNeeds::SignIn,
            Some(_) => InvitationNeeds::Link,
        };
        Ok(InvitationView {
            organization_id: organization.id,
            organization_name: organization.name,
            email: invitation.email,
            role: invitation.role,
            expires_at: invitation.expires_at,
            needs,
        })
    }
}
