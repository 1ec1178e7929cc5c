//! What the tests about signing in start from.

use keyward_core::address::CallerAddress;
use keyward_core::secret::{PassphraseKind, RecoveryCodeKind, Secret};
use keyward_core::time::SECOND_MS;
use keyward_core::totp::TotpSeed;
use keyward_core::usage::ClientName;
use keyward_engine::sessions::{NewSession, Session};
use keyward_engine::sign_in::SignInRefused;
use keyward_engine::sign_in_links::LinkPurpose;
use keyward_engine::sign_ins::Arrival;
use keyward_testkit::engine::{TestEngine, context};
use serde_json::Value;

use crate::people::trail;

pub(crate) const GOOD: &str = "correct-otter-lamp-41";
pub(crate) const OTHER: &str = "seven windy pancakes!";
pub(crate) const OWNER: &str = "owner@example.com";
pub(crate) const CLIENT: ClientName = ClientName::NONE;
/// How long one code of an app lasts.
pub(crate) const STEP_MS: i64 = 30 * SECOND_MS;

pub(crate) fn passphrase(text: &str) -> Secret<PassphraseKind> {
    Secret::new(text.to_owned())
}

/// From an address of one of 250 networks.
pub(crate) fn from(last: u8) -> Arrival {
    Arrival {
        request_id: format!("request-{last}").parse().unwrap(),
        address: CallerAddress::Known(std::net::Ipv4Addr::new(192, 0, 2, last).into()),
    }
}

/// Sets somebody's passphrase by a link, and signs them in so.
pub(crate) async fn set_passphrase(test: &TestEngine, email: &str, text: &str) -> NewSession {
    let engine = &test.engine;
    let link = engine
        .create_sign_in_link(&context(), email, LinkPurpose::SetPassphrase)
        .await
        .unwrap();
    engine
        .redeem_sign_in_link(&from(1), &CLIENT, &link.secret, &passphrase(text))
        .await
        .unwrap()
}

pub(crate) async fn sign_in(
    test: &TestEngine,
    arrival: &Arrival,
    email: &str,
    text: &str,
) -> Result<NewSession, SignInRefused> {
    test.engine
        .sign_in(arrival, &CLIENT, email, &passphrase(text))
        .await
}

/// Sets up a second factor for whoever is signed in: what the app holds, and the recovery codes.
pub(crate) async fn turn_on(
    test: &TestEngine,
    session: &Session,
    text: &str,
) -> (TotpSeed, Vec<Secret<RecoveryCodeKind>>) {
    let engine = &test.engine;
    let offer = engine
        .begin_second_factor(&from(1), session, &passphrase(text))
        .await
        .unwrap();
    let seed = TotpSeed::from_base32(&offer.seed_base32).unwrap();
    let code = seed.code_at(engine.now());
    let codes = engine
        .confirm_second_factor(&from(1), session, &code)
        .await
        .unwrap();
    // The code that turned it on is spent.
    test.clock.advance_ms(STEP_MS);
    (seed, codes)
}

pub(crate) async fn is_live(test: &TestEngine, session: &NewSession) -> bool {
    test.engine.find_session(&session.token).await.unwrap().is_some()
}

/// Actions of a chain with their facts, without the first few.
pub(crate) async fn told(test: &TestEngine, chain: &str, action: &str) -> Vec<Value> {
    let entries = trail(test, chain).await.into_iter();
    entries
        .filter(|(found, ..)| found == action)
        .map(|(_, _, facts)| facts)
        .collect()
}

pub(crate) fn is_wrong<T>(outcome: Result<T, SignInRefused>) -> bool {
    matches!(outcome, Err(SignInRefused::Wrong))
}
