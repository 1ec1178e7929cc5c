//! Health, readiness, metrics, the public pages, and an orderly end.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use keyward_testkit::deadline::{PATIENCE, wait_for};
use keyward_testkit::server::quickstart;
use keyward_testkit::wire;

use crate::PROGRAM;
use crate::support::{outcome, says, verify};

#[test]
fn health_readiness_and_metrics_are_answered_without_a_key() {
    let (keyward, snippet) = quickstart(PROGRAM);
    let admin = keyward.admin_address();
    for address in [snippet.address(), &admin] {
        assert_eq!(wire::get(address, "/healthz", &[]).status, 200);
        assert_eq!(wire::get(address, "/readyz", &[]).status, 200);
    }
    assert_eq!(outcome(snippet.address(), &snippet.secret_key), "204");
    assert_eq!(outcome(snippet.address(), "dtvi_cut"), "key_malformed");
    let metrics = wire::get(&admin, "/metrics", &[]);
    says(
        &metrics.body,
        &[
            "# HELP keyward_verify_total",
            "keyward_verify_total{outcome=\"accepted\"}",
            "keyward_verify_total{outcome=\"key_malformed\"} 1",
            "keyward_cached_keys 1",
            "keyward_holds_right 1",
        ],
    );
    assert_eq!(
        wire::get(snippet.address(), "/metrics", &[]).status,
        404,
        "metrics are for the admin listener"
    );
    assert_eq!(
        wire::get(&admin, "/v1/verify", &[]).status,
        404,
        "and keys are not"
    );
}

#[test]
fn the_address_that_a_refusal_links_to_is_a_page_of_this_server() {
    let (_keyward, snippet) = quickstart(PROGRAM);
    let problem = verify(snippet.address(), "dtvi_cut").json();
    let page = problem["type"].as_str().expect("a link");
    let path = page
        .strip_prefix(&snippet.endpoint)
        .expect("the link leads to this server");
    let page = wire::get(snippet.address(), path, &[]);
    assert_eq!(page.status, 200);
    assert!(
        page.header("content-security-policy")
            .is_some_and(|policy| policy.contains("default-src 'none'"))
    );
    says(&page.body, &["key_malformed", "Copy it again"]);
}

#[test]
fn an_orderly_end_lets_begun_requests_finish_and_takes_no_new_ones() {
    let (mut keyward, snippet) = quickstart(PROGRAM);
    // Half a request: the server has begun to read it.
    let mut begun = TcpStream::connect(snippet.address()).expect("the server listens");
    begun
        .set_read_timeout(Some(PATIENCE))
        .expect("the limit is not zero");
    let head = format!(
        "GET /v1/verify HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n",
        snippet.secret_key
    );
    begun.write_all(head.as_bytes()).expect("the server reads");
    let sent = std::thread::scope(|scope| {
        let ended = scope.spawn(|| keyward.terminate());
        wait_for("the server still takes connections", || {
            TcpStream::connect(snippet.address()).err()
        });
        begun
            .write_all(b"\r\n")
            .expect("the server still reads what was begun");
        let mut answer = String::new();
        begun
            .read_to_string(&mut answer)
            .expect("the server answers what was begun");
        assert!(ended.join().expect("the wait ends").success());
        answer
    });
    assert!(sent.starts_with("HTTP/1.1 204"), "{sent}");
    assert!(!keyward.installation().data_folder().join("keyward.sock").exists());
    assert!(
        !keyward
            .installation()
            .data_folder()
            .join("listen-address")
            .exists()
    );
}
