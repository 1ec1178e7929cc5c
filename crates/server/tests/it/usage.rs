//! `keyward usage`, as an operator types it: tables, the formats for programs, and what strangers wrote into them.

use std::path::Path;

use keyward_core::address::CallerAddress;
use keyward_core::harmless::is_harmful;
use keyward_core::operation::Operation;
use keyward_core::refusal::Code;
use keyward_core::time::{HOUR_MS, Timestamp};
use keyward_core::usage::{ClientName, Outcome, Source, UsedFor, hour_of};
use keyward_store::usage::UsageCount;
use keyward_store::{Database, Store};
use keyward_testkit::server::{KeywardProcess, quickstart};
use serde_json::Value;

use crate::PROGRAM;
use crate::support::{create_key, refused, says, succeed};

/// A formula, a terminal's escape and a bidi override, as somebody may call their client.
const NASTY: &[u8] = b"=1+1\x1b[2J\xe2\x80\xae evil";

/// Writes into the database of a running server what it would count: 150 hours of accepted uses, and a refused one.
fn write_usage(data_folder: &Path, id: &str, now: Timestamp) {
    let key = |hours: i64, outcome, address: &str, client: &[u8]| {
        let at = now.plus_ms(-hours * HOUR_MS);
        UsageCount {
            organization_id: organization(),
            key_id: id.parse().expect("an id"),
            hour: hour_of(at),
            secret: 1,
            used_for: UsedFor::Perform(Operation::DatasetRead),
            outcome,
            source: Source::Of(
                CallerAddress::Known(address.parse().expect("an address")),
                ClientName::from_user_agent(Some(client), [b"dtvi_", b"kwmt_"]),
            ),
            uses: 4,
            first_at: at,
            last_at: at,
        }
    };
    let accepted = (0..150).map(|hours| key(hours, Outcome::Accepted, "192.0.2.7", b"curl/8.5"));
    let refused = key(1, Outcome::Refused(Code::KeyPaused), "2001:db8::9", NASTY);
    let counts: Vec<UsageCount> = accepted.chain([refused]).collect();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let database = Database::Sqlite(data_folder.join("keyward.db"));
        let store = Store::open(&database).await.expect("the server's database");
        let mut tx = store.begin().await.expect("a transaction");
        tx.record_usage(&counts).await.expect("usage is written");
        tx.commit().await.expect("and committed");
        store.close().await;
    });
}

fn organization() -> keyward_core::ids::OrganizationId {
    ORGANIZATION.with(|one| one.borrow().parse().expect("an id"))
}

thread_local! {
    /// The organization that the quickstart made.
    static ORGANIZATION: std::cell::RefCell<String> = const { std::cell::RefCell::new(String::new()) };
}

/// A server with a key that has a past: its id.
fn with_past(name: &str) -> (KeywardProcess, String) {
    let (keyward, _) = quickstart(PROGRAM);
    let (id, _) = create_key(&keyward, name);
    let shown = keyward.cli_json(&["keys", "show", &id]);
    let text = |field: &str| shown[field].as_str().expect("a text").to_owned();
    ORGANIZATION.with(|one| one.replace(text("organization_id")));
    let now = keyward_api::moment::read(&text("created_at")).expect("a moment");
    write_usage(keyward.installation().data_folder(), &id, now);
    (keyward, id)
}

fn note_of(keyward: &KeywardProcess, arguments: &[&str]) -> String {
    let output = keyward.cli(arguments);
    assert_eq!(succeed(&output), "", "no data");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn an_empty_history_says_what_would_fill_it() {
    let (keyward, _) = quickstart(PROGRAM);
    let (id, _) = create_key(&keyward, "Quiet");
    says(
        &note_of(&keyward, &["usage", "key", &id]),
        &["nobody used", "--from"],
    );
    says(
        &note_of(&keyward, &["usage", "key", &id, "--outcome", "refused"]),
        &["leave a filter out"],
    );
    says(
        &note_of(&keyward, &["usage", "unused", "--days", "10"]),
        &["every living key"],
    );
    says(
        &note_of(&keyward, &["usage", "key", &id, "--series"]),
        &["nothing happened"],
    );
    let advice = keyward.cli(&["usage", "key", &id, "--advice"]);
    succeed(&advice);
    says(
        &String::from_utf8_lossy(&advice.stderr),
        &["younger than 30 days"],
    );
    for (wrong, words) in [
        (&["usage", "key", &id, "--csv", "--jsonl"][..], "--jsonl"),
        (&["usage", "key", &id, "--csv", "--json"], "choose one"),
        (&["usage", "key", &id, "--summary", "--csv"], "no list"),
        (&["usage", "key", &id, "--from", "yesterday"], "30d"),
    ] {
        says(&refused(&keyward.cli(wrong), 2), &[words]);
    }
    says(
        &refused(&keyward.cli(&["usage", "key", &id, "--outcome", "fine"]), 1),
        &["outcome", "key_expired"],
    );
}

#[test]
fn a_history_is_a_table_for_people_and_lines_for_programs() {
    let (keyward, id) = with_past("=cmd()");
    let table = keyward.cli(&["usage", "key", &id]);
    let text = succeed(&table);
    says(
        &text,
        &[
            "OPERATION",
            "dataset.read",
            "192.0.2.7",
            "key_paused",
            "=cmd()",
            &id,
        ],
    );
    assert!(!text.contains(|c: char| is_harmful(c) && c != '\n'), "{text:?}");
    says(&String::from_utf8_lossy(&table.stderr), &["--all"]);
    assert_eq!(text.lines().count(), 4 + 100, "a heading and a page");
    let all = succeed(&keyward.cli(&["usage", "key", &id, "--all"]));
    assert_eq!(all.lines().count(), 4 + 151);

    let lines = succeed(&keyward.cli(&["usage", "key", &id, "--jsonl", "--all"]));
    let rows: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(rows.len(), 151);
    assert!(
        rows.iter()
            .all(|row| row["key_name"] == "=cmd()" && row["key_id"] == id.as_str())
    );
    let csv = succeed(&keyward.cli(&["usage", "key", &id, "--csv", "--outcome", "refused"]));
    let cells: Vec<&str> = csv.lines().nth(1).expect("a row").split(',').collect();
    assert_eq!(cells[2], "'=cmd()", "no spreadsheet computes it");
    assert_eq!(cells[7], "'=1+1?[2J??? evil", "nor what the client calls itself");
    let json = keyward.cli_json(&["usage", "key", &id, "--from", "2h"]);
    assert_eq!(json["next"], Value::Null);
    let filtered = succeed(&keyward.cli(&["usage", "key", &id, "--client", "curl/8.5", "--limit", "3"]));
    assert_eq!(filtered.lines().count(), 4 + 3);

    // A deleted key is shown like a living one.
    succeed(&keyward.cli(&["keys", "delete", &id, "--yes"]));
    let after = succeed(&keyward.cli(&["usage", "key", &id, "--all"]));
    assert_eq!(after.lines().count(), 4 + 151);
}

#[test]
fn sums_curves_and_advice_are_shown() {
    let (keyward, id) = with_past("Nightly");
    let shown = succeed(&keyward.cli(&["keys", "show", &id]));
    says(&shown, &["dataset.read from 192.0.2.7 by curl/8.5", "BY"]);
    let summary = succeed(&keyward.cli(&["usage", "key", &id, "--summary"]));
    says(
        &summary,
        &[
            "Accepted",
            "600",
            "key_paused",
            "ADDRESS",
            "2001:db8::9",
            "CLIENT",
        ],
    );
    let curve = succeed(&keyward.cli(&["usage", "key", &id, "--series", "--by", "hour", "--from", "10h"]));
    says(&curve, &["HOUR", "ACCEPTED", "####"]);
    let curve = succeed(&keyward.cli(&["usage", "key", &id, "--series", "--csv"]));
    assert!(
        curve.starts_with("at,accepted,refused,only_id_matched\r\n"),
        "{curve}"
    );
    assert_eq!(curve.lines().count(), 32);
    let advice = keyward.cli(&["usage", "key", &id, "--advice"]);
    says(
        &succeed(&advice),
        &[
            "Used for",
            "dataset.read",
            "Enough would be",
            "dataset; read only",
        ],
    );
    says(&String::from_utf8_lossy(&advice.stderr), &["PATCH", "dataset/*"]);
    assert_eq!(
        keyward.cli_json(&["usage", "key", &id, "--advice"])["verdict"],
        "narrow"
    );
}

#[test]
fn an_organization_is_seen_as_a_whole() {
    let (keyward, id) = with_past("Nightly");
    says(
        &succeed(&keyward.cli(&["usage", "org"])),
        &["within a day", "dataset.read", "NEW ADDRESS", "192.0.2.7"],
    );
    let whole = keyward.cli_json(&["usage", "org"]);
    assert!(whole["totals"]["accepted"].as_i64() >= Some(600), "{whole}");
    let curve = keyward.cli_json(&["usage", "org", "--series", "--by", "day"]);
    assert_eq!(curve["points"].as_array().expect("points").len(), 31);
    let addresses = succeed(&keyward.cli(&["usage", "addresses", "--csv"]));
    says(&addresses, &["192.0.2.7", &id, "Nightly"]);
    says(
        &succeed(&keyward.cli(&["usage", "top", "clients"])),
        &["CLIENT", "curl/8.5", "600"],
    );
    says(
        &succeed(&keyward.cli(&["usage", "top", "--limit", "2"])),
        &["ADDRESS", "192.0.2.7"],
    );
    let unused = keyward.cli_json(&["usage", "unused"]);
    assert_eq!(unused["items"], serde_json::json!([]));
}
