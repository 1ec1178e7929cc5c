//! What operators see of nodes: the table of `keyward nodes`, and the metrics.

use keyward_testkit::deadline::wait_for;
use keyward_testkit::server::quickstart;
use keyward_testkit::wire;
use serde_json::{Value, json};

use super::cluster::{Cluster, Node, ORGANIZATION};
use crate::PROGRAM;
use crate::support::{outcome, refused, says, succeed};

#[test]
fn operators_see_how_each_node_stands() {
    let cluster = Cluster::start(3);
    let [first, second, third] = &cluster.nodes[..] else {
        panic!("there are three");
    };
    let shown = nodes(second);
    assert_eq!(flags(&shown, "own"), [false, true, false]);
    assert_eq!(flags(&shown, "first"), [true, false, false]);
    for node in &shown {
        assert_eq!(
            (&node["state"], &node["lag"]),
            (&json!("serving"), &json!(0)),
            "{node}"
        );
        assert!(node["lease_ms"].as_i64().expect("it has a lease") > 0, "{node}");
    }
    let table = succeed(&second.installation.cli(&["nodes"]));
    says(
        &table,
        &[
            "NAME",
            "LEASE",
            "APPLIED",
            "serving",
            "(this one)",
            "first",
            " ms",
        ],
    );
    assert_eq!(table.lines().count(), 4, "{table}");
    assert_eq!(table.matches("(this one)").count(), 1, "{table}");
    wait_for("three nodes are not counted", || {
        (metric(first, "keyward_nodes{state=\"serving\"}") == 3.0).then_some(())
    });
    assert!(metric(first, "keyward_lease_renewals_total{outcome=\"renewed\"}") > 0.0);
    let left = metric(first, "keyward_lease_remaining_seconds");
    assert!(left > 0.0 && left < 1.5, "{left}");
    assert_eq!(metric(first, "keyward_writes_waited_out_total"), 0.0);
    assert_eq!(metric(first, "keyward_lease_lost_total"), 0.0);

    one_that_was_frozen_tells_what_it_lost(first, second);
    one_that_was_killed_is_shown_as_such(first, third);
}

fn one_that_was_frozen_tells_what_it_lost(first: &Node, frozen: &Node) {
    let (kept, ended) = (first.create("Kept"), first.create("Ended"));
    assert_eq!(outcome(&frozen.address(), &kept.1), "204", "and it is in memory");
    let before = metric(first, "keyward_writes_waited_out_total");
    frozen.freeze();
    let deleted = first.delete(&ended.0);
    // The writer may have waited long enough before the row could say so.
    wait_for("the frozen node was not counted out", || {
        (nodes(first)[1]["state"] == "lapsed").then_some(())
    });
    frozen.thaw();
    assert_eq!(deleted["waited_out"], 1, "{deleted}");
    assert_eq!(metric(first, "keyward_writes_waited_out_total"), before + 1.0);
    assert!(metric(first, "keyward_write_wait_seconds_count") >= 1.0);
    assert!(metric(first, "keyward_write_wait_seconds_sum") > 1.0, "a lease");
    wait_for("it did not join again", || frozen.is_ready().then_some(()));
    assert_eq!(metric(frozen, "keyward_lease_lost_total"), 1.0);
    assert!(metric(frozen, "keyward_lease_renewals_total{outcome=\"counted_out\"}") >= 1.0);
    assert_eq!(metric(frozen, "keyward_memory_emptied_total"), 1.0);
    let reached = metric(first, "keyward_node_applied_change");
    assert!(reached >= 3.0, "two creations and an end: {reached}");
    wait_for("it does not catch up", || {
        (metric(frozen, "keyward_node_applied_change") >= reached).then_some(())
    });
}

fn one_that_was_killed_is_shown_as_such(first: &Node, killed: &Node) {
    killed.kill9();
    wait_for("the node that was killed still counts", || {
        (nodes(first)[2]["state"] == "lapsed").then_some(())
    });
    let table = succeed(&first.installation.cli(&["nodes"]));
    says(&table, &["lapsed", "over for"]);
    wait_for("the node that was killed is not counted as such", || {
        (metric(first, "keyward_nodes{state=\"lapsed\"}") == 1.0).then_some(())
    });
}

/// The writer's node has no lease: the answer says so, and when to come back.
#[test]
fn a_write_at_a_node_without_a_lease_is_told_so() {
    let cluster = Cluster::start(1);
    let node = &cluster.nodes[0];
    node.proxy.cut();
    wait_for("it still has a lease", || {
        (metric(node, "keyward_holds_right") == 0.0).then_some(())
    });
    let path = format!("/v1/organizations/{ORGANIZATION}/stop");
    let reply = node.manage("POST", &path, &json!({})).expect("an answer");
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
    let message = reply.json()["message"].as_str().expect("a sentence").to_owned();
    says(&message, &["no lease", "nothing was changed", "another node"]);
    assert_eq!(metric(node, "keyward_lease_remaining_seconds"), 0.0);
    wait_for("the lost lease is not counted", || {
        (metric(node, "keyward_lease_lost_total") == 1.0).then_some(())
    });
    let failed = metric(node, "keyward_lease_renewals_total{outcome=\"failed\"}");
    let late = metric(node, "keyward_lease_renewals_total{outcome=\"timed_out\"}");
    assert!(failed + late >= 1.0);
    node.proxy.pass();
    wait_for("it has no lease again", || node.is_ready().then_some(()));
}

#[test]
fn the_only_process_is_shown_as_such() {
    let (mut keyward, _) = quickstart(PROGRAM);
    let table = succeed(&keyward.cli(&["nodes"]));
    says(
        &table,
        &["serving", "without end", "(this one)", "the only process"],
    );
    assert_eq!(table.lines().count(), 2, "{table}");
    let shown = keyward.cli_json(&["nodes"]);
    assert_eq!(shown["items"][0]["id"], Value::Null);
    let metrics = wire::get(&keyward.admin_address(), "/metrics", &[]).body;
    says(
        &metrics,
        &[
            "keyward_nodes{state=\"serving\"} 1",
            "keyward_lease_remaining_seconds inf",
        ],
    );
    let installation = keyward.installation().clone();
    assert!(keyward.terminate().success());
    says(&refused(&installation.cli(&["nodes"]), 3), &["no server runs"]);
}

fn nodes(node: &Node) -> Vec<Value> {
    let shown = node.cli(&["nodes"]);
    shown["items"].as_array().expect("a list").clone()
}

fn flags(nodes: &[Value], flag: &str) -> Vec<bool> {
    let flags = nodes.iter().map(|node| node[flag].as_bool().expect("yes or no"));
    flags.collect()
}

fn metric(node: &Node, series: &str) -> f64 {
    let metrics = wire::get(&node.admin_address(), "/metrics", &[]).body;
    let found = metrics
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    assert!(found.is_some(), "no {series} in\n{metrics}");
    found.expect("it is there").parse().expect("a number")
}
