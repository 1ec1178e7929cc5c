//! Requests that the official client would never send, written byte by byte.
//!
//! Each is refused with the status and the code of the table of answers, in a body that a person can act on, and
//! changes nothing. The same key in a proper request still works.

use keyward_testkit::server::{Snippet, quickstart};
use keyward_testkit::wire::{self, Reply};

use crate::PROGRAM;

fn bearer(key: &str) -> String {
    format!("Authorization: Bearer {key}")
}

fn organization(id: &str) -> String {
    format!("Organization-Id: {id}")
}

fn get_organization(snippet: &Snippet, header_lines: &[String]) -> Reply {
    wire::get(
        snippet.address(),
        &format!("/workspaces/{}", snippet.organization_id),
        header_lines,
    )
}

/// What every refusal has in common; its message, for what is particular.
#[track_caller]
fn assert_refused(reply: &Reply, status: u16, code: &str) -> String {
    assert_eq!(reply.status, status, "{reply:?}");
    assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    let body = reply.json();
    assert_eq!(body["code"], code, "{body}");
    let trace_id = body["trace_id"].as_str().expect("a refusal has a trace id");
    let traced = reply
        .header("x-cloud-trace-context")
        .and_then(|value| value.split('/').next());
    assert_eq!(
        traced,
        Some(trace_id),
        "the client shows the trace id of the header"
    );
    if status == 401 {
        let challenge = reply
            .header("www-authenticate")
            .expect("a 401 says how to authenticate");
        assert!(challenge.starts_with("Bearer"), "{challenge}");
    }
    body["message"]
        .as_str()
        .expect("the client shows `message`")
        .to_owned()
}

#[track_caller]
fn assert_says(message: &str, words: &[&str]) {
    for word in words {
        assert!(
            message.to_lowercase().contains(word),
            "`{word}` is not in: {message}"
        );
    }
}

#[test]
fn a_proper_request_is_answered() {
    let (_keyward, snippet) = quickstart(PROGRAM);
    let headers = [
        bearer(&snippet.secret_key),
        organization(&snippet.organization_id),
    ];
    let reply = get_organization(&snippet, &headers);
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.json()["workspaceId"], snippet.organization_id);
}

#[test]
fn a_cut_key_is_refused_with_both_lengths() {
    let (_keyward, snippet) = quickstart(PROGRAM);
    let cut = &snippet.secret_key[..102];
    let reply = get_organization(&snippet, &[bearer(cut), organization(&snippet.organization_id)]);
    assert_says(&assert_refused(&reply, 401, "key_malformed"), &["102", "103"]);
    assert!(!reply.body.contains(cut), "the key comes back");
}

#[test]
fn quotes_around_the_key_are_named() {
    let (_keyward, snippet) = quickstart(PROGRAM);
    for quote in ['"', '\''] {
        let quoted = format!("{quote}{}{quote}", snippet.secret_key);
        let reply = get_organization(
            &snippet,
            &[bearer(&quoted), organization(&snippet.organization_id)],
        );
        assert_says(&assert_refused(&reply, 401, "key_malformed"), &["quote"]);
    }
}

#[test]
fn two_spaces_after_bearer_are_named() {
    let (_keyward, snippet) = quickstart(PROGRAM);
    let spaced = bearer(&format!(" {}", snippet.secret_key));
    let reply = get_organization(&snippet, &[spaced, organization(&snippet.organization_id)]);
    assert_says(&assert_refused(&reply, 401, "key_malformed"), &["space"]);
}

#[test]
fn a_mistyped_key_fails_its_checksum() {
    let (_keyward, snippet) = quickstart(PROGRAM);
    let typo = if snippet.secret_key.as_bytes()[60] == b'M' {
        "N"
    } else {
        "M"
    };
    let mut mistyped = snippet.secret_key.clone();
    mistyped.replace_range(60..61, typo);
    let reply = get_organization(
        &snippet,
        &[bearer(&mistyped), organization(&snippet.organization_id)],
    );
    assert_refused(&reply, 401, "key_malformed");
}

#[test]
fn a_request_without_a_key_says_that_it_is_missing() {
    let (_keyward, snippet) = quickstart(PROGRAM);
    let ours = organization(&snippet.organization_id);
    for headers in [
        vec![ours.clone()],
        vec![],
        vec!["Authorization: Basic dXNlcjpwYXNz".to_owned(), ours.clone()],
        vec![format!("Authorization: {}", snippet.secret_key), ours],
    ] {
        assert_refused(&get_organization(&snippet, &headers), 401, "key_missing");
    }
}

#[test]
fn a_missing_organization_header_is_named() {
    let (_keyward, snippet) = quickstart(PROGRAM);
    let reply = get_organization(&snippet, &[bearer(&snippet.secret_key)]);
    assert_says(
        &assert_refused(&reply, 401, "organization_missing"),
        &["organization-id"],
    );
}

#[test]
fn the_path_and_the_header_must_name_the_same_organization() {
    let (_keyward, snippet) = quickstart(PROGRAM);
    let headers = [
        bearer(&snippet.secret_key),
        organization(&snippet.organization_id),
    ];
    let reply = wire::get(snippet.address(), "/workspaces/another-one/datasets", &headers);
    assert_refused(&reply, 401, "organization_mismatch");

    let headers = [bearer(&snippet.secret_key), organization("another-one")];
    assert_refused(
        &get_organization(&snippet, &headers),
        401,
        "organization_mismatch",
    );
}

#[test]
fn doubled_headers_are_refused_even_when_both_are_right() {
    let (_keyward, snippet) = quickstart(PROGRAM);
    let (key, ours) = (
        bearer(&snippet.secret_key),
        organization(&snippet.organization_id),
    );
    for headers in [
        [key.clone(), key.clone(), ours.clone()],
        [
            key.clone(),
            "authorization: Bearer other".to_owned(),
            ours.clone(),
        ],
        [key.clone(), ours.clone(), ours.clone()],
        [key, ours, organization("another-one")],
    ] {
        assert_refused(&get_organization(&snippet, &headers), 400, "bad_request");
    }
}

#[test]
fn a_key_in_the_query_is_refused_with_and_without_headers() {
    let (keyward, snippet) = quickstart(PROGRAM);
    let proper = [
        bearer(&snippet.secret_key),
        organization(&snippet.organization_id),
    ];
    for name in ["secret_key", "key", "anything"] {
        for headers in [&proper[..], &[]] {
            let path = format!("/workspaces?{name}={}", snippet.secret_key);
            let reply = wire::get(snippet.address(), &path, headers);
            assert_refused(&reply, 400, "bad_request");
            assert!(!reply.body.contains(&snippet.secret_key), "the key comes back");
        }
    }
    assert!(
        !keyward.stderr().contains(&snippet.secret_key),
        "the key is in the log"
    );
}
