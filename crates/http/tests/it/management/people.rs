//! Settings, members, invitations and the end of an organization, as those who call meet them.

use keyward_core::record::Actor;
use keyward_core::secret::Secret;
use keyward_core::usage::ClientName;
use keyward_engine::context::Context;
use keyward_testkit::engine::{Permission, arrival, context, draft};
use serde_json::{Value, json};

use crate::log::Log;
use crate::support::{Caller, TestApp, Transcript};

const ORGANIZATION: &str = "/v1/organizations/org-1";
const MEMBERS: &str = "/v1/organizations/org-1/members";
const INVITATIONS: &str = "/v1/organizations/org-1/invitations";
const LINK: &str = "/v1/people/link";
const ACCEPT: &str = "/v1/invitations/accept";

fn acting(app: &TestApp, person: &str) -> Caller {
    app.admin().with("keyward-act-as", person)
}

/// Invites, and gives the secret of the link.
async fn invite(app: &TestApp, email: &str, role: &str) -> String {
    let body = json!({ "email": email, "role": role });
    let made = app.admin().post(INVITATIONS, &body).await;
    assert_eq!(made.status, 201, "{made:?}");
    let link = made.json()["link"].as_str().unwrap().to_owned();
    let secret = link
        .strip_prefix("https://keys.example.com/invitations/")
        .unwrap();
    secret.to_owned()
}

/// Somebody who accepted an invitation; their id.
async fn member(app: &TestApp, email: &str, role: &str) -> String {
    let token = invite(app, email, role).await;
    let accepted = app.nobody().post(ACCEPT, &json!({ "token": token })).await;
    assert_eq!(accepted.status, 200, "{accepted:?}");
    accepted.json()["person_id"].as_str().unwrap().to_owned()
}

/// A key that a person made; its id.
async fn key_of(app: &TestApp, person: &str) -> String {
    let by = Context {
        actor: Actor::Person(person.parse().unwrap()),
        ..context()
    };
    let draft = draft(keyward_core::scope::ScopeSet::ALL, Permission::Full);
    let made = app.test.engine.create_key(by, app.organization.clone(), draft);
    made.await.unwrap().key.record.id.to_string()
}

#[tokio::test]
async fn only_the_operator_makes_a_sign_in_link_and_the_log_never_has_it() {
    let app = TestApp::new().await;
    let admin_token = app.token("organization:write,members:write").await;
    let body = json!({ "email": "owner@example.com" });
    for caller in [app.manager(&admin_token), acting(&app, "owner@example.com")] {
        let refused = caller.post(LINK, &body).await;
        assert_eq!(refused.status, 403, "{refused:?}");
    }
    let made = app.admin().post(LINK, &body).await;
    assert_eq!(made.status, 201);
    let link = made.json()["link"].as_str().unwrap().to_owned();
    let secret = link
        .strip_prefix("https://keys.example.com/sign-in/link/")
        .unwrap();
    assert_eq!(made.json()["purpose"], "set_passphrase");
    let shown = app
        .test
        .engine
        .show_sign_in_link(&Secret::new(secret.to_owned()))
        .await;
    assert_eq!(shown.unwrap().email.as_str(), "owner@example.com");
    let anew = json!({ "email": "Owner@Example.com", "purpose": "begin_anew" });
    assert_eq!(
        app.admin().post(LINK, &anew).await.json()["purpose"],
        "begin_anew"
    );
    let unknown = app
        .admin()
        .post(LINK, &json!({ "email": "nobody@example.com" }))
        .await;
    assert_eq!(unknown.status, 404);
    let bad = app
        .admin()
        .post(LINK, &json!({ "email": "x", "purpose": "y" }))
        .await;
    assert_eq!(bad.status, 422);

    let (log, _guard) = Log::follow();
    for path in [
        format!("/sign-in/link/{secret}"),
        format!("/sign-in/link/{}", &secret[..20]),
        format!("/invitations/{}/accept", &secret[..20]),
    ] {
        app.nobody().get(&path).await;
    }
    assert!(!log.lines_with("path=/sign-in/link/...").is_empty());
    assert!(!log.lines_with("path=/invitations/.../accept").is_empty());
    assert_eq!(log.lines_with(&secret[..10]), Vec::<String>::new());
}

#[tokio::test]
async fn a_new_organization_comes_with_its_owners_link_unless_they_can_sign_in() {
    let app = TestApp::new().await;
    let create = async |id: &str, email: &str| {
        let body = json!({ "name": "Another", "id": id, "owner_email": email });
        let made = app.admin().post("/v1/organizations", &body).await;
        assert_eq!(made.status, 201, "{made:?}");
        made.json()["owner_link"].as_str().map(ToOwned::to_owned)
    };
    let link = create("org-8", "ada@example.com").await.unwrap();
    let (_, secret) = link.rsplit_once('/').unwrap();
    let engine = &app.test.engine;
    engine
        .redeem_sign_in_link(
            &arrival(),
            &ClientName::NONE,
            &Secret::new(secret.to_owned()),
            &Secret::new("correct-otter-lamp-41".to_owned()),
        )
        .await
        .unwrap();
    // Who signs in already becomes Owner only where somebody made sure who that is, and needs no link.
    let again = |is_known: bool| json!({ "name": "Another", "id": "org-9", "owner_email": "Ada@example.com", "owner_is_known": is_known });
    let refused = app.admin().post("/v1/organizations", &again(false)).await;
    assert_eq!(refused.status, 409, "{refused:?}");
    assert!(refused.text().contains("owner_is_known"), "{refused:?}");
    let made = app.admin().post("/v1/organizations", &again(true)).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert!(made.json().get("owner_link").is_none());
    let shown = app.admin().get("/v1/organizations/org-8").await;
    assert!(shown.json().get("owner_link").is_none());
}

#[tokio::test]
async fn settings_are_edited_at_the_version_that_was_read() {
    let app = TestApp::new().await;
    let admin = app.admin();
    let read = admin.get(ORGANIZATION).await;
    assert_eq!(read.header("etag"), Some("\"1\""));
    assert_eq!(
        read.json()["settings"],
        json!({ "advanced_access_control": true, "max_key_lifetime_ms": null, "rotation_policy": {},
                "usage_retention_days": 400, "second_factor_required": false, "security_contacts": [] })
    );
    let edit = json!({
        "name": "Müller", "advanced_access_control": false, "max_key_lifetime_ms": 86_400_000,
        "rotation_policy": { "production": 30, "staging": null },
        "security_contacts": [{ "kind": "webhook", "address": "https://example.com/s3cret" }],
    });
    let at = |version: &str| admin.clone().with("if-match", version);
    let edited = at("\"1\"").patch(ORGANIZATION, &edit).await;
    assert_eq!(
        (edited.status, edited.header("etag")),
        (200, Some("\"2\"")),
        "{edited:?}"
    );
    let shown = edited.json();
    assert_eq!((&shown["name"], &shown["version"]), (&json!("Müller"), &json!(2)));
    assert_eq!(shown["settings"]["rotation_policy"], edit["rotation_policy"]);
    assert_eq!(shown["settings"]["security_contacts"], edit["security_contacts"]);

    let stale = at("\"1\"").patch(ORGANIZATION, &json!({ "name": "x" })).await;
    assert_eq!(stale.problem(), (412, "version_mismatch".to_owned()));
    assert_eq!(stale.header("etag"), Some("\"2\""));
    assert_eq!(
        at("x").patch(ORGANIZATION, &json!({ "name": "x" })).await.status,
        428
    );
    // What is shown can be sent back, and changes nothing.
    let same = at("*").patch(ORGANIZATION, &shown["settings"]).await;
    assert_eq!(same.header("etag"), Some("\"2\""));
    let without = admin
        .patch(ORGANIZATION, &json!({ "rotation_policy": null }))
        .await;
    assert_eq!(without.header("etag"), Some("\"3\""));
    assert_eq!(without.json()["settings"]["rotation_policy"], json!({}));

    let bad = json!({ "name": "", "max_key_lifetime_ms": 1, "rotation_policy": { "moon": 1 }, "id": "x" });
    let refused = admin.patch(ORGANIZATION, &bad).await;
    assert_eq!(
        refused.fields(),
        ["name", "rotation_policy.moon", "max_key_lifetime_ms", "id"]
    );
    let nowhere = admin
        .patch("/v1/organizations/org-9", &json!({ "name": "x" }))
        .await;
    assert_eq!(nowhere.problem(), (404, "not_found".to_owned()));
}

/// A key of an organization with a longest life ends in time, or is refused.
#[tokio::test]
async fn the_longest_life_binds_new_keys() {
    let app = TestApp::new().await;
    let admin = app.admin();
    admin
        .patch(ORGANIZATION, &json!({ "max_key_lifetime_ms": 86_400_000 }))
        .await;
    let keys = format!("{ORGANIZATION}/keys");
    let endless = admin.post(&keys, &json!({ "name": "A" })).await;
    assert_eq!(endless.fields(), ["expires_at"]);
    let ending = admin
        .post(&keys, &json!({ "name": "A", "expires_in": "1d" }))
        .await;
    assert_eq!(ending.status, 201);
}

#[tokio::test]
async fn what_of_the_settings_who_may_see() {
    let app = TestApp::new().await;
    let contacts = json!({ "security_contacts": [{ "kind": "email", "address": "s@example.com" }] });
    app.admin().patch(ORGANIZATION, &contacts).await;
    member(&app, "member@example.com", "member").await;
    member(&app, "admin@example.com", "admin").await;
    let settings = |reply: crate::support::Reply| reply.json()["settings"].clone();

    let seen = settings(acting(&app, "admin@example.com").get(ORGANIZATION).await);
    assert_eq!(seen["security_contacts"], contacts["security_contacts"]);
    let reader = app.manager(&app.token("organization:read").await);
    let seen = settings(reader.get(ORGANIZATION).await);
    assert_eq!(seen["max_key_lifetime_ms"], Value::Null);
    assert!(seen.get("security_contacts").is_none());
    let shown = acting(&app, "member@example.com").get(ORGANIZATION).await.json();
    assert!(
        shown.get("settings").is_none() && shown.get("members").is_none(),
        "{shown}"
    );
    let list = app.admin().get("/v1/organizations").await;
    assert!(list.json()["items"][0].get("settings").is_none());
}

#[tokio::test]
async fn an_invitation_is_made_accepted_once_and_told_apart_when_it_is_over() {
    let app = TestApp::new().await;
    let admin = app.admin();
    let accept = |token: &str| {
        let body = json!({ "token": token });
        let nobody = app.nobody();
        async move { nobody.post(ACCEPT, &body).await }
    };
    let replaced = invite(&app, "ada@example.com", "member").await;
    let token = invite(&app, "Ada@Example.com", "admin").await;
    assert_eq!(
        accept(&replaced).await.problem(),
        (410, "invitation_replaced".to_owned())
    );
    let accepted = accept(&token).await.json();
    assert_eq!(
        (
            &accepted["organization_id"],
            &accepted["email"],
            &accepted["role"]
        ),
        (&json!("org-1"), &json!("ada@example.com"), &json!("admin"))
    );
    assert_eq!(
        accept(&token).await.problem(),
        (410, "invitation_used".to_owned())
    );

    let late = invite(&app, "late@example.com", "member").await;
    let revoked = invite(&app, "revoked@example.com", "member").await;
    let list = admin.get(&format!("{INVITATIONS}?limit=1000")).await.json();
    let id = list["items"][3]["id"].as_str().unwrap();
    let path = format!("{INVITATIONS}/{id}/revoke");
    for _ in 0..2 {
        assert_eq!(admin.post(&path, &json!({})).await.json()["state"], "revoked");
    }
    assert_eq!(
        accept(&revoked).await.problem(),
        (410, "invitation_revoked".to_owned())
    );
    app.test.clock.advance_ms(7 * 86_400_000);
    assert_eq!(
        accept(&late).await.problem(),
        (410, "invitation_expired".to_owned())
    );
    let list = admin.get(INVITATIONS).await;
    let states: Vec<_> = list.json()["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["state"].clone())
        .collect();
    assert_eq!(states, ["replaced", "accepted", "expired", "revoked"]);
    for secret in [&replaced, &token, &late, &revoked] {
        assert!(!list.text().contains(&secret[8..]));
    }
    for nothing in ["", "x", &token[1..], &"0".repeat(64)] {
        assert_eq!(accept(nothing).await.problem(), (404, "not_found".to_owned()));
    }
    let unread = app.nobody().post(ACCEPT, &json!({ "tokn": token })).await;
    assert_eq!(unread.fields(), ["token", "tokn"]);
    // A link that somebody opens here is no page yet, and its secret comes back in no reply.
    let opened = app.nobody().get(&format!("/invitations/{late}")).await;
    assert!(!opened.text().contains(&late[8..]));
}

#[tokio::test]
async fn roles_are_changed_by_whoever_may() {
    let app = TestApp::new().await;
    let admin = member(&app, "admin@example.com", "admin").await;
    let plain = member(&app, "member@example.com", "member").await;
    let path = |person: &str| format!("{MEMBERS}/{person}");
    let role = |role: &str| json!({ "role": role });
    let by_admin = acting(&app, "admin@example.com");
    let changed = by_admin.patch(&path(&plain), &role("admin")).await;
    assert_eq!(changed.json()["role"], "admin");
    let refused = by_admin.patch(&path(&plain), &role("owner")).await;
    assert_eq!(refused.problem(), (403, "forbidden".to_owned()));
    let token = app.manager(&app.token("members:read,members:write").await);
    let refused = token.patch(&path(&plain), &role("owner")).await;
    assert_eq!(
        refused.problem(),
        (403, "forbidden".to_owned()),
        "no token makes an Owner"
    );
    assert_eq!(token.patch(&path(&plain), &role("member")).await.status, 200);
    let by_member = acting(&app, "member@example.com")
        .patch(&path(&admin), &role("member"))
        .await;
    assert_eq!(by_member.problem(), (404, "not_found".to_owned()));

    let list = app.admin().get(MEMBERS).await.json();
    let owner = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["role"] == "owner")
        .unwrap();
    let owner = owner["person_id"].as_str().unwrap();
    let last = app.admin().patch(&path(owner), &role("admin")).await;
    assert_eq!(last.problem(), (409, "conflict".to_owned()));
    assert_eq!(
        app.admin().get(&path(owner)).await.json()["email"],
        "owner@example.com"
    );
    assert_eq!(
        app.admin().patch(&path(owner), &role("god")).await.fields(),
        ["role"]
    );
    assert_eq!(app.admin().get(&path("p-9")).await.problem().0, 404);
}

#[tokio::test]
async fn whoever_removes_somebody_with_keys_is_asked_and_answered() {
    let app = TestApp::new().await;
    let mut replies = Transcript::default();
    let leaver = member(&app, "leaver@example.com", "admin").await;
    let heir = member(&app, "heir@example.com", "admin").await;
    let key = key_of(&app, &leaver).await;
    let remove = format!("{MEMBERS}/{leaver}/remove");
    let undecided = app.admin().post(&remove, &json!({})).await;
    assert_eq!(undecided.problem(), (409, "keys_undecided".to_owned()));
    assert_eq!(undecided.json()["keys"]["count"], 1);
    assert_eq!(undecided.json()["keys"]["items"][0]["id"], json!(key));
    for said in ["keep", "hand_over", "end"] {
        assert!(undecided.message().contains(said), "{}", undecided.message());
    }
    replies.add(
        "hand over to nobody",
        &app.admin().post(&remove, &json!({ "keys": "hand_over" })).await,
    );
    insta::assert_snapshot!(replies.0);

    // Whoever may not see keys is told how many there are, and decides about none.
    let narrow = app.manager(&app.token("members:write").await);
    let undecided = narrow.post(&remove, &json!({})).await;
    assert_eq!(undecided.json()["keys"], json!({ "count": 1, "items": [] }));
    let refused = narrow.post(&remove, &json!({ "keys": "end" })).await;
    assert_eq!(refused.problem(), (403, "right_missing".to_owned()));

    let done = app
        .admin()
        .post(&remove, &json!({ "keys": "hand_over", "to": heir }))
        .await;
    assert_eq!(
        done.json(),
        json!({ "person_id": leaver, "kept": 0, "handed_over": 1, "ended": 0 })
    );
    let shown = app.admin().get(&format!("/v1/keys/{key}")).await.json();
    assert_eq!(shown["responsible"], json!(heir));
    assert_eq!(shown["state"], "active");

    let leave = format!("{ORGANIZATION}/leave");
    let asked = acting(&app, "heir@example.com").post(&leave, &json!({})).await;
    assert_eq!(asked.problem(), (409, "keys_undecided".to_owned()));
    let left = acting(&app, "heir@example.com")
        .post(&leave, &json!({ "keys": "end" }))
        .await;
    assert_eq!(left.json()["ended"], 1);
    let shown = app.admin().get(&format!("/v1/keys/{key}")).await.json();
    assert_eq!(
        (&shown["state"], &shown["state_reason"]),
        (&json!("deleted"), &json!("creator_left"))
    );
    let last = acting(&app, "owner@example.com").post(&leave, &json!({})).await;
    assert_eq!(last.problem(), (409, "conflict".to_owned()));
    member(&app, "member@example.com", "member").await;
    let left = acting(&app, "member@example.com").post(&leave, &json!({})).await;
    assert_eq!(left.status, 200, "a Member leaves, too");
    let token = app.manager(&app.token("organization:read").await);
    assert_eq!(
        token.post(&leave, &json!({})).await.problem().0,
        404,
        "a token is no member"
    );
}

#[tokio::test]
async fn an_organization_is_locked_deleted_and_restored() {
    let app = TestApp::new().await;
    let key = app.key().await;
    let admin = app.admin();
    let post = |action: &str, body: Value| {
        let path = format!("{ORGANIZATION}/{action}");
        let admin = admin.clone();
        async move { admin.post(&path, &body).await }
    };
    assert_eq!(post("lock", json!({})).await.json()["state"], "locked");
    assert_eq!(post("lock", json!({})).await.json()["changed"], false);
    assert_eq!(post("unlock", json!({})).await.json()["state"], "open");
    for wrong in [
        json!({}),
        json!({ "confirm": "org-2" }),
        json!({ "confirm": true }),
    ] {
        assert_eq!(post("delete", wrong).await.fields(), ["confirm"]);
    }
    assert_eq!(app.test.verify(key.value.reveal()).await, Ok(()));
    let deleted = post("delete", json!({ "confirm": "org-1" })).await.json();
    assert_eq!(
        (&deleted["state"], &deleted["confirmed"]),
        (&json!("stopped"), &json!(1))
    );
    assert_eq!(deleted["purge_at"], "2026-01-31T00:00:00Z");
    assert!(app.test.verify(key.value.reveal()).await.is_err());
    let shown = admin.get(ORGANIZATION).await.json();
    assert_eq!(shown["purge_at"], deleted["purge_at"]);
    let restored = post("restore", json!({})).await.json();
    assert_eq!(
        (&restored["state"], &restored["purge_at"]),
        (&json!("stopped"), &Value::Null)
    );

    member(&app, "admin@example.com", "admin").await;
    let by_admin = acting(&app, "admin@example.com");
    let refused = by_admin
        .post(&format!("{ORGANIZATION}/delete"), &json!({ "confirm": "org-1" }))
        .await;
    assert_eq!(refused.problem(), (403, "right_missing".to_owned()));
    let by_owner = acting(&app, "owner@example.com");
    let deleted = by_owner
        .post(&format!("{ORGANIZATION}/delete"), &json!({ "confirm": "org-1" }))
        .await;
    assert_eq!(deleted.status, 200);
    app.test.clock.advance_ms(30 * 86_400_000);
    assert_eq!(
        post("restore", json!({})).await.problem(),
        (409, "conflict".to_owned())
    );
    app.test
        .engine
        .run_due_purges(app.test.engine.now())
        .await
        .unwrap();
    assert_eq!(
        admin.get(ORGANIZATION).await.problem(),
        (404, "not_found".to_owned())
    );
    let again = json!({ "name": "A", "id": "org-1", "owner_email": "a@b" });
    assert_eq!(
        admin.post("/v1/organizations", &again).await.problem(),
        (409, "conflict".to_owned())
    );
}
