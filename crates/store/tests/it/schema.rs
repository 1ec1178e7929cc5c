use keyward_store::StoreError;
use keyward_testkit::engine::{Kind, Place};
use keyward_testkit::on_both_databases;

async fn migrations_run_twice_and_at_once(kind: Kind) {
    let place = Place::new(kind);
    let store = place.store().await;
    store.migrate().await.unwrap();
    let other = place.store().await;
    let (one, two) = tokio::join!(store.migrate(), other.migrate());
    one.and(two).unwrap();
    assert!(store.is_empty().await.unwrap());
    store.ping().await.unwrap();
}

async fn a_database_says_whether_it_was_ever_migrated(kind: Kind) {
    let place = Place::new(kind);
    let store = keyward_store::Store::open(&place.database()).await.unwrap();
    assert!(!store.is_migrated().await.unwrap());
    store.migrate().await.unwrap();
    assert!(store.is_migrated().await.unwrap());
}

async fn a_database_of_a_later_binary_is_refused(kind: Kind) {
    let place = Place::new(kind);
    let store = place.store().await;
    store.put_setting("schema.oldest_binary", "3").await.unwrap();
    let refused = store.migrate().await.unwrap_err();
    assert!(
        matches!(&refused, StoreError::Schema(text) if text.contains("start the newer binary")),
        "{refused}"
    );
}

on_both_databases!(
    migrations_run_twice_and_at_once,
    a_database_says_whether_it_was_ever_migrated,
    a_database_of_a_later_binary_is_refused
);
