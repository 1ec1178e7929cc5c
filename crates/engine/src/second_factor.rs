//! The second factor: codes of an authenticator app (TOTP), and recovery codes for when it is lost.
//!
//! A seed is offered first and in force when somebody gave a code of it, so that nobody locks themselves out with an app that did not
//! take it over. Until then an earlier factor stays. The offer belongs to the session that it was made in and lasts some minutes.

use keyward_core::audit::Detail;
use keyward_core::ids::PersonId;
use keyward_core::recovery_code::{CODES, RecoveryDigest, new_recovery_code};
use keyward_core::secret::{PassphraseKind, RecoveryCodeKind, Secret, TotpSeedKind};
use keyward_core::session::SessionStage;
use keyward_core::time::{MINUTE_MS, Timestamp};
use keyward_core::totp::{SeedStanding, TotpSeed};
use keyward_store::Tx;
use keyward_store::second_factors::StoredFactor;
use qrcode::{Color, EcLevel, QrCode};

use crate::Engine;
use crate::clock::SystemRandom;
use crate::error::EngineError;
use crate::passphrases::ChangeRefused;
use crate::person_write::{PersonEvent, as_person, lock_whole_session, with_address};
use crate::sessions::Session;
use crate::sign_in::plain_code;
use crate::sign_ins::Arrival;

/// For how long an offer can be confirmed.
pub const OFFER_LIFE_MS: i64 = 15 * MINUTE_MS;
/// What apps show beside the address.
const ISSUER: &str = "Keyward";
/// Light modules around the picture; without them cameras do not find it.
const MARGIN: usize = 4;

/// A seed that an authenticator app is to take over.
pub struct SecondFactorOffer {
    /// For typing in.
    pub seed_base32: Secret<TotpSeedKind>,
    /// The `otpauth:` address, which holds the seed.
    pub uri: String,
    /// The address as a picture: a whole `<svg>` without style attributes or scripts.
    pub qr_svg: String,
}

impl std::fmt::Debug for SecondFactorOffer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Address and picture hold the seed as well as the text does.
        formatter.write_str("SecondFactorOffer")
    }
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
        let store = &self.inner.store;
        let factor = store.find_second_factor(person, SeedStanding::On).await?;
        Ok(SecondFactorStanding {
            is_on: factor.is_some(),
            since: factor.map(|factor| factor.since),
            recovery_codes_left: store.count_recovery_codes(person).await?,
        })
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
        let kept = self.confirm_passphrase(arrival, session, passphrase).await?;
        let now = self.now();
        let person = &session.person_id;
        let seed = TotpSeed::generate(&mut SystemRandom)?;
        let offer = offer(&seed, session)?;
        let _sealing = self.inner.sealing.read().await;
        let place = (person, SeedStanding::Offered);
        let factor = StoredFactor {
            session_id: Some(session.id.clone()),
            sealed: seed.seal(&self.keyring(), place, &mut SystemRandom)?,
            since: now,
            last_step: 0,
        };
        let mut tx = self.inner.store.begin().await?;
        self.lock_confirmed(&mut tx, session, &kept, now).await?;
        tx.put_second_factor(place, &factor).await?;
        let event = PersonEvent {
            actor: &as_person(session),
            request_id: &arrival.request_id,
            action: "second_factor.begin",
            person,
            detail: with_address(Detail::new(), arrival)?,
        };
        self.append_person_event(&mut tx, event, now).await?;
        self.commit_fenced(tx).await?;
        Ok(offer)
    }

    /// What was offered in this session and can be confirmed still.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn show_offered_second_factor(
        &self,
        session: &Session,
    ) -> Result<Option<SecondFactorOffer>, EngineError> {
        let place = (&session.person_id, SeedStanding::Offered);
        let found = self.inner.store.find_second_factor(place.0, place.1).await?;
        let Some(factor) = found.filter(|factor| is_good_in(factor, session, self.now())) else {
            return Ok(None);
        };
        let seed = self.open_seed(place, &factor)?;
        offer(&seed, session).map(Some)
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
        let throttle = &self.inner.sign_in_throttle;
        let attempt = throttle.begin_code(arrival.address, &session.person_id, self.now())?;
        let confirmed = self.turn_on(arrival, session, code).await;
        match &confirmed {
            Ok(_) => attempt.was_right(),
            Err(ChangeRefused::Wrong) => self.note_refused_person(&session.person_id, "wrong_code", arrival),
            Err(_) => attempt.was_not_made(),
        }
        confirmed
    }

    async fn turn_on(
        &self,
        arrival: &Arrival,
        session: &Session,
        code: &str,
    ) -> Result<Vec<Secret<RecoveryCodeKind>>, ChangeRefused> {
        let now = self.now();
        let person = &session.person_id;
        let _sealing = self.inner.sealing.read().await;
        let mut tx = self.inner.store.begin().await?;
        lock_whole_session(&mut tx, session, now).await?;
        let found = tx.find_second_factor(person, SeedStanding::Offered).await?;
        let found = found.filter(|factor| is_good_in(factor, session, now));
        let Some(offered) = found else {
            return Err(ChangeRefused::Engine(EngineError::Conflict(
                "nothing is offered in this session, or it was too long ago; begin once more".to_owned(),
            )));
        };
        let seed = self.open_seed((person, SeedStanding::Offered), &offered)?;
        let step = seed.step_of(&plain_code(code), now, offered.last_step);
        let step = step.ok_or(ChangeRefused::Wrong)?;
        let place = (person, SeedStanding::On);
        let was = tx.find_second_factor(person, SeedStanding::On).await?;
        let factor = StoredFactor {
            session_id: None,
            sealed: seed.seal(&self.keyring(), place, &mut SystemRandom)?,
            since: now,
            // The code that was given turned it on, and is good for nothing else.
            last_step: step,
        };
        tx.put_second_factor(place, &factor).await?;
        tx.delete_second_factor(person, SeedStanding::Offered).await?;
        let codes = new_codes(&mut tx, person).await?;
        let ended = tx.delete_sessions(person, Some(&session.id)).await?;
        tx.confirm_session(person, &session.id, now).await?;
        let detail = Detail::new()
            .fact("replaced", was.is_some())
            .fact("recovery_codes", codes.len())
            .fact("ended_sessions", ended);
        let event = PersonEvent {
            actor: &as_person(session),
            request_id: &arrival.request_id,
            action: "second_factor.confirm",
            person,
            detail: with_address(detail, arrival)?,
        };
        self.append_person_event(&mut tx, event, now).await?;
        self.commit_fenced(tx).await?;
        Ok(codes)
    }

    /// Turns the second factor off, with its recovery codes. One that is not on stays so.
    ///
    /// # Errors
    /// [`ChangeRefused`]; [`EngineError::Conflict`] while an organization that the person manages asks for one.
    pub async fn remove_second_factor(
        &self,
        arrival: &Arrival,
        session: &Session,
        passphrase: &Secret<PassphraseKind>,
    ) -> Result<(), ChangeRefused> {
        let kept = self.confirm_passphrase(arrival, session, passphrase).await?;
        let person = &session.person_id;
        if let Some(asking) = self.organization_that_asks(person).await? {
            return Err(ChangeRefused::Engine(EngineError::Conflict(format!(
                "`{asking}` asks its Owners and Admins for a second factor; you can set up another one in place of yours"
            ))));
        }
        let now = self.now();
        let mut tx = self.inner.store.begin().await?;
        self.lock_confirmed(&mut tx, session, &kept, now).await?;
        tx.delete_second_factor(person, SeedStanding::Offered).await?;
        tx.replace_recovery_codes(person, &[]).await?;
        if !tx.delete_second_factor(person, SeedStanding::On).await? {
            return Ok(self.commit_fenced(tx).await?);
        }
        let event = PersonEvent {
            actor: &as_person(session),
            request_id: &arrival.request_id,
            action: "second_factor.remove",
            person,
            detail: with_address(Detail::new(), arrival)?,
        };
        self.append_person_event(&mut tx, event, now).await?;
        Ok(self.commit_fenced(tx).await?)
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
        let kept = self.confirm_passphrase(arrival, session, passphrase).await?;
        let now = self.now();
        let person = &session.person_id;
        let mut tx = self.inner.store.begin().await?;
        self.lock_confirmed(&mut tx, session, &kept, now).await?;
        let factor = tx.find_second_factor(person, SeedStanding::On).await?;
        if factor.is_none() {
            return Err(ChangeRefused::Engine(EngineError::Conflict(
                "there is no second factor that recovery codes could stand in for".to_owned(),
            )));
        }
        let left = tx.list_recovery_codes(person).await?.len();
        let codes = new_codes(&mut tx, person).await?;
        let event = PersonEvent {
            actor: &as_person(session),
            request_id: &arrival.request_id,
            action: "recovery_code.renew",
            person,
            detail: with_address(Detail::new().fact("replaced", left), arrival)?,
        };
        self.append_person_event(&mut tx, event, now).await?;
        self.commit_fenced(tx).await?;
        Ok(codes)
    }

    /// Locks whoever gave their passphrase, if it is still the one, and notes that they gave it.
    async fn lock_confirmed(
        &self,
        tx: &mut Tx,
        session: &Session,
        kept: &str,
        now: Timestamp,
    ) -> Result<(), ChangeRefused> {
        lock_whole_session(tx, session, now).await?;
        if tx.find_passphrase(&session.person_id).await?.as_deref() != Some(kept) {
            return Err(ChangeRefused::Wrong);
        }
        tx.confirm_session(&session.person_id, &session.id, now).await?;
        Ok(())
    }

    /// The name of an organization that asks this person for a second factor.
    async fn organization_that_asks(&self, person: &PersonId) -> Result<Option<String>, EngineError> {
        let all = self.organizations_of(person).await?;
        let asking = all
            .into_iter()
            .find(|one| one.role.is_manager() && one.organization.settings.second_factor_required);
        Ok(asking.map(|one| one.organization.name))
    }

    /// Opens a seed. One that does not open is an alarm, and never a code that is right.
    pub(crate) fn open_seed(
        &self,
        place: (&PersonId, SeedStanding),
        factor: &StoredFactor,
    ) -> Result<TotpSeed, EngineError> {
        TotpSeed::open(&self.keyring(), &factor.sealed, place).map_err(|refused| {
            tracing::error!(person.id = %place.0, %refused, "ALARM: the seed of a second factor does not open");
            self.inner.metrics.alarms.increment(1);
            EngineError::SealBroken
        })
    }
}

fn is_good_in(offered: &StoredFactor, session: &Session, now: Timestamp) -> bool {
    session.stage == SessionStage::Whole
        && offered.session_id.as_ref() == Some(&session.id)
        && now < offered.since.plus_ms(OFFER_LIFE_MS)
}

async fn new_codes(tx: &mut Tx, person: &PersonId) -> Result<Vec<Secret<RecoveryCodeKind>>, EngineError> {
    let mut codes = Vec::with_capacity(CODES);
    let mut digests = Vec::with_capacity(CODES);
    while codes.len() < CODES {
        let code = new_recovery_code(&mut SystemRandom)?;
        digests.extend(RecoveryDigest::of(person, code.reveal()));
        codes.push(code);
    }
    tx.replace_recovery_codes(person, &digests).await?;
    Ok(codes)
}

fn offer(seed: &TotpSeed, session: &Session) -> Result<SecondFactorOffer, EngineError> {
    let uri = seed.uri(ISSUER, session.email.as_str());
    // An address is at most some hundred bytes long, and a picture holds more.
    let code = QrCode::with_error_correction_level(uri.as_bytes(), EcLevel::M).map_err(|_| {
        EngineError::Conflict("the address is too long for a picture of the second factor".to_owned())
    })?;
    Ok(SecondFactorOffer {
        seed_base32: seed.base32(),
        uri: uri.to_string(),
        qr_svg: svg(&code),
    })
}

/// The picture: one path of dark runs on a light ground, so that it can be read on dark pages as well.
fn svg(code: &QrCode) -> String {
    use std::fmt::Write as _;
    let width = code.width();
    let side = width + 2 * MARGIN;
    let mut path = String::new();
    let colors = code.to_colors();
    for (y, row) in colors.chunks(width).enumerate() {
        let mut x = 0;
        for run in row.chunk_by(|a, b| a == b) {
            if run.first() == Some(&Color::Dark) {
                let length = run.len();
                // Writing to a String can't fail.
                let _ = write!(path, "M{} {}h{length}v1h-{length}z", x + MARGIN, y + MARGIN);
            }
            x += run.len();
        }
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" role=\"img\" \
         aria-label=\"The second factor as a QR code\" shape-rendering=\"crispEdges\">\
         <rect width=\"{side}\" height=\"{side}\" fill=\"#fff\"/><path d=\"{path}\" fill=\"#000\"/></svg>"
    )
}
