//! The official Python client, unchanged, against the real program.
//!
//! The scripts are in `tests/sdk`; they only act and report, and what must be true is written here. What the client
//! refuses by itself, before it sends anything, is in `raw_http`.

use keyward_testkit::forgery;
use keyward_testkit::python::Script;
use keyward_testkit::server::{KeywardProcess, Snippet, quickstart};
use serde_json::{Value, json};

use crate::PROGRAM;

/// A script of `tests/sdk`, with a snippet's values in its environment.
pub(crate) fn script(name: &str, snippet: &Snippet) -> Script {
    Script::file(format!("{}/tests/sdk/{name}", env!("CARGO_MANIFEST_DIR")))
        .environment("DATATURE_VI_API_ENDPOINT", &snippet.endpoint)
        .environment("DATATURE_VI_ORGANIZATION_ID", &snippet.organization_id)
        .environment("DATATURE_VI_SECRET_KEY", &snippet.secret_key)
}

/// The refusal that a user's first call meets with these values.
fn refusal(snippet: &Snippet) -> Value {
    let outcome = script("connect.py", snippet).run().json();
    assert!(
        outcome.get("returned").is_none(),
        "the call was not refused: {outcome}"
    );
    outcome["failed"].clone()
}

/// An authentication error that a user can act on: it says what is wrong in `words`, names this server's page of
/// Secret Keys, and takes back the vendor's address that the client adds to it.
#[track_caller]
fn assert_authentication_error(failed: &Value, snippet: &Snippet, words: &[&str]) {
    assert_eq!(failed["type"], "ViAuthenticationError", "{failed}");
    assert_eq!(failed["status_code"], 401, "{failed}");
    let message = failed["message"].as_str().unwrap_or_default();
    for word in words {
        assert!(
            message.to_lowercase().contains(word),
            "`{word}` is not in: {message}"
        );
    }
    assert!(
        message.contains(snippet.address()),
        "this server is not named in: {message}"
    );
    assert!(
        message.contains("/settings/secret-keys"),
        "the page of Secret Keys is not named in: {message}"
    );
    assert!(
        message.contains("vi.datature.com"),
        "the vendor's address is not taken back in: {message}"
    );
    assert!(
        !failed["shown"]
            .as_str()
            .unwrap_or_default()
            .contains(&snippet.secret_key),
        "the key is shown"
    );
    assert!(failed["trace_id"].is_string(), "no trace id: {failed}");
}

fn only_key_id(keyward: &KeywardProcess) -> String {
    let keys = keyward.cli_json(&["keys", "list"]);
    let items = keys["items"].as_array().cloned().unwrap_or_default();
    assert_eq!(items.len(), 1, "{keys}");
    items[0]["id"].as_str().expect("a key has an id").to_owned()
}

fn delete_key(keyward: &KeywardProcess, id: &str) {
    let output = keyward.cli(&["keys", "delete", id, "--yes"]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_pasted_snippet_works_until_its_key_is_deleted() {
    let (keyward, snippet) = quickstart(PROGRAM);
    let mut user = script("first_steps.py", &snippet).start();
    user.wait_for_line("listed");
    delete_key(&keyward, &only_key_id(&keyward));
    user.send_line("go on");
    let facts = user.finish().json();

    assert_eq!(facts["organization_id"], snippet.organization_id);
    assert_eq!(facts["created"], "Drone footage");
    let names = facts["names"].as_array().cloned().unwrap_or_default();
    assert!(names.contains(&json!("Drone footage")), "{names:?}");
    assert_authentication_error(&facts["after_deletion"]["failed"], &snippet, &["deleted"]);
    assert_authentication_error(&facts["write_after_deletion"]["failed"], &snippet, &["deleted"]);
}

#[test]
fn a_key_that_was_deleted_before_is_refused_as_deleted() {
    let (keyward, snippet) = quickstart(PROGRAM);
    delete_key(&keyward, &only_key_id(&keyward));
    assert_authentication_error(&refusal(&snippet), &snippet, &["deleted"]);
}

#[test]
fn a_well_formed_key_with_a_wrong_secret_is_unknown() {
    let (_keyward, snippet) = quickstart(PROGRAM);
    let forged = Snippet {
        secret_key: forgery::with_other_secret(&snippet.secret_key),
        ..snippet
    };
    let failed = refusal(&forged);
    assert_authentication_error(&failed, &forged, &[]);
    let message = failed["message"].as_str().unwrap_or_default();
    assert!(
        !message.contains("deleted"),
        "an unknown key has no state to tell of: {message}"
    );
}

#[test]
fn a_space_inside_the_key_is_named() {
    let (_keyward, snippet) = quickstart(PROGRAM);
    let mut secret_key = snippet.secret_key.clone();
    // In place of a character, so that the length is right and the client sends it.
    secret_key.replace_range(50..51, " ");
    let damaged = Snippet {
        secret_key,
        ..snippet
    };
    assert_authentication_error(&refusal(&damaged), &damaged, &["space"]);
}

#[test]
fn another_organization_is_refused_without_telling_whose_the_key_is() {
    let (keyward, snippet) = quickstart(PROGRAM);
    let other = keyward.cli_json(&["org", "create", "--name", "Another"]);
    let existing = other["id"].as_str().expect("an organization has an id");

    let message_for = |organization_id: &str| {
        let asked = Snippet {
            organization_id: organization_id.to_owned(),
            ..snippet.clone()
        };
        let failed = refusal(&asked);
        assert_authentication_error(&failed, &asked, &["organization"]);
        let message = failed["message"].as_str().unwrap_or_default().to_owned();
        assert!(
            !message.contains(&snippet.organization_id),
            "it tells whose the key is: {message}"
        );
        message.replace(organization_id, "ASKED")
    };
    let missing = "0190a6f2-0000-7000-8000-000000000000";
    assert_eq!(
        message_for(existing),
        message_for(missing),
        "it tells which organizations exist"
    );
}

#[test]
fn a_key_ends_by_itself_when_it_expires() {
    let (keyward, snippet) = quickstart(PROGRAM);
    let created = keyward.cli_json(&[
        "keys",
        "create",
        "--name",
        "Short",
        "--scopes",
        "dataset,training,deployment",
        "--level",
        "full",
        "--expires-in",
        "2s",
    ]);
    let secret_key = created["value"]
        .as_str()
        .expect("the value is shown once")
        .to_owned();
    let short = Snippet {
        secret_key,
        ..snippet
    };
    let outcome = script("connect.py", &short)
        .argument("until-refused")
        .run()
        .json();
    assert_authentication_error(&outcome["failed"], &short, &["expired"]);
}

#[test]
fn what_the_client_refuses_by_itself_never_reaches_the_server() {
    let (_keyward, snippet) = quickstart(PROGRAM);
    let facts = script("local_refusals.py", &snippet).run().json();
    for case in ["cut", "quoted", "longer"] {
        assert_eq!(
            facts[case]["failed"]["type"], "ViConfigurationError",
            "{case}: {facts}"
        );
    }
}

#[test]
fn twenty_five_datasets_are_walked_at_ten_a_page() {
    let (_keyward, snippet) = quickstart(PROGRAM);
    let facts = script("pagination.py", &snippet).run().json();

    assert_eq!(facts["page_sizes"], json!([10, 10, 5]));
    assert_eq!(facts["simple_page_sizes"], json!([10, 10, 5]));
    assert_eq!(facts["tokens"][2], Value::Null, "the last page has no next one");
    let ids = facts["ids"].as_array().cloned().unwrap_or_default();
    let distinct: std::collections::HashSet<_> = ids.iter().map(Value::to_string).collect();
    assert_eq!(distinct.len(), 25, "no dataset is there twice or left out");
    for other_way in ["ids_by_iteration", "ids_in_one_page", "simple_ids"] {
        assert_eq!(facts[other_way], facts["ids"], "{other_way}");
    }
    assert_eq!(
        facts["ids_of_second_page"].as_array().map(Vec::as_slice),
        Some(&ids[10..20])
    );
}

#[test]
fn organizations_and_datasets_are_kept_changed_and_deleted() {
    let (_keyward, snippet) = quickstart(PROGRAM);
    let facts = script("resources.py", &snippet).run().json();

    assert_eq!(facts["organization"]["workspaceId"], snippet.organization_id);
    assert_eq!(
        facts["organizations"],
        json!([snippet.organization_id]),
        "a key sees its own organization"
    );
    assert_eq!(facts["renamed_organization"], "Renamed");
    assert_eq!(facts["organization_name_again"], "Renamed");
    assert_eq!(facts["organization_attributes"], snippet.organization_id);

    let types = json!({"phrase-grounding": "phrase-grounding", "vqa": "vqa", "freeform": "freeform"});
    assert_eq!(facts["types"], types);

    let (created, got, updated) = (&facts["created"], &facts["got"], &facts["updated"]);
    assert_eq!(created["name"], "Tomatoes");
    assert_eq!(created["description"], "ripe or not");
    assert_eq!(created["workspaceId"], snippet.organization_id);
    assert_eq!(created["tags"], json!({"ripe": 0}));
    assert_eq!(got["datasetId"], created["datasetId"]);
    assert_eq!(got["createDate"], created["createDate"]);
    assert_eq!(updated["name"], "Peppers");
    assert_eq!(updated["type"], created["type"]);
    assert_eq!(updated["createDate"], created["createDate"]);
    assert_ne!(updated["etag"], created["etag"]);
    assert_eq!(facts["got_after_update"], "Peppers");
    assert_eq!(facts["in_organization"], true);
    assert_eq!(facts["simple"].as_array().map(Vec::len), Some(1));

    let identifier = &facts["got_by_simple_id"];
    for deletion in [&facts["deleted"], &facts["deletion_operation"]] {
        assert_eq!(deletion["workspaceId"], snippet.organization_id);
        assert_eq!(
            &deletion["datasetId"], identifier,
            "the client does not shorten this one"
        );
        let conditions = deletion["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        assert!(
            !conditions.is_empty(),
            "a client that waits for an empty list waits for ever"
        );
        assert!(
            conditions
                .iter()
                .all(|condition| condition["status"] == "Reached"),
            "{conditions:?}"
        );
    }
    assert_eq!(facts["listed_after_deletion"], false);
    for gone in ["got_after_deletion", "never_was", "no_operation"] {
        assert_eq!(
            facts[gone]["failed"]["type"], "ViNotFoundError",
            "{gone}: {}",
            facts[gone]
        );
    }
    assert_eq!(
        facts["bad_type"]["failed"]["type"], "ViValidationError",
        "{}",
        facts["bad_type"]
    );
}
