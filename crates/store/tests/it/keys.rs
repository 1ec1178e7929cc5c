use keyward_core::record::KeyRecord;
use keyward_core::state::{DeleteReason, KeyState, PauseReason, SecretLife};
use keyward_core::tag::Tags;
use keyward_store::StoreError;
use keyward_testkit::clock::START;
use keyward_testkit::engine::{Kind, Place};
use keyward_testkit::on_both_databases;

use crate::support::{key, key_id, with_key, with_organization};

async fn a_key_comes_back_as_it_was_stored(kind: Kind) {
    let place = Place::new(kind);
    let store = place.store().await;
    let organization = with_organization(&store).await;
    let stored = with_key(&store, &organization, 1).await;
    assert_eq!(
        store.find_key(&organization, key_id(1)).await.unwrap().as_ref(),
        Some(&stored)
    );
    let live = store.load_live_key(key_id(1)).await.unwrap().unwrap();
    assert_eq!(live.key, stored);
    assert_eq!(live.secrets, [key(&organization, 1).1]);
    assert!(!live.has_ended_secrets);
    let ended = store.load_ended_key(key_id(1)).await.unwrap().unwrap();
    assert!(ended.secrets.is_empty());

    assert!(store.load_live_key(key_id(2)).await.unwrap().is_none());
    let stranger = "org-2".parse().unwrap();
    assert!(
        store.find_key(&stranger, key_id(1)).await.unwrap().is_none(),
        "of another organization is not there"
    );
    assert_eq!(
        store.organization_of_key(key_id(1)).await.unwrap(),
        Some(organization)
    );
    assert_eq!(store.sealed_under().await.unwrap(), Some((1, 1)));
}

async fn an_id_is_given_once(kind: Kind) {
    let place = Place::new(kind);
    let store = place.store().await;
    let organization = with_organization(&store).await;
    with_key(&store, &organization, 1).await;
    let (again, secret) = key(&organization, 1);
    let mut tx = store.begin().await.unwrap();
    assert!(matches!(
        tx.insert_key(&again, &secret).await,
        Err(StoreError::AlreadyExists)
    ));
}

async fn an_update_is_seen_whole_or_not_at_all(kind: Kind) {
    let place = Place::new(kind);
    let store = place.store().await;
    let organization = with_organization(&store).await;
    with_key(&store, &organization, 1).await;
    for end in [End::Drop, End::Commit] {
        let mut tx = store.begin().await.unwrap();
        let mut found = tx.lock_key(&organization, key_id(1)).await.unwrap().unwrap();
        let state = KeyState::Deleted {
            reason: DeleteReason::Unused,
            at: START,
        };
        let mut key = found.key.clone();
        key.record = KeyRecord {
            state,
            version: 2,
            ..key.record
        };
        key.tags = Tags::try_from(vec!["team:a".parse().unwrap()]).unwrap();
        key.rotate_every_ms = Some(5);
        key.rotated_at = Some(START);
        found.secrets[0].life = SecretLife::Until(START);
        tx.update_key(&key, 1, &found.secrets).await.unwrap();
        let before = store.find_key(&organization, key_id(1)).await.unwrap().unwrap();
        assert_eq!(before.record.version, 1, "nobody reads what is not committed");
        match end {
            End::Drop => drop(tx),
            End::Commit => tx.commit().await.unwrap(),
        }
    }
    let after = store.load_live_key(key_id(1)).await.unwrap().unwrap();
    assert_eq!(after.key.record.version, 2);
    assert_eq!(
        after.key.record.state,
        KeyState::Deleted {
            reason: DeleteReason::Unused,
            at: START
        }
    );
    assert_eq!(after.secrets[0].life, SecretLife::Until(START));
    assert_eq!(after.key.tags.iter().count(), 1);
    assert_eq!(
        (after.key.rotate_every_ms, after.key.rotated_at),
        (Some(5), Some(START))
    );

    let mut tx = store.begin().await.unwrap();
    let stale = tx.update_key(&after.key, 1, &[]).await;
    assert!(
        matches!(stale, Err(StoreError::Unreadable { .. })),
        "at another version nothing is written"
    );
}

enum End {
    Drop,
    Commit,
}

async fn keys_are_listed_page_by_page(kind: Kind) {
    let place = Place::new(kind);
    let store = place.store().await;
    let organization = with_organization(&store).await;
    for number in [3, 1, 5, 2, 4] {
        with_key(&store, &organization, number).await;
    }
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let page = store.list_keys(&organization, &after, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = last.record.id.to_string();
        seen.extend(page.into_iter().map(|key| key.record.id));
    }
    assert_eq!(seen, [1, 2, 3, 4, 5].map(key_id));
    let active = store
        .list_key_ids_in_state("active", "", key_id(3).as_str(), 10)
        .await
        .unwrap();
    assert_eq!(
        active,
        [4, 5].map(|number| (organization.clone(), key_id(number)))
    );
    let held = store
        .list_key_ids_in_state("paused", PauseReason::Restored.name(), "", 10)
        .await
        .unwrap();
    assert!(held.is_empty());
    assert_eq!(store.list_keys_sealed_before(2, "", 3).await.unwrap().len(), 3);
    assert!(store.list_keys_sealed_before(1, "", 3).await.unwrap().is_empty());
}

async fn an_unreadable_row_is_no_missing_key(kind: Kind) {
    let place = Place::new(kind);
    let store = place.store().await;
    let organization = with_organization(&store).await;
    with_key(&store, &organization, 1).await;
    let spoilt = [
        "state = 'asleep'",
        "state = 'deleted'",
        "level = 'full'",
        "level = 'all'",
        "scopes = 8",
        "scopes = 0",
        "rules = '[]'",
        "rules = '{'",
        "conditions = '{}'",
        "name = ''",
        "environment = 'moon'",
        "created_by = 'me'",
    ];
    for change in spoilt {
        place.run("DELETE FROM secret").await;
        place.run("DELETE FROM secret_key").await;
        with_key(&store, &organization, 1).await;
        assert_eq!(place.run(&format!("UPDATE secret_key SET {change}")).await, 1);
        let loaded = store.load_live_key(key_id(1)).await;
        assert!(matches!(loaded, Err(StoreError::Unreadable { .. })), "{change}");

        let mut tx = store.begin().await.unwrap();
        assert!(tx.lock_key(&organization, key_id(1)).await.is_err(), "{change}");
        tx.make_readable(&organization, key_id(1), 7).await.unwrap();
        let readable = tx.lock_key(&organization, key_id(1)).await.unwrap().unwrap();
        assert_eq!(
            readable.key.record.state,
            KeyState::Paused {
                reason: PauseReason::Requested
            }
        );
        assert!(
            readable
                .secrets
                .iter()
                .all(|secret| secret.sealed.bytes.is_empty())
        );
        tx.commit().await.unwrap();
        assert_eq!(store.sealed_under().await.unwrap(), Some((7, 7)));
    }
}

async fn a_confirmed_version_stays_until_the_transaction_ends(kind: Kind) {
    let place = Place::new(kind);
    let store = place.store().await;
    let organization = with_organization(&store).await;
    let found = with_key(&store, &organization, 1).await;
    let mut tx = store.begin().await.unwrap();
    assert!(tx.is_key_at(&organization, key_id(1), 1).await.unwrap());
    assert!(!tx.is_key_at(&organization, key_id(1), 2).await.unwrap());
    assert!(!tx.is_key_at(&organization, key_id(9), 1).await.unwrap());

    let writer = tokio::spawn({
        let (store, organization) = (store.clone(), organization.clone());
        async move {
            let mut tx = store.begin().await.unwrap();
            tx.lock_key(&organization, key_id(1)).await.unwrap();
            let mut key = found;
            key.record.version = 2;
            tx.update_key(&key, 1, &[]).await.unwrap();
            tx.commit().await.unwrap();
        }
    });
    for _ in 0..50 {
        tokio::task::yield_now().await;
        assert!(!writer.is_finished());
        assert!(tx.is_key_at(&organization, key_id(1), 1).await.unwrap());
    }
    tx.commit().await.unwrap();
    writer.await.unwrap();
    let mut tx = store.begin().await.unwrap();
    assert!(tx.is_key_at(&organization, key_id(1), 2).await.unwrap());
}

/// Two requests of one key whose version was raised meanwhile: each confirms and then locks.
async fn two_that_find_the_version_raised_do_not_wait_for_each_other(kind: Kind) {
    let place = Place::new(kind);
    let store = place.store().await;
    let organization = with_organization(&store).await;
    with_key(&store, &organization, 1).await;
    let rounds = (0..8).map(|_| {
        let (store, organization) = (store.clone(), organization.clone());
        tokio::spawn(async move {
            for _ in 0..5 {
                let mut tx = store.begin().await.unwrap();
                assert!(!tx.is_key_at(&organization, key_id(1), 7).await.unwrap());
                tokio::task::yield_now().await;
                tx.lock_key(&organization, key_id(1)).await.unwrap().unwrap();
                tx.commit().await.unwrap();
            }
        })
    });
    for round in rounds.collect::<Vec<_>>() {
        round.await.unwrap();
    }
}

on_both_databases!(
    a_key_comes_back_as_it_was_stored,
    an_id_is_given_once,
    an_update_is_seen_whole_or_not_at_all,
    keys_are_listed_page_by_page,
    an_unreadable_row_is_no_missing_key,
    a_confirmed_version_stays_until_the_transaction_ends,
    two_that_find_the_version_raised_do_not_wait_for_each_other,
);
