//! Management tokens, as whoever makes and ends them meets them.

use serde_json::{Value, json};

use crate::support::{TestApp, Transcript};

const TOKENS: &str = "/v1/organizations/org-1/tokens";

#[tokio::test]
async fn a_token_is_made_listed_shown_and_deleted() {
    let app = TestApp::new().await;
    let admin = app.admin();
    let mut replies = Transcript::default();
    let body = json!({"name": "CI", "rights": ["keys:write", "keys:read"], "expires_in": "90d"});
    let made = admin.post(TOKENS, &body).await;
    replies.add("POST tokens", &made);
    replies.add("GET tokens", &admin.get(TOKENS).await);
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let path = format!("{TOKENS}/{id}");
    replies.add("GET token", &admin.get(&path).await);
    replies.add(
        "POST delete",
        &admin.post(&format!("{path}/delete"), &json!({})).await,
    );
    replies.add(
        "POST delete again",
        &admin.post(&format!("{path}/delete"), &json!({})).await,
    );
    replies.add("GET token", &admin.get(&path).await);
    insta::assert_snapshot!(replies.0);
}

#[tokio::test]
async fn a_token_makes_one_within_its_own_bounds() {
    let app = TestApp::new().await;
    let maker = app.token("keys:read,tokens:write").await;
    let manager = app.manager(&maker);
    let beyond = json!({"name": "A", "rights": ["keys:read", "keys:write"]});
    assert_eq!(manager.post(TOKENS, &beyond).await.fields(), ["rights"]);
    let within = json!({"name": "A", "rights": ["keys:read"]});
    let made = manager.post(TOKENS, &within).await;
    assert_eq!(
        (made.status, &made.json()["created_by"]),
        (201, &json!(format!("token/{}", maker.token.record.id)))
    );
    for right in [
        "installation",
        "organization:delete",
        "audit:erase",
        "*",
        "KEYS:READ",
    ] {
        let refused = app
            .admin()
            .post(TOKENS, &json!({"name": "A", "rights": [right]}))
            .await;
        assert_eq!(refused.fields(), ["rights[0]"], "{right}");
    }
}

#[tokio::test]
async fn what_is_none_is_not_found() {
    let app = TestApp::new().await;
    let admin = app.admin();
    let body = json!({"name": "A", "rights": ["verify"]});
    for reply in [
        admin.post("/v1/organizations/none/tokens", &body).await,
        admin.get("/v1/organizations/none/tokens").await,
        admin.get(&format!("{TOKENS}/0123456789abcdef")).await,
        admin.get(&format!("{TOKENS}/x")).await,
        admin
            .post(&format!("{TOKENS}/0123456789abcdef/delete"), &json!({}))
            .await,
    ] {
        assert_eq!(reply.problem(), (404, "not_found".to_owned()));
    }
    assert_eq!(admin.get(TOKENS).await.json()["items"], Value::Array(Vec::new()));
}

#[tokio::test]
async fn without_its_database_no_token_is_accepted_and_none_called_unknown() {
    let app = TestApp::new().await;
    let token = app.token("keys:read").await;
    app.test.engine.store().close().await;
    let reply = app.manager(&token).get("/v1/me").await;
    assert_eq!(reply.problem(), (503, "token_check_unavailable".to_owned()));
}
