use keyward_store::StoreError;
use keyward_testkit::deadline::PATIENCE;
use keyward_testkit::engine::{Kind, Place};

#[tokio::test]
async fn a_second_store_gets_no_right_while_the_first_holds_it() {
    let place = Place::new(Kind::Postgres);
    let (first, second) = (place.store().await, place.store().await);
    let mut right = first.take_writer_right().await.unwrap();
    assert!(right.can_be_lost());
    right.confirm().await.unwrap();
    assert!(matches!(
        second.take_writer_right().await,
        Err(StoreError::NotTheWriter)
    ));
    right.confirm().await.unwrap();
    right.release().await;
    let deadline = std::time::Instant::now() + PATIENCE;
    let right = loop {
        // The server notices the end of a session a moment later.
        match second.take_writer_right().await {
            Ok(right) => break right,
            Err(_) => assert!(std::time::Instant::now() < deadline),
        }
    };
    assert_eq!(right.epoch(), 2);
}

#[tokio::test]
async fn a_lock_whose_connection_was_ended_is_not_confirmed() {
    let place = Place::new(Kind::Postgres);
    let store = place.store().await;
    let mut right = store.take_writer_right().await.unwrap();
    place
        .run(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted \
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        )
        .await;
    assert!(right.confirm().await.is_err());
}

#[tokio::test]
async fn the_right_to_a_file_is_not_lost() {
    let place = Place::new(Kind::Sqlite);
    let store = place.store().await;
    let mut right = store.take_writer_right().await.unwrap();
    assert!(!right.can_be_lost());
    right.confirm().await.unwrap();
    assert_eq!(right.epoch(), 1);
}
