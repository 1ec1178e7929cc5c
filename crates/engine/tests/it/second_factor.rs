//! Setting up, replacing and removing the second factor; the keyring that its seed is sealed under.

use std::sync::Mutex;

use keyward_core::keyring::Keyring;
use keyward_core::time::MINUTE_MS;
use keyward_core::totp::TotpSeed;
use keyward_engine::EngineError;
use keyward_engine::edit_settings::SettingsEdit;
use keyward_engine::passphrases::ChangeRefused;
use keyward_engine::restore::{OldState, restore};
use keyward_engine::second_factor::OFFER_LIFE_MS;
use keyward_engine::sign_in::SignInRefused;
use keyward_testkit::engine::{Kind, Place, TestEngine, context, start};
use keyward_testkit::on_both_databases;

use crate::signing_in::{
    CLIENT, GOOD, OTHER, OWNER, STEP_MS, from, is_live, is_wrong, passphrase, set_passphrase, sign_in,
    turn_on,
};

fn is_conflict<T>(outcome: Result<T, ChangeRefused>) -> bool {
    matches!(outcome, Err(ChangeRefused::Engine(EngineError::Conflict(_))))
}

async fn a_seed_is_in_force_when_somebody_gave_its_code(kind: Kind) {
    let test = TestEngine::new(kind).await;
    test.organization("org-1").await;
    let other = set_passphrase(&test, OWNER, GOOD).await;
    let begun = sign_in(&test, &from(1), OWNER, GOOD).await.unwrap();
    let (engine, session) = (&test.engine, &begun.session);
    let wrong = engine
        .begin_second_factor(&from(1), session, &passphrase(OTHER))
        .await;
    assert!(matches!(wrong, Err(ChangeRefused::Wrong)));
    assert!(is_conflict(
        engine.confirm_second_factor(&from(1), session, "000000").await
    ));
    let first = engine
        .begin_second_factor(&from(1), session, &passphrase(GOOD))
        .await
        .unwrap();
    let offer = engine
        .begin_second_factor(&from(1), session, &passphrase(GOOD))
        .await
        .unwrap();
    assert_ne!(first.seed_base32.reveal(), offer.seed_base32.reveal());
    let shown = engine.show_offered_second_factor(session).await.unwrap().unwrap();
    assert_eq!(
        (shown.uri.as_str(), shown.qr_svg.as_str()),
        (offer.uri.as_str(), offer.qr_svg.as_str())
    );
    assert!(offer.uri.contains(offer.seed_base32.reveal()) && offer.uri.contains("owner%40example.com"));
    assert!(offer.qr_svg.starts_with("<svg ") && offer.qr_svg.ends_with("</svg>"));
    assert!(!offer.qr_svg.contains("style") && !offer.qr_svg.contains("script"));
    // Another session of the same person does not see it.
    assert!(
        engine
            .show_offered_second_factor(&other.session)
            .await
            .unwrap()
            .is_none()
    );
    assert!(sign_in(&test, &from(1), OWNER, GOOD).await.unwrap().session.stage == session.stage);

    let seed = TotpSeed::from_base32(&offer.seed_base32).unwrap();
    let old = TotpSeed::from_base32(&first.seed_base32)
        .unwrap()
        .code_at(engine.now());
    assert!(matches!(
        engine.confirm_second_factor(&from(1), session, &old).await,
        Err(ChangeRefused::Wrong)
    ));
    let code = seed.code_at(engine.now());
    assert!(is_conflict(
        engine
            .confirm_second_factor(&from(1), &other.session, &code)
            .await
    ));
    let codes = engine
        .confirm_second_factor(&from(1), session, &code)
        .await
        .unwrap();
    assert_eq!(codes.len(), 10);
    assert!(is_live(&test, &begun).await && !is_live(&test, &other).await);
    let standing = engine.show_second_factor(&session.person_id).await.unwrap();
    assert_eq!(
        (standing.is_on, standing.since, standing.recovery_codes_left),
        (true, Some(engine.now()), 10)
    );
    assert!(
        engine
            .show_offered_second_factor(session)
            .await
            .unwrap()
            .is_none()
    );
    assert!(is_conflict(
        engine.confirm_second_factor(&from(1), session, &code).await
    ));
    // The code that turned it on lets nobody in.
    let half = sign_in(&test, &from(1), OWNER, GOOD).await.unwrap().session;
    assert!(is_wrong(
        engine.pass_second_factor(&from(1), &CLIENT, &half, &code).await
    ));
}

async fn an_offer_lasts_minutes_and_the_old_factor_until_it_is_confirmed(kind: Kind) {
    let test = TestEngine::new(kind).await;
    test.organization("org-1").await;
    let begun = set_passphrase(&test, OWNER, GOOD).await;
    let (engine, session) = (&test.engine, &begun.session);
    let (old, old_codes) = turn_on(&test, session, GOOD).await;
    let offer = engine
        .begin_second_factor(&from(1), session, &passphrase(GOOD))
        .await
        .unwrap();
    let seed = TotpSeed::from_base32(&offer.seed_base32).unwrap();
    test.clock.advance_ms(OFFER_LIFE_MS - 1);
    assert!(
        engine
            .show_offered_second_factor(session)
            .await
            .unwrap()
            .is_some()
    );
    test.clock.advance_ms(1);
    assert!(
        engine
            .show_offered_second_factor(session)
            .await
            .unwrap()
            .is_none()
    );
    let late = seed.code_at(engine.now());
    assert!(is_conflict(
        engine.confirm_second_factor(&from(1), session, &late).await
    ));
    let half = sign_in(&test, &from(1), OWNER, GOOD).await.unwrap().session;
    let code = old.code_at(engine.now());
    engine
        .pass_second_factor(&from(1), &CLIENT, &half, &code)
        .await
        .unwrap();

    let (_, codes) = turn_on(&test, session, GOOD).await;
    let half = sign_in(&test, &from(1), OWNER, GOOD).await.unwrap().session;
    for gone in [old.code_at(engine.now()), old_codes[0].reveal().to_owned()] {
        assert!(is_wrong(
            engine.pass_second_factor(&from(1), &CLIENT, &half, &gone).await
        ));
    }
    engine
        .pass_second_factor(&from(1), &CLIENT, &half, codes[0].reveal())
        .await
        .unwrap();
}

async fn codes_are_renewed_and_the_factor_removed_unless_it_is_asked_for(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let begun = set_passphrase(&test, OWNER, GOOD).await;
    let (engine, session) = (&test.engine, &begun.session);
    let renew = || async {
        engine
            .renew_recovery_codes(&from(1), session, &passphrase(GOOD))
            .await
    };
    let remove = || async {
        engine
            .remove_second_factor(&from(1), session, &passphrase(GOOD))
            .await
    };
    assert!(is_conflict(renew().await));
    remove().await.unwrap();
    let (_, old) = turn_on(&test, session, GOOD).await;
    let new = renew().await.unwrap();
    let half = sign_in(&test, &from(1), OWNER, GOOD).await.unwrap().session;
    let spent = engine
        .pass_second_factor(&from(1), &CLIENT, &half, old[0].reveal())
        .await;
    assert!(is_wrong(spent));
    engine
        .pass_second_factor(&from(1), &CLIENT, &half, new[0].reveal())
        .await
        .unwrap();

    set_required(&test, &organization, true).await;
    assert!(is_conflict(remove().await));
    set_required(&test, &organization, false).await;
    remove().await.unwrap();
    let standing = engine.show_second_factor(&session.person_id).await.unwrap();
    assert_eq!((standing.is_on, standing.recovery_codes_left), (false, 0));
}

async fn set_required(
    test: &TestEngine,
    organization: &keyward_core::ids::OrganizationId,
    is_required: bool,
) {
    let edit = SettingsEdit {
        second_factor_required: Some(is_required),
        ..SettingsEdit::default()
    };
    let edited = test
        .engine
        .edit_settings(&context(), organization, None, edit)
        .await;
    assert_eq!(
        edited.unwrap().organization.settings.second_factor_required,
        is_required
    );
}

async fn a_rotated_keyring_opens_every_seed(kind: Kind) {
    let test = TestEngine::new(kind).await;
    test.organization("org-1").await;
    let begun = set_passphrase(&test, OWNER, GOOD).await;
    let (seed, _) = turn_on(&test, &begun.session, GOOD).await;
    let offer = test
        .engine
        .begin_second_factor(&from(1), &begun.session, &passphrase(GOOD))
        .await
        .unwrap();
    let saved = Mutex::new(String::new());
    let save = |keyring: &Keyring| {
        *saved.lock().unwrap() = keyring.to_text().to_string();
        Ok(())
    };
    let rotated = test.engine.rotate_keyring(context(), &save).await.unwrap();
    assert_eq!((rotated.resealed_second_factors, rotated.broken), (2, 0));
    assert_eq!(rotated.keyring.versions.len(), 1, "the old version is gone");
    let text = saved.lock().unwrap().clone();
    let test = test.restart(&text).await;
    let half = sign_in(&test, &from(1), OWNER, GOOD).await.unwrap().session;
    let code = seed.code_at(test.engine.now());
    test.engine
        .pass_second_factor(&from(1), &CLIENT, &half, &code)
        .await
        .unwrap();
    let shown = test
        .engine
        .show_offered_second_factor(&begun.session)
        .await
        .unwrap();
    assert_eq!(shown.unwrap().uri, offer.uri);
}

/// Whoever writes to the database puts nobody's seed in another one's place, and no offer into force.
async fn a_seed_that_was_moved_lets_nobody_in(kind: Kind) {
    let test = TestEngine::new(kind).await;
    test.organization("org-1").await;
    let begun = set_passphrase(&test, OWNER, GOOD).await;
    turn_on(&test, &begun.session, GOOD).await;
    let offer = test
        .engine
        .begin_second_factor(&from(1), &begun.session, &passphrase(GOOD))
        .await
        .unwrap();
    let moved = "UPDATE second_factor SET sealed = (SELECT o.sealed FROM second_factor o WHERE o.standing = 'offered') \
                 WHERE standing = 'on'";
    assert_eq!(test.place.run(moved).await, 1);
    let half = sign_in(&test, &from(1), OWNER, GOOD).await.unwrap().session;
    let code = TotpSeed::from_base32(&offer.seed_base32)
        .unwrap()
        .code_at(test.engine.now());
    let refused = test
        .engine
        .pass_second_factor(&from(1), &CLIENT, &half, &code)
        .await;
    assert!(matches!(
        refused,
        Err(SignInRefused::Engine(EngineError::SealBroken))
    ));
}

async fn a_restore_brings_back_nothing_that_lets_somebody_in(kind: Kind) {
    let test = TestEngine::new(kind).await;
    test.organization("org-1").await;
    let begun = set_passphrase(&test, OWNER, GOOD).await;
    turn_on(&test, &begun.session, GOOD).await;
    test.clock.advance_ms(STEP_MS + MINUTE_MS);
    let mut copy = Vec::new();
    let keyring = test.engine.keyring();
    test.engine
        .store()
        .dump(&mut copy, keyring.id(), 0)
        .await
        .unwrap();
    assert!(!String::from_utf8_lossy(&copy).contains("argon2id"));
    let place = Place::new(kind);
    let store = place.store().await;
    let now = test.engine.now();
    restore(
        &store,
        &keyring,
        &mut copy.as_slice(),
        OldState::Hold,
        &context(),
        now,
    )
    .await
    .unwrap();
    store.close().await;
    let engine = start(&place.database(), &test.keyring_text, &test.clock, 100)
        .await
        .unwrap();
    let other = TestEngine {
        engine,
        clock: test.clock.clone(),
        keyring_text: test.keyring_text.clone(),
        place,
    };
    assert!(!is_live(&other, &begun).await);
    assert!(is_wrong(sign_in(&other, &from(1), OWNER, GOOD).await));
    set_passphrase(&other, OWNER, OTHER).await;
    assert!(sign_in(&other, &from(1), OWNER, OTHER).await.is_ok());
}

on_both_databases!(
    a_seed_is_in_force_when_somebody_gave_its_code,
    an_offer_lasts_minutes_and_the_old_factor_until_it_is_confirmed,
    codes_are_renewed_and_the_factor_removed_unless_it_is_asked_for,
    a_rotated_keyring_opens_every_seed,
    a_seed_that_was_moved_lets_nobody_in,
    a_restore_brings_back_nothing_that_lets_somebody_in,
);
