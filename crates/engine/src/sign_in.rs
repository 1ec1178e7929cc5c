//! Sign in: a person's passphrase, then their second factor if they have one.
//!
//! What is wrong is not told: an address that nobody has, a person without a passphrase and a wrong passphrase have the same answer and
//! cost the same hash. What was refused of a person who exists is noted for the trail ([`crate::refused_sign_ins`]). How often
//! somebody may try is decided in `sign_in_throttle.rs`, before anything is looked up.

use keyward_core::audit::Detail;
use keyward_core::email::EmailAddress;
use keyward_core::ids::PersonId;
use keyward_core::record::Actor;
use keyward_core::recovery_code::RecoveryDigest;
use keyward_core::secret::{PassphraseKind, Secret};
use keyward_core::session::SessionStage;
use keyward_core::time::Timestamp;
use keyward_core::totp::SeedStanding;
use keyward_core::usage::ClientName;
use keyward_store::second_factors::StoredFactor;
use keyward_store::{StoreError, Tx};

use crate::Engine;
use crate::error::EngineError;
use crate::person_write::{PersonEvent, with_address};
use crate::refused_sign_ins::RefusedSignIn;
use crate::sessions::{NewSession, Session, begin_session};
use crate::sign_ins::Arrival;

/// Wrong codes that end a half session.
const MAX_WRONG_CODES: i64 = 5;

/// Why somebody is not signed in.
#[derive(Debug, thiserror::Error)]
pub enum SignInRefused {
    /// Unknown e-mail address, no passphrase, wrong passphrase or code: never told apart.
    #[error("e-mail address and passphrase or code do not fit")]
    Wrong,
    /// The half session ended: sign in from the start.
    #[error("the sign-in took too long or too many codes were wrong")]
    Over,
    /// The check could not be made: too many were wrong ([`EngineError::TooMany`]), or are being checked just now
    /// ([`EngineError::Busy`]), or something is away.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl From<StoreError> for SignInRefused {
    fn from(error: StoreError) -> Self {
        Self::Engine(error.into())
    }
}

/// What stood in as second factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GivenCode {
    Totp,
    Recovery { left: usize },
}

impl GivenCode {
    const fn name(self) -> &'static str {
        match self {
            Self::Totp => "totp",
            Self::Recovery { .. } => "recovery_code",
        }
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
        // Nobody can have what is no address, so that this answer tells nothing.
        let email: EmailAddress = email.trim().parse().map_err(|_| SignInRefused::Wrong)?;
        let throttle = &self.inner.sign_in_throttle;
        let attempt = throttle.begin(arrival.address, &email, self.now())?;
        let checked = async {
            let found = self.inner.store.find_person_to_sign_in(&email).await?;
            let phc = found.as_ref().and_then(|person| person.phc.as_deref());
            let compared = self.compare_passphrase(arrival, passphrase, phc).await?;
            Ok::<_, SignInRefused>((found, compared))
        };
        let (found, compared) = match checked.await {
            Ok(checked) => checked,
            Err(error) => {
                attempt.was_not_made();
                return Err(error);
            }
        };
        let Some(person) = found else {
            return Err(SignInRefused::Wrong);
        };
        let id = person.person_id;
        let (Some(phc), true) = (person.phc, compared.is_right) else {
            self.note_refused_person(&id, "wrong_passphrase", arrival);
            return Err(SignInRefused::Wrong);
        };
        if let Err(too_many) = throttle.begin_session_of(&id, self.now()) {
            attempt.was_not_made();
            return Err(too_many.into());
        }
        let phcs = (phc.as_str(), compared.upgraded.as_deref());
        let begun = self.begin_by_passphrase((&id, &email), phcs, (arrival, client));
        match begun.await {
            Ok(begun) => {
                attempt.was_right();
                self.tell_begun(&begun, arrival).await?;
                Ok(begun)
            }
            // The passphrase was changed while the old one was checked.
            Err(SignInRefused::Wrong) => Err(SignInRefused::Wrong),
            Err(error) => {
                attempt.was_not_made();
                Err(error)
            }
        }
    }

    async fn begin_by_passphrase(
        &self,
        (person, email): (&PersonId, &EmailAddress),
        (phc, upgraded): (&str, Option<&str>),
        (arrival, client): (&Arrival, &ClientName),
    ) -> Result<NewSession, SignInRefused> {
        let now = self.now();
        let mut tx = self.inner.store.begin().await?;
        tx.lock_person(person).await?.ok_or(SignInRefused::Wrong)?;
        if tx.find_passphrase(person).await?.as_deref() != Some(phc) {
            return Err(SignInRefused::Wrong);
        }
        if let Some(upgraded) = upgraded {
            tx.upgrade_passphrase(person, phc, upgraded).await?;
        }
        let stage = stage_of(&mut tx, person).await?;
        let begun = begin_session(&mut tx, (person, email), stage, (arrival, client), now).await?;
        self.append_begun(&mut tx, &begun, (arrival, Detail::new()), now)
            .await?;
        self.commit_fenced(tx).await?;
        Ok(begun)
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
        if session.stage != SessionStage::NeedsSecondFactor {
            return Err(SignInRefused::Over);
        }
        let throttle = &self.inner.sign_in_throttle;
        let attempt = throttle.begin_code(arrival.address, &session.person_id, self.now())?;
        match self.pass_by_code((arrival, client), session, code).await {
            Ok(Some(begun)) => {
                attempt.was_right();
                self.tell_begun(&begun, arrival).await?;
                Ok(begun)
            }
            Ok(None) => {
                attempt.was_not_made();
                Err(SignInRefused::Over)
            }
            Err(error @ (SignInRefused::Wrong | SignInRefused::Over)) => Err(error),
            Err(error) => {
                attempt.was_not_made();
                Err(error)
            }
        }
    }

    /// `None` where no code was looked at, because the half session is over.
    async fn pass_by_code(
        &self,
        (arrival, client): (&Arrival, &ClientName),
        half: &Session,
        code: &str,
    ) -> Result<Option<NewSession>, SignInRefused> {
        let now = self.now();
        let person = &half.person_id;
        let actor = Actor::Person(person.clone());
        let mut tx = self.inner.store.begin().await?;
        let Some(email) = tx.lock_person(person).await? else {
            return Ok(None);
        };
        let found = tx.find_session(person, &half.id).await?;
        let is_good = |found: &Session| found.stage == half.stage && !found.is_over(now);
        if !found.as_ref().is_some_and(is_good) {
            return Ok(None);
        }
        let Some(factor) = tx.find_second_factor(person, SeedStanding::On).await? else {
            return Ok(None);
        };
        let Some(given) = self.spend_code(&mut tx, person, &factor, code, now).await? else {
            let wrong = tx.count_wrong_code(person, &half.id).await?;
            let is_last = wrong.is_none_or(|wrong| wrong >= MAX_WRONG_CODES);
            if is_last {
                tx.delete_session(person, &half.id).await?;
                let detail = Detail::new()
                    .fact("session", half.id.as_str())
                    .fact("reason", "too_many_wrong_codes");
                let event = PersonEvent {
                    actor: &Actor::System,
                    request_id: &arrival.request_id,
                    action: "session.end",
                    person,
                    detail,
                };
                self.append_person_event(&mut tx, event, now).await?;
            }
            self.commit_fenced(tx).await?;
            self.note_refused_person(person, "wrong_code", arrival);
            return Err(if is_last {
                SignInRefused::Over
            } else {
                SignInRefused::Wrong
            });
        };
        tx.delete_session(person, &half.id).await?;
        let who = (person, &email);
        let begun = begin_session(&mut tx, who, SessionStage::Whole, (arrival, client), now).await?;
        if let GivenCode::Recovery { left } = given {
            let event = PersonEvent {
                actor: &actor,
                request_id: &arrival.request_id,
                action: "recovery_code.use",
                person,
                detail: Detail::new().fact("left", left),
            };
            self.append_person_event(&mut tx, event, now).await?;
        }
        let detail = Detail::new().fact("second_factor", given.name());
        self.append_begun(&mut tx, &begun, (arrival, detail), now).await?;
        self.commit_fenced(tx).await?;
        Ok(Some(begun))
    }

    /// Spends a code of the factor in force, or a recovery code; `None` if it is neither.
    pub(crate) async fn spend_code(
        &self,
        tx: &mut Tx,
        person: &PersonId,
        factor: &StoredFactor,
        code: &str,
        now: Timestamp,
    ) -> Result<Option<GivenCode>, EngineError> {
        let seed = self.open_seed((person, SeedStanding::On), factor)?;
        if let Some(step) = seed.step_of(&plain_code(code), now, factor.last_step) {
            return Ok(tx.spend_step(person, step).await?.then_some(GivenCode::Totp));
        }
        let Some(digest) = RecoveryDigest::of(person, code) else {
            return Ok(None);
        };
        let codes = tx.list_recovery_codes(person).await?;
        // Not `find`, which would stop at the first that matches.
        let found = codes.iter().fold(None, |found, (number, kept)| {
            if kept.matches(&digest) {
                Some(*number)
            } else {
                found
            }
        });
        let Some(number) = found else { return Ok(None) };
        let is_spent = tx.spend_recovery_code(person, number).await?;
        let left = codes.len().saturating_sub(1);
        Ok(is_spent.then_some(GivenCode::Recovery { left }))
    }

    /// Notes for the trail that somebody was refused who exists.
    pub(crate) fn note_refused_person(&self, person: &PersonId, reason: &'static str, arrival: &Arrival) {
        let refused = RefusedSignIn::of_person(person, reason);
        self.inner.refused_sign_ins.note(refused, arrival, self.now());
    }

    /// The entry of a session that begins.
    pub(crate) async fn append_begun(
        &self,
        tx: &mut Tx,
        begun: &NewSession,
        (arrival, detail): (&Arrival, Detail),
        now: Timestamp,
    ) -> Result<(), EngineError> {
        let session = &begun.session;
        let action = match session.stage {
            SessionStage::Whole => "person.sign_in",
            SessionStage::NeedsSecondFactor => "person.begin_sign_in",
        };
        let event = PersonEvent {
            actor: &Actor::Person(session.person_id.clone()),
            request_id: &arrival.request_id,
            action,
            person: &session.person_id,
            detail: with_address(detail.fact("session", session.id.as_str()), arrival)?,
        };
        Ok(self.append_person_event(tx, event, now).await?)
    }

    /// Tells the person's organizations that they came in, if they did all the way. The session is there by then, so that no entry
    /// tells of one that did not come about; without the entries nobody gets its token.
    pub(crate) async fn tell_begun(&self, begun: &NewSession, arrival: &Arrival) -> Result<(), EngineError> {
        match begun.session.stage {
            SessionStage::Whole => Ok(self
                .tell_person_sign_in(&begun.session.person_id, arrival)
                .await?),
            SessionStage::NeedsSecondFactor => Ok(()),
        }
    }
}

/// How far a passphrase brings somebody.
pub(crate) async fn stage_of(tx: &mut Tx, person: &PersonId) -> Result<SessionStage, StoreError> {
    let factor = tx.find_second_factor(person, SeedStanding::On).await?;
    Ok(match factor {
        Some(_) => SessionStage::NeedsSecondFactor,
        None => SessionStage::Whole,
    })
}

/// A code as apps show it may have a space in it.
pub(crate) fn plain_code(code: &str) -> String {
    code.chars()
        .filter(|character| !character.is_whitespace())
        .take(8)
        .collect()
}
