//! Addresses that look alike, and methods that an address has beside those of the table.

use axum::body::Body;
use http::Request;
use keyward_core::scope::{Scope, ScopeSet};
use keyward_testkit::engine::Permission;

use crate::cases::ID;
use crate::support::Vi;

#[tokio::test]
async fn neighbours_in_the_table_keep_their_addresses() {
    let vi = Vi::new().await;
    let full = vi.full().await;
    let of = |rest: &str| format!("/workspaces/org-1/datasets/org-1_{ID}{rest}");
    let says = async |method: &str, rest: &str, code: &str| {
        let status = match code {
            "method_not_allowed" => 405,
            _ => 404,
        };
        full.send(method, &of(rest), "{}").await.refused(status, code)
    };
    // 63b has the address of the folder `children`, 63 that of its children.
    for (method, rest, named) in [
        ("GET", "/folders/children", "/folders/children`"),
        ("PUT", "/folders/children", "/folders/children`"),
        ("DELETE", "/folders/children", "/folders/children`"),
        ("GET", "/folders/other", "/folders/{folder}`"),
        ("GET", "/folders/children/children", "/folders/{folder}/children`"),
        ("GET", "/assets:count", "/assets:count`"),
        ("GET", "/assets/children", "/assets/{asset}`"),
    ] {
        let document = says(method, rest, "not_available_here").await;
        let message = document["message"].as_str().unwrap_or_default();
        assert!(message.contains(named), "{rest}: {message}");
    }
    says("PATCH", "/folders/children", "method_not_allowed").await;
    // A cancellation is an id and `:cancel`.
    let sessions = "/assetSources/managed/datature/default/assetIngestionSessions";
    says("POST", &format!("{sessions}/s1:cancel"), "not_available_here").await;
    for no_cancellation in ["s1", ":cancel", "s1:cancelled", "s1:cancel:"] {
        says("POST", &format!("{sessions}/{no_cancellation}"), "no_such_route").await;
    }
    says("GET", &format!("{sessions}/s1"), "not_available_here").await;
    // Looking at outputs asked in the client's own broken way is still looking.
    let outputs = "/workspaces/org-1/runs/r1/outputs?intent=sdkLocalDeploy?s=10";
    full.get(outputs).await.refused(404, "not_available_here");
}

#[tokio::test]
async fn asking_for_the_head_alone_needs_the_same_key() {
    let vi = Vi::new().await;
    let list = "/workspaces/org-1/datasets";
    let nobody = Request::head(list).body(Body::empty()).expect("it is a request");
    assert_eq!(vi.send(nobody).await.status, 401);
    let full = vi.full().await.send("HEAD", list, "").await;
    assert_eq!((full.status, full.body.as_str()), (200, ""));
    let training = ScopeSet::NONE.with(Scope::Training);
    let narrow = vi.caller("org-1", training, Permission::Full).await;
    assert_eq!(narrow.send("HEAD", list, "").await.status, 403);
}
