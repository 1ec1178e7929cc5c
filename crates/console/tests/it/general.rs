//! General: what every member sees, what managers change by version, and the organization's end.

use http::StatusCode;
use keyward_core::role::Role;
use keyward_store::organizations::Organization;
use keyward_testkit::engine::Kind;
use keyward_testkit::on_both_databases;

use crate::support::{Browser, TestConsole, between};

async fn organization(console: &TestConsole) -> Organization {
    let found = console.test.engine.show_organization(&console.organization);
    found.await.expect("the organization is there")
}

async fn version(console: &TestConsole, browser: &mut Browser) -> String {
    let page = browser.page(&console.path("settings/general")).await;
    let version = between(&page, "name=\"version\" value=\"", "\"");
    version.expect("the form has a version").to_owned()
}

async fn every_member_sees_the_id_and_only_managers_a_form(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut member = console.member("member@example.com", Role::Member).await;
    let page = member.page(&console.path("settings/general")).await;
    assert!(
        page.contains("<code id=\"organization-id\">org-1</code>"),
        "{page}"
    );
    assert!(page.contains("data-copy=\"#organization-id\""));
    assert!(!page.contains("name=\"retention\"") && !page.contains("settings/general/delete"));
    let form = [("name", "Mine"), ("retention", "30"), ("version", "1")];
    let answer = member.post(&console.path("settings/general"), &form).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    for path in ["settings/general/delete", "settings/general/restore"] {
        let answer = member.post(&console.path(path), &[("confirm", "org-1")]).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(organization(&console).await.name, "The organization org-1");
}

async fn an_admin_changes_the_settings_and_problems_keep_what_was_typed(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut admin = console.member("admin@example.com", Role::Admin).await;
    let path = console.path("settings/general");
    let version = version(&console, &mut admin).await;
    let unfit = [
        ("name", "A name that stays"),
        ("retention", "many"),
        ("advanced", "on"),
        ("version", &version),
    ];
    let answer = admin.post(&path, &unfit).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(answer.text.contains("value=\"A name that stays\"") && answer.text.contains("value=\"many\""));
    assert!(answer.text.contains("id=\"retention-problem\""));
    let unfit = [("name", "   "), ("retention", "0"), ("version", &version)];
    let answer = admin.post(&path, &unfit).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(answer.text.contains("id=\"name-problem\"") && answer.text.contains("id=\"retention-problem\""));

    let fit = [
        ("name", "Robots & more"),
        ("retention", "30"),
        ("version", &version),
    ];
    let answer = admin.post(&path, &fit).await;
    assert_eq!(answer.location(), console.path("settings/general?done=saved"));
    let now = organization(&console).await;
    assert_eq!(now.name, "Robots & more");
    assert_eq!(now.settings.usage_retention_days, 30);
    assert!(!now.settings.advanced_access_control);
}

async fn a_stale_form_changes_nothing_and_is_told(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    let path = console.path("settings/general");
    let version = version(&console, &mut owner).await;
    let first = [("name", "First"), ("retention", "30"), ("version", &version)];
    owner.post(&path, &first).await.location();
    let second = [("name", "Second"), ("retention", "40"), ("version", &version)];
    let answer = owner.post(&path, &second).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert!(answer.text.contains("somebody else saved") && answer.text.contains("value=\"Second\""));
    assert_eq!(organization(&console).await.name, "First");
}

async fn a_name_is_shown_as_text_on_every_page(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    let version = version(&console, &mut owner).await;
    let name = "</title><script>alert(1)</script>\" onmouseover=x";
    let fields = [("name", name), ("retention", "30"), ("version", &version)];
    owner
        .post(&console.path("settings/general"), &fields)
        .await
        .location();
    for path in [
        "",
        "settings/members",
        "settings/general",
        "settings/general/delete",
        "settings/general/leave",
        "settings/security",
        "settings/tokens",
    ] {
        let path = format!("/org/org-1/{path}");
        let page = owner.page(path.trim_end_matches('/')).await;
        assert!(
            !page.contains("<script>alert") && !page.contains("\" onmouseover"),
            "{path}"
        );
    }
}

async fn only_an_owner_ends_the_organization_after_typing_its_id(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let key = console.test.full_key(&console.organization).await;
    let value = key.value.reveal().to_owned();
    let mut owner = console.owner().await;
    let mut admin = console.member("admin@example.com", Role::Admin).await;
    let path = console.path("settings/general/delete");

    let page = admin.page(&path).await;
    assert!(page.contains("Only an Owner may delete") && !page.contains("name=\"confirm\""));
    let answer = admin.post(&path, &[("confirm", "org-1")]).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(answer.text.contains("only an Owner may delete"));

    owner.page(&path).await;
    let answer = owner.post(&path, &[("confirm", "org-2")]).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(answer.text.contains("value=\"org-2\"") && answer.text.contains("id=\"confirm-problem\""));
    console
        .test
        .verify(&value)
        .await
        .expect("nothing happened so far");

    let answer = owner.post(&path, &[("confirm", "org-1")]).await;
    assert_eq!(answer.location(), console.path("settings/general"));
    assert!(console.test.verify(&value).await.is_err());
    let page = owner.page(&console.path("settings/general")).await;
    assert!(page.contains("purged on") && page.contains("Restore the organization"));

    let restore = console.path("settings/general/restore");
    let answer = admin.post(&restore, &[]).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(organization(&console).await.deletion.is_some());
    owner.post(&restore, &[]).await.location();
    assert!(organization(&console).await.deletion.is_none());
    // Stopped still, until somebody resumes the keys.
    assert!(console.test.verify(&value).await.is_err());
    owner
        .post(&console.path("settings/security/resume"), &[])
        .await
        .location();
    console.test.verify(&value).await.expect("the keys are resumed");
}

on_both_databases!(
    every_member_sees_the_id_and_only_managers_a_form,
    an_admin_changes_the_settings_and_problems_keep_what_was_typed,
    a_stale_form_changes_nothing_and_is_told,
    a_name_is_shown_as_text_on_every_page,
    only_an_owner_ends_the_organization_after_typing_its_id,
);
