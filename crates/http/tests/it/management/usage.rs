//! Usage over the wire: rows in three formats, page by page and whole, sums, curves, advice, and what strangers write into it.

use keyward_core::address::CallerAddress;
use keyward_core::harmless::is_harmful;
use keyward_core::ids::KeyId;
use keyward_core::operation::Operation;
use keyward_core::refusal::Code;
use keyward_core::time::{DAY_MS, HOUR_MS};
use keyward_core::usage::{ClientName, Outcome, Source, UsedFor, hour_of};
use keyward_http::verify;
use keyward_store::usage::UsageCount;
use keyward_testkit::clock::START;
use serde_json::{Value, json};

use super::{create, id_of, value_of};
use crate::log::Log;
use crate::support::{Reply, TestApp};

const USAGE: &str = "/v1/organizations/org-1/usage";
const READ: UsedFor = UsedFor::Perform(Operation::DatasetRead);
/// What somebody may call their client: a formula, a terminal's escape, and bytes that are no text.
const NASTY_CLIENT: &[u8] = b"=cmd|'/c calc'!A1\xe2\x80\xae\x9b31m,\"x\"";

fn client(name: &[u8]) -> ClientName {
    ClientName::from_user_agent(Some(name), [b"dtvi_", b"kwmt_"])
}

/// Ten uses of a key, so long before the test's moment.
fn count(app: &TestApp, id: &str, hours_ago: i64, outcome: Outcome, address: &str) -> UsageCount {
    let at = START.plus_ms(-hours_ago * HOUR_MS);
    UsageCount {
        organization_id: app.organization.clone(),
        key_id: id.parse().unwrap(),
        hour: hour_of(at),
        secret: 1,
        used_for: READ,
        outcome,
        source: Source::Of(
            CallerAddress::Known(address.parse().unwrap()),
            client(b"curl/8.5"),
        ),
        uses: 10,
        first_at: at,
        last_at: at,
    }
}

async fn record(app: &TestApp, counts: &[UsageCount]) {
    let mut tx = app.test.engine.store().begin().await.unwrap();
    tx.record_usage(counts).await.unwrap();
    tx.commit().await.unwrap();
}

async fn show(app: &TestApp, path: &str) -> Value {
    let reply = app.admin().get(path).await;
    assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    reply.json()
}

fn refused() -> Outcome {
    Outcome::Refused(Code::OperationNotPermitted)
}

#[tokio::test]
async fn a_history_is_the_same_in_every_format_and_in_every_step() {
    let app = TestApp::new().await;
    let id = id_of(&create(&app, &json!({ "name": "nightly, \"blue\"" })).await);
    let mut counts = Vec::new();
    for hours in 0..7 {
        counts.push(count(&app, &id, hours, Outcome::Accepted, "10.0.0.1"));
        counts.push(count(&app, &id, hours, refused(), "2001:db8::7"));
    }
    record(&app, &counts).await;
    let path = format!("/v1/keys/{id}/usage");
    let whole = show(&app, &path).await;
    let rows = whole["items"].as_array().unwrap().clone();
    assert_eq!((rows.len(), &whole["next"]), (14, &Value::Null));
    assert_eq!(rows[0]["key_id"], id.as_str());
    assert_eq!(rows[0]["key_name"], "nightly, \"blue\"");
    assert_eq!(rows[0]["hour"], "2026-01-01T00:00:00Z");
    assert_eq!(rows[0]["client"], "curl/8.5");

    // Page by page, as JSON by the cursor and as lines by the link.
    let mut found = Vec::new();
    let mut next = String::new();
    loop {
        let page = show(&app, &format!("{path}?limit=3&cursor={next}")).await;
        found.extend(page["items"].as_array().unwrap().clone());
        match page["next"].as_str() {
            Some(cursor) => next = cursor.to_owned(),
            None => break,
        }
    }
    assert_eq!(found, rows);
    let mut found = Vec::new();
    let mut next = format!("{path}?limit=5&format=jsonl&outcome=refused");
    loop {
        let reply = app.admin().get(&next).await;
        assert_eq!(reply.header("content-type"), Some("application/jsonl"));
        let text = reply.text();
        found.extend(
            text.lines()
                .map(|line| serde_json::from_str::<Value>(line).unwrap()),
        );
        let Some(link) = reply.header("link") else { break };
        let query = link
            .strip_prefix('<')
            .and_then(|rest| rest.strip_suffix(">; rel=\"next\""))
            .unwrap();
        next = format!("{path}{query}");
    }
    let refused: Vec<Value> = rows
        .iter()
        .filter(|row| row["outcome"] != "ok")
        .cloned()
        .collect();
    assert_eq!(
        found, refused,
        "the link keeps the filter, the format and the size"
    );

    let csv = app.admin().with("accept", "text/csv, */*;q=0.1").get(&path).await;
    assert_eq!(
        csv.header("content-type"),
        Some("text/csv; charset=utf-8; header=present")
    );
    let text = csv.text();
    let lines: Vec<&str> = text.split_terminator("\r\n").collect();
    assert_eq!(lines.len(), 15, "a header and the rows");
    assert!(
        lines[1].contains(",\"nightly, \"\"blue\"\"\",1,dataset.read,"),
        "{}",
        lines[1]
    );
}

#[tokio::test]
async fn a_whole_export_has_every_page_and_a_refused_one_none() {
    let app = TestApp::new().await;
    let id = id_of(&create(&app, &json!({ "name": "A" })).await);
    let mut counts = Vec::new();
    for hours in 0..25 {
        for client_number in 0..50 {
            let mut one = count(&app, &id, hours, Outcome::Accepted, "10.0.0.1");
            one.source = Source::Of(
                CallerAddress::Unknown,
                client(format!("client-{client_number}").as_bytes()),
            );
            counts.push(one);
        }
    }
    record(&app, &counts).await;
    let path = format!("/v1/keys/{id}/usage");
    let reply = app.admin().get(&format!("{path}?format=jsonl&all=true")).await;
    let rows: std::collections::BTreeSet<String> = reply.text().lines().map(str::to_owned).collect();
    assert_eq!((reply.status, rows.len()), (200, 1_250), "more than a page holds");
    let reply = app.admin().get(&format!("{path}?format=csv&all=true")).await;
    assert_eq!(reply.text().lines().count(), 1_251, "one header");

    let deleted = app
        .admin()
        .post(&format!("/v1/keys/{id}/delete"), &json!({}))
        .await;
    assert_eq!(deleted.status, 200);
    let page = show(&app, &path).await;
    assert_eq!(
        page["items"].as_array().unwrap().len(),
        100,
        "of a deleted key, too"
    );

    for (query, field) in [
        ("all=true", "all"),
        ("format=xml", "format"),
        ("format=csv&all=yes", "all"),
        ("from=yesterday", "from"),
        ("from=2024-01-01T00:00:00Z", "from"),
        ("from=2026-01-02T00:00:00Z", "from"),
        ("outcome=fine", "outcome"),
        ("operation=dataset.fly", "operation"),
        ("secret=-1", "secret"),
        ("cursor=zzz", "cursor"),
        ("limit=0", "limit"),
    ] {
        let reply = app.admin().get(&format!("{path}?{query}")).await;
        assert_eq!(reply.problem(), (422, "invalid_fields".to_owned()), "{query}");
        assert_eq!(reply.json()["errors"][0]["field"], field, "{query}");
    }
    let many = app
        .admin()
        .get(&format!("{path}?from=x&outcome=y&limit=z&format=w"))
        .await;
    assert_eq!(many.json()["errors"].as_array().unwrap().len(), 4, "all at once");
}

#[tokio::test]
async fn an_export_ends_when_its_token_does() {
    let app = TestApp::new().await;
    let id = id_of(&create(&app, &json!({ "name": "A" })).await);
    record(&app, &[count(&app, &id, 1, Outcome::Accepted, "10.0.0.1")]).await;
    let token = app.token("keys:read").await;
    let caller = app.manager(&token);
    let path = format!("/v1/keys/{id}/usage?format=csv&all=true");
    assert_eq!(caller.get(&path).await.status, 200);
    let delete = app.test.engine.delete_token(
        keyward_testkit::engine::context(),
        app.organization.clone(),
        token.token.record.id,
    );
    delete.await.unwrap();
    assert_eq!(caller.get(&path).await.problem().1, "token_deleted");
}

#[tokio::test]
async fn sums_tell_secrets_refusals_and_strangers_apart() {
    let app = TestApp::new().await;
    let id = id_of(&create(&app, &json!({ "name": "A" })).await);
    let mut stranger = count(&app, &id, 3, Outcome::Refused(Code::KeyUnknown), "203.0.113.9");
    stranger.secret = 0;
    let mut second = count(&app, &id, 1, Outcome::Accepted, "10.0.0.2");
    second.secret = 2;
    second.used_for = UsedFor::Identify;
    let counts = [
        count(&app, &id, 5, Outcome::Accepted, "10.0.0.1"),
        count(&app, &id, 2, refused(), "10.0.0.1"),
        count(&app, &id, 24 * 40, Outcome::Accepted, "10.0.0.1"),
        stranger,
        second,
    ];
    record(&app, &counts).await;
    let summary = show(&app, &format!("/v1/keys/{id}/usage/summary")).await;
    assert_eq!(
        summary["totals"],
        json!({ "accepted": 20, "refused": 10, "only_id_matched": 10 })
    );
    let last_use = json!({ "operation": "identify", "address": "10.0.0.2", "client": "curl/8.5" });
    assert_eq!(summary["secrets"][0]["number"], 2);
    assert_eq!(summary["secrets"][0]["last_use"], last_use);
    assert_eq!(summary["secrets"][1]["refused"], 10);
    assert_eq!(
        summary["refusals"],
        json!([{ "code": "operation_not_permitted", "uses": 10, "last_at": "2025-12-31T22:00:00Z" }])
    );
    assert_eq!(summary["addresses"][0]["name"], "10.0.0.1");
    let by_hour = show(&app, &format!("/v1/keys/{id}/usage/series?by=hour")).await;
    let points = by_hour["points"].as_array().unwrap();
    assert_eq!(points.len(), 49, "two days and the present hour, without gaps");
    assert_eq!(
        points[45],
        json!({ "at": "2025-12-31T21:00:00Z", "accepted": 0, "refused": 0, "only_id_matched": 10 })
    );
    let csv = app
        .admin()
        .get(&format!("/v1/keys/{id}/usage/series?format=csv"))
        .await;
    assert_eq!(csv.text().lines().count(), 32, "a header and 31 days");
    // The key itself shows how it was used last.
    let key = show(&app, &format!("/v1/keys/{id}")).await;
    assert_eq!(key["last_use"], last_use);
    assert_eq!(key["secrets"][0]["number"], 1);
    assert_eq!(key["secrets"][0]["last_use"]["address"], "10.0.0.1");
    let list = show(&app, "/v1/organizations/org-1/keys").await;
    assert_eq!(list["items"][0]["last_use"], last_use);
}

#[tokio::test]
async fn an_overview_names_what_deserves_a_look() {
    let app = TestApp::new().await;
    let used = id_of(&create(&app, &json!({ "name": "used" })).await);
    let abandoned = id_of(&create(&app, &json!({ "name": "abandoned" })).await);
    let never = id_of(&create(&app, &json!({ "name": "never" })).await);
    app.test.clock.advance_ms(100 * DAY_MS);
    let late = |hours: i64, id: &str, outcome, address: &str| UsageCount {
        hour: hour_of(START.plus_ms(100 * DAY_MS - hours * HOUR_MS)),
        first_at: START.plus_ms(100 * DAY_MS - hours * HOUR_MS),
        last_at: START.plus_ms(100 * DAY_MS - hours * HOUR_MS),
        ..count(&app, id, 0, outcome, address)
    };
    let counts = [
        late(24 * 60, &abandoned, Outcome::Accepted, "10.0.0.1"),
        late(2, &used, Outcome::Accepted, "10.0.0.2"),
        late(2, &used, refused(), "10.0.0.3"),
        late(1, &used, refused(), "10.0.0.3"),
    ];
    record(&app, &counts).await;
    let shown = show(&app, USAGE).await;
    assert_eq!(
        shown["totals"],
        json!({ "accepted": 10, "refused": 20, "only_id_matched": 0 })
    );
    assert_eq!(
        shown["keys"],
        json!({ "total": 3, "within_a_day": 1, "within_7_days": 1, "within_30_days": 1, "longer_ago": 1, "never": 1 })
    );
    assert_eq!(shown["last_used"][0]["key_name"], "used");
    assert_eq!(shown["new_addresses"][0]["address"], "10.0.0.2");
    assert_eq!(shown["rises"][0]["recent"], 20);
    assert!(shown["rise_rule"].as_str().unwrap().contains("at least 20"));

    let unused = show(&app, &format!("{USAGE}/unused?days=30")).await;
    let names: Vec<&str> = unused["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        ["abandoned", "never"],
        "the longest unused first, then the never used"
    );
    // One by one the same.
    let first = show(&app, &format!("{USAGE}/unused?days=30&limit=1")).await;
    let rest = format!(
        "{USAGE}/unused?days=30&limit=1&cursor={}",
        first["next"].as_str().unwrap()
    );
    let rest = show(&app, &rest).await;
    assert_eq!(
        (&rest["items"][0]["id"], &rest["next"]),
        (&json!(never), &Value::Null)
    );
    let csv = app
        .admin()
        .get(&format!("{USAGE}/unused?days=30&format=csv&all=true"))
        .await;
    assert!(csv.text().lines().nth(1).unwrap().starts_with(&abandoned));
    let top = show(&app, &format!("{USAGE}/top?of=addresses&limit=1")).await;
    assert_eq!(top["items"][0]["name"], "10.0.0.3");
    let clients = show(&app, &format!("{USAGE}/top?of=clients")).await;
    assert_eq!(clients["items"][0]["keys"], 1);
    let seen = show(&app, &format!("{USAGE}/addresses?days=90")).await;
    assert_eq!(seen["items"].as_array().unwrap().len(), 2);
    assert_eq!(seen["items"][0]["is_first_of_key"], true);
    let curve = show(&app, &format!("{USAGE}/series?by=day")).await;
    assert_eq!(curve["points"].as_array().unwrap().len(), 31);
    for bad in [
        "unused?days=0",
        "addresses?days=x",
        "top?of=people",
        "top?limit=101",
        "series?by=week",
    ] {
        assert_eq!(
            app.admin().get(&format!("{USAGE}/{bad}")).await.problem().0,
            422,
            "{bad}"
        );
    }
    let elsewhere = app.admin().get("/v1/organizations/org-9/usage").await;
    assert_eq!(elsewhere.problem(), (404, "not_found".to_owned()));
}

#[tokio::test]
async fn advice_can_be_sent_as_an_edit() {
    let app = TestApp::new().await;
    let id = id_of(&create(&app, &json!({ "name": "A" })).await);
    let path = format!("/v1/keys/{id}/advice");
    assert_eq!(
        show(&app, &path).await["verdict"],
        "wait",
        "it is too young to judge"
    );
    record(&app, &[count(&app, &id, 0, Outcome::Accepted, "10.0.0.1")]).await;
    let advice = show(&app, &path).await;
    assert_eq!(advice["verdict"], "narrow");
    assert_eq!(advice["used"], json!(["dataset.read"]));
    assert_eq!(
        advice["level"],
        json!({ "scopes": ["dataset"], "level": "read_only" })
    );
    let asked_whose = |advice: &Value| {
        advice["message"]
            .as_str()
            .unwrap()
            .contains("asked 10 times whose key")
    };
    assert!(!asked_whose(&advice), "{advice}");
    let identified = UsageCount {
        used_for: UsedFor::Identify,
        ..count(&app, &id, 0, Outcome::Accepted, "10.0.0.1")
    };
    record(&app, &[identified]).await;
    let with_it = show(&app, &path).await;
    assert!(asked_whose(&with_it), "{with_it}");
    assert_eq!(with_it["edit"], advice["edit"]);
    let edited = app
        .admin()
        .with("if-match", "*")
        .patch(&format!("/v1/keys/{id}"), &advice["edit"])
        .await;
    assert_eq!(edited.status, 200, "{}", edited.text());
    assert_eq!(edited.json()["rules"], advice["edit"]["rules"]);
    let again = show(&app, &path).await;
    assert_eq!(
        (&again["verdict"], &again["edit"]),
        (&json!("keep"), &Value::Null)
    );
    app.test.clock.advance_ms(31 * DAY_MS);
    assert_eq!(show(&app, &path).await["verdict"], "remove");
    assert_eq!(
        app.admin().get(&format!("{path}?days=401")).await.problem().0,
        422
    );
}

fn assert_harmless(reply: &Reply) {
    let text = reply.text();
    let is_line_end = |c: char| c == '\n' || c == '\r';
    let bad: Vec<char> = text
        .chars()
        .filter(|c| is_harmful(*c) && !is_line_end(*c))
        .collect();
    assert!(bad.is_empty(), "{bad:?} in {text}");
    for cell in text.lines().flat_map(|line| line.split(',')) {
        let begin = cell.trim_start_matches('"');
        assert!(
            !begin.starts_with(['=', '+', '-', '@']),
            "a spreadsheet computes `{cell}`"
        );
    }
}

#[tokio::test]
async fn what_strangers_call_themselves_harms_nobody() {
    let (log, _guard) = Log::follow();
    let app = TestApp::new().await;
    // A name may begin like a formula, and hold marks that have no width.
    let name = "=HYPERLINK(\"http://x\",\"y\")\u{200f}\u{feff}";
    let made = create(&app, &json!({ "name": name })).await;
    let id = id_of(&made);
    // Over the wire, as a client sends it: accepted, and refused.
    let caller = app
        .bearer(&value_of(&made))
        .with("user-agent", NASTY_CLIENT)
        .with("x-forwarded-for", b"=1+1\x9b, \"x\"");
    assert_eq!(caller.get(verify::PATH).await.status, 204);
    assert_eq!(caller.of("org-2").get(verify::PATH).await.status, 401);
    let mut nasty = count(&app, &id, 0, Outcome::Accepted, "10.0.0.1");
    nasty.source = Source::Of(CallerAddress::Unknown, client(NASTY_CLIENT));
    record(&app, &[nasty]).await;

    for query in ["format=csv", "format=jsonl", "format=csv&all=true"] {
        let reply = app.admin().get(&format!("/v1/keys/{id}/usage?{query}")).await;
        assert_harmless(&reply);
    }
    let history = show(&app, &format!("/v1/keys/{id}/usage")).await;
    assert_eq!(history["items"][0]["key_name"], name, "JSON says it as it is");
    let shown: Vec<&str> = history["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["client"].as_str().unwrap())
        .collect();
    assert!(
        shown.contains(&"=cmd|'/c calc'!A1????31m,\"x\""),
        "only printable ASCII is kept: {shown:?}"
    );
    for what in ["unused?days=1&", "addresses?", "top?of=clients&"] {
        let reply = app.admin().get(&format!("{USAGE}/{what}format=csv")).await;
        assert_harmless(&reply);
    }
    let lines = log.lines_with("");
    assert!(
        lines.iter().any(|line| line.contains("organization_mismatch")),
        "{lines:?}"
    );
    for line in lines {
        assert!(!line.contains(is_harmful), "{line:?}");
        assert!(!line.contains("calc"), "a log says nothing of clients: {line}");
    }
}

#[tokio::test]
async fn an_organizations_numbers_are_nobody_elses() {
    let app = TestApp::new().await;
    let id: KeyId = app.key().await.key.record.id;
    record(
        &app,
        &[count(&app, id.as_str(), 1, Outcome::Accepted, "10.0.0.1")],
    )
    .await;
    let elsewhere = app.test.organization("org-2").await;
    let theirs = app.token_of(&elsewhere, "keys:read", None).await;
    let caller = app.manager(&theirs);
    for path in [
        format!("/v1/keys/{id}/usage"),
        format!("/v1/keys/{id}/usage/summary"),
        format!("/v1/keys/{id}/advice"),
        format!("{USAGE}/top"),
    ] {
        assert_eq!(caller.get(&path).await.problem().0, 404, "{path}");
    }
    let own = caller.get("/v1/organizations/org-2/usage").await;
    assert_eq!(own.json()["totals"]["accepted"], 0);
}
