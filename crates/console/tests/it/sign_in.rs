//! Signing in and out through the pages.

use http::StatusCode;
use keyward_core::role::Role;
use keyward_testkit::engine::Kind;
use keyward_testkit::on_both_databases;

use crate::support::{OWNER, PASSPHRASE, TestConsole};

async fn who_signs_in_comes_to_where_they_wanted_and_nowhere_else(kind: Kind) {
    let console = TestConsole::new(kind).await;
    drop(console.owner().await);
    let wanted = console.path("settings/general");
    let mut browser = console.browser();
    let sent_away = browser.get(&wanted).await;
    assert_eq!(
        sent_away.location(),
        format!("/sign-in?next={}", wanted.replace('/', "%2F"))
    );
    for (next, arrives) in [
        (wanted.as_str(), wanted.as_str()),
        ("https://evil.example/", "/org/org-1"),
        ("//evil.example/", "/org/org-1"),
        ("/\\evil.example", "/org/org-1"),
        ("javascript:alert(1)", "/org/org-1"),
    ] {
        let mut browser = console.browser();
        browser.page("/sign-in").await;
        let fields = [("email", OWNER), ("passphrase", PASSPHRASE), ("next", next)];
        let answer = browser.post("/sign-in", &fields).await;
        assert_eq!(answer.location(), arrives, "{next}");
    }
}

async fn what_is_wrong_is_not_told_apart(kind: Kind) {
    let console = TestConsole::new(kind).await;
    drop(console.owner().await);
    let mut texts = Vec::new();
    for (email, passphrase) in [
        (OWNER, "not the passphrase at all"),
        ("nobody@example.com", PASSPHRASE),
    ] {
        let mut browser = console.browser();
        browser.page("/sign-in").await;
        let answer = browser
            .post("/sign-in", &[("email", email), ("passphrase", passphrase)])
            .await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(answer.text.contains("do not fit together"), "{}", answer.text);
        texts.push(
            answer
                .text
                .replace(email, "EMAIL")
                .replace(&browser.proof, "PROOF"),
        );
    }
    assert_eq!(texts[0], texts[1]);
}

async fn a_form_needs_the_proof_of_its_own_session(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    let mut other = console.member("other@example.com", Role::Member).await;
    let mut stranger = console.browser();
    owner.page("/organizations").await;
    other.page("/organizations").await;
    stranger.page("/sign-in").await;
    for proof in [other.proof.as_str(), stranger.proof.as_str(), ""] {
        let answer = owner.clone().post_with(proof, "/sign-out", &[]).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{proof}");
    }
    // Two tabs and Back: the proof of any page of the session fits.
    let first = owner.proof.clone();
    owner.page("/organizations").await;
    assert_eq!(
        owner.post_with(&first, "/sign-out", &[]).await.location(),
        "/sign-in?told=signed-out"
    );
    assert_eq!(
        owner.get("/organizations").await.location(),
        "/sign-in?next=%2Forganizations"
    );
}

async fn a_sign_in_begins_a_new_session_and_ends_the_one_that_was_there(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    owner.page("/organizations").await;
    let before = owner.clone();
    let answer = owner
        .post("/sign-in", &[("email", OWNER), ("passphrase", PASSPHRASE)])
        .await;
    assert_eq!(answer.location(), "/org/org-1");
    assert_ne!(before.cookies, owner.cookies);
    owner.page("/organizations").await;
    assert_eq!(
        before.clone().get("/organizations").await.status,
        StatusCode::SEE_OTHER
    );
}

on_both_databases!(
    who_signs_in_comes_to_where_they_wanted_and_nowhere_else,
    what_is_wrong_is_not_told_apart,
    a_form_needs_the_proof_of_its_own_session,
    a_sign_in_begins_a_new_session_and_ends_the_one_that_was_there,
);
