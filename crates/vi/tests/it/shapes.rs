//! Whole replies. A change here is a change of what the client is sent.

use keyward_core::scope::{Scope, ScopeSet};
use keyward_testkit::engine::Permission;
use serde_json::{Value, json};

use crate::support::{Caller, Reply, Vi, text};

/// A reply as it is kept: what is different in every run is replaced.
fn shown(reply: &Reply, replaced: &[(&str, &str)]) -> String {
    let mut value: Value = serde_json::from_str(&reply.body).expect("the reply is JSON");
    if let Some(trace_id) = value.get_mut("trace_id") {
        *trace_id = json!("[trace]");
    }
    let body = serde_json::to_string_pretty(&value).expect("JSON is written");
    let shown = format!("{}\n{body}", reply.status);
    replaced
        .iter()
        .fold(shown, |shown, (id, word)| shown.replace(id, word))
}

/// A dataset with everything that can be said of one.
async fn tomatoes(full: &Caller<'_>) -> (Reply, String) {
    let new = json!({
        "name": "Tomatoes",
        "owner": "org-1",
        "description": "ripe or not",
        "type": "vqa",
        "content": "Image",
        "localization": "Datature/Multi",
        "dataLocalization": "Datature/Multi",
        "status": 0,
        "tags": {"ripe": 0},
        "metadata": {"attributes": {"season": "spring"}},
    });
    let made = full.post("/workspaces/org-1/datasets", new).await;
    let id = text(&made.ok(201)["datasetId"]);
    (made, id)
}

#[tokio::test]
async fn organizations() {
    let vi = Vi::new().await;
    let full = vi.full().await;
    let (_, id) = tomatoes(&full).await;
    let edit = json!({"lastAccess": 1_767_225_660_000_i64, "preference": {"theme": "dark", "beta": true},
        "metadata": {"attributes": {"team": "vision"}}});
    let edited = full.patch("/workspaces/org-1", edit).await;
    let users = edited.ok(200)["users"].as_object().cloned().unwrap_or_default();
    let owner = users.keys().next().expect("there is an Owner").clone();
    let replaced = [(id.as_str(), "[dataset]"), (owner.as_str(), "[person]")];
    insta::assert_snapshot!(
        "organization",
        shown(&full.get("/workspaces/org-1").await, &replaced)
    );
    assert_eq!(edited.body, full.get("/workspaces/org-1").await.body);
    insta::assert_snapshot!(
        "members",
        shown(&full.get("/workspaces/org-1/collaborators").await, &replaced)
    );
    let list = full.get("/workspaces").await.ok(200);
    assert_eq!(list, json!({"items": [edited.ok(200)]}));

    let training = ScopeSet::NONE.with(Scope::Training);
    let narrow = vi.caller("org-1", training, Permission::Full).await;
    insta::assert_snapshot!(
        "organization_for_a_narrowed_key",
        shown(&narrow.get("/workspaces/org-1").await, &replaced)
    );
}

#[tokio::test]
async fn datasets() {
    let vi = Vi::new().await;
    let full = vi.full().await;
    let (made, first) = tomatoes(&full).await;
    let second = full.dataset("Drones").await;
    let key = full.key.key.record.id.to_string();
    let cursor = keyward_api::cursor::write("datasets", &first);
    let simple_cursor = keyward_api::cursor::write("simpleDatasets", &first);
    let replaced = [
        (first.as_str(), "[first]"),
        (second.as_str(), "[second]"),
        (key.as_str(), "[key]"),
        (cursor.as_str(), "[cursor]"),
        (simple_cursor.as_str(), "[simple cursor]"),
    ];
    let of = |id: &str, rest: &str| format!("/workspaces/org-1/datasets/org-1_{id}{rest}");
    insta::assert_snapshot!("dataset_created", shown(&made, &replaced));
    assert_eq!(
        full.get(&of(&first, "")).await.ok(200),
        made.ok(201),
        "it is kept as it was made"
    );
    insta::assert_snapshot!(
        "dataset_of_defaults",
        shown(&full.get(&of(&second, "")).await, &replaced)
    );
    let first_page = full.get("/workspaces/org-1/datasets?s=1").await;
    insta::assert_snapshot!("datasets", shown(&first_page, &replaced));
    let simple = full.get("/workspaces/org-1/simpleDatasets?s=1").await;
    insta::assert_snapshot!("simple_datasets", shown(&simple, &replaced));
    let last = format!("/workspaces/org-1/simpleDatasets?s=1&p={simple_cursor}");
    insta::assert_snapshot!("last_page", shown(&full.get(&last).await, &replaced));
    let deleted = full.delete(&of(&first, "")).await;
    insta::assert_snapshot!("dataset_deleted", shown(&deleted, &replaced));
    assert_eq!(
        full.get(&of(&first, "/deleteOperation")).await.ok(200),
        deleted.ok(200)
    );
}

#[tokio::test]
async fn refusals() {
    let vi = Vi::new().await;
    let full = vi.full().await;
    let bad = json!({"name": "", "type": "holograms", "tags": {"ripe": "no"}});
    let refused = full.post("/workspaces/org-1/datasets", bad).await;
    insta::assert_snapshot!("refused_fields", shown(&refused, &[]));
    let absent = full.get("/workspaces/org-1/datasets/org-1_never-was").await;
    insta::assert_snapshot!("refused_absent", shown(&absent, &[]));
    let unbuilt = full.get("/workspaces/org-1/quota").await;
    insta::assert_snapshot!("refused_not_available", shown(&unbuilt, &[]));

    let training = ScopeSet::NONE.with(Scope::Training);
    let narrow = vi.caller("org-1", training, Permission::Full).await;
    let scope = narrow.get("/workspaces/org-1/datasets").await;
    insta::assert_snapshot!("refused_scope", shown(&scope, &[]));
    let mismatch = full.get("/workspaces/org-2").await;
    insta::assert_snapshot!("refused_organization", shown(&mismatch, &[]));
    let rules = json!([{"operations": ["dataset.read"], "resources": ["dataset/d1"]}]);
    let restricted = vi.restricted(rules).await;
    let other = restricted.get("/workspaces/org-1/datasets/org-1_d2").await;
    insta::assert_snapshot!("refused_resource", shown(&other, &[]));
}
