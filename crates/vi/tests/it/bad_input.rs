//! What nobody should send: each gets a clear 4xx that names every field, and nothing is changed.

use axum::body::Body;
use keyward_core::scope::ScopeSet;
use keyward_testkit::engine::Permission;
use serde_json::{Value, json};

use crate::support::{Caller, Vi};

const LIST: &str = "/workspaces/org-1/datasets";
const ORGANIZATION: &str = "/workspaces/org-1";

/// An API with one dataset, and everything that there is to be changed.
struct Scene<'a> {
    full: Caller<'a>,
    vi: &'a Vi,
    dataset: String,
}

impl<'a> Scene<'a> {
    async fn new(vi: &'a Vi) -> Self {
        let full = vi.full().await;
        let dataset = format!("{LIST}/org-1_{}", full.dataset("The only one").await);
        Self { full, vi, dataset }
    }

    async fn state(&self) -> (String, String, usize) {
        let trail = self.vi.test.engine.store().list_audit("org-1", 0, 1_000).await;
        (
            self.full.get(LIST).await.body,
            self.full.get(ORGANIZATION).await.body,
            trail.expect("the trail can be read").len(),
        )
    }

    /// The three requests that take a body.
    fn writes(&self) -> [(&'static str, &str); 3] {
        [("POST", LIST), ("PATCH", &self.dataset), ("PATCH", ORGANIZATION)]
    }
}

fn long(count: usize) -> String {
    "é".repeat(count)
}

fn many(count: usize, value: &Value) -> Value {
    let entries = (0..count).map(|number| (format!("entry {number}"), value.clone()));
    Value::Object(entries.collect())
}

#[tokio::test]
async fn bodies_that_are_no_object_are_unreadable() {
    let vi = Vi::new().await;
    let scene = Scene::new(&vi).await;
    let before = scene.state().await;
    let deep = format!("{{\"name\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    for body in [
        &b""[..],
        b" \n",
        b"{\"name\": ",
        b"{\"name\": \"x\",}",
        b"{name: 'x'}",
        b"[]",
        b"null",
        b"\"name\"",
        b"12",
        b"{\"name\": \"x\"} {}",
        b"{\"name\": \"\xff\"}",
        b"{\"name\": \"\\ud800\"}",
        b"{\"name\": NaN}",
        b"\xef\xbb\xbf{\"name\": \"x\"}",
        deep.as_bytes(),
    ] {
        for (method, path) in scene.writes() {
            let reply = scene.full.send(method, path, body.to_vec()).await;
            reply.refused(400, "malformed_body");
        }
    }
    assert_eq!(scene.state().await, before);
}

#[tokio::test]
async fn a_body_of_ten_megabytes_is_too_large() {
    let vi = Vi::new().await;
    let scene = Scene::new(&vi).await;
    let reader = vi.caller("org-1", ScopeSet::ALL, Permission::ReadOnly).await;
    let before = scene.state().await;
    let body = json!({"name": "x", "description": "d".repeat(10 << 20)}).to_string();
    for (method, path) in scene.writes() {
        let reply = scene.full.send(method, path, body.clone()).await;
        reply.refused(413, "body_too_large");
    }
    // Who may not write is not listened to at all.
    reader
        .send("POST", LIST, body)
        .await
        .refused(403, "operation_not_permitted");
    assert_eq!(scene.state().await, before);
}

#[tokio::test]
async fn every_bad_field_is_named_and_nothing_is_changed() {
    let vi = Vi::new().await;
    let scene = Scene::new(&vi).await;
    let before = scene.state().await;
    for (body, fields) in [
        (json!({}), &["name"][..]),
        (json!({"name": null}), &["name"]),
        (
            json!({"name": 7, "type": 1, "content": [], "owner": {}}),
            &["name", "type", "content", "owner"],
        ),
        (json!({"name": " \u{200b}"}), &["name"]),
        (json!({"name": "a\u{0}b"}), &["name"]),
        (json!({"name": "\u{202e}reversed"}), &["name"]),
        (json!({"name": long(101)}), &["name"]),
        (json!({"name": "x", "type": "Phrase-Grounding"}), &["type"]),
        (json!({"name": "x", "content": "Video"}), &["content"]),
        (json!({"name": "x", "owner": long(101)}), &["owner"]),
        (json!({"name": "x", "description": long(1_001)}), &["description"]),
        (json!({"name": "x", "description": "\u{1b}[2J"}), &["description"]),
        (
            json!({"name": "x", "localization": "", "dataLocalization": "EU"}),
            &["localization", "dataLocalization"],
        ),
        (json!({"name": "x", "status": "0"}), &["status"]),
        (json!({"name": "x", "status": 0.0}), &["status"]),
        (json!({"name": "x", "status": u64::MAX}), &["status"]),
        (json!({"name": "x", "tags": []}), &["tags"]),
        (
            json!({"name": "x", "tags": {"a": 1, "b": "1", "c": null, "d": 1.5}}),
            &["tags.b", "tags.c", "tags.d"],
        ),
        (json!({"name": "x", "tags": {"": 1}}), &["tags."]),
        (json!({"name": "x", "tags": many(1_001, &json!(1))}), &["tags"]),
        (json!({"name": "x", "metadata": "none"}), &["metadata"]),
        (
            json!({"name": "x", "metadata": {"attributes": 1}}),
            &["metadata.attributes"],
        ),
        (
            json!({"name": "x", "metadata": {"attributes": {"a": null}}}),
            &["metadata.attributes.a"],
        ),
        (
            json!({"name": "x", "metadata": {"attributes": many(101, &json!(""))}}),
            &["metadata.attributes"],
        ),
    ] {
        let reply = scene.full.post(LIST, body.clone()).await;
        assert_eq!(reply.invalid_fields(), fields, "{body}");
    }
    let shared = [
        (
            json!({"name": 1, "preference": 2, "metadata": 3}),
            &["name", "preference", "metadata"][..],
        ),
        (json!({"name": ""}), &["name"]),
        (json!({"name": long(101)}), &["name"]),
        (
            json!({"preference": {"a": null, "b": 1, "c": [], "d": true}}),
            &["preference.a", "preference.b", "preference.c"],
        ),
        (json!({"preference": {"a": long(1_001)}}), &["preference.a"]),
        (json!({"preference": many(101, &json!(true))}), &["preference"]),
        (
            json!({"metadata": {"attributes": {"a": 1, "b\n": "x"}}}),
            &["metadata.attributes.a", "metadata.attributes.b\u{fffd}"],
        ),
        (
            json!({"metadata": {"attributes": many(101, &Value::Null)}}),
            &["metadata.attributes"],
        ),
    ];
    for path in [ORGANIZATION, &scene.dataset] {
        for (body, fields) in &shared {
            let reply = scene.full.patch(path, body.clone()).await;
            assert_eq!(reply.invalid_fields(), *fields, "{path} {body}");
        }
        // A name that is too long does not come back whole.
        let body = json!({"preference": {long(101): true}});
        let reply = scene.full.patch(path, body).await;
        assert_eq!(reply.invalid_fields(), [format!("preference.{}...", long(60))]);
    }
    for last_access in [
        json!("now"),
        json!(1.5),
        json!(-1),
        json!(253_402_300_800_000_i64),
        json!(true),
    ] {
        let reply = scene
            .full
            .patch(ORGANIZATION, json!({"lastAccess": last_access}))
            .await;
        assert_eq!(reply.invalid_fields(), ["lastAccess"]);
    }
    let reply = scene.full.patch(&scene.dataset, json!({"description": 1})).await;
    assert_eq!(reply.invalid_fields(), ["description"]);
    assert_eq!(scene.state().await, before);
}

#[tokio::test]
async fn a_thousand_problems_are_reported_as_a_hundred() {
    let vi = Vi::new().await;
    let scene = Scene::new(&vi).await;
    let body = json!({"name": "x", "tags": many(1_000, &json!("no"))});
    assert_eq!(scene.full.post(LIST, body).await.invalid_fields().len(), 100);
}

#[tokio::test]
async fn bad_cursors_and_sizes_are_named() {
    let vi = Vi::new().await;
    let scene = Scene::new(&vi).await;
    let foreign = keyward_api::cursor::write("keys", "k1");
    let long = "A".repeat(5_000);
    for list in [LIST, "/workspaces/org-1/simpleDatasets", "/workspaces"] {
        for (query, fields) in [
            ("s=0", &["s"][..]),
            ("s=1001", &["s"]),
            ("s=-1", &["s"]),
            ("s=ten", &["s"]),
            ("s=1.0", &["s"]),
            ("s=", &["s"]),
            ("s=99999999999999999999", &["s"]),
            ("s=1&s=1", &["s"]),
            ("p=zzz&s=0", &["p", "s"]),
            ("p=%00", &["p"]),
            ("p=%ff", &["p"]),
            ("p=a&p=b", &["p"]),
            (&format!("p={foreign}"), &["p"]),
            (&format!("p={long}"), &["p"]),
        ] {
            let mut named = scene.full.get(&format!("{list}?{query}")).await.invalid_fields();
            named.dedup();
            assert_eq!(named, fields, "{list}?{query}");
        }
        scene
            .full
            .get(&format!("{list}?s=1000&p=&unknown=1"))
            .await
            .ok(200);
    }
    // The two lists have the same ids, and still their own cursors.
    let of_datasets = keyward_api::cursor::write("datasets", "0");
    let path = format!("/workspaces/org-1/simpleDatasets?p={of_datasets}");
    assert_eq!(scene.full.get(&path).await.invalid_fields(), ["p"]);
}

#[tokio::test]
async fn ids_that_are_none_name_nothing() {
    let vi = Vi::new().await;
    let scene = Scene::new(&vi).await;
    let before = scene.state().await;
    let long = "x".repeat(5_000);
    for id in [
        "..",
        ".",
        "%2e%2e",
        "a%2fb",
        "..%2f..%2forg-2",
        "%00",
        "a%00",
        "%0a",
        "%20",
        "a%20b",
        "*",
        "org-1_",
        "_",
        "org-2_x",
        "'%20OR%201=1",
        "%c3%a9",
        &long,
    ] {
        let path = format!("{LIST}/{id}");
        for rest in ["", "/deleteOperation", "/collaborators"] {
            let reply = scene.full.get(&format!("{path}{rest}")).await;
            reply.refused(404, "not_found");
        }
        let edit = json!({"name": "x"});
        scene.full.patch(&path, edit).await.refused(404, "not_found");
        scene.full.delete(&path).await.refused(404, "not_found");
    }
    for path in [
        "/workspaces/..",
        "/workspaces/%00",
        "/workspaces/org-1%2f",
        "/workspaces/ORG-1",
    ] {
        scene.full.get(path).await.refused(401, "organization_mismatch");
    }
    for path in [
        format!("{LIST}/%ff"),
        format!("{LIST}/"),
        format!("{LIST}//"),
        "/workspaces/%ff".to_owned(),
        "/workspaces/".to_owned(),
        "/".to_owned(),
        "/workspaces/org-1/datasets/a/b/c/d".to_owned(),
        "//workspaces/org-1".to_owned(),
    ] {
        scene.full.get(&path).await.refused(404, "no_such_route");
    }
    for (method, path) in [
        ("PUT", LIST),
        ("DELETE", LIST),
        ("POST", "/workspaces"),
        ("TRACE", LIST),
    ] {
        let reply = scene.full.send(method, path, Body::empty()).await;
        reply.refused(405, "method_not_allowed");
        assert!(reply.headers.contains_key("allow"), "{method} {path}");
    }
    assert_eq!(scene.state().await, before);
}

#[tokio::test]
async fn what_is_unknown_is_ignored() {
    let vi = Vi::new().await;
    let scene = Scene::new(&vi).await;
    let body = json!({"name": "x", "datasetId": "../x", "futureField": {"deep": [1, null]}, "__proto__": 1,
        "metadata": {"attributes": {"a": "b"}, "labels": 7}, "createDate": "yesterday"});
    let made = scene.full.post(LIST, body).await.ok(201);
    assert_eq!(made["metadata"]["attributes"], json!({"a": "b"}));
    assert!(made.get("futureField").is_none());
    let text = made["datasetId"].as_str().unwrap_or_default();
    assert!(
        !text.is_empty() && !text.contains(['_', '/', '.']),
        "the server chooses the id"
    );
    // Twice the same member: the last one counts, as in every JSON reader that the client is likely to use.
    let twice = r#"{"name": "first", "name": "second"}"#;
    let made = scene.full.send("POST", LIST, twice).await.ok(201);
    assert_eq!(made["name"], "second");
}
