//! Notices leave the real program as Standard Webhooks, and a kill -9 between a call and its mark loses none of them.

use keyward_testkit::python::Script;
use keyward_testkit::server::KeywardProcess;
use serde_json::{Value, json};

use crate::support::{Prepared, on_both, succeed};
use crate::webhook_receiver::{Call, Webhook};

const ALLOW_HERE: [&str; 4] = [
    "--delivery-allow-networks",
    "127.0.0.0/8",
    "--public-url",
    "https://keys.example.com",
];

/// What an independent implementation says of a call.
fn verified(call: &Call, secret: &str) -> Value {
    let script = "
import json, sys
from standardwebhooks import Webhook
try:
    print(json.dumps(Webhook(sys.argv[1]).verify(sys.argv[2], json.loads(sys.argv[3]))))
except Exception as error:
    print(json.dumps(str(error)))
";
    let headers = json!(call.headers).to_string();
    let script = Script::text(script)
        .argument(secret)
        .argument(&call.body)
        .argument(headers);
    script.run().json()
}

fn a_notice_outlives_a_kill(prepared: Prepared) {
    let Prepared {
        installation,
        database: _database,
    } = prepared;
    let installation = std::sync::Arc::new(installation);
    let webhook = Webhook::listen();
    let mut keyward = KeywardProcess::serve_with(std::sync::Arc::clone(&installation), &ALLOW_HERE);
    keyward.ready_address();
    succeed(&keyward.cli(&["org", "create", "--name", "Acme", "--id", "org-1"]));
    let contact = format!("webhook:{}", webhook.url);
    let edited = keyward.cli_json(&["org", "edit", "org-1", "--add-contact", &contact]);
    let secret = edited["signing_secrets"][0]["secret"]
        .as_str()
        .expect("it is shown")
        .to_owned();
    let key = keyward.cli_json(&["keys", "create", "--name", "Robot \u{e9}"]);
    let id = key["id"].as_str().expect("a key has an id");
    succeed(&keyward.cli(&["keys", "delete", id, "--yes", "--reason", "compromised"]));

    let first = webhook.next();
    let said = verified(&first, &secret);
    assert_eq!(said["type"], "key.compromised", "{said}");
    assert_eq!(said["data"]["key"], json!({ "id": id, "name": "Robot \u{e9}" }));
    assert!(
        !first
            .body
            .contains(key["value"].as_str().expect("a new key has a value"))
    );
    assert!(verified(&first, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").is_string());
    // Killed after the call and before its answer: nobody knows whether it arrived.
    keyward.kill9();
    let mut keyward = KeywardProcess::serve_with(installation, &ALLOW_HERE);
    keyward.ready_address();
    let again = webhook.next();
    assert_eq!((again.id(), &again.body), (first.id(), &first.body));
    let told = again.id().to_owned();
    again.answer("204 No Content");
    keyward_testkit::deadline::wait_for("the notice was not marked", || {
        let listed = keyward.cli_json(&["notices", "list", "--status", "sent"]);
        (listed["items"][0]["id"] == told.as_str()).then_some(())
    });
    let rotated = keyward.cli_json(&["notices", "contacts"]);
    let contact = rotated["items"][0]["id"]
        .as_str()
        .expect("a contact has an id")
        .to_owned();
    let rotated = keyward.cli_json(&["notices", "rotate-secret", &contact, "--yes"]);
    let testing = std::thread::scope(|scope| {
        let testing = scope.spawn(|| keyward.cli(&["notices", "test"]));
        let call = webhook.next();
        let said = verified(&call, rotated["secret"].as_str().expect("it is shown"));
        assert_eq!(said["type"], "test");
        call.answer("500 No");
        testing.join().expect("the command ends")
    });
    assert_eq!(testing.status.code(), Some(1), "{testing:?}");
    assert!(
        String::from_utf8_lossy(&testing.stdout).contains("given_up"),
        "{testing:?}"
    );
}

on_both!(a_notice_outlives_a_kill);

#[test]
fn nobody_is_called_who_is_not_public_unless_that_is_allowed() {
    let (keyward, _) = keyward_testkit::server::quickstart(env!("CARGO_BIN_EXE_keyward"));
    let webhook = Webhook::listen();
    let organization = keyward.cli_json(&["org", "list"])["items"][0]["id"]
        .as_str()
        .expect("there is one")
        .to_owned();
    let contact = format!("webhook:{}", webhook.url);
    let mail = "email:sec@example.com";
    succeed(&keyward.cli(&[
        "org",
        "edit",
        &organization,
        "--add-contact",
        &contact,
        "--add-contact",
        mail,
    ]));
    let tested = keyward.cli(&["notices", "test", "--json"]);
    let tested: Value = serde_json::from_slice(&tested.stdout).expect("it prints JSON");
    let why: Vec<&str> = tested["items"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|one| one["last_error"].as_str())
        .collect();
    assert!(
        why.iter().any(|why| why.contains("--delivery-allow-networks")),
        "{why:?}"
    );
    assert!(why.iter().any(|why| why.contains("--smtp-url")), "{why:?}");
    assert!(webhook.calls.try_recv().is_err());
}
