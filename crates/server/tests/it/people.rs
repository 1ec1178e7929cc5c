//! Organizations and their people on the command line, with the real program.

use keyward_testkit::deadline::wait_for;
use keyward_testkit::server::{Installation, quickstart};
use serde_json::json;

use crate::PROGRAM;
use crate::support::{create_key, outcome, refused, says, succeed};

#[test]
fn somebody_is_invited_accepts_over_the_network_and_is_removed_with_their_keys() {
    let (keyward, snippet) = quickstart(PROGRAM);
    let address = snippet.address();
    let made = keyward.cli(&["invitations", "create", "Ada@example.com", "--role", "admin"]);
    let link = succeed(&made).trim().to_owned();
    let endpoint = snippet.endpoint.replace("127.0.0.1", "localhost");
    says(&link, &[&format!("{endpoint}/invitations/")]);
    let stderr = String::from_utf8_lossy(&made.stderr);
    says(&stderr, &["ada@example.com", "shown this once"]);
    let secret = link.rsplit('/').next().expect("a secret");
    assert!(!stderr.contains(secret));
    says(
        &succeed(&keyward.cli(&["invitations", "list"])),
        &["ada@example.com", "admin", "open"],
    );

    // On another machine, with nothing but the link.
    let away = Installation::new(PROGRAM);
    let accepted = away.cli_json(&["invitations", "accept", &link]);
    assert_eq!(accepted["organization_id"], snippet.organization_id);
    assert_eq!(accepted["role"], "admin");
    says(
        &refused(&away.cli(&["invitations", "accept", &link]), 1),
        &["accepted already"],
    );
    let unknown = keyward.cli(&["invitations", "accept", &"0".repeat(64)]);
    says(&refused(&unknown, 1), &["no such invitation"]);
    says(
        &succeed(&keyward.cli(&["members", "list"])),
        &["owner@localhost", "ada@example.com", "admin"],
    );

    let key = keyward.cli_json(&["keys", "create", "--name", "Ada's", "--act-as", "ada@example.com"]);
    let value = key["value"].as_str().expect("its value");
    assert_eq!(outcome(address, value), "204");
    let undecided = refused(
        &keyward.cli(&["members", "remove", "ada@example.com", "--yes"]),
        1,
    );
    says(&undecided, &["Ada's", "--keys keep", "--keys end"]);
    says(
        &refused(
            &keyward.cli(&["members", "remove", "ada@example.com", "--keys", "end"]),
            1,
        ),
        &["--yes"],
    );
    let role = keyward.cli_json(&["members", "role", "ada@example.com", "owner"]);
    assert_eq!(role["role"], "owner");
    let removed = keyward.cli_json(&["members", "remove", "ada@example.com", "--keys", "end", "--yes"]);
    assert_eq!((&removed["ended"], &removed["kept"]), (&json!(1), &json!(0)));
    assert_eq!(outcome(address, value), "key_deleted");
    let last = keyward.cli(&["members", "role", "owner@localhost", "member"]);
    says(&refused(&last, 1), &["last Owner"]);

    let second = keyward.cli_json(&["invitations", "create", "bob@example.com"]);
    let id = second["id"].as_str().expect("an id");
    says(
        &refused(&keyward.cli(&["invitations", "revoke", id]), 1),
        &["--yes"],
    );
    let revoked = succeed(&keyward.cli(&["invitations", "revoke", id, "--yes"]));
    assert_eq!(revoked, format!("{id} revoked\n"));
    let log = keyward.stderr();
    assert!(!log.contains(secret), "a link's secret in the log");
}

#[test]
fn a_person_is_let_in_by_a_link_that_the_operator_prints() {
    let (keyward, snippet) = quickstart(PROGRAM);
    // The quick start prints one beside its snippet, on the other stream.
    wait_for("no link was printed", || {
        keyward.stderr().contains("It is good for a day").then_some(())
    });
    let first = link_in(&keyward.stderr());
    says(
        &keyward.stderr(),
        &["Open this once to set your passphrase: http://localhost:"],
    );
    let made = keyward.cli(&["people", "link", "Owner@localhost"]);
    let link = succeed(&made).trim().to_owned();
    let port = snippet.address().rsplit(':').next().expect("a port").to_owned();
    says(&link, &[&format!("http://localhost:{port}/sign-in/link/")]);
    let stderr = String::from_utf8_lossy(&made.stderr);
    says(&stderr, &["owner@localhost", "shown this once", "--begin-anew"]);
    assert!(!stderr.contains(&link) && link != first);
    let anew = keyward.cli_json(&["people", "link", "owner@localhost", "--begin-anew"]);
    assert_eq!(anew["purpose"], "begin_anew");
    says(
        &refused(&keyward.cli(&["people", "link", "nobody@localhost"]), 1),
        &["no such person"],
    );
    let made = keyward.cli(&[
        "org",
        "create",
        "--name",
        "Other",
        "--owner-email",
        "ada@example.com",
    ]);
    succeed(&made);
    says(
        &String::from_utf8_lossy(&made.stderr),
        &["http://localhost:", "/sign-in/link/"],
    );
}

/// The first sign-in link in a text.
fn link_in(text: &str) -> String {
    let (_, rest) = text.split_once("/sign-in/link/").expect("a link was printed");
    let secret: String = rest.chars().take_while(char::is_ascii_hexdigit).collect();
    assert_eq!(secret.len(), 64);
    secret
}

#[test]
fn settings_are_edited_and_an_organization_locked_deleted_and_restored() {
    let (keyward, snippet) = quickstart(PROGRAM);
    let (address, organization) = (snippet.address(), snippet.organization_id.as_str());
    let (_, value) = create_key(&keyward, "A");
    let edited = keyward.cli(&[
        "org",
        "edit",
        organization,
        "--name",
        "Müller",
        "--max-key-lifetime",
        "90d",
        "--rotation",
        "production=30d",
        "--rotation",
        "staging=none",
        "--add-contact",
        "email:security@example.com",
        "--advanced-access-control",
        "off",
    ]);
    says(
        &succeed(&edited),
        &[
            "Müller",
            "90 days",
            "production 30 days",
            "staging as needed",
            "security@example.com",
        ],
    );
    let more = ["org", "edit", organization, "--rotation", "production=preset"];
    let settings = &keyward.cli_json(&more)["settings"];
    assert_eq!(settings["rotation_policy"], json!({ "staging": null }));
    assert_eq!(settings["max_key_lifetime_ms"], json!(90 * 86_400_000_i64));
    says(
        &refused(&keyward.cli(&["org", "edit", organization]), 1),
        &["--help"],
    );
    let bad = [
        "org",
        "edit",
        organization,
        "--add-contact",
        "webhook:http://example.com/",
    ];
    says(
        &refused(&keyward.cli(&bad), 1),
        &["security_contacts[1].address", "https"],
    );
    says(
        &refused(&keyward.cli(&["keys", "create", "--name", "B"]), 1),
        &["expires_at", "90 days"],
    );

    let locked = succeed(&keyward.cli(&["org", "lock", organization]));
    assert_eq!(locked, format!("{organization} locked\n"));
    succeed(&keyward.cli(&["org", "unlock", organization]));
    assert_eq!(outcome(address, &value), "204");
    says(
        &refused(&keyward.cli(&["org", "delete", organization]), 1),
        &["--yes"],
    );
    let deleted = keyward.cli_json(&["org", "delete", organization, "--yes"]);
    assert_eq!(deleted["state"], "stopped");
    assert_eq!(outcome(address, &value), "key_paused");
    says(
        &succeed(&keyward.cli(&["org", "show", organization])),
        &["Deleted, purged at", "stopped"],
    );
    let restored = keyward.cli_json(&["org", "restore", organization]);
    assert_eq!(
        (&restored["state"], &restored["purge_at"]),
        (&json!("stopped"), &json!(null))
    );
}
