//! The rows of nodes and of the change feed on PostgreSQL: who keeps which change from being forgotten, and how many are told at once.

use std::time::Duration;

use keyward_store::Store;
use keyward_store::node_lease::{NewNode, NodeConnection};
use keyward_testkit::engine::{Kind, Place};

const LEASE: Duration = Duration::from_secs(600);
const MAX_CHANGES: i64 = 10_000;
/// Long after the changes that are made at 0.
const NOW_MS: i64 = 1_000_000_000;

async fn node(store: &Store, id: &str, slot: i64) -> NodeConnection {
    let mut connection = store.connect_node(id).await.unwrap().unwrap();
    let node = NewNode {
        id: id.to_owned(),
        slot,
        name: id.to_owned(),
        version: "1".to_owned(),
    };
    connection.join(&node, LEASE).await.unwrap();
    renew(&mut connection).await;
    connection
}

/// A whole renewal; how many changes it told of, unless they were too many.
async fn renew(node: &mut NodeConnection) -> Option<usize> {
    let mut renewal = node.begin_renewal().await.unwrap().unwrap();
    let changes = renewal.changes().await.unwrap();
    renewal.commit(0, LEASE).await.unwrap();
    changes.map(|changes| changes.len())
}

/// So many changes more, made at a moment.
async fn change(place: &Place, count: i64, at_ms: i64) {
    place
        .run(&format!(
            "INSERT INTO change_feed (number, organization_id, key_id, version, at) \
             SELECT value + more, 'org-1', '', 1, {at_ms} FROM change_counter, generate_series(1, {count}) AS more"
        ))
        .await;
    place
        .run(&format!("UPDATE change_counter SET value = value + {count}"))
        .await;
}

/// The numbers of the changes that are kept, first and last, and up to which they may be gone.
async fn kept(place: &Place) -> String {
    let read = "SELECT concat_ws(' ', (SELECT min(number) FROM change_feed), (SELECT max(number) FROM change_feed), forgotten) \
                FROM change_counter";
    place.texts(&[read]).await.join(",")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_kept_until_every_node_that_counts_knows_it() {
    let place = Place::new(Kind::Postgres);
    let store = place.store().await;
    change(&place, 2, 0).await;
    let _behind = node(&store, "behind", 0).await;
    change(&place, 3, 0).await;
    let mut ahead = node(&store, "ahead", 1).await;

    assert_eq!(store.forget_changes(NOW_MS).await.unwrap(), 2);
    assert!(kept(&place).await.contains("3 5 2"), "{}", kept(&place).await);
    assert_eq!(store.forget_changes(NOW_MS).await.unwrap(), 0);

    place
        .run("UPDATE node SET lapsed_at = 1 WHERE id = 'behind'")
        .await;
    // What is new is kept, whoever knows it: somebody may just be reading.
    change(&place, 1, NOW_MS).await;
    assert_eq!(renew(&mut ahead).await, Some(1));
    assert_eq!(store.forget_changes(NOW_MS).await.unwrap(), 3);
    assert!(kept(&place).await.contains("6 6 5"), "{}", kept(&place).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_told_of_so_many_changes_and_not_of_more() {
    let place = Place::new(Kind::Postgres);
    let store = place.store().await;
    let mut node = node(&store, "a", 0).await;
    assert_eq!(renew(&mut node).await, Some(0));
    change(&place, MAX_CHANGES, 0).await;
    assert_eq!(renew(&mut node).await, Some(10_000));
    change(&place, MAX_CHANGES + 1, 0).await;
    assert_eq!(renew(&mut node).await, None);
    assert_eq!(renew(&mut node).await, Some(0), "all the same it knows them now");
}
