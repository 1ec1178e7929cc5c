use keyward_testkit::engine::Kind;
use serde_json::json;

use crate::support::{Setup, TestApp};

const NODES: &str = "/v1/nodes";

/// That tokens and members are told nothing here is in the table of the tests (`matrix.rs`).
#[tokio::test]
async fn the_only_process_is_shown_as_one() {
    let app = TestApp::new().await;
    let reply = app.admin().get(NODES).await;
    let only = json!({
        "id": null,
        "name": "test",
        "version": env!("CARGO_PKG_VERSION"),
        "started_at": null,
        "state": "serving",
        "lease_ms": null,
        "applied": 0,
        "lag": 0,
        "clock_offset_ms": 0,
        "own": true,
        "first": true,
    });
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json(), json!({ "items": [only], "next": null }));
}

#[tokio::test]
async fn several_nodes_are_shown_in_the_order_in_which_they_started() {
    let app = TestApp::with(Setup {
        kind: Kind::Postgres,
        ..Setup::default()
    })
    .await;
    let other = app.test.start_another(&app.test.keyring_text).await.unwrap();
    let items = app.admin().get(NODES).await.json()["items"].clone();
    let nodes = items.as_array().unwrap();
    assert_eq!(nodes.len(), 2, "{items}");
    let flags = |flag: &str| {
        let flags = nodes.iter().map(|node| node[flag].as_bool().unwrap());
        flags.collect::<Vec<_>>()
    };
    assert_eq!(
        (flags("own"), flags("first")),
        (vec![true, false], vec![true, false])
    );
    for node in nodes {
        assert_eq!((&node["state"], &node["lag"]), (&json!("serving"), &json!(0)));
        assert!(
            (0..=1_500).contains(&node["lease_ms"].as_i64().unwrap()),
            "{node}"
        );
        assert!(node["started_at"].as_str().unwrap().ends_with('Z'));
    }
    assert_ne!(nodes[0]["id"], nodes[1]["id"]);
    other.shut_down().await;
    let left = app.admin().get(NODES).await.json();
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
}
