use serde_json::json;

use crate::support::{TestApp, Transcript};

const PATH: &str = "/v1/organizations";

#[tokio::test]
async fn an_organization_is_created_listed_and_shown() {
    let app = TestApp::new().await;
    let admin = app.admin();
    let mut replies = Transcript::default();
    let body = json!({ "name": "Müller & Töchter", "id": "org-acme", "owner_email": "ada@example.com" });
    replies.add("create", &admin.post(PATH, &body).await);
    replies.add("list", &admin.get(PATH).await);
    replies.add("show", &admin.get("/v1/organizations/org-acme").await);
    insta::assert_snapshot!(replies.0);
}

#[tokio::test]
async fn an_id_is_drawn_where_none_is_asked_for() {
    let app = TestApp::new().await;
    let admin = app.admin();
    let mut drawn = Vec::new();
    for body in [
        json!({ "name": "A", "owner_email": "a@b" }),
        json!({ "name": "A", "owner_email": "a@b", "id": null }),
    ] {
        let made = admin.post(PATH, &body).await;
        assert_eq!(made.status, 201, "{made:?}");
        let id = made.json()["id"].as_str().unwrap().to_owned();
        let shown = admin.get(&format!("{PATH}/{id}")).await;
        assert_eq!(shown.json()["name"], "A");
        drawn.push(id);
    }
    assert_ne!(drawn[0], drawn[1]);
    assert!(
        drawn
            .iter()
            .all(|id| id.len() == "org-".len() + 12 && id.starts_with("org-"))
    );
}

#[tokio::test]
async fn an_id_is_given_once() {
    let app = TestApp::new().await;
    let body = json!({ "name": "Another", "id": "org-1", "owner_email": "eve@example.com" });
    let refused = app.admin().post(PATH, &body).await;
    insta::assert_snapshot!(refused.shown());
    let shown = app.admin().get("/v1/organizations/org-1").await.json();
    assert_eq!(shown["name"], "The organization org-1");
    assert_eq!(shown["members"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_request_that_is_not_accepted_says_all_that_is_wrong_and_changes_nothing() {
    let app = TestApp::new().await;
    let admin = app.admin();
    let mut replies = Transcript::default();
    for body in [
        json!({}),
        json!({ "name": 1, "id": "a_b", "owner_email": ["x"], "owner": "x", "admin": true }),
        json!({ "name": "", "owner_email": "nobody" }),
    ] {
        let refused = admin.post(PATH, &body).await;
        assert_eq!(refused.problem(), (422, "invalid_fields".to_owned()));
        replies.add(&body.to_string(), &refused);
    }
    insta::assert_snapshot!(replies.0);
    for email in [
        "",
        "@",
        "a@",
        "@b",
        "a b@c",
        "a@b c",
        "a@b\n",
        &format!("{}@b", "a".repeat(254)),
    ] {
        let body = json!({ "name": "A", "owner_email": email });
        let refused = admin.post(PATH, &body).await;
        assert_eq!(refused.fields(), ["owner_email"], "{email:?}");
    }
    let list = admin.get(PATH).await.json();
    assert_eq!(list["items"].as_array().unwrap().len(), 1, "the test's own");
}

/// A name or an address that is a text but no good one is told together with what could not be read.
#[tokio::test]
async fn what_is_no_good_comes_with_what_could_not_be_read() {
    let app = TestApp::new().await;
    let body = json!({ "name": "", "owner_email": "nobody", "id": "a_b" });
    assert_eq!(
        app.admin().post(PATH, &body).await.fields(),
        ["name", "id", "owner_email"]
    );
}

#[tokio::test]
async fn a_list_is_walked_page_by_page() {
    let app = TestApp::new().await;
    for number in 2..=5 {
        app.test.organization(&format!("org-{number}")).await;
    }
    let mut seen = Vec::new();
    let mut path = format!("{PATH}?limit=2");
    loop {
        let page = app.admin().get(&path).await.json();
        let items = page["items"].as_array().unwrap();
        assert!(!items.is_empty() && items.len() <= 2);
        seen.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        let Some(cursor) = page["next"].as_str() else {
            break;
        };
        path = format!("{PATH}?limit=2&cursor={cursor}");
    }
    assert_eq!(seen, ["org-1", "org-2", "org-3", "org-4", "org-5"]);
}

#[tokio::test]
async fn what_is_no_organization_is_not_found() {
    let app = TestApp::new().await;
    for id in [
        "org-2", "..", "%2e%2e", "a%2fb", "a_b", "-", "a%20b", "%00", "ORG-1", "*", "%27",
    ] {
        for path in [format!("{PATH}/{id}"), format!("{PATH}/{id}/keys")] {
            let refused = app.admin().get(&path).await;
            assert_eq!(refused.problem(), (404, "not_found".to_owned()), "{path}");
        }
        let refused = app
            .admin()
            .post(&format!("{PATH}/{id}/keys"), &json!({ "name": "A" }))
            .await;
        assert_eq!(refused.problem(), (404, "not_found".to_owned()), "{id}");
    }
    for path in [format!("{PATH}/%ff"), format!("{PATH}/a/b"), format!("{PATH}/")] {
        let refused = app.admin().get(&path).await;
        assert_eq!(refused.problem(), (404, "no_such_route".to_owned()), "{path}");
    }
}
