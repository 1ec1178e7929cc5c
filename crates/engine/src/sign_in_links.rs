//! One-time links that set a passphrase: create, show, redeem.

use keyward_core::email::EmailAddress;
use keyward_core::secret::{PassphraseKind, Secret, SignInLinkKind};
pub use keyward_core::sign_in_link::LinkPurpose;
use keyward_core::time::Timestamp;
use keyward_core::usage::ClientName;

use crate::Engine;
use crate::context::Context;
use crate::error::EngineError;
use crate::sessions::NewSession;
use crate::sign_ins::Arrival;

/// A new link.
#[derive(Debug)]
pub struct CreatedSignInLink {
    /// The secret, to be shown once.
    pub secret: Secret<SignInLinkKind>,
    /// Whom it lets in.
    pub email: EmailAddress,
    /// It is good before this moment.
    pub expires_at: Timestamp,
}

/// What whoever opens a link is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignInLinkView {
    /// Whom it lets in.
    pub email: EmailAddress,
    /// What for.
    pub purpose: LinkPurpose,
    /// Whether they have a passphrase, which the new one takes the place of.
    pub has_passphrase: bool,
    /// It is good before this moment.
    pub expires_at: Timestamp,
}

impl Engine {
    /// Makes a link for whoever has this address, in place of earlier ones. For the local administrator: its callers see to that.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] if nobody has the address.
    pub async fn create_sign_in_link(
        &self,
        context: &Context,
        email: &str,
        purpose: LinkPurpose,
    ) -> Result<CreatedSignInLink, EngineError> {
        todo!("{context:?} {email} {purpose:?}")
    }

    /// What a link is for. Spends nothing.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] for one that is unknown, used or over.
    pub async fn show_sign_in_link(
        &self,
        secret: &Secret<SignInLinkKind>,
    ) -> Result<SignInLinkView, EngineError> {
        todo!("{secret:?}")
    }

    /// Sets the passphrase, spends the link, ends every other session of the person and begins a new one. It needs the
    /// second factor if the person has one and the link does not begin anew.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] as for [`Engine::show_sign_in_link`]; [`EngineError::Invalid`] with the field `passphrase`, which
    /// loses nothing.
    pub async fn redeem_sign_in_link(
        &self,
        arrival: &Arrival,
        client: &ClientName,
        secret: &Secret<SignInLinkKind>,
        passphrase: &Secret<PassphraseKind>,
    ) -> Result<NewSession, EngineError> {
        todo!("{arrival:?} {client:?} {secret:?} {passphrase:?}")
    }
}
