//! One-time links: looked at as often as anybody likes, good once.

use http::StatusCode;
use keyward_core::time::{DAY_MS, HOUR_MS};
use keyward_engine::sign_in_links::LinkPurpose;
use keyward_testkit::engine::{Kind, context};
use keyward_testkit::on_both_databases;

use crate::support::{OWNER, PASSPHRASE, TestConsole};

/// The path of a new link for the Owner.
async fn link(console: &TestConsole) -> String {
    let engine = &console.test.engine;
    let made = engine
        .create_sign_in_link(&context(), OWNER, LinkPurpose::SetPassphrase)
        .await;
    format!("/sign-in/link/{}", made.unwrap().secret.reveal())
}

async fn a_link_sets_a_passphrase_once_and_looking_spends_nothing(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let path = link(&console).await;
    // A mail scanner, without cookies, and more than once.
    for _ in 0..3 {
        console.browser().page(&path).await;
    }
    let mut browser = console.browser();
    let page = browser.page(&path).await;
    assert!(
        page.contains(OWNER) && page.contains("12 to 256 characters"),
        "{page}"
    );
    assert!(page.contains("autocomplete=\"new-password\""));
    for (refused, why) in [
        ("short", "must be 12 to 256 characters"),
        ("aaaaaaaaaaaaaaaa", "one character repeated"),
        ("password1234", "easily guessed"),
    ] {
        let answer = browser.post(&path, &[("passphrase", refused)]).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(answer.text.contains(why), "{refused}: {}", answer.text);
        assert!(
            answer
                .text
                .contains("aria-describedby=\"passphrase-rule passphrase-problem\"")
        );
        assert!(
            !answer.text.contains(refused),
            "a passphrase is never shown again"
        );
    }
    let answer = browser.post(&path, &[("passphrase", PASSPHRASE)]).await;
    assert_eq!(answer.location(), "/org/org-1");
    browser.page("/organizations").await;

    let mut later = console.browser();
    let answer = later.get(&path).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(answer.text.contains("This link is over") && answer.text.contains("keyward people link"));
    later.page("/sign-in").await;
    let answer = later
        .post(&path, &[("passphrase", "four other words entirely here")])
        .await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    later.page("/sign-in").await;
    let signed_in = later
        .post("/sign-in", &[("email", OWNER), ("passphrase", PASSPHRASE)])
        .await;
    assert_eq!(signed_in.location(), "/org/org-1");
}

async fn a_link_that_is_late_or_replaced_or_made_up_is_over(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let (first, second) = (link(&console).await, link(&console).await);
    let mut browser = console.browser();
    for over in [first.as_str(), "/sign-in/link/abc", "/sign-in/link/%00%ff"] {
        let answer = browser.get(over).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{over}");
    }
    browser.page(&second).await;
    console.test.clock.advance_ms(DAY_MS + HOUR_MS);
    assert_eq!(browser.get(&second).await.status, StatusCode::NOT_FOUND);
}

async fn a_link_ends_the_sessions_that_were_there_and_a_scheme_of_somebody_else_is_not_followed(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut before = console.owner().await;
    before.page("/organizations").await;
    let path = link(&console).await;
    let mut browser = console.browser();
    browser.page(&path).await;
    let fields = [("passphrase", PASSPHRASE), ("next", "https://evil.example/")];
    let answer = browser.post(&path, &fields).await;
    assert_eq!(answer.location(), "/org/org-1");
    assert_eq!(before.get("/organizations").await.status, StatusCode::SEE_OTHER);
}

on_both_databases!(
    a_link_sets_a_passphrase_once_and_looking_spends_nothing,
    a_link_that_is_late_or_replaced_or_made_up_is_over,
    a_link_ends_the_sessions_that_were_there_and_a_scheme_of_somebody_else_is_not_followed,
);
