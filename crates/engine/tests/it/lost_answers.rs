//! A commit whose answer never comes: PostgreSQL behind a relay that cuts the connection around it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use keyward_core::edit_key::KeyEdit;
use keyward_core::key_filter::KeyFilter;
use keyward_core::refusal::Code;
use keyward_core::state::DeleteReason;
use keyward_engine::EngineError;
use keyward_engine::bulk::{BulkAction, LeftOut};
use keyward_engine::create_key::CreatedKey;
use keyward_store::{Database, StoreError};
use keyward_testkit::engine::{Kind, Place, TestEngine, context, start};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the relay does with the next commit it sees; afterwards it only relays.
const RELAY: u8 = 0;
const CUT_AFTER: u8 = 1;
const CUT_BEFORE: u8 = 2;
/// Added to an order: it means the commit after the next one.
const ONE_LATER: u8 = 10;

/// Starts a relay to the server of `url`, and gives the URL through it.
async fn relayed(url: &str, order: Arc<AtomicU8>) -> String {
    let (head, tail) = url.rsplit_once('@').unwrap();
    let (server, path) = tail.split_once('/').unwrap();
    let server = server.to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(&server).await.unwrap();
            tokio::spawn(relay(client, server, Arc::clone(&order)));
        }
    });
    let separator = if path.contains('?') { '&' } else { '?' };
    format!("{head}@{address}/{path}{separator}sslmode=disable")
}

/// What is left of an order after a commit.
fn next_order(order: &AtomicU8) -> u8 {
    order
        .load(Ordering::SeqCst)
        .checked_sub(ONE_LATER)
        .unwrap_or(RELAY)
}

async fn relay(mut client: TcpStream, mut server: TcpStream, order: Arc<AtomicU8>) {
    let (mut from_client, mut from_server) = (vec![0; 65_536], vec![0; 65_536]);
    // A node renews its lease on a connection of its own; these commits are not meant.
    let mut is_lease = false;
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let Ok(length @ 1..) = read else { return };
                let sent = &from_client[..length];
                is_lease |= sent.windows(10).any(|words| words == b"FROM node ");
                let is_commit = !is_lease && sent.windows(6).any(|word| word == b"COMMIT");
                match is_commit.then(|| order.swap(next_order(&order), Ordering::SeqCst)) {
                    Some(CUT_BEFORE) => return,
                    Some(CUT_AFTER) => {
                        server.write_all(sent).await.unwrap();
                        // The server has committed when it answers; the answer is not passed on.
                        let _ = server.read(&mut from_server).await;
                        return;
                    }
                    _ => if server.write_all(sent).await.is_err() { return },
                }
            }
            read = server.read(&mut from_server) => {
                let Ok(length @ 1..) = read else { return };
                if client.write_all(&from_server[..length]).await.is_err() { return }
            }
        }
    }
}

/// An engine that reaches its database through a relay.
async fn through_a_relay() -> (TestEngine, Arc<AtomicU8>) {
    let direct = TestEngine::new(Kind::Postgres).await;
    direct.engine.shut_down().await;
    let order = Arc::new(AtomicU8::new(RELAY));
    let Place::Postgres(database) = &direct.place else {
        unreachable!()
    };
    let url = relayed(&database.url, Arc::clone(&order)).await;
    let engine = start(&Database::Postgres(url), &direct.keyring_text, &direct.clock, 100)
        .await
        .unwrap();
    (TestEngine { engine, ..direct }, order)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_that_was_committed_is_answered_as_one() {
    let (test, order) = through_a_relay().await;
    let organization = test.organization("org-1").await;
    let key = test.full_key(&organization).await;
    order.store(CUT_AFTER, Ordering::SeqCst);
    let deleted = test.delete(&organization, key.key.record.id).await.unwrap();
    assert_eq!(
        order.load(Ordering::SeqCst),
        RELAY,
        "the commit went through the relay"
    );
    assert!(deleted.key.record.state.is_deleted());
    assert_eq!(test.verify(key.value.reveal()).await, Err(Code::KeyDeleted));
    assert_eq!(
        test.verify_afresh(key.value.reveal()).await,
        Err(Code::KeyDeleted)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_that_was_not_committed_is_no_success() {
    let (test, order) = through_a_relay().await;
    let organization = test.organization("org-1").await;
    let key = test.full_key(&organization).await;
    order.store(CUT_BEFORE, Ordering::SeqCst);
    let refused = test.delete(&organization, key.key.record.id).await;
    assert!(
        matches!(refused, Err(EngineError::Unavailable(StoreError::NotCommitted))),
        "{refused:?}"
    );
    assert_eq!(
        test.verify(key.value.reveal()).await,
        Ok(()),
        "as the caller was told, nothing was changed"
    );
    test.delete(&organization, key.key.record.id).await.unwrap();
    assert_eq!(test.verify(key.value.reveal()).await, Err(Code::KeyDeleted));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_is_answered_by_what_became_of_it() {
    let (test, order) = through_a_relay().await;
    let organization = test.organization("org-1").await;
    let key = test.full_key(&organization).await;
    let value = key.value.reveal();
    order.store(CUT_BEFORE, Ordering::SeqCst);
    let refused = test
        .engine
        .stop_organization(context(), organization.clone())
        .await;
    assert!(
        matches!(refused, Err(EngineError::Unavailable(StoreError::NotCommitted))),
        "{refused:?}"
    );
    assert_eq!(test.verify(value).await, Ok(()), "nothing was changed");
    order.store(CUT_AFTER, Ordering::SeqCst);
    let stopped = test.engine.stop_organization(context(), organization).await;
    assert_eq!(order.load(Ordering::SeqCst), RELAY);
    assert!(stopped.unwrap().organization.state.is_stopped());
    assert_eq!(test.verify(value).await, Err(Code::KeyPaused));
    assert_eq!(test.verify_afresh(value).await, Err(Code::KeyPaused));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_creation_without_an_answer_is_no_success() {
    let (test, order) = through_a_relay().await;
    let organization = test.organization("org-1").await;
    for (cut, stored) in [(CUT_BEFORE, 0), (CUT_AFTER, 1)] {
        order.store(cut, Ordering::SeqCst);
        let draft = keyward_testkit::engine::draft(
            keyward_core::scope::ScopeSet::ALL,
            keyward_core::access::Permission::Full,
        );
        let made = test
            .engine
            .create_key(keyward_testkit::engine::context(), organization.clone(), draft)
            .await;
        assert!(matches!(made, Err(EngineError::OutcomeUnknown)));
        assert_eq!(
            test.engine
                .list_keys(&organization, "", 10)
                .await
                .unwrap()
                .items
                .len(),
            stored
        );
    }
    assert!(test.engine.cache().is_empty());
}

/// Three keys and the token of a dry run over them, one of which was edited since.
async fn a_dry_run(
    test: &TestEngine,
    organization: &keyward_core::ids::OrganizationId,
    action: BulkAction,
) -> (Vec<CreatedKey>, String) {
    let keys = crate::bulk::keys(test, organization, 3).await;
    let all = (action, KeyFilter::default());
    let preview = test.engine.preview_bulk(&context(), organization, all).await;
    let edit = KeyEdit {
        name: Some("Edited since".to_owned()),
        ..KeyEdit::default()
    };
    test.engine
        .edit_key(
            context(),
            organization.clone(),
            keys[0].key.record.id,
            (edit, None),
        )
        .await
        .unwrap();
    (keys, preview.unwrap().token.reveal().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunk_that_was_committed_is_answered_as_one_and_names_what_it_left_out() {
    let (test, order) = through_a_relay().await;
    for (id, action, code) in [
        ("org-1", BulkAction::Pause, Code::KeyPaused),
        (
            "org-2",
            BulkAction::Delete(DeleteReason::Unused),
            Code::KeyDeleted,
        ),
    ] {
        let organization = test.organization(id).await;
        let (keys, token) = a_dry_run(&test, &organization, action).await;
        // The first commit takes the token.
        order.store(CUT_AFTER + ONE_LATER, Ordering::SeqCst);
        let outcome = test
            .engine
            .run_bulk(context(), organization.clone(), &token)
            .await;
        let outcome = outcome.unwrap();
        assert_eq!(
            order.load(Ordering::SeqCst),
            RELAY,
            "the commit went through the relay"
        );
        assert!(outcome.stopped_by.is_none());
        assert_eq!(outcome.done.len(), 2);
        assert_eq!(outcome.left_out, [(keys[0].key.record.id, LeftOut::Changed)]);
        assert_eq!(test.verify(keys[0].value.reveal()).await, Ok(()));
        for key in &keys[1..] {
            assert_eq!(test.verify(key.value.reveal()).await, Err(code));
            assert_eq!(test.verify_afresh(key.value.reveal()).await, Err(code));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunk_that_was_not_committed_changed_nothing_and_says_so() {
    let (test, order) = through_a_relay().await;
    let organization = test.organization("org-1").await;
    let (keys, token) = a_dry_run(&test, &organization, BulkAction::Pause).await;
    order.store(CUT_BEFORE + ONE_LATER, Ordering::SeqCst);
    let outcome = test
        .engine
        .run_bulk(context(), organization.clone(), &token)
        .await;
    let outcome = outcome.unwrap();
    assert_eq!(order.load(Ordering::SeqCst), RELAY);
    assert!(
        matches!(
            outcome.stopped_by,
            Some(EngineError::Unavailable(StoreError::NotCommitted))
        ),
        "{outcome:?}"
    );
    assert!(outcome.done.is_empty());
    // An emergency stop says the same, and whoever repeats it stops what is left.
    order.store(CUT_BEFORE + ONE_LATER, Ordering::SeqCst);
    let all = KeyFilter::default();
    let stop = || {
        test.engine
            .stop_keys(context(), organization.clone(), all.clone())
    };
    let stopped = stop().await.unwrap();
    assert!(stopped.stopped_by.is_some() && stopped.paused.is_empty());
    for key in &keys {
        assert_eq!(test.verify(key.value.reveal()).await, Ok(()));
        assert_eq!(test.verify_afresh(key.value.reveal()).await, Ok(()));
    }
    order.store(CUT_AFTER + ONE_LATER, Ordering::SeqCst);
    let stopped = stop().await.unwrap();
    assert!(stopped.stopped_by.is_none());
    assert_eq!(stopped.paused.len(), keys.len());
    for key in &keys {
        assert_eq!(test.verify(key.value.reveal()).await, Err(Code::KeyPaused));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_whose_commit_has_no_answer_are_counted_once() {
    let (test, order) = through_a_relay().await;
    let organization = test.organization("org-1").await;
    let key = test.full_key(&organization).await;
    let mut uses = 0;
    let use_it = async |uses: &mut usize| {
        test.verify(key.value.reveal()).await.unwrap();
        *uses += 1;
    };
    for cut in [CUT_BEFORE, CUT_AFTER] {
        for _ in 0..3 {
            use_it(&mut uses).await;
        }
        order.store(cut, Ordering::SeqCst);
        // Whoever commits first is cut off; the background task may be that one.
        let _ = test.engine.settle_usage().await;
        while order.load(Ordering::SeqCst) != RELAY || test.engine.settle_usage().await.is_err() {
            use_it(&mut uses).await;
            let _ = test.engine.settle_usage().await;
        }
    }
    let counted = "SELECT CAST(SUM(uses) AS TEXT) FROM key_usage";
    assert_eq!(test.place.texts(&[counted]).await, [uses.to_string()]);
}
