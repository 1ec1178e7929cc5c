use keyward_core::audit_verify::{ExportCheck, Kept};
use serde_json::json;

use super::create;
use crate::support::TestApp;

const AUDIT: &str = "/v1/organizations/org-1/audit";

#[tokio::test]
async fn the_trail_is_read_exported_checked_and_freed_of_personal_values() {
    let app = TestApp::new().await;
    let made = create(&app, &json!({"name": "Line 1"})).await;
    let id = made.json()["id"].as_str().unwrap().to_owned();

    let created = app
        .admin()
        .get(&format!("{AUDIT}?action=key.create&target=key/{id}"))
        .await;
    let entries = created.json();
    assert_eq!(entries["items"].as_array().unwrap().len(), 1, "{entries}");
    assert_eq!(entries["items"][0]["personal"]["name"], "Line 1");
    assert_eq!(entries["items"][0]["actor"], "local_administrator");

    let page = app.admin().get(&format!("{AUDIT}?limit=1")).await.json();
    let next = page["next"].as_str().unwrap();
    let older = app
        .admin()
        .get(&format!("{AUDIT}?limit=1&cursor={next}"))
        .await
        .json();
    let sequence = |page: &serde_json::Value| page["items"][0]["sequence"].as_i64().unwrap();
    assert_eq!(sequence(&page), sequence(&older) + 1);

    let signed = app
        .admin()
        .post(&format!("{AUDIT}/checkpoints"), &json!({}))
        .await
        .json();
    let listed = app.admin().get(&format!("{AUDIT}/checkpoints")).await.json();
    assert_eq!(listed["items"][0], signed);
    let keys = app.admin().get("/v1/audit/public-keys").await.json();
    assert_eq!(keys["items"][0]["public_key"], signed["public_key"]);

    let checked = app
        .admin()
        .post(&format!("{AUDIT}/check"), &json!({}))
        .await
        .json();
    assert_eq!(
        (&checked["is_whole"], &checked["proved_until"]),
        (&json!(true), &signed["sequence"])
    );

    let erased = app
        .admin()
        .post(&format!("{AUDIT}/erase"), &json!({"value": "line 1"}))
        .await
        .json();
    assert_eq!(erased, json!({"values": 1, "entries": 1}));
    let export = app.admin().get(&format!("{AUDIT}/export")).await;
    assert_eq!(export.header("content-type"), Some("application/jsonl"));
    assert_eq!(export.header("cache-control"), Some("no-store"));
    assert!(!export.text().contains("Line 1"));
    let kept = Kept {
        public_keys: vec![signed["public_key"].as_str().unwrap().parse().unwrap()],
        checkpoints: Vec::new(),
    };
    let mut check = ExportCheck::new(kept);
    export.text().lines().for_each(|line| check.line(line));
    let report = check.finish();
    assert_eq!(
        (report.findings.told.as_slice(), report.is_end_proved),
        ([].as_slice(), true)
    );
    assert_eq!(report.summary.erased_values, 1);
}

#[tokio::test]
async fn a_changed_row_is_named_to_whoever_asks_for_a_check() {
    let app = TestApp::new().await;
    create(&app, &json!({"name": "Line 1"})).await;
    app.test
        .place
        .run("UPDATE audit_entry SET target = 'key/other' WHERE chain = 'org-1' AND sequence = 2")
        .await;
    let checked = app
        .admin()
        .post(&format!("{AUDIT}/check"), &json!({}))
        .await
        .json();
    assert_eq!(checked["is_whole"], false);
    assert_eq!(checked["findings"][0]["kind"], "changed");
    assert_eq!(checked["findings"][0]["sequence"], 2);
}

#[tokio::test]
async fn what_can_not_be_meant_is_refused_with_its_name() {
    let app = TestApp::new().await;
    for (query, field) in [
        ("?from=yesterday", "from"),
        ("?limit=0", "limit"),
        ("?cursor=zzz", "cursor"),
        (
            &format!("?cursor={}", keyward_api::cursor::write("audit", "first")),
            "cursor",
        ),
        ("/export?from_sequence=0", "from_sequence"),
        ("/export?from_sequence=x", "from_sequence"),
    ] {
        let reply = app.admin().get(&format!("{AUDIT}{query}")).await;
        assert_eq!(
            (reply.status, reply.fields()),
            (422, vec![field.to_owned()]),
            "{query}"
        );
    }
    let beyond = app
        .admin()
        .get(&format!("{AUDIT}/export?from_sequence=999"))
        .await;
    assert_eq!(beyond.problem(), (409, "conflict".to_owned()));
    let nowhere = app.admin().get("/v1/organizations/org-9/audit").await;
    assert_eq!(nowhere.problem(), (404, "not_found".to_owned()));
    let installation = app.admin().get("/v1/audit").await;
    assert_eq!(installation.status, 200);
}
