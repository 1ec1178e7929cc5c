//! Settings from file, environment and flags, and what `keyward doctor` says of them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use keyward_testkit::server::{Installation, KeywardProcess, quickstart};
use serde_json::Value;

use crate::PROGRAM;
use crate::support::{refused, says, succeed, verify};

fn write_settings(installation: &Installation, text: &str) {
    fs::write(installation.data_folder().join("keyward.toml"), text).expect("the folder can be written to");
}

fn setting<'a>(report: &'a Value, name: &str) -> (&'a str, &'a str) {
    let settings = report["settings"].as_array().expect("a list of settings");
    let found = settings
        .iter()
        .find(|setting| setting["name"] == name)
        .expect("the setting is shown");
    let text = |field: &str| found[field].as_str().expect("a text");
    (text("value"), text("source"))
}

#[test]
fn a_flag_wins_over_the_environment_which_wins_over_the_file() {
    let installation = Installation::new(PROGRAM)
        .with_environment("KEYWARD_CACHE_BYTES", "64MiB")
        .with_environment("KEYWARD_PUBLIC_URL", "https://env.example.com/")
        .with_environment("KEYWARD_TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.1");
    write_settings(
        &installation,
        "listen = \"127.0.0.1:1111\"\ncache_bytes = 111\npublic_url = \"https://file.example.com\"\nlog_format = \"json\"\n",
    );
    let report = installation.cli_json(&["doctor", "--public-url", "https://flag.example.com"]);
    assert_eq!(setting(&report, "listen"), ("127.0.0.1:1111", "file"));
    assert_eq!(setting(&report, "cache_bytes"), ("64MiB", "environment"));
    assert_eq!(
        setting(&report, "public_url"),
        ("https://flag.example.com", "flag")
    );
    assert_eq!(
        setting(&report, "trusted_proxies"),
        ("10.0.0.0/8, 192.0.2.1/32", "environment")
    );
    assert_eq!(setting(&report, "log_format"), ("json", "file"));
    assert_eq!(setting(&report, "admin_listen"), ("127.0.0.1:8788", "default"));
}

#[test]
fn an_unknown_setting_and_a_bad_value_are_refused_and_named() {
    let installation = Installation::new(PROGRAM);
    write_settings(&installation, "lisen = \"127.0.0.1:1\"\n");
    says(
        &refused(&installation.cli(&["doctor"]), 2),
        &["`lisen`", "keyward.toml", "admin_listen"],
    );
    write_settings(&installation, "listen = \"here\"\n");
    says(
        &refused(&installation.cli(&["doctor"]), 2),
        &["keyward.toml", "here"],
    );
    write_settings(&installation, "");
    let bad = installation.cli(&["serve", "--public-url", "https://x.example.com/base"]);
    says(&refused(&bad, 2), &["no path"]);
}

#[test]
fn the_doctor_hides_the_password_and_finds_what_is_wrong() {
    let installation = Installation::new(PROGRAM)
        .with_environment("KEYWARD_DATABASE_URL", "postgres://kw:hunter2@127.0.0.1:1/kw")
        .with_environment("KEYWARD_LISTNE", "x");
    let output = installation.cli(&["doctor"]);
    assert_eq!(output.status.code(), Some(1));
    let stdout = String::from_utf8_lossy(&output.stdout);
    says(
        &stdout,
        &["postgres://kw@127.0.0.1:1/kw", "KEYWARD_LISTNE", "BAD "],
    );
    assert!(!stdout.contains("hunter2"), "{stdout}");

    let (keyward, _) = quickstart(PROGRAM);
    let output = keyward.cli(&["doctor"]);
    says(
        &succeed(&output),
        &["ready", "the one that the database belongs to"],
    );
    let folder = keyward.installation().data_folder();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("the test owns it");
    let output = keyward.cli(&["doctor"]);
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).expect("the test owns it");
    assert_eq!(output.status.code(), Some(1));
    says(&String::from_utf8_lossy(&output.stdout), &["chmod 700"]);
}

#[test]
fn the_public_url_is_the_only_source_of_addresses() {
    let mut keyward = KeywardProcess::serve_with(
        Installation::new(PROGRAM),
        &[
            "--public-url",
            "https://keys.example.com/",
            "--log-format",
            "json",
        ],
    );
    let address = keyward.ready_address();
    let problem = verify(&address, "dtvi_cut").json();
    let message = problem["message"].as_str().expect("a message");
    says(message, &["https://keys.example.com/org/"]);
    assert!(
        !message.contains(&address),
        "the Host header is what callers choose: {message}"
    );
    succeed(&keyward.cli(&["org", "create", "--name", "Acme"]));
    let made = keyward.cli_json(&["keys", "create", "--name", "a"]);
    assert_eq!(made["endpoint"], "https://keys.example.com");
    let log = keyward.stderr();
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).expect("every line of the log is JSON");
        assert!(line["level"].is_string() && line["message"].is_string(), "{line}");
    }
}

#[test]
fn a_trusted_proxy_says_where_a_request_comes_from() {
    let check = |flags: &[&str], forwarded: &str| {
        let mut keyward = KeywardProcess::serve_with(Installation::new(PROGRAM), flags);
        let address = keyward.ready_address();
        succeed(&keyward.cli(&["org", "create", "--name", "Acme"]));
        let made = keyward.cli_json(&[
            "keys",
            "create",
            "--name",
            "a",
            "--allowed-addresses",
            "203.0.113.0/24",
        ]);
        let key = format!(
            "Authorization: Bearer {}",
            made["value"].as_str().expect("a value")
        );
        let reply = keyward_testkit::wire::get(
            &address,
            "/v1/verify",
            &[key, format!("X-Forwarded-For: {forwarded}")],
        );
        reply.status
    };
    assert_eq!(
        check(&[], "203.0.113.9"),
        403,
        "nobody is trusted unless it is said"
    );
    let trusts = ["--trusted-proxies", "127.0.0.0/8"];
    assert_eq!(check(&trusts, "203.0.113.9"), 204);
    assert_eq!(
        check(&trusts, "203.0.113.9, 198.51.100.1"),
        403,
        "the nearest untrusted address counts"
    );
}
