//! `keyward keyring`: init, show, rotate, check; with a server and without.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use keyward_testkit::server::{Installation, KeywardProcess};

use crate::PROGRAM;
use crate::support::{Prepared, create_key, on_both, outcome, refused, says, succeed};

#[test]
fn init_makes_a_private_file_once() {
    let installation = Installation::new(PROGRAM);
    let shown = installation.cli_json(&["keyring", "init"]);
    let file = installation.data_folder().join("keyring.json");
    assert_eq!(shown["active"], 1);
    let mode = fs::metadata(&file)
        .expect("the file is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = fs::read_to_string(&file).expect("it can be read");
    says(&refused(&installation.cli(&["keyring", "init"]), 1), &["already"]);
    assert_eq!(fs::read_to_string(&file).expect("it can be read"), text);
    assert_eq!(
        installation.cli_json(&["keyring", "check"])["database"],
        "no_database"
    );
    let keys = serde_json::from_str::<serde_json::Value>(&text).expect("the file is JSON");
    let secret = keys["versions"]["1"]["key"]
        .as_str()
        .expect("the file holds a key")
        .to_owned();
    for command in [
        &["keyring", "show"][..],
        &["keyring", "show", "--json"],
        &["keyring", "check"],
        &["doctor"],
    ] {
        assert!(
            !succeed(&installation.cli(command)).contains(&secret),
            "{command:?} shows a key of the keyring"
        );
    }
}

fn no_key_holder_notices_a_rotation(prepared: Prepared) {
    let Prepared {
        installation,
        database: _database,
    } = prepared;
    let installation = Arc::new(installation);
    let file = installation.data_folder().join("keyring.json");
    let mut keyward = KeywardProcess::serve(Arc::clone(&installation));
    let address = keyward.ready_address();
    succeed(&keyward.cli(&["org", "create", "--name", "Acme"]));
    let (_, living) = create_key(&keyward, "Living");
    let (ended_id, ended) = create_key(&keyward, "Ended");
    succeed(&keyward.cli(&["keys", "delete", &ended_id, "--yes"]));
    let first = fs::read(&file).expect("the keyring is there");

    let rotated = keyward.cli_json(&["keyring", "rotate"]);
    assert_eq!(
        (&rotated["active"], &rotated["resealed"], &rotated["broken"]),
        (&2.into(), &2.into(), &0.into())
    );
    assert_ne!(fs::read(&file).expect("the keyring is there"), first);
    assert_eq!(outcome(&address, &living), "204");
    assert_eq!(outcome(&address, &ended), "key_deleted");
    let shown = keyward.cli_json(&["keyring", "show"]);
    assert_eq!(
        shown["versions"].as_array().map(Vec::len),
        Some(1),
        "the old version is destroyed"
    );
    assert_eq!(keyward.cli_json(&["keyring", "check"])["database"], "fits");

    assert!(keyward.terminate().success());
    assert_eq!(
        installation.cli_json(&["keyring", "rotate"])["active"],
        3,
        "without a server as well"
    );
    let second = fs::read(&file).expect("the keyring is there");
    let mut again = KeywardProcess::serve(Arc::clone(&installation));
    let address = again.ready_address();
    assert_eq!(outcome(&address, &living), "204");
    assert_eq!(outcome(&address, &ended), "key_deleted");
    assert!(again.terminate().success());

    fs::write(&file, first).expect("it can be written");
    says(
        &refused(&installation.cli(&["keyring", "check"]), 1),
        &["version 3"],
    );
    let output = installation.cli(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
    ]);
    says(&refused(&output, 1), &["is not the keyring of this database"]);
    fs::write(&file, second).expect("it can be written");
    assert_eq!(installation.cli_json(&["keyring", "check"])["database"], "fits");
}

on_both!(no_key_holder_notices_a_rotation);
