//! The examples run as their page says, and tell what a user of theirs has to know.

use std::path::Path;

use keyward_testkit::python::{Script, ScriptOutput};
use keyward_testkit::server::quickstart;
use keyward_testkit::wire;

use crate::PROGRAM;
use crate::support::{says, succeed};

const ACCEPTED: &str = "keyward_verify_total{outcome=\"accepted\"}";

fn batch_inference(address: &str, key: &str) -> ScriptOutput {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/batch_inference.py");
    let arguments = ["--images", "200", "--workers", "4"];
    let script = Script::file(example)
        .environment("KEYWARD_URL", format!("http://{address}"))
        .environment("KEYWARD_KEY", key);
    arguments.into_iter().fold(script, Script::argument).run()
}

/// R25: a key is checked for every image, and one that is ended ends the batch.
#[test]
fn batch_inference_checks_the_key_of_every_image() {
    let (mut keyward, snippet) = quickstart(PROGRAM);
    let made = keyward.cli_json(&["keys", "create", "--name", "Batch"]);
    let text = |field: &str| made[field].as_str().expect("a new key has it").to_owned();
    let (id, value) = (text("id"), text("value"));
    let accepted = || {
        let metrics = wire::get(&keyward.admin_address(), "/metrics", &[]).body;
        let line = metrics.lines().find_map(|line| line.strip_prefix(ACCEPTED));
        line.expect("it is counted")
            .trim()
            .parse::<u64>()
            .expect("a number")
    };
    let before = accepted();
    let done = batch_inference(snippet.address(), &value);
    assert!(done.status.success(), "{}", done.stderr);
    says(&done.stdout, &["200 of 200 images", "checking the key took"]);
    assert_eq!(accepted() - before, 200);

    succeed(&keyward.cli(&["keys", "delete", &id, "--yes"]));
    let ended = batch_inference(snippet.address(), &value);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    says(&ended.stderr, &["stopped: key_deleted"]);
    says(&ended.stdout, &["0 of 200 images"]);

    assert!(keyward.terminate().success());
    let unasked = batch_inference(snippet.address(), &value);
    assert_eq!(unasked.status.code(), Some(3), "{}", unasked.stderr);
}
