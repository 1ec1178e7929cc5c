//! What somebody without a key can do to a server, and what they can't keep others from.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;

use keyward_testkit::deadline::wait_for;
use keyward_testkit::server::{Installation, KeywardProcess};

use crate::PROGRAM;
use crate::support::{create_key, outcome, says, succeed};

/// A server that may open so many files.
fn with_files(limit: u32) -> (tempfile::TempDir, KeywardProcess) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let script = folder.path().join("keyward");
    fs::write(
        &script,
        format!("#!/bin/sh\nulimit -n {limit}\nexec \"{PROGRAM}\" \"$@\"\n"),
    )
    .expect("it can be written");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("the test owns it");
    let keyward = KeywardProcess::serve(Installation::new(script));
    (folder, keyward)
}

#[test]
fn connections_of_strangers_keep_nobody_from_deleting_a_key() {
    let (_folder, mut keyward) = with_files(400);
    let address = keyward.ready_address();
    succeed(&keyward.cli(&["org", "create", "--name", "Acme"]));
    let (id, value) = create_key(&keyward, "Leaked");
    assert_eq!(outcome(&address, &value), "204");
    // More than are taken; those that are not wait in the system's queue.
    let idle: Vec<_> = (0..250)
        .map(|_| TcpStream::connect(&address).expect("the system takes it"))
        .collect();
    wait_for("the server did not say that it is full", || {
        keyward
            .stderr()
            .contains("every connection is taken")
            .then_some(())
    });
    let deleted = succeed(&keyward.cli(&["keys", "delete", &id, "--yes", "--reason", "compromised"]));
    says(&deleted, &["deleted (compromised)"]);
    let admin = keyward.admin_address();
    assert_eq!(keyward_testkit::wire::get(&admin, "/readyz", &[]).status, 200);
    drop(idle);
    assert_eq!(outcome(&address, &value), "key_deleted");
}
