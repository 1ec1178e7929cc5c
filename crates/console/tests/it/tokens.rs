//! Management tokens: a value shown once that the engine accepts, one token for a form, and its end.

use http::StatusCode;
use keyward_core::management_refusal::ManagementCode;
use keyward_core::management_right::RightSet;
use keyward_core::role::Role;
use keyward_testkit::engine::Kind;
use keyward_testkit::on_both_databases;

use crate::support::{Browser, TestConsole, between};

async fn form_of(console: &TestConsole, browser: &mut Browser) -> String {
    let page = browser.page(&console.path("settings/tokens/new")).await;
    let form = between(&page, "name=\"form\" value=\"", "\"");
    form.expect("the form has a number").to_owned()
}

async fn count(console: &TestConsole) -> usize {
    let tokens = console
        .test
        .engine
        .list_tokens(&console.organization, "", 100)
        .await;
    tokens.expect("tokens can be listed").items.len()
}

async fn a_token_is_shown_once_works_and_ends(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    let form = form_of(&console, &mut owner).await;
    let path = console.path("settings/tokens/new");
    let fields = [
        ("form", form.as_str()),
        ("name", "nightly <rotation>"),
        ("right", "keys:read"),
        ("right", "keys:write"),
        ("ends", "30"),
    ];
    let answer = owner.post(&path, &fields).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let value = between(&answer.text, "id=\"token-value\">", "<").expect("the value is shown");
    assert!(
        answer
            .text
            .contains("http://localhost:8787/v1/organizations/org-1/keys")
    );
    assert!(answer.text.contains("data-copy=\"#token-value\""));
    let verified = console.test.sign_in(value).await.expect("the token works");
    let rights: RightSet = RightSet::from_text("keys:read,keys:write").expect("these are rights");
    assert_eq!(verified.rights, rights);

    let table = owner.page(&console.path("settings/tokens")).await;
    assert!(
        table.contains("nightly &#60;rotation&#62;") && !table.contains(value),
        "{table}"
    );
    let remove = console.path(&format!("settings/tokens/{}/remove", verified.id));
    assert!(table.contains(&format!("href=\"{remove}\"")));
    owner.page(&remove).await;
    let answer = owner.post(&remove, &[]).await;
    assert_eq!(answer.location(), console.path("settings/tokens?done=removed"));
    assert_eq!(
        console.test.sign_in(value).await.unwrap_err(),
        ManagementCode::TokenDeleted
    );
}

async fn a_form_that_is_sent_twice_makes_one_token(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    let form = form_of(&console, &mut owner).await;
    let path = console.path("settings/tokens/new");
    let fields = [
        ("form", form.as_str()),
        ("name", "once"),
        ("right", "verify"),
        ("ends", "never"),
    ];
    let first = owner.post(&path, &fields).await;
    let value = between(&first.text, "id=\"token-value\">", "<").expect("the value is shown");
    let second = owner.post(&path, &fields).await;
    assert_eq!(second.location(), console.path("settings/tokens?done=before"));
    assert_eq!(count(&console).await, 1);
    console
        .test
        .sign_in(value)
        .await
        .expect("the first one's value works");
    let told = owner.page(&console.path("settings/tokens?done=before")).await;
    assert!(told.contains("had been sent before"));

    // Another person's form, or one without a number, is not taken for this one.
    let mut admin = console.member("admin@example.com", Role::Admin).await;
    form_of(&console, &mut admin).await;
    assert_eq!(admin.post(&path, &fields).await.status, StatusCode::OK);
    assert_eq!(count(&console).await, 2);
    let without = owner.post(&path, &fields[1..]).await;
    assert_eq!(without.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(count(&console).await, 2);
}

async fn problems_keep_what_was_typed(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    let form = form_of(&console, &mut owner).await;
    let path = console.path("settings/tokens/new");
    let fields = [("form", form.as_str()), ("name", "kept"), ("ends", "365")];
    let answer = owner.post(&path, &fields).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        answer.text.contains("value=\"kept\"") && answer.text.contains("<option value=\"365\" selected>")
    );
    assert!(answer.text.contains("id=\"rights-problem\""), "{}", answer.text);
    // What no token holds is no right here.
    let fields = [
        ("form", form.as_str()),
        ("name", "kept"),
        ("right", "organization:delete"),
        ("ends", "365"),
    ];
    let answer = owner.post(&path, &fields).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(count(&console).await, 0);
}

async fn a_member_finds_none_of_it(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let token = console.test.token(&console.organization, "verify").await;
    let mut member = console.member("member@example.com", Role::Member).await;
    member.page(&console.path("settings/general")).await;
    let remove = format!("settings/tokens/{}/remove", token.token.record.id);
    for path in ["settings/tokens", "settings/tokens/new", &remove] {
        let answer = member.get(&console.path(path)).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
    for path in ["settings/tokens/new", &remove] {
        let answer = member.post(&console.path(path), &[("name", "x")]).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
    console
        .test
        .sign_in(token.value.reveal())
        .await
        .expect("the token is untouched");
}

on_both_databases!(
    a_token_is_shown_once_works_and_ends,
    a_form_that_is_sent_twice_makes_one_token,
    problems_keep_what_was_typed,
    a_member_finds_none_of_it,
);
