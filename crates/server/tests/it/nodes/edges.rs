//! What somebody else does in the moment between a commit and its answer.

use std::time::Duration;

use keyward_testkit::deadline::wait_for;
use keyward_testkit::proxy::AtCommit;
use serde_json::json;

use super::cluster::{Cluster, KEYS, text};
use crate::support::outcome;

const KEY_WRITE: &str = "INSERT INTO change_feed";
const SOON: Duration = Duration::from_secs(10);

/// The replacement is there for everybody once it is committed; who replaced learns of it last.
#[test]
fn a_replacement_that_was_ended_before_its_maker_heard_of_it_stays_ended() {
    let cluster = Cluster::start(2);
    let [maker, other] = &cluster.nodes[..] else {
        panic!("there are two");
    };
    let (old, _) = maker.create("A");
    maker.proxy.catch_commit(KEY_WRITE, AtCommit::HoldItsAnswer);
    let replaced = std::thread::scope(|scope| {
        let replacing = scope.spawn(|| maker.done("POST", &format!("/v1/keys/{old}/replace"), &json!({})));
        assert!(maker.proxy.wait_until_caught(SOON));
        let listed = other.done("GET", KEYS, &json!({}));
        let items = listed["items"].as_array().expect("a list");
        let new = items
            .iter()
            .find(|key| key["state"] == "active")
            .expect("the new key");
        other.delete(&text(new, "id"));
        maker.proxy.pass();
        replacing.join().expect("it is answered")
    });
    let value = text(&replaced, "value");
    for node in &cluster.nodes {
        assert_eq!(outcome(&node.address(), &value), "key_deleted");
    }
}

/// Nobody waits for the first answer any more, so that the second is the only one.
#[test]
fn a_repeated_request_is_answered_when_what_it_asked_for_is_true_everywhere() {
    let cluster = Cluster::start(2);
    let [maker, other] = &cluster.nodes[..] else {
        panic!("there are two");
    };
    let (id, value) = maker.create("A");
    assert_eq!(outcome(&other.address(), &value), "204");
    other.proxy.stall();
    let rotate = || {
        let headers = ["Idempotency-Key: 4f1c0a9d7be24c5f8a3e6d7c01b2a3f4".to_owned()];
        let path = format!("/v1/keys/{id}/rotate");
        maker.manage_with(&headers, ("POST", &path), &json!({ "mode": "immediate" }))
    };
    std::thread::scope(|scope| {
        scope.spawn(rotate);
        wait_for("the first request changes nothing", || {
            (outcome(&maker.address(), &value) != "204").then_some(())
        });
        let repeated = loop {
            let reply = rotate().expect("an answer");
            // While the first is at work it is told so.
            if reply.status != 409 {
                break reply;
            }
        };
        assert_eq!(repeated.status, 200, "{repeated:?}");
        assert_eq!(
            repeated.header("idempotent-replayed"),
            Some("true"),
            "{repeated:?}"
        );
        assert_ne!(outcome(&other.address(), &value), "204");
    });
    other.proxy.pass();
}
