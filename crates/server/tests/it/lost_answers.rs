//! A connection that breaks at the worst moment: after the server has made a key, before its value arrives.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use keyward_testkit::server::{Installation, KeywardProcess, Snippet, quickstart};
use serde_json::Value;

use crate::PROGRAM;
use crate::meddler::{self, Answer};
use crate::support::{outcome, refused, says, succeed};

/// The command line over a connection on which the answers to this many POSTs are lost.
fn over_a_bad_line(
    keyward: &KeywardProcess,
    snippet: &Snippet,
    mut lost: usize,
) -> (Installation, Arc<AtomicUsize>) {
    let token = keyward.cli_json(&[
        "tokens",
        "create",
        "--name",
        "CI",
        "--rights",
        "keys:read,keys:write",
    ]);
    let posts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&posts);
    let address = meddler::before(snippet.address(), move |request| {
        if !request.starts_with("POST") {
            return Answer::Arrives;
        }
        counted.fetch_add(1, Ordering::Relaxed);
        if lost == 0 {
            return Answer::Arrives;
        }
        lost -= 1;
        Answer::IsLost
    });
    let installation = Installation::new(PROGRAM)
        .with_environment("KEYWARD_SERVER", address)
        .with_environment("KEYWARD_TOKEN", token["value"].as_str().expect("its text"));
    (installation, posts)
}

fn named(keyward: &KeywardProcess, name: &str) -> Vec<Value> {
    let listed = keyward.cli_json(&["keys", "list", "--all", "--text", name]);
    listed["items"].as_array().cloned().unwrap_or_default()
}

#[test]
fn a_lost_answer_loses_no_value_and_makes_no_second_key() {
    let (keyward, snippet) = quickstart(PROGRAM);
    let (away, posts) = over_a_bad_line(&keyward, &snippet, 1);
    let made = away.cli(&["keys", "create", "--name", "Once", "--snippet", "env"]);
    let printed = succeed(&made);
    says(&String::from_utf8_lossy(&made.stderr), &["asking once more"]);
    let value = printed
        .lines()
        .find_map(|line| line.strip_prefix("DATATURE_VI_SECRET_KEY="))
        .expect("the value is printed");
    assert_eq!(outcome(snippet.address(), value), "204");
    assert_eq!(named(&keyward, "Once").len(), 1);
    assert_eq!(posts.load(Ordering::Relaxed), 2);
}

#[test]
fn a_lost_rotation_leaves_one_new_secret_and_its_value() {
    let (keyward, snippet) = quickstart(PROGRAM);
    let made = keyward.cli_json(&["keys", "create", "--name", "Turned"]);
    let id = made["id"].as_str().expect("an id");
    let (away, _) = over_a_bad_line(&keyward, &snippet, 1);
    let rotated = away.cli_json(&["keys", "rotate", id]);
    let value = rotated["value"].as_str().expect("the value of the first attempt");
    assert_eq!(outcome(snippet.address(), value), "204");
    let shown = keyward.cli_json(&["keys", "show", id]);
    assert_eq!(shown["secrets"].as_array().map(Vec::len), Some(2));
}

#[test]
fn when_both_answers_are_lost_the_command_can_be_repeated_by_hand() {
    let (keyward, snippet) = quickstart(PROGRAM);
    let (away, _) = over_a_bad_line(&keyward, &snippet, 2);
    let create = ["keys", "create", "--name", "Twice unlucky"];
    let said = refused(&away.cli(&create), 1);
    says(&said, &["not known", "within ten minutes"]);
    let (_, rest) = said.split_once("--idempotency-key ").expect("it says how");
    let key = rest.split('`').next().expect("the key ends with a backtick");
    let again = away.cli_json(&[&create[..], &["--idempotency-key", key]].concat());
    let value = again["value"].as_str().expect("the value of the first attempt");
    assert_eq!(outcome(snippet.address(), value), "204");
    assert_eq!(named(&keyward, "Twice unlucky").len(), 1);
}

#[test]
fn a_value_is_not_given_out_again_when_its_key_has_ended() {
    let (keyward, _) = quickstart(PROGRAM);
    let create = [
        "keys",
        "create",
        "--name",
        "Gone",
        "--idempotency-key",
        "0123456789abcdef-0123456789",
    ];
    let made = keyward.cli_json(&create);
    let id = made["id"].as_str().expect("an id");
    let again = keyward.cli_json(&create);
    assert_eq!((&again["id"], &again["value"]), (&made["id"], &made["value"]));
    succeed(&keyward.cli(&["keys", "delete", id, "--yes"]));
    says(
        &refused(&keyward.cli(&create), 1),
        &["not given out again", "keyward keys rotate"],
    );
    let mut guessable = create;
    guessable[5] = "1234";
    says(&refused(&keyward.cli(&guessable), 2), &["22"]);
}
