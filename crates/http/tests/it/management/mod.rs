//! The management API, as whoever may open its socket meets it.

mod audit;
mod contacts;
mod key_bulk;
mod key_changes;
mod key_questions;
mod key_values;
mod keyring;
mod keys;
mod matrix;
mod nodes;
mod organizations;
mod people;
mod principals;
mod restore;
mod status;
mod tokens;
mod usage;
mod verdicts;

use keyward_http::verify;
use serde_json::{Value, json};

use crate::support::{Reply, TestApp, Transcript};

/// The path of the keys of the tests' organization.
const KEYS: &str = "/v1/organizations/org-1/keys";

/// Makes a key as the local administrator does.
async fn create(app: &TestApp, body: &Value) -> Reply {
    let reply = app.admin().post(KEYS, body).await;
    assert_eq!(reply.status, 201, "{body}: {}", reply.text());
    reply
}

fn id_of(reply: &Reply) -> String {
    reply.json()["id"].as_str().unwrap().to_owned()
}

fn value_of(reply: &Reply) -> String {
    reply.json()["value"].as_str().unwrap().to_owned()
}

/// What the holder of a value is answered: `ok` or the code of the refusal.
async fn standing(app: &TestApp, value: &str) -> String {
    let reply = app.bearer(value).of("org-1").get(verify::PATH).await;
    match reply.status {
        204 => "ok".to_owned(),
        _ => reply.problem().1,
    }
}

#[tokio::test]
async fn what_no_management_route_answers_is_a_problem_too() {
    let app = TestApp::new().await;
    let mut replies = Transcript::default();
    replies.add("GET /v1/nothing", &app.admin().get("/v1/nothing").await);
    replies.add(
        "DELETE /v1/organizations",
        &app.admin().send("DELETE", "/v1/organizations", "").await,
    );
    insta::assert_snapshot!(replies.0);
}

#[tokio::test]
async fn without_its_database_management_says_so_and_says_when_to_come_back() {
    let app = TestApp::new().await;
    let id = app.key().await.key.record.id;
    app.test.engine.store().close().await;
    let admin = app.admin();
    let organization = json!({ "name": "A", "owner_email": "owner@example.com" });
    for reply in [
        admin.get("/v1/organizations").await,
        admin.get("/v1/organizations/org-1").await,
        admin.post("/v1/organizations", &organization).await,
        admin.get("/v1/organizations/org-1/keys").await,
        admin
            .post("/v1/organizations/org-1/keys", &json!({ "name": "A" }))
            .await,
        admin.get(&format!("/v1/keys/{id}")).await,
        admin.post(&format!("/v1/keys/{id}/delete"), &json!({})).await,
        admin.post("/v1/restore/accept-old-state", &json!({})).await,
    ] {
        assert_eq!(reply.problem(), (503, "unavailable".to_owned()));
        assert_eq!(reply.header("retry-after"), Some("1"));
    }
}
