//! Problem documents made from what the layers below say.

use http::Request;
use keyward_api::problem::{ProblemDocument, RequestCode};
use keyward_core::field::FieldProblem;
use keyward_core::random::RandomUnavailable;
use keyward_core::rate::RateStatus;
use keyward_core::refusal::Refusal;
use keyward_engine::EngineError;
use keyward_http::problem::Problem;
use keyward_http::request::RequestInfo;
use keyward_store::StoreError;

use crate::support::{Reply, TestApp, Transcript};

/// A problem as a caller meets it.
async fn rendered(app: &TestApp, problem: Problem) -> Reply {
    let (parts, ()) = Request::builder()
        .uri("/v1/verify")
        .header("organization-id", "org-7")
        .body(())
        .unwrap()
        .into_parts();
    let info = RequestInfo::of(&app.site, &parts, None);
    let (head, body) = problem.into_response(&app.site, &info).into_parts();
    Reply {
        status: head.status.as_u16(),
        headers: head.headers,
        body: http_body_util::BodyExt::collect(body)
            .await
            .unwrap()
            .to_bytes()
            .to_vec(),
    }
}

fn field(name: &str, message: &str) -> FieldProblem {
    FieldProblem {
        field: name.to_owned(),
        message: message.to_owned(),
    }
}

#[tokio::test]
async fn what_the_engine_says_becomes_one_document_each() {
    let app = TestApp::new().await;
    let secret_cause = || StoreError::Unreadable {
        what: "column `sealed`",
    };
    let mut replies = Transcript::default();
    for (name, error) in [
        ("not found", EngineError::NotFound("secret key")),
        (
            "invalid",
            EngineError::Invalid(vec![
                field("name", "is required"),
                field("rules[0]", "must be an object"),
            ]),
        ),
        ("conflict", EngineError::Conflict("it was deleted".to_owned())),
        ("stale", EngineError::Stale { current_version: 7 }),
        (
            "forbidden",
            EngineError::Forbidden("only an Owner may do that".to_owned()),
        ),
        ("refused", EngineError::Refused(Refusal::KeyMissing)),
        ("unavailable", EngineError::Unavailable(secret_cause())),
        ("no lease", EngineError::Unavailable(StoreError::NotTheWriter)),
        ("outcome unknown", EngineError::OutcomeUnknown),
        ("seal broken", EngineError::SealBroken),
        ("no random bytes", EngineError::Random(RandomUnavailable)),
    ] {
        let reply = rendered(&app, error.into()).await;
        assert!(!reply.text().contains("sealed`"), "the cause is for the log");
        replies.add(name, &reply);
    }
    insta::assert_snapshot!(replies.0);
}

#[tokio::test]
async fn whoever_asks_too_often_is_told_when_to_come_back() {
    let app = TestApp::new().await;
    let refusal = Refusal::RateLimited {
        retry_after_seconds: 17,
        status: RateStatus {
            limit: 5,
            period_seconds: 60,
            remaining: 0,
            reset_after_seconds: 59,
        },
    };
    let reply = rendered(&app, refusal.into()).await;
    assert_eq!(reply.problem(), (429, "rate_limited".to_owned()));
    assert_eq!(reply.header("retry-after"), Some("17"));
    assert_eq!(reply.header("ratelimit-policy"), Some("\"key\";q=5;w=60"));
    assert_eq!(reply.header("ratelimit"), Some("\"key\";r=0;t=59"));
}

#[tokio::test]
async fn a_document_reads_back_and_has_errors_only_where_fields_are_wrong() {
    let app = TestApp::new().await;
    for code in RequestCode::ALL {
        let reply = rendered(&app, Problem::new(code, "because")).await;
        let document: ProblemDocument = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!((document.status, reply.status), (code.status(), code.status()));
        assert_eq!(
            (document.code.as_str(), document.title.as_str()),
            (code.name(), code.title())
        );
        assert_eq!(document.message, "because");
        assert!(reply.json().get("errors").is_none());
        assert_eq!(
            reply.header("retry-after").is_some(),
            code.status() == 503,
            "{code:?}"
        );
    }
    let errors = vec![field("name", "is required")];
    let reply = rendered(&app, errors.into()).await;
    assert_eq!(reply.fields(), ["name"]);
}

/// A person who pastes a key into the wrong field must not find it in the answer, which others may read.
#[tokio::test]
async fn a_key_that_stands_in_a_wrong_field_is_not_said_back() {
    let app = TestApp::new().await;
    let value = app.key().await.value.reveal().to_owned();
    let errors = vec![
        field(&value, "is no field of this request"),
        field(
            "rules[0].operations[0]",
            &format!("an operation is a name; got `{value}`"),
        ),
    ];
    let reply = rendered(&app, errors.into()).await;
    assert!(!reply.text().contains(&value[..30]), "{}", reply.text());
    assert_eq!(reply.fields()[0], format!("{}...", &value[..11]));

    let path = "/v1/organizations/org-1/keys";
    let body = serde_json::json!({
        "name": "A", "level": value, "environment": value, "expires_in": value, "allowed_addresses": [value],
        "rules": [{ "operations": [value], "resources": [format!("dataset/{value}/"), value] }], value.clone(): true,
    });
    // That nothing of the key comes back is checked wherever a request is made.
    let refused = app.admin().post(path, &body).await;
    assert_eq!(refused.status, 422);
}
