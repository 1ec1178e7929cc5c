//! The organization: what each key sees of it, and what an edit changes.

use keyward_core::scope::{Scope, ScopeSet};
use keyward_testkit::engine::Permission;
use serde_json::json;

use crate::support::{Vi, each};

#[tokio::test]
async fn people_and_datasets_are_shown_to_whom_they_may_be() {
    let vi = Vi::new().await;
    let full = vi.full().await;
    let ids = [full.dataset("one").await, full.dataset("two").await];
    let collaborators = format!("/workspaces/org-1/datasets/org-1_{}/collaborators", ids[0]);

    let seen = full.get("/workspaces/org-1").await.ok(200);
    assert_eq!(seen["datasets"], json!(ids));
    assert_eq!(seen["users"].as_object().map(serde_json::Map::len), Some(1));
    for path in ["/workspaces/org-1/collaborators", &collaborators] {
        let people = full.get(path).await.ok(200);
        assert_eq!(each(&people, "email"), ["owner@example.com"]);
        assert_eq!(each(&people, "workspaceRole"), ["owner"]);
    }

    let dataset = ScopeSet::NONE.with(Scope::Dataset);
    let training = ScopeSet::NONE.with(Scope::Training);
    let rules = json!([{"operations": ["dataset.read"], "resources": [format!("dataset/{}", ids[1])]}]);
    let writes = json!([{"operations": ["dataset.write"], "resources": ["dataset/*"]}]);
    for (narrowed, datasets) in [
        (
            vi.caller("org-1", ScopeSet::ALL, Permission::ReadOnly).await,
            &ids[..],
        ),
        (vi.caller("org-1", dataset, Permission::Full).await, &ids[..]),
        (vi.caller("org-1", training, Permission::Full).await, &[]),
        (vi.restricted(rules).await, &ids[1..]),
        (vi.restricted(writes).await, &[]),
    ] {
        let seen = narrowed.get("/workspaces/org-1").await.ok(200);
        assert_eq!(seen["datasets"], json!(datasets));
        assert_eq!(seen["users"], json!({}));
        let listed = narrowed.get("/workspaces").await.ok(200);
        assert_eq!(listed["items"], json!([seen]));
        let people = narrowed.get("/workspaces/org-1/collaborators").await.ok(200);
        assert_eq!(people, json!({"items": []}));
    }
    let read_only = vi.caller("org-1", dataset, Permission::ReadOnly).await;
    let people = read_only.get(&collaborators).await.ok(200);
    assert_eq!(people, json!({"items": []}));
    let absent = "/workspaces/org-1/datasets/org-1_never-was/collaborators";
    for caller in [&full, &read_only] {
        caller.get(absent).await.refused(404, "not_found");
    }
}

#[tokio::test]
async fn an_edit_changes_what_it_names_and_is_kept() {
    let vi = Vi::new().await;
    let full = vi.full().await;
    let before = full.get("/workspaces/org-1").await.ok(200);
    let nothing = full
        .patch("/workspaces/org-1", json!({"plan": "gold"}))
        .await
        .ok(200);
    assert_eq!(
        nothing, before,
        "unknown members change nothing, not even the etag"
    );

    let edit = json!({
        "name": "Grüne Gärten",
        "lastAccess": 1_767_225_700_000_i64,
        "preference": {"theme": "dark", "beta": false},
        "metadata": {"attributes": {"a": "1", "b": "2"}},
    });
    let first = full.patch("/workspaces/org-1", edit).await.ok(200);
    assert_ne!(first["etag"], before["etag"]);
    assert_eq!(first["workspaceId"], "org-1", "the id never changes");
    let edit = json!({"preference": {"beta": true}, "metadata": {"attributes": {"a": null, "c": ""}}});
    let second = full.patch("/workspaces/org-1", edit).await.ok(200);
    assert_eq!(second["name"], "Grüne Gärten");
    assert_eq!(second["lastAccess"], 1_767_225_700_000_i64);
    assert_eq!(second["preference"], json!({"theme": "dark", "beta": true}));
    assert_eq!(second["metadata"]["attributes"], json!({"b": "2", "c": ""}));
    assert_eq!(full.get("/workspaces/org-1").await.ok(200), second);
}

#[tokio::test]
async fn the_list_has_one_page() {
    let vi = Vi::new().await;
    vi.test.organization("org-2").await;
    let full = vi.full().await;
    let list = full.get("/workspaces?s=10").await.ok(200);
    assert_eq!(each(&list, "workspaceId"), ["org-1"]);
    assert_eq!(list.get("nextPage"), None);
    let after = keyward_api::cursor::write("workspaces", "org-1");
    let list = full.get(&format!("/workspaces?p={after}")).await.ok(200);
    assert_eq!(list, json!({"items": []}));
}
