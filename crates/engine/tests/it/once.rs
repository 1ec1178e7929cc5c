//! Idempotency: whoever repeats a request gets the same key, and nobody else does.

use keyward_core::idempotency::{OUTCOME_LIFE_MS, VALUE_LIFE_MS, read_idempotency_key, request_digest};
use keyward_core::ids::OrganizationId;
use keyward_core::record::Actor;
use keyward_core::rotation::{RotationChoice, RotationMode};
use keyward_core::scope::ScopeSet;
use keyward_engine::EngineError;
use keyward_engine::context::Context;
use keyward_engine::once::{Attempt, Once};
use keyward_testkit::engine::{Kind, Permission, TestEngine, context, draft};
use keyward_testkit::on_both_databases;

const KEY: &str = "4f1c0a9d7be24c5f8a3e6d7c01b2a3f4";

fn attempt(key: &str, body: &[u8]) -> Option<Attempt> {
    Some(Attempt {
        key: read_idempotency_key(key.as_bytes()).unwrap(),
        request: request_digest("create", "org-1", body),
    })
}

/// The key's id and value, and whether this request made it.
async fn create(
    test: &TestEngine,
    context: Context,
    organization: &OrganizationId,
    attempt: Option<Attempt>,
) -> Result<(String, Option<String>, bool), EngineError> {
    let draft = draft(ScopeSet::ALL, Permission::Full);
    let done = test
        .engine
        .create_key_once(context, organization.clone(), draft, attempt)
        .await?;
    Ok(match done {
        Once::Now(made) => (
            made.key.record.id.to_string(),
            Some(made.value.reveal().to_owned()),
            true,
        ),
        Once::Before(repeated) => (
            repeated.key.record.id.to_string(),
            repeated.value.map(|value| value.reveal().to_owned()),
            false,
        ),
    })
}

async fn a_repeated_creation_gives_the_same_value_for_ten_minutes(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let again = || create(&test, context(), &organization, attempt(KEY, b"body"));
    let (id, value, is_new) = again().await.unwrap();
    assert!(is_new && value.is_some());
    test.clock.advance_ms(VALUE_LIFE_MS - 1);
    assert_eq!(again().await.unwrap(), (id.clone(), value.clone(), false));

    // Another body, principal or organization is another request.
    let other = create(&test, context(), &organization, attempt(KEY, b"other")).await;
    assert!(matches!(other, Err(EngineError::OtherRequest)));
    let somebody = Context::new(Actor::System, "r-2".parse().unwrap());
    let theirs = create(&test, somebody, &organization, attempt(KEY, b"body")).await;
    assert_ne!(theirs.unwrap().0, id);
    let elsewhere = test.organization("org-2").await;
    let theirs = create(&test, context(), &elsewhere, attempt(KEY, b"body")).await;
    assert_ne!(theirs.unwrap().0, id);

    test.clock.advance_ms(1);
    assert_eq!(again().await.unwrap(), (id.clone(), None, false));
    test.engine.tend_keys(&context()).await.unwrap();
    let sealed = test
        .place
        .texts(&["SELECT CAST(COUNT(*) AS TEXT) FROM idempotency WHERE length(sealed) > 0"])
        .await;
    assert_eq!(
        sealed,
        ["2"],
        "those of this moment are left, the first is emptied"
    );
    test.clock.advance_ms(OUTCOME_LIFE_MS);
    test.engine.tend_keys(&context()).await.unwrap();
    assert!(again().await.unwrap().2, "it was forgotten");
}

async fn nobody_gets_the_value_of_a_key_that_ended(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let again = || create(&test, context(), &organization, attempt(KEY, b"body"));
    let (id, ..) = again().await.unwrap();
    test.delete(&organization, id.parse().unwrap()).await.unwrap();
    assert_eq!(again().await.unwrap(), (id, None, false));
}

async fn of_many_attempts_at_once_one_makes_a_key(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let all = (0..20).map(|_| create(&test, context(), &organization, attempt(KEY, b"body")));
    let outcomes = futures_util::future::join_all(all).await;
    let mut ids = Vec::new();
    for outcome in outcomes {
        match outcome {
            Ok((id, value, _)) => {
                assert!(value.is_some());
                ids.push(id);
            }
            Err(EngineError::InProgress) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert!(!ids.is_empty());
    ids.dedup();
    assert_eq!(ids.len(), 1);
    let keys = test.engine.list_keys(&organization, "", 10).await.unwrap();
    assert_eq!(keys.items.len(), 1);
}

async fn the_value_is_in_no_row_in_the_clear(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let (_, value, _) = create(&test, context(), &organization, attempt(KEY, b"body"))
        .await
        .unwrap();
    let value = value.unwrap();
    let mut copy = Vec::new();
    test.engine.store().dump(&mut copy, "id", 0).await.unwrap();
    let copy = String::from_utf8(copy).unwrap();
    assert!(!copy.contains(&value) && !copy.contains(KEY));
    assert!(!copy.contains("idempotency"), "a backup holds none of it");
}

async fn a_repeated_rotation_gives_the_same_secret(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let key = test.full_key(&organization).await;
    let mut values = Vec::new();
    for _ in 0..2 {
        let subject = (organization.clone(), key.key.record.id);
        let choice = (RotationChoice::Mode(RotationMode::Immediate), None);
        let done = test
            .engine
            .rotate_key(context(), subject, choice, attempt(KEY, b"rotate"))
            .await
            .unwrap();
        values.push(match done {
            Once::Now(rotated) => rotated.value.reveal().to_owned(),
            Once::Before(repeated) => repeated.value.unwrap().reveal().to_owned(),
        });
    }
    assert_eq!(values[0], values[1]);
    assert_eq!(test.verify(&values[0]).await, Ok(()));
}

on_both_databases!(
    a_repeated_creation_gives_the_same_value_for_ten_minutes,
    nobody_gets_the_value_of_a_key_that_ended,
    of_many_attempts_at_once_one_makes_a_key,
    the_value_is_in_no_row_in_the_clear,
    a_repeated_rotation_gives_the_same_secret,
);
