//! A key's value is in the one reply that hands it out, and nowhere else.

use std::fs;
use std::path::Path;

use keyward_testkit::server::KeywardProcess;
use keyward_testkit::wire;

use crate::support::{Prepared, create_key, on_both, outcome, says, succeed};

/// Every way in which the value could be written down.
fn forms(value: &str) -> Vec<Vec<u8>> {
    let body = value.strip_prefix("dtvi_").expect("a key begins with its prefix");
    // The secret begins after the id: 16 characters, whose base64 ends within the 22nd.
    let secret = &body[24..];
    vec![
        value.as_bytes().to_vec(),
        body.as_bytes().to_vec(),
        secret.as_bytes().to_vec(),
    ]
}

#[track_caller]
fn assert_absent(value: &str, place: &str, content: &[u8]) {
    for form in forms(value) {
        let is_there = content.windows(form.len()).any(|window| window == form);
        assert!(!is_there, "the key is in {place}");
    }
}

fn search_folder(values: &[&str], folder: &Path) {
    let mut files = 0;
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("the folder can be read").path();
        // The socket is no file to read.
        if let Ok(content) = fs::read(&path) {
            files += 1;
            for value in values {
                assert_absent(value, &path.display().to_string(), &content);
            }
        }
    }
    assert!(files > 1, "the search found the files");
}

fn the_value_is_written_down_nowhere(prepared: Prepared) {
    let Prepared {
        installation,
        database: _database,
    } = prepared;
    let mut keyward = KeywardProcess::serve_with(installation, &["--log", "trace"]);
    let address = keyward.ready_address();
    let admin = keyward.admin_address();
    succeed(&keyward.cli(&["org", "create", "--name", "Acme", "--id", "org-1"]));
    let (id, value) = create_key(&keyward, "Secret");
    let (_, other) = create_key(&keyward, "Other");
    let bearer = format!("Authorization: Bearer {value}");
    let organization = "Organization-Id: org-1".to_owned();

    // In its place, and in every place where people put it by mistake.
    assert_eq!(outcome(&address, &value), "204");
    let odd = [
        (
            "/workspaces/org-1".to_owned(),
            vec![bearer.clone(), organization.clone()],
        ),
        (
            format!("/workspaces/{value}"),
            vec![bearer.clone(), organization.clone()],
        ),
        (format!("/{value}"), vec![]),
        (format!("/help/errors/{value}"), vec![]),
        (format!("/org/{value}/settings/secret-keys"), vec![]),
        (format!("/workspaces?secret_key={value}"), vec![]),
        (
            format!("/v1/verify?x={}", value.replace('_', "%5F")),
            vec![bearer.clone()],
        ),
        (
            "/v1/verify".to_owned(),
            vec![format!("Authorization: Basic {value}")],
        ),
        (
            "/v1/verify".to_owned(),
            vec![format!("Authorization: Bearer \"{value}\"")],
        ),
        (
            "/v1/verify".to_owned(),
            vec![bearer.clone(), format!("Organization-Id: {value}")],
        ),
        (
            "/v1/verify".to_owned(),
            vec![
                bearer.clone(),
                format!("User-Agent: {value}"),
                format!("X-Forwarded-For: {value}"),
            ],
        ),
    ];
    for (path, headers) in odd {
        let reply = wire::get(&address, &path, &headers);
        assert!(reply.status < 500, "{reply:?}");
        assert_absent(
            &value,
            &format!("the reply to {path}"),
            format!("{reply:?}").as_bytes(),
        );
    }
    succeed(&keyward.cli(&["keys", "delete", &id, "--yes"]));
    assert_eq!(outcome(&address, &value), "key_deleted");

    let values = [value.as_str(), other.as_str()];
    let backup_folder = tempfile::tempdir().expect("a folder can be made");
    let backup = backup_folder.path().join("backup.jsonl");
    succeed(&keyward.cli(&["backup", backup.to_str().expect("the path is text")]));
    let shown = [
        ("the list of keys", keyward.cli(&["keys", "list", "--json"])),
        ("a key", keyward.cli(&["keys", "show", &id])),
        ("the doctor's report", keyward.cli(&["doctor"])),
        ("the keyring", keyward.cli(&["keyring", "show"])),
    ];
    for value in values {
        assert_absent(
            value,
            "the backup",
            &fs::read(&backup).expect("the backup is there"),
        );
        assert_absent(
            value,
            "the metrics",
            wire::get(&admin, "/metrics", &[]).body.as_bytes(),
        );
        assert_absent(value, "standard output", keyward.stdout().as_bytes());
        for (what, output) in &shown {
            assert_absent(value, what, &output.stdout);
            assert_absent(value, what, &output.stderr);
        }
    }
    // The folder while the server runs, and what a crash leaves of it.
    search_folder(&values, keyward.installation().data_folder());
    keyward.kill9();
    search_folder(&values, keyward.installation().data_folder());
    let log = keyward.stderr();
    says(&log, &["request finished", "path=/workspaces/dtvi_"]);
    let refused: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("path=/v1/verify "))
        .collect();
    assert!(!refused.is_empty());
    for line in refused {
        assert!(line.contains("client.address=127.0.0.1"), "{line}");
    }
    for value in values {
        assert_absent(value, "the log", log.as_bytes());
    }
}

on_both!(the_value_is_written_down_nowhere);
