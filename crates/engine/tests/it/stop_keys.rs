//! Emergency stops by a filter: what it means is paused when the call has returned, however much there is and whoever asks.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use keyward_core::ids::KeyId;
use keyward_core::key_filter::KeyFilter;
use keyward_core::record::ShownState;
use keyward_core::refusal::Code;
use keyward_engine::EngineError;
use keyward_testkit::engine::{Kind, TestEngine, context};
use keyward_testkit::on_both_databases;

use crate::bulk::{MORE_THAN_A_CHUNK, keys};

async fn more_keys_than_a_chunk_are_paused_and_each_is_named(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let other = test.organization("org-2").await;
    let unconcerned = test.full_key(&other).await;
    let keys = keys(&test, &organization, MORE_THAN_A_CHUNK).await;
    for key in &keys {
        assert_eq!(test.verify(key.value.reveal()).await, Ok(()));
    }
    let all = KeyFilter::default();
    let stopped = test
        .engine
        .stop_keys(context(), organization.clone(), all.clone())
        .await
        .unwrap();
    assert!(stopped.stopped_by.is_none() && stopped.broken.is_empty());
    let paused: BTreeSet<KeyId> = stopped.paused.iter().copied().collect();
    assert_eq!(paused.len(), stopped.paused.len(), "each is named once");
    assert_eq!(paused, keys.iter().map(|key| key.key.record.id).collect());
    for key in &keys {
        assert_eq!(test.verify(key.value.reveal()).await, Err(Code::KeyPaused));
    }
    assert_eq!(
        test.verify_afresh(keys[0].value.reveal()).await,
        Err(Code::KeyPaused)
    );
    assert_eq!(test.verify(unconcerned.value.reveal()).await, Ok(()));
    let again = test.engine.stop_keys(context(), organization, all).await.unwrap();
    assert!(again.paused.is_empty(), "they were paused already");
    // Once in the trail for what was meant, each time that it was asked for, and once for each key.
    for (action, count) in [("keys.stop", 2), ("key.pause", MORE_THAN_A_CHUNK)] {
        let sql = format!("SELECT CAST(COUNT(*) AS TEXT) FROM audit_entry WHERE action = '{action}'");
        assert_eq!(test.place.texts(&[&sql]).await, [count.to_string()], "{action}");
    }
}

async fn no_verify_that_begins_after_a_stop_returned_is_accepted(kind: Kind) {
    let test = Arc::new(TestEngine::new(kind).await);
    let organization = test.organization("org-1").await;
    let keys = keys(&test, &organization, 60).await;
    let values: Arc<Vec<String>> = Arc::new(keys.iter().map(|key| key.value.reveal().to_owned()).collect());
    let has_returned = Arc::new(AtomicBool::new(false));
    let (before, after) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let verifiers: Vec<_> = (0..4_usize)
        .map(|number| {
            let (test, values) = (Arc::clone(&test), Arc::clone(&values));
            let (has_returned, before, after) =
                (Arc::clone(&has_returned), Arc::clone(&before), Arc::clone(&after));
            tokio::spawn(async move {
                let mut at = number;
                // Three rounds through all keys after the stop has returned.
                let mut left = 3 * values.len();
                while left > 0 {
                    let begins_after = has_returned.load(Ordering::SeqCst);
                    let value = &values[at % values.len()];
                    // Some from memory, some past it.
                    let answer = if at % 7 == number {
                        test.verify_afresh(value).await
                    } else {
                        test.verify(value).await
                    };
                    match (begins_after, answer) {
                        (true, answer) => {
                            assert_eq!(answer, Err(Code::KeyPaused));
                            after.fetch_add(1, Ordering::SeqCst);
                            left -= 1;
                        }
                        (false, Ok(())) => drop(before.fetch_add(1, Ordering::SeqCst)),
                        (false, Err(code)) => assert_eq!(code, Code::KeyPaused),
                    }
                    at += 1;
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    // The stop begins while all of them are accepted.
    while before.load(Ordering::SeqCst) < values.len() {
        tokio::task::yield_now().await;
    }
    let all = KeyFilter::default();
    let stopped = test.engine.stop_keys(context(), organization, all).await.unwrap();
    has_returned.store(true, Ordering::SeqCst);
    assert_eq!(stopped.paused.len(), values.len());
    for verifier in verifiers {
        verifier.await.unwrap();
    }
    assert_eq!(after.load(Ordering::SeqCst), 4 * 3 * values.len());
}

async fn a_filter_that_means_no_active_key_pauses_none(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let key = test.full_key(&organization).await;
    let of = |states: &[ShownState]| KeyFilter {
        states: states.to_vec(),
        ..KeyFilter::default()
    };
    let stop = async |filter| {
        let stopped = test
            .engine
            .stop_keys(context(), organization.clone(), filter)
            .await;
        stopped.unwrap().paused
    };
    let others = of(&[ShownState::Paused, ShownState::Expired, ShownState::Deleted]);
    assert!(stop(others).await.is_empty());
    assert_eq!(test.verify(key.value.reveal()).await, Ok(()));
    let either = of(&[ShownState::Deleted, ShownState::Active]);
    assert_eq!(stop(either).await, [key.key.record.id]);
    assert_eq!(test.verify(key.value.reveal()).await, Err(Code::KeyPaused));
    let nowhere = test
        .engine
        .stop_keys(context(), "org-9".parse().unwrap(), KeyFilter::default())
        .await;
    assert!(matches!(nowhere, Err(EngineError::NotFound(_))));
}

async fn a_broken_seal_is_named_and_holds_up_no_other(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    // Changed so that its seal does not open, and so that the row can't be read at all.
    for spoil in ["version = version + 1", "level = 'none'", "state_reason = 'x'"] {
        let keys = keys(&test, &organization, 3).await;
        let broken = keys[1].key.record.id;
        let sql = format!("UPDATE secret_key SET {spoil} WHERE id = '{broken}'");
        assert_eq!(test.place.run(&sql).await, 1);
        test.engine.cache().clear();
        let all = KeyFilter::default();
        let stopped = test.engine.stop_keys(context(), organization.clone(), all).await;
        let stopped = stopped.unwrap();
        assert!(stopped.stopped_by.is_none(), "{spoil}: {stopped:?}");
        assert_eq!(
            (stopped.paused.len(), &stopped.broken),
            (2, &vec![broken]),
            "{spoil}"
        );
        for key in [&keys[0], &keys[2]] {
            assert_eq!(
                test.verify(key.value.reveal()).await,
                Err(Code::KeyPaused),
                "{spoil}"
            );
        }
        let refused = test.verify(keys[1].value.reveal()).await;
        assert_eq!(refused, Err(Code::StoreUnavailable), "{spoil}");
        test.delete(&organization, broken).await.unwrap();
    }
}

async fn a_thousand_ids_beside_every_other_part_are_a_filter(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let key = test.full_key(&organization).await;
    let mut ids: Vec<keyward_core::ids::KeyId> = (0..999)
        .map(|number| format!("{number:016}").parse().unwrap())
        .collect();
    ids.push(key.key.record.id);
    let filter = keyward_core::key_filter::KeyFilter {
        ids,
        levels: keyward_core::level::PermissionLevel::ALL.to_vec(),
        creators: vec![keyward_core::record::Actor::LocalAdministrator],
        text: Some("key".to_owned()),
        due: vec![keyward_core::rotation::DueStatus::NotDue],
        ..keyward_core::key_filter::KeyFilter::default()
    };
    let stopped = test
        .engine
        .stop_keys(keyward_testkit::engine::context(), organization.clone(), filter)
        .await
        .unwrap();
    assert!(stopped.stopped_by.is_none());
    assert_eq!(stopped.paused, [key.key.record.id]);
    // What was searched for is beside the chain, and not in it.
    let facts = test
        .place
        .texts(&["SELECT facts FROM audit_entry WHERE action = 'keys.stop'"])
        .await;
    assert!(!facts[0].contains("\"text\":\"key\""), "{facts:?}");
}

on_both_databases!(
    a_thousand_ids_beside_every_other_part_are_a_filter,
    more_keys_than_a_chunk_are_paused_and_each_is_named,
    no_verify_that_begins_after_a_stop_returned_is_accepted,
    a_filter_that_means_no_active_key_pauses_none,
    a_broken_seal_is_named_and_holds_up_no_other,
);
