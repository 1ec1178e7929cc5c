//! The management API, as whoever may open its socket meets it.

mod keyring;
mod keys;
mod organizations;
mod people;
mod principals;
mod restore;
mod status;
mod tokens;
mod verdicts;

use serde_json::json;

use crate::support::{TestApp, Transcript};

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
