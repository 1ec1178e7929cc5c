//! Several engines over one PostgreSQL database: what one ends, no other answers from memory any more.

use std::time::{Duration, Instant};

use keyward_core::edit_key::KeyEdit;
use keyward_core::idempotency::{read_idempotency_key, request_digest};
use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::key_filter::KeyFilter;
use keyward_core::operation::Operation;
use keyward_core::refusal::Code;
use keyward_core::resource::ResourceType;
use keyward_core::rotation::{RotationChoice, RotationMode};
use keyward_core::scope::{Scope, ScopeSet};
use keyward_core::state::{DeleteReason, KeyState};
use keyward_engine::nodes::NodeState;
use keyward_engine::once::{Attempt, Once};
use keyward_engine::permit::OwnedResource;
use keyward_engine::right::{LEASE, MARGIN};
use keyward_engine::{Engine, EngineError, StartError};
use keyward_testkit::deadline::PATIENCE;
use keyward_testkit::engine::{Kind, TestEngine, context, permit, verify};

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

    /// Whether the other node lets the key read datasets.
    async fn dataset_on_other(&self) -> Result<(), Code> {
        let resource = OwnedResource::Collection(ResourceType::Dataset);
        let permit = permit(&self.other, &self.value, Operation::DatasetRead, resource).await;
        permit.map(drop).map_err(|refusal| refusal.code())
    }

    /// Until this is dropped the other node can neither renew its lease nor be counted out.
    async fn hold_other(&self) -> impl Sized {
        let id = self.own_id(&self.other).await;
        let lock = format!("SELECT 1 FROM node WHERE id = '{id}' FOR UPDATE");
        self.test.place.hold(&lock).await
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
    // Once more, at the other: what it finds so is confirmed as the first one was.
    let (by, organization) = of();
    let again = scene.other.pause_key(by, organization, scene.id).await.unwrap();
    assert_eq!((again.is_changed, again.known.confirmed), (false, 2));
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
        scopes: Some(ScopeSet::NONE.with(Scope::Training)),
        ..KeyEdit::default()
    };
    assert_eq!(scene.dataset_on_other().await, Ok(()));
    let edited = scene
        .test
        .engine
        .edit_key(context(), scene.organization.clone(), scene.id, (edit, None))
        .await
        .unwrap();
    assert_eq!(edited.known.confirmed, 2);
    assert_eq!(edited.key.record.version, before.record.version + 1);
    assert_eq!(scene.other.cache().len(), 0, "the older record is forgotten");
    assert_eq!(scene.dataset_on_other().await, Err(Code::ScopeMissing));
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
    let held = scene.hold_other().await;
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

/// The first request waits for the other node, and nobody waits for its answer any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_rotation_is_answered_no_sooner_than_the_first_would_have_been() {
    let scene = Scene::new().await;
    let held = scene.hold_other().await;
    let engine = &scene.test.engine;
    let rotate = || {
        let attempt = Attempt {
            key: read_idempotency_key(b"4f1c0a9d7be24c5f8a3e6d7c01b2a3f4").unwrap(),
            request: request_digest("rotate", "org-1", b"body"),
        };
        engine.rotate_key(
            context(),
            (scene.organization.clone(), scene.id),
            (RotationChoice::Mode(RotationMode::Immediate), None),
            Some(attempt),
        )
    };
    let second = async {
        loop {
            match rotate().await {
                Err(EngineError::InProgress) => tokio::time::sleep(Duration::from_millis(5)).await,
                Ok(Once::Before(repeated)) => return (repeated, scene.on_other().await),
                other => panic!("it was begun before: {other:?}"),
            }
        }
    };
    let (first, (repeated, on_other)) = tokio::join!(rotate(), second);
    assert!(matches!(first, Ok(Once::Now(_))));
    assert_eq!(on_other, Err(Code::KeySuperseded));
    assert_eq!(repeated.known.waited_out, 1);
    assert!(repeated.value.is_some());
    drop(held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_stop_is_answered_no_sooner_than_the_first_would_have_been() {
    let scene = Scene::new().await;
    let held = scene.hold_other().await;
    let engine = &scene.test.engine;
    let stop = || engine.stop_keys(context(), scene.organization.clone(), KeyFilter::default());
    let second = async {
        until("the first stop paused the key", async || {
            let key = engine.show_key(&scene.organization, scene.id).await.unwrap();
            matches!(key.record.state, KeyState::Paused { .. })
        })
        .await;
        let stopped = stop().await.unwrap();
        (stopped, scene.on_other().await)
    };
    let (first, (stopped, on_other)) = tokio::join!(stop(), second);
    assert_eq!(first.unwrap().paused, [scene.id]);
    assert!(stopped.paused.is_empty() && stopped.stopped_by.is_none());
    assert_eq!(stopped.survives_failover, Some(false));
    assert_eq!(on_other, Err(Code::KeyPaused));
    drop(held);
}

/// Its row was written on a server whose clock this one knows nothing of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_clock_of_a_former_server_set_is_not_compared_with_this_one_s() {
    let scene = Scene::new().await;
    scene
        .test
        .place
        .run(
            "INSERT INTO node (id, slot, name, version, started_at, applied, lease_until, clock_offset_ms, server) \
             SELECT 'former', 1, 'former', '0', 1, value, 1000, 0, '1/00000001' FROM change_counter",
        )
        .await;
    let deleted = scene.test.delete(&scene.organization, scene.id).await.unwrap();
    assert_eq!((deleted.known.confirmed, deleted.known.waited_out), (2, 1));
    // By its own clock it had been over for decades. It was missed from a moment before the deletion on.
    assert!(deleted.known.waited_ms >= 1_000, "{}", deleted.known.waited_ms);
    until("it was counted out, when a lease had to be over", async || {
        let nodes = scene.test.engine.list_nodes().await.unwrap();
        let former = nodes.iter().find(|node| node.name == "former").unwrap();
        former.state == NodeState::Lapsed
    })
    .await;
    let again = scene.test.delete(&scene.organization, scene.id).await.unwrap();
    assert_eq!((again.known.confirmed, again.known.waited_out), (2, 0));
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

/// A newer version starts, and brings the database up to date.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_go_on_while_another_one_migrates() {
    let scene = Scene::new().await;
    // As if one of the migrations were still to come; it puts indexes in other ones' place.
    for sql in [
        "DROP INDEX secret_key_by_next_rotation",
        "DROP INDEX secret_key_by_creator",
        "DELETE FROM _sqlx_migrations WHERE version = 10",
    ] {
        scene.test.place.run(sql).await;
    }
    let starting = scene.test.start_another(&scene.test.keyring_text);
    let working = async {
        for _ in 0..20 {
            let of = || (context(), scene.organization.clone());
            let (by, organization) = of();
            let engine = &scene.test.engine;
            engine.pause_key(by, organization, scene.id).await.unwrap();
            assert_eq!(scene.on_other().await, Err(Code::KeyPaused));
            let (by, organization) = of();
            scene.other.resume_key(by, organization, scene.id).await.unwrap();
            scene.warm().await;
        }
    };
    let (started, ()) = tokio::join!(starting, working);
    let started = started.unwrap();
    assert_eq!(verify(&started, &scene.value).await, Ok(()));
    let deleted = scene.test.delete(&scene.organization, scene.id).await.unwrap();
    assert_eq!((deleted.known.confirmed, deleted.known.waited_out), (3, 0));
    assert_eq!(verify(&started, &scene.value).await, Err(Code::KeyDeleted));
    scene.test.place.run("DROP INDEX secret_key_by_creator").await;
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
