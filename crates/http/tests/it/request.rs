//! From where a request comes, as a key's address list sees it.

use keyward_core::condition::AddressRule;
use keyward_http::verify::PATH;

use crate::support::{Caller, Setup, TestApp};

const OFFICE: &str = "203.0.113.9";
const ELSEWHERE: &str = "192.0.2.1";
const PROXY: &str = "10.0.0.1";
const FORWARDED: &str = "x-forwarded-for";

/// Somebody whose key is accepted from the office alone, behind a trusted network of proxies.
async fn employee() -> (TestApp, Caller) {
    let app = TestApp::with(Setup {
        trusted_proxies: &["10.0.0.0/8", "fd00::/8"],
        ..Setup::default()
    })
    .await;
    let key = app
        .key_with(|draft| {
            draft.conditions.addresses = AddressRule::Only(
                ["203.0.113.0/24", "2001:db8::/32"]
                    .map(|network| network.parse().unwrap())
                    .to_vec(),
            );
        })
        .await;
    let caller = app.holder(&key);
    (app, caller)
}

async fn assert_let_in(caller: &Caller, why: &str) {
    let reply = caller.get(PATH).await;
    assert_eq!(reply.status, 204, "{why}: {reply:?}");
}

async fn assert_kept_out(caller: &Caller, why: &str) {
    let reply = caller.get(PATH).await;
    assert_eq!(reply.problem(), (403, "address_not_allowed".to_owned()), "{why}");
}

#[tokio::test]
async fn without_a_proxy_the_peer_is_the_caller() {
    let (_app, caller) = employee().await;
    assert_let_in(&caller.clone().from(OFFICE), "from the office").await;
    assert_let_in(&caller.clone().from("2001:db8::1"), "from its other network").await;
    assert_let_in(&caller.clone().from("::ffff:203.0.113.9"), "the same over IPv6").await;
    assert_kept_out(&caller.clone().from(ELSEWHERE), "from elsewhere").await;
    assert_kept_out(&caller.clone().from("2001:db9::1"), "from elsewhere").await;
    assert_kept_out(&caller.without_peer(), "nobody knows from where").await;
}

#[tokio::test]
async fn what_an_untrusted_peer_says_of_itself_counts_for_nothing() {
    let (_app, caller) = employee().await;
    let claims = caller.clone().from(ELSEWHERE).with(FORWARDED, OFFICE);
    assert_kept_out(&claims, "it claims to be in the office").await;
    let claims = claims.with("forwarded", "for=203.0.113.9");
    assert_kept_out(&claims.with("x-real-ip", OFFICE), "in any header").await;
    let denies = caller.from(OFFICE).with(FORWARDED, ELSEWHERE);
    assert_let_in(&denies, "it is in the office, whatever it says").await;
}

#[tokio::test]
async fn a_trusted_proxy_is_believed_from_the_right() {
    let (_app, caller) = employee().await;
    let behind = |lines: &[&str]| {
        let caller = caller.clone().from(PROXY);
        lines
            .iter()
            .fold(caller, |caller, line| caller.with(FORWARDED, line))
    };
    assert_let_in(&behind(&[OFFICE]), "one proxy").await;
    assert_let_in(&behind(&["203.0.113.9:4711"]), "with its port").await;
    assert_let_in(&behind(&["[2001:db8::1]:4711"]), "with its port").await;
    assert_let_in(&behind(&["203.0.113.9, 10.1.1.1, fd00::1"]), "three proxies").await;
    assert_let_in(&behind(&[ELSEWHERE, OFFICE]), "the last line is the nearest").await;
    assert_let_in(
        &behind(&["192.0.2.1, 203.0.113.9", "10.1.1.1"]),
        "lines are one list",
    )
    .await;
    assert_let_in(
        &behind(&["garbage", OFFICE]),
        "what stands before the caller is its own word",
    )
    .await;

    assert_kept_out(&behind(&[]), "the proxy itself").await;
    assert_kept_out(&behind(&["10.1.1.1"]), "another proxy itself").await;
    assert_kept_out(&behind(&[ELSEWHERE]), "from elsewhere").await;
    assert_kept_out(&behind(&[OFFICE, ELSEWHERE]), "the first line is a claim").await;
    assert_kept_out(&behind(&["203.0.113.9, 192.0.2.1"]), "the first entry is a claim").await;
}

#[tokio::test]
async fn an_address_that_cannot_be_read_is_on_no_list() {
    let (app, caller) = employee().await;
    let unreadable: [&[u8]; 8] = [
        b"",
        b",",
        b"203.0.113.9,",
        b"unknown",
        b"203.0.113.999",
        b"for=203.0.113.9",
        b"203.0.113.9 10.1.1.1",
        b"\xff",
    ];
    let anywhere = app.holder(&app.key().await);
    for line in unreadable {
        let shown = String::from_utf8_lossy(line);
        assert_kept_out(&caller.clone().from(PROXY).with(FORWARDED, line), &shown).await;
        let two_lines = caller.clone().from(PROXY).with(FORWARDED, OFFICE);
        assert_kept_out(&two_lines.with(FORWARDED, line), &shown).await;
        // A key without a list does not ask.
        assert_let_in(&anywhere.clone().from(PROXY).with(FORWARDED, line), &shown).await;
    }
    assert_let_in(&anywhere.without_peer(), "a key without a list").await;
}
