//! The right to serve from memory, which on PostgreSQL can be lost.

use std::time::Instant;

use keyward_core::refusal::Code;
use keyward_engine::{EngineError, StartError};
use keyward_store::StoreError;
use keyward_testkit::deadline::PATIENCE;
use keyward_testkit::engine::{Kind, TestEngine};

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

const END_LOCK: &str = "SELECT pg_terminate_backend(pid) FROM pg_locks \
    WHERE locktype = 'advisory' AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_engine_is_refused() {
    let test = TestEngine::new(Kind::Postgres).await;
    let refused = test.start_another(&test.keyring_text).await.map(drop);
    assert!(matches!(refused, Err(StartError::NotTheWriter)));
    let organization = test.organization("org-1").await;
    test.full_key(&organization).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_is_dropped_gives_the_right_back() {
    let test = TestEngine::new(Kind::Postgres).await;
    let (place, clock, text) = (test.place, test.clock, test.keyring_text);
    drop(test.engine);
    until(
        "the right is free",
        async || match keyward_testkit::engine::start(&place.database(), &text, &clock, 10).await {
            Ok(engine) => {
                engine.shut_down().await;
                true
            }
            Err(_) => false,
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_right_memory_is_not_served_and_nothing_is_written() {
    let test = TestEngine::new(Kind::Postgres).await;
    let organization = test.organization("org-1").await;
    let key = test.full_key(&organization).await;
    let (id, value) = (key.key.record.id, key.value.reveal());
    test.verify(value).await.unwrap();
    assert_eq!(test.engine.cache().len(), 1);

    test.place.run(END_LOCK).await;
    until("the loss is noticed", async || {
        test.engine.check_ready().await.is_err()
    })
    .await;
    let refused = test.delete(&organization, id).await;
    assert!(matches!(
        refused,
        Err(EngineError::Unavailable(StoreError::NotTheWriter))
    ));
    // It reads through: what another process wrote meanwhile is seen at once, and is not kept for later.
    assert_eq!(test.verify(value).await, Ok(()));
    assert_eq!(
        test.engine.cache().len(),
        1,
        "what was read was put into memory, and is not trusted there"
    );
    test.place.run("UPDATE secret_key SET scopes = 1").await;
    assert_eq!(
        test.verify(value).await,
        Err(Code::StoreUnavailable),
        "the database is asked each time"
    );
    test.place.run("UPDATE secret_key SET scopes = 7").await;

    until("the right is had again", async || {
        test.engine.check_ready().await.is_ok()
    })
    .await;
    test.place.run("UPDATE secret_key SET scopes = 1").await;
    assert_eq!(
        test.verify(value).await,
        Err(Code::StoreUnavailable),
        "nothing of the time between is in memory"
    );
    test.place.run("UPDATE secret_key SET scopes = 7").await;
    assert_eq!(test.verify(value).await, Ok(()));
    test.delete(&organization, id).await.unwrap();
    assert_eq!(test.verify(value).await, Err(Code::KeyDeleted));
}

/// The other process deletes a key and stops the organization while this one has no right.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_process_ended_meanwhile_is_refused() {
    let test = TestEngine::new(Kind::Postgres).await;
    let organization = test.organization("org-1").await;
    let key = test.full_key(&organization).await;
    let (id, value) = (key.key.record.id, key.value.reveal());
    let neighbour = test.full_key(&organization).await;
    assert_eq!(test.verify(neighbour.value.reveal()).await, Ok(()));
    let mut other = test.start_another(&test.keyring_text).await;
    let deadline = Instant::now() + PATIENCE;
    while other.is_err() {
        assert!(Instant::now() < deadline);
        test.place.run(END_LOCK).await;
        other = test.start_another(&test.keyring_text).await;
    }
    let other = other.unwrap();
    // The second one waited until this one's lease was over.
    assert!(test.engine.check_ready().await.is_err());
    assert_eq!(test.verify(value).await, Ok(()));
    let reason = keyward_core::state::DeleteReason::Compromised;
    other
        .delete_key(
            keyward_testkit::engine::context(),
            organization.clone(),
            id,
            reason,
        )
        .await
        .unwrap();
    assert_eq!(test.verify(value).await, Err(Code::KeyDeleted));
    let context = keyward_testkit::engine::context();
    other
        .stop_organization(context, organization.clone())
        .await
        .unwrap();
    assert_eq!(test.verify(neighbour.value.reveal()).await, Err(Code::KeyPaused));
    other.shut_down().await;
    until("the right is had again", async || {
        test.engine.check_ready().await.is_ok()
    })
    .await;
    assert_eq!(test.verify(value).await, Err(Code::KeyDeleted));
    assert_eq!(test.verify(neighbour.value.reveal()).await, Err(Code::KeyPaused));
    test.full_key(&organization).await;
}
