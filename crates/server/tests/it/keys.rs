//! `keyward keys` and `keyward org`, as an operator types them.

use keyward_testkit::server::{Installation, KeywardProcess, quickstart};
use serde_json::json;

use crate::PROGRAM;
use crate::meddler::{self, Answer};
use crate::support::{create_key, outcome, refused, says, succeed};

#[test]
fn without_a_server_the_commands_say_how_to_start_one() {
    let installation = Installation::new(PROGRAM);
    for command in [&["keys", "list"][..], &["org", "list"], &["keys", "show", "x"]] {
        says(
            &refused(&installation.cli(command), 3),
            &["keyward serve", "--data-dir"],
        );
    }
}

#[test]
fn an_empty_installation_says_what_comes_next() {
    let mut keyward = KeywardProcess::serve(Installation::new(PROGRAM));
    keyward.ready_address();
    let listed = keyward.cli(&["org", "list"]);
    assert_eq!(succeed(&listed), "");
    says(&String::from_utf8_lossy(&listed.stderr), &["keyward org create"]);
    says(
        &refused(&keyward.cli(&["keys", "list"]), 1),
        &["keyward org create"],
    );

    let id = succeed(&keyward.cli(&["org", "create", "--name", "Acme", "--id", "org-123"]));
    assert_eq!(id, "org-123\n");
    says(
        &refused(
            &keyward.cli(&["org", "create", "--name", "Again", "--id", "org-123"]),
            1,
        ),
        &["exists already"],
    );
    let shown = keyward.cli_json(&["org", "show", "org-123"]);
    assert_eq!(shown["members"][0]["role"], "owner");
    says(
        &succeed(&keyward.cli(&["org", "show", "org-123"])),
        &["Acme", "owner@localhost"],
    );
    let listed = keyward.cli(&["keys", "list"]);
    assert_eq!(succeed(&listed), "");
    says(
        &String::from_utf8_lossy(&listed.stderr),
        &["keyward keys create --organization org-123"],
    );
}

#[test]
fn a_rate_limit_is_asked_for_shown_and_kept() {
    let (keyward, snippet) = quickstart(PROGRAM);
    let create = ["keys", "create", "--name", "Dashboard", "--rate-limit"];
    let with = |limit: &'static str| keyward.cli(&[&create[..], &[limit]].concat());
    for wrong in ["100", "many/1s", "5/1500ms", "5/s"] {
        says(&refused(&with(wrong), 2), &["100/60s"]);
    }
    says(&refused(&with("2/25h"), 1), &["rate_limit.per_seconds", "86400"]);
    let made = keyward.cli_json(&[&create[..], &["2/1h"]].concat());
    assert_eq!(made["rate_limit"], json!({"requests": 2, "per_seconds": 3_600}));
    let id = made["id"].as_str().expect("a key has an id");
    says(
        &succeed(&keyward.cli(&["keys", "show", id])),
        &["Rate limit", "2 requests in 1 hour"],
    );
    let value = made["value"].as_str().expect("the value is shown once");
    let outcomes: Vec<String> = (0..3).map(|_| outcome(snippet.address(), value)).collect();
    assert_eq!(outcomes, ["204", "204", "rate_limited"]);
}

#[test]
fn a_key_is_made_shown_once_listed_and_deleted() {
    let (keyward, snippet) = quickstart(PROGRAM);
    let made = keyward.cli(&[
        "keys",
        "create",
        "--name",
        "Nightly job",
        "--scopes",
        "dataset, training",
        "--level",
        "read-only",
        "--expires-in",
        "90d",
    ]);
    let stdout = succeed(&made);
    let value = stdout
        .lines()
        .find_map(|line| line.strip_prefix("DATATURE_VI_SECRET_KEY="))
        .expect("the lines for a .env file come first")
        .to_owned();
    says(
        &stdout,
        &[
            &format!("DATATURE_VI_API_ENDPOINT={}\n", snippet.endpoint),
            &format!("DATATURE_VI_ORGANIZATION_ID={}\n", snippet.organization_id),
            &format!("export DATATURE_VI_SECRET_KEY={value}\n"),
            &format!(
                "{{\"organization_id\":\"{}\",\"secret_key\":\"{value}\"}}",
                snippet.organization_id
            ),
        ],
    );
    let stderr = String::from_utf8_lossy(&made.stderr);
    says(&stderr, &["shown this once", "read only"]);
    assert!(
        !stderr.contains(&value),
        "a log of the terminal's errors would keep the key"
    );
    assert_eq!(outcome(snippet.address(), &value), "204");

    let listed = keyward.cli_json(&["keys", "list"]);
    let items = listed["items"].as_array().expect("a list");
    let ours = items
        .iter()
        .find(|item| item["name"] == "Nightly job")
        .expect("the new key is listed");
    assert_eq!(ours["scopes"], json!(["dataset", "training"]));
    assert_eq!(ours["level"], "read_only");
    assert_eq!(ours["state"], "active");
    assert!(ours["expires_at"].is_string());
    let id = ours["id"].as_str().expect("a key has an id");
    let table = succeed(&keyward.cli(&["keys", "list"]));
    says(
        &table,
        &["NAME", "Nightly job", id, "dataset,training", "read only"],
    );
    says(
        &succeed(&keyward.cli(&["keys", "show", id])),
        &["Nightly job", "dataset, training"],
    );

    let unasked = keyward.cli(&["keys", "delete", id]);
    says(&refused(&unasked, 1), &["--yes"]);
    assert_eq!(
        outcome(snippet.address(), &value),
        "204",
        "a refused command changes nothing"
    );

    let deleted = keyward.cli_json(&["keys", "delete", id, "--yes", "--reason", "creator-left"]);
    assert_eq!(
        deleted,
        json!({"id": id, "state": "deleted", "state_reason": "creator_left", "changed": true, "confirmed": 1,
            "waited_out": 0, "waited_ms": 0})
    );
    assert_eq!(outcome(snippet.address(), &value), "key_deleted");
    let again = keyward.cli_json(&["keys", "delete", id, "--yes", "--reason", "other"]);
    assert_eq!(
        (&again["changed"], &again["state_reason"]),
        (&json!(false), &json!("creator_left"))
    );
    says(
        &refused(&keyward.cli(&["keys", "resume", id]), 1),
        &["never comes back"],
    );
    assert_eq!(keyward.cli_json(&["keys", "show", id])["state"], "deleted");
    assert_eq!(
        outcome(snippet.address(), &snippet.secret_key),
        "204",
        "the other key goes on"
    );
}

#[test]
fn one_of_five_keys_ends_and_four_go_on() {
    let (keyward, snippet) = quickstart(PROGRAM);
    let keys: Vec<_> = (0..5)
        .map(|number| create_key(&keyward, &format!("Key {number}")))
        .collect();
    succeed(&keyward.cli(&["keys", "delete", &keys[2].0, "--yes"]));
    for (number, (_, value)) in keys.iter().enumerate() {
        let expected = if number == 2 { "key_deleted" } else { "204" };
        assert_eq!(outcome(snippet.address(), value), expected);
    }
}

#[test]
fn a_refused_key_names_every_problem_at_once() {
    let (keyward, _) = quickstart(PROGRAM);
    let before = keyward.cli_json(&["keys", "list"]);
    let output = keyward.cli(&[
        "keys",
        "create",
        "--name",
        &"x".repeat(101),
        "--scopes",
        "dataset,kitchen",
        "--level",
        "emperor",
        "--expires-in",
        "1w",
        "--allowed-addresses",
        "home",
    ]);
    says(
        &refused(&output, 1),
        &[
            "scopes[1]",
            "level",
            "expires_in",
            "allowed_addresses[0]",
            "nothing was changed",
        ],
    );
    let output = keyward.cli(&["keys", "create", "--name", " ", "--level", "restricted"]);
    says(&refused(&output, 1), &["name", "rules"]);
    says(
        &refused(
            &keyward.cli(&["keys", "create", "--name", "CI", "--environment", "ci-cd"]),
            1,
        ),
        &["scopes"],
    );
    assert_eq!(keyward.cli_json(&["keys", "list"]), before);
}

#[test]
fn a_restricted_key_is_made_of_rules() {
    let (keyward, snippet) = quickstart(PROGRAM);
    let made = keyward.cli_json(&[
        "keys",
        "create",
        "--name",
        "One dataset",
        "--rule",
        "dataset.read,annotation.*@dataset/abc",
        "--rule",
        "dataset.read@dataset/def",
    ]);
    assert_eq!(made["level"], "restricted");
    assert_eq!(
        made["rules"][0],
        json!({"operations": ["dataset.read", "annotation.*"], "resources": ["dataset/abc"]})
    );
    assert_eq!(
        outcome(snippet.address(), made["value"].as_str().expect("a value")),
        "204"
    );
    says(
        &refused(
            &keyward.cli(&["keys", "create", "--name", "x", "--rule", "dataset.read"]),
            1,
        ),
        &["OPERATIONS@RESOURCES"],
    );
}

#[test]
fn a_pasted_key_or_its_first_characters_find_its_row() {
    let (keyward, snippet) = quickstart(PROGRAM);
    let (id, value) = create_key(&keyward, "Lost");
    let hint = keyward.cli_json(&["keys", "show", &id])["hint"]
        .as_str()
        .expect("a key has a hint")
        .to_owned();
    succeed(&keyward.cli(&["keys", "delete", &id, "--yes"]));
    let other_secret = keyward_testkit::forgery::with_other_secret(&value);
    for text in [
        value.as_str(),
        &value[..11],
        &value[..60],
        &hint,
        &other_secret,
        &format!(" {value}\n"),
    ] {
        let found = keyward.cli_json(&["keys", "find", text]);
        let items = found["items"].as_array().expect("a list");
        assert_eq!(items.len(), 1, "{text}: {found}");
        assert_eq!(
            (&items[0]["id"], &items[0]["state"]),
            (&json!(id), &json!("deleted"))
        );
    }
    says(
        &succeed(&keyward.cli(&["keys", "find", &snippet.secret_key])),
        &["Quick start"],
    );
    for text in ["dtvi_", "dtvi_AAAAAA", "", "Lost"] {
        says(
            &refused(&keyward.cli(&["keys", "find", text]), 1),
            &["first 11 characters"],
        );
    }
}

#[test]
fn a_value_that_is_looked_for_stays_on_this_machine() {
    let (keyward, snippet) = quickstart(PROGRAM);
    let (id, value) = create_key(&keyward, "Pasted");
    let secret = value[30..].to_owned();
    let address = meddler::before(snippet.address(), move |request| {
        assert!(!request.contains(&secret), "a part of the secret was sent");
        Answer::Arrives
    });
    let token = keyward.cli_json(&["tokens", "create", "--name", "CI", "--rights", "keys:read"]);
    let away = Installation::new(PROGRAM)
        .with_environment("KEYWARD_SERVER", address)
        .with_environment("KEYWARD_TOKEN", token["value"].as_str().expect("its text"));
    for text in [value.as_str(), &format!("\"{value}\""), &value[..60]] {
        assert_eq!(
            away.cli_json(&["keys", "find", text])["items"][0]["id"],
            json!(id)
        );
    }
    assert_eq!(away.cli_json(&["explain", &value])["allowed"], true);
    let tail = format!("...{}", &value[value.len() - 4..]);
    says(&succeed(&away.cli(&["keys", "find", &tail])), &["Pasted"]);
    says(&succeed(&away.cli(&["keys", "find", &id])), &["Pasted"]);
}

#[test]
fn one_form_of_a_snippet_can_be_asked_for() {
    let (keyward, _) = quickstart(PROGRAM);
    let env = succeed(&keyward.cli(&["keys", "create", "--name", "a", "--snippet", "env"]));
    assert_eq!(env.lines().count(), 3, "{env}");
    let json = succeed(&keyward.cli(&["keys", "create", "--name", "a", "--snippet", "json"]));
    let file: serde_json::Value = serde_json::from_str(&json).expect("the client reads JSON");
    assert!(file["secret_key"].as_str().is_some_and(|key| key.len() == 103));
}

#[test]
fn what_is_no_id_changes_no_path() {
    let (keyward, _) = quickstart(PROGRAM);
    for id in ["../v1/status", "a/b", "%2e", ""] {
        refused(&keyward.cli(&["keys", "show", id]), 1);
    }
    says(
        &refused(&keyward.cli(&["keys", "show", "0123456789abcdef"]), 1),
        &["no such secret key"],
    );
    says(
        &refused(&keyward.cli(&["keys", "list", "--organization", "org-none"]), 1),
        &["no such organization"],
    );
}

#[test]
fn with_two_organizations_one_has_to_be_named() {
    let (keyward, snippet) = quickstart(PROGRAM);
    succeed(&keyward.cli(&["org", "create", "--name", "Second", "--id", "org-2"]));
    says(
        &refused(&keyward.cli(&["keys", "list"]), 1),
        &["org-2", &snippet.organization_id, "--organization"],
    );
    let made = keyward.cli_json(&["keys", "create", "--name", "b", "--organization", "org-2"]);
    assert_eq!(made["organization_id"], "org-2");
}

#[test]
fn help_completions_and_wrong_usage_are_as_usual() {
    let installation = Installation::new(PROGRAM);
    // From the one definition: what can be typed can be completed.
    says(
        &succeed(&installation.cli(&["completions", "bash"])),
        &[
            "_keyward",
            "keyward__subcmd__keys__subcmd__edit",
            "keyward__subcmd__keys__subcmd__rotation__subcmd__finish",
            "keyward__subcmd__keys__subcmd__bulk__subcmd__pause",
            "keyward__subcmd__explain",
            "keyward__subcmd__stop",
            "keyward__subcmd__org__subcmd__resume",
            "due-soon",
            "--unused-for",
            "on-first-use",
        ],
    );
    let help = |command: &[&str]| {
        let asked = std::process::Command::new(PROGRAM)
            .args(command)
            .arg("--help")
            .output();
        succeed(&asked.expect("the program starts"))
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    for (command, words) in [
        (
            &[][..],
            &[
                "quickstart",
                "serve",
                "keys",
                "explain",
                "stop",
                "doctor",
                "0 done, 1 refused or failed, or not all of it was done, 2 wrong usage, 3 no server runs",
                "4 explain --exit-code",
            ][..],
        ),
        (
            &["keys"],
            &[
                "create", "list", "show", "find", "edit", "pause", "resume", "rotate", "rotation", "replace",
                "delete", "bulk",
            ],
        ),
        (
            &["keys", "create"],
            &["--rotate-every", "--tag", "--idempotency-key", "What is left out"],
        ),
        (
            &["keys", "rotate"],
            &["overlap", "on-first-use", "immediate", "--watch", "Modes:"],
        ),
        (
            &["keys", "bulk", "delete"],
            &["--dry-run", "--unused-for", "--yes", "1 something was left out"],
        ),
        (&["explain"], &["--exit-code", "4 if the key could not do it"]),
        (
            &["stop"],
            &[
                "--all",
                "keyward org resume",
                "1 refused, failed or stopped half-way",
            ],
        ),
    ] {
        says(&help(command), words);
    }
    refused(&installation.cli(&["kyes"]), 2);
}
