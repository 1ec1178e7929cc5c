//! Managing over the network with a token, and on the machine as a member, with the real program.

use keyward_testkit::server::{Installation, KeywardProcess, quickstart};
use keyward_testkit::wire::{self, Reply};
use serde_json::{Value, json};

use crate::PROGRAM;
use crate::support::{outcome, refused, says, succeed};

/// A request over the network with whatever stands in a token's place.
fn manage(address: &str, bearer: &str, method: &str, path: &str, body: &str) -> Reply {
    wire::exchange(
        address,
        &format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAuthorization: Bearer {bearer}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ),
    )
}

fn token(keyward: &KeywardProcess, rights: &str) -> (String, String) {
    let made = keyward.cli_json(&["tokens", "create", "--name", "CI", "--rights", rights]);
    let text = |field: &str| made[field].as_str().expect("a new token has it").to_owned();
    (text("id"), text("value"))
}

#[test]
fn a_token_manages_over_the_network_until_it_is_deleted() {
    let (keyward, snippet) = quickstart(PROGRAM);
    let address = snippet.address();
    let (id, value) = token(&keyward, "keys:read,keys:write,tokens:write");
    let keys = format!("/v1/organizations/{}/keys", snippet.organization_id);

    let made = manage(address, &value, "POST", &keys, r#"{"name": "Over the network"}"#);
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(made.json()["created_by"], format!("token/{id}"));
    let key = made.json()["value"].as_str().expect("its value").to_owned();
    assert_eq!(outcome(address, &key), "204");

    // A key never manages, and a token opens nothing.
    let by_key = manage(address, &key, "GET", &keys, "");
    assert_eq!(
        (by_key.status, &by_key.json()["code"]),
        (401, &json!("secret_key_sent"))
    );
    assert_eq!(outcome(address, &value), "key_malformed");

    let delete = format!("/v1/organizations/{}/tokens/{id}/delete", snippet.organization_id);
    assert_eq!(manage(address, &value, "POST", &delete, "").status, 200);
    let after = manage(address, &value, "GET", &keys, "");
    assert_eq!(
        (after.status, &after.json()["code"]),
        (401, &json!("token_deleted"))
    );
    assert_eq!(outcome(address, &key), "204", "what it made stays");
    let metrics = wire::get(&keyward.admin_address(), "/metrics", &[]).body;
    says(
        &metrics,
        &[
            "keyward_management_sign_ins_total{outcome=\"accepted\"} 2",
            "keyward_management_sign_ins_total{outcome=\"token_deleted\"} 1",
            "keyward_management_sign_ins_total{outcome=\"secret_key_sent\"} 1",
        ],
    );
    let log = keyward.stderr();
    assert!(log.contains(&format!("token.id={id}")), "{log}");
    assert!(!log.contains(&value) && !log.contains(&key), "a value in the log");
}

#[test]
fn the_command_line_manages_another_machine_s_server_with_a_token() {
    let (keyward, snippet) = quickstart(PROGRAM);
    let (_, value) = token(&keyward, "organization:read,keys:read,keys:write,tokens:read");
    let away = Installation::new(PROGRAM)
        .with_environment("KEYWARD_SERVER", &snippet.endpoint)
        .with_environment("KEYWARD_TOKEN", &value);
    let created = away.cli_json(&["keys", "create", "--name", "From afar", "--level", "read-only"]);
    assert_eq!(created["organization_id"], snippet.organization_id);
    let id = created["id"].as_str().expect("an id");
    says(&succeed(&away.cli(&["keys", "list"])), &["From afar", id]);
    says(
        &succeed(&away.cli(&["tokens", "list"])),
        &["CI", "keys:read,keys:write"],
    );
    let deleted = away.cli_json(&["keys", "delete", id, "--yes"]);
    assert_eq!(deleted["state"], "deleted");
    assert_eq!(
        away.cli_json(&["org", "list"])["items"].as_array().map(Vec::len),
        Some(1)
    );

    // What it does not hold, and what nobody holds over the network.
    let denied = away.cli(&["tokens", "create", "--name", "A", "--rights", "keys:read"]);
    says(&refused(&denied, 1), &["`tokens:write`"]);
    says(
        &refused(&away.cli(&["org", "create", "--name", "A"]), 1),
        &["whole installation"],
    );
    says(
        &refused(&away.cli(&["keys", "list", "--act-as", "owner@localhost"]), 1),
        &["--act-as"],
    );
    let file = away.data_folder().join("token");
    std::fs::write(&file, format!("{value}\n")).expect("the folder can be written to");
    let file = file.to_str().expect("a plain path").to_owned();
    let by_file = Installation::new(PROGRAM);
    let server = ["--server", snippet.endpoint.as_str()];
    let listed = by_file.cli(&[&["keys", "list", "--all", "--token-file", &file][..], &server].concat());
    says(&succeed(&listed), &["From afar"]);
    says(
        &refused(&by_file.cli(&[&["keys", "list"][..], &server].concat()), 1),
        &["KEYWARD_TOKEN", "--token-file"],
    );
    let nobody = by_file.cli(&[
        "keys",
        "list",
        "--token-file",
        &file,
        "--server",
        "http://127.0.0.1:1",
    ]);
    says(&refused(&nobody, 3), &["no server answers"]);
}

#[test]
fn tokens_are_made_shown_and_deleted_by_command() {
    let (keyward, snippet) = quickstart(PROGRAM);
    says(
        &String::from_utf8_lossy(&keyward.cli(&["tokens", "list"]).stderr),
        &["keyward tokens create"],
    );
    let made = keyward.cli(&[
        "tokens",
        "create",
        "--name",
        "CI",
        "--rights",
        "keys:read, verify",
        "--expires-in",
        "90d",
    ]);
    let stdout = succeed(&made);
    says(
        &stdout,
        &[
            &format!("KEYWARD_SERVER={}\n", snippet.endpoint),
            "KEYWARD_TOKEN=kwmt_",
        ],
    );
    let stderr = String::from_utf8_lossy(&made.stderr);
    says(&stderr, &["shown this once", "keys:read, verify", "until"]);
    assert!(!stderr.contains("kwmt_"));
    let listed = keyward.cli_json(&["tokens", "list"]);
    let id = listed["items"][0]["id"].as_str().expect("an id").to_owned();
    says(
        &succeed(&keyward.cli(&["tokens", "show", &id])),
        &["CI", "never", "kwmt_"],
    );
    says(&refused(&keyward.cli(&["tokens", "delete", &id]), 1), &["--yes"]);
    let deleted = succeed(&keyward.cli(&["tokens", "delete", &id, "--yes"]));
    assert_eq!(deleted, format!("{id} deleted\n"));
    let bad = keyward.cli(&["tokens", "create", "--name", "", "--rights", "everything"]);
    says(&refused(&bad, 1), &["name:", "rights[0]:", "keys:read"]);
}

#[test]
fn on_the_machine_one_may_act_as_a_member() {
    let (keyward, _) = quickstart(PROGRAM);
    let made: Value = keyward.cli_json(&["keys", "create", "--name", "A", "--act-as", "owner@localhost"]);
    let creator = made["created_by"].as_str().expect("a creator");
    assert!(creator.starts_with("person/"), "{creator}");
    let nobody = keyward.cli(&["keys", "list", "--act-as", "eve@localhost"]);
    says(&refused(&nobody, 1), &["Nobody of that e-mail address"]);
    let rotate = keyward.cli(&["keyring", "rotate", "--act-as", "owner@localhost"]);
    says(&refused(&rotate, 1), &["whole installation"]);
}

#[test]
fn a_server_says_what_it_can_be_asked() {
    let (_keyward, snippet) = quickstart(PROGRAM);
    let document = wire::get(snippet.address(), "/v1/openapi.json", &[]);
    assert_eq!(
        (document.status, &document.json()["openapi"]),
        (200, &json!("3.1.0"))
    );
}
