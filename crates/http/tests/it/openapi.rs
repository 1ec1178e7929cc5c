//! The description of the management API: kept as a file, complete, and true of what the routes do.

use std::collections::BTreeSet;
use std::path::Path;

use http::Method;
use keyward_http::management::endpoint::Demand;
use keyward_http::management::{openapi, route_table};
use serde_json::{Value, json};

use crate::support::{Caller, TestApp};

fn document() -> Value {
    serde_json::to_value(openapi::document()).unwrap()
}

#[test]
fn the_document_is_the_one_that_was_reviewed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    let now = format!("{}\n", serde_json::to_string_pretty(&document()).unwrap());
    if std::env::var_os("KEYWARD_TEST_ACCEPT").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == now,
        "the management API changed. If that is meant, run `KEYWARD_TEST_ACCEPT=1 cargo test -p keyward-http openapi` and \
         commit crates/http/openapi.json with the change"
    );
}

#[tokio::test]
async fn everybody_may_read_it_at_both_doors() {
    let app = TestApp::new().await;
    for caller in [app.nobody(), app.admin()] {
        let reply = caller.get("/v1/openapi.json").await;
        assert_eq!((reply.status, reply.json()), (200, document()));
    }
    assert_eq!(document()["openapi"], "3.1.0");
}

#[test]
fn every_route_is_in_it_once_with_its_right() {
    let document = document();
    let mut described = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()));
            assert!(!operation["summary"].as_str().unwrap().is_empty());
            let right = operation["x-keyward-right"].as_str().unwrap_or("secret key");
            described.insert((path.clone(), method.to_uppercase(), right.to_owned()));
        }
    }
    let mut routes: BTreeSet<(String, String, String)> = route_table()
        .into_iter()
        .map(|row| {
            (
                row.path.to_owned(),
                row.method.to_string(),
                row.demand.name().to_owned(),
            )
        })
        .collect();
    assert_eq!(routes.len(), route_table().len(), "no route is there twice");
    routes.insert(("/v1/verify".into(), "GET".into(), "secret key".into()));
    routes.insert(("/v1/invitations/accept".into(), "POST".into(), "-".into()));
    assert_eq!(described, routes);
}

#[test]
fn every_reference_leads_to_a_schema_and_every_schema_is_referred_to() {
    let document = document();
    let text = document.to_string();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for reference in text.split("\"$ref\":\"").skip(1) {
        let (reference, _) = reference.split_once('"').unwrap();
        let name = reference.strip_prefix("#/components/schemas/").unwrap();
        assert!(schemas.contains_key(name), "{reference}");
    }
    for name in schemas.keys() {
        assert!(
            text.contains(&format!("\"#/components/schemas/{name}\"")),
            "{name}"
        );
    }
}

/// The fields that a body's schema names, and those that it requires.
fn fields_of(document: &Value, schema: &Value) -> Vec<(Vec<String>, Vec<String>)> {
    let schema = match schema["$ref"].as_str() {
        Some(reference) => &document["components"]["schemas"][reference.rsplit('/').next().unwrap()],
        None => schema,
    };
    if let Some(either) = schema["oneOf"].as_array() {
        return either.iter().flat_map(|one| fields_of(document, one)).collect();
    }
    assert_eq!(schema["additionalProperties"], json!(false), "{schema}");
    let names = schema["properties"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let required = required.iter().map(|name| name.as_str().unwrap().to_owned());
    vec![(names, required.collect())]
}

#[tokio::test]
async fn the_fields_of_every_body_are_those_that_are_read() {
    let app = TestApp::new().await;
    let id = app.key().await.key.record.id;
    let document = document();
    // An edit asks for a version before it reads a body.
    let admin = app.admin().with("if-match", "*");
    for row in route_table() {
        let operation = &document["paths"][row.path][row.method.as_str().to_lowercase()];
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        if schema.is_null() {
            continue;
        }
        let path = row
            .path
            .replace("{organization}", "org-1")
            .replace("{person}", "p-1")
            .replace("{key}", id.as_str());
        for (names, required) in fields_of(&document, schema) {
            // Of a type that none of them has.
            let wrong: Value = names.iter().map(|name| (name.clone(), json!({"?": 1}))).collect();
            let refused = send(&admin, &row.method, &path, &wrong).await;
            assert_eq!(refused.0, 422, "{path}");
            let unknown: Vec<&String> = refused
                .1
                .iter()
                .filter(|(field, message)| {
                    names.contains(field) && message.contains("is no field of this request")
                })
                .map(|(field, _)| field)
                .collect();
            assert!(
                unknown.is_empty(),
                "{path}: {unknown:?} are described and not read"
            );
            let extra = send(&admin, &row.method, &path, &json!({"surely_no_field": 1})).await;
            assert!(
                extra.1.iter().any(|(field, _)| field == "surely_no_field"),
                "{path}"
            );
            for name in required.iter().filter(|name| *name != "items") {
                assert!(
                    extra
                        .1
                        .iter()
                        .any(|(field, message)| field == name && message == "is required"),
                    "{path}: {name} is described as required"
                );
            }
        }
    }
}

async fn send(caller: &Caller, method: &Method, path: &str, body: &Value) -> (u16, Vec<(String, String)>) {
    let reply = caller.send(method.as_str(), path, body.to_string()).await;
    let problem = reply.json();
    let errors = problem["errors"].as_array().cloned().unwrap_or_default();
    let text = |error: &Value, name: &str| error[name].as_str().unwrap().to_owned();
    let errors = errors
        .iter()
        .map(|error| (text(error, "field"), text(error, "message")));
    (reply.status, errors.collect())
}

/// Whoever accepts an invitation is nobody yet: the one operation that asks for no credential.
#[test]
fn what_needs_no_credential_says_so() {
    let document = document();
    let mut open = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for operation in item.as_object().unwrap().values() {
            let security = operation["security"].as_array().unwrap();
            if security.iter().any(|one| one.as_object().unwrap().is_empty()) {
                open.push(path.as_str());
                assert!(operation["responses"].get("401").is_none());
            }
        }
    }
    assert_eq!(open, ["/v1/invitations/accept"]);
}

#[test]
fn no_route_is_for_everybody() {
    // Those that ask for no right are named here one by one.
    let open: Vec<&str> = route_table()
        .into_iter()
        .filter(|row| row.demand == Demand::Identity)
        .map(|row| row.path)
        .collect();
    assert_eq!(open, ["/v1/me", "/v1/audit/public-keys"]);
}
