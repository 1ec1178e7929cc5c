//! Stopping, resuming and locking an organization: true for every key of it on the next request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use keyward_core::decision::OrganizationState;
use keyward_core::operation::Operation;
use keyward_core::refusal::Code;
use keyward_core::resource::ResourceType;
use keyward_engine::EngineError;
use keyward_engine::datasets::NewDataset;
use keyward_engine::edit_organization::OrganizationEdit;
use keyward_engine::permit::OwnedResource;
use keyward_testkit::engine::{Kind, TestEngine, context, verify};
use keyward_testkit::on_both_databases;

async fn a_stop_is_true_for_every_key_until_it_is_taken_back(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let (stopped, neighbour) = (test.organization("org-1").await, test.organization("org-2").await);
    let keys = [test.full_key(&stopped).await, test.full_key(&stopped).await];
    let unconcerned = test.full_key(&neighbour).await;
    for key in &keys {
        assert_eq!(test.verify(key.value.reveal()).await, Ok(()));
    }

    let first = test
        .engine
        .stop_organization(context(), stopped.clone())
        .await
        .unwrap();
    assert_eq!(first.organization.state, OrganizationState::Stopped);
    assert!(first.is_changed);
    assert_eq!((first.known.confirmed, first.known.waited_out), (1, 0));
    for key in &keys {
        assert_eq!(test.verify(key.value.reveal()).await, Err(Code::KeyPaused));
        assert_eq!(test.verify_afresh(key.value.reveal()).await, Err(Code::KeyPaused));
    }
    assert_eq!(test.verify(unconcerned.value.reveal()).await, Ok(()));
    let made_meanwhile = test.full_key(&stopped).await;
    assert_eq!(
        test.verify(made_meanwhile.value.reveal()).await,
        Err(Code::KeyPaused)
    );

    let again = test
        .engine
        .stop_organization(context(), stopped.clone())
        .await
        .unwrap();
    assert!(!again.is_changed);
    assert_eq!(again.organization, first.organization);

    let resumed = test
        .engine
        .resume_organization(context(), stopped.clone())
        .await
        .unwrap();
    assert_eq!(resumed.organization.state, OrganizationState::Open);
    assert_eq!(resumed.organization.version, first.organization.version + 1);
    for key in keys.iter().chain([&made_meanwhile]) {
        assert_eq!(test.verify(key.value.reveal()).await, Ok(()));
    }
}

async fn a_lock_refuses_last_and_outlives_a_stop(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let key = test.full_key(&organization).await;
    let value = key.value.reveal();
    let engine = &test.engine;
    engine
        .lock_organization(context(), organization.clone())
        .await
        .unwrap();
    assert_eq!(test.verify(value).await, Err(Code::OrganizationLocked));
    engine
        .pause_key(context(), organization.clone(), key.key.record.id)
        .await
        .unwrap();
    assert_eq!(
        test.verify(value).await,
        Err(Code::KeyPaused),
        "what else is wrong is said first"
    );
    engine
        .resume_key(context(), organization.clone(), key.key.record.id)
        .await
        .unwrap();
    engine
        .stop_organization(context(), organization.clone())
        .await
        .unwrap();
    assert_eq!(test.verify(value).await, Err(Code::KeyPaused));
    engine
        .resume_organization(context(), organization.clone())
        .await
        .unwrap();
    assert_eq!(test.verify(value).await, Err(Code::OrganizationLocked));
    assert_eq!(test.verify_afresh(value).await, Err(Code::OrganizationLocked));
    let unlocked = engine
        .unlock_organization(context(), organization.clone())
        .await
        .unwrap();
    assert_eq!(unlocked.organization.state, OrganizationState::Open);
    assert_eq!(test.verify(value).await, Ok(()));
}

async fn a_stop_leaves_its_trail(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    for _ in 0..2 {
        test.engine
            .stop_organization(context(), organization.clone())
            .await
            .unwrap();
    }
    let trail = test.engine.store().list_audit("org-1", 0, 10).await.unwrap();
    let actions: Vec<_> = trail.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["organization.create", "organization.stop"]);
    assert!(trail.iter().all(keyward_store::audit::StoredEntry::is_intact));
    assert_eq!(trail[1].facts, r#"{"is":"stopped","was":"open"}"#);
    let feed = "SELECT organization_id || '/' || key_id || '/' || CAST(version AS TEXT) FROM change_feed";
    assert_eq!(test.place.texts(&[feed]).await, ["org-1//2"]);
    assert_eq!(
        test.place.texts(&["SELECT key_id || kind FROM outbox"]).await,
        ["organization.stop"]
    );
    let nowhere = test
        .engine
        .stop_organization(context(), "org-9".parse().unwrap())
        .await;
    assert!(matches!(nowhere, Err(EngineError::NotFound("organization"))));
}

async fn a_write_that_was_permitted_before_the_stop_commits_nothing_after_it(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let key = test.full_key(&organization).await;
    let new = OwnedResource::New(ResourceType::Dataset);
    let permit = test
        .permit(key.value.reveal(), Operation::DatasetWrite, new)
        .await
        .unwrap();
    let edits = test
        .permit(
            key.value.reveal(),
            Operation::OrganizationWrite,
            OwnedResource::Organization,
        )
        .await
        .unwrap();
    test.engine
        .stop_organization(context(), organization.clone())
        .await
        .unwrap();
    let made = test.engine.create_dataset(&permit, &context(), dataset()).await;
    assert!(matches!(&made, Err(EngineError::Refused(refusal)) if refusal.code() == Code::KeyPaused));
    let edit = OrganizationEdit {
        name: Some("Another name".to_owned()),
        ..OrganizationEdit::default()
    };
    let edited = test
        .engine
        .edit_organization(&edits, &context(), edit.clone())
        .await;
    assert!(matches!(&edited, Err(EngineError::Refused(refusal)) if refusal.code() == Code::KeyPaused));

    test.engine
        .resume_organization(context(), organization.clone())
        .await
        .unwrap();
    test.engine
        .create_dataset(&permit, &context(), dataset())
        .await
        .unwrap();
    // An edit raises the version, and changes nothing of the state.
    let edited = test
        .engine
        .edit_organization(&edits, &context(), edit)
        .await
        .unwrap();
    assert_eq!((edited.version, edited.state), (4, OrganizationState::Open));
    let stopped = test
        .engine
        .stop_organization(context(), organization)
        .await
        .unwrap();
    assert_eq!(stopped.organization.version, 5);
    assert_eq!(stopped.organization.name, "Another name");
    assert_eq!(test.verify(key.value.reveal()).await, Err(Code::KeyPaused));
}

fn dataset() -> NewDataset {
    NewDataset {
        name: "A dataset".to_owned(),
        description: None,
        kind: "freeform".to_owned(),
        content: "Image".to_owned(),
        owner: "somebody".to_owned(),
        status: 0,
        localization: None,
        data_localization: None,
        tags: std::collections::BTreeMap::new(),
        attributes: std::collections::BTreeMap::new(),
    }
}

/// The promise: no verify of any key that begins after the stop returned is accepted, and after the resuming every one is.
async fn no_verify_that_begins_after_the_stop_is_accepted(kind: Kind) {
    // Room for one key a shard, so that entries come and go.
    let test = TestEngine::with_capacity(kind, 1).await;
    let organization = test.organization("org-1").await;
    let mut keys = Vec::new();
    for _ in 0..10 {
        keys.push(test.full_key(&organization).await);
    }
    for _ in 0..5 {
        let moment = Arc::new(AtomicU64::new(0));
        let returned = Arc::new(AtomicU64::new(u64::MAX));
        let asking: Vec<_> = (0..40_usize)
            .map(|number| {
                let (engine, moment, returned) =
                    (test.engine.clone(), Arc::clone(&moment), Arc::clone(&returned));
                let key = &keys[number % keys.len()];
                let (id, value) = (key.key.record.id, key.value.reveal().to_owned());
                tokio::spawn(async move {
                    let mut last_accept = 0;
                    for round in 0.. {
                        if (number + round) % 3 == 0 {
                            engine.cache().forget(id);
                        }
                        let begun = moment.fetch_add(1, Ordering::SeqCst);
                        match verify(&engine, &value).await {
                            Ok(()) => last_accept = begun,
                            Err(code) => assert!(matches!(code, Code::KeyPaused | Code::StoreUnavailable)),
                        }
                        if begun > returned.load(Ordering::SeqCst).saturating_add(20) {
                            break;
                        }
                        tokio::task::yield_now().await;
                    }
                    last_accept
                })
            })
            .collect();
        let stopped = test
            .engine
            .stop_organization(context(), organization.clone())
            .await;
        assert!(stopped.unwrap().is_changed);
        let at = moment.fetch_add(1, Ordering::SeqCst);
        returned.store(at, Ordering::SeqCst);
        for one in asking {
            let last_accept = one.await.unwrap();
            assert!(
                last_accept < at,
                "a verify that began at {last_accept} was accepted; stopped at {at}"
            );
        }
        test.engine
            .resume_organization(context(), organization.clone())
            .await
            .unwrap();
        for key in &keys {
            assert_eq!(test.verify(key.value.reveal()).await, Ok(()));
        }
    }
}

/// Whoever asks for a stop goes away after any number of steps: a second stop makes sure.
async fn a_caller_that_goes_away_leaves_no_doubt(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let key = test.full_key(&organization).await;
    let value = key.value.reveal();
    for steps in [0, 1, 2, 3, 5, 8, 13, 40] {
        let mut stopping = Box::pin(test.engine.stop_organization(context(), organization.clone()));
        for _ in 0..steps {
            if futures_util::poll!(&mut stopping).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(stopping);
        test.engine
            .stop_organization(context(), organization.clone())
            .await
            .unwrap();
        assert_eq!(test.verify(value).await, Err(Code::KeyPaused));
        test.engine
            .resume_organization(context(), organization.clone())
            .await
            .unwrap();
        assert_eq!(test.verify(value).await, Ok(()));
    }
}

/// Stops, resumings, locks, edits of keys at once: one legal history, and memory says what the database says.
async fn writers_at_once_end_in_one_history(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let key = test.full_key(&organization).await;
    let id = key.key.record.id;
    let writers: Vec<_> = (0..40)
        .map(|number| {
            let (engine, organization) = (test.engine.clone(), organization.clone());
            tokio::spawn(async move {
                match number % 6 {
                    0 => drop(engine.stop_organization(context(), organization).await.unwrap()),
                    1 => drop(engine.resume_organization(context(), organization).await.unwrap()),
                    2 => drop(engine.lock_organization(context(), organization).await.unwrap()),
                    3 => drop(engine.unlock_organization(context(), organization).await.unwrap()),
                    4 => drop(engine.pause_key(context(), organization, id).await.unwrap()),
                    _ => drop(engine.resume_key(context(), organization, id).await.unwrap()),
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let from_memory = test.verify(key.value.reveal()).await;
    assert_eq!(test.verify_afresh(key.value.reveal()).await, from_memory);
    let chain = test.engine.store().list_audit("org-1", 0, 1_000).await.unwrap();
    let states: Vec<_> = chain
        .iter()
        .filter(|entry| entry.action.starts_with("organization."))
        .collect();
    let shown = test.engine.show_organization(&organization).await.unwrap();
    assert_eq!(
        shown.version,
        states.len() as i64,
        "every write that changed something is in the trail"
    );
}

/// Nobody keeps an organization from being stopped by spoiling its row.
async fn a_row_that_can_not_be_read_is_stopped_all_the_same(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let key = test.full_key(&organization).await;
    test.place
        .run("UPDATE organization SET settings = 'x', preference = 'x' WHERE id = 'org-1'")
        .await;
    let stopped = test
        .engine
        .stop_organization(context(), organization.clone())
        .await
        .unwrap();
    assert!(stopped.is_changed);
    assert_eq!(test.verify(key.value.reveal()).await, Err(Code::KeyPaused));
    assert_eq!(test.verify_afresh(key.value.reveal()).await, Err(Code::KeyPaused));
}

on_both_databases!(
    a_row_that_can_not_be_read_is_stopped_all_the_same,
    a_stop_is_true_for_every_key_until_it_is_taken_back,
    a_lock_refuses_last_and_outlives_a_stop,
    a_stop_leaves_its_trail,
    a_write_that_was_permitted_before_the_stop_commits_nothing_after_it,
    no_verify_that_begins_after_the_stop_is_accepted,
    a_caller_that_goes_away_leaves_no_doubt,
    writers_at_once_end_in_one_history,
);
