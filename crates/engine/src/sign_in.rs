//! Sign in: a person's passphrase, then their second factor if they have one.

use keyward_core::secret::{PassphraseKind, Secret};
use keyward_core::usage::ClientName;
use keyward_store::StoreError;

use crate::Engine;
use crate::error::EngineError;
use crate::sessions::{NewSession, Session};
use crate::sign_ins::Arrival;

/// Why somebody is not signed in.
#[derive(Debug, thiserror::Error)]
pub enum SignInRefused {
    /// Unknown e-mail address, no passphrase, wrong passphrase or code: never told apart.
    #[error("e-mail address and passphrase or code do not fit")]
    Wrong,
    /// Too many were wrong.
    #[error("too many wrong attempts")]
    TooMany {
        /// When it is worth to try again.
        retry_after_ms: i64,
    },
    /// Too many passphrases are being checked just now.
    #[error("too many passphrases are being checked")]
    Busy,
    /// The half session ended: sign in from the start.
    #[error("the sign-in took too long or too many codes were wrong")]
    Over,
    /// The check could not be made.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl From<StoreError> for SignInRefused {
    fn from(error: StoreError) -> Self {
        Self::Engine(error.into())
    }
}

impl Engine {
    /// Signs in with a passphrase. The session needs a second factor if the person has one.
    ///
    /// # Errors
    /// [`SignInRefused`].
    pub async fn sign_in(
        &self,
        arrival: &Arrival,
        client: &ClientName,
        email: &str,
        passphrase: &Secret<PassphraseKind>,
    ) -> Result<NewSession, SignInRefused> {
        todo!("{arrival:?} {client:?} {email} {passphrase:?}")
    }

    /// Completes a sign-in with a code of the authenticator app or a recovery code. The half session ends, and a new one
    /// with a new token begins.
    ///
    /// # Errors
    /// [`SignInRefused`].
    pub async fn pass_second_factor(
        &self,
        arrival: &Arrival,
        client: &ClientName,
        session: &Session,
        code: &str,
    ) -> Result<NewSession, SignInRefused> {
        todo!("{arrival:?} {client:?} {session:?} {code}")
    }
}
