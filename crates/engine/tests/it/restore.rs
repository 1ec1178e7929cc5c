use keyward_core::keyring::Keyring;
use keyward_core::refusal::Code;
use keyward_engine::clock::SystemRandom;
use keyward_engine::delete_organization::RESTORABLE_MS;
use keyward_engine::restore::{OldState, restore};
use keyward_engine::{EngineError, StartError, bind_keyring};
use keyward_testkit::clock::START;
use keyward_testkit::engine::{Kind, Place, TestEngine, context, start};
use keyward_testkit::on_both_databases;

async fn dump(test: &TestEngine) -> Vec<u8> {
    let mut out = Vec::new();
    test.engine
        .store()
        .dump(&mut out, test.engine.keyring().id(), 0)
        .await
        .unwrap();
    out
}

async fn restored_keys_are_held_until_somebody_looks(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let mut keys = Vec::new();
    for _ in 0..4 {
        keys.push(test.full_key(&organization).await);
    }
    let id = |index: usize| keys[index].key.record.id;
    test.delete(&organization, id(3)).await.unwrap();
    let copy = dump(&test).await;
    // Ended after the copy was made: the reason for the hold.
    test.delete(&organization, id(2)).await.unwrap();
    let keyring = Keyring::from_text(&test.keyring_text).unwrap();

    for (old_state, held) in [(OldState::Hold, 3), (OldState::Accept, 0)] {
        // To the other kind of database, too.
        for into in [Kind::Sqlite, kind] {
            let place = Place::new(into);
            let store = place.store().await;
            let restored = restore(
                &store,
                &keyring,
                &mut copy.as_slice(),
                old_state,
                &context(),
                START,
            )
            .await
            .unwrap();
            assert_eq!(restored.held, held);
            let again = restore(
                &store,
                &keyring,
                &mut copy.as_slice(),
                old_state,
                &context(),
                START,
            )
            .await;
            assert!(
                matches!(again, Err(EngineError::Conflict(_))),
                "not empty any more"
            );
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
            let expected = if held == 0 { Ok(()) } else { Err(Code::KeyPaused) };
            for key in &keys[..3] {
                assert_eq!(other.verify(key.value.reveal()).await, expected);
            }
            assert_eq!(other.verify(keys[3].value.reveal()).await, Err(Code::KeyDeleted));
            let chain = other.engine.store().list_audit("org-1", 0, 100).await.unwrap();
            assert!(
                chain
                    .iter()
                    .enumerate()
                    .all(|(at, entry)| entry.sequence == at as i64 + 1 && entry.is_intact())
            );

            if old_state == OldState::Hold {
                other.delete(&organization, id(2)).await.unwrap();
                other
                    .engine
                    .resume_key(context(), organization.clone(), id(1))
                    .await
                    .unwrap();
                assert_eq!(other.verify(keys[1].value.reveal()).await, Ok(()));
                assert_eq!(other.verify(keys[0].value.reveal()).await, Err(Code::KeyPaused));
                assert_eq!(other.engine.release_held(&context()).await.unwrap(), 1);
                assert_eq!(other.verify(keys[0].value.reveal()).await, Ok(()));
                assert_eq!(other.verify(keys[2].value.reveal()).await, Err(Code::KeyDeleted));
            }
            other.engine.shut_down().await;
        }
    }
}

async fn a_backup_of_another_keyring_is_refused(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    test.full_key(&organization).await;
    let copy = dump(&test).await;
    let other = Keyring::generate(&mut SystemRandom, START).unwrap();
    let place = Place::new(kind);
    let store = place.store().await;
    for old_state in [OldState::Hold, OldState::Accept] {
        let refused = restore(&store, &other, &mut copy.as_slice(), old_state, &context(), START).await;
        assert!(matches!(refused, Err(EngineError::Conflict(_))), "{refused:?}");
        assert!(store.is_empty().await.unwrap(), "nothing of it stayed");
    }
    let own = Keyring::from_text(&test.keyring_text).unwrap();
    restore(
        &store,
        &own,
        &mut copy.as_slice(),
        OldState::Hold,
        &context(),
        START,
    )
    .await
    .unwrap();
    assert!(matches!(
        bind_keyring(&store, &other, START).await,
        Err(StartError::OtherKeyring { .. })
    ));
    bind_keyring(&store, &own, START).await.unwrap();
}

async fn a_cut_backup_leaves_nothing(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    test.full_key(&organization).await;
    let copy = dump(&test).await;
    let keyring = Keyring::from_text(&test.keyring_text).unwrap();
    let place = Place::new(kind);
    let store = place.store().await;
    let cut = &copy[..copy.len() - 100];
    let refused = restore(&store, &keyring, &mut &*cut, OldState::Hold, &context(), START).await;
    assert!(refused.is_err());
    assert!(store.is_empty().await.unwrap());
}

/// Whoever restores the past may do so to have an organization back that was purged since: it is not purged at once.
async fn a_restored_deletion_runs_for_its_days_again_unless_the_old_state_is_accepted(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    test.engine
        .delete_organization(context(), organization.clone(), "org-1")
        .await
        .unwrap();
    let copy = dump(&test).await;
    let keyring = Keyring::from_text(&test.keyring_text).unwrap();
    let late = START.plus_ms(RESTORABLE_MS + 5);
    for (old_state, purge_at) in [
        (OldState::Hold, late.plus_ms(RESTORABLE_MS)),
        (OldState::Accept, START.plus_ms(RESTORABLE_MS)),
    ] {
        let place = Place::new(kind);
        let store = place.store().await;
        restore(
            &store,
            &keyring,
            &mut copy.as_slice(),
            old_state,
            &context(),
            late,
        )
        .await
        .unwrap();
        let found = store.find_organization(&organization).await.unwrap().unwrap();
        assert_eq!(found.deletion.unwrap().purge_at, purge_at);
        store.close().await;
    }
}

on_both_databases!(
    a_restored_deletion_runs_for_its_days_again_unless_the_old_state_is_accepted,
    restored_keys_are_held_until_somebody_looks,
    a_backup_of_another_keyring_is_refused,
    a_cut_backup_leaves_nothing,
);
