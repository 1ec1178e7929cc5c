//! What is done to many keys at once: shown first, then done and nothing else; and the emergency stops.

use keyward_core::time::{DAY_MS, MINUTE_MS};
use serde_json::{Value, json};

use super::principals::{acting, member};
use super::{KEYS, create, id_of, standing, value_of};
use crate::support::{Caller, Reply, TestApp, Transcript};

const PREVIEW: &str = "/v1/organizations/org-1/keys/bulk/preview";
const RUN: &str = "/v1/organizations/org-1/keys/bulk";
const STOP: &str = "/v1/organizations/org-1/stop";
const RESUME: &str = "/v1/organizations/org-1/resume";

/// Makes keys of these names; the replies to their creation.
async fn keys<const N: usize>(app: &TestApp, names: [&str; N]) -> [Reply; N] {
    let mut made = Vec::new();
    for name in names {
        app.test.clock.advance_ms(1);
        made.push(create(app, &json!({ "name": name })).await);
    }
    made.try_into().unwrap()
}

async fn preview(caller: &Caller, action: &str, filter: Value) -> Value {
    let reply = caller
        .post(PREVIEW, &json!({ "action": action, "filter": filter }))
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

async fn run(caller: &Caller, preview: &Value) -> Reply {
    caller.post(RUN, &json!({ "token": preview["token"] })).await
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort_unstable();
    ids
}

fn texts(list: &Value) -> Vec<String> {
    let items = list.as_array().unwrap().iter();
    sorted(items.map(|id| id.as_str().unwrap().to_owned()).collect())
}

#[tokio::test]
async fn a_dry_run_shows_what_would_end_and_changes_nothing() {
    let app = TestApp::new().await;
    let [used, _unused, paused, deleted] = keys(&app, ["used", "unused", "paused", "deleted"]).await;
    assert_eq!(standing(&app, &value_of(&used)).await, "ok");
    for (key, act) in [(&paused, "pause"), (&deleted, "delete")] {
        app.admin()
            .post(&format!("/v1/keys/{}/{act}", id_of(key)), &json!({}))
            .await;
    }
    let mut replies = Transcript::default();
    let body = json!({ "action": "delete", "reason": "unused", "filter": {} });
    let mut shown = app.admin().post(PREVIEW, &body).await;
    let listed = app
        .admin()
        .get(&format!("{KEYS}?state=active,paused"))
        .await
        .json();
    assert_eq!(shown.json()["keys"], listed["items"], "each as the list shows it");
    // The token is a secret of its caller's, and another one each time.
    let token = shown.json()["token"].as_str().unwrap().to_owned();
    shown.body = shown.text().replace(&token, "[token]").into_bytes();
    replies.add(&body.to_string(), &shown);
    insta::assert_snapshot!(replies.0);
    let of_pause = preview(&app.admin(), "pause", json!({})).await;
    assert_eq!(of_pause["count"], 2, "what is paused already is none of it");
    for (key, code) in [(&used, "ok"), (&paused, "key_paused")] {
        assert_eq!(standing(&app, &value_of(key)).await, code);
    }
    // Used exactly a day ago is not within a day.
    app.test.clock.advance_ms(DAY_MS - 1);
    let later = preview(&app.admin(), "delete", json!({ "state": ["active"] })).await;
    assert_eq!(
        (&later["count"], &later["used_within_a_day"]),
        (&json!(2), &json!(1))
    );
    app.test.clock.advance_ms(DAY_MS);
    let later = preview(&app.admin(), "delete", json!({ "state": ["active"] })).await;
    assert_eq!(later["used_within_a_day"], 0);
}

#[tokio::test]
async fn the_run_does_what_was_shown_and_names_what_it_leaves_out() {
    let app = TestApp::new().await;
    let [plain, edited, ended, paused, used] =
        keys(&app, ["plain", "edited", "ended", "paused", "used"]).await;
    app.test.clock.advance_ms(30 * DAY_MS);
    let shown = preview(&app.admin(), "delete", json!({ "unused_for_days": 30 })).await;
    assert_eq!(shown["count"], 5);
    // Meanwhile:
    let [appeared] = keys(&app, ["appeared"]).await;
    let admin = app.admin().with("if-match", "*");
    let path = format!("/v1/keys/{}", id_of(&edited));
    admin.send("PATCH", &path, r#"{"name": "edited since"}"#).await;
    for (key, act) in [(&ended, "delete"), (&paused, "pause")] {
        let path = format!("/v1/keys/{}/{act}", id_of(key));
        assert_eq!(app.admin().post(&path, &json!({})).await.status, 200);
    }
    assert_eq!(standing(&app, &value_of(&used)).await, "ok");
    app.test.engine.flush_uses().await.unwrap();
    let done = run(&app.admin(), &shown).await.json();
    assert_eq!(texts(&done["done"]), [id_of(&plain)]);
    let mut left_out: Vec<(String, String)> = Vec::new();
    for one in done["left_out"].as_array().unwrap() {
        let text = |name: &str| one[name].as_str().unwrap().to_owned();
        left_out.push((text("id"), text("why")));
    }
    left_out.sort_unstable();
    let mut expected: Vec<(String, String)> = [
        (&edited, "changed"),
        (&ended, "ended"),
        (&paused, "changed"),
        (&used, "changed"),
    ]
    .map(|(key, why)| (id_of(key), why.to_owned()))
    .to_vec();
    expected.sort_unstable();
    assert_eq!(
        left_out, expected,
        "one that was made since is not unused for 30 days"
    );
    assert_eq!(
        (&done["action"], &done["complete"], &done["problem"]),
        (&json!("delete"), &json!(true), &Value::Null)
    );
    for (key, code) in [
        (&plain, "key_deleted"),
        (&edited, "ok"),
        (&paused, "key_paused"),
        (&used, "ok"),
        (&appeared, "ok"),
    ] {
        assert_eq!(standing(&app, &value_of(key)).await, code);
    }
}

#[tokio::test]
async fn what_appeared_since_is_named_and_not_touched() {
    let app = TestApp::new().await;
    let [first] = keys(&app, ["first"]).await;
    let shown = preview(&app.admin(), "pause", json!({})).await;
    let [second] = keys(&app, ["second"]).await;
    let done = run(&app.admin(), &shown).await.json();
    assert_eq!(done["action"], "pause");
    assert_eq!(texts(&done["done"]), [id_of(&first)]);
    assert_eq!(
        done["left_out"],
        json!([{ "id": id_of(&second), "why": "appeared" }])
    );
    assert_eq!(standing(&app, &value_of(&first)).await, "key_paused");
    assert_eq!(standing(&app, &value_of(&second)).await, "ok");
}

#[tokio::test]
async fn a_token_is_good_once_for_whoever_made_the_dry_run_and_for_fifteen_minutes() {
    let app = TestApp::new().await;
    app.test.organization("org-2").await;
    keys(&app, ["a"]).await;
    let other = app.manager(&app.token("keys:write").await);
    let shown = preview(&app.admin(), "pause", json!({ "text": "nothing" })).await;
    assert_eq!(shown["token_ends_at"], "2026-01-01T00:15:00.001Z");
    let refused = (409, "conflict".to_owned());
    assert_eq!(
        run(&other, &shown).await.problem(),
        refused,
        "another principal's"
    );
    let elsewhere = app
        .admin()
        .post(
            "/v1/organizations/org-2/keys/bulk",
            &json!({ "token": shown["token"] }),
        )
        .await;
    assert_eq!(elsewhere.problem(), refused);
    app.test.clock.advance_ms(15 * MINUTE_MS - 1);
    assert_eq!(run(&app.admin(), &shown).await.status, 200);
    assert_eq!(
        run(&app.admin(), &shown).await.problem(),
        refused,
        "it was carried out"
    );
    let shown = preview(&app.admin(), "pause", json!({})).await;
    app.test.clock.advance_ms(15 * MINUTE_MS);
    assert_eq!(
        run(&app.admin(), &shown).await.problem(),
        refused,
        "its time is over"
    );
    let made_up = app.admin().post(RUN, &json!({ "token": "0".repeat(40) })).await;
    assert_eq!(made_up.problem(), refused);
}

#[tokio::test]
async fn a_request_that_is_not_accepted_says_all_that_is_wrong_and_changes_nothing() {
    let app = TestApp::new().await;
    let [key] = keys(&app, ["a"]).await;
    let bad_filter = json!({
        "ids": ["x"], "state": ["gone"], "environment": ["moon"], "scope": ["root"], "level": ["god"],
        "creator": ["me"], "tag": ["a b"], "rotation": ["late"], "unused_for_days": -1, "text": "\u{7}", "name": "a",
    });
    let in_filter: Vec<String> = [
        "creator[0]",
        "environment[0]",
        "ids[0]",
        "level[0]",
        "name",
        "rotation[0]",
        "scope[0]",
        "state[0]",
        "tag[0]",
        "text",
        "unused_for_days",
    ]
    .map(|field| format!("filter.{field}"))
    .to_vec();
    let with = |others: &[&str]| {
        let others = others.iter().map(|field| (*field).to_owned());
        sorted(in_filter.iter().cloned().chain(others).collect())
    };
    let named = |fields: &[&str]| sorted(fields.iter().map(|field| (*field).to_owned()).collect());
    for (path, body, fields) in [
        (PREVIEW, json!({}), named(&["action", "filter"])),
        (PREVIEW, json!({ "action": "delete" }), named(&["filter"])),
        (
            PREVIEW,
            json!({ "action": "delete", "filter": null }),
            named(&["filter"]),
        ),
        (
            PREVIEW,
            json!({ "action": "delete", "filter": [] }),
            named(&["filter"]),
        ),
        (
            PREVIEW,
            json!({ "action": "rotate", "reason": "because", "filter": bad_filter, "yes": true }),
            with(&["action", "reason", "yes"]),
        ),
        (
            PREVIEW,
            json!({ "action": "pause", "reason": "unused", "filter": {} }),
            named(&["reason"]),
        ),
        (RUN, json!({ "yes": true }), named(&["token", "yes"])),
        (RUN, json!({ "token": 1 }), named(&["token"])),
        (STOP, json!({ "filter": bad_filter, "yes": true }), with(&["yes"])),
        (STOP, json!({ "filter": "all" }), named(&["filter"])),
    ] {
        let refused = app.admin().post(path, &body).await;
        assert_eq!(
            refused.problem(),
            (422, "invalid_fields".to_owned()),
            "{path} {body}"
        );
        assert_eq!(sorted(refused.fields()), fields, "{path} {body}");
    }
    assert_eq!(standing(&app, &value_of(&key)).await, "ok");
}

#[tokio::test]
async fn a_stop_pauses_every_key_that_its_filter_means() {
    let app = TestApp::new().await;
    member(&app, "ada", "admin").await;
    let ada = acting(&app, "ada");
    let token = app.token("keys:write").await;
    let robot = app.manager(&token);
    let production = json!({ "name": "p", "environment": "production" });
    let tagged = json!({ "name": "t", "tags": ["leaked"] });
    let of_ada = ada.post(KEYS, &json!({ "name": "a" })).await;
    let of_robot = robot.post(KEYS, &json!({ "name": "r" })).await;
    let (of_production, of_tag) = (create(&app, &production).await, create(&app, &tagged).await);
    let all = [&of_ada, &of_robot, &of_production, &of_tag];
    let creator = format!("token/{}", token.token.record.id);
    for (filter, stopped) in [
        (json!({ "creator": ["person/ada"] }), vec![&of_ada]),
        (json!({ "creator": [creator, "person/ada"] }), vec![&of_robot]),
        (
            json!({ "environment": ["production", "staging"] }),
            vec![&of_production],
        ),
        (json!({ "tag": ["leaked"] }), vec![&of_tag]),
        (json!({}), vec![]),
    ] {
        let reply = app.admin().post(STOP, &json!({ "filter": filter })).await.json();
        let ids = sorted(stopped.iter().map(|key| id_of(key)).collect());
        assert_eq!(texts(&reply["paused"]), ids, "{filter}");
        assert_eq!(
            reply,
            json!({
                "organization_stopped": false, "complete": true, "problem": null, "paused": reply["paused"], "broken": [],
            })
        );
        for key in stopped {
            assert_eq!(standing(&app, &value_of(key)).await, "key_paused", "{filter}");
        }
    }
    for key in all {
        let path = format!("/v1/keys/{}/resume", id_of(key));
        assert_eq!(app.admin().post(&path, &json!({})).await.status, 200);
        assert_eq!(
            standing(&app, &value_of(key)).await,
            "ok",
            "each is resumed by itself"
        );
    }
    // A filter that means no active key pauses none.
    for state in ["paused", "expired", "deleted"] {
        let none = app
            .admin()
            .post(STOP, &json!({ "filter": { "state": [state] } }))
            .await;
        assert_eq!(none.json()["paused"], json!([]), "{state}");
    }
    let either = json!({ "filter": { "state": ["deleted", "active"], "tag": ["leaked"] } });
    let stopped = app.admin().post(STOP, &either).await.json();
    assert_eq!(texts(&stopped["paused"]), [id_of(&of_tag)]);
}

#[tokio::test]
async fn a_stop_names_the_keys_whose_seals_do_not_open() {
    let app = TestApp::new().await;
    let [good, broken] = keys(&app, ["good", "broken"]).await;
    let spoil = format!(
        "UPDATE secret_key SET level = 'read_only' WHERE id = '{}'",
        id_of(&broken)
    );
    assert_eq!(app.test.place.run(&spoil).await, 1);
    app.test.engine.cache().clear();
    let shown = preview(&app.admin(), "pause", json!({})).await;
    let done = run(&app.admin(), &shown).await.json();
    assert_eq!(texts(&done["done"]), [id_of(&good)]);
    assert_eq!(
        done["left_out"],
        json!([{ "id": id_of(&broken), "why": "broken" }])
    );
    let stopped = app.admin().post(STOP, &json!({ "filter": {} })).await.json();
    assert_eq!(
        (&stopped["paused"], &stopped["broken"]),
        (&json!([]), &json!([id_of(&broken)]))
    );
    assert_eq!(stopped["complete"], true);
    assert_eq!(standing(&app, &value_of(&broken)).await, "store_unavailable");
    // It can be deleted, also with others.
    let shown = preview(&app.admin(), "delete", json!({})).await;
    let done = run(&app.admin(), &shown).await.json();
    assert_eq!(texts(&done["done"]), sorted(vec![id_of(&good), id_of(&broken)]));
    assert_eq!(standing(&app, &value_of(&good)).await, "key_deleted");
    assert_ne!(standing(&app, &value_of(&broken)).await, "ok");
}

#[tokio::test]
async fn a_whole_organization_is_stopped_at_once_and_resumed() {
    let app = TestApp::new().await;
    let [key, paused] = keys(&app, ["key", "paused"]).await;
    app.admin()
        .post(&format!("/v1/keys/{}/pause", id_of(&paused)), &json!({}))
        .await;
    let mut replies = Transcript::default();
    replies.add("stop", &app.admin().send("POST", STOP, "").await);
    assert_eq!(standing(&app, &value_of(&key)).await, "key_paused");
    replies.add("stop once more", &app.admin().post(STOP, &json!({})).await);
    let shown = app.admin().get(&format!("/v1/keys/{}", id_of(&key))).await.json();
    assert_eq!(shown["state"], "active", "the keys themselves are as they were");
    replies.add("resume", &app.admin().post(RESUME, &json!({})).await);
    assert_eq!(standing(&app, &value_of(&key)).await, "ok");
    assert_eq!(standing(&app, &value_of(&paused)).await, "key_paused");
    replies.add("resume once more", &app.admin().send("POST", RESUME, "").await);
    insta::assert_snapshot!(replies.0);
}

#[tokio::test]
async fn every_organization_is_stopped_by_the_local_administrator_alone() {
    let app = TestApp::new().await;
    app.test.organization("org-2").await;
    let [key] = keys(&app, ["key"]).await;
    let stopped = app.admin().send("POST", "/v1/stop", "").await;
    insta::assert_snapshot!(stopped.shown());
    assert_eq!(standing(&app, &value_of(&key)).await, "key_paused");
}
