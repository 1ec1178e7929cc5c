//! What users of several nodes see while nothing fails: what is done at one holds at the others when the answer is there.

use keyward_testkit::deadline::wait_for;
use keyward_testkit::wire;
use serde_json::json;

use super::cluster::{Cluster, Node, ORGANIZATION, text};
use crate::support::{outcome, succeed};

#[test]
fn what_is_done_at_one_node_holds_at_all() {
    let cluster = Cluster::start(3);
    a_key_is_accepted_everywhere_until_it_is_deleted(&cluster);
    a_pause_and_its_end_hold_everywhere(&cluster);
    an_edit_holds_everywhere(&cluster);
    a_rotation_and_a_replacement_hold_everywhere(&cluster);
    many_keys_end_everywhere(&cluster);
    a_removed_member_s_keys_end_everywhere(&cluster);
    a_deleted_token_is_refused_everywhere(&cluster);
    a_use_at_one_node_is_seen_at_another(&cluster);
    a_stopped_organization_is_stopped_everywhere(&cluster);
}

#[test]
fn nodes_come_and_go() {
    let cluster = Cluster::prepare(3);
    for node in &cluster.nodes[..2] {
        node.start();
    }
    cluster.nodes[0].cli(&["org", "create", "--name", "Acme", "--id", ORGANIZATION]);
    let (kept, ended) = (cluster.nodes[0].create("Kept"), cluster.nodes[1].create("Ended"));
    assert_eq!(cluster.nodes[0].delete(&ended.0)["confirmed"], 2);

    // A node that starts later knows what was before it, and is counted from then on.
    cluster.nodes[2].start();
    cluster.wait_until_ready();
    assert_eq!(outcomes(&cluster, &kept.1), ["204"; 3]);
    assert_eq!(outcomes(&cluster, &ended.1), ["key_deleted"; 3]);
    let third = cluster.nodes[2].create("Third");
    assert_eq!(outcomes(&cluster, &third.1), ["204"; 3]);
    assert_eq!(cluster.nodes[1].delete(&third.0)["confirmed"], 3);

    // One that is shut down in order says so, and nobody waits for it.
    cluster.nodes[2].terminate();
    let deleted = cluster.nodes[0].delete(&kept.0);
    assert_eq!(
        (&deleted["confirmed"], &deleted["waited_out"]),
        (&json!(2), &json!(0)),
        "{deleted}"
    );
    cluster.nodes[2].start();
    cluster.wait_until_ready();
    assert_eq!(outcomes(&cluster, &kept.1), ["key_deleted"; 3]);
}

fn a_key_is_accepted_everywhere_until_it_is_deleted(cluster: &Cluster) {
    let (id, value) = cluster.nodes[0].create("Deleted");
    assert_eq!(outcomes(cluster, &value), ["204"; 3]);
    let deleted = cluster.nodes[0].delete(&id);
    assert_eq!(outcomes(cluster, &value), ["key_deleted"; 3]);
    let told = ["state", "confirmed", "waited_out"].map(|field| &deleted[field]);
    assert_eq!(told, [&json!("deleted"), &json!(3), &json!(0)]);
    // Whoever asks again, elsewhere, gets the same answer for the same work.
    assert_eq!(cluster.nodes[1].delete(&id)["confirmed"], 3);
}

fn a_pause_and_its_end_hold_everywhere(cluster: &Cluster) {
    let (id, value) = cluster.nodes[0].create("Paused");
    for (number, node) in cluster.nodes.iter().enumerate() {
        assert_eq!(outcomes(cluster, &value), ["204"; 3], "round {number}");
        let paused = node.done("POST", &format!("/v1/keys/{id}/pause"), &json!({}));
        assert_eq!(outcomes(cluster, &value), ["key_paused"; 3]);
        assert_eq!(
            (&paused["confirmed"], &paused["waited_out"]),
            (&json!(3), &json!(0))
        );
        node.done("POST", &format!("/v1/keys/{id}/resume"), &json!({}));
    }
    assert_eq!(outcomes(cluster, &value), ["204"; 3]);
}

fn an_edit_holds_everywhere(cluster: &Cluster) {
    let (id, value) = cluster.nodes[0].create("Edited");
    for (number, (scopes, level)) in [("training", "read_only"), ("dataset", "full")]
        .into_iter()
        .enumerate()
    {
        assert_eq!(outcomes(cluster, &value), ["204"; 3]);
        let body = json!({ "scopes": [scopes], "level": level });
        cluster.nodes[number].done("PATCH", &format!("/v1/keys/{id}"), &body);
        for node in &cluster.nodes {
            let reply = node.verify(&value).expect("an answer");
            let told = (reply.header("keyward-scopes"), reply.header("keyward-permission"));
            assert_eq!(told, (Some(scopes), Some(level)));
        }
    }
}

fn a_rotation_and_a_replacement_hold_everywhere(cluster: &Cluster) {
    let (id, old) = cluster.nodes[0].create("Rotated");
    assert_eq!(outcomes(cluster, &old), ["204"; 3]);
    let path = format!("/v1/keys/{id}/rotate");
    let rotated = cluster.nodes[0].done("POST", &path, &json!({ "mode": "immediate" }));
    assert_eq!(outcomes(cluster, &old), ["key_superseded"; 3]);
    let new = text(&rotated, "value");
    assert_eq!(outcomes(cluster, &new), ["204"; 3]);
    let replaced = cluster.nodes[1].done("POST", &format!("/v1/keys/{id}/replace"), &json!({}));
    assert_eq!(outcomes(cluster, &new), ["key_deleted"; 3]);
    assert_eq!(outcomes(cluster, &text(&replaced, "value")), ["204"; 3]);
}

fn many_keys_end_everywhere(cluster: &Cluster) {
    let keys: Vec<_> = (0..5).map(|_| cluster.nodes[0].create("One of many")).collect();
    for (_, value) in &keys {
        assert_eq!(outcomes(cluster, value), ["204"; 3]);
    }
    let ids: Vec<&str> = keys.iter().map(|(id, _)| id.as_str()).collect();
    let mut command = vec!["keys", "bulk", "delete", "--yes"];
    command.extend(ids.iter().flat_map(|id| ["--id", id]));
    let ended = cluster.nodes[1].cli(&command);
    for (_, value) in &keys {
        assert_eq!(outcomes(cluster, value), ["key_deleted"; 3]);
    }
    assert_eq!(ended["done"].as_array().map(Vec::len), Some(5));
}

fn a_removed_member_s_keys_end_everywhere(cluster: &Cluster) {
    let (first, second) = (&cluster.nodes[0], &cluster.nodes[1]);
    let made = first
        .installation
        .cli(&["invitations", "create", "ada@example.com", "--role", "admin"]);
    let link = succeed(&made).trim().to_owned();
    let secret = link.rsplit('/').next().expect("a secret");
    // At another node than the one that invited.
    succeed(&second.installation.cli(&["invitations", "accept", secret]));
    let key = second.cli(&["keys", "create", "--name", "Ada's", "--act-as", "ada@example.com"]);
    let value = text(&key, "value");
    assert_eq!(outcomes(cluster, &value), ["204"; 3]);
    first.cli(&["members", "remove", "ada@example.com", "--keys", "end", "--yes"]);
    assert_eq!(outcomes(cluster, &value), ["key_deleted"; 3]);
}

fn a_deleted_token_is_refused_everywhere(cluster: &Cluster) {
    let (first, second) = (&cluster.nodes[0], &cluster.nodes[1]);
    let made = first.cli(&["tokens", "create", "--name", "CI", "--rights", "keys:read"]);
    let (id, value) = (text(&made, "id"), text(&made, "value"));
    let list = |node: &Node| {
        let path = format!("/v1/organizations/{ORGANIZATION}/keys");
        wire::get(
            &node.address(),
            &path,
            &[format!("Authorization: Bearer {value}")],
        )
    };
    assert_eq!(list(second).status, 200);
    first.cli(&["tokens", "delete", &id, "--yes"]);
    for node in &cluster.nodes {
        assert_eq!(list(node).json()["code"], "token_deleted");
    }
}

fn a_use_at_one_node_is_seen_at_another(cluster: &Cluster) {
    let (id, value) = cluster.nodes[0].create("Used");
    assert_eq!(outcome(&cluster.nodes[1].address(), &value), "204");
    wait_for("the use at the other node is not seen", || {
        let shown = cluster.nodes[0].cli(&["keys", "show", &id]);
        (!shown["last_used_at"].is_null()).then_some(())
    });
}

fn a_stopped_organization_is_stopped_everywhere(cluster: &Cluster) {
    let (_, value) = cluster.nodes[0].create("Of the organization");
    for node in &cluster.nodes {
        assert_eq!(outcomes(cluster, &value), ["204"; 3]);
        let path = format!("/v1/organizations/{ORGANIZATION}");
        node.done("POST", &format!("{path}/stop"), &json!({}));
        assert_eq!(outcomes(cluster, &value), ["key_paused"; 3]);
        node.done("POST", &format!("{path}/resume"), &json!({}));
    }
    assert_eq!(outcomes(cluster, &value), ["204"; 3]);
}

fn outcomes(cluster: &Cluster, value: &str) -> Vec<String> {
    let nodes = cluster.nodes.iter();
    nodes.map(|node| outcome(&node.address(), value)).collect()
}
