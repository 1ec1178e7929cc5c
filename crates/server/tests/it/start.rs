//! What a server refuses before it listens, and what it says then.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use keyward_testkit::server::{Installation, KeywardProcess, quickstart};

use crate::PROGRAM;
use crate::support::{Prepared, outcome, postgres, refused, says, succeed};

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the test owns the file");
}

/// `serve`, which must end by itself.
#[track_caller]
fn serve_refused(installation: &Installation) -> String {
    let output = installation.cli(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
    ]);
    refused(&output, 1)
}

#[test]
fn a_second_process_on_the_same_folder_is_refused_and_the_first_goes_on() {
    let (keyward, snippet) = quickstart(PROGRAM);
    says(
        &serve_refused(keyward.installation()),
        &["another Keyward", "--data-dir"],
    );
    assert_eq!(outcome(snippet.address(), &snippet.secret_key), "204");
    succeed(&keyward.cli(&["keys", "list"]));
}

#[test]
fn a_folder_or_a_keyring_that_others_can_read_is_refused() {
    let (mut keyward, snippet) = quickstart(PROGRAM);
    let installation = Arc::clone(keyward.installation());
    assert!(keyward.terminate().success());
    let (folder, keyring) = (
        installation.data_folder(),
        installation.data_folder().join("keyring.json"),
    );
    for mode in [0o750, 0o701, 0o777] {
        set_mode(folder, mode);
        says(&serve_refused(&installation), &["others can read", "chmod 700"]);
    }
    set_mode(folder, 0o700);
    for mode in [0o640, 0o604] {
        set_mode(&keyring, mode);
        says(
            &serve_refused(&installation),
            &["others can read", "chmod 600", "keyring rotate"],
        );
    }
    set_mode(&keyring, 0o600);
    let mut again = KeywardProcess::serve(installation);
    assert_eq!(outcome(&again.ready_address(), &snippet.secret_key), "204");
}

#[test]
fn a_missing_a_strange_and_a_damaged_keyring_are_refused() {
    let (mut keyward, snippet) = quickstart(PROGRAM);
    let installation = Arc::clone(keyward.installation());
    assert!(keyward.terminate().success());
    let keyring = installation.data_folder().join("keyring.json");
    let own = fs::read_to_string(&keyring).expect("the keyring is there");

    fs::remove_file(&keyring).expect("it can be removed");
    says(
        &serve_refused(&installation),
        &["no keyring", "KEYWARD_KEYRING_FILE"],
    );
    assert!(!keyring.exists(), "none is made beside a database");
    says(
        &refused(&installation.cli(&["keyring", "init"]), 1),
        &["belongs to the keyring"],
    );

    let strange = Installation::new(PROGRAM);
    succeed(&strange.cli(&["keyring", "init"]));
    fs::copy(strange.data_folder().join("keyring.json"), &keyring).expect("it can be copied");
    says(
        &serve_refused(&installation),
        &["is not the keyring of this database"],
    );

    fs::write(&keyring, &own[..own.len() / 2]).expect("it can be written");
    says(&serve_refused(&installation), &["can't be used"]);
    let secret = own.split('"').nth(9).expect("the file has texts").to_owned();
    assert!(
        !serve_refused(&installation).contains(&secret),
        "a keyring's text is not shown"
    );

    fs::write(&keyring, own).expect("it can be written");
    let mut again = KeywardProcess::serve(installation);
    assert_eq!(outcome(&again.ready_address(), &snippet.secret_key), "204");
}

#[test]
fn postgresql_needs_a_keyring_that_somebody_made_and_serves_one_process() {
    let Prepared {
        installation,
        database,
    } = postgres();
    let database = database.expect("it has one");
    let bare = Installation::new(PROGRAM).with_environment("KEYWARD_DATABASE_URL", &database.url);
    says(
        &serve_refused(&bare),
        &["keyward keyring init", "KEYWARD_KEYRING_FILE"],
    );

    let keyring = installation.data_folder().join("keyring.json");
    let mut first = KeywardProcess::serve(installation);
    first.ready_address();
    let second = Installation::new(PROGRAM)
        .with_environment("KEYWARD_DATABASE_URL", &database.url)
        .with_environment("KEYWARD_KEYRING_FILE", &keyring);
    says(
        &serve_refused(&second),
        &["another Keyward process", "PostgreSQL"],
    );
    says(
        &refused(&bare.cli(&["keyring", "init"]), 1),
        &["belongs to the keyring"],
    );
    succeed(&first.cli(&["org", "list"]));
}

#[test]
fn a_database_that_is_away_and_a_taken_port_are_named_without_a_password() {
    let away = Installation::new(PROGRAM)
        .with_environment("KEYWARD_DATABASE_URL", "postgres://kw:hunter2@127.0.0.1:1/kw");
    let init = away.cli(&["keyring", "init"]);
    let said = refused(&init, 1);
    says(&said, &["postgres://kw@127.0.0.1:1/kw"]);
    assert!(!said.contains("hunter2"), "{said}");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it has an address").to_string();
    let installation = Installation::new(PROGRAM);
    let output = installation.cli(&["serve", "--listen", &address, "--admin-listen", "127.0.0.1:0"]);
    says(&refused(&output, 1), &[&address, "--listen"]);
}

#[test]
fn after_kill_9_the_next_start_needs_no_help() {
    let (mut keyward, snippet) = quickstart(PROGRAM);
    let installation = Arc::clone(keyward.installation());
    keyward.kill9();
    assert!(
        installation.data_folder().join("keyward.sock").exists(),
        "what a crash leaves behind"
    );
    says(
        &refused(&installation.cli(&["keys", "list"]), 3),
        &["keyward serve"],
    );
    let mut again = KeywardProcess::serve(installation);
    assert_eq!(outcome(&again.ready_address(), &snippet.secret_key), "204");
    succeed(&again.cli(&["keys", "list"]));
}

#[test]
fn servers_that_start_at_once_on_an_empty_database_all_come_up() {
    let Prepared {
        installation,
        database,
    } = postgres();
    let database = database.expect("it has one");
    let keyring = installation.data_folder().join("keyring.json");
    let others = (0..2).map(|_| {
        Installation::new(PROGRAM)
            .with_environment("KEYWARD_DATABASE_URL", &database.url)
            .with_environment("KEYWARD_KEYRING_FILE", &keyring)
    });
    let mut all: Vec<KeywardProcess> = others.map(KeywardProcess::serve).collect();
    all.push(KeywardProcess::serve(installation));
    for keyward in &mut all {
        keyward.ready_address();
    }
    succeed(&all[0].cli(&["org", "create", "--name", "Acme", "--id", "org-1"]));
    for keyward in &all {
        says(&succeed(&keyward.cli(&["org", "list"])), &["org-1"]);
    }
}
