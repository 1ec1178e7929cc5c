//! Datasets, as a user of the client tells them: made, walked page by page, edited, deleted, and kept apart.

use keyward_core::scope::ScopeSet;
use keyward_testkit::engine::Permission;
use serde_json::json;

use crate::support::{Caller, Vi, each, text};

const LIST: &str = "/workspaces/org-1/datasets";

fn of(id: &str) -> String {
    format!("{LIST}/org-1_{id}")
}

/// All ids of a list, and the sizes of its pages.
async fn walk(caller: &Caller<'_>, list: &str, size: u32) -> (Vec<String>, Vec<usize>) {
    let (mut ids, mut sizes, mut cursor) = (Vec::new(), Vec::new(), String::new());
    loop {
        let page = caller.get(&format!("{list}?s={size}&p={cursor}")).await.ok(200);
        let found = each(&page, "datasetId");
        sizes.push(found.len());
        ids.extend(found);
        match page.get("nextPage") {
            None => return (ids, sizes),
            Some(next) => cursor = text(next),
        }
    }
}

#[tokio::test]
async fn twenty_five_are_walked_at_ten_a_page() {
    let vi = Vi::new().await;
    let full = vi.full().await;
    let mut made = Vec::new();
    for number in 0..25 {
        made.push(full.dataset(&format!("Dataset {number}")).await);
    }
    for list in [LIST, "/workspaces/org-1/simpleDatasets"] {
        assert_eq!(
            walk(&full, list, 10).await,
            (made.clone(), vec![10, 10, 5]),
            "{list}"
        );
        assert_eq!(walk(&full, list, 25).await, (made.clone(), vec![25]), "{list}");
        let page = full.get(list).await.ok(200);
        assert_eq!(
            each(&page, "datasetId"),
            made[..10],
            "ten, if no size is asked for"
        );
    }
    // What is deleted between two pages is missing, and nothing is there twice.
    let page = full.get(LIST).await.ok(200);
    full.delete(&of(&made[9])).await.ok(200);
    full.delete(&of(&made[10])).await.ok(200);
    let next = format!("{LIST}?p={}", text(&page["nextPage"]));
    let page = full.get(&next).await.ok(200);
    assert_eq!(each(&page, "datasetId"), made[11..21]);
}

#[tokio::test]
async fn a_restricted_key_sees_only_what_its_rules_name() {
    let vi = Vi::new().await;
    let full = vi.full().await;
    let mut made = Vec::new();
    for number in 0..25 {
        made.push(full.dataset(&format!("Dataset {number}")).await);
    }
    let named: Vec<String> = made.iter().step_by(2).cloned().collect();
    let resources: Vec<String> = named.iter().map(|id| format!("dataset/{id}")).collect();
    let rules = json!([{"operations": ["dataset.read", "dataset.write"], "resources": resources}]);
    let narrow = vi.restricted(rules).await;
    for list in [LIST, "/workspaces/org-1/simpleDatasets"] {
        assert_eq!(
            walk(&narrow, list, 5).await,
            (named.clone(), vec![5, 5, 3]),
            "{list}"
        );
    }
    let organization = narrow.get("/workspaces/org-1").await.ok(200);
    assert_eq!(organization["datasets"], json!(named));
    narrow.get(&of(&made[0])).await.ok(200);
    narrow.patch(&of(&made[0]), json!({"name": "mine"})).await.ok(200);
    let refused = |reply: crate::support::Reply| reply.refused(403, "resource_not_permitted");
    refused(narrow.get(&of(&made[1])).await);
    refused(narrow.get(&of("never-was")).await);
    refused(narrow.patch(&of(&made[1]), json!({"name": "mine"})).await);
    refused(narrow.post(LIST, json!({"name": "new"})).await);
    narrow
        .delete(&of(&made[0]))
        .await
        .refused(403, "operation_not_permitted");

    let rules = json!([{"operations": ["dataset.write"], "resources": ["dataset/*"]}]);
    let maker = vi.restricted(rules).await;
    maker.dataset("new").await;
    maker.get(LIST).await.refused(403, "operation_not_permitted");
}

#[tokio::test]
async fn an_edit_changes_what_it_names_and_is_kept() {
    let vi = Vi::new().await;
    let full = vi.full().await;
    let new = json!({"name": "Tomatoes", "description": "ripe or not", "tags": {"ripe": 3},
        "metadata": {"attributes": {"a": "1", "b": "2"}}});
    let made = full.post(LIST, new).await.ok(201);
    let id = text(&made["datasetId"]);
    let unchanged =
        json!({"type": "vqa", "content": "Video", "datasetId": "other", "tags": {}, "kind": "Dataset"});
    assert_eq!(full.patch(&of(&id), unchanged).await.ok(200), made);

    vi.test.clock.advance_ms(1_000);
    let edit = json!({"name": "Peppers", "preference": {"grid": true, "sort": "name"},
        "metadata": {"attributes": {"a": null, "c": "3"}}});
    let edited = full.patch(&of(&id), edit).await.ok(200);
    assert_eq!(
        (&edited["name"], &edited["description"]),
        (&json!("Peppers"), &made["description"])
    );
    assert_eq!(edited["preference"], json!({"grid": true, "sort": "name"}));
    assert_eq!(edited["metadata"]["attributes"], json!({"b": "2", "c": "3"}));
    assert_eq!((&edited["tags"], &edited["type"]), (&made["tags"], &made["type"]));
    assert_eq!(edited["createDate"], made["createDate"]);
    assert_ne!(edited["lastAccessed"], made["lastAccessed"]);
    assert_ne!(edited["etag"], made["etag"]);
    let edit = json!({"description": null, "preference": {"sort": "date"}});
    let edited = full.patch(&of(&id), edit).await.ok(200);
    assert_eq!(edited.get("description"), None);
    assert_eq!(edited["preference"], json!({"grid": true, "sort": "date"}));
    assert_eq!(full.get(&of(&id)).await.ok(200), edited);
    // Both forms of the id name it.
    assert_eq!(full.get(&format!("{LIST}/{id}")).await.ok(200), edited);
}

#[tokio::test]
async fn a_deleted_dataset_stays_deleted_and_its_operation_is_shown() {
    let vi = Vi::new().await;
    let full = vi.full().await;
    let (kept, id) = (full.dataset("kept").await, full.dataset("gone").await);
    full.get(&format!("{}/deleteOperation", of(&id)))
        .await
        .refused(404, "not_found");
    let deleted = full.delete(&of(&id)).await.ok(200);
    let conditions = deleted["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    assert!(!conditions.is_empty() && conditions.iter().all(|one| one["status"] == "Reached"));
    for _ in 0..2 {
        full.get(&of(&id)).await.refused(404, "not_found");
        full.patch(&of(&id), json!({"name": "back"}))
            .await
            .refused(404, "not_found");
        full.delete(&of(&id)).await.refused(404, "not_found");
        let operation = full.get(&format!("{}/deleteOperation", of(&id))).await;
        assert_eq!(operation.ok(200), deleted);
    }
    let list = full.get(LIST).await.ok(200);
    assert_eq!(each(&list, "datasetId"), std::slice::from_ref(&kept));
    full.get(&format!("{}/deleteOperation", of(&kept)))
        .await
        .refused(404, "not_found");
}

#[tokio::test]
async fn organizations_are_kept_apart() {
    let vi = Vi::new().await;
    vi.test.organization("org-2").await;
    let ours = vi.full().await;
    let theirs = vi.caller("org-2", ScopeSet::ALL, Permission::Full).await;
    let id = ours.dataset("ours").await;
    let their_id = theirs.dataset("theirs").await;
    let before = ours.get(&of(&id)).await.ok(200);

    // Their organization with our id, whole or in any spelling; and our organization with their key.
    for name in [
        id.clone(),
        format!("org-2_{id}"),
        format!("org-1_{id}"),
        format!("org-2_org-1_{id}"),
    ] {
        for rest in ["", "/deleteOperation", "/collaborators"] {
            let path = format!("/workspaces/org-2/datasets/{name}{rest}");
            theirs.get(&path).await.refused(404, "not_found");
        }
        let path = format!("/workspaces/org-2/datasets/{name}");
        theirs
            .patch(&path, json!({"name": "taken"}))
            .await
            .refused(404, "not_found");
        theirs.delete(&path).await.refused(404, "not_found");
    }
    for path in [LIST.to_owned(), of(&id), format!("{}/deleteOperation", of(&id))] {
        theirs.get(&path).await.refused(401, "organization_mismatch");
    }
    theirs
        .delete(&of(&id))
        .await
        .refused(401, "organization_mismatch");

    let list = theirs.get("/workspaces/org-2/datasets").await.ok(200);
    assert_eq!(each(&list, "datasetId"), std::slice::from_ref(&their_id));
    let organization = theirs.get("/workspaces/org-2").await.ok(200);
    assert_eq!(organization["datasets"], json!([their_id]));
    // A cursor is no way into another organization either.
    let cursor = keyward_api::cursor::write("datasets", "0");
    let list = theirs
        .get(&format!("/workspaces/org-2/datasets?p={cursor}"))
        .await
        .ok(200);
    assert_eq!(each(&list, "name"), ["theirs"]);
    assert_eq!(ours.get(&of(&id)).await.ok(200), before);
}
