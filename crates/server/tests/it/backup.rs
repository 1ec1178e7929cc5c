//! `keyward backup` and `keyward restore`: taken while the server runs, brought back held.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use keyward_store::Database;
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

fn database_of(prepared: &Prepared) -> Database {
    prepared.database.as_ref().map_or_else(
        || Database::Sqlite(prepared.installation.data_folder().join("keyward.db")),
        |database| Database::Postgres(database.url.clone()),
    )
}

fn what_ended_later_does_not_come_back(prepared: Prepared) {
    let is_postgres = prepared.database.is_some();
    let Prepared {
        installation,
        database: _database,
    } = prepared;
    let mut keyward = KeywardProcess::serve(installation);
    let address = keyward.ready_address();
    succeed(&keyward.cli(&["org", "create", "--name", "Acme", "--id", "org-1"]));
    let (_, first) = create_key(&keyward, "First");
    let (second_id, second) = create_key(&keyward, "Second");
    let (third_id, third) = create_key(&keyward, "Third");
    let kept = Kept::new();
    let file = kept.path("backup");
    succeed(&keyward.cli(&["backup", &file]));

    // Afterwards one is deleted, one rotated, and one made and deleted.
    succeed(&keyward.cli(&["keys", "delete", &second_id, "--yes", "--reason", "compromised"]));
    succeed(&keyward.cli(&["keys", "rotate", &third_id, "--mode", "immediate", "--yes"]));
    let (fourth_id, _) = create_key(&keyward, "Fourth");
    succeed(&keyward.cli(&["keys", "delete", &fourth_id, "--yes"]));
    assert_eq!(outcome(&address, &third), "key_superseded");
    let folder = keyward.installation().data_folder().to_owned();
    let export = kept.path("export.jsonl");
    succeed(&keyward.cli(&["audit", "export", "--output", &export]));
    let whole = fs::read_to_string(&export).expect("the export is there");
    let changed = kept.path("changed.jsonl");
    fs::write(&changed, whole.replace("compromised", "removed")).expect("it can be written");

    let target = if is_postgres { sqlite() } else { postgres() };
    let target_place = database_of(&target);
    let Prepared {
        installation: target,
        database: _target_database,
    } = target;
    give_keyring(&folder, &target);
    let with_changed = target.cli(&[
        "restore",
        &file,
        "--deletions-from",
        &changed,
        "--accept-old-state",
    ]);
    says(
        &refused(&with_changed, 1),
        &["changed.jsonl", "nothing was changed", "not as it was written"],
    );
    if let Database::Sqlite(path) = &target_place {
        assert!(!path.exists(), "an export is judged before anything is restored");
    }
    // In two steps: the restore says what can be done, and so does `doctor`.
    let restored = target.cli(&["restore", &file]);
    succeed(&restored);
    says(
        &String::from_utf8_lossy(&restored.stderr),
        &["--deletions-from EXPORT"],
    );
    says(
        &succeed(&target.cli(&["doctor"])),
        &["keys are held", "--deletions-from EXPORT"],
    );
    says(
        &refused(&target.cli(&["restore", "--deletions-from", &changed]), 1),
        &["nothing was changed"],
    );
    let done = target.cli_json(&["restore", "--deletions-from", &export, "--accept-old-state"]);
    let counts = ["replayed", "already_so", "not_found", "refused", "released"];
    let counted = |done: &serde_json::Value| counts.map(|name| done[name].as_u64());
    // The first key is let go of, and the third, which has no secret left.
    assert_eq!(counted(&done), [2, 0, 1, 0, 2].map(Some), "{done}");
    assert_eq!(done["deletions"][0]["id"], second_id);
    assert_eq!(done["deletions"][0]["outcome"], "replayed");
    let again = target.cli_json(&["restore", "--deletions-from", &export]);
    assert_eq!(counted(&again)[..3], [0, 2, 1].map(Some), "{again}");
    says(
        &succeed(&target.cli(&["restore", "--deletions-from", &export])),
        &["OUTCOME", "already so", "not found", &second_id],
    );

    let mut served = KeywardProcess::serve(target);
    let address = served.ready_address();
    says(
        &refused(&served.cli(&["restore", "--deletions-from", &export]), 1),
        &["stop it first"],
    );
    succeed(&served.cli(&["restore", "--accept-old-state"]));
    for (key, expected) in [
        (&first, "204"),
        (&second, "key_deleted"),
        (&third, "key_superseded"),
    ] {
        assert_eq!(outcome(&address, key), expected);
    }
    assert_eq!(
        served.cli_json(&["keys", "show", &second_id])["state_reason"],
        "compromised"
    );

    // In one step, into a folder of its own: the same keys live and the same ones do not.
    let target = Installation::new(PROGRAM);
    give_keyring(&folder, &target);
    let one_step = [
        "restore",
        &file,
        "--deletions-from",
        &export,
        "--accept-old-state",
    ];
    let done = target.cli_json(&one_step);
    assert_eq!(counted(&done), [2, 0, 1, 0, 2].map(Some), "{done}");
    assert_eq!(done["held"], 3);
    let mut served = KeywardProcess::serve(target);
    let address = served.ready_address();
    for (key, expected) in [
        (&first, "204"),
        (&second, "key_deleted"),
        (&third, "key_superseded"),
    ] {
        assert_eq!(outcome(&address, key), expected);
    }
}

on_both!(
    every_key_is_held_until_it_is_let_go,
    what_ended_later_does_not_come_back
);

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
