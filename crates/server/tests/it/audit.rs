//! `keyward audit`: with a server, and without one, as an auditor who has nothing but files.

use std::fs;
use std::path::PathBuf;
use std::process::Output;
use std::sync::Arc;

use keyward_testkit::server::{Installation, KeywardProcess};

use crate::support::{Prepared, create_key, on_both, refused, says, succeed};
use crate::webhook_receiver::Webhook;

/// A server with an organization, some entries, and a file for checkpoints.
struct Audited {
    keyward: KeywardProcess,
    export: PathBuf,
    checkpoints: PathBuf,
}

impl Audited {
    fn new(installation: Arc<Installation>) -> Self {
        let path = |name: &str| installation.data_folder().join(name);
        let (export, checkpoints) = (path("export.jsonl"), path("checkpoints.jsonl"));
        let flags = [
            "--audit-checkpoint-file",
            checkpoints.to_str().expect("it is UTF-8"),
        ];
        let mut keyward = KeywardProcess::serve_with(installation, &flags);
        keyward.ready_address();
        succeed(&keyward.cli(&["org", "create", "--name", "Acme"]));
        for name in ["One", "Two", "Three"] {
            create_key(&keyward, name);
        }
        Self {
            keyward,
            export,
            checkpoints,
        }
    }

    fn export(&self) -> String {
        succeed(&self.keyward.cli(&["audit", "export", "--output", self.path()]));
        fs::read_to_string(&self.export).expect("the export is there")
    }

    fn path(&self) -> &str {
        self.export.to_str().expect("it is UTF-8")
    }

    fn verify(&self, text: &str, more: &[&str]) -> Output {
        fs::write(&self.export, text).expect("it can be written");
        self.keyward
            .installation()
            .cli(&[&["audit", "verify", self.path()], more].concat())
    }
}

fn an_export_is_verified_without_a_server(prepared: Prepared) {
    let Prepared {
        installation,
        database: _database,
    } = prepared;
    let mut audited = Audited::new(Arc::new(installation));
    let line = succeed(&audited.keyward.cli(&["audit", "checkpoint"]));
    let kept = fs::read_to_string(&audited.checkpoints).expect("checkpoints are kept");
    assert_eq!(line, kept, "what is printed is what is kept");
    let keys = audited.keyward.cli_json(&["audit", "public-keys"]);
    let key = keys["items"][0]["public_key"].as_str().expect("a key").to_owned();
    let text = audited.export();
    let taken = audited
        .keyward
        .cli(&["audit", "export", "--output", audited.path()]);
    says(&refused(&taken, 1), &["is it there already"]);
    assert_eq!(audited.keyward.terminate().code(), Some(0));

    let alone = succeed(&audited.verify(&text, &[]));
    says(
        &alone,
        &["nothing is proved", "NOT proved", "--checkpoints", "--public-key"],
    );
    let file = audited.checkpoints.to_str().expect("it is UTF-8").to_owned();
    let proved = audited.verify(&text, &["--checkpoints", &file, "--public-key", &key, "--json"]);
    let proved: serde_json::Value = serde_json::from_str(&succeed(&proved)).expect("it is JSON");
    assert_eq!(proved["is_whole"], true);
    assert_eq!(proved["proved_until"], proved["last_sequence"]);
    assert_eq!(proved["not_proved"], serde_json::json!([]));

    let changed = text.replacen("key.create", "key.delete", 1);
    let output = audited.verify(&changed, &[]);
    says(&told(&output), &["changed", "entry 2 was changed"]);
    let removed: Vec<&str> = text
        .lines()
        .filter(|line| !line.contains("\"sequence\":3,\"previous"))
        .collect();
    says(
        &told(&audited.verify(&removed.join("\n"), &[])),
        &["entry 3 was removed"],
    );
    let half: Vec<&str> = text.lines().take(3).collect();
    says(
        &told(&audited.verify(&half.join("\n"), &["--checkpoints", &file])),
        &["cut off after entry 2", "a checkpoint shows"],
    );
    let escape = text.replacen("\"chain\":\"", "\"chain\":\"\\u001b[2J", 2);
    let output = audited.verify(&escape, &[]);
    assert!(
        !told(&output).contains('\u{1b}'),
        "an escape reaches the terminal"
    );

    let missing = audited
        .keyward
        .installation()
        .cli(&["audit", "verify", "/nowhere"]);
    says(&refused(&missing, 1), &["could not open the export"]);
    says(
        &refused(&audited.verify(&text, &["--public-key", "abc"]), 2),
        &["64 lower-case"],
    );
    let forged = kept.replacen("\"signature\":\"", "\"signature\":\"0", 1);
    fs::write(&audited.checkpoints, forged).expect("it can be written");
    let none = audited.verify(&text, &["--checkpoints", &file]);
    says(&refused(&none, 1), &["there is no checkpoint in"]);
}

/// What was printed of a trail that is not as it was written.
#[track_caller]
fn told(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn the_trail_is_listed_checked_and_freed_of_personal_values(prepared: Prepared) {
    let Prepared {
        installation,
        database: _database,
    } = prepared;
    let audited = Audited::new(Arc::new(installation));
    let keyward = &audited.keyward;
    let listed = succeed(&keyward.cli(&["audit", "list", "--action", "key.create"]));
    says(&listed, &["name: One", "name: Two", "local_administrator"]);
    let first = keyward.cli(&["audit", "list", "--limit", "1"]);
    says(&String::from_utf8_lossy(&first.stderr), &["--cursor"]);
    succeed(&keyward.cli(&["audit", "list", "--installation"]));
    succeed(&keyward.cli(&["audit", "checkpoint"]));
    says(
        &succeed(&keyward.cli(&["audit", "check"])),
        &["fits together", "NOT proved"],
    );

    says(
        &refused(&keyward.cli(&["audit", "erase", "--yes"]), 2),
        &["--value"],
    );
    succeed(&keyward.cli(&["audit", "erase", "--value", "one", "--yes"]));
    let text = audited.export();
    assert!(!text.contains("One") && text.contains("Two"));
    says(
        &succeed(&keyward.cli(&["audit", "verify", audited.path()])),
        &["Erased values  1"],
    );
    assert_eq!(keyward.cli_json(&["audit", "check"])["erased_values"], 1);
}

#[test]
fn checkpoints_are_posted_to_where_the_writers_of_the_database_do_not_reach() {
    let receiver = Webhook::listen();
    let here = ["--delivery-allow-networks", "127.0.0.0/8"];
    let flags = [&["--audit-checkpoint-url", receiver.url.as_str()], &here[..]].concat();
    let mut keyward = KeywardProcess::serve_with(Arc::new(Installation::new(crate::PROGRAM)), &flags);
    keyward.ready_address();
    succeed(&keyward.cli(&["org", "create", "--name", "Acme"]));
    let posted = |status: &str| {
        std::thread::scope(|scope| {
            let command = scope.spawn(|| keyward.cli(&["audit", "checkpoint"]));
            let call = receiver.next();
            let line = call.body.clone();
            call.answer(status);
            (command.join().expect("the command ends"), line)
        })
    };
    let (output, refused_one) = posted("503 Not now");
    says(
        &refused(&output, 1),
        &["could not be kept outside the database", "503"],
    );
    let (output, line) = posted("204 No Content");
    assert_eq!(
        succeed(&output).trim(),
        line.trim(),
        "what is printed is what was posted"
    );
    assert_ne!(line, refused_one, "the attempt is an entry, too");

    // What was received proves an export.
    let path = |name: &str| keyward.installation().data_folder().join(name);
    let (export, kept) = (path("export.jsonl"), path("received.jsonl"));
    fs::write(&kept, &line).expect("it can be written");
    let (export, kept) = (export.to_str().expect("UTF-8"), kept.to_str().expect("UTF-8"));
    succeed(&keyward.cli(&["audit", "export", "--output", export]));
    let key = succeed(&keyward.cli(&["audit", "public-keys"]));
    assert!(!key.is_empty());
    succeed(&keyward.cli(&["audit", "verify", export, "--checkpoints", kept]));
}

on_both!(
    an_export_is_verified_without_a_server,
    the_trail_is_listed_checked_and_freed_of_personal_values,
);
