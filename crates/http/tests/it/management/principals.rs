//! Who is let in at which door, and for what.

use keyward_http::management::route_table;
use keyward_testkit::clock::START;
use keyward_testkit::forgery::with_other_secret;
use serde_json::{Value, json};

use crate::support::{Caller, TestApp};

const KEYS: &str = "/v1/organizations/org-1/keys";
const EVERY_RIGHT: &str = "organization:read,organization:write,keys:read,keys:write,members:read,members:write,\
                           tokens:read,tokens:write,audit:read,verify";

/// A path of the table with ids of things of `org-1`.
fn filled(path: &str, key: &str, token: &str) -> String {
    path.replace("{organization}", "org-1")
        .replace("{key}", key)
        .replace("{token}", token)
        .replace("{person}", SOMEBODY)
        .replace("{invitation}", INVITATION)
}

/// Ids that name nobody and nothing in `org-1`.
const SOMEBODY: &str = "p-somebody";
const INVITATION: &str = "i-1";

#[tokio::test]
async fn nothing_of_another_organization_is_there() {
    let app = TestApp::new().await;
    let other = app.test.organization("org-2").await;
    let stranger = app.manager(&app.token_of(&other, EVERY_RIGHT, None).await);
    let key = app.key().await;
    let token = app.token("keys:read").await;
    for row in route_table() {
        let path = filled(
            row.path,
            key.key.record.id.as_str(),
            token.token.record.id.as_str(),
        );
        if path == row.path {
            continue;
        }
        // What a change asks for before it looks is there, so that each goes as far as it can.
        let stranger = stranger.clone().with("if-match", "*");
        let reply = stranger.send(row.method.as_str(), &path, "{}").await;
        assert_eq!(
            reply.problem(),
            (404, "not_found".to_owned()),
            "{} {path}",
            row.method
        );
        // Word for word what is said of what does not exist.
        let absent = path
            .replace("org-1", "org-9")
            .replace(key.key.record.id.as_str(), "0123456789abcdef");
        let reply_of_absent = stranger.send(row.method.as_str(), &absent, "{}").await;
        assert_eq!(reply.message(), reply_of_absent.message(), "{path}");
    }
    assert_eq!(app.test.verify(key.value.reveal()).await, Ok(()));
    let listed = stranger.get("/v1/organizations").await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert_eq!(listed["items"][0]["id"], "org-2");
}

#[tokio::test]
async fn what_is_no_accepted_token_is_told_apart() {
    let app = TestApp::new().await;
    let key = app.key().await;
    let token = app.token("keys:read").await;
    let value = token.value.reveal().to_owned();
    let ending = app
        .token_of(&app.organization, "keys:read", Some(START.plus_ms(1_000)))
        .await;
    let deleted = app.token("keys:read").await;
    let delete = app.test.engine.delete_token(
        keyward_testkit::engine::context(),
        app.organization.clone(),
        deleted.token.record.id,
    );
    delete.await.unwrap();
    app.test.clock.advance_ms(1_000);
    let forged = with_other_secret(&value);
    let half = &value[..60];
    for (sent, code) in [
        (key.value.reveal(), "secret_key_sent"),
        (&key.value.reveal()[..40], "secret_key_sent"),
        ("\"dtvi_x\"", "secret_key_sent"),
        ("xyz_abc", "token_malformed"),
        (half, "token_malformed"),
        (&format!("{value} "), "token_malformed"),
        (&forged, "token_unknown"),
        (deleted.value.reveal(), "token_deleted"),
        (ending.value.reveal(), "token_expired"),
    ] {
        let refused = app.bearer(sent).get(KEYS).await;
        assert_eq!(refused.problem(), (401, code.to_owned()));
    }
    let basic = app.nobody().with("authorization", "Basic abc").get(KEYS).await;
    assert_eq!(basic.problem(), (401, "token_missing".to_owned()));
    let no_text = app
        .nobody()
        .with("authorization", b"Bearer kwmt_\xff\xfe")
        .get(KEYS)
        .await;
    assert_eq!(no_text.problem(), (401, "token_malformed".to_owned()));
    let twice = app
        .manager(&token)
        .with("authorization", "Bearer x")
        .get(KEYS)
        .await;
    assert_eq!(twice.problem(), (400, "bad_request".to_owned()));
    let in_url = app.nobody().get(&format!("{KEYS}?token={value}")).await;
    assert_eq!(in_url.problem(), (400, "bad_request".to_owned()));
    assert_eq!(app.manager(&token).get(KEYS).await.status, 200);
    // What is pasted into a path comes back masked, which every reply is checked for.
    app.manager(&token).get(&format!("/v1/keys/{value}")).await;
}

#[tokio::test]
async fn a_management_token_opens_nothing_that_a_key_opens() {
    let app = TestApp::new().await;
    let token = app.token("verify").await;
    let refused = app.manager(&token).of("org-1").get("/v1/verify").await;
    assert_eq!(refused.problem(), (401, "key_malformed".to_owned()));
    let message = refused.message();
    assert!(message.contains("management token"), "{message}");
}

#[tokio::test]
async fn a_deleted_token_is_refused_on_the_next_request() {
    let app = TestApp::new().await;
    let token = app.token("keys:read,tokens:write").await;
    let id = token.token.record.id;
    assert_eq!(app.manager(&token).get(KEYS).await.status, 200);
    // It may end itself.
    let path = format!("/v1/organizations/org-1/tokens/{id}/delete");
    let ended = app.manager(&token).post(&path, &json!({})).await;
    assert_eq!(
        ended.json(),
        json!({"id": id.to_string(), "state": "deleted", "changed": true})
    );
    let refused = app.manager(&token).get(KEYS).await;
    assert_eq!(refused.problem(), (401, "token_deleted".to_owned()));
}

#[tokio::test]
async fn a_token_that_ends_while_its_body_comes_does_nothing() {
    let app = TestApp::new().await;
    let token = app.token("keys:write,tokens:write").await;
    let (organization, id) = (app.organization.clone(), token.token.record.id);
    let engine = app.test.engine.clone();
    // The body's first part comes after the token was let in; with it the token ends.
    let body = futures_util::stream::once(async move {
        let deleting = engine.delete_token(keyward_testkit::engine::context(), organization, id);
        deleting.await.unwrap();
        Ok::<_, std::io::Error>(r#"{"name": "too late"}"#)
    });
    let late = app
        .manager(&token)
        .send("POST", KEYS, axum::body::Body::from_stream(body))
        .await;
    assert_eq!(late.problem(), (401, "token_deleted".to_owned()));
    assert_eq!(app.admin().get(KEYS).await.json()["items"], json!([]));
}

/// The local administrator in a member's place.
pub(super) fn acting(app: &TestApp, person: &str) -> Caller {
    app.admin().with("keyward-act-as", person)
}

/// Adds a member with this role and this id past the engine, which draws ids.
pub(super) async fn member(app: &TestApp, person: &str, role: &str) {
    let id = person.parse().unwrap();
    let mut tx = app.test.engine.store().begin().await.unwrap();
    let email = format!("{person}@example.com").parse().unwrap();
    let role = keyward_core::role::Role::from_name(role).unwrap();
    tx.person_with_email(&email, &id, START).await.unwrap();
    tx.insert_member(&app.organization, &id, role, START)
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_member_in_whose_place_the_administrator_acts_has_their_role_and_their_name_in_the_trail() {
    let app = TestApp::new().await;
    member(&app, "ada", "admin").await;
    member(&app, "mel", "member").await;
    let ada = acting(&app, "ada@example.com");
    let made = ada.post(KEYS, &json!({"name": "A"})).await;
    assert_eq!(
        (made.status, &made.json()["created_by"]),
        (201, &json!("person/ada"))
    );
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let deleted = acting(&app, "ada")
        .post(&format!("/v1/keys/{id}/delete"), &json!({}))
        .await;
    assert_eq!(deleted.status, 200);
    let chain = app.test.engine.store().list_audit("org-1", 0, 10).await.unwrap();
    let actors: Vec<&str> = chain.iter().map(|entry| entry.actor.as_str()).collect();
    assert_eq!(
        actors,
        [
            "local_administrator",
            "local_administrator",
            "person/ada",
            "person/ada"
        ],
        "who made the organization, who acts as Ada and is told once, and what was done in her name"
    );

    let me = ada
        .with("keyward-organization", "org-1")
        .get("/v1/me")
        .await
        .json();
    assert_eq!((&me["kind"], &me["role"]), (&json!("person"), &json!("admin")));
    // A Member does not learn what there is to manage; what concerns the installation is nobody's in an organization.
    let mel = acting(&app, "mel");
    for path in [
        KEYS,
        "/v1/organizations/org-1/tokens",
        "/v1/status",
        &format!("/v1/keys/{id}"),
    ] {
        assert_eq!(
            mel.get(path).await.problem(),
            (404, "not_found".to_owned()),
            "{path}"
        );
    }
    assert_eq!(mel.get("/v1/organizations/org-1").await.status, 200);
    assert!(
        mel.get("/v1/organizations/org-1")
            .await
            .json()
            .get("members")
            .is_none()
    );
    let status = acting(&app, "owner@example.com").get("/v1/status").await;
    assert_eq!(status.problem(), (403, "right_missing".to_owned()));
}

#[tokio::test]
async fn whoever_is_no_member_is_not_acted_as() {
    let app = TestApp::new().await;
    app.test.organization("org-2").await;
    member(&app, "ada", "admin").await;
    let unknown = (403, "actor_unknown".to_owned());
    for refused in [
        acting(&app, "eve@example.com").get(KEYS).await,
        acting(&app, "").get(KEYS).await,
        acting(&app, "ada").get("/v1/organizations/org-2/keys").await,
        acting(&app, "ada")
            .with("keyward-organization", "org-2")
            .get("/v1/me")
            .await,
        acting(&app, "ada")
            .with("keyward-organization", "a b")
            .get("/v1/me")
            .await,
        // The Owner of both.
        acting(&app, "owner@example.com").get("/v1/me").await,
    ] {
        assert_eq!(refused.problem(), unknown);
    }
    let elsewhere = acting(&app, "ada")
        .with("keyward-organization", "org-1")
        .get("/v1/organizations/org-2/keys")
        .await;
    assert_eq!(elsewhere.problem(), (404, "not_found".to_owned()));
    let twice = acting(&app, "ada").with("keyward-act-as", "ada").get(KEYS).await;
    assert_eq!(twice.problem(), (400, "acting_not_accepted".to_owned()));
}

#[tokio::test]
async fn over_the_network_nobody_acts_as_somebody() {
    let app = TestApp::new().await;
    member(&app, "ada", "admin").await;
    let token = app.token("keys:read").await;
    for caller in [app.nobody(), app.manager(&token)] {
        let refused = caller.with("keyward-act-as", "ada").get(KEYS).await;
        assert_eq!(refused.problem(), (400, "acting_not_accepted".to_owned()));
    }
    let named = app
        .manager(&token)
        .with("keyward-organization", "org-2")
        .get(KEYS)
        .await;
    assert_eq!(named.status, 200, "the token says whose it is");
}

#[tokio::test]
async fn who_am_i() {
    let app = TestApp::new().await;
    let end = START.plus_ms(1_000);
    let token = app
        .token_of(&app.organization, "keys:read,verify", Some(end))
        .await;
    let me = app.manager(&token).get("/v1/me").await.json();
    let expected = json!({
        "kind": "token",
        "actor": format!("token/{}", token.token.record.id),
        "name": "A token of a test",
        "organization_id": "org-1",
        "role": null,
        "rights": ["keys:read", "verify"],
        "expires_at": "2026-01-01T00:00:01Z",
    });
    assert_eq!(me, expected);
    let me = app.admin().get("/v1/me").await.json();
    assert_eq!(
        (&me["kind"], &me["organization_id"]),
        (&json!("local_administrator"), &Value::Null)
    );
}

#[tokio::test]
async fn a_token_that_asks_too_often_waits_and_others_do_not() {
    let app = TestApp::new().await;
    let token = app.token("keys:read,verify").await;
    let other = app.token("keys:read").await;
    let manager = app.manager(&token);
    let first = manager.get("/v1/me").await;
    assert_eq!(
        first.header("ratelimit-policy"),
        Some("\"management\";q=200;w=10")
    );
    assert_eq!(first.header("ratelimit"), Some("\"management\";r=199;t=1"));
    for _ in 0..199 {
        assert_eq!(manager.get("/v1/me").await.status, 200);
    }
    let refused = manager.get("/v1/me").await;
    assert_eq!(refused.problem(), (429, "too_many_requests".to_owned()));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refused.header("ratelimit"), Some("\"management\";r=0;t=1"));
    assert_eq!(app.manager(&other).get("/v1/me").await.status, 200);
    // Verifying is what a token with that right is for all day.
    let verdict = manager.post("/v1/verify", &json!({"key": "x"})).await;
    assert_eq!(verdict.status, 200);
    assert_eq!(verdict.header("ratelimit"), None);
    app.test.clock.advance_ms(50);
    assert_eq!(manager.get("/v1/me").await.status, 200);
}
