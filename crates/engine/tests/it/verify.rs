use keyward_core::access::Permission;
use keyward_core::condition::Conditions;
use keyward_core::operation::Operation;
use keyward_core::refusal::Code;
use keyward_core::resource::ResourceType;
use keyward_core::scope::{Scope, ScopeSet};
use keyward_core::time::Timestamp;
use keyward_engine::EngineError;
use keyward_engine::clock::Clock as _;
use keyward_engine::permit::OwnedResource;
use keyward_testkit::engine::{Kind, TestEngine, context, draft};
use keyward_testkit::{forgery, on_both_databases};

async fn memory_and_store_give_the_same_answers(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let now = test.clock.now();
    let until = |end: Timestamp| Conditions {
        expires_at: Some(end),
        ..Conditions::NONE
    };
    let mut keys = Vec::new();
    for (scopes, permission, conditions) in [
        (ScopeSet::ALL, Permission::Full, Conditions::NONE),
        (ScopeSet::ALL, Permission::ReadOnly, until(now.plus_ms(1_000))),
        (
            ScopeSet::NONE.with(Scope::Training),
            Permission::Full,
            Conditions::NONE,
        ),
        (
            ScopeSet::ALL,
            Permission::LabelerOnly,
            Conditions {
                not_before: Some(now.plus_ms(500)),
                ..until(now.plus_ms(900))
            },
        ),
    ] {
        let mut draft = draft(scopes, permission);
        draft.conditions = conditions;
        keys.push(
            test.engine
                .create_key(context(), organization.clone(), draft)
                .await
                .unwrap(),
        );
    }
    let states = async || {
        let mut answers = Vec::new();
        for key in &keys {
            let value = key.value.reveal();
            let other = forgery::with_other_secret(value);
            answers.push(test.verify(value).await);
            answers.push(test.verify(&other).await);
            for operation in [
                Operation::DatasetRead,
                Operation::DatasetWrite,
                Operation::TrainingRead,
            ] {
                let resource = OwnedResource::Collection(ResourceType::Dataset);
                answers.push(
                    test.permit(value, operation, resource)
                        .await
                        .map(drop)
                        .map_err(|no| no.code()),
                );
            }
        }
        answers
    };
    let mut seen = Vec::new();
    for step in 0..6 {
        match step {
            1 => test.clock.advance_ms(700),
            2 => test.clock.advance_ms(700),
            3 => drop(
                test.engine
                    .pause_key(context(), organization.clone(), keys[0].key.record.id)
                    .await
                    .unwrap(),
            ),
            4 => drop(
                test.engine
                    .resume_key(context(), organization.clone(), keys[0].key.record.id)
                    .await
                    .unwrap(),
            ),
            5 => drop(test.delete(&organization, keys[0].key.record.id).await.unwrap()),
            _ => {}
        }
        let from_memory = states().await;
        test.engine.cache().clear();
        let from_store = states().await;
        assert_eq!(from_memory, from_store, "step {step}");
        assert_eq!(from_store, states().await, "step {step}, from memory again");
        seen.push(from_memory[0]);
        assert!(
            from_memory
                .chunks(5)
                .all(|of_key| of_key[1] == Err(Code::KeyUnknown)),
            "a forged secret"
        );
    }
    let expected = [
        Ok(()),
        Ok(()),
        Ok(()),
        Err(Code::KeyPaused),
        Ok(()),
        Err(Code::KeyDeleted),
    ];
    assert_eq!(seen, expected);
}

async fn a_deleted_key_never_comes_back(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let key = test.full_key(&organization).await;
    let id = key.key.record.id;
    assert!(
        test.engine
            .pause_key(context(), organization.clone(), id)
            .await
            .unwrap()
            .is_changed
    );
    assert!(
        !test
            .engine
            .pause_key(context(), organization.clone(), id)
            .await
            .unwrap()
            .is_changed
    );
    assert_eq!(test.verify(key.value.reveal()).await, Err(Code::KeyPaused));
    let first = test.delete(&organization, id).await.unwrap();
    assert!(first.is_changed);
    // A second delete does the tombstone again, whatever memory holds.
    test.engine.cache().clear();
    let second = test.delete(&organization, id).await.unwrap();
    assert!(!second.is_changed);
    assert_eq!(second.key.record, first.key.record);
    assert_eq!(test.engine.cache().len(), 1);
    assert_eq!(test.verify(key.value.reveal()).await, Err(Code::KeyDeleted));
    for refused in [
        test.engine.resume_key(context(), organization.clone(), id).await,
        test.engine.pause_key(context(), organization.clone(), id).await,
    ] {
        assert!(matches!(refused, Err(EngineError::Conflict(_))));
    }
    let stranger = test.organization("org-2").await;
    assert!(matches!(
        test.delete(&stranger, id).await,
        Err(EngineError::NotFound(_))
    ));
    assert_eq!(test.verify(key.value.reveal()).await, Err(Code::KeyDeleted));
}

/// A small cache, so that keys are evicted while others load them.
async fn evictions_during_loads_change_no_answer(kind: Kind) {
    let test = TestEngine::with_capacity(kind, 1).await;
    let organization = test.organization("org-1").await;
    let mut keys = Vec::new();
    for _ in 0..12 {
        keys.push(test.full_key(&organization).await);
    }
    for (index, key) in keys.iter().enumerate() {
        if index % 3 == 0 {
            test.delete(&organization, key.key.record.id).await.unwrap();
        }
    }
    let mut asking = Vec::new();
    for round in 0..4 {
        for (index, key) in keys.iter().enumerate() {
            let (engine, value) = (test.engine.clone(), key.value.reveal().to_owned());
            asking.push(tokio::spawn(async move {
                let answer = keyward_testkit::engine::verify(&engine, &value).await;
                let expected = if index % 3 == 0 {
                    Err(Code::KeyDeleted)
                } else {
                    Ok(())
                };
                assert_eq!(answer, expected, "key {index}, round {round}");
            }));
        }
    }
    for one in asking {
        one.await.unwrap();
    }
}

async fn an_id_that_nobody_gave_out_is_unknown_without_the_database(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let stranger = TestEngine::new(kind).await;
    let organization = stranger.organization("org-1").await;
    let foreign = stranger.full_key(&organization).await;
    // The store is closed: whatever asked it would be told so.
    test.engine.store().close().await;
    assert_eq!(test.verify(foreign.value.reveal()).await, Err(Code::KeyUnknown));
    stranger.engine.store().close().await;
    assert_eq!(
        stranger.verify(foreign.value.reveal()).await,
        Ok(()),
        "from memory"
    );
    assert_eq!(
        stranger.verify_afresh(foreign.value.reveal()).await,
        Err(Code::StoreUnavailable)
    );
}

on_both_databases!(
    memory_and_store_give_the_same_answers,
    a_deleted_key_never_comes_back,
    evictions_during_loads_change_no_answer,
    an_id_that_nobody_gave_out_is_unknown_without_the_database,
);
