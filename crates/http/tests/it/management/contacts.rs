//! Security contacts and deliveries, as those who manage an organization meet them.

use serde_json::{Value, json};

use crate::support::TestApp;

const ORGANIZATION: &str = "/v1/organizations/org-1";
const CONTACTS: &str = "/v1/organizations/org-1/contacts";
const DELIVERIES: &str = "/v1/organizations/org-1/deliveries";

fn contacts(addresses: &[(&str, &str)]) -> Value {
    let contacts = addresses
        .iter()
        .map(|(kind, address)| json!({ "kind": kind, "address": address }));
    json!({ "security_contacts": contacts.collect::<Vec<_>>() })
}

#[tokio::test]
async fn a_signing_secret_is_shown_when_it_is_made_and_never_again() {
    let app = TestApp::new().await;
    let admin = app.admin();
    let both = contacts(&[
        ("webhook", "https://example.com/hook"),
        ("email", "sec@example.com"),
    ]);
    let edited = admin.patch(ORGANIZATION, &both).await;
    let made = edited.json()["signing_secrets"].clone();
    let secret = made[0]["secret"].as_str().unwrap();
    assert!(secret.starts_with("whsec_") && made[1].is_null(), "{made}");
    for path in [ORGANIZATION, CONTACTS] {
        assert!(!admin.get(path).await.text().contains("whsec_"), "{path}");
    }
    let again = admin.patch(ORGANIZATION, &both).await;
    assert!(again.json()["signing_secrets"].is_null());

    let listed = admin.get(CONTACTS).await.json();
    let id_of = |kind: &str| {
        let items = listed["items"].as_array().unwrap();
        let found = items.iter().find(|one| one["kind"] == kind).unwrap();
        found["id"].as_str().unwrap().to_owned()
    };
    let rotate = |id: String| format!("{CONTACTS}/{id}/rotate-secret");
    let rotated = admin.post(&rotate(id_of("webhook")), &json!({})).await;
    assert_eq!(
        (rotated.status, rotated.header("cache-control")),
        (200, Some("no-store"))
    );
    let rotated = rotated.json()["secret"].as_str().unwrap().to_owned();
    assert!(rotated.starts_with("whsec_") && rotated != secret);
    let of_mail = admin.post(&rotate(id_of("email")), &json!({})).await;
    assert_eq!(of_mail.status, 409);
    assert_eq!(admin.post(&rotate("0".repeat(20)), &json!({})).await.status, 404);
}

#[tokio::test]
async fn what_was_sent_is_listed_page_by_page_and_filtered() {
    let app = TestApp::new().await;
    let admin = app.admin();
    assert_eq!(
        admin.post(&format!("{CONTACTS}/test"), &json!({})).await.status,
        409,
        "nobody is there"
    );
    let two = contacts(&[("email", "a@example.com"), ("email", "b@example.com")]);
    assert_eq!(admin.patch(ORGANIZATION, &two).await.status, 200);
    let tested = admin.post(&format!("{CONTACTS}/test"), &json!({})).await.json();
    assert_eq!(tested["items"].as_array().unwrap().len(), 2);
    // Nothing is sent where no server runs, and that is said.
    assert_eq!(
        (&tested["items"][0]["status"], &tested["items"][0]["kind"]),
        (&json!("given_up"), &json!("test"))
    );
    let first = admin.get(&format!("{DELIVERIES}?limit=1")).await.json();
    let cursor = first["next"].as_str().unwrap();
    let second = admin
        .get(&format!("{DELIVERIES}?limit=1&cursor={cursor}"))
        .await
        .json();
    assert_ne!(first["items"][0]["id"], second["items"][0]["id"]);
    assert!(second["next"].is_null());
    let contact = first["items"][0]["contact"].as_str().unwrap();
    for (query, count) in [
        (format!("contact={contact}"), 1),
        ("status=given_up".to_owned(), 2),
        ("status=sent".to_owned(), 0),
        ("key=k".to_owned(), 0),
    ] {
        let found = admin.get(&format!("{DELIVERIES}?{query}")).await.json();
        assert_eq!(found["items"].as_array().unwrap().len(), count, "{query}");
    }
    assert_eq!(admin.get(&format!("{DELIVERIES}?status=lost")).await.status, 422);
}
