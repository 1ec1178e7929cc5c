use keyward_store::StoreError;
use keyward_store::schema::{SCHEMA_LEVEL, SCHEMA_OLDEST_BINARY};
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
    let later = (SCHEMA_LEVEL + 1).to_string();
    store.put_setting("schema.oldest_binary", &later).await.unwrap();
    let refused = store.migrate().await.unwrap_err();
    assert!(
        matches!(&refused, StoreError::Schema(text) if text.contains("start the newer binary")),
        "{refused}"
    );
}

async fn a_binary_that_knows_no_second_factors_is_kept_from_their_seeds(kind: Kind) {
    let place = Place::new(kind);
    let store = place.store().await;
    let asked = async || {
        let asked = store.setting("schema.oldest_binary").await.unwrap();
        asked.unwrap().parse::<i64>().unwrap()
    };
    // Level 2 compares with its own 2, refuses what is above, and so never rotates a keyring that second factors are sealed under.
    assert_eq!(asked().await, SCHEMA_OLDEST_BINARY);
    const { assert!(SCHEMA_OLDEST_BINARY > 2) };
    // A database that such a binary migrated asks for more from the first start of this one on.
    store.put_setting("schema.oldest_binary", "2").await.unwrap();
    store.migrate().await.unwrap();
    assert_eq!(asked().await, SCHEMA_OLDEST_BINARY);
}

on_both_databases!(
    a_binary_that_knows_no_second_factors_is_kept_from_their_seeds,
    migrations_run_twice_and_at_once,
    a_database_says_whether_it_was_ever_migrated,
    a_database_of_a_later_binary_is_refused
);
