//! Changes of one key that give out no value, as whoever makes them meets them.

use serde_json::{Value, json};

use super::{create, id_of, standing, value_of};
use crate::support::{Caller, Reply, TestApp, Transcript};

/// The administrator who changes whatever version is there.
fn whatever(app: &TestApp) -> Caller {
    app.admin().with("if-match", "*")
}

async fn edit(caller: &Caller, path: &str, body: &Value) -> Reply {
    caller.send("PATCH", path, body.to_string()).await
}

#[tokio::test]
async fn an_edit_is_true_for_the_next_request_and_what_it_leaves_out_stays() {
    let app = TestApp::new().await;
    let body = json!({
        "name": "A", "description": "The first", "environment": "production", "tags": ["one", "two"],
        "expires_in": "30d", "rate_limit": { "requests": 100, "per_seconds": 60 },
    });
    let made = create(&app, &body).await;
    let path = format!("/v1/keys/{}", id_of(&made));
    let mut replies = Transcript::default();
    app.test.clock.advance_ms(1_500);
    let narrowed = json!({
        "rules": [{ "operations": ["dataset.read"], "resources": ["dataset/d1"] }], "scopes": ["dataset"],
        "allowed_addresses": ["203.0.113.0/24"], "tags": ["two", "three"],
    });
    let first = edit(&app.admin().with("if-match", "\"1\""), &path, &narrowed).await;
    replies.add("narrowed", &first);
    assert_eq!(standing(&app, &value_of(&made)).await, "address_not_allowed");
    app.test.clock.advance_ms(1_500);
    let off = json!({
        "name": "B", "environment": null, "expires_at": null, "allowed_addresses": null, "rate_limit": null,
        "level": "read_only", "tags": [], "rotate_every": null,
    });
    let second = edit(
        &app.admin().with("if-match", first.header("etag").unwrap()),
        &path,
        &off,
    )
    .await;
    replies.add("taken off", &second);
    assert_eq!(standing(&app, &value_of(&made)).await, "ok");
    insta::assert_snapshot!(replies.0);
    assert_eq!(
        app.admin().get(&path).await.json()["version"],
        second.json()["version"]
    );
}

#[tokio::test]
async fn an_edit_asks_for_the_version_that_was_read() {
    let app = TestApp::new().await;
    let path = format!("/v1/keys/{}", id_of(&create(&app, &json!({ "name": "A" })).await));
    let name = |name: &str| json!({ "name": name });
    let required = (428, "precondition_required".to_owned());
    for caller in [
        app.admin(),
        app.admin().with("if-match", ""),
        app.admin().with("if-match", "\"abc\""),
        app.admin().with("if-match", "\"1\", \"2\""),
        app.admin().with("if-match", b"\xff"),
        app.admin().with("if-match", "\"1\"").with("if-match", "\"1\""),
    ] {
        let refused = edit(&caller, &path, &name("B")).await;
        assert_eq!(refused.problem(), required);
        assert!(refused.message().contains("If-Match"));
    }
    // Two who read the same version: one change is made, and the other is not lost in silence.
    let read = app.admin().get(&path).await;
    let etag = read.header("etag").unwrap().to_owned();
    assert_eq!(
        edit(&app.admin().with("if-match", &etag), &path, &name("First"))
            .await
            .status,
        200
    );
    let second = edit(&app.admin().with("if-match", &etag), &path, &name("Second")).await;
    assert_eq!(second.problem(), (412, "version_mismatch".to_owned()));
    assert_eq!(second.header("etag"), Some("\"2\""));
    assert_eq!(app.admin().get(&path).await.json()["name"], "First");
    for (tag, expected) in [("W/\"2\"", "\"3\""), ("*", "\"4\""), ("4", "\"5\"")] {
        let done = edit(&app.admin().with("if-match", tag), &path, &name(tag)).await;
        assert_eq!((done.status, done.header("etag")), (200, Some(expected)), "{tag}");
    }
    // Nothing to change, nothing changed.
    let same = edit(&app.admin().with("if-match", "\"5\""), &path, &json!({})).await;
    assert_eq!((same.status, same.header("etag")), (200, Some("\"5\"")));
}

#[tokio::test]
async fn an_edit_that_is_not_accepted_says_all_that_is_wrong_and_changes_nothing() {
    let app = TestApp::new().await;
    let body = json!({
        "name": "A", "scopes": ["dataset"],
        "rules": [{ "operations": ["dataset.read"], "resources": ["*"] }],
    });
    let made = create(&app, &body).await;
    let path = format!("/v1/keys/{}", id_of(&made));
    let mut replies = Transcript::default();
    for body in [
        // What can't be read.
        json!({
            "name": 1, "description": 2, "environment": "moon", "scopes": ["root"], "level": "god", "rules": [{}],
            "not_before": "soon", "expires_at": 5, "expires_in": "1w", "allowed_addresses": ["home"],
            "rate_limit": { "requests": 0 }, "tags": ["a b"], "rotate_every": 9, "id": "x", "state": "active",
        }),
        // What can be read and does not fit: the rule would be left outside the scopes.
        json!({ "name": " ", "description": "\u{0}", "scopes": ["training"], "expires_at": "2025-01-01T00:00:00Z", "allowed_addresses": [] }),
        json!({ "scopes": [] }),
        json!({ "level": "full", "rules": [] }),
        json!({ "name": null, "scopes": null, "level": null }),
    ] {
        let refused = edit(&whatever(&app), &path, &body).await;
        if refused.status == 422 {
            replies.add(&body.to_string(), &refused);
        } else {
            assert_eq!(
                (refused.status, refused.header("etag")),
                (200, Some("\"1\"")),
                "{body}"
            );
        }
    }
    insta::assert_snapshot!(replies.0);
    for body in ["", "[]", "{", "null"] {
        let refused = whatever(&app).send("PATCH", &path, body).await;
        assert_eq!(refused.problem(), (400, "malformed_body".to_owned()), "{body}");
    }
    let shown = app.admin().get(&path).await.json();
    assert_eq!((&shown["version"], &shown["name"]), (&json!(1), &json!("A")));
}

#[tokio::test]
async fn an_edit_may_lengthen_a_life_and_revives_nothing() {
    let app = TestApp::new().await;
    let made = create(&app, &json!({ "name": "A", "expires_in": "1s" })).await;
    let path = format!("/v1/keys/{}", id_of(&made));
    app.test.clock.advance_ms(1_000);
    assert_eq!(standing(&app, &value_of(&made)).await, "key_expired");
    let renamed = edit(&whatever(&app), &path, &json!({ "name": "B" })).await;
    assert_eq!(
        (renamed.status, &renamed.json()["state"]),
        (200, &json!("expired"))
    );
    assert_eq!(standing(&app, &value_of(&made)).await, "key_expired");
    // Somebody asks for it by name.
    let longer = edit(&whatever(&app), &path, &json!({ "expires_in": "1h" })).await;
    assert_eq!(longer.json()["expires_at"], "2026-01-01T01:00:01Z");
    assert_eq!(standing(&app, &value_of(&made)).await, "ok");
    app.admin().post(&format!("{path}/delete"), &json!({})).await;
    let refused = edit(&whatever(&app), &path, &json!({ "expires_at": null })).await;
    assert_eq!(refused.problem(), (409, "conflict".to_owned()));
    assert_eq!(standing(&app, &value_of(&made)).await, "key_deleted");
}

#[tokio::test]
async fn a_key_is_paused_and_resumed_and_told_so() {
    let app = TestApp::new().await;
    let made = create(&app, &json!({ "name": "A" })).await;
    let path = format!("/v1/keys/{}", id_of(&made));
    let mut replies = Transcript::default();
    for (act, after) in [
        ("pause", "key_paused"),
        ("pause", "key_paused"),
        ("resume", "ok"),
        ("delete", "key_deleted"),
        ("pause", "key_deleted"),
    ] {
        replies.add(act, &app.admin().post(&format!("{path}/{act}"), &json!({})).await);
        assert_eq!(standing(&app, &value_of(&made)).await, after, "{act}");
    }
    insta::assert_snapshot!(replies.0);
}

#[tokio::test]
async fn a_rotation_is_finished_early_or_cancelled() {
    let app = TestApp::new().await;
    let overlap = json!({ "overlap": "2d" });
    let pending = json!({ "mode": "on_first_use" });
    // What was asked for, how it ends, and what both values are answered then.
    for (mode, end, answers) in [
        (&overlap, "finish", ["key_superseded", "ok"]),
        (&overlap, "cancel", ["ok", "key_superseded"]),
        (&pending, "finish", ["key_superseded", "ok"]),
        (&pending, "cancel", ["ok", "key_superseded"]),
    ] {
        let made = create(&app, &json!({ "name": "A" })).await;
        let path = format!("/v1/keys/{}", id_of(&made));
        let rotated = app.admin().post(&format!("{path}/rotate"), mode).await;
        let ended = app
            .admin()
            .send("POST", &format!("{path}/rotation/{end}"), "")
            .await;
        assert_eq!((ended.status, ended.header("etag")), (200, Some("\"3\"")));
        let states: Vec<Value> = ended.json()["secrets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|secret| secret["state"].clone())
            .collect();
        let newest_wins = end == "finish";
        let expected = if newest_wins {
            ["current", "ended"]
        } else {
            ["ended", "current"]
        };
        assert_eq!(states, expected, "{mode} {end}");
        let hint = if newest_wins { &rotated } else { &made };
        assert_eq!(ended.json()["hint"].as_str().unwrap()[14..], value_of(hint)[99..]);
        for (value, answer) in [&made, &rotated].map(value_of).iter().zip(answers) {
            assert_eq!(standing(&app, value).await, answer, "{mode} {end}");
        }
        // There is none any more.
        let again = app
            .admin()
            .send("POST", &format!("{path}/rotation/finish"), "")
            .await;
        assert_eq!((again.status, again.header("etag")), (200, Some("\"3\"")));
        let again = app
            .admin()
            .send("POST", &format!("{path}/rotation/cancel"), "")
            .await;
        assert_eq!(again.problem(), (409, "conflict".to_owned()));
    }
}

#[tokio::test]
async fn an_ended_key_is_not_rotated_finished_or_resumed() {
    let app = TestApp::new().await;
    let expired = create(&app, &json!({ "name": "A", "expires_in": "1s" })).await;
    let deleted = create(&app, &json!({ "name": "B" })).await;
    app.admin()
        .post(&format!("/v1/keys/{}/delete", id_of(&deleted)), &json!({}))
        .await;
    app.test.clock.advance_ms(1_000);
    for (key, code) in [(&expired, "key_expired"), (&deleted, "key_deleted")] {
        for act in ["rotate", "rotation/finish", "rotation/cancel"] {
            let path = format!("/v1/keys/{}/{act}", id_of(key));
            let refused = app.admin().post(&path, &json!({})).await;
            assert_eq!(refused.problem(), (409, "conflict".to_owned()), "{path}");
        }
        assert_eq!(standing(&app, &value_of(key)).await, code);
    }
    let resumed = app
        .admin()
        .post(&format!("/v1/keys/{}/resume", id_of(&deleted)), &json!({}))
        .await;
    assert_eq!(resumed.problem(), (409, "conflict".to_owned()));
}
