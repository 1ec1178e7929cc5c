//! Sessions: under which token, until when, and who ends which.

use keyward_core::secret::{Secret, SessionKind};
use keyward_core::session::{ABSOLUTE_MS, HALF_MS, IDLE_MS, MAX_HALF, MAX_WHOLE};
use keyward_core::time::{HOUR_MS, MINUTE_MS};
use keyward_engine::sessions::SessionStage;
use keyward_testkit::deadline::PATIENCE;
use keyward_testkit::engine::{Kind, TestEngine, context};
use keyward_testkit::on_both_databases;

use crate::people::{by, is_forbidden, member};
use crate::signing_in::{
    CLIENT, GOOD, OTHER, OWNER, from, is_live, is_wrong, set_passphrase, sign_in, told, turn_on,
};

async fn every_sign_in_has_a_token_of_its_own_and_the_database_none(kind: Kind) {
    let test = TestEngine::new(kind).await;
    test.organization("org-1").await;
    let first = set_passphrase(&test, OWNER, GOOD).await;
    let second = sign_in(&test, &from(7), " Owner@Example.com ", GOOD)
        .await
        .unwrap();
    assert_ne!(first.token.reveal(), second.token.reveal());
    assert_eq!(second.token.reveal().len(), 43, "256 bits");
    let found = test.engine.find_session(&second.token).await.unwrap().unwrap();
    assert_eq!(found, second.session);
    assert_eq!(
        (found.email.as_str(), found.address.as_str(), found.stage),
        (OWNER, "192.0.2.7", SessionStage::Whole)
    );
    for strange in ["", "abc", &"A".repeat(43), &"-".repeat(1_000_000)] {
        let token = Secret::<SessionKind>::new(strange.to_owned());
        assert_eq!(test.engine.find_session(&token).await.unwrap(), None);
    }
    let kept = test
        .place
        .texts(&["SELECT CAST(id AS TEXT) || client || address || stage FROM person_session"])
        .await;
    assert_eq!(kept.len(), 2);
    assert!(kept.iter().all(|row| !row.contains(second.token.reveal())));
    let phc = test.place.texts(&["SELECT phc FROM passphrase"]).await;
    assert!(phc[0].starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
}

/// What a browser had before the second factor opens nothing after it.
async fn a_half_session_ends_where_the_whole_one_begins(kind: Kind) {
    let test = TestEngine::new(kind).await;
    test.organization("org-1").await;
    let first = set_passphrase(&test, OWNER, GOOD).await;
    let (seed, _) = turn_on(&test, &first.session, GOOD).await;
    let half = sign_in(&test, &from(1), OWNER, GOOD).await.unwrap();
    assert_eq!(half.session.stage, SessionStage::NeedsSecondFactor);
    let code = seed.code_at(test.engine.now());
    let whole = test
        .engine
        .pass_second_factor(&from(1), &CLIENT, &half.session, &code)
        .await
        .unwrap();
    assert_eq!(whole.session.stage, SessionStage::Whole);
    assert_ne!(whole.token.reveal(), half.token.reveal());
    assert!(!is_live(&test, &half).await && is_live(&test, &whole).await);
}

async fn a_session_ends_when_it_is_idle_and_at_its_absolute_end(kind: Kind) {
    let test = TestEngine::new(kind).await;
    test.organization("org-1").await;
    let begun = set_passphrase(&test, OWNER, GOOD).await;
    let idle = sign_in(&test, &from(1), OWNER, GOOD).await.unwrap();
    test.clock.advance_ms(IDLE_MS - 1);
    seen(&test, &begun.token).await;
    test.clock.advance_ms(1);
    assert!(!is_live(&test, &idle).await);
    assert_eq!(
        test.engine
            .list_sessions(&begun.session.person_id)
            .await
            .unwrap()
            .len(),
        1
    );
    // Used all the time, it ends all the same.
    let mut left = ABSOLUTE_MS - IDLE_MS;
    while left > 11 * HOUR_MS {
        test.clock.advance_ms(11 * HOUR_MS);
        left -= 11 * HOUR_MS;
        seen(&test, &begun.token).await;
    }
    test.clock.advance_ms(left - 1);
    assert!(is_live(&test, &begun).await);
    test.clock.advance_ms(1);
    assert!(!is_live(&test, &begun).await);
    test.engine.tend_keys(&context()).await.unwrap();
    let left = test.place.texts(&["SELECT id FROM person_session"]).await;
    assert_eq!(left, Vec::<String>::new());
}

/// Uses a session, and looks again until that is noted beside the request.
async fn seen(test: &TestEngine, token: &Secret<SessionKind>) {
    let now = test.engine.now();
    let looking = async {
        loop {
            let found = test.engine.find_session(token).await.unwrap().unwrap();
            if found.last_seen_at == now {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap();
}

async fn a_use_is_noted_once_a_minute(kind: Kind) {
    let test = TestEngine::new(kind).await;
    test.organization("org-1").await;
    let begun = set_passphrase(&test, OWNER, GOOD).await;
    test.clock.advance_ms(MINUTE_MS - 1);
    let found = test.engine.find_session(&begun.token).await.unwrap().unwrap();
    assert_eq!(found.last_seen_at, begun.session.created_at);
    test.clock.advance_ms(1);
    seen(&test, &begun.token).await;
    let found = test.engine.find_session(&begun.token).await.unwrap().unwrap();
    assert_eq!(found.last_seen_at, test.engine.now());
    assert_eq!(found.ends_at, begun.session.ends_at, "the end does not move");
}

async fn everybody_ends_their_own_sessions_alone(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let bob = member(
        &test,
        &organization,
        "bob@example.com",
        keyward_core::role::Role::Owner,
    )
    .await;
    let bobs = set_passphrase(&test, "bob@example.com", OTHER).await;
    let first = set_passphrase(&test, OWNER, GOOD).await;
    let second = sign_in(&test, &from(1), OWNER, GOOD).await.unwrap();
    let third = sign_in(&test, &from(1), OWNER, GOOD).await.unwrap();
    let ada = first.session.person_id.clone();
    let engine = &test.engine;
    let listed = engine.list_sessions(&ada).await.unwrap();
    assert_eq!(listed.len(), 3);

    let id = &second.session.id;
    assert!(is_forbidden(engine.end_session(&by(&bob), &ada, id).await));
    // Named as one of Bob's, it is none.
    engine.end_session(&by(&bob), &bob, id).await.unwrap();
    assert!(is_live(&test, &second).await);
    engine.end_session(&by(&ada), &ada, id).await.unwrap();
    engine.end_session(&by(&ada), &ada, id).await.unwrap();
    assert!(!is_live(&test, &second).await && is_live(&test, &first).await);
    assert_eq!(told(&test, "-", "session.end").await.len(), 1);

    assert_eq!(
        engine
            .end_other_sessions(&by(&ada), &third.session)
            .await
            .unwrap(),
        1
    );
    assert_eq!(
        engine
            .end_other_sessions(&by(&ada), &third.session)
            .await
            .unwrap(),
        0
    );
    assert!(!is_live(&test, &first).await && is_live(&test, &third).await);
    assert!(is_live(&test, &bobs).await);
    assert_eq!(told(&test, "-", "session.end_others").await.len(), 1);
}

async fn there_are_so_many_sessions_of_a_person_and_half_ones_push_out_no_whole_one(kind: Kind) {
    let test = TestEngine::new(kind).await;
    test.organization("org-1").await;
    let first = set_passphrase(&test, OWNER, GOOD).await;
    let mut last = None;
    for _ in 0..MAX_WHOLE {
        test.clock.advance_ms(1);
        last = Some(sign_in(&test, &from(1), OWNER, GOOD).await.unwrap());
    }
    assert!(!is_live(&test, &first).await, "the oldest went");
    let last = last.unwrap();
    turn_on(&test, &last.session, GOOD).await;
    let mut halves = Vec::new();
    for _ in 0..=MAX_HALF {
        test.clock.advance_ms(1);
        halves.push(sign_in(&test, &from(1), OWNER, GOOD).await.unwrap());
    }
    assert!(!is_live(&test, &halves[0]).await);
    assert!(is_live(&test, &halves[1]).await && is_live(&test, &last).await);
    test.clock.advance_ms(HALF_MS);
    assert!(!is_live(&test, halves.last().unwrap()).await);
    assert!(is_wrong(sign_in(&test, &from(1), OWNER, OTHER).await));
}

on_both_databases!(
    every_sign_in_has_a_token_of_its_own_and_the_database_none,
    a_half_session_ends_where_the_whole_one_begins,
    a_session_ends_when_it_is_idle_and_at_its_absolute_end,
    a_use_is_noted_once_a_minute,
    everybody_ends_their_own_sessions_alone,
    there_are_so_many_sessions_of_a_person_and_half_ones_push_out_no_whole_one,
);
