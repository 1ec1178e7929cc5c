//! A key with a rate limit: one bucket for everything it is used for, told with every answer.

use axum::routing::MethodFilter;
use keyward_api::problem::RequestCode;
use keyward_core::condition::{AddressRule, RateLimit};
use keyward_core::operation::Operation;
use keyward_engine::create_key::CreatedKey;
use keyward_http::problem::Problem;
use keyward_http::routes::{Guard, OperationOf, ResourceOf, Routes};
use keyward_http::verify::PATH;
use keyward_http::{reply, routes};

use crate::support::{ORGANIZATION, Reply, Setup, TestApp};

const GOOD: &str = "/workspaces/org-1/good";
const BAD: &str = "/workspaces/org-1/bad";
const DELETING: &str = "/workspaces/org-1/deleting";

/// Policy, what is left, and until when.
fn told(reply: &Reply) -> (Option<&str>, Option<&str>, Option<&str>) {
    (
        reply.header("ratelimit-policy"),
        reply.header("ratelimit"),
        reply.header("retry-after"),
    )
}

async fn app() -> TestApp {
    let guard = |operation| Guard {
        operation: OperationOf::Always(operation),
        resource: ResourceOf::Organization,
    };
    let routes = Routes::new()
        .add(
            MethodFilter::GET,
            "/workspaces/{organization}/good",
            guard(Operation::OrganizationRead),
            |_, _| async { Ok(reply::empty()) },
        )
        .add(
            MethodFilter::GET,
            "/workspaces/{organization}/bad",
            guard(Operation::OrganizationRead),
            |_, _: routes::Call| async { Err(Problem::new(RequestCode::Conflict, "it does not fit")) },
        )
        .add(
            MethodFilter::GET,
            "/workspaces/{organization}/deleting",
            guard(Operation::MembersWrite),
            |_, _| async { Ok(reply::empty()) },
        );
    TestApp::with(Setup {
        routes: routes.finish(),
        ..Setup::default()
    })
    .await
}

async fn limited(app: &TestApp, requests: u32) -> CreatedKey {
    app.key_with(|draft| {
        draft.conditions.rate_limit = Some(RateLimit {
            requests,
            per_ms: 60_000,
        });
    })
    .await
}

#[tokio::test]
async fn every_answer_after_the_permit_tells_what_is_left() {
    let app = app().await;
    assert_eq!(ORGANIZATION, "org-1");
    let key = limited(&app, 4).await;
    let caller = app.holder(&key).of(ORGANIZATION);
    let policy = Some("\"key\";q=4;w=60");
    let verified = caller.get(PATH).await;
    assert_eq!(verified.status, 204);
    assert_eq!(told(&verified), (policy, Some("\"key\";r=3;t=15"), None));
    let good = caller.get(GOOD).await;
    assert_eq!(good.status, 204);
    assert_eq!(
        told(&good),
        (policy, Some("\"key\";r=2;t=30"), None),
        "the same bucket"
    );
    let bad = caller.get(BAD).await;
    assert_eq!(bad.problem(), (409, "conflict".to_owned()));
    assert_eq!(told(&bad), (policy, Some("\"key\";r=1;t=45"), None));
    app.test.clock.advance_ms(14_999);
    assert_eq!(told(&caller.get(GOOD).await).1, Some("\"key\";r=0;t=46"));
    app.test.clock.advance_ms(1);
    assert_eq!(caller.get(GOOD).await.status, 204, "one came back after 15 s");

    for path in [PATH, GOOD, BAD] {
        let refused = caller.get(path).await;
        assert_eq!(refused.problem(), (429, "rate_limited".to_owned()));
        assert_eq!(told(&refused), (policy, Some("\"key\";r=0;t=60"), Some("15")));
    }
    app.test.clock.advance_ms(14_999);
    assert_eq!(caller.get(PATH).await.status, 429);
    app.test.clock.advance_ms(1);
    assert_eq!(caller.get(PATH).await.status, 204, "as it was told");
}

#[tokio::test]
async fn a_request_that_is_refused_for_another_reason_spends_nothing() {
    let app = app().await;
    let key = app
        .key_with(|draft| {
            draft.conditions.rate_limit = Some(RateLimit {
                requests: 1,
                per_ms: 60_000,
            });
            draft.conditions.addresses = AddressRule::Only(vec!["198.51.100.0/24".parse().unwrap()]);
        })
        .await;
    let caller = app.holder(&key).of(ORGANIZATION);
    for _ in 0..3 {
        assert_eq!(caller.get(DELETING).await.problem().1, "operation_not_permitted");
        let elsewhere = caller.clone().from("192.0.2.1").get(GOOD).await;
        assert_eq!(elsewhere.problem().1, "address_not_allowed");
        let mismatch = app.holder(&key).of("org-2").get(GOOD).await;
        assert_eq!(mismatch.problem().1, "organization_mismatch");
        assert_eq!(told(&mismatch), (None, None, None));
    }
    assert_eq!(caller.get(GOOD).await.status, 204);
    assert_eq!(caller.get(GOOD).await.status, 429);
    assert_eq!(
        caller.get(DELETING).await.problem().1,
        "operation_not_permitted",
        "what else is wrong is said first"
    );
}

#[tokio::test]
async fn a_key_without_a_limit_is_told_of_none() {
    let app = app().await;
    let key = app.key().await;
    for path in [PATH, GOOD, BAD] {
        let answered = app.holder(&key).of(ORGANIZATION).get(path).await;
        assert_eq!(told(&answered), (None, None, None));
    }
}

#[tokio::test]
async fn a_limit_is_asked_for_and_shown() {
    let app = app().await;
    let limit = serde_json::json!({ "requests": 100, "per_seconds": 60 });
    let body = serde_json::json!({ "name": "A", "rate_limit": limit });
    let made = app.admin().post("/v1/organizations/org-1/keys", &body).await;
    assert_eq!(made.status, 201);
    assert_eq!(made.json()["rate_limit"], limit);
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let shown = app.admin().get(&format!("/v1/keys/{id}")).await;
    assert_eq!(shown.json()["rate_limit"], limit);
    let body = serde_json::json!({ "name": "A" });
    let unlimited = app.admin().post("/v1/organizations/org-1/keys", &body).await;
    assert_eq!(unlimited.json()["rate_limit"], serde_json::Value::Null);
}
