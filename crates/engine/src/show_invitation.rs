//! What whoever opens the link of an invitation is shown before they accept it. Spends nothing.

use keyward_core::email::EmailAddress;
use keyward_core::ids::OrganizationId;
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
        todo!("{secret:?}")
    }
}
