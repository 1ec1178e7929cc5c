//! One-time links: good once, for a day, for one person.

use keyward_core::secret::{Secret, SignInLinkKind};
use keyward_core::time::DAY_MS;
use keyward_engine::EngineError;
use keyward_engine::sessions::{NewSession, SessionStage};
use keyward_engine::sign_in_links::{CreatedSignInLink, LinkPurpose};
use keyward_testkit::engine::{Kind, TestEngine, context};
use keyward_testkit::on_both_databases;

use crate::signing_in::{
    CLIENT, GOOD, OTHER, OWNER, from, is_live, is_wrong, passphrase, set_passphrase, sign_in, told, turn_on,
};

async fn link(test: &TestEngine, purpose: LinkPurpose) -> CreatedSignInLink {
    let made = test.engine.create_sign_in_link(&context(), OWNER, purpose).await;
    made.unwrap()
}

async fn redeem(test: &TestEngine, link: &CreatedSignInLink, text: &str) -> Result<NewSession, EngineError> {
    test.engine
        .redeem_sign_in_link(&from(1), &CLIENT, &link.secret, &passphrase(text))
        .await
}

fn is_none<T>(outcome: Result<T, EngineError>) -> bool {
    matches!(outcome, Err(EngineError::NotFound("sign-in link")))
}

async fn a_link_lets_one_person_in_once(kind: Kind) {
    let test = TestEngine::new(kind).await;
    test.organization("org-1").await;
    let engine = &test.engine;
    let made = link(&test, LinkPurpose::SetPassphrase).await;
    for _ in 0..3 {
        let shown = engine.show_sign_in_link(&made.secret).await.unwrap();
        assert_eq!((shown.email.as_str(), shown.has_passphrase), (OWNER, false));
        assert_eq!(shown.expires_at, engine.now().plus_ms(DAY_MS));
    }
    // What is not good enough loses nothing.
    for bad in ["short", "password1234", OWNER] {
        let Err(EngineError::Invalid(problems)) = redeem(&test, &made, bad).await else {
            panic!("it was accepted");
        };
        assert_eq!(problems[0].field, "passphrase");
    }
    let begun = redeem(&test, &made, GOOD).await.unwrap();
    assert_eq!(begun.session.stage, SessionStage::Whole);
    assert!(is_none(redeem(&test, &made, OTHER).await));
    assert!(is_none(engine.show_sign_in_link(&made.secret).await));
    assert!(sign_in(&test, &from(1), OWNER, GOOD).await.is_ok());
    assert!(is_wrong(sign_in(&test, &from(1), OWNER, OTHER).await));
    for strange in ["", "abc", &"0".repeat(64)] {
        let secret = Secret::<SignInLinkKind>::new(strange.to_owned());
        assert!(is_none(engine.show_sign_in_link(&secret).await));
    }
    let nobody = engine
        .create_sign_in_link(&context(), "nobody@example.com", LinkPurpose::SetPassphrase)
        .await;
    assert!(matches!(nobody, Err(EngineError::NotFound("person"))));
}

async fn a_later_link_takes_its_place_and_time_ends_it(kind: Kind) {
    let test = TestEngine::new(kind).await;
    test.organization("org-1").await;
    let first = link(&test, LinkPurpose::SetPassphrase).await;
    let second = link(&test, LinkPurpose::SetPassphrase).await;
    assert!(is_none(redeem(&test, &first, GOOD).await));
    test.clock.advance_ms(DAY_MS - 1);
    assert!(test.engine.show_sign_in_link(&second.secret).await.is_ok());
    test.clock.advance_ms(1);
    assert!(is_none(redeem(&test, &second, GOOD).await));
    test.engine.tend_keys(&context()).await.unwrap();
    let left = test.place.texts(&["SELECT purpose FROM sign_in_link"]).await;
    assert_eq!(left, Vec::<String>::new());
}

async fn of_many_at_once_one_gets_in(kind: Kind) {
    let test = TestEngine::new(kind).await;
    test.organization("org-1").await;
    let made = link(&test, LinkPurpose::SetPassphrase).await;
    let all: Vec<_> = (1..=6)
        .map(|last| {
            let (engine, secret) = (test.engine.clone(), made.secret.clone());
            tokio::spawn(async move {
                let text = passphrase(&format!("{GOOD}-{last}"));
                engine
                    .redeem_sign_in_link(&from(last), &CLIENT, &secret, &text)
                    .await
            })
        })
        .collect();
    let mut redeemed = 0;
    for one in all {
        match one.await.unwrap() {
            Ok(_) => redeemed += 1,
            other => assert!(is_none(other)),
        }
    }
    assert_eq!(redeemed, 1);
    assert_eq!(told(&test, "-", "sign_in_link.redeem").await.len(), 1);
}

async fn a_link_ends_every_session_and_leaves_the_second_factor(kind: Kind) {
    let test = TestEngine::new(kind).await;
    test.organization("org-1").await;
    let before = set_passphrase(&test, OWNER, GOOD).await;
    turn_on(&test, &before.session, GOOD).await;
    let made = link(&test, LinkPurpose::SetPassphrase).await;
    assert!(
        test.engine
            .show_sign_in_link(&made.secret)
            .await
            .unwrap()
            .has_passphrase
    );
    assert!(
        is_live(&test, &before).await,
        "a link that nobody used ends nothing"
    );
    let begun = redeem(&test, &made, OTHER).await.unwrap();
    assert_eq!(begun.session.stage, SessionStage::NeedsSecondFactor);
    assert!(!is_live(&test, &before).await && is_live(&test, &begun).await);
    assert!(is_wrong(sign_in(&test, &from(1), OWNER, GOOD).await));
}

async fn beginning_anew_removes_the_second_factor_and_its_codes(kind: Kind) {
    let test = TestEngine::new(kind).await;
    test.organization("org-1").await;
    let before = set_passphrase(&test, OWNER, GOOD).await;
    let (_, codes) = turn_on(&test, &before.session, GOOD).await;
    let half = sign_in(&test, &from(1), OWNER, GOOD).await.unwrap();
    let made = link(&test, LinkPurpose::BeginAnew).await;
    let person = &before.session.person_id;
    assert!(
        test.engine.show_second_factor(person).await.unwrap().is_on,
        "not before it is used"
    );
    let begun = redeem(&test, &made, OTHER).await.unwrap();
    assert_eq!(begun.session.stage, SessionStage::Whole);
    let standing = test.engine.show_second_factor(person).await.unwrap();
    assert_eq!((standing.is_on, standing.recovery_codes_left), (false, 0));
    let late = test
        .engine
        .pass_second_factor(&from(1), &CLIENT, &half.session, codes[0].reveal())
        .await;
    assert!(matches!(late, Err(keyward_engine::sign_in::SignInRefused::Over)));
    let facts = &told(&test, "-", "sign_in_link.redeem").await[1];
    assert_eq!(
        (&facts["purpose"], &facts["removed_second_factor"]),
        (&"begin_anew".into(), &true.into())
    );
}

on_both_databases!(
    a_link_lets_one_person_in_once,
    a_later_link_takes_its_place_and_time_ends_it,
    of_many_at_once_one_gets_in,
    a_link_ends_every_session_and_leaves_the_second_factor,
    beginning_anew_removes_the_second_factor_and_its_codes,
);
