use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use keyward_core::refusal::Code;
use keyward_testkit::engine::{Kind, TestEngine, context, verify};
use keyward_testkit::on_both_databases;

/// Whoever asks for a deletion goes away after any number of steps: the key ends refused or untouched, and a second
/// deletion makes sure.
async fn a_caller_that_goes_away_leaves_no_doubt(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let mut steps = 0;
    loop {
        let key = test.full_key(&organization).await;
        let (id, value) = (key.key.record.id, key.value.reveal());
        let mut deleting = Box::pin(test.delete(&organization, id));
        let mut has_ended = false;
        for _ in 0..steps {
            if let std::task::Poll::Ready(outcome) = futures_util::poll!(&mut deleting) {
                outcome.unwrap();
                has_ended = true;
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(deleting);
        if has_ended || steps == 0 {
            let expected = if has_ended { Err(Code::KeyDeleted) } else { Ok(()) };
            assert_eq!(test.verify(value).await, expected);
        } else {
            // It goes on without its caller.
            let deadline = std::time::Instant::now() + keyward_testkit::deadline::PATIENCE;
            while test.verify(value).await != Err(Code::KeyDeleted) {
                assert!(std::time::Instant::now() < deadline);
                tokio::task::yield_now().await;
            }
        }
        test.delete(&organization, id).await.unwrap();
        assert_eq!(test.verify(value).await, Err(Code::KeyDeleted));
        assert_eq!(test.verify_afresh(value).await, Err(Code::KeyDeleted));
        if has_ended {
            break;
        }
        steps = if steps < 40 { steps + 1 } else { steps * 2 };
    }
    assert!(steps > 1);
}

/// The promise: no verify that begins after the deletion returned is accepted.
async fn no_verify_that_begins_after_the_deletion_is_accepted(kind: Kind) {
    let test = TestEngine::with_capacity(kind, 1).await;
    let organization = test.organization("org-1").await;
    for _ in 0..8 {
        let key = test.full_key(&organization).await;
        let neighbour = test.full_key(&organization).await;
        let moment = Arc::new(AtomicU64::new(0));
        let returned = Arc::new(AtomicU64::new(u64::MAX));
        let asking: Vec<_> = (0..50)
            .map(|number| {
                let (engine, moment, returned) =
                    (test.engine.clone(), Arc::clone(&moment), Arc::clone(&returned));
                let value = key.value.reveal().to_owned();
                tokio::spawn(async move {
                    let mut last_accept = 0;
                    for round in 0.. {
                        if (number + round) % 3 == 0 {
                            engine.cache().forget(
                                keyward_core::key_text::KeyText::parse(&value, engine.prefix())
                                    .unwrap()
                                    .id(),
                            );
                        }
                        let begun = moment.fetch_add(1, Ordering::SeqCst);
                        match verify(&engine, &value).await {
                            Ok(()) => last_accept = begun,
                            Err(code) => assert!(matches!(code, Code::KeyDeleted | Code::StoreUnavailable)),
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
        for _ in 0..5 {
            test.verify(neighbour.value.reveal()).await.unwrap();
        }
        test.delete(&organization, key.key.record.id).await.unwrap();
        let at = moment.fetch_add(1, Ordering::SeqCst);
        returned.store(at, Ordering::SeqCst);
        for one in asking {
            let last_accept = one.await.unwrap();
            assert!(
                last_accept < at,
                "a verify that began at {last_accept} was accepted; deleted at {at}"
            );
        }
    }
}

/// Many writers of one key and of many: whatever the order, it ends deleted, and the trail is whole.
async fn writers_at_once_do_not_wait_for_each_other_for_ever(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let shared = test.full_key(&organization).await;
    let id = shared.key.record.id;
    let writers: Vec<_> = (0..24)
        .map(|number| {
            let (engine, organization) = (test.engine.clone(), organization.clone());
            tokio::spawn(async move {
                let own = keyward_testkit::engine::draft(
                    keyward_core::scope::ScopeSet::ALL,
                    keyward_core::access::Permission::Full,
                );
                let own = engine
                    .create_key(context(), organization.clone(), own)
                    .await
                    .unwrap();
                let reason = keyward_core::state::DeleteReason::Unused;
                match number % 4 {
                    0 => drop(engine.pause_key(context(), organization.clone(), id).await),
                    1 => drop(engine.resume_key(context(), organization.clone(), id).await),
                    2 => drop(
                        engine
                            .delete_key(context(), organization.clone(), id, reason)
                            .await
                            .unwrap(),
                    ),
                    _ => {}
                }
                engine
                    .delete_key(context(), organization, own.key.record.id, reason)
                    .await
                    .unwrap();
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(test.verify(shared.value.reveal()).await, Err(Code::KeyDeleted));
    assert_eq!(
        test.verify_afresh(shared.value.reveal()).await,
        Err(Code::KeyDeleted)
    );
    let chain = test.engine.store().list_audit("org-1", 0, 1_000).await.unwrap();
    assert!(
        chain
            .iter()
            .enumerate()
            .all(|(index, entry)| entry.sequence == index as i64 + 1 && entry.is_intact())
    );
}

on_both_databases!(
    a_caller_that_goes_away_leaves_no_doubt,
    no_verify_that_begins_after_the_deletion_is_accepted,
    writers_at_once_do_not_wait_for_each_other_for_ever,
);
