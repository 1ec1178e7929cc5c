//! The second factor: codes of an authenticator app (TOTP), and recovery codes for when it is lost.

use keyward_core::ids::PersonId;
use keyward_core::secret::{PassphraseKind, RecoveryCodeKind, Secret, TotpSeedKind};
use keyward_core::time::Timestamp;

use crate::Engine;
use crate::error::EngineError;
use crate::passphrases::ChangeRefused;
use crate::sessions::Session;
use crate::sign_ins::Arrival;

/// A seed that an authenticator app is to take over.
#[derive(Debug)]
pub struct SecondFactorOffer {
    /// For typing in.
    pub seed_base32: Secret<TotpSeedKind>,
    /// The `otpauth:` address, which holds the seed.
    pub uri: String,
    /// The address as a picture: a whole `<svg>` without style attributes or scripts.
    pub qr_svg: String,
}

/// How it stands with somebody's second factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecondFactorStanding {
    /// Whether sign-in asks for it.
    pub is_on: bool,
    /// Since when.
    pub since: Option<Timestamp>,
    /// Recovery codes that were not used yet.
    pub recovery_codes_left: i64,
}

impl Engine {
    /// How it stands with a person's second factor.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn show_second_factor(&self, person: &PersonId) -> Result<SecondFactorStanding, EngineError> {
        todo!("{person}")
    }

    /// Offers a new seed, in place of one that was offered before. A factor that is on stays in force until
    /// the new one is confirmed.
    ///
    /// # Errors
    /// [`ChangeRefused`].
    pub async fn begin_second_factor(
        &self,
        arrival: &Arrival,
        session: &Session,
        passphrase: &Secret<PassphraseKind>,
    ) -> Result<SecondFactorOffer, ChangeRefused> {
        todo!("{arrival:?} {session:?} {passphrase:?}")
    }

    /// What was offered in this session and can be confirmed still.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn show_offered_second_factor(
        &self,
        session: &Session,
    ) -> Result<Option<SecondFactorOffer>, EngineError> {
        todo!("{session:?}")
    }

    /// Turns what was offered on. Other sessions end. The recovery codes are given out this once.
    ///
    /// # Errors
    /// [`ChangeRefused`]; [`EngineError::Conflict`] if nothing is offered.
    pub async fn confirm_second_factor(
        &self,
        arrival: &Arrival,
        session: &Session,
        code: &str,
    ) -> Result<Vec<Secret<RecoveryCodeKind>>, ChangeRefused> {
        todo!("{arrival:?} {session:?} {code}")
    }

    /// Turns the second factor off.
    ///
    /// # Errors
    /// [`ChangeRefused`].
    pub async fn remove_second_factor(
        &self,
        arrival: &Arrival,
        session: &Session,
        passphrase: &Secret<PassphraseKind>,
    ) -> Result<(), ChangeRefused> {
        todo!("{arrival:?} {session:?} {passphrase:?}")
    }

    /// New recovery codes in place of those that are left.
    ///
    /// # Errors
    /// [`ChangeRefused`]; [`EngineError::Conflict`] if there is no second factor.
    pub async fn renew_recovery_codes(
        &self,
        arrival: &Arrival,
        session: &Session,
        passphrase: &Secret<PassphraseKind>,
    ) -> Result<Vec<Secret<RecoveryCodeKind>>, ChangeRefused> {
        todo!("{arrival:?} {session:?} {passphrase:?}")
    }
}
