//! Notices leave the real program as Standard Webhooks, and a kill -9 between a call and its mark loses none of them.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use keyward_testkit::python::Script;
use keyward_testkit::server::KeywardProcess;
use serde_json::{Value, json};

use crate::support::{Prepared, on_both, succeed};

const PATIENCE: Duration = Duration::from_secs(60);
const ALLOW_HERE: [&str; 4] = [
    "--delivery-allow-networks",
    "127.0.0.0/8",
    "--public-url",
    "https://keys.example.com",
];

/// A call that was received, and is not answered yet.
struct Call {
    headers: HashMap<String, String>,
    body: String,
    stream: TcpStream,
}

impl Call {
    fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    fn answer(mut self, status: &str) {
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        // Whoever called may have been killed.
        let _ = self.stream.write_all(answer.as_bytes());
    }
}

/// Receives calls, and hands each to the test.
struct Webhook {
    url: String,
    calls: Receiver<Call>,
}

impl Webhook {
    fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let url = format!(
            "http://{}/hook",
            listener.local_addr().expect("it has an address")
        );
        let (sender, calls) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, sender) = (stream.expect("a connection"), sender.clone());
                std::thread::spawn(move || receive(stream, &sender));
            }
        });
        Self { url, calls }
    }

    fn next(&self) -> Call {
        self.calls.recv_timeout(PATIENCE).expect("a call comes")
    }
}

fn receive(mut stream: TcpStream, sender: &Sender<Call>) {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4_096];
    loop {
        let Ok(read) = stream.read(&mut buffer) else {
            return;
        };
        if read == 0 {
            return;
        }
        bytes.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let headers: HashMap<String, String> = head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let length: usize = headers
            .get("content-length")
            .map_or(0, |text| text.parse().expect("a length"));
        if body.len() >= length {
            let body = body.to_owned();
            // The test may be over.
            let _ = sender.send(Call {
                headers,
                body,
                stream,
            });
            return;
        }
    }
}

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
