//! A router on an engine of its own, and requests made as someone.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request};
use http_body_util::BodyExt as _;
use keyward_core::scope::ScopeSet;
use keyward_engine::create_key::CreatedKey;
use keyward_http::request::Peer;
use keyward_http::routes::{method_not_allowed, no_such_route};
use keyward_http::site::Site;
use keyward_testkit::engine::{Kind, Permission, TestEngine};
use serde_json::Value;
use tower::ServiceExt as _;

/// The resource API of one test, with the organization `org-1`.
pub(crate) struct Vi {
    pub(crate) test: TestEngine,
    router: Router,
}

impl Vi {
    pub(crate) async fn new() -> Self {
        let test = TestEngine::new(Kind::Sqlite).await;
        test.organization("org-1").await;
        let site = Site::new(
            test.engine.clone(),
            "https://keys.example.test".to_owned(),
            Vec::new(),
        );
        let router = keyward_vi::router()
            .fallback(no_such_route)
            .method_not_allowed_fallback(method_not_allowed)
            .with_state(Arc::new(site));
        Self { test, router }
    }

    /// A caller of `org-1` whose key may do everything that a key may.
    pub(crate) async fn full(&self) -> Caller<'_> {
        self.caller("org-1", ScopeSet::ALL, Permission::Full).await
    }

    /// A caller of `org-1` whose key has all scopes and these rules.
    pub(crate) async fn restricted(&self, rules: Value) -> Caller<'_> {
        let rules = serde_json::from_value(rules).expect("the test's rules are rules");
        self.caller("org-1", ScopeSet::ALL, Permission::Restricted(rules))
            .await
    }

    pub(crate) async fn caller(
        &self,
        organization: &str,
        scopes: ScopeSet,
        permission: Permission,
    ) -> Caller<'_> {
        let organization = organization.parse().expect("the test's id is one");
        let key = self.test.key(&organization, scopes, permission).await;
        Caller {
            vi: self,
            organization: organization.to_string(),
            key,
        }
    }

    /// Sends a request as it is.
    pub(crate) async fn send(&self, mut request: Request<Body>) -> Reply {
        request
            .extensions_mut()
            .insert(Peer(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        let response = self.router.clone().oneshot(request).await;
        let (parts, body) = response.expect("a router always answers").into_parts();
        let body = body.collect().await.expect("a reply has its body").to_bytes();
        Reply {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).expect("a reply is UTF-8"),
        }
    }
}

/// Someone with a key.
pub(crate) struct Caller<'a> {
    vi: &'a Vi,
    organization: String,
    pub(crate) key: CreatedKey,
}

impl Caller<'_> {
    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, "").await
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        self.send("DELETE", path, "").await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Reply {
        self.send("POST", path, body.to_string()).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Reply {
        self.send("PATCH", path, body.to_string()).await
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: impl Into<Body>) -> Reply {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {}", self.key.value.reveal()))
            .header("organization-id", &self.organization)
            .header("content-type", "application/json")
            .body(body.into())
            .expect("the test's request is one");
        self.vi.send(request).await
    }

    /// Makes a dataset; its id.
    pub(crate) async fn dataset(&self, name: &str) -> String {
        let path = format!("/workspaces/{}/datasets", self.organization);
        let made = self.post(&path, serde_json::json!({"name": name})).await.ok(201);
        text(&made["datasetId"])
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Reply {
    /// The body of a reply with this status.
    #[track_caller]
    pub(crate) fn ok(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(self.headers["content-type"], "application/json");
        assert_eq!(self.headers["cache-control"], "no-store");
        serde_json::from_str(&self.body).expect("the reply is JSON")
    }

    /// The document of a refusal with this status and code.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        let document: Value = serde_json::from_str(&self.body).expect("a refusal is JSON");
        assert_eq!(document["code"], code, "{document}");
        document
    }

    /// The fields that a refusal of a body or query names.
    #[track_caller]
    pub(crate) fn invalid_fields(&self) -> Vec<String> {
        let document = self.refused(422, "invalid_fields");
        let errors = document["errors"].as_array().expect("the problems are a list");
        errors.iter().map(|error| text(&error["field"])).collect()
    }
}

/// A text in a reply.
#[track_caller]
pub(crate) fn text(value: &Value) -> String {
    value.as_str().expect("it is a text").to_owned()
}

/// A member of each item of a page.
#[track_caller]
pub(crate) fn each(page: &Value, member: &str) -> Vec<String> {
    let items = page["items"].as_array().expect("a page has items");
    items.iter().map(|item| text(&item[member])).collect()
}
