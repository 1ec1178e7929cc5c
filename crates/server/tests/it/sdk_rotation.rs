//! A rotation without downtime, with the official client at work throughout: not one of its requests fails.
//!
//! With `--nocapture` it prints what an operator would have seen.

use std::fs;
use std::path::Path;

use keyward_testkit::command::RunningCommand;
use keyward_testkit::deadline::wait_for;
use keyward_testkit::python::{RunningScript, Script};
use keyward_testkit::server::{KeywardProcess, quickstart};
use keyward_testkit::wire;
use serde_json::{Value, json};

use crate::PROGRAM;
use crate::support::{outcome, says, succeed};

/// Requests after which something is taken for working.
const ENOUGH: usize = 5;

#[test]
fn a_key_is_rotated_twice_while_a_program_uses_it_and_no_request_fails() {
    let (keyward, snippet) = quickstart(PROGRAM);
    let made = keyward.cli_json(&["keys", "create", "--name", "Dashboard", "--rotate-every", "90d"]);
    let (id, first) = (text(&made, "id"), text(&made, "value"));
    let key_file = keyward.installation().data_folder().join("dashboard.key");
    put(&key_file, &first);
    let script = format!("{}/tests/sdk/rotation.py", env!("CARGO_MANIFEST_DIR"));
    let mut program = Script::file(script)
        .argument(&key_file)
        .environment("DATATURE_VI_API_ENDPOINT", &snippet.endpoint)
        .environment("DATATURE_VI_ORGANIZATION_ID", &snippet.organization_id)
        .start();
    show("# a program lists datasets with the key in dashboard.key, again and again");
    works_on(&program, &first);

    let second = rotate(
        &keyward,
        &["keys", "rotate", &id, "--mode", "overlap", "--overlap", "1h"],
    );
    show("# the program still has the old value, and is not disturbed");
    works_on(&program, &first);
    put(&key_file, &second);
    show("# the new value is put into dashboard.key");
    works_on(&program, &second);
    run(&keyward, &["keys", "rotation", "finish", &id, "--yes"]);
    works_on(&program, &second);
    assert_eq!(outcome(snippet.address(), &first), "key_superseded");
    show("# the first value is refused: key_superseded");

    let command = [
        "keys",
        "rotate",
        &id,
        "--mode",
        "on-first-use",
        "--grace",
        "1h",
        "--snippet",
        "env",
        "--watch",
    ];
    show(&format!("$ keyward {}", command.join(" ")));
    let watching = RunningCommand::start(keyward.installation(), &command);
    let third = value_in(&watching.wait_for_data("SECRET_KEY="));
    watching.wait_for_note("new secret 3");
    works_on(&program, &second);
    assert_eq!(state_of(&keyward, &id, 3), "pending", "nobody has used it yet");
    put(&key_file, &third);
    show("# the third value is put into dashboard.key: its first use makes it the current one");
    works_on(&program, &third);
    wait_for("the first use did not take effect", || {
        (state_of(&keyward, &id, 3) == "current").then_some(())
    });
    assert_eq!(state_of(&keyward, &id, 2), "until");
    assert_eq!(outcome(snippet.address(), &second), "204", "its grace has begun");
    run(&keyward, &["keys", "rotation", "finish", &id, "--yes"]);
    works_on(&program, &third);
    let watched = watching.finish();
    assert!(watched.status.success(), "{}", watched.stderr);
    assert_eq!(watched.stdout.lines().count(), 3, "the data is the value alone");
    says(
        &watched.stderr,
        &[
            "new secret 3",
            "not used yet",
            "last used",
            "the old secret has ended",
        ],
    );
    show("# what the rotation's --watch has said meanwhile");
    show_printed(&watched.stderr);

    // Before anything was asked that must be refused, but for the one question above.
    let metrics = wire::get(&keyward.admin_address(), "/metrics", &[]).body;
    let refusals: Vec<&str> = metrics
        .lines()
        .filter(|line| line.starts_with("keyward_verify_total{") && !line.ends_with(" 0"))
        .filter(|line| !line.contains("\"accepted\""))
        .collect();
    assert_eq!(refusals, ["keyward_verify_total{outcome=\"key_superseded\"} 1"]);

    program.send_line("enough");
    let facts = program.finish().json();
    assert_eq!(facts["failures"], json!([]));
    for (old, name) in [(&first, "first"), (&second, "second")] {
        assert_eq!(
            outcome(snippet.address(), old),
            "key_superseded",
            "the {name} value"
        );
    }
    assert_eq!(outcome(snippet.address(), &third), "204");
    show(&format!(
        "# the program is told to end: {} requests answered, 0 failed; the first two values are refused: key_superseded",
        facts["answered"]
    ));
    let refused = connect_with(&snippet.endpoint, &snippet.organization_id, &second);
    assert_eq!(refused["type"], "ViAuthenticationError", "{refused}");
    show(&format!(
        "# what the client says with the second value: {}",
        refused["message"]
    ));
}

/// Waits until the program has got answers with this value that it had not asked for before.
#[track_caller]
fn works_on(program: &RunningScript, value: &str) {
    let line_end = format!("answered {}", tail(value));
    let count = |text: &str| text.lines().filter(|line| line.ends_with(&line_end)).count();
    let before = program.wait_until("the program's output", |text| Some(count(text)));
    let (total, failed) = program.wait_until("answers with a value", |text| {
        let failed = text.lines().filter(|line| line.contains(" failed ")).count();
        (count(text) >= before + ENOUGH || failed > 0).then(|| (text.lines().count(), failed))
    });
    assert_eq!(failed, 0, "a request of the program failed");
    show(&format!(
        "  program: {total} requests answered, 0 failed, now with ...{}",
        tail(value)
    ));
}

/// Rotates, and hands on the new value.
fn rotate(keyward: &KeywardProcess, command: &[&str]) -> String {
    value_in(&run(keyward, &[command, &["--snippet", "env"]].concat()))
}

fn value_in(printed: &str) -> String {
    let value = printed
        .lines()
        .find_map(|line| line.strip_prefix("DATATURE_VI_SECRET_KEY="));
    value.expect("a rotation prints the new value").to_owned()
}

/// Runs a command and shows it with what it printed; of a value only its end.
fn run(keyward: &KeywardProcess, command: &[&str]) -> String {
    let output = keyward.cli(command);
    let printed = succeed(&output);
    show(&format!("$ keyward {}", command.join(" ")));
    show_printed(&format!("{printed}{}", String::from_utf8_lossy(&output.stderr)));
    printed
}

fn show_printed(text: &str) {
    for line in text.lines().filter(|line| !line.is_empty()) {
        match line.split_once("SECRET_KEY=") {
            Some((name, value)) => show(&format!("  {name}SECRET_KEY=dtvi_...{}", tail(value))),
            None => show(&format!("  {line}")),
        }
    }
}

fn state_of(keyward: &KeywardProcess, id: &str, number: i64) -> String {
    let shown = keyward.cli_json(&["keys", "show", id]);
    let secrets = shown["secrets"].as_array().expect("its secrets");
    let secret = secrets.iter().find(|secret| secret["number"] == number);
    text(secret.expect("that one is kept"), "state")
}

/// The refusal that a user of the client meets with this value.
fn connect_with(endpoint: &str, organization_id: &str, value: &str) -> Value {
    let script = format!("{}/tests/sdk/connect.py", env!("CARGO_MANIFEST_DIR"));
    let outcome = Script::file(script)
        .environment("DATATURE_VI_API_ENDPOINT", endpoint)
        .environment("DATATURE_VI_ORGANIZATION_ID", organization_id)
        .environment("DATATURE_VI_SECRET_KEY", value)
        .run()
        .json();
    outcome["failed"].clone()
}

/// As an operator replaces a file that a program may read at any moment.
fn put(key_file: &Path, value: &str) {
    let unfinished = key_file.with_extension("part");
    fs::write(&unfinished, value).expect("the folder can be written to");
    fs::rename(&unfinished, key_file).expect("the file can be put in place");
}

fn tail(value: &str) -> &str {
    value.get(value.len().saturating_sub(4)..).unwrap_or_default()
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().expect("a text").to_owned()
}

#[expect(
    clippy::print_stdout,
    reason = "the transcript, for whoever runs the test with --nocapture"
)]
fn show(line: &str) {
    println!("{line}");
}
