//! How long a deletion takes, printed: with healthy nodes, and with one that has stopped. No time is asserted.

use std::time::{Duration, Instant};

use keyward_testkit::deadline::wait_for;
use serde_json::{Value, json};

use super::cluster::{Cluster, Node};
use super::tell;
use crate::support::outcome;

const HEALTHY: usize = 100;
/// How often a node stops, and how many keys are deleted while it stands.
const STOPS: usize = 4;
const KEYS_A_STOP: usize = 6;

#[test]
fn a_stopped_node_is_waited_for_once_and_comes_back_knowing_everything() {
    let cluster = Cluster::start(3);
    let keys: Vec<(String, String)> = (0..HEALTHY + STOPS * KEYS_A_STOP)
        .map(|number| cluster.nodes[number % 2].create("A"))
        .collect();
    let (healthy, during) = keys.split_at(HEALTHY);
    let mut times = Vec::new();
    for (number, (id, _)) in healthy.iter().enumerate() {
        let (deleted, time) = delete(&cluster.nodes[number % 3], id);
        assert_eq!(
            (&deleted["confirmed"], &deleted["waited_out"]),
            (&json!(3), &json!(0)),
            "{deleted}"
        );
        times.push(time);
    }
    tell(&format!("delete, healthy nodes: {}", percentiles(times)));

    let stopped = &cluster.nodes[2];
    let (mut first_times, mut later_times) = (Vec::new(), Vec::new());
    for keys in during.chunks(KEYS_A_STOP) {
        let ((first, _), later) = keys.split_first().expect("there are some");
        for (_, value) in keys {
            assert_eq!(outcome(&stopped.address(), value), "204");
        }
        stopped.freeze();
        let (deleted, time) = delete(&cluster.nodes[0], first);
        assert_eq!(
            (&deleted["confirmed"], &deleted["waited_out"]),
            (&json!(2), &json!(1)),
            "{deleted}"
        );
        first_times.push(time);
        // The writer may have waited long enough before the row could say so.
        wait_for("the stopped node was not counted out", || {
            let listed = cluster.nodes[0].cli(&["nodes"]);
            (listed["items"][2]["state"] == "lapsed").then_some(())
        });
        for (number, (id, _)) in later.iter().enumerate() {
            let (deleted, time) = delete(&cluster.nodes[number % 2], id);
            assert_eq!(
                (&deleted["confirmed"], &deleted["waited_out"]),
                (&json!(2), &json!(0)),
                "{deleted}"
            );
            later_times.push(time);
        }
        stopped.thaw();
        for (_, value) in keys {
            // Before it has joined again it may be unable to tell; it is never accepted.
            assert_ne!(outcome(&stopped.address(), value), "204");
        }
        wait_for("the node did not join again", || {
            let (deleted, _) = delete(&cluster.nodes[0], first);
            (deleted["confirmed"] == 3).then_some(())
        });
    }
    tell(&format!(
        "delete, the first after a node stopped: {}",
        percentiles(first_times)
    ));
    tell(&format!(
        "delete, the next after that: {}",
        percentiles(later_times)
    ));
}

fn delete(node: &Node, id: &str) -> (Value, Duration) {
    let begun = Instant::now();
    (node.delete(id), begun.elapsed())
}

fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1_000.0;
    format!("p50 {:.1} ms, p99 {:.1} ms, of {}", at(50), at(99), times.len())
}
