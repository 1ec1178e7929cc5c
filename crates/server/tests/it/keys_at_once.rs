//! Many keys at once: `keyward keys bulk`, the emergency stop and its end, as an operator types them.

use keyward_testkit::server::{Installation, KeywardProcess, quickstart};
use serde_json::{Value, json};

use crate::PROGRAM;
use crate::meddler::{self, Answer};
use crate::support::{Prepared, on_both, outcome, refused, says, succeed};

on_both!(
    what_a_filter_means_ends_after_a_look,
    an_emergency_stop_pauses_and_ends_nothing
);

/// A key with a tag: its id and its value.
fn tagged(hands: &Installation, name: &str, tag: &str) -> (String, String) {
    let made = hands.cli_json(&["keys", "create", "--name", name, "--tag", tag]);
    let text = |field: &str| made[field].as_str().expect("a new key has it").to_owned();
    (text("id"), text("value"))
}

fn what_a_filter_means_ends_after_a_look(prepared: Prepared) {
    let Prepared {
        installation,
        database: _database,
    } = prepared;
    let keyward = KeywardProcess::quickstart(installation);
    let snippet = keyward.ready();
    let (hands, address) = (keyward.installation(), snippet.address());
    let keys: Vec<_> = (0..3)
        .map(|number| tagged(hands, &format!("Job {number}"), "old"))
        .collect();
    let (_, kept) = tagged(hands, "Kept", "young");
    let bulk =
        |verb: &str, more: &[&str]| hands.cli(&[&["keys", "bulk", verb, "--tag", "old"], more].concat());

    assert_eq!(outcome(address, &keys[0].1), "204");
    let used = keyward_testkit::deadline::wait_for("the use was not written down", || {
        let shown = hands.cli_json(&["keys", "bulk", "delete", "--tag", "old", "--dry-run"]);
        (shown["used_within_a_day"] == 1).then_some(shown)
    });
    assert_eq!(used["count"], 3);
    let shown = bulk("delete", &["--dry-run"]);
    says(
        &succeed(&shown),
        &["NAME", "LAST USED", "Job 0", "Job 1", "Job 2", "never"],
    );
    says(
        &String::from_utf8_lossy(&shown.stderr),
        &["3 keys would be deleted; 1 of them used within a day"],
    );
    assert!(!succeed(&shown).contains("Kept"));
    let unasked = bulk("delete", &[]);
    assert_eq!(unasked.status.code(), Some(1));
    says(
        &String::from_utf8_lossy(&unasked.stderr),
        &["none comes back", "Delete these 3 keys?", "--yes"],
    );
    assert_eq!(
        outcome(address, &keys[0].1),
        "204",
        "what is only shown is not done"
    );

    let paused = bulk("pause", &["--yes"]);
    assert!(succeed(&paused).ends_with("3 keys paused\n"), "{paused:?}");
    assert_eq!(outcome(address, &keys[1].1), "key_paused");
    let done: Value = serde_json::from_str(&succeed(&bulk(
        "delete",
        &["--yes", "--reason", "unused", "--json"],
    )))
    .expect("one JSON value");
    assert_eq!((&done["complete"], &done["left_out"]), (&json!(true), &json!([])));
    assert_eq!(done["done"].as_array().map(Vec::len), Some(3));
    assert_eq!(outcome(address, &keys[1].1), "key_deleted");
    assert_eq!(outcome(address, &kept), "204");
    let nothing = bulk("delete", &["--yes"]);
    assert_eq!(succeed(&nothing), "0 keys deleted\n");

    // Which keys has to be said, one way or the other.
    let delete = |more: &[&str]| hands.cli(&[&["keys", "bulk", "delete"], more].concat());
    says(&refused(&delete(&["--yes"]), 2), &["--every-key"]);
    refused(&delete(&["--every-key", "--tag", "old", "--yes"]), 2);
    says(
        &succeed(&delete(&["--every-key", "--dry-run"])),
        &["Kept", "Quick start"],
    );
    let ended = delete(&["--id", &keys[0].0, "--dry-run"]);
    assert_eq!(succeed(&ended), "", "what has ended can't end again");
}

#[test]
fn what_changed_since_the_look_is_left_out_and_named() {
    let (keyward, snippet) = quickstart(PROGRAM);
    let hands = keyward.installation().clone();
    let (first, _) = tagged(&hands, "Changed", "old");
    let (_, ended) = tagged(&hands, "Stays old", "old");
    let token = keyward.cli_json(&[
        "tokens",
        "create",
        "--name",
        "CI",
        "--rights",
        "keys:read,keys:write",
    ]);
    let meddling = hands.clone();
    let address = meddler::before(snippet.address(), move |request| {
        // Between the look and the act.
        if request.starts_with("POST") && request.contains("/keys/bulk HTTP") {
            succeed(&meddling.cli(&["keys", "edit", &first, "--name", "Changed meanwhile"]));
            tagged(&meddling, "Appeared", "old");
        }
        Answer::Arrives
    });
    let away = Installation::new(PROGRAM)
        .with_environment("KEYWARD_SERVER", address)
        .with_environment("KEYWARD_TOKEN", token["value"].as_str().expect("its text"));
    let output = away.cli(&["keys", "bulk", "delete", "--tag", "old", "--yes"]);
    assert_eq!(
        output.status.code(),
        Some(1),
        "not all of it was done: {output:?}"
    );
    let printed = String::from_utf8_lossy(&output.stdout);
    says(
        &printed,
        &[
            "1 key deleted",
            "LEFT OUT",
            "WHY",
            "it was changed since it was shown",
            "it fits by now, and was not shown before",
        ],
    );
    assert_eq!(outcome(snippet.address(), &ended), "key_deleted");
    let left = keyward.cli_json(&["keys", "list", "--tag", "old", "--sort", "name"]);
    let names: Vec<&str> = left["items"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|key| key["name"].as_str())
        .collect();
    assert_eq!(names, ["Appeared", "Changed meanwhile"]);
}

fn an_emergency_stop_pauses_and_ends_nothing(prepared: Prepared) {
    let Prepared {
        installation,
        database: _database,
    } = prepared;
    let keyward = KeywardProcess::quickstart(installation);
    let snippet = keyward.ready();
    let (hands, address, organization) = (
        keyward.installation(),
        snippet.address(),
        snippet.organization_id.as_str(),
    );
    let (leaked_id, leaked) = tagged(hands, "Leaked", "contractor");
    let stop = |arguments: &[&str]| hands.cli(&[&["stop"], arguments].concat());

    says(&refused(&stop(&["--yes"]), 2), &["--organization", "--all"]);
    says(
        &refused(&stop(&["--tag", "contractor"]), 1),
        &["Leaked", "LAST USED", "Pause 1 key?", "--yes"],
    );
    assert_eq!(outcome(address, &leaked), "204");
    assert_eq!(
        succeed(&stop(&["--tag", "contractor", "--yes"])),
        format!("{leaked_id} paused\n")
    );
    assert_eq!(
        (outcome(address, &leaked), outcome(address, &snippet.secret_key)),
        ("key_paused".to_owned(), "204".to_owned())
    );
    let again = hands.cli_json(&["stop", "--tag", "contractor", "--environment", "none", "--yes"]);
    assert_eq!((&again["complete"], &again["paused"]), (&json!(true), &json!([])));

    says(
        &refused(&stop(&["--organization", organization]), 1),
        &["the whole organization", "org resume", "--yes"],
    );
    assert_eq!(
        succeed(&stop(&["--organization", organization, "--yes"])),
        format!("{organization} stopped\n")
    );
    assert_ne!(outcome(address, &snippet.secret_key), "204");
    assert_eq!(
        succeed(&hands.cli(&["org", "resume", organization])),
        format!("{organization} open\n")
    );
    assert_eq!(
        (outcome(address, &leaked), outcome(address, &snippet.secret_key)),
        ("key_paused".to_owned(), "204".to_owned())
    );

    says(&refused(&stop(&["--all"]), 1), &["every organization", "--yes"]);
    let everything = hands.cli_json(&["stop", "--all", "--yes"]);
    assert_eq!(everything["organizations"][0]["state"], "stopped");
    assert_ne!(outcome(address, &snippet.secret_key), "204");
    refused(&stop(&["--all", "--tag", "a"]), 2);
    let resumed = hands.cli_json(&["org", "resume", organization]);
    assert_eq!(
        (&resumed["state"], &resumed["changed"]),
        (&json!("open"), &json!(true))
    );
    says(&succeed(&hands.cli(&["keys", "resume", &leaked_id])), &["active"]);
    assert_eq!(outcome(address, &leaked), "204");
}
