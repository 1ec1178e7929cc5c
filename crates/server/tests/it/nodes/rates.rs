//! Limits of rates that were asked to hold over all nodes together.

use std::time::Instant;

use super::cluster::{Cluster, ORGANIZATION};
use crate::support::outcome;

const LIMIT: usize = 100;
const SECONDS: usize = 60;
const REQUESTS_A_NODE: usize = 70;

#[test]
fn all_nodes_together_accept_what_one_bucket_gives() {
    let cluster = Cluster::prepare_with(3, &[("KEYWARD_RATE_LIMITS", "cluster")]);
    for node in &cluster.nodes {
        node.start();
    }
    cluster.wait_until_ready();
    cluster.nodes[0].cli(&["org", "create", "--name", "Acme", "--id", ORGANIZATION]);
    let limit = format!("{LIMIT}/{SECONDS}s");
    let made = cluster.nodes[0].cli(&["keys", "create", "--name", "Limited", "--rate-limit", &limit]);
    let value = made["value"].as_str().expect("a value");

    let begun = Instant::now();
    let accepted: usize = std::thread::scope(|scope| {
        let asking: Vec<_> = cluster
            .nodes
            .iter()
            .map(|node| {
                scope.spawn(move || {
                    let outcomes = (0..REQUESTS_A_NODE).map(|_| outcome(&node.address(), value));
                    outcomes
                        .filter(|outcome| match outcome.as_str() {
                            "204" => true,
                            "rate_limited" | "store_unavailable" => false,
                            other => panic!("{other}"),
                        })
                        .count()
                })
            })
            .collect();
        asking
            .into_iter()
            .map(|asking| asking.join().expect("it asked"))
            .sum()
    });
    // The bucket refills meanwhile. What a node took and did not spend within a second is lost, which on a busy machine is much.
    let refilled = begun.elapsed().as_secs_f64() * LIMIT as f64 / SECONDS as f64;
    let most = LIMIT + refilled.ceil() as usize;
    assert!(
        (LIMIT / 2..=most).contains(&accepted),
        "{accepted} of at most {most}"
    );
}
