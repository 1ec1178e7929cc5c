//! Changing a passphrase: who may, and what ends by it.

use keyward_engine::EngineError;
use keyward_engine::passphrases::ChangeRefused;
use keyward_engine::sessions::{NewSession, Session};
use keyward_engine::sign_in_links::LinkPurpose;
use keyward_testkit::engine::{Kind, TestEngine, context};
use keyward_testkit::on_both_databases;

use crate::signing_in::{
    CLIENT, GOOD, OTHER, OWNER, from, is_live, is_wrong, passphrase, set_passphrase, sign_in, turn_on,
};

async fn change(
    test: &TestEngine,
    session: &Session,
    from_to: (&str, &str),
) -> Result<NewSession, ChangeRefused> {
    let (current, new) = (passphrase(from_to.0), passphrase(from_to.1));
    test.engine
        .change_passphrase(&from(1), &CLIENT, session, &current, &new)
        .await
}

async fn a_change_asks_for_the_old_one_and_ends_every_session(kind: Kind) {
    let test = TestEngine::new(kind).await;
    test.organization("org-1").await;
    let first = set_passphrase(&test, OWNER, GOOD).await;
    let second = sign_in(&test, &from(1), OWNER, GOOD).await.unwrap();
    let link = test
        .engine
        .create_sign_in_link(&context(), OWNER, LinkPurpose::SetPassphrase)
        .await
        .unwrap();
    assert!(matches!(
        change(&test, &first.session, (OTHER, OTHER)).await,
        Err(ChangeRefused::Wrong)
    ));
    let Err(ChangeRefused::Engine(EngineError::Invalid(problems))) =
        change(&test, &first.session, (GOOD, "password1234")).await
    else {
        panic!("it was accepted");
    };
    assert_eq!(problems[0].field, "passphrase");
    assert!(is_live(&test, &first).await && is_live(&test, &second).await);
    let begun = change(&test, &first.session, (GOOD, OTHER)).await.unwrap();
    assert!(is_live(&test, &begun).await);
    assert!(!is_live(&test, &first).await && !is_live(&test, &second).await);
    assert!(
        test.engine.show_sign_in_link(&link.secret).await.is_err(),
        "a link that lay around"
    );
    assert!(is_wrong(sign_in(&test, &from(1), OWNER, GOOD).await));
    assert!(sign_in(&test, &from(1), OWNER, OTHER).await.is_ok());
    // A session that ended changes nothing, whatever it knows.
    let gone = change(&test, &first.session, (OTHER, GOOD)).await;
    assert!(matches!(
        gone,
        Err(ChangeRefused::Engine(EngineError::NotFound("session")))
    ));
}

async fn half_a_session_changes_nothing(kind: Kind) {
    let test = TestEngine::new(kind).await;
    test.organization("org-1").await;
    let first = set_passphrase(&test, OWNER, GOOD).await;
    turn_on(&test, &first.session, GOOD).await;
    let half = sign_in(&test, &from(1), OWNER, GOOD).await.unwrap().session;
    let engine = &test.engine;
    let (good, arrival) = (passphrase(GOOD), from(1));
    let refused = [
        change(&test, &half, (GOOD, OTHER)).await.err(),
        engine.begin_second_factor(&arrival, &half, &good).await.err(),
        engine.remove_second_factor(&arrival, &half, &good).await.err(),
        engine.renew_recovery_codes(&arrival, &half, &good).await.err(),
        engine
            .confirm_second_factor(&arrival, &half, "000000")
            .await
            .err(),
    ];
    for one in refused {
        assert!(
            matches!(one, Some(ChangeRefused::Engine(EngineError::Forbidden(_)))),
            "{one:?}"
        );
    }
    assert!(engine.show_offered_second_factor(&half).await.unwrap().is_none());
}

/// Somebody at an unattended browser guesses no better than at the door.
async fn wrong_ones_count_as_at_sign_in(kind: Kind) {
    let test = TestEngine::new(kind).await;
    test.organization("org-1").await;
    let first = set_passphrase(&test, OWNER, GOOD).await;
    for _ in 0..5 {
        assert!(matches!(
            change(&test, &first.session, (OTHER, OTHER)).await,
            Err(ChangeRefused::Wrong)
        ));
    }
    let refused = change(&test, &first.session, (GOOD, OTHER)).await;
    assert!(matches!(
        refused,
        Err(ChangeRefused::Engine(EngineError::TooMany { .. }))
    ));
}

on_both_databases!(
    a_change_asks_for_the_old_one_and_ends_every_session,
    half_a_session_changes_nothing,
    wrong_ones_count_as_at_sign_in,
);
