//! Secret keys: made, listed, shown, ended, as whoever manages them meets them.

use std::collections::BTreeSet;

use keyward_core::time::DAY_MS;
use keyward_engine::clock::Clock as _;
use keyward_http::verify;
use keyward_testkit::engine::context;
use serde_json::{Value, json};

use super::principals::{acting, member};
use super::{KEYS, create, id_of, value_of};
use crate::support::{TestApp, Transcript};

#[tokio::test]
async fn a_key_that_nobody_narrowed_has_everything() {
    let app = TestApp::new().await;
    let made = create(&app, &json!({ "name": "My script" })).await;
    insta::assert_snapshot!(made.shown());
    let value = value_of(&made);
    assert_eq!(value.len(), 103);
    let hint = made.json()["hint"].as_str().unwrap().to_owned();
    assert_eq!(hint, format!("{}...{}", &value[..11], &value[99..]));
    let accepted = app.bearer(&value).of("org-1").get(verify::PATH).await;
    assert_eq!(accepted.status, 204);
    assert_eq!(accepted.header("keyward-key-id"), Some(id_of(&made).as_str()));
}

#[tokio::test]
async fn an_environment_proposes_and_what_is_asked_for_wins() {
    let app = TestApp::new().await;
    let mut told = Vec::new();
    for body in [
        json!({ "environment": "production" }),
        json!({ "environment": "staging" }),
        json!({ "environment": "development" }),
        json!({ "environment": "ci_cd", "scopes": ["dataset"] }),
        json!({ "environment": "ci-cd", "scopes": ["training"], "level": "full" }),
        json!({ "environment": "development", "level": "full" }),
        json!({ "environment": null, "level": "labeler_only", "scopes": ["dataset", "dataset"] }),
        json!({ "scopes": ["deployment", "dataset"], "level": "read_only" }),
    ] {
        let mut whole = body.clone();
        whole["name"] = "A".into();
        let made = create(&app, &whole).await.json();
        told.push(format!(
            "{body}: {} {} {}",
            made["environment"], made["scopes"], made["level"]
        ));
    }
    insta::assert_snapshot!(told.join("\n"));
    let nothing_chosen = json!({ "name": "A", "environment": "ci_cd" });
    let refused = app.admin().post(KEYS, &nothing_chosen).await;
    assert_eq!(refused.fields(), ["scopes"]);
}

#[tokio::test]
async fn rules_and_conditions_are_kept_as_they_were_given() {
    let app = TestApp::new().await;
    let body = json!({
        "name": "Crème brûlée \u{1f36e}",
        "description": "Two lines\nand <b>no</b> markup",
        "environment": "production",
        "scopes": ["dataset", "deployment"],
        "rules": [
            { "operations": ["dataset.read", "annotation.*"], "resources": ["dataset/d1", "dataset/d_2"] },
            { "operations": ["inference.run"], "resources": ["deployment/*"] },
        ],
        "not_before": "2026-01-01T01:00:00.5+01:00",
        "expires_at": "2027-01-31T12:00:00Z",
        "allowed_addresses": ["10.0.0.0/8", "2001:db8::/32", "192.0.2.1", "2001:db8::1"],
    });
    let made = create(&app, &body).await;
    insta::assert_snapshot!(made.shown());
    let in_a_moment = create(&app, &json!({ "name": "A", "expires_in": "90d" })).await;
    assert_eq!(in_a_moment.json()["expires_at"], "2026-04-01T00:00:00Z");
}

#[tokio::test]
async fn a_request_that_is_not_accepted_says_all_that_is_wrong_and_makes_no_key() {
    let app = TestApp::new().await;
    let mut replies = Transcript::default();
    for body in [
        json!({}),
        // What can't be read.
        json!({
            "name": 1, "description": ["x"], "environment": "moon", "scopes": ["dataset", "root", 1], "level": "god",
            "rules": [{}, { "operations": ["dataset.fly"] }, 3, { "resources": ["*"], "effect": "deny" }],
            "not_before": "soon", "expires_at": "2027-01-31", "expires_in": "1w",
            "allowed_addresses": ["home", "10.0.0.0/33"], "admin": true, "id": "x",
        }),
        // What can be read and is not good.
        json!({
            "name": "\u{7}", "description": "\u{0}", "scopes": ["training"], "level": "restricted",
            "rules": [
                { "operations": ["dataset.read"], "resources": ["dataset/d1"] },
                { "operations": [], "resources": ["run/*", "dataset/*"] },
            ],
            "not_before": "2026-01-02T00:00:00Z", "expires_at": "2025-01-01T00:00:00Z", "allowed_addresses": [],
        }),
        // Both at once, on different fields.
        json!({
            "name": " ", "environment": "moon", "scopes": [], "expires_in": "99999999999d", "allowed_addresses": [],
            "nmae": "A",
        }),
        // A scope that can't be read says nothing about the level and the rules that would need it.
        json!({
            "name": "A", "environment": "ci_cd", "scopes": ["datasets"],
            "rules": [{ "operations": ["dataset.read"], "resources": ["*"] }],
        }),
    ] {
        let refused = app.admin().post(KEYS, &body).await;
        assert_eq!(refused.problem(), (422, "invalid_fields".to_owned()));
        replies.add(&body.to_string(), &refused);
    }
    insta::assert_snapshot!(replies.0);
    let list = app.admin().get(KEYS).await.json();
    assert_eq!(list, json!({ "items": [], "next": null }));
}

#[tokio::test]
async fn each_of_these_is_refused_at_its_field() {
    let app = TestApp::new().await;
    let rule = json!([{ "operations": ["dataset.read"], "resources": ["*"] }]);
    let many = |count: usize, item: Value| Value::from(vec![item; count]);
    for (field, body) in [
        ("name", json!({ "name": "x".repeat(101) })),
        ("name", json!({ "name": "\u{200b}" })),
        ("name", json!({ "name": "a\u{202e}b" })),
        ("name", json!({ "name": null })),
        ("description", json!({ "description": "x".repeat(1_001) })),
        ("environment", json!({ "environment": "Production" })),
        ("scopes", json!({ "scopes": [] })),
        ("scopes", json!({ "scopes": "dataset" })),
        ("scopes", json!({ "scopes": many(7, "dataset".into()) })),
        ("level", json!({ "level": "Full" })),
        (
            "level",
            json!({ "level": "labeler_only", "scopes": ["training"] }),
        ),
        ("rules", json!({ "level": "restricted" })),
        ("rules", json!({ "rules": [] })),
        ("rules", json!({ "level": "full", "rules": rule })),
        ("rules", json!({ "rules": many(51, rule[0].clone()) })),
        (
            "rules[0].operations[0]",
            json!({ "scopes": ["training"], "rules": rule }),
        ),
        (
            "rules[0].operations[0]",
            json!({ "rules": [{ "operations": ["organization.read"], "resources": ["*"] }] }),
        ),
        (
            "rules[0].resources[0]",
            json!({ "rules": [{ "operations": ["dataset.read"], "resources": ["run/*"] }] }),
        ),
        (
            "rules[0].operations",
            json!({ "rules": [{ "operations": many(101, "dataset.read".into()), "resources": ["*"] }] }),
        ),
        ("expires_at", json!({ "expires_at": "2026-01-01T00:00:00Z" })),
        ("expires_at", json!({ "expires_at": 1_767_225_600 })),
        (
            "expires_in",
            json!({ "expires_in": "1d", "expires_at": "2027-01-01T00:00:00Z" }),
        ),
        ("expires_in", json!({ "expires_in": "0d" })),
        ("expires_in", json!({ "expires_in": "99999999999d" })),
        (
            "not_before",
            json!({ "not_before": "2026-06-01T00:00:00Z", "expires_in": "1d" }),
        ),
        ("allowed_addresses", json!({ "allowed_addresses": [] })),
        (
            "allowed_addresses",
            json!({ "allowed_addresses": many(101, "10.0.0.1".into()) }),
        ),
        (
            "rate_limit.per_seconds",
            json!({ "rate_limit": { "requests": 1 } }),
        ),
        ("created_by", json!({ "created_by": "somebody" })),
    ] {
        let mut whole = json!({ "name": "A" });
        for (name, value) in body.as_object().unwrap() {
            whole[name] = value.clone();
        }
        let refused = app.admin().post(KEYS, &whole).await;
        assert_eq!(refused.problem(), (422, "invalid_fields".to_owned()), "{whole}");
        assert_eq!(refused.fields(), [field], "{whole}");
    }
    for just_so in [
        json!({ "name": "x".repeat(100) }),
        json!({ "name": "A", "description": "x".repeat(1_000) }),
        json!({ "name": "A", "expires_at": "2026-01-01T00:00:00.001Z" }),
        json!({ "name": "A", "allowed_addresses": many(100, "10.0.0.1".into()) }),
        json!({ "name": "A", "rules": many(50, rule[0].clone()) }),
    ] {
        create(&app, &just_so).await;
    }
}

#[tokio::test]
async fn conditions_hold_from_the_first_request_on() {
    let app = TestApp::new().await;
    let body = json!({ "name": "A", "expires_in": "2s", "allowed_addresses": ["203.0.113.0/24"] });
    let made = create(&app, &body).await;
    let caller = app.bearer(&value_of(&made));
    assert_eq!(
        caller.clone().from("203.0.113.1").get(verify::PATH).await.status,
        204
    );
    let elsewhere = caller.clone().from("203.0.114.1").get(verify::PATH).await;
    assert_eq!(elsewhere.problem(), (403, "address_not_allowed".to_owned()));
    app.test.clock.advance_ms(2_000);
    let over = caller.from("203.0.113.1").get(verify::PATH).await;
    assert_eq!(over.problem(), (401, "key_expired".to_owned()));
    let shown = app.admin().get(&format!("/v1/keys/{}", id_of(&made))).await;
    assert_eq!(shown.json()["state"], "expired");
}

#[tokio::test]
async fn a_list_is_walked_page_by_page() {
    let app = TestApp::new().await;
    app.test.organization("org-2").await;
    let mut made = Vec::new();
    for _ in 1..=5 {
        made.push(id_of(&create(&app, &json!({ "name": "One of five" })).await));
        let elsewhere = app
            .admin()
            .post("/v1/organizations/org-2/keys", &json!({ "name": "Of others" }))
            .await;
        assert_eq!(elsewhere.status, 201);
    }
    made.sort_unstable();
    let page = async |query: &str| app.admin().get(&format!("{KEYS}?{query}")).await;
    let first = page("limit=2").await;
    insta::assert_snapshot!(first.shown());
    let mut seen = Vec::new();
    let mut sizes = Vec::new();
    let mut at = first.json();
    loop {
        let items = at["items"].as_array().unwrap();
        sizes.push(items.len());
        seen.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        let Some(cursor) = at["next"].as_str() else { break };
        at = page(&format!("limit=2&cursor={cursor}")).await.json();
    }
    assert_eq!((sizes, seen), (vec![2, 2, 1], made));
    assert_eq!(
        page("").await.json()["items"].as_array().unwrap().len(),
        5,
        "by default all"
    );
    let exactly = page("limit=5").await.json();
    assert_eq!(exactly["next"], Value::Null, "no page is empty");

    let cursor = first.json()["next"].as_str().unwrap().to_owned();
    let of_another_list = app
        .admin()
        .get(&format!("/v1/organizations?cursor={cursor}"))
        .await;
    assert_eq!(of_another_list.fields(), ["cursor"]);
    for (query, fields) in [
        ("limit=0", vec!["limit"]),
        ("limit=1001", vec!["limit"]),
        ("limit=1&limit=1", vec!["limit"]),
        ("cursor=made-up&limit=x", vec!["cursor", "limit"]),
    ] {
        let refused = page(query).await;
        assert_eq!(refused.problem(), (422, "invalid_fields".to_owned()), "{query}");
        assert_eq!(refused.fields(), fields, "{query}");
    }
}

#[tokio::test]
async fn a_deleted_key_stays_deleted_and_is_refused_with_its_reason() {
    let app = TestApp::new().await;
    let made = create(&app, &json!({ "name": "A" })).await;
    let path = format!("/v1/keys/{}", id_of(&made));
    let caller = app.bearer(&value_of(&made));
    assert_eq!(caller.get(verify::PATH).await.status, 204);
    app.test.clock.advance_ms(1_500);

    let mut replies = Transcript::default();
    let delete = format!("{path}/delete");
    let reason = json!({ "reason": "creator-left" });
    replies.add("delete", &app.admin().post(&delete, &reason).await);
    let refused = caller.get(verify::PATH).await;
    assert_eq!(refused.problem(), (401, "key_deleted".to_owned()));
    assert!(refused.message().contains("(reason: creator left)"));
    app.test.clock.advance_ms(1_500);
    replies.add(
        "delete once more, with another reason",
        &app.admin().post(&delete, &json!({ "reason": "other" })).await,
    );
    replies.add("show", &app.admin().get(&path).await);
    replies.add(
        "resume",
        &app.admin().post(&format!("{path}/resume"), &json!({})).await,
    );
    insta::assert_snapshot!(replies.0);
    app.test.engine.cache().clear();
    let refused = caller.get(verify::PATH).await;
    assert!(refused.message().contains("(reason: creator left)"));
}

#[tokio::test]
async fn a_deletion_needs_no_reason_and_refuses_one_that_is_none() {
    let app = TestApp::new().await;
    let made = create(&app, &json!({ "name": "A" })).await;
    let path = format!("/v1/keys/{}/delete", id_of(&made));
    for (body, fields) in [
        (r#"{"reason": "because"}"#, vec!["reason"]),
        (r#"{"reason": 1}"#, vec!["reason"]),
        (
            r#"{"reason": "x", "raeson": "removed"}"#,
            vec!["reason", "raeson"],
        ),
    ] {
        let refused = app.admin().send("POST", &path, body).await;
        assert_eq!(refused.problem(), (422, "invalid_fields".to_owned()), "{body}");
        assert_eq!(refused.fields(), fields, "{body}");
    }
    for body in ["[]", "{", "\"removed\""] {
        let refused = app.admin().send("POST", &path, body).await;
        assert_eq!(refused.problem(), (400, "malformed_body".to_owned()), "{body}");
    }
    let caller = app.bearer(&value_of(&made));
    assert_eq!(caller.get(verify::PATH).await.status, 204, "nothing was changed");
    let deleted = app.admin().send("POST", &path, "").await;
    assert_eq!(deleted.json()["state_reason"], "removed");
    assert_eq!(caller.get(verify::PATH).await.status, 401);
}

#[tokio::test]
async fn a_paused_key_is_resumed_once() {
    let app = TestApp::new().await;
    let key = app.key().await;
    let id = key.key.record.id;
    app.test
        .engine
        .pause_key(context(), app.organization.clone(), id)
        .await
        .unwrap();
    let caller = app.holder(&key);
    assert_eq!(
        caller.get(verify::PATH).await.problem(),
        (401, "key_paused".to_owned())
    );
    let resume = format!("/v1/keys/{id}/resume");
    let mut replies = Transcript::default();
    replies.add("resume", &app.admin().post(&resume, &json!({})).await);
    assert_eq!(caller.get(verify::PATH).await.status, 204);
    replies.add("resume once more", &app.admin().post(&resume, &json!({})).await);
    insta::assert_snapshot!(replies.0);
}

#[tokio::test]
async fn a_key_whose_row_was_changed_can_only_be_deleted() {
    let app = TestApp::new().await;
    let key = app.key().await;
    let path = format!("/v1/keys/{}", key.key.record.id);
    app.test.place.run("UPDATE secret_key SET scopes = 1").await;
    app.test.engine.cache().clear();
    let refused = app.admin().post(&format!("{path}/resume"), &json!({})).await;
    // The row says `active` already, but what it says is not to be believed.
    assert_eq!(refused.problem(), (409, "conflict".to_owned()));
    let deleted = app.admin().post(&format!("{path}/delete"), &json!({})).await;
    assert_eq!(
        (deleted.status, &deleted.json()["state"]),
        (200, &"deleted".into())
    );
}

#[tokio::test]
async fn what_is_no_key_is_not_found() {
    let app = TestApp::new().await;
    let key = app.key().await;
    let id = key.key.record.id.to_string();
    let value = key.value.reveal();
    for other in [
        "0000000000000000",
        "..",
        "%2e%2e",
        "a%2fb",
        "..%2f..%2fv1%2fstatus",
        "garbage",
        "%00",
        "%27%20OR%201=1",
        value,
        &id.to_ascii_uppercase(),
        &format!("{id}0"),
        &format!("{id}%20"),
        &id[..15],
    ] {
        for (method, path) in [
            ("GET", format!("/v1/keys/{other}")),
            ("POST", format!("/v1/keys/{other}/delete")),
            ("POST", format!("/v1/keys/{other}/resume")),
        ] {
            let refused = app.admin().send(method, &path, "").await;
            assert_eq!(
                refused.problem(),
                (404, "not_found".to_owned()),
                "{method} {path}"
            );
        }
    }
    for path in ["/v1/keys/%ff", "/v1/keys/", "/v1/keys", "/v1/keys/a/b"] {
        let refused = app.admin().get(path).await;
        assert_eq!(refused.problem(), (404, "no_such_route".to_owned()), "{path}");
    }
    assert_eq!(app.holder(&key).get(verify::PATH).await.status, 204);
}

/// That no reply but that of the creation holds any part of a value is checked wherever a request is made; here are all
/// routes that show keys, asked once after another.
#[tokio::test]
async fn a_value_is_in_the_reply_to_its_creation_and_in_no_other() {
    let app = TestApp::new().await;
    let made = create(&app, &json!({ "name": "A", "environment": "production" })).await;
    let id = id_of(&made);
    let mut shown = Vec::new();
    for (method, path) in [
        ("GET", KEYS.to_owned()),
        ("GET", format!("/v1/keys/{id}")),
        ("POST", format!("/v1/keys/{id}/resume")),
        ("POST", format!("/v1/keys/{id}/delete")),
        ("GET", format!("/v1/keys/{id}")),
        ("GET", KEYS.to_owned()),
        ("GET", "/v1/organizations/org-1".to_owned()),
        ("POST", "/v1/keyring/rotate".to_owned()),
        ("GET", "/v1/status".to_owned()),
    ] {
        let reply = app.admin().send(method, &path, "").await;
        assert_eq!(reply.status, 200, "{method} {path}");
        assert!(!reply.text().contains("\"value\""));
        shown.push(reply);
    }
    let value = value_of(&made);
    assert!(shown.iter().all(|reply| !reply.text().contains(&value[20..40])));
    assert!(
        app.test.clock.now() == keyward_testkit::clock::START,
        "nothing waited"
    );
}

/// Keys that differ in everything that a list can be asked for, by name.
async fn keys_of_every_kind(app: &TestApp) -> Vec<(&'static str, String)> {
    member(app, "ada", "admin").await;
    let ada = acting(app, "ada");
    let mut made = Vec::new();
    for (name, body) in [
        (
            "alpha",
            json!({ "environment": "production", "tags": ["team-a", "eu"] }),
        ),
        (
            "Beta",
            json!({ "environment": "ci_cd", "scopes": ["dataset"], "level": "read_only", "tags": ["team-a"] }),
        ),
        (
            "gamma",
            json!({ "scopes": ["dataset", "training"], "expires_in": "3d", "rotate_every": "1d" }),
        ),
        (
            "Delta",
            json!({ "level": "labeler_only", "scopes": ["dataset"], "description": "Über 100%" }),
        ),
        (
            "epsilon",
            json!({ "rules": [{ "operations": ["dataset.read"], "resources": ["*"] }], "rotate_every": "10d" }),
        ),
    ] {
        app.test.clock.advance_ms(DAY_MS / 2);
        let mut body = body;
        body["name"] = name.into();
        let caller = if name == "Delta" { &ada } else { &app.admin() };
        let reply = caller.post(KEYS, &body).await;
        assert_eq!(reply.status, 201, "{}", reply.text());
        made.push((name, id_of(&reply)));
        if name == "alpha" {
            app.bearer(&value_of(&reply)).get(verify::PATH).await;
        }
    }
    for (at, act) in [(1, "pause"), (4, "delete")] {
        let path = format!("/v1/keys/{}/{act}", made[at].1);
        assert_eq!(app.admin().post(&path, &json!({})).await.status, 200);
    }
    // Two days after the creation of `gamma`; after one more it is expired.
    app.test.clock.advance_ms(DAY_MS);
    app.test.engine.flush_uses().await.unwrap();
    made
}

#[tokio::test]
async fn a_list_holds_the_keys_that_its_filter_means() {
    let app = TestApp::new().await;
    let made = keys_of_every_kind(&app).await;
    let epsilon = &made[4].1;
    let shown = async |query: &str| {
        let reply = app.admin().get(&format!("{KEYS}?{query}")).await;
        assert_eq!(reply.status, 200, "{query}: {}", reply.text());
        let items = reply.json()["items"].as_array().unwrap().clone();
        let names = items.iter().map(|key| key["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<String>>().join(" ")
    };
    for (query, names) in [
        ("", "alpha Beta gamma Delta epsilon"),
        ("state=active", "alpha gamma Delta"),
        ("state=paused,deleted", "Beta epsilon"),
        ("state=expired", ""),
        ("environment=production", "alpha"),
        ("environment=ci_cd,production", "alpha Beta"),
        ("environment=ci-cd", "Beta"),
        ("environment=none", "gamma Delta epsilon"),
        ("scope=training", "alpha gamma epsilon"),
        ("scope=training,deployment", "alpha epsilon"),
        ("level=full", "alpha gamma"),
        ("level=restricted,labeler_only", "Delta epsilon"),
        ("creator=person/ada", "Delta"),
        (
            "creator=person/ada,local_administrator",
            "alpha Beta gamma Delta epsilon",
        ),
        ("creator=person/eve", ""),
        ("tag=team-a", "alpha Beta"),
        ("tag=eu,nobody", "alpha"),
        ("tag=team", ""),
        ("rotation=overdue", "gamma"),
        ("rotation=not_due", "alpha Beta Delta epsilon"),
        ("unused_for_days=3", "alpha"),
        ("unused_for_days=2", "alpha Beta gamma"),
        ("unused_for_days=4", ""),
        ("text=ETA", "Beta"),
        ("text=%C3%BCBER", "Delta"),
        ("text=100%25", "Delta"),
        ("text=%25", "Delta"),
        ("text=_", ""),
        ("text=", "alpha Beta gamma Delta epsilon"),
        (&format!("text={epsilon}"), "epsilon"),
        (
            "environment=none&scope=dataset&state=active&text=a",
            "gamma Delta",
        ),
        (
            "environment=none&scope=dataset,training&state=active&unused_for_days=2&level=full",
            "gamma",
        ),
        (
            "tag=team-a&state=paused&level=read_only&creator=local_administrator&rotation=not_due",
            "Beta",
        ),
    ] {
        assert_eq!(shown(query).await, names, "{query}");
    }
    app.test.clock.advance_ms(DAY_MS);
    assert_eq!(shown("state=expired").await, "gamma");
    assert_eq!(shown("state=active").await, "alpha Delta");
    assert_eq!(shown("rotation=overdue").await, "", "an ended key is never due");
}

#[tokio::test]
async fn a_filter_that_can_not_be_read_says_all_that_is_wrong() {
    let app = TestApp::new().await;
    let value = value_of(&create(&app, &json!({ "name": "A" })).await);
    let long = "x".repeat(201);
    for (query, fields) in [
        (
            "state=gone&environment=moon&scope=root&level=god&creator=me&tag=A%20b&rotation=late&unused_for_days=x&sort=size\
             &direction=up",
            vec![
                "state[0]",
                "environment[0]",
                "scope[0]",
                "level[0]",
                "rotation[0]",
                "unused_for_days",
                "creator[0]",
                "tag[0]",
                "sort",
                "direction",
            ],
        ),
        ("state=active,gone", vec!["state[1]"]),
        ("state=", vec!["state[0]"]),
        ("unused_for_days=-1", vec!["unused_for_days"]),
        ("unused_for_days=3651", vec!["unused_for_days"]),
        ("unused_for_days=1.5", vec!["unused_for_days"]),
        ("sort=Name", vec!["sort"]),
        ("text=a%00", vec!["text"]),
        (&format!("text={long}"), vec!["text"]),
        ("state=active&state=paused", vec!["state"]),
    ] {
        let refused = app.admin().get(&format!("{KEYS}?{query}")).await;
        assert_eq!(refused.problem(), (422, "invalid_fields".to_owned()), "{query}");
        assert_eq!(refused.fields(), fields, "{query}");
    }
    let in_url = app.admin().get(&format!("{KEYS}?text={value}")).await;
    assert_eq!(in_url.problem(), (400, "bad_request".to_owned()));
}

/// Names, last uses and dates that are the same for several keys, so that places among equals are met.
async fn keys_in_many_places(app: &TestApp) -> usize {
    for number in 0..13 {
        if number % 3 == 0 {
            app.test.clock.advance_ms(60_000);
        }
        let name = ["b", "A", "a", "Ä", "long"][number % 5];
        let name = if name == "long" {
            "x".repeat(100)
        } else {
            name.to_owned()
        };
        let mut body = json!({ "name": name });
        if number % 2 == 0 {
            body["expires_in"] = ["10d", "20d"][number % 4 / 2].into();
        }
        if number % 4 == 1 {
            body["rotate_every"] = "30d".into();
        }
        let made = create(app, &body).await;
        if number % 3 == 1 {
            app.bearer(&value_of(&made)).get(verify::PATH).await;
        }
    }
    app.test.engine.flush_uses().await.unwrap();
    13
}

#[tokio::test]
async fn every_order_walks_through_all_keys_once_whatever_the_size_of_a_page() {
    let app = TestApp::new().await;
    let count = keys_in_many_places(&app).await;
    let mut whole = Vec::new();
    for sort in ["created", "name", "last_used", "expires", "due"] {
        let mut orders = Vec::new();
        for direction in ["ascending", "descending"] {
            let mut walks = Vec::new();
            for limit in [1, 2, 5, 13, 1_000] {
                let mut seen = Vec::new();
                let mut cursor = String::new();
                loop {
                    let path = format!("{KEYS}?sort={sort}&direction={direction}&limit={limit}{cursor}");
                    let page = app.admin().get(&path).await.json();
                    let items = page["items"].as_array().unwrap();
                    assert!(!items.is_empty() && items.len() <= limit, "{path}");
                    seen.extend(items.iter().map(|key| key["id"].as_str().unwrap().to_owned()));
                    let Some(next) = page["next"].as_str() else { break };
                    cursor = format!("&cursor={next}");
                }
                walks.push(seen);
            }
            assert_eq!(walks[0].iter().collect::<BTreeSet<_>>().len(), count, "{sort}");
            assert_eq!(walks[0].len(), count, "{sort} {direction}");
            for walk in &walks {
                assert_eq!(walk, &walks[0], "{sort} {direction}");
            }
            orders.push(walks.swap_remove(0));
        }
        orders[1].reverse();
        assert_eq!(
            orders[0], orders[1],
            "{sort}: one direction is the other reversed"
        );
        whole.push(orders.swap_remove(0));
    }
    // As asked for without a word: by creation, upwards.
    let usual = app.admin().get(KEYS).await.json();
    let ids: Vec<&str> = usual["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key["id"].as_str().unwrap())
        .collect();
    assert_eq!(whole[0], ids);
    let field = async |order: &[String], name: &str| {
        let mut values = Vec::new();
        for id in order {
            let key = app.admin().get(&format!("/v1/keys/{id}")).await.json();
            values.push(key[name].as_str().map(str::to_owned));
        }
        values
    };
    let names = field(&whole[1], "name").await;
    let small: Vec<String> = names.iter().flatten().map(|name| name.to_lowercase()).collect();
    let of = |name: &str| small.iter().filter(|other| *other == name).count();
    let first_b = small.iter().position(|name| name == "b").unwrap();
    assert_eq!(
        (of("a"), first_b),
        (6, small.iter().rposition(|name| name == "a").unwrap() + 1)
    );
    let used = field(&whole[2], "last_used_at").await;
    assert!(
        used.is_sorted() && used[0].is_none(),
        "never used comes first: {used:?}"
    );
    for (at, name) in [(3, "expires_at"), (4, "rotation_due_at")] {
        let dates = field(&whole[at], name).await;
        let known: Vec<&String> = dates.iter().flatten().collect();
        assert!(known.is_sorted(), "{known:?}");
        assert!(
            dates[known.len()..].iter().all(Option::is_none),
            "without one comes last"
        );
    }
}

#[tokio::test]
async fn a_cursor_belongs_to_its_order() {
    let app = TestApp::new().await;
    keys_in_many_places(&app).await;
    let page = app.admin().get(&format!("{KEYS}?sort=name&limit=2")).await.json();
    let cursor = page["next"].as_str().unwrap();
    for other in [
        "sort=created",
        "sort=name&direction=descending",
        "sort=due",
        "limit=1",
    ] {
        let refused = app.admin().get(&format!("{KEYS}?{other}&cursor={cursor}")).await;
        assert_eq!(refused.problem(), (422, "invalid_fields".to_owned()), "{other}");
        assert_eq!(refused.fields(), ["cursor"], "{other}");
    }
    // A filter may change; the place is still one.
    let narrowed = app
        .admin()
        .get(&format!("{KEYS}?sort=name&state=active&cursor={cursor}"))
        .await;
    assert_eq!(narrowed.status, 200);
}
