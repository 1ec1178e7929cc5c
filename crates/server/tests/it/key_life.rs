//! The whole life of a key, as an operator types it: on the machine, and over the network with a management token.

use keyward_testkit::command::RunningCommand;
use keyward_testkit::deadline::wait_for;
use keyward_testkit::server::{Installation, KeywardProcess};
use serde_json::{Value, json};

use crate::PROGRAM;
use crate::support::{Prepared, on_both, outcome, refused, says, succeed};

on_both!(
    a_key_lives_as_its_operator_wants,
    a_key_lives_the_same_over_the_network,
);

fn a_key_lives_as_its_operator_wants(prepared: Prepared) {
    let Prepared {
        installation,
        database: _database,
    } = prepared;
    let keyward = KeywardProcess::quickstart(installation);
    let snippet = keyward.ready();
    live(keyward.installation(), snippet.address());
}

fn a_key_lives_the_same_over_the_network(prepared: Prepared) {
    let Prepared {
        installation,
        database: _database,
    } = prepared;
    let keyward = KeywardProcess::quickstart(installation);
    let snippet = keyward.ready();
    let token = keyward.cli_json(&[
        "tokens",
        "create",
        "--name",
        "CI",
        "--rights",
        "keys:read,keys:write",
    ]);
    let away = Installation::new(PROGRAM)
        .with_environment("KEYWARD_SERVER", &snippet.endpoint)
        .with_environment("KEYWARD_TOKEN", token["value"].as_str().expect("its text"));
    live(&away, snippet.address());
}

fn live(hands: &Installation, address: &str) {
    let made = hands.cli_json(&[
        "keys",
        "create",
        "--name",
        "Nightly job",
        "--environment",
        "production",
        "--tag",
        "team:vision",
        "--tag",
        "nightly",
        "--rotate-every",
        "10d",
    ]);
    let (id, old) = (text(&made, "id"), text(&made, "value"));
    assert_eq!(outcome(address, &old), "204");
    assert_eq!(
        (&made["rotate_every"], &made["rotation"]),
        (&json!("10d"), &json!("due_soon"))
    );
    lists_are_narrowed(hands, &made);
    edits_show_what_was_before(hands, &id);
    let new = rotation_without_a_gap(hands, address, &id, &old);
    pause_and_resume(hands, address, &id, &new);
    explanations_say_who_decided(hands, &id, &new);

    let told = refused(&hands.cli(&["keys", "replace", &id]), 1);
    says(&told, &["`Nightly`", "last used", "another value", "--yes"]);
    let replaced = hands.cli_json(&[
        "keys",
        "replace",
        &id,
        "--yes",
        "--name",
        "After the leak",
        "--remove-tag",
        "nightly",
    ]);
    assert_eq!(outcome(address, &new), "key_deleted");
    assert_eq!(outcome(address, &text(&replaced, "value")), "204");
    assert_eq!(
        (&replaced["name"], &replaced["level"], &replaced["tags"]),
        (
            &json!("After the leak"),
            &json!("read_only"),
            &json!(["team:vision"])
        )
    );
    let shown = hands.cli_json(&["keys", "show", &id]);
    assert_eq!(shown["state_reason"], "compromised");

    let told = refused(&hands.cli(&["keys", "delete", &text(&replaced, "id")]), 1);
    says(
        &told,
        &["After the leak", "last used", "never comes back", "--yes"],
    );
    succeed(&hands.cli(&[
        "keys",
        "delete",
        &text(&replaced, "id"),
        "--yes",
        "--reason",
        "unused",
    ]));
    assert_eq!(outcome(address, &text(&replaced, "value")), "key_deleted");
}

fn lists_are_narrowed(hands: &Installation, made: &Value) {
    let creator = text(made, "created_by");
    let other = hands.cli_json(&[
        "keys",
        "create",
        "--name",
        "Annotators",
        "--scopes",
        "dataset",
        "--level",
        "labeler-only",
    ]);
    let names = |filter: &[&str]| -> Vec<String> {
        let listed = hands.cli_json(&[&["keys", "list"], filter].concat());
        let items = listed["items"].as_array().expect("a list").clone();
        items.iter().map(|item| text(item, "name")).collect()
    };
    for (filter, expected) in [
        (&["--environment", "production"][..], &["Nightly job"][..]),
        (
            &[
                "--environment",
                "none",
                "--scope",
                "dataset",
                "--level",
                "labeler-only",
            ],
            &["Annotators"],
        ),
        (&["--scope", "training", "--creator", &creator], &["Nightly job"]),
        (&["--tag", "nightly,team:other"], &["Nightly job"]),
        (
            &["--rotation", "due-soon", "--sort", "last-used"],
            &["Nightly job"],
        ),
        (&["--text", "annot"], &["Annotators"]),
        (&["--state", "paused,deleted"], &[]),
        (&["--unused-for", "1d"], &[]),
        (&["--text", "Nope"], &[]),
        (
            &[
                "--level",
                "full,labeler-only",
                "--sort",
                "name",
                "--creator",
                &creator,
            ],
            &["Annotators", "Nightly job"],
        ),
        (
            &[
                "--level",
                "full,labeler-only",
                "--sort",
                "name",
                "--descending",
                "--creator",
                &creator,
            ],
            &["Nightly job", "Annotators"],
        ),
    ] {
        let found = names(filter);
        // On the machine the quick start's key was made by the same hands.
        let found: Vec<&str> = found
            .iter()
            .map(String::as_str)
            .filter(|name| *name != "Quick start")
            .collect();
        assert_eq!(found, expected, "{filter:?}");
    }
    let table = succeed(&hands.cli(&["keys", "list", "--tag", "nightly"]));
    let mut lines = table.lines();
    let columns: Vec<&str> = lines
        .next()
        .expect("a header")
        .split("  ")
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .collect();
    assert_eq!(
        columns,
        [
            "NAME",
            "ID",
            "ENVIRONMENT",
            "STATE",
            "LAST USED",
            "ROTATION",
            "ACCESS",
            "PERMISSION",
            "EXPIRES",
            "HINT"
        ]
    );
    says(
        lines.next().expect("a row"),
        &[
            "Nightly job",
            "production",
            "active",
            "due in 9 days",
            "dataset,training,deployment",
            "full",
            "dtvi_",
        ],
    );
    assert_eq!(lines.next(), None);

    succeed(&hands.cli(&["keys", "delete", &text(&other, "id"), "--yes"]));
    assert_eq!(names(&["--text", "annotators"]), Vec::<String>::new());
    assert_eq!(names(&["--text", "annotators", "--all"]), ["Annotators"]);
    let hidden = hands.cli(&["keys", "list", "--text", "annotators"]);
    assert_eq!(succeed(&hidden), "");
    says(
        &String::from_utf8_lossy(&hidden.stderr),
        &["1 key, deleted", "--all"],
    );
    let nothing = hands.cli(&["keys", "list", "--tag", "nobodys"]);
    says(&String::from_utf8_lossy(&nothing.stderr), &["no key of", "fits"]);
    for (wrong, words) in [
        (&["--unused-for", "36h"][..], "whole days"),
        (&["--rotation", "late"], "overdue"),
        (&["--text", &text(made, "value")], "keys find"),
        (&["--all", "--state", "active"], "cannot be used"),
    ] {
        says(
            &refused(&hands.cli(&[&["keys", "list"], wrong].concat()), 2),
            &[words],
        );
    }
}

fn edits_show_what_was_before(hands: &Installation, id: &str) {
    let edit = |changes: &[&str]| hands.cli(&[&["keys", "edit", id], changes].concat());
    let table = succeed(&edit(&[
        "--name",
        "Nightly",
        "--level",
        "read-only",
        "--no-environment",
        "--add-tag",
        "second",
        "--allowed-addresses",
        "127.0.0.0/8",
        "--expires-in",
        "30d",
        "--rate-limit",
        "500/1m",
        "--rotate-every",
        "never",
    ]));
    let mut lines = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    assert_eq!(lines.next().as_deref(), Some("SETTING BEFORE NOW"));
    let rows: Vec<String> = lines.collect();
    for row in [
        "Name Nightly job Nightly",
        "Environment production none",
        "Permission full read only",
        "Addresses any 127.0.0.0/8",
        "Rate limit none 500 requests in 1 minute",
        "Rotate every 10d as needed",
        "Tags nightly, team:vision nightly, second, team:vision",
    ] {
        assert!(
            rows.iter().any(|found| found == row),
            "`{row}` is not in {rows:?}"
        );
    }
    assert_eq!(rows.len(), 8, "{rows:?}");
    let taken_off = edit(&[
        "--no-expiry",
        "--any-address",
        "--no-rate-limit",
        "--remove-tag",
        "second",
        "--json",
    ]);
    let now: Value = serde_json::from_str(&succeed(&taken_off)).expect("one JSON value");
    for field in [
        "expires_at",
        "allowed_addresses",
        "rate_limit",
        "environment",
        "rotate_every",
    ] {
        assert_eq!(now[field], Value::Null, "{field}");
    }
    assert_eq!(now["tags"], json!(["nightly", "team:vision"]));
    let same = edit(&["--name", "Nightly"]);
    assert_eq!(succeed(&same), "");
    says(&String::from_utf8_lossy(&same.stderr), &["nothing is different"]);
    says(&refused(&edit(&[]), 2), &["edit --help"]);
    says(
        &refused(&edit(&["--level", "emperor", "--expires-in", "1w"]), 1),
        &["level", "expires_in", "nothing was changed"],
    );
    refused(&edit(&["--no-expiry", "--expires-in", "1d"]), 2);
}

/// The new value.
fn rotation_without_a_gap(hands: &Installation, address: &str, id: &str, old: &str) -> String {
    let rotated = hands.cli(&["keys", "rotate", id, "--overlap", "2h", "--snippet", "env"]);
    let printed = succeed(&rotated);
    says(
        &String::from_utf8_lossy(&rotated.stderr),
        &["accepted until", "rotation watch", "shown this once"],
    );
    let new = printed
        .lines()
        .find_map(|line| line.strip_prefix("DATATURE_VI_SECRET_KEY="))
        .expect("the lines for a .env file")
        .to_owned();
    says(
        &refused(&hands.cli(&["keys", "rotate", id]), 1),
        &["finish or cancel"],
    );

    let watching = RunningCommand::start(hands, &["keys", "rotation", "watch", id]);
    watching.wait_for_data("new secret 2");
    assert_eq!(
        (outcome(address, old), outcome(address, &new)),
        ("204".to_owned(), "204".to_owned())
    );
    let used = wait_for("the uses of both secrets were not written down", || {
        let shown = hands.cli_json(&["keys", "show", id]);
        let secrets = shown["secrets"].as_array().expect("its secrets").clone();
        secrets
            .iter()
            .all(|secret| secret["last_used_at"].is_string())
            .then_some(secrets)
    });
    let states: Vec<String> = used.iter().map(|secret| text(secret, "state")).collect();
    assert_eq!(states, ["current", "until"]);
    let told = refused(&hands.cli(&["keys", "rotation", "finish", id]), 1);
    says(&told, &["secret 1", "last used", "refused at once", "--yes"]);
    assert_eq!(outcome(address, old), "204", "a refused command changes nothing");
    watching.wait_for_data("new secret 2 (");
    watching.wait_for_data("last used");
    let interrupted = RunningCommand::start(hands, &["keys", "rotation", "watch", id]);
    interrupted.wait_for_data("old secret 1");
    interrupted.interrupt();
    let interrupted = interrupted.finish();
    assert!(interrupted.status.success(), "{interrupted:?}");
    says(&interrupted.stderr, &["the rotation goes on", "rotation finish"]);
    let finished = succeed(&hands.cli(&["keys", "rotation", "finish", id, "--yes"]));
    says(&finished, &["SECRET", "LAST USED", "current", "ended"]);
    assert_eq!(
        (outcome(address, old), outcome(address, &new)),
        ("key_superseded".to_owned(), "204".to_owned())
    );
    let watched = watching.finish();
    assert!(watched.status.success(), "{watched:?}");
    says(&watched.stdout, &["old secret 1", "not used yet", "ended"]);
    says(&watched.stderr, &["the old secret has ended"]);

    // One that is taken back, and one without an overlap.
    let pending = hands.cli_json(&["keys", "rotate", id, "--mode", "on-first-use", "--grace", "1h"]);
    assert_eq!(pending["secrets"][0]["state"], "pending");
    let cancelled = hands.cli_json(&["keys", "rotation", "cancel", id, "--yes"]);
    assert_eq!(cancelled["secrets"][1]["state"], "current");
    assert_eq!(outcome(address, &text(&pending, "value")), "key_superseded");
    assert_eq!(outcome(address, &new), "204");
    says(
        &refused(&hands.cli(&["keys", "rotation", "cancel", id, "--yes"]), 1),
        &["no rotation is under way"],
    );
    says(
        &refused(&hands.cli(&["keys", "rotate", id, "--mode", "immediate"]), 1),
        &["last used", "--yes"],
    );
    let at_once = hands.cli_json(&["keys", "rotate", id, "--mode", "immediate", "--yes"]);
    assert_eq!(outcome(address, &new), "key_superseded");
    refused(&hands.cli(&["keys", "rotate", id, "--mode", "slowly"]), 2);
    says(
        &refused(&hands.cli(&["keys", "rotate", id, "--grace", "1h"]), 1),
        &["grace", "on_first_use"],
    );
    text(&at_once, "value")
}

fn pause_and_resume(hands: &Installation, address: &str, id: &str, value: &str) {
    assert_eq!(
        succeed(&hands.cli(&["keys", "pause", id])),
        format!("{id} paused (requested)\n")
    );
    assert_eq!(outcome(address, value), "key_paused");
    assert_eq!(hands.cli_json(&["keys", "pause", id])["changed"], false);
    assert_eq!(
        succeed(&hands.cli(&["keys", "resume", id])),
        format!("{id} active\n")
    );
    assert_eq!(outcome(address, value), "204");
}

fn explanations_say_who_decided(hands: &Installation, id: &str, value: &str) {
    let ask = |key: &str, question: &[&str]| hands.cli(&[&["explain", key], question].concat());
    let write = [
        "--operation",
        "dataset.write",
        "--resource",
        "dataset/abc",
        "--address",
        "10.0.0.1",
    ];
    for key in [id, value] {
        says(
            &succeed(&ask(key, &write)),
            &[
                "Answer      refused",
                "Code        operation_not_permitted",
                "Decided by  level",
                "Read Only",
            ],
        );
    }
    let refused_answer = ask(id, &[&write[..], &["--exit-code"]].concat());
    assert_eq!(refused_answer.status.code(), Some(4));
    let read = [
        "--operation",
        "dataset.read",
        "--resource",
        "dataset/abc",
        "--exit-code",
    ];
    let allowed: Value =
        serde_json::from_str(&succeed(&ask(id, &[&read[..], &["--json"]].concat()))).expect("one JSON value");
    assert_eq!(
        (&allowed["allowed"], &allowed["code"]),
        (&json!(true), &json!("ok"))
    );
    says(
        &refused(&ask(id, &["--operation", "dataset.fly", "--at", "soon"]), 1),
        &["operation", "at:"],
    );
    says(&refused(&ask("no-id", &[]), 1), &["keys find"]);
    refused(&ask(id, &["--resource", "dataset/abc"]), 2);
}

fn text(value: &Value, field: &str) -> String {
    value[field]
        .as_str()
        .expect("the reply has this field")
        .to_owned()
}
