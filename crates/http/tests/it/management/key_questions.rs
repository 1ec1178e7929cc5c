//! Questions about keys that change nothing: which one is meant, could it do that, and which are there.

use std::collections::BTreeSet;

use keyward_core::state::DeleteReason;
use keyward_testkit::engine::context;
use keyward_testkit::forgery::with_other_secret;
use serde_json::{Value, json};

use super::{create, id_of, standing, value_of};
use crate::log::Log;
use crate::support::{Caller, TestApp};

const LOOK_UP: &str = "/v1/organizations/org-1/keys/lookup";

async fn look_up(caller: &Caller, text: &str) -> BTreeSet<String> {
    let reply = caller.post(LOOK_UP, &json!({ "text": text })).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.json()["next"], Value::Null);
    let found = reply.json()["items"].as_array().unwrap().clone();
    found
        .iter()
        .map(|key| key["id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_key_is_found_by_what_people_have_of_it() {
    let app = TestApp::new().await;
    let made = create(&app, &json!({ "name": "A" })).await;
    let other = create(&app, &json!({ "name": "B" })).await;
    let (id, value) = (id_of(&made), value_of(&made));
    let hint = made.json()["hint"].as_str().unwrap().to_owned();
    let forged = with_other_secret(&value);
    app.remember(&forged);
    let one: BTreeSet<String> = [id.clone()].into();
    let admin = app.admin();
    for text in [
        value.as_str(),
        &format!("  {value}\n"),
        &format!("\"{value}\""),
        &format!("`{value}`"),
        // Nothing is said of whether its secret is right.
        &forged,
        &value[..11],
        &value[..40],
        &format!("{}...", &value[..11]),
        &hint,
        &id,
        &id.to_uppercase(),
    ] {
        assert_eq!(look_up(&admin, text).await, one, "{}", text.len());
    }
    assert!(
        look_up(&admin, &format!("...{}", &value[99..]))
            .await
            .contains(&id)
    );
    let crossed = format!("{}...{}", &value[..11], &value_of(&other)[99..]);
    for text in [
        &crossed,
        "dtvi_",
        "dtvi_ABCDEF",
        "A",
        "...",
        "%",
        "no key",
        "kwmt_MDl1MD",
        &id[..15],
    ] {
        assert_eq!(look_up(&admin, text).await, BTreeSet::new(), "{text}");
    }
    // Also when it ended, and by the value of a secret that was rotated out.
    let rotate = format!("/v1/keys/{id}/rotate");
    let rotated = admin.post(&rotate, &json!({ "mode": "immediate" })).await;
    let id_of_deleted = id.parse().unwrap();
    app.test.delete(&app.organization, id_of_deleted).await.unwrap();
    for text in [&value, &value_of(&rotated), &value[..11].to_owned()] {
        assert_eq!(look_up(&admin, text).await, one);
    }
}

#[tokio::test]
async fn a_look_up_finds_keys_of_its_organization_and_keeps_the_text_nowhere() {
    let app = TestApp::new().await;
    let other = app.test.organization("org-2").await;
    let stranger = app.manager(&app.token_of(&other, "keys:read", None).await);
    let made = create(&app, &json!({ "name": "A" })).await;
    let value = value_of(&made);
    let reader = app.manager(&app.token("keys:read").await);
    let (log, _following) = Log::follow();
    assert_eq!(look_up(&reader, &value).await.len(), 1);
    let elsewhere = "/v1/organizations/org-2/keys/lookup";
    for text in [&value, &value[..11], &value[99..], &id_of(&made)] {
        let reply = stranger.post(elsewhere, &json!({ "text": text })).await;
        assert_eq!(reply.json(), json!({ "items": [], "next": null }));
    }
    let refused = stranger.post(LOOK_UP, &json!({ "text": value })).await;
    assert_eq!(refused.problem(), (404, "not_found".to_owned()));
    app.assert_no_key_in(&log.lines_with("").join("\n"));
    let chain = app.test.engine.store().list_audit("org-1", 0, 100).await.unwrap();
    assert!(
        chain
            .iter()
            .all(|entry| !format!("{entry:?}").contains(&value[20..40]))
    );
    let shown = app
        .admin()
        .get(&format!("/v1/keys/{}", id_of(&made)))
        .await
        .json();
    assert_eq!(shown["last_used_at"], Value::Null, "a look-up is no use");
}

#[tokio::test]
async fn a_text_that_can_not_be_looked_up_is_refused_and_not_said_back() {
    let app = TestApp::new().await;
    let value = value_of(&create(&app, &json!({ "name": "A" })).await);
    for (body, fields) in [
        (json!({}), vec!["text"]),
        (json!({ "text": 1, "key": value }), vec!["text", "key"]),
        (json!({ "text": "x".repeat(1_001) }), vec!["text"]),
        (json!({ "text": "a\u{0}b" }), vec!["text"]),
        (json!({ "text": [value] }), vec!["text"]),
    ] {
        // Every reply is checked for keys.
        let refused = app.admin().post(LOOK_UP, &body).await;
        assert_eq!(
            (refused.status, refused.fields()),
            (422, fields.iter().map(|field| (*field).to_owned()).collect())
        );
    }
}

/// Keys of every kind that a question can meet.
async fn keys_of_every_kind(app: &TestApp) -> Vec<(String, String, String)> {
    let rules = json!([
        { "operations": ["dataset.read"], "resources": ["dataset/d1"] },
        { "operations": ["annotation.*"], "resources": ["dataset/*"] },
    ]);
    let bodies = [
        json!({ "name": "full" }),
        json!({ "name": "read only", "level": "read_only", "scopes": ["dataset", "training"] }),
        json!({ "name": "labeler", "level": "labeler_only", "scopes": ["dataset"] }),
        json!({ "name": "restricted", "rules": rules }),
        json!({ "name": "of one network", "allowed_addresses": ["203.0.113.0/24"] }),
        json!({ "name": "of later", "not_before": "2026-06-01T00:00:00Z" }),
        json!({ "name": "expired", "expires_in": "1s" }),
        json!({ "name": "paused" }),
        json!({ "name": "deleted" }),
    ];
    let mut made = Vec::new();
    for body in bodies {
        let key = create(app, &body).await;
        made.push((
            body["name"].as_str().unwrap().to_owned(),
            id_of(&key),
            value_of(&key),
        ));
    }
    let engine = &app.test.engine;
    for (name, id, _) in &made {
        let (organization, id) = (app.organization.clone(), id.parse().unwrap());
        match name.as_str() {
            "paused" => drop(engine.pause_key(context(), organization, id).await.unwrap()),
            "deleted" => {
                let reason = DeleteReason::Compromised;
                drop(
                    engine
                        .delete_key(context(), organization, id, reason)
                        .await
                        .unwrap(),
                );
            }
            _ => {}
        }
    }
    app.test.clock.advance_ms(1_000);
    made
}

#[tokio::test]
async fn an_explanation_says_what_a_verify_would_answer_and_what_decides_that() {
    let app = TestApp::new().await;
    let keys = keys_of_every_kind(&app).await;
    let server = app.manager(&app.token("verify").await);
    let mut told = Vec::new();
    let mut asked = 0;
    for (name, id, value) in &keys {
        for question in [
            json!({}),
            json!({ "operation": "dataset.read", "resource": "dataset/d1" }),
            json!({ "operation": "dataset.read", "resource": "dataset/d2" }),
            json!({ "operation": "dataset.read", "resource": "dataset" }),
            json!({ "operation": "dataset.write", "resource": "dataset/*" }),
            json!({ "operation": "annotation.write", "resource": "dataset/d2" }),
            json!({ "operation": "training.read", "resource": "run/r1" }),
            json!({ "operation": "inference.run", "resource": "deployment/x" }),
            json!({ "operation": "organization.read" }),
            json!({ "operation": "organization.write" }),
            json!({ "operation": "members.write" }),
        ] {
            for address in [Value::Null, json!("203.0.113.9"), json!("198.51.100.7")] {
                let mut question = question.clone();
                question["address"] = address;
                let explained = app
                    .admin()
                    .post(&format!("/v1/keys/{id}/explain"), &question)
                    .await;
                assert_eq!(explained.status, 200, "{name} {question}: {}", explained.text());
                let explained = explained.json();
                let mut with_key = question.clone();
                with_key["key"] = value.as_str().into();
                let verdict = server.post("/v1/verify", &with_key).await.json();
                assert_eq!(
                    (&explained["allowed"], &explained["code"]),
                    (&verdict["allowed"], &verdict["code"]),
                    "{name} {question}"
                );
                asked += 1;
                if question["address"] == "203.0.113.9" {
                    told.push(format!(
                        "{name}: {} {} {} by {}",
                        question["operation"],
                        question["resource"],
                        explained["code"],
                        explained["decided_by"]
                    ));
                }
            }
        }
    }
    assert_eq!(asked, keys.len() * 11 * 3);
    insta::assert_snapshot!(told.join("\n"));
}

#[tokio::test]
async fn an_explanation_is_no_use_and_needs_no_living_key() {
    let app = TestApp::new().await;
    let made = create(
        &app,
        &json!({ "name": "A", "rate_limit": { "requests": 1, "per_seconds": 60 } }),
    )
    .await;
    let path = format!("/v1/keys/{}/explain", id_of(&made));
    for _ in 0..5 {
        // Without a body it asks whether the key is accepted at all.
        let explained = app.admin().send("POST", &path, "").await.json();
        assert_eq!(
            (&explained["allowed"], &explained["decided_by"]),
            (&json!(true), &json!("state"))
        );
    }
    app.test.engine.flush_uses().await.unwrap();
    let shown = app
        .admin()
        .get(&format!("/v1/keys/{}", id_of(&made)))
        .await
        .json();
    assert_eq!(shown["last_used_at"], Value::Null);
    assert_eq!(standing(&app, &value_of(&made)).await, "ok", "nothing was spent");
    // A stopped organization decides before all that the key allows.
    app.admin().post("/v1/organizations/org-1/stop", &json!({})).await;
    let stopped = app.admin().send("POST", &path, "").await.json();
    assert_eq!(
        (&stopped["code"], &stopped["decided_by"]),
        (&json!("key_paused"), &json!("organization"))
    );
}

#[tokio::test]
async fn the_moment_of_a_question_is_its_own_to_the_millisecond() {
    let app = TestApp::new().await;
    let body =
        json!({ "name": "A", "not_before": "2026-02-01T00:00:00Z", "expires_at": "2026-03-01T00:00:00Z" });
    let path = format!("/v1/keys/{}/explain", id_of(&create(&app, &body).await));
    for (at, code, decided_by) in [
        ("2026-01-31T23:59:59.999Z", "key_not_yet_valid", "not_before"),
        ("2026-02-01T00:00:00Z", "ok", "state"),
        ("2026-02-28T23:59:59.999Z", "ok", "state"),
        ("2026-03-01T00:00:00Z", "key_expired", "expires_at"),
    ] {
        let explained = app.admin().post(&path, &json!({ "at": at })).await.json();
        assert_eq!(
            (&explained["code"], &explained["decided_by"]),
            (&json!(code), &json!(decided_by)),
            "{at}"
        );
    }
    for (body, fields) in [
        (
            json!({ "operation": "dataset.fly", "resource": "dataset/d1", "address": "home", "at": "soon", "key": "x" }),
            vec!["operation", "resource", "address", "at", "key"],
        ),
        (json!({ "resource": "dataset/d1" }), vec!["resource"]),
        (
            json!({ "operation": "dataset.read", "resource": "moon/d1" }),
            vec!["resource"],
        ),
    ] {
        let refused = app.admin().post(&path, &body).await;
        assert_eq!(refused.problem(), (422, "invalid_fields".to_owned()), "{body}");
        assert_eq!(refused.fields(), fields, "{body}");
    }
}
