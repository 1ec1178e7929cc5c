//! Schemathesis asks a running server whatever its OpenAPI document allows, and what it does not: no answer is a server error, has
//! a status that is not described, or another form than the one described.
//!
//! It is told the ids that are there, or it would meet nothing but "not found". Once through the network door, with a token of
//! every right, and once through the socket, where no bucket of a token holds it back.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use keyward_testkit::server::{Installation, KeywardProcess};
use keyward_testkit::wire;
use serde_json::{Value, json};

use crate::PROGRAM;

/// Names the Python that has Schemathesis; set by `cargo xtask test`.
const PYTHON_VARIABLE: &str = "KEYWARD_TEST_SCHEMATHESIS";
const CHECKS: &str =
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";

/// A server with something of everything, and its document with the ids that are there.
struct Described {
    keyward: KeywardProcess,
    address: String,
    document: PathBuf,
}

impl Described {
    fn new() -> Self {
        let mut keyward = KeywardProcess::serve(Installation::new(PROGRAM));
        let address = keyward.ready_address();
        keyward.cli_json(&["org", "create", "--name", "Acme", "--id", "acme"]);
        let id_of = |made: &Value| made["id"].as_str().expect("what is made has an id").to_owned();
        let key = |name| id_of(&keyward.cli_json(&["keys", "create", "--name", name]));
        let keys: Vec<String> = ["A", "B", "C", "D"].into_iter().map(key).collect();
        // Tokens that may go; the one that asks is made later, so that it can't delete itself.
        let token =
            |name| id_of(&keyward.cli_json(&["tokens", "create", "--name", name, "--rights", "keys:read"]));
        let tokens: Vec<String> = ["A", "B"].into_iter().map(token).collect();
        let ids = json!({"organization": ["acme"], "key": keys, "token": tokens});

        let mut document = wire::get(&address, "/v1/openapi.json", &[]).json();
        let paths = document["paths"].as_object_mut().expect("there are paths");
        for operation in paths
            .values_mut()
            .filter_map(Value::as_object_mut)
            .flat_map(|operations| operations.values_mut())
        {
            let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
            for parameter in parameters.into_iter().flatten() {
                let name = parameter["name"]
                    .as_str()
                    .expect("a parameter has a name")
                    .to_owned();
                if parameter["in"] == "path" && !ids[&name].is_null() {
                    parameter["schema"] = json!({"type": "string", "enum": ids[&name]});
                }
            }
        }
        let file = keyward.installation().data_folder().join("openapi.json");
        std::fs::write(&file, document.to_string()).expect("the folder can be written to");
        Self {
            keyward,
            address,
            document: file,
        }
    }

    /// Asks through `address`, and fails with what Schemathesis found.
    fn ask(&self, address: &str, examples: &str, more: &[&str]) {
        let python = std::env::var_os(PYTHON_VARIABLE).expect(
            "KEYWARD_TEST_SCHEMATHESIS names a Python with Schemathesis; `cargo xtask test` makes one",
        );
        let program = Path::new(&python).with_file_name("schemathesis");
        let folder = self.keyward.installation().data_folder();
        let output = Command::new(program)
            .current_dir(folder)
            .arg("run")
            .arg(&self.document)
            .args(["--url", &format!("http://{address}"), "--checks", CHECKS])
            .args([
                "--max-examples",
                examples,
                "--seed",
                "1",
                "--no-color",
                "--continue-on-failure",
            ])
            .args([
                "--phases",
                "examples,coverage,fuzzing",
                "--suppress-health-check",
                "all",
            ])
            .args(more)
            .stdin(Stdio::null())
            .output()
            .expect("Schemathesis can be started");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "{text}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let summary = text.find("SUMMARY").map_or("", |at| &text[at..]);
        print(summary);
        assert!(
            summary.contains("No issues found") || summary.contains("passed"),
            "{text}"
        );
    }
}

#[expect(
    clippy::print_stdout,
    reason = "shown with --nocapture, for whoever wants to see what was asked"
)]
fn print(summary: &str) {
    println!("{summary}");
}

#[test]
fn the_network_door_answers_as_it_is_described() {
    let described = Described::new();
    let rights = "organization:read,organization:write,keys:read,keys:write,members:read,members:write,tokens:read,\
                  tokens:write,audit:read,verify";
    let token = described
        .keyward
        .cli_json(&["tokens", "create", "--name", "All", "--rights", rights]);
    let token = token["value"].as_str().expect("a new token has a value");
    let bearer = format!("Authorization: Bearer {token}");
    described.ask(&described.address, "3", &["--header", &bearer]);
}

#[test]
fn the_socket_answers_as_it_is_described() {
    let described = Described::new();
    let socket = described
        .keyward
        .installation()
        .data_folder()
        .join("keyward.sock");
    // A key that asks about itself is not there.
    let elsewhere = ["--exclude-operation-id", "verify_own_key"];
    described.ask(&forwarded(socket), "8", &elsewhere);
}

/// An address from which everything is carried to a Unix socket; it listens until the test's process ends.
fn forwarded(socket: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it listens").to_string();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.expect("a connection can be taken");
            let server = UnixStream::connect(&socket).expect("the server listens");
            let (client_too, server_too) = (
                client.try_clone().expect("a connection has two ends"),
                server.try_clone().expect("a connection has two ends"),
            );
            std::thread::spawn(move || carry_in(client, server));
            std::thread::spawn(move || carry_out(server_too, client_too));
        }
    });
    address
}

fn carry_in(mut from: TcpStream, mut to: UnixStream) {
    carry(&mut from, &mut to);
    // Whoever went away first is told nothing more.
    let _ = to.shutdown(Shutdown::Write);
}

fn carry_out(mut from: UnixStream, mut to: TcpStream) {
    carry(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

fn carry(from: &mut impl Read, to: &mut impl Write) {
    let mut piece = [0_u8; 16_384];
    while let Ok(count @ 1..) = from.read(&mut piece) {
        if to.write_all(&piece[..count]).is_err() {
            return;
        }
    }
}
