//! `keyward backup` and `keyward restore`: taken while the server runs, brought back held.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use keyward_testkit::server::{Installation, KeywardProcess};

use crate::PROGRAM;
use crate::support::{Prepared, create_key, on_both, outcome, postgres, refused, says, sqlite, succeed};

struct Kept {
    folder: tempfile::TempDir,
}

impl Kept {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        Self { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder
            .path()
            .join(name)
            .to_str()
            .expect("the path is text")
            .to_owned()
    }
}

fn give_keyring(from: &Path, to: &Installation) {
    fs::copy(from.join("keyring.json"), to.data_folder().join("keyring.json"))
        .expect("the keyring can be copied");
}

fn every_key_is_held_until_it_is_let_go(prepared: Prepared) {
    let is_postgres = prepared.database.is_some();
    let Prepared {
        installation,
        database: _database,
    } = prepared;
    let mut keyward = KeywardProcess::serve(installation);
    let address = keyward.ready_address();
    succeed(&keyward.cli(&["org", "create", "--name", "Acme", "--id", "org-1"]));
    let (first_id, first) = create_key(&keyward, "First");
    let (second_id, second) = create_key(&keyward, "Second");
    let (_, third) = create_key(&keyward, "Third");
    let (ended_id, ended) = create_key(&keyward, "Ended before");
    succeed(&keyward.cli(&["keys", "delete", &ended_id, "--yes"]));

    let kept = Kept::new();
    let file = kept.path("backup");
    let made = keyward.cli_json(&["backup", &file]);
    assert!(made["rows"].as_u64().is_some_and(|rows| rows > 10), "{made}");
    says(&refused(&keyward.cli(&["backup", &file]), 1), &["exists already"]);
    assert_eq!(
        fs::read_dir(kept.folder.path())
            .expect("the folder is there")
            .count(),
        1
    );

    // Deleted after the backup: it must not come back by itself.
    succeed(&keyward.cli(&["keys", "delete", &second_id, "--yes", "--reason", "compromised"]));
    assert_eq!(outcome(&address, &second), "key_deleted");
    says(
        &refused(&keyward.cli(&["restore", &file]), 1),
        &["another Keyward"],
    );
    let old_folder = keyward.installation().data_folder().to_owned();

    // Into the other kind of database: a backup is good for both.
    let target = if is_postgres { sqlite() } else { postgres() };
    let Prepared {
        installation: target,
        database: _target_database,
    } = target;
    if !is_postgres {
        fs::remove_file(target.data_folder().join("keyring.json")).expect("a fresh installation made one");
    }
    says(
        &refused(&target.cli(&["restore", &file]), 1),
        &["put its file at", "keyring.json"],
    );
    give_keyring(&old_folder, &target);
    let restored = target.cli_json(&["restore", &file]);
    assert_eq!(restored["held"], 3, "{restored}");
    says(&refused(&target.cli(&["restore", &file]), 1), &["not empty"]);

    let mut restored = KeywardProcess::serve(target);
    let address = restored.ready_address();
    for held in [&first, &second, &third] {
        let reply = crate::support::verify(&address, held);
        assert_eq!(reply.json()["code"], "key_paused");
        says(&reply.body, &["restored backup", "keyward keys resume"]);
    }
    assert_eq!(outcome(&address, &ended), "key_deleted");
    assert_eq!(
        restored.cli_json(&["keys", "show", &first_id])["state_reason"],
        "restored"
    );

    succeed(&restored.cli(&["keys", "resume", &first_id]));
    succeed(&restored.cli(&["keys", "delete", &second_id, "--yes", "--reason", "compromised"]));
    assert_eq!(outcome(&address, &first), "204");
    assert_eq!(outcome(&address, &second), "key_deleted");
    assert_eq!(outcome(&address, &third), "key_paused");
    assert_eq!(
        restored.cli_json(&["restore", "--accept-old-state"])["released"],
        1
    );
    assert_eq!(outcome(&address, &third), "204");
    assert_eq!(
        outcome(&address, &second),
        "key_deleted",
        "what was deleted stays deleted"
    );
}

on_both!(every_key_is_held_until_it_is_let_go);

#[test]
fn an_operator_who_accepts_the_old_state_gets_it_whole() {
    let mut keyward = KeywardProcess::serve(sqlite().installation);
    keyward.ready_address();
    succeed(&keyward.cli(&["org", "create", "--name", "Acme"]));
    let (_, value) = create_key(&keyward, "First");
    let kept = Kept::new();
    let file = kept.path("backup");
    assert!(keyward.terminate().success());
    succeed(&keyward.cli(&["backup", &file]));
    let target = Installation::new(PROGRAM);
    give_keyring(keyward.installation().data_folder(), &target);
    assert_eq!(
        target.cli_json(&["restore", &file, "--accept-old-state"])["held"],
        0
    );
    let target = Arc::new(target);
    let mut restored = KeywardProcess::serve(Arc::clone(&target));
    assert_eq!(outcome(&restored.ready_address(), &value), "204");
}

#[test]
fn a_backup_that_is_cut_changed_or_none_is_refused_and_nothing_is_made() {
    let mut keyward = KeywardProcess::serve(sqlite().installation);
    keyward.ready_address();
    succeed(&keyward.cli(&["org", "create", "--name", "Acme"]));
    create_key(&keyward, "First");
    let kept = Kept::new();
    let whole = kept.path("backup");
    succeed(&keyward.cli(&["backup", &whole]));
    let text = fs::read_to_string(&whole).expect("the backup is there");
    let cases = [
        ("cut", text[..text.len() - 200].to_owned(), "cut off"),
        ("changed", text.replacen("Acme", "Acne", 1), "hash does not fit"),
        ("none", "{}\n".to_owned(), "no Keyward backup"),
        ("empty", String::new(), "cut off"),
    ];
    for (name, content, says_so) in cases {
        let file = kept.path(name);
        fs::write(&file, content).expect("it can be written");
        let target = Installation::new(PROGRAM);
        give_keyring(keyward.installation().data_folder(), &target);
        says(
            &refused(&target.cli(&["restore", &file]), 1),
            &[says_so, "nothing was changed"],
        );
        assert!(!target.data_folder().join("keyward.db").exists());
    }
    let other = Installation::new(PROGRAM);
    succeed(&other.cli(&["keyring", "init"]));
    says(
        &refused(&other.cli(&["restore", &whole]), 1),
        &["another keyring"],
    );
    says(&refused(&other.cli(&["restore"]), 2), &["FILE"]);
}
