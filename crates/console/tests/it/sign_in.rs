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

async fn whoever_was_wrong_too_often_is_told_when_to_come_back(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    let mut browser = console.browser();
    browser.page("/sign-in").await;
    let fields = [("email", OWNER), ("passphrase", "not the passphrase at all")];
    let mut answer = browser.post("/sign-in", &fields).await;
    while answer.status == StatusCode::UNPROCESSABLE_ENTITY {
        assert!(!answer.headers.contains_key("retry-after"));
        answer = browser.post("/sign-in", &fields).await;
    }
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{}", answer.text);
    assert_eq!(answer.headers["retry-after"], "30");
    assert!(answer.text.contains("Too many wrong attempts"), "{}", answer.text);

    // The same where a passphrase is asked for once more.
    owner.address = [198, 51, 100, 8];
    for (path, fields) in [
        (
            "/account",
            &[
                ("current", "not the passphrase at all"),
                ("passphrase", "eleven quiet otters paint fences"),
            ][..],
        ),
        (
            "/account/second-factor",
            &[("step", "begin"), ("passphrase", "not the passphrase at all")],
        ),
    ] {
        owner.page(path).await;
        let mut answer = owner.post(path, fields).await;
        while answer.status == StatusCode::UNPROCESSABLE_ENTITY {
            answer = owner.post(path, fields).await;
        }
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{path}");
        let seconds: i64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=30).contains(&seconds), "{path}: {seconds}");
    }
}

async fn a_code_that_is_wrong_too_often_says_when_to_come_back(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    console.turn_on(&mut owner).await;
    let mut browser = console.browser();
    let wrong = [("code", "000000")];
    // Some wrong codes end a sign-in; whoever knows the passphrase begins another, and comes no further by it.
    let answer = loop {
        browser.page("/sign-in").await;
        let fields = [("email", OWNER), ("passphrase", PASSPHRASE)];
        let begun = browser.post("/sign-in", &fields).await;
        assert!(begun.location().starts_with("/sign-in/code"));
        browser.page("/sign-in/code").await;
        let mut answer = browser.post("/sign-in/code", &wrong).await;
        while answer.status == StatusCode::UNPROCESSABLE_ENTITY {
            answer = browser.post("/sign-in/code", &wrong).await;
        }
        if answer.status != StatusCode::SEE_OTHER {
            break answer;
        }
    };
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{}", answer.text);
    let seconds: i64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!(seconds > 0, "{seconds}");
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
    whoever_was_wrong_too_often_is_told_when_to_come_back,
    a_code_that_is_wrong_too_often_says_when_to_come_back,
    a_form_needs_the_proof_of_its_own_session,
    a_sign_in_begins_a_new_session_and_ends_the_one_that_was_there,
);
