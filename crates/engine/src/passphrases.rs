//! Passphrases of people: changing one.

use keyward_core::secret::{PassphraseKind, Secret};
use keyward_core::usage::ClientName;
use keyward_store::StoreError;

use crate::Engine;
use crate::error::EngineError;
use crate::sessions::{NewSession, Session};
use crate::sign_ins::Arrival;

/// Why a change of what somebody signs in with did not happen.
#[derive(Debug, thiserror::Error)]
pub enum ChangeRefused {
    /// The passphrase or code is wrong.
    #[error("the passphrase or code is wrong")]
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
    /// It was not possible, or what was sent has problems ([`EngineError::Invalid`] with the field `passphrase`).
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl From<StoreError> for ChangeRefused {
    fn from(error: StoreError) -> Self {
        Self::Engine(error.into())
    }
}

impl Engine {
    /// Changes the passphrase of whoever is signed in. All their sessions end, and a new one begins.
    ///
    /// # Errors
    /// [`ChangeRefused`].
    pub async fn change_passphrase(
        &self,
        arrival: &Arrival,
        client: &ClientName,
        session: &Session,
        current: &Secret<PassphraseKind>,
        new: &Secret<PassphraseKind>,
    ) -> Result<NewSession, ChangeRefused> {
        todo!("{arrival:?} {client:?} {session:?} {current:?} {new:?}")
    }
}
