//! Passphrases of people: hashing and comparing them in turn, and changing one.
//!
//! Whoever is signed in and changes what they sign in with gives their passphrase once more: an unattended browser must not be enough to
//! take somebody's place for good. Wrong ones count as at sign-in.

use keyward_core::audit::Detail;
use keyward_core::email::EmailAddress;
use keyward_core::field::FieldProblem;
use keyward_core::passphrase;
use keyward_core::random::RandomUnavailable;
use keyward_core::secret::{PassphraseKind, Secret};
use keyward_core::session::SessionStage;
use keyward_core::totp::SeedStanding;
use keyward_core::usage::ClientName;
use keyward_store::StoreError;

use crate::Engine;
use crate::clock::SystemRandom;
use crate::error::EngineError;
use crate::person_write::{PersonEvent, as_person, lock_whole_session, require_whole, with_address};
use crate::sessions::{NewSession, Session, begin_session};
use crate::sign_ins::Arrival;

/// Why a change of what somebody signs in with did not happen.
#[derive(Debug, thiserror::Error)]
pub enum ChangeRefused {
    /// The passphrase or code is wrong.
    #[error("the passphrase or code is wrong")]
    Wrong,
    /// It was not possible, too many attempts were wrong ([`EngineError::TooMany`]) or are being checked ([`EngineError::Busy`]), or what was sent has problems ([`EngineError::Invalid`] with the field `passphrase`).
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl From<StoreError> for ChangeRefused {
    fn from(error: StoreError) -> Self {
        Self::Engine(error.into())
    }
}

impl From<RandomUnavailable> for ChangeRefused {
    fn from(error: RandomUnavailable) -> Self {
        Self::Engine(error.into())
    }
}

/// What came of comparing a passphrase.
pub(crate) struct Compared {
    /// Whether it is the one.
    pub(crate) is_right: bool,
    /// Its hash with today's parameters, if what is kept has others.
    pub(crate) upgraded: Option<String>,
}

impl Engine {
    /// Whether somebody has this address and a passphrase.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn has_passphrase(&self, email: &str) -> Result<bool, EngineError> {
        let Ok(email) = email.trim().parse::<EmailAddress>() else {
            return Ok(false);
        };
        let found = self.inner.store.find_person_to_sign_in(&email).await?;
        Ok(found.is_some_and(|person| person.phc.is_some()))
    }

    /// Compares a passphrase with what is kept, or with nobody's.
    ///
    /// # Errors
    /// [`EngineError::Busy`].
    pub(crate) async fn compare_passphrase(
        &self,
        arrival: &Arrival,
        passphrase: &Secret<PassphraseKind>,
        kept: Option<&str>,
    ) -> Result<Compared, EngineError> {
        let (passphrase, kept) = (passphrase.clone(), kept.unwrap_or(passphrase::NOBODYS).to_owned());
        let hashing = &self.inner.passphrase_hashing;
        let compare = move || {
            let is_right = passphrase::matches(&passphrase, &kept);
            let is_to_be_upgraded = is_right && passphrase::is_outdated(&kept);
            // Without random numbers it stays as it is until the next sign-in.
            let upgraded = is_to_be_upgraded
                .then(|| passphrase::hash(&passphrase, &mut SystemRandom).ok())
                .flatten();
            Compared { is_right, upgraded }
        };
        hashing.run(arrival.address, compare).await
    }

    /// The hash of a new passphrase, if it is good enough for whoever has this address.
    ///
    /// # Errors
    /// [`EngineError::Invalid`] with the field `passphrase`, [`EngineError::Busy`].
    pub(crate) async fn hash_passphrase(
        &self,
        arrival: &Arrival,
        passphrase: &Secret<PassphraseKind>,
        email: &EmailAddress,
    ) -> Result<String, EngineError> {
        let (passphrase, email) = (passphrase.clone(), email.clone());
        let hash = move || {
            passphrase::check(&passphrase, &email).map_err(|refused| {
                EngineError::Invalid(vec![FieldProblem {
                    field: "passphrase".to_owned(),
                    message: refused.to_string(),
                }])
            })?;
            Ok(passphrase::hash(&passphrase, &mut SystemRandom)?)
        };
        self.inner.passphrase_hashing.run(arrival.address, hash).await?
    }

    /// Makes sure that whoever is signed in knows their passphrase; what is kept of it, to be compared once more under the lock.
    ///
    /// # Errors
    /// [`ChangeRefused`].
    pub(crate) async fn confirm_passphrase(
        &self,
        arrival: &Arrival,
        session: &Session,
        passphrase: &Secret<PassphraseKind>,
    ) -> Result<String, ChangeRefused> {
        require_whole(session)?;
        let throttle = &self.inner.sign_in_throttle;
        let attempt = throttle.begin(arrival.address, &session.email, self.now())?;
        let checked = async {
            let kept = self.inner.store.find_passphrase(&session.person_id).await?;
            let compared = self.compare_passphrase(arrival, passphrase, kept.as_deref());
            let compared = compared.await?;
            Ok::<_, ChangeRefused>(kept.filter(|_| compared.is_right))
        };
        match checked.await {
            Ok(Some(kept)) => {
                attempt.was_right();
                Ok(kept)
            }
            Ok(None) => {
                self.note_refused_person(&session.person_id, "wrong_passphrase", arrival);
                Err(ChangeRefused::Wrong)
            }
            Err(error) => {
                attempt.was_not_made();
                Err(error)
            }
        }
    }

    /// Changes the passphrase of whoever is signed in. All their sessions end, a sign-in link that may lie around as well, and a new
    /// session begins.
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
        let kept = self.confirm_passphrase(arrival, session, current).await?;
        let phc = self.hash_passphrase(arrival, new, &session.email).await?;
        let now = self.now();
        let person = &session.person_id;
        let mut tx = self.inner.store.begin().await?;
        let email = lock_whole_session(&mut tx, session, now).await?;
        if tx.find_passphrase(person).await?.as_deref() != Some(kept.as_str()) {
            return Err(ChangeRefused::Wrong);
        }
        tx.put_passphrase(person, &phc, now).await?;
        tx.delete_sign_in_link(person).await?;
        tx.delete_second_factor(person, SeedStanding::Offered).await?;
        let ended = tx.delete_sessions(person, None).await?;
        // The second factor was given in this session already, if there is one.
        let who = (person, &email);
        let begun = begin_session(&mut tx, who, SessionStage::Whole, (arrival, client), now).await?;
        let detail = Detail::new()
            .fact("ended_sessions", ended)
            .fact("session", begun.session.id.as_str());
        let event = PersonEvent {
            actor: &as_person(session),
            request_id: &arrival.request_id,
            action: "passphrase.change",
            person,
            detail: with_address(detail, arrival)?,
        };
        self.append_person_event(&mut tx, event, now).await?;
        self.commit_fenced(tx).await?;
        Ok(begun)
    }
}
