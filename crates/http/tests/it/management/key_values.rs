//! The replies that hold a key's value: creation, rotation, replacement, and each of them repeated.

use keyward_core::idempotency::VALUE_LIFE_MS;
use keyward_core::time::DAY_MS;
use serde_json::{Value, json};

use super::{KEYS, create, id_of, standing, value_of};
use crate::support::{Caller, Reply, TestApp, Transcript};

const ONCE: &str = "4f1c0a9d7be24c5f8a3e6d7c01b2a3f4";

/// The administrator with an Idempotency-Key.
fn once(app: &TestApp) -> Caller {
    app.admin().with("idempotency-key", ONCE)
}

fn is_replayed(reply: &Reply) -> bool {
    reply.header("idempotent-replayed") == Some("true")
}

#[tokio::test]
async fn a_repeated_creation_is_answered_like_the_first_one_for_ten_minutes() {
    let app = TestApp::new().await;
    let body = json!({ "name": "Made once" });
    let first = once(&app).post(KEYS, &body).await;
    assert_eq!((first.status, is_replayed(&first)), (201, false));
    app.test.clock.advance_ms(VALUE_LIFE_MS - 1);
    // In quotes, as the draft of the header has it, it is the same text.
    let quoted = app.admin().with("idempotency-key", format!("\"{ONCE}\""));
    for caller in [once(&app), quoted] {
        let again = caller.post(KEYS, &body).await;
        assert_eq!((again.status, is_replayed(&again)), (201, true));
        assert_eq!(again.json(), first.json());
        assert_eq!(again.header("etag"), first.header("etag"));
    }
    app.test.clock.advance_ms(1);
    let late = once(&app).post(KEYS, &body).await;
    let mut without_value = first.json();
    without_value["value"] = Value::Null;
    assert_eq!((late.status, is_replayed(&late)), (201, true));
    assert_eq!(late.json(), without_value);
    let listed = app.admin().get(KEYS).await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_idempotency_key_is_one_principals_for_one_request() {
    let app = TestApp::new().await;
    let body = json!({ "name": "A" });
    let first = once(&app).post(KEYS, &body).await;
    let other_body = once(&app).post(KEYS, &json!({ "name": "B" })).await;
    assert_eq!(other_body.problem(), (409, "idempotency_mismatch".to_owned()));
    let rotate = format!("/v1/keys/{}/rotate", id_of(&first));
    let other_route = once(&app).post(&rotate, &body).await;
    assert_eq!(
        other_route.problem(),
        (422, "invalid_fields".to_owned()),
        "that is no rotation at all"
    );
    // Nobody else gets it, though they guess the key and send the same.
    let token = app.manager(&app.token("keys:write").await);
    let theirs = token.with("idempotency-key", ONCE).post(KEYS, &body).await;
    assert_eq!((theirs.status, is_replayed(&theirs)), (201, false));
    assert_ne!(id_of(&theirs), id_of(&first));
}

#[tokio::test]
async fn while_the_first_one_runs_others_are_told_so() {
    let app = TestApp::new().await;
    let caller = once(&app);
    let body = json!({ "name": "A" });
    let all = (0..5).map(|_| caller.post(KEYS, &body));
    let replies = futures_util::future::join_all(all).await;
    let mut told: Vec<(u16, bool)> = Vec::new();
    for reply in &replies {
        if reply.status == 409 {
            assert_eq!(reply.problem().1, "in_progress");
        }
        told.push((reply.status, is_replayed(reply)));
    }
    told.sort_unstable();
    told.dedup();
    assert_eq!(told, [(201, false), (409, false)]);
    let listed = app.admin().get(KEYS).await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn what_could_be_guessed_is_no_idempotency_key() {
    let app = TestApp::new().await;
    let body = json!({ "name": "A" });
    let refused = [
        app.admin().with("idempotency-key", "retry-1"),
        app.admin().with("idempotency-key", &ONCE[..21]),
        app.admin()
            .with("idempotency-key", "abababababababababababababababab"),
        app.admin()
            .with("idempotency-key", "a b c d e f g h i j k l m n o p q"),
        app.admin().with("idempotency-key", "x".repeat(256)),
        app.admin()
            .with("idempotency-key", b"\xff4f1c0a9d7be24c5f8a3e6d7c01b2a3f4"),
        once(&app).with("idempotency-key", ONCE),
    ];
    for caller in refused {
        let reply = caller.post(KEYS, &body).await;
        assert_eq!(reply.problem(), (422, "invalid_fields".to_owned()));
        assert_eq!(reply.fields(), ["Idempotency-Key"]);
    }
    assert_eq!(app.admin().get(KEYS).await.json()["items"], json!([]));
    let shortest = app.admin().with("idempotency-key", &ONCE[..22]);
    assert_eq!(shortest.post(KEYS, &body).await.status, 201);
}

#[tokio::test]
async fn a_refused_request_is_no_attempt() {
    let app = TestApp::new().await;
    let refused = once(&app).post(KEYS, &json!({ "name": "" })).await;
    assert_eq!(refused.status, 422);
    let made = once(&app).post(KEYS, &json!({ "name": "Now right" })).await;
    assert_eq!((made.status, is_replayed(&made)), (201, false));
}

#[tokio::test]
async fn nobody_gets_the_value_of_a_key_that_ended() {
    let app = TestApp::new().await;
    let body = json!({ "name": "A" });
    let id = id_of(&once(&app).post(KEYS, &body).await);
    app.admin()
        .post(&format!("/v1/keys/{id}/delete"), &json!({}))
        .await;
    let again = once(&app).post(KEYS, &body).await;
    assert_eq!(
        (again.status, &again.json()["state"], &again.json()["value"]),
        (201, &json!("deleted"), &Value::Null)
    );
}

#[tokio::test]
async fn each_mode_of_a_rotation_says_what_becomes_of_the_old_secret() {
    let app = TestApp::new().await;
    let mut replies = Transcript::default();
    for (body, old_now, old_later) in [
        (r#"{"mode": "immediate"}"#, "key_superseded", "key_superseded"),
        (r#"{"mode": "overlap", "overlap": "2h"}"#, "ok", "key_superseded"),
        ("", "ok", "ok"),
        (r#"{"mode": "on-first-use", "grace": "1h"}"#, "ok", "ok"),
    ] {
        let made = create(&app, &json!({ "name": "A", "environment": "production" })).await;
        app.test.clock.advance_ms(1_000);
        let path = format!("/v1/keys/{}/rotate", id_of(&made));
        let rotated = app.admin().send("POST", &path, body).await;
        replies.add(if body.is_empty() { "no body" } else { body }, &rotated);
        let (old, new) = (value_of(&made), value_of(&rotated));
        assert_eq!(old[..26], new[..26], "the id stays");
        assert_ne!(old, new);
        assert_eq!(standing(&app, &old).await, old_now, "{body}");
        assert_eq!(standing(&app, &new).await, "ok", "{body}");
        app.test.clock.advance_ms(2 * 3_600_000);
        assert_eq!(standing(&app, &old).await, old_later, "{body}");
        assert_eq!(standing(&app, &new).await, "ok", "{body}");
    }
    insta::assert_snapshot!(replies.0);
}

#[tokio::test]
async fn a_rotation_that_is_not_accepted_says_all_that_is_wrong_and_changes_nothing() {
    let app = TestApp::new().await;
    let made = create(&app, &json!({ "name": "A", "expires_in": "3d" })).await;
    let path = format!("/v1/keys/{}/rotate", id_of(&made));
    for (body, fields) in [
        (
            json!({ "mode": "soon", "grace": 5, "extra": 1 }),
            vec!["mode", "grace", "extra"],
        ),
        (
            json!({ "mode": "immediate", "overlap": "1h", "grace": "1h" }),
            vec!["overlap", "grace"],
        ),
        (
            json!({ "until": "2026-01-02T00:00:00Z", "overlap": "1h" }),
            vec!["overlap"],
        ),
        (json!({ "until": "2026-01-01T00:00:00Z" }), vec!["until"]),
        (json!({ "until": "2026-01-04T00:00:00.001Z" }), vec!["until"]),
        (json!({ "overlap": "0s" }), vec!["overlap"]),
        (json!({ "overlap": "31d" }), vec!["until"]),
        (json!({ "mode": "on_first_use", "grace": "0s" }), vec!["grace"]),
        (json!({ "mode": "on_first_use", "grace": "31d" }), vec!["grace"]),
    ] {
        let refused = app.admin().post(&path, &body).await;
        assert_eq!(refused.problem(), (422, "invalid_fields".to_owned()), "{body}");
        assert_eq!(refused.fields(), fields, "{body}");
    }
    let shown = app.admin().get(&format!("/v1/keys/{}", id_of(&made))).await;
    assert_eq!(
        (
            &shown.json()["version"],
            shown.json()["secrets"].as_array().unwrap().len()
        ),
        (&json!(1), 1)
    );
}

#[tokio::test]
async fn a_rotation_may_say_which_version_it_means_and_waits_for_one_that_is_under_way() {
    let app = TestApp::new().await;
    let made = create(&app, &json!({ "name": "A" })).await;
    let path = format!("/v1/keys/{}/rotate", id_of(&made));
    let stale = app
        .admin()
        .with("if-match", "\"7\"")
        .post(&path, &json!({}))
        .await;
    assert_eq!(stale.problem(), (412, "version_mismatch".to_owned()));
    assert_eq!(stale.header("etag"), Some("\"1\""));
    let rotated = app
        .admin()
        .with("if-match", "\"1\"")
        .post(&path, &json!({}))
        .await;
    assert_eq!((rotated.status, rotated.header("etag")), (200, Some("\"2\"")));
    let second = app.admin().post(&path, &json!({ "mode": "immediate" })).await;
    assert_eq!(second.problem(), (409, "conflict".to_owned()));
    assert!(
        second.message().contains("finish or cancel"),
        "{}",
        second.message()
    );
    app.test.clock.advance_ms(DAY_MS);
    let in_time = app.admin().post(&path, &json!({ "mode": "immediate" })).await;
    assert_eq!(in_time.status, 200);
}

#[tokio::test]
async fn a_repeated_rotation_gives_the_same_value_and_rotates_once() {
    let app = TestApp::new().await;
    let made = create(&app, &json!({ "name": "A" })).await;
    let path = format!("/v1/keys/{}/rotate", id_of(&made));
    let body = json!({ "mode": "immediate" });
    let first = once(&app).post(&path, &body).await;
    let again = once(&app).post(&path, &body).await;
    assert_eq!(
        (again.status, is_replayed(&first), is_replayed(&again)),
        (200, false, true)
    );
    assert_eq!(again.json(), first.json());
    let of_another = create(&app, &json!({ "name": "B" })).await;
    let elsewhere = format!("/v1/keys/{}/rotate", id_of(&of_another));
    let mismatch = once(&app).post(&elsewhere, &body).await;
    assert_eq!(mismatch.problem(), (409, "idempotency_mismatch".to_owned()));
    app.test.clock.advance_ms(VALUE_LIFE_MS);
    let late = once(&app).post(&path, &body).await;
    assert_eq!((late.status, &late.json()["value"]), (200, &Value::Null));
}

#[tokio::test]
async fn a_replaced_key_is_ended_as_compromised_and_its_copy_takes_over() {
    let app = TestApp::new().await;
    let body = json!({
        "name": "Ingest", "description": "Nightly", "environment": "staging", "scopes": ["dataset"], "level": "read_only",
        "tags": ["team-a"], "expires_in": "30d", "allowed_addresses": ["198.51.100.0/24"],
    });
    let made = create(&app, &body).await;
    let rotate = format!("/v1/keys/{}/rotate", id_of(&made));
    let rotated = app.admin().post(&rotate, &json!({})).await;
    let path = format!("/v1/keys/{}/replace", id_of(&made));
    let asked = json!({ "description": "Nightly, since the leak" });
    let replaced = once(&app).post(&path, &asked).await;
    insta::assert_snapshot!(replaced.shown());
    assert_ne!(id_of(&replaced), id_of(&made));
    for old in [value_of(&made), value_of(&rotated)] {
        assert_eq!(standing(&app, &old).await, "key_deleted");
    }
    assert_eq!(standing(&app, &value_of(&replaced)).await, "ok");
    let old = app
        .admin()
        .get(&format!("/v1/keys/{}", id_of(&made)))
        .await
        .json();
    assert_eq!(
        (&old["state"], &old["state_reason"], &old["description"]),
        (&json!("deleted"), &json!("compromised"), &json!("Nightly"))
    );
    let again = once(&app).post(&path, &asked).await;
    assert_eq!((again.status, is_replayed(&again)), (201, true));
    assert_eq!(again.json(), replaced.json());
    let twice = app.admin().post(&path, &json!({})).await;
    assert_eq!(twice.problem(), (409, "conflict".to_owned()));
}

#[tokio::test]
async fn a_replacement_that_is_not_accepted_says_all_that_is_wrong_and_ends_nothing() {
    let app = TestApp::new().await;
    let made = create(&app, &json!({ "name": "A", "scopes": ["training"] })).await;
    let path = format!("/v1/keys/{}/replace", id_of(&made));
    for (body, fields) in [
        (
            json!({ "name": 1, "level": "god", "expires_in": "1w", "reason": "x" }),
            vec!["expires_in", "name", "level", "reason"],
        ),
        (
            json!({ "name": " ", "level": "labeler_only", "expires_at": "2025-01-01T00:00:00Z" }),
            vec!["name", "expires_at", "level"],
        ),
    ] {
        let refused = app.admin().post(&path, &body).await;
        assert_eq!(refused.problem(), (422, "invalid_fields".to_owned()), "{body}");
        assert_eq!(refused.fields(), fields, "{body}");
    }
    assert_eq!(standing(&app, &value_of(&made)).await, "ok");
    let listed = app.admin().get(KEYS).await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
}
