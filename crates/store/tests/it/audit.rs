use keyward_store::{Store, StoreError};
use keyward_testkit::clock::START;
use keyward_testkit::engine::{Kind, Place};
use keyward_testkit::on_both_databases;

use crate::support::{event, key, with_organization};

async fn assert_chain_is_whole(store: &Store, chain: &str, length: usize) {
    let entries = store.list_audit(chain, 0, 1_000).await.unwrap();
    assert_eq!(entries.len(), length);
    let mut previous = vec![0; 32];
    for (index, entry) in entries.iter().enumerate() {
        assert_eq!(entry.sequence, index as i64 + 1);
        assert_eq!(entry.previous_hash, previous);
        assert!(entry.is_intact());
        previous.clone_from(&entry.hash);
    }
}

async fn a_chain_stays_whole_under_many_writers(kind: Kind) {
    let place = Place::new(kind);
    let store = place.store().await;
    let writers = (0..20).map(|number| {
        let store = store.clone();
        tokio::spawn(async move {
            for round in 0..5 {
                let mut tx = store.begin().await.unwrap();
                tx.append_audit("-", &event("key.create"), START).await.unwrap();
                // Some are rolled back, and leave no hole.
                if (number + round) % 5 == 0 {
                    drop(tx)
                } else {
                    tx.commit().await.unwrap()
                }
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    assert_chain_is_whole(&store, "-", 80).await;
    assert_eq!(store.list_audit("-", 78, 10).await.unwrap().len(), 2);

    place
        .run("UPDATE audit_entry SET facts = '{}' WHERE sequence = 40")
        .await;
    let entries = store.list_audit("-", 0, 1_000).await.unwrap();
    let broken: Vec<i64> = entries
        .iter()
        .filter(|entry| !entry.is_intact())
        .map(|entry| entry.sequence)
        .collect();
    assert_eq!(broken, [40]);
}

async fn feed_numbers_follow_the_order_of_commits(kind: Kind) {
    let place = Place::new(kind);
    let store = place.store().await;
    let organization = with_organization(&store).await;
    let epoch = store.begin_epoch().await.unwrap();
    let writers = (0..20_u32).map(|number| {
        let (store, organization) = (store.clone(), organization.clone());
        tokio::spawn(async move {
            for round in 0..3 {
                let (key, secret) = key(&organization, number * 10 + round);
                let mut tx = store.begin().await.unwrap();
                tx.insert_key(&key, &secret).await.unwrap();
                let number = tx
                    .record_key_write(&key.record, &event("key.create"), epoch, START)
                    .await
                    .unwrap();
                if round == 1 {
                    drop(tx);
                    continue;
                }
                tx.commit().await.unwrap();
                assert!(number >= 1);
            }
        })
    });
    let reader = tokio::spawn({
        let store = store.clone();
        async move {
            // Whatever is visible has no hole: number N is never seen before N - 1 is.
            loop {
                let seen = store.list_audit("org-1", 0, 1_000).await.unwrap();
                for (index, entry) in seen.iter().enumerate() {
                    assert_eq!(entry.sequence, index as i64 + 1);
                }
                if seen.len() == 40 {
                    return;
                }
                tokio::task::yield_now().await;
            }
        }
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    reader.await.unwrap();
    let feed = place
        .texts(&["SELECT CAST(number AS TEXT) FROM change_feed ORDER BY change_feed.number"])
        .await;
    assert_eq!(
        feed,
        (1..=40).map(|number| number.to_string()).collect::<Vec<_>>()
    );
    let outbox = place
        .texts(&["SELECT CAST(number AS TEXT) FROM outbox ORDER BY outbox.number"])
        .await;
    assert_eq!(outbox, feed);
    assert_chain_is_whole(&store, "org-1", 40).await;
}

async fn a_writer_of_a_former_epoch_commits_nothing(kind: Kind) {
    let place = Place::new(kind);
    let store = place.store().await;
    let organization = with_organization(&store).await;
    let former = store.begin_epoch().await.unwrap();
    let epoch = store.begin_epoch().await.unwrap();
    assert_eq!(epoch, former + 1);

    let (key, secret) = key(&organization, 1);
    let mut tx = store.begin().await.unwrap();
    tx.insert_key(&key, &secret).await.unwrap();
    let refused = tx
        .record_key_write(&key.record, &event("key.create"), former, START)
        .await;
    assert!(matches!(refused, Err(StoreError::NotTheWriter)));
    assert!(matches!(tx.fence(former).await, Err(StoreError::NotTheWriter)));
    tx.fence(epoch).await.unwrap();
    drop(tx);
    assert!(store.list_keys(&organization, "", 10).await.unwrap().is_empty());
    assert!(store.list_audit("org-1", 0, 10).await.unwrap().is_empty());
}

on_both_databases!(
    a_chain_stays_whole_under_many_writers,
    feed_numbers_follow_the_order_of_commits,
    a_writer_of_a_former_epoch_commits_nothing,
);
