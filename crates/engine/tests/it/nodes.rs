//! Several engines over one PostgreSQL database: what one ends, no other answers from memory any more.

use std::time::{Duration, Instant};

use keyward_core::edit_key::KeyEdit;
use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::refusal::Code;
use keyward_core::rotation::{RotationChoice, RotationMode};
use keyward_core::state::DeleteReason;
use keyward_engine::nodes::NodeState;
use keyward_engine::once::Once;
use keyward_engine::right::{LEASE, MARGIN};
use keyward_engine::{Engine, EngineError, StartError};
use keyward_testkit::deadline::PATIENCE;
use keyward_testkit::engine::{Kind, TestEngine, context, verify};

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Two nodes, an organization and a key that both hold in memory.
struct Scene {
    test: TestEngine,
    other: Engine,
    organization: OrganizationId,
    id: KeyId,
    value: String,
}

impl Scene {
    async fn new() -> Self {
        let test = TestEngine::new(Kind::Postgres).await;
        let other = test.start_another(&test.keyring_text).await.unwrap();
        let organization = test.organization("org-1").await;
        let key = test.full_key(&organization).await;
        let scene = Self {
            id: key.key.record.id,
            value: key.value.reveal().to_owned(),
            test,
            other,
            organization,
        };
        scene.warm().await;
        scene
    }

    /// Both nodes hold the key in memory.
    async fn warm(&self) {
        for engine in [&self.test.engine, &self.other] {
            assert_eq!(verify(engine, &self.value).await, Ok(()));
            assert_eq!(engine.cache().len(), 1);
        }
    }

    async fn on_other(&self) -> Result<(), Code> {
        verify(&self.other, &self.value).await
    }

    async fn own_id(&self, engine: &Engine) -> String {
        let nodes = engine.list_nodes().await.unwrap();
        nodes.into_iter().find(|node| node.is_own).unwrap().id
    }

    /// Spoils the row past the feed, so that only what is in memory can be accepted.
    async fn spoil(&self) {
        self.test.place.run("UPDATE secret_key SET scopes = 1").await;
    }

    async fn mend(&self) {
        self.test.place.run("UPDATE secret_key SET scopes = 7").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_ends_the_other_refuses_at_once() {
    let scene = Scene::new().await;
    let engine = &scene.test.engine;
    let of = || (context(), scene.organization.clone());

    let (by, organization) = of();
    let paused = engine.pause_key(by, organization, scene.id).await.unwrap();
    assert_eq!((paused.known.confirmed, paused.known.waited_out), (2, 0));
    assert_eq!(scene.on_other().await, Err(Code::KeyPaused));
    let (by, organization) = of();
    engine.resume_key(by, organization, scene.id).await.unwrap();
    scene.warm().await;

    let (by, organization) = of();
    let stopped = engine.stop_organization(by, organization).await.unwrap();
    assert_eq!((stopped.known.confirmed, stopped.known.waited_out), (2, 0));
    assert_eq!(scene.on_other().await, Err(Code::KeyPaused));
    let (by, organization) = of();
    engine.resume_organization(by, organization).await.unwrap();
    scene.warm().await;

    let (by, organization) = of();
    let rotation = (RotationChoice::Mode(RotationMode::Immediate), None);
    let rotated = engine
        .rotate_key(by, (organization, scene.id), rotation, None)
        .await;
    let Ok(Once::Now(rotated)) = rotated else {
        panic!("it was rotated")
    };
    assert_eq!(scene.on_other().await, Err(Code::KeySuperseded));
    let new = rotated.value.reveal();
    assert_eq!(verify(&scene.other, new).await, Ok(()));

    let (by, organization) = of();
    let reason = DeleteReason::Compromised;
    let deleted = engine
        .delete_key(by, organization, scene.id, reason)
        .await
        .unwrap();
    assert_eq!((deleted.known.confirmed, deleted.known.waited_out), (2, 0));
    assert_eq!(verify(&scene.other, new).await, Err(Code::KeyDeleted));
    // Once more: what it found so is confirmed as the first one was.
    let (by, organization) = of();
    let again = scene
        .other
        .delete_key(by, organization, scene.id, reason)
        .await
        .unwrap();
    assert_eq!(
        (again.is_changed, again.known.confirmed, again.known.waited_out),
        (false, 2, 0)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn narrowing_on_one_node_narrows_on_the_other() {
    let scene = Scene::new().await;
    let before = scene
        .test
        .engine
        .show_key(&scene.organization, scene.id)
        .await
        .unwrap();
    let edit = KeyEdit {
        name: Some("Another name".to_owned()),
        ..KeyEdit::default()
    };
    let edited = scene
        .test
        .engine
        .edit_key(context(), scene.organization.clone(), scene.id, (edit, None))
        .await
        .unwrap();
    assert_eq!(edited.known.confirmed, 2);
    assert_eq!(edited.key.record.version, before.record.version + 1);
    assert_eq!(scene.other.cache().len(), 0, "the older record is forgotten");
    scene.warm().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_does_not_renew_is_counted_out_when_its_lease_is_over() {
    let scene = Scene::new().await;
    // The row of a process that was killed just after it renewed its lease.
    scene
        .test
        .place
        .run(
            "INSERT INTO node (id, slot, name, version, started_at, applied, lease_until, clock_offset_ms) \
             SELECT 'killed', 1, 'killed', '0', 1, value, \
             CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) + 400, 0 FROM change_counter",
        )
        .await;
    let deleted = scene.test.delete(&scene.organization, scene.id).await.unwrap();
    assert_eq!((deleted.known.confirmed, deleted.known.waited_out), (2, 1));
    assert!(deleted.known.waited_ms >= 400, "{}", deleted.known.waited_ms);
    let again = scene.test.delete(&scene.organization, scene.id).await.unwrap();
    assert_eq!(
        (again.known.confirmed, again.known.waited_out),
        (2, 0),
        "it counts no more"
    );
    let nodes = scene.test.engine.list_nodes().await.unwrap();
    let killed = nodes.iter().find(|node| node.name == "killed").unwrap();
    assert_eq!(killed.state, NodeState::Lapsed);
}

/// Somebody else holds the row's lock: the node can't renew, and the writer can't count it out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_lease_and_margin_is_enough_when_nothing_can_be_locked() {
    let scene = Scene::new().await;
    let id = scene.own_id(&scene.other).await;
    let lock = format!("SELECT 1 FROM node WHERE id = '{id}' FOR UPDATE");
    let held = scene.test.place.hold(&lock).await;
    let deleted = scene.test.delete(&scene.organization, scene.id).await.unwrap();
    assert_eq!((deleted.known.confirmed, deleted.known.waited_out), (1, 1));
    let enough = u64::try_from((LEASE + MARGIN).as_millis()).unwrap();
    assert!(deleted.known.waited_ms >= enough, "{}", deleted.known.waited_ms);
    assert_eq!(scene.on_other().await, Err(Code::KeyDeleted));
    assert!(scene.other.check_ready().await.is_err(), "it has no lease");
    let refused = scene
        .other
        .pause_key(context(), scene.organization.clone(), scene.id)
        .await;
    assert!(matches!(refused, Err(EngineError::Unavailable(_))));
    drop(held);
    until("the lease is had again", async || {
        scene.other.check_ready().await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_counted_out_begins_with_an_empty_memory() {
    let scene = Scene::new().await;
    let id = scene.own_id(&scene.other).await;
    scene.spoil().await;
    assert_eq!(scene.on_other().await, Ok(()), "from memory");
    scene
        .test
        .place
        .run(&format!("UPDATE node SET lapsed_at = 1 WHERE id = '{id}'"))
        .await;
    until("it noticed", async || scene.on_other().await.is_err()).await;
    scene.mend().await;
    until("it joined again", async || {
        scene.other.check_ready().await.is_ok()
    })
    .await;
    scene.warm().await;
    let deleted = scene.test.delete(&scene.organization, scene.id).await.unwrap();
    assert_eq!((deleted.known.confirmed, deleted.known.waited_out), (2, 0));
}

/// A restore begins a new epoch; a feed that does not reach back tells too little.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_of_another_epoch_or_of_a_gap_in_the_feed_is_emptied() {
    let scene = Scene::new().await;
    for change in [
        "UPDATE change_counter SET epoch = epoch + 1",
        "UPDATE change_counter SET forgotten = value + 1, value = value + 2",
    ] {
        scene.spoil().await;
        assert_eq!(scene.on_other().await, Ok(()), "from memory");
        scene.test.place.run(change).await;
        until("it noticed", async || scene.on_other().await.is_err()).await;
        scene.mend().await;
        until("both have leases", async || {
            scene.other.check_ready().await.is_ok() && scene.test.engine.check_ready().await.is_ok()
        })
        .await;
        scene.warm().await;
    }
    let deleted = scene.test.delete(&scene.organization, scene.id).await.unwrap();
    assert_eq!((deleted.known.confirmed, deleted.known.waited_out), (2, 0));
    assert_eq!(scene.on_other().await, Err(Code::KeyDeleted));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_is_not_waited_for() {
    let scene = Scene::new().await;
    let before = scene.test.engine.list_nodes().await.unwrap();
    assert_eq!(before.len(), 2);
    assert!(before.iter().all(|node| node.state == NodeState::Serving));
    assert_eq!(before.iter().filter(|node| node.is_first).count(), 1);
    assert!(before[0].is_own, "in the order in which they started");
    scene.other.shut_down().await;
    let after = scene.test.engine.list_nodes().await.unwrap();
    assert_eq!(after.len(), 1, "its row is gone");
    let deleted = scene.test.delete(&scene.organization, scene.id).await.unwrap();
    assert_eq!((deleted.known.confirmed, deleted.known.waited_out), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oldest_node_that_counts_does_what_one_of_them_has_to_do() {
    let scene = Scene::new().await;
    let first = async |engine: &Engine| {
        let nodes = engine.list_nodes().await.unwrap();
        nodes.into_iter().find(|node| node.is_first).unwrap().is_own
    };
    assert!(first(&scene.test.engine).await);
    assert!(!first(&scene.other).await);
    scene.test.engine.shut_down().await;
    assert!(first(&scene.other).await);
}

/// Versions before several nodes held a lock as long as they served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_an_older_version_serves_is_refused() {
    let test = TestEngine::new(Kind::Postgres).await;
    let held = test
        .place
        .hold("SELECT pg_advisory_xact_lock(30229394876363364)")
        .await;
    let refused = test.start_another(&test.keyring_text).await.map(drop);
    assert!(matches!(refused, Err(StartError::NotTheWriter)), "{refused:?}");
    drop(held);
    until("the lock is free", async || {
        match test.start_another(&test.keyring_text).await {
            Ok(engine) => {
                engine.shut_down().await;
                true
            }
            Err(_) => false,
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_keyring_is_not_rotated_beside_nodes_that_would_not_have_it() {
    let scene = Scene::new().await;
    let engine = &scene.test.engine;
    let refused = engine.rotate_keyring(context(), &|_| Ok(())).await.map(drop);
    assert!(matches!(refused, Err(EngineError::Conflict(_))), "{refused:?}");
    scene.other.shut_down().await;
    engine.rotate_keyring(context(), &|_| Ok(())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_alone_waits_for_nobody() {
    let test = TestEngine::new(Kind::Sqlite).await;
    let organization = test.organization("org-1").await;
    let key = test.full_key(&organization).await;
    let deleted = test.delete(&organization, key.key.record.id).await.unwrap();
    assert_eq!(
        (
            deleted.known.confirmed,
            deleted.known.waited_out,
            deleted.known.waited_ms
        ),
        (1, 0, 0)
    );
    let nodes = test.engine.list_nodes().await.unwrap();
    assert_eq!(nodes.len(), 1);
    assert!(nodes[0].is_own && nodes[0].is_first);
}
