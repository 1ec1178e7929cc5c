//! Signing in: what is told apart and what is not, how often somebody may be wrong, and what the second factor takes.

use keyward_core::role::Role;
use keyward_core::session::HALF_MS;
use keyward_core::time::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS};
use keyward_engine::EngineError;
use keyward_engine::sessions::SessionStage;
use keyward_engine::sign_in::SignInRefused;
use keyward_testkit::engine::{Kind, TestEngine};
use keyward_testkit::on_both_databases;

use crate::people::{invite, member, trail};
use crate::signing_in::{
    CLIENT, GOOD, OTHER, OWNER, STEP_MS, from, is_live, is_wrong, set_passphrase, sign_in, told, turn_on,
};

fn is_too_many<T>(outcome: Result<T, SignInRefused>) -> bool {
    matches!(outcome, Err(SignInRefused::Engine(EngineError::TooMany { retry_after_ms })) if retry_after_ms > 0)
}

fn is_over<T>(outcome: Result<T, SignInRefused>) -> bool {
    matches!(outcome, Err(SignInRefused::Over))
}

async fn what_is_wrong_is_not_told(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    member(&test, &organization, "without@example.com", Role::Member).await;
    invite(
        &test,
        &keyward_testkit::engine::context(),
        &organization,
        ("invited@example.com", Role::Member),
    )
    .await
    .unwrap();
    set_passphrase(&test, OWNER, GOOD).await;
    for (last, email, text) in [
        (1, OWNER, OTHER),
        (2, "nobody@example.com", GOOD),
        (3, "without@example.com", GOOD),
        (4, "invited@example.com", GOOD),
        (5, "no address", GOOD),
        (6, OWNER, ""),
        (7, OWNER, &"x".repeat(100_000)),
    ] {
        assert!(
            is_wrong(sign_in(&test, &from(last), email, text).await),
            "{email}"
        );
    }
    // The trail says it of those who exist, and only there.
    // What was told already while this test ran is told again after a minute alone.
    test.clock.advance_ms(2 * MINUTE_MS);
    test.engine.flush_refused_sign_ins().await.unwrap();
    let refused = told(&test, "-", "person.refused").await;
    assert_eq!(
        refused
            .iter()
            .map(|facts| facts["count"].as_u64().unwrap())
            .sum::<u64>(),
        4
    );
    assert!(refused.iter().all(|facts| facts["reason"] == "wrong_passphrase"));
    assert!(sign_in(&test, &from(1), OWNER, GOOD).await.is_ok());
}

async fn whoever_guesses_locks_nobody_out_elsewhere(kind: Kind) {
    let test = TestEngine::new(kind).await;
    test.organization("org-1").await;
    set_passphrase(&test, OWNER, GOOD).await;
    for _ in 0..5 {
        assert!(is_wrong(sign_in(&test, &from(66), OWNER, OTHER).await));
    }
    // Even the right one is not looked at from there, and says nothing.
    assert!(is_too_many(sign_in(&test, &from(66), OWNER, GOOD).await));
    assert!(is_too_many(sign_in(&test, &from(66), OWNER, OTHER).await));
    assert!(sign_in(&test, &from(1), OWNER, GOOD).await.is_ok());
    test.clock.advance_ms(30 * SECOND_MS);
    assert!(sign_in(&test, &from(66), OWNER, GOOD).await.is_ok());
    assert!(
        is_wrong(sign_in(&test, &from(66), OWNER, OTHER).await),
        "forgiven"
    );
}

/// All of them begin before the first is known to be wrong.
async fn many_at_once_are_not_all_the_first(kind: Kind) {
    let test = TestEngine::new(kind).await;
    test.organization("org-1").await;
    set_passphrase(&test, OWNER, GOOD).await;
    let all: Vec<_> = (0..40)
        .map(|_| {
            let engine = test.engine.clone();
            tokio::spawn(async move {
                let text = crate::signing_in::passphrase(OTHER);
                engine.sign_in(&from(66), &CLIENT, OWNER, &text).await
            })
        })
        .collect();
    let mut wrong = 0;
    for one in all {
        match one.await.unwrap() {
            Err(SignInRefused::Wrong) => wrong += 1,
            Err(SignInRefused::Engine(EngineError::TooMany { .. } | EngineError::Busy)) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!((1..=5).contains(&wrong), "{wrong}");
}

async fn a_code_is_good_once_and_so_is_its_step(kind: Kind) {
    let test = TestEngine::new(kind).await;
    test.organization("org-1").await;
    let first = set_passphrase(&test, OWNER, GOOD).await;
    let (seed, _) = turn_on(&test, &first.session, GOOD).await;
    let engine = &test.engine;
    let half = || async { sign_in(&test, &from(1), OWNER, GOOD).await.unwrap().session };
    let one = half().await;
    // The step before was spent when the factor was turned on.
    let spent = seed.code_at(engine.now().plus_ms(-STEP_MS));
    assert!(is_wrong(
        engine.pass_second_factor(&from(1), &CLIENT, &one, &spent).await
    ));
    let code = seed.code_at(engine.now());
    let shown = format!("{} {}", &code[..3], &code[3..]);
    engine
        .pass_second_factor(&from(1), &CLIENT, &one, &shown)
        .await
        .unwrap();
    // Whoever watched has the passphrase and the code, and the code is spent.
    let two = half().await;
    assert!(is_wrong(
        engine.pass_second_factor(&from(2), &CLIENT, &two, &code).await
    ));
    test.clock.advance_ms(STEP_MS);
    let next = seed.code_at(engine.now());
    engine
        .pass_second_factor(&from(2), &CLIENT, &two, &next)
        .await
        .unwrap();
    // The session that was half is none any more.
    test.clock.advance_ms(STEP_MS);
    let again = seed.code_at(engine.now());
    assert!(is_over(
        engine.pass_second_factor(&from(1), &CLIENT, &two, &again).await
    ));
    let late = half().await;
    test.clock.advance_ms(HALF_MS);
    let code = seed.code_at(engine.now());
    assert!(is_over(
        engine.pass_second_factor(&from(1), &CLIENT, &late, &code).await
    ));
    // A whole session is no half one.
    assert!(is_over(
        engine
            .pass_second_factor(&from(1), &CLIENT, &first.session, &code)
            .await
    ));
}

/// Two requests with the same code: one gets in.
async fn a_code_at_the_same_moment_is_good_for_one(kind: Kind) {
    let test = TestEngine::new(kind).await;
    test.organization("org-1").await;
    let first = set_passphrase(&test, OWNER, GOOD).await;
    let (seed, codes) = turn_on(&test, &first.session, GOOD).await;
    let recovery = codes[0].reveal().to_owned();
    for code in [seed.code_at(test.engine.now()), recovery] {
        let mut all = Vec::new();
        for last in 1..=4 {
            let half = sign_in(&test, &from(last), OWNER, GOOD).await.unwrap().session;
            let (engine, code) = (test.engine.clone(), code.clone());
            all.push(tokio::spawn(async move {
                engine
                    .pass_second_factor(&from(last), &CLIENT, &half, &code)
                    .await
            }));
        }
        let mut passed = 0;
        for one in all {
            match one.await.unwrap() {
                Ok(_) => passed += 1,
                other => assert!(is_wrong(other)),
            }
        }
        assert_eq!(passed, 1);
    }
}

async fn a_recovery_code_stands_in_once(kind: Kind) {
    let test = TestEngine::new(kind).await;
    test.organization("org-1").await;
    let first = set_passphrase(&test, OWNER, GOOD).await;
    let (_, codes) = turn_on(&test, &first.session, GOOD).await;
    let engine = &test.engine;
    assert_eq!(codes.len(), 10);
    let typed = codes[3].reveal().to_uppercase().replace('-', " ");
    let half = sign_in(&test, &from(1), OWNER, GOOD).await.unwrap().session;
    let whole = engine
        .pass_second_factor(&from(1), &CLIENT, &half, &typed)
        .await
        .unwrap();
    assert_eq!(whole.session.stage, SessionStage::Whole);
    let half = sign_in(&test, &from(1), OWNER, GOOD).await.unwrap().session;
    let again = engine
        .pass_second_factor(&from(1), &CLIENT, &half, codes[3].reveal())
        .await;
    assert!(is_wrong(again));
    let standing = engine.show_second_factor(&half.person_id).await.unwrap();
    assert_eq!((standing.is_on, standing.recovery_codes_left), (true, 9));
    assert_eq!(told(&test, "-", "recovery_code.use").await[0]["left"], 9);
    let kept = format!("{:?}", trail(&test, "-").await);
    assert!(codes.iter().all(|code| !kept.contains(code.reveal())));
}

async fn wrong_codes_end_the_half_session_and_more_half_sessions_do_not_help(kind: Kind) {
    let test = TestEngine::new(kind).await;
    test.organization("org-1").await;
    let first = set_passphrase(&test, OWNER, GOOD).await;
    let (seed, _) = turn_on(&test, &first.session, GOOD).await;
    let engine = &test.engine;
    let half = || async { sign_in(&test, &from(66), OWNER, GOOD).await.unwrap() };
    for _ in 0..2 {
        let begun = half().await;
        for number in 1..=5 {
            let refused = engine
                .pass_second_factor(&from(66), &CLIENT, &begun.session, "abc")
                .await;
            match number {
                5 => assert!(is_over(refused)),
                _ => assert!(is_wrong(refused)),
            }
        }
        assert!(!is_live(&test, &begun).await);
    }
    let begun = half().await;
    let code = seed.code_at(engine.now());
    assert!(is_too_many(
        engine
            .pass_second_factor(&from(66), &CLIENT, &begun.session, &code)
            .await
    ));
    assert!(is_live(&test, &begun).await);
    // From elsewhere the person gets in, and after an hour from there as well.
    let own = sign_in(&test, &from(1), OWNER, GOOD).await.unwrap().session;
    engine
        .pass_second_factor(&from(1), &CLIENT, &own, &code)
        .await
        .unwrap();
    test.clock.advance_ms(HOUR_MS);
    let begun = half().await;
    let code = seed.code_at(engine.now());
    engine
        .pass_second_factor(&from(66), &CLIENT, &begun.session, &code)
        .await
        .unwrap();
}

async fn organizations_are_told_once_a_day_and_address(kind: Kind) {
    let test = TestEngine::new(kind).await;
    test.organization("org-1").await;
    test.organization("org-2").await;
    set_passphrase(&test, OWNER, GOOD).await;
    for last in [1, 1, 2] {
        sign_in(&test, &from(last), OWNER, GOOD).await.unwrap();
    }
    for chain in ["org-1", "org-2"] {
        let told = told(&test, chain, "person.sign_in").await;
        let why: Vec<_> = told
            .iter()
            .map(|facts| facts["why_told"].as_str().unwrap())
            .collect();
        assert_eq!(why, ["first_of_day", "other_address"]);
        assert!(told.iter().all(|facts| facts["address_commitment"].is_string()));
    }
    assert_eq!(told(&test, "-", "person.sign_in").await.len(), 4, "each of them");
    test.clock.advance_ms(DAY_MS);
    let begun = sign_in(&test, &from(1), OWNER, GOOD).await.unwrap();
    turn_on(&test, &begun.session, GOOD).await;
    // Half of a sign-in is none.
    test.clock.advance_ms(DAY_MS);
    sign_in(&test, &from(1), OWNER, GOOD).await.unwrap();
    assert_eq!(told(&test, "org-1", "person.sign_in").await.len(), 3);
    assert_eq!(told(&test, "-", "person.begin_sign_in").await.len(), 1);
    let everything = format!("{:?}{:?}", trail(&test, "-").await, trail(&test, "org-1").await);
    assert!(!everything.contains("192.0.2") && !everything.contains("example.com"));
}

async fn a_hash_with_old_parameters_is_made_anew(kind: Kind) {
    let test = TestEngine::new(kind).await;
    test.organization("org-1").await;
    set_passphrase(&test, OWNER, GOOD).await;
    // Of the same passphrase, with parameters of another time.
    let old =
        "$argon2id$v=19$m=64,t=1,p=1$BwcHBwcHBwcHBwcHBwcHBw$DOPzU9yvMDzoKASDNimgxEA5rVyxQ9sArYlpD+pqIqo";
    assert_eq!(
        test.place
            .run(&format!("UPDATE passphrase SET phc = '{old}'"))
            .await,
        1
    );
    assert!(is_wrong(sign_in(&test, &from(1), OWNER, OTHER).await));
    let kept = || test.place.texts(&["SELECT phc FROM passphrase"]);
    assert_eq!(kept().await, [old]);
    sign_in(&test, &from(1), OWNER, GOOD).await.unwrap();
    let anew = kept().await;
    assert!(anew[0].starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
    sign_in(&test, &from(1), OWNER, GOOD).await.unwrap();
    assert_eq!(kept().await, anew);
}

on_both_databases!(
    what_is_wrong_is_not_told,
    whoever_guesses_locks_nobody_out_elsewhere,
    many_at_once_are_not_all_the_first,
    a_code_is_good_once_and_so_is_its_step,
    a_code_at_the_same_moment_is_good_for_one,
    a_recovery_code_stands_in_once,
    wrong_codes_end_the_half_session_and_more_half_sessions_do_not_help,
    organizations_are_told_once_a_day_and_address,
    a_hash_with_old_parameters_is_made_anew,
);
