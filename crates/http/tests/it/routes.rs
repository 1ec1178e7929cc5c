//! The kit that every key-authenticated route is made of, on routes of the test's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::response::Response;
use axum::routing::MethodFilter;
use http::StatusCode;
use keyward_core::operation::Operation;
use keyward_core::resource::ResourceType;
use keyward_core::rule::Rule;
use keyward_core::scope::{Scope, ScopeSet};
use keyward_engine::create_key::CreatedKey;
use keyward_engine::permit::Permit;
use keyward_http::problem::Problem;
use keyward_http::reply;
use keyward_http::routes::{Call, Guard, OperationOf, ResourceOf, Routes};
use keyward_testkit::engine::Permission;

use crate::support::{ORGANIZATION, Setup, TestApp, Transcript};

const DATASETS: &str = "/workspaces/org-1/datasets";

/// A site with a few routes, and how often one of their handlers was called.
struct Probed {
    app: TestApp,
    calls: Arc<AtomicUsize>,
}

impl Probed {
    async fn new() -> Self {
        let calls = Arc::new(AtomicUsize::new(0));
        let always = |operation, resource| Guard {
            operation: OperationOf::Always(operation),
            resource,
        };
        let tell = {
            let calls = Arc::clone(&calls);
            move |permit: Permit, call: Call| {
                calls.fetch_add(1, Ordering::SeqCst);
                async move { tell(&permit, &call) }
            }
        };
        let routes = Routes::new()
            .add(
                MethodFilter::GET,
                "/workspaces/{organization}/datasets/{dataset}",
                always(Operation::DatasetRead, ResourceOf::Dataset),
                tell.clone(),
            )
            .add(
                MethodFilter::DELETE,
                "/workspaces/{organization}/datasets/{dataset}",
                always(Operation::DatasetDelete, ResourceOf::Dataset),
                tell.clone(),
            )
            .add(
                MethodFilter::POST,
                "/workspaces/{organization}/datasets",
                always(Operation::DatasetWrite, ResourceOf::New(ResourceType::Dataset)),
                tell.clone(),
            )
            .add(
                MethodFilter::GET,
                "/workspaces/{organization}/members",
                always(Operation::MembersWrite, ResourceOf::Organization),
                tell.clone(),
            )
            .add(
                MethodFilter::GET,
                "/workspaces/{organization}/runs/{run}",
                Guard {
                    operation: OperationOf::ByContents(Operation::TrainingRead, Operation::ModelDownload),
                    resource: ResourceOf::Item(ResourceType::Run, "run"),
                },
                tell,
            )
            .add(
                MethodFilter::GET,
                "/panics/in-its-future",
                always(Operation::OrganizationRead, ResourceOf::Organization),
                |_, _| async { panic!("a defect with dtvi_MDEyMzQ1Njc4OWFiY2RlZg in its words") },
            )
            .add(
                MethodFilter::GET,
                "/panics/before-its-future",
                always(Operation::OrganizationRead, ResourceOf::Organization),
                |_, call| {
                    assert!(call.path("organization").len() == 1, "a defect");
                    async { Ok(reply::empty()) }
                },
            );
        let app = TestApp::with(Setup {
            routes: routes.finish(),
            ..Setup::default()
        })
        .await;
        Self { app, calls }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    async fn restricted(&self, operation: &str, resource: &str) -> CreatedKey {
        let rule = Rule {
            operations: vec![operation.parse().unwrap()],
            resources: vec![resource.parse().unwrap()],
        };
        self.app
            .key_with(|draft| draft.permission = Permission::Restricted(vec![rule]))
            .await
    }
}

/// What a handler was given.
fn tell(permit: &Permit, call: &Call) -> Result<Response, Problem> {
    let told = serde_json::json!({
        "organization": permit.organization_id(),
        "operation": permit.operation().name(),
        "resource": format!("{:?}", permit.resource()),
        "dataset": call.path("dataset"),
        "nothing": call.path("nothing"),
        "address": call.request.address.to_string(),
        "acts_as_the_key": call.context.actor == permit.actor(),
        "one_request_id": call.context.request_id == call.request.id,
    });
    reply::json(StatusCode::OK, &told)
}

#[tokio::test]
async fn a_handler_is_given_what_was_decided() {
    let probed = Probed::new().await;
    let caller = probed.app.holder(&probed.app.key().await).of(ORGANIZATION);
    let reply = caller.get("/workspaces/org-1/datasets/org-1_d%201").await;
    insta::assert_snapshot!(reply.shown());
    assert_eq!(probed.calls(), 1);
    let head = caller.send("HEAD", "/workspaces/org-1/datasets/d1", "").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[tokio::test]
async fn a_handler_is_not_called_for_whoever_is_refused() {
    let probed = Probed::new().await;
    let app = &probed.app;
    let mut replies = Transcript::default();
    let full = app.key().await;
    let value = full.value.reveal().to_owned();
    let training = app
        .key_with(|draft| draft.scopes = ScopeSet::NONE.with(Scope::Training))
        .await;
    let reader = app
        .key_with(|draft| draft.permission = Permission::ReadOnly)
        .await;
    let rules = probed.restricted("dataset.read", "dataset/d1").await;
    let d1 = &format!("{DATASETS}/d1");

    let cases = [
        ("GET", d1.as_str(), app.nobody().of(ORGANIZATION), "no key"),
        ("GET", d1, app.bearer(&value[..60]).of(ORGANIZATION), "a cut key"),
        (
            "GET",
            d1,
            app.holder(&full).of(ORGANIZATION).of(ORGANIZATION),
            "a doubled header",
        ),
        ("GET", d1, app.holder(&full), "no organization id"),
        ("GET", d1, app.holder(&full).of(""), "an empty organization id"),
        (
            "GET",
            d1,
            app.holder(&full).of("org-2"),
            "another organization in the header",
        ),
        (
            "GET",
            "/workspaces/org-2/datasets/d1",
            app.holder(&full).of(ORGANIZATION),
            "another organization in the path",
        ),
        (
            "GET",
            "/workspaces/org-2/datasets/d1",
            app.holder(&full).of("org-2"),
            "another organization in both",
        ),
        (
            "GET",
            d1,
            app.holder(&training).of(ORGANIZATION),
            "without the scope",
        ),
        (
            "DELETE",
            d1,
            app.holder(&reader).of(ORGANIZATION),
            "without the level",
        ),
        (
            "GET",
            "/workspaces/org-1/members",
            app.holder(&full).of(ORGANIZATION),
            "what no key may",
        ),
        (
            "DELETE",
            d1,
            app.holder(&rules).of(ORGANIZATION),
            "no rule for the operation",
        ),
        (
            "GET",
            "/workspaces/org-1/datasets/d2",
            app.holder(&rules).of(ORGANIZATION),
            "no rule for the dataset",
        ),
    ];
    for (method, path, caller, why) in cases {
        let refused = caller.send(method, path, crate::body::never_read()).await;
        assert!((400..404).contains(&refused.status), "{why}: {refused:?}");
        replies.add(&format!("{method} {path}: {why}"), &refused);
    }
    assert_eq!(probed.calls(), 0);
    insta::assert_snapshot!(replies.0);

    let allowed = app.holder(&rules).of(ORGANIZATION).get(d1).await;
    assert_eq!((allowed.status, probed.calls()), (200, 1));
}

#[tokio::test]
async fn a_dataset_is_the_same_with_its_own_organization_before_it_and_no_other() {
    let probed = Probed::new().await;
    let rules = probed.restricted("dataset.read", "dataset/d1").await;
    let caller = probed.app.holder(&rules).of(ORGANIZATION);
    for (id, status) in [
        ("d1", 200),
        ("org-1_d1", 200),
        ("org%2D1%5Fd1", 200),
        ("org-2_d1", 403),
        ("org-1_org-1_d1", 403),
        ("org-1d1", 403),
        ("d1%2f..%2fd2", 403),
        ("d1%00", 403),
        ("%2e%2e", 403),
        ("d2", 403),
        ("D1", 403),
    ] {
        let reply = caller.get(&format!("{DATASETS}/{id}")).await;
        assert_eq!(reply.status, status, "{id}");
    }
    let no_utf8 = caller.get(&format!("{DATASETS}/%ff")).await;
    assert_eq!(no_utf8.problem(), (404, "no_such_route".to_owned()));
}

#[tokio::test]
async fn to_create_takes_a_rule_for_all_of_a_type() {
    let probed = Probed::new().await;
    let one = probed.restricted("dataset.write", "dataset/d1").await;
    let all = probed.restricted("dataset.write", "dataset/*").await;
    let refused = probed
        .app
        .holder(&one)
        .of(ORGANIZATION)
        .send("POST", DATASETS, "{}")
        .await;
    assert_eq!(refused.problem(), (403, "resource_not_permitted".to_owned()));
    let allowed = probed
        .app
        .holder(&all)
        .of(ORGANIZATION)
        .send("POST", DATASETS, "{}")
        .await;
    assert_eq!((allowed.status, probed.calls()), (200, 1));
}

#[tokio::test]
async fn whoever_asks_for_the_contents_needs_the_right_to_them() {
    let probed = Probed::new().await;
    let reads = probed.restricted("training.read", "run/r1").await;
    let downloads = probed.restricted("model.download", "run/r1").await;
    for (query, asks) in [
        ("", false),
        ("?", false),
        ("?contents=n", false),
        ("?content=y", false),
        ("?contents=n&contents=n", false),
        ("?contents=y", true),
        ("?contents=true", true),
        ("?contents=N", true),
        ("?contents=", true),
        ("?contents", true),
        ("?Contents=y", true),
        ("?%63ontents=y", true),
        ("?contents=n&contents=y", true),
        ("?contents=y&contents=n", true),
        ("?contents=n?contents=y", true),
        ("?intent=x?contents=y", true),
    ] {
        let path = format!("/workspaces/org-1/runs/r1{query}");
        let status = async |key: &CreatedKey| {
            let caller = probed.app.holder(key).of(ORGANIZATION);
            caller.get(&path).await.status
        };
        assert_eq!(status(&reads).await, if asks { 403 } else { 200 }, "{query}");
        assert_eq!(status(&downloads).await, if asks { 200 } else { 403 }, "{query}");
    }
}

#[tokio::test]
async fn a_handler_that_panics_is_answered_and_the_server_goes_on() {
    let probed = Probed::new().await;
    let caller = probed.app.holder(&probed.app.key().await).of(ORGANIZATION);
    for path in ["/panics/in-its-future", "/panics/before-its-future"] {
        let reply = caller.get(path).await;
        assert_eq!(reply.problem(), (500, "internal".to_owned()), "{path}");
        assert!(!reply.text().contains("defect with"), "the panic's own words");
        insta::assert_snapshot!("a_panic", reply.shown());
    }
    let next = caller.get(&format!("{DATASETS}/d1")).await;
    assert_eq!((next.status, probed.calls()), (200, 1));
    // Whoever may not call the handler does not learn that it panics.
    let refused = probed.app.nobody().get("/panics/in-its-future").await;
    assert_eq!(refused.status, 401);
}

#[tokio::test]
async fn what_no_route_answers_is_answered_with_the_same_care() {
    let probed = Probed::new().await;
    let app = &probed.app;
    let value = app.key().await.value.reveal().to_owned();
    let mut replies = Transcript::default();
    replies.add("GET /nowhere", &app.nobody().get("/nowhere").await);
    replies.add(
        "PUT /workspaces/org-1/datasets",
        &app.nobody().send("PUT", DATASETS, "").await,
    );
    insta::assert_snapshot!(replies.0);
    for path in [
        "/",
        "/nowhere",
        DATASETS,
        "/v1/verify/",
        "/workspaces",
        "//",
        "/help/",
    ] {
        for method in ["GET", "PUT", "OPTIONS"] {
            let reply = app
                .nobody()
                .send(method, &format!("{path}?secret_key={value}"), "")
                .await;
            assert_eq!(
                reply.problem(),
                (400, "bad_request".to_owned()),
                "{method} {path}"
            );
        }
    }
    // A key in the path is not said back either; that is checked wherever a request is made.
    for path in [format!("/{value}"), format!("/v1/verify/{value}")] {
        assert_eq!(app.nobody().get(&path).await.status, 404);
    }
}
