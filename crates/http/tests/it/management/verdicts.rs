//! What a server whose callers hold keys is told.

use keyward_core::access::Permission;
use keyward_core::condition::AddressRule;
use keyward_testkit::engine::{context, draft};
use keyward_testkit::forgery::with_other_secret;
use serde_json::{Value, json};

use crate::log::Log;
use crate::support::{Caller, TestApp};

async fn ask(caller: &Caller, question: Value) -> Value {
    let reply = caller.post("/v1/verify", &question).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

#[tokio::test]
async fn a_key_is_accepted_with_what_it_is_or_refused_with_what_would_help() {
    let app = TestApp::new().await;
    let server = app.manager(&app.token("verify").await);
    let key = app
        .key_with(|draft| draft.permission = Permission::ReadOnly)
        .await;
    let (id, value) = (key.key.record.id.to_string(), key.value.reveal());
    let accepted = json!({
        "allowed": true, "code": "ok", "message": "The secret key may do this.", "key_id": id, "organization_id": "org-1",
        "scopes": ["dataset", "training", "deployment"], "level": "read_only",
    });
    assert_eq!(ask(&server, json!({"key": value})).await, accepted);
    for resource in ["dataset", "dataset/abc"] {
        let question = json!({"key": value, "operation": "dataset.read", "resource": resource});
        assert_eq!(ask(&server, question).await, accepted, "{resource}");
    }
    let write = json!({"key": value, "operation": "dataset.write", "resource": "dataset/*"});
    let refused = ask(&server, write).await;
    assert_eq!(
        (
            &refused["allowed"],
            &refused["code"],
            &refused["key_id"],
            &refused["organization_id"]
        ),
        (
            &json!(false),
            &json!("operation_not_permitted"),
            &json!(id),
            &json!("org-1")
        )
    );
    assert_eq!(refused["scopes"], Value::Null);
    assert!(refused["message"].as_str().unwrap().contains("`dataset.write`"));
}

#[tokio::test]
async fn the_address_is_the_one_that_the_server_saw() {
    let app = TestApp::new().await;
    let server = app.manager(&app.token("verify").await);
    let only = AddressRule::Only(vec!["203.0.113.0/24".parse().unwrap()]);
    let key = app.key_with(|draft| draft.conditions.addresses = only).await;
    let value = key.value.reveal();
    for (address, code) in [
        (json!("203.0.113.9"), "ok"),
        (json!("::ffff:203.0.113.9"), "ok"),
        (json!("198.51.100.7"), "address_not_allowed"),
        (Value::Null, "address_not_allowed"),
    ] {
        let verdict = ask(&server, json!({"key": value, "address": address})).await;
        assert_eq!(verdict["code"], code, "{address}");
    }
}

#[tokio::test]
async fn several_questions_have_their_answers_in_order_and_none_spoils_the_others() {
    let app = TestApp::new().await;
    let server = app.manager(&app.token("verify").await);
    let good = app.key().await;
    let ended = app.key().await;
    app.test
        .delete(&app.organization, ended.key.record.id)
        .await
        .unwrap();
    let forged = with_other_secret(good.value.reveal());
    app.remember(&forged);
    let token = app.token("keys:read").await;
    let questions: Vec<Value> = [
        good.value.reveal(),
        "",
        "no key",
        &forged,
        ended.value.reveal(),
        token.value.reveal(),
        good.value.reveal(),
    ]
    .iter()
    .map(|key| json!({"key": key}))
    .collect();
    let answer = ask(&server, json!({"items": questions})).await;
    let items = answer["items"].as_array().unwrap();
    let told: Vec<(&str, bool)> = items
        .iter()
        .map(|item| (item["code"].as_str().unwrap(), item["key_id"].is_string()))
        .collect();
    assert_eq!(
        told,
        [
            ("ok", true),
            ("key_malformed", false),
            ("key_malformed", false),
            ("key_unknown", false),
            ("key_deleted", true),
            ("key_malformed", false),
            ("ok", true),
        ]
    );
    let many: Vec<Value> = (0..100).map(|_| json!({"key": good.value.reveal()})).collect();
    let answer = ask(&server, json!({"items": many})).await;
    assert!(
        answer["items"]
            .as_array()
            .unwrap()
            .iter()
            .all(|item| item["allowed"] == true)
    );
}

#[tokio::test]
async fn nothing_is_told_of_a_key_of_another_organization() {
    let app = TestApp::new().await;
    let server = app.manager(&app.token("verify").await);
    let other = app.test.organization("org-2").await;
    let theirs = app
        .test
        .engine
        .create_key(
            context(),
            other.clone(),
            draft(keyward_core::scope::ScopeSet::ALL, Permission::Full),
        )
        .await
        .unwrap();
    app.remember(theirs.value.reveal());
    let question = json!({"key": theirs.value.reveal(), "operation": "dataset.read", "resource": "dataset"});
    let before = ask(&server, question.clone()).await;
    assert_eq!(
        (&before["code"], &before["key_id"], &before["organization_id"]),
        (&json!("organization_mismatch"), &Value::Null, &Value::Null)
    );
    assert!(!before.to_string().contains("org-2"));
    app.test.delete(&other, theirs.key.record.id).await.unwrap();
    assert_eq!(ask(&server, question).await, before, "not even that it ended");
}

#[tokio::test]
async fn a_question_that_can_not_be_read_is_refused_as_a_whole_and_says_back_no_key() {
    let app = TestApp::new().await;
    let server = app.manager(&app.token("verify").await);
    let key = app.key().await;
    let refused = server
        .post(
            "/v1/verify",
            &json!({"items": [{"key": key.value.reveal(), "operation": "fly"}, {"keys": key.value.reveal()}]}),
        )
        .await;
    assert_eq!(refused.status, 422);
    assert_eq!(
        refused.fields(),
        ["items[0].operation", "items[1].key", "items[1].keys"]
    );
    // Every reply is checked for keys.
    let misplaced = server.post("/v1/verify", &json!({ key.value.reveal(): 1 })).await;
    assert_eq!(misplaced.status, 422);
}

#[tokio::test]
async fn a_check_that_can_not_be_made_is_no_allow() {
    let app = TestApp::new().await;
    let key = app.key().await;
    app.test.engine.cache().clear();
    // The socket's caller needs no database to be known.
    app.test.engine.store().close().await;
    let verdict = ask(&app.admin(), json!({"key": key.value.reveal()})).await;
    assert_eq!(
        (&verdict["allowed"], &verdict["code"]),
        (&json!(false), &json!("store_unavailable"))
    );
}

#[tokio::test]
async fn the_log_has_who_asked_and_the_claimed_address_and_no_key() {
    let app = TestApp::new().await;
    let token = app.token("verify").await;
    let server = app.manager(&token);
    let key = app.key().await;
    app.test
        .delete(&app.organization, key.key.record.id)
        .await
        .unwrap();
    let (log, _following) = Log::follow();
    ask(
        &server,
        json!({"key": key.value.reveal(), "address": "203.0.113.9"}),
    )
    .await;
    app.bearer(&format!("{}x", token.value.reveal()))
        .get("/v1/me")
        .await;
    let lines = log.lines_with("a key was refused to a server that asked");
    let [line] = lines.as_slice() else {
        panic!("{lines:?}")
    };
    let actor = format!("token/{}", token.token.record.id);
    for part in [
        actor.as_str(),
        key.key.record.id.as_str(),
        "client.claimed_address=203.0.113.9",
        "outcome=key_deleted",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    let finished = log.lines_with("request finished");
    assert_eq!(finished.len(), 2);
    assert!(
        finished[0].contains(&format!("token.id={}", token.token.record.id)),
        "{finished:?}"
    );
    app.assert_no_key_in(&log.lines_with("").join("\n"));
}
