//! A key's page: what it shows, what it hides, the advice that is applied, the question that is answered.

use http::StatusCode;
use keyward_core::access::Permission;
use keyward_core::role::Role;
use keyward_core::scope::ScopeSet;
use keyward_core::state::DeleteReason;
use keyward_core::time::DAY_MS;
use keyward_testkit::engine::{Kind, context, draft};
use keyward_testkit::on_both_databases;

use crate::support::{TestConsole, between};
use crate::uses::{READ, use_key};

/// Every page of a key, and of the organization's activity.
const PAGES: [&str; 9] = [
    "",
    "/rotate",
    "/activity",
    "/activity/export",
    "/explain",
    "/compromised",
    "/compromised/attempts",
    "/report",
    "/report/download",
];
const FORMS: [&str; 6] = [
    "/rotate",
    "/rotation/finish",
    "/rotation/cancel",
    "/rotation/activate",
    "/advice",
    "/compromised",
];

async fn members_and_other_organizations_find_nothing(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let key = console.test.full_key(&console.organization).await;
    let other = console.test.organization("org-2").await;
    let foreign = console.test.full_key(&other).await;
    let mut member = console.member("member@example.com", Role::Member).await;
    let mut owner = console.owner().await;
    member.page("/organizations").await;
    owner.page("/organizations").await;
    for (browser, id) in [
        (&mut member, key.key.record.id),
        (&mut owner, foreign.key.record.id),
    ] {
        let base = console.path(&format!("settings/secret-keys/{id}"));
        for page in PAGES {
            let answer = browser.get(&format!("{base}{page}")).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{page}");
            assert!(!answer.text.contains("A key of a test"), "{page}");
        }
        for form in FORMS {
            let once = "0123456789abcdef0123456789abcdef";
            let fields = [
                ("mode", "immediate"),
                ("once", once),
                ("version", "1"),
                ("days", "30"),
            ];
            let answer = browser.post(&format!("{base}{form}"), &fields).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{form}");
        }
    }
    let activity = console.path("activity");
    assert_eq!(member.get(&activity).await.status, StatusCode::NOT_FOUND);
    let export = format!("{activity}/export");
    assert_eq!(member.get(&export).await.status, StatusCode::NOT_FOUND);
    assert!(console.test.verify(foreign.value.reveal()).await.is_ok());
    assert!(console.test.verify(key.value.reveal()).await.is_ok());
}

async fn a_key_that_ended_stays_readable_and_a_name_is_no_markup(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let engine = &console.test.engine;
    let mut wanted = draft(ScopeSet::ALL, Permission::Full);
    wanted.name = "<script>alert(1)</script>".to_owned();
    wanted.description = "<img src=x onerror=alert(2)>".to_owned();
    let made = engine
        .create_key(context(), console.organization.clone(), wanted)
        .await
        .unwrap();
    let id = made.key.record.id;
    use_key(engine, made.value.reveal(), READ, (1, "vi-sdk/1"))
        .await
        .unwrap();
    let mut owner = console.owner().await;
    let base = console.path(&format!("settings/secret-keys/{id}"));
    let living = owner.page(&base).await;
    assert!(living.contains(&format!("{base}/rotate")) && living.contains("Edit Permission"));
    assert!(living.contains("everything that a key can"), "{living}");
    let reason = DeleteReason::Unused;
    engine
        .delete_key(context(), console.organization.clone(), id, reason)
        .await
        .unwrap();
    for page in PAGES {
        let answer = owner.get(&format!("{base}{page}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{page}");
        if !page.contains("export") && !page.contains("download") {
            assert!(
                !answer.text.contains("<script>alert") && !answer.text.contains("<img src=x"),
                "{page}"
            );
        }
    }
    let ended = owner.page(&base).await;
    assert!(
        ended.contains("because nobody used it") && ended.contains("203.0.113.1"),
        "{ended}"
    );
    assert!(!ended.contains(&format!("{base}/rotate")) && !ended.contains(&format!("{base}/edit")));
    // Rotating it is refused in words, not with a fault.
    let page = owner.page(&format!("{base}/rotate")).await;
    assert!(page.contains("never comes back"));
    let once = "0123456789abcdef0123456789abcdef";
    let fields = [("mode", "immediate"), ("once", once), ("version", "2")];
    let answer = owner.post(&format!("{base}/rotate"), &fields).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
}

async fn advice_that_is_applied_narrows_the_key_and_no_other_than_was_shown(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let (engine, organization) = (&console.test.engine, &console.organization);
    let key = console.test.full_key(organization).await;
    let id = key.key.record.id;
    use_key(engine, key.value.reveal(), READ, (1, "vi-sdk/1"))
        .await
        .unwrap();
    let mut owner = console.owner().await;
    let base = console.path(&format!("settings/secret-keys/{id}"));
    let page = owner.page(&base).await;
    assert!(page.contains("Could be narrower"), "{page}");
    let proposal = between(&page, "name=\"proposal\" value=\"", "\"")
        .unwrap()
        .to_owned();
    let which = between(&page, "name=\"which\" value=\"", "\"")
        .unwrap()
        .to_owned();
    let send = |proposal: String, version: &'static str| {
        let (mut owner, base, which) = (owner.clone(), base.clone(), which.clone());
        async move {
            let fields = [
                ("days", "30"),
                ("version", version),
                ("which", which.as_str()),
                ("proposal", proposal.as_str()),
            ];
            owner.post(&format!("{base}/advice"), &fields).await
        }
    };
    let other = send("0000000000000000".to_owned(), "1").await;
    assert_eq!(other.location(), format!("{base}?done=advice-changed"));
    let stale = send(proposal.clone(), "0").await;
    assert_eq!(stale.status, StatusCode::CONFLICT);
    let before = engine.show_key(organization, id).await.unwrap();
    assert!(before.record.access.is_unnarrowed());
    assert_eq!(
        send(proposal, "1").await.location(),
        format!("{base}?done=narrowed")
    );
    let after = engine.show_key(organization, id).await.unwrap();
    let allowed = keyward_core::advice::allowed_by(&after.record.access);
    assert_eq!(
        allowed
            .iter()
            .map(|operation| operation.name())
            .collect::<Vec<_>>(),
        ["organization.read", "dataset.read"]
    );
    let page = owner.page(&format!("{base}?done=narrowed")).await;
    assert!(
        page.contains("As narrow as it can be") && page.contains("Narrowed."),
        "{page}"
    );
    console.test.clock.advance_ms(DAY_MS / 24);
    use_key(engine, key.value.reveal(), READ, (1, "vi-sdk/1"))
        .await
        .unwrap();
}

async fn a_question_is_answered_as_a_request_would_be(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let key = console
        .test
        .key(&console.organization, ScopeSet::ALL, Permission::ReadOnly)
        .await;
    let mut owner = console.owner().await;
    let base = console.path(&format!("settings/secret-keys/{}/explain", key.key.record.id));
    let yes = owner
        .page(&format!(
            "{base}?operation=dataset.read&resource_type=dataset&address=192.0.2.7"
        ))
        .await;
    assert!(
        yes.contains("Yes: it can") && yes.contains("from 192.0.2.7"),
        "{yes}"
    );
    let no = owner
        .page(&format!(
            "{base}?operation=dataset.delete&resource_type=dataset&resource_id=d1"
        ))
        .await;
    assert!(
        no.contains("No: it cannot") && no.contains("operation_not_permitted"),
        "{no}"
    );
    assert!(no.contains("Its permission decides: Read Only."), "{no}");
    let bad = owner
        .get(&format!(
            "{base}?operation=dataset.read&address=%3Cb%3E&at=soon&resource_id=x"
        ))
        .await;
    assert_eq!(bad.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        bad.text.contains("value=\"&#60;b&#62;\"") && bad.text.contains("value=\"soon\""),
        "{}",
        bad.text
    );
    assert_eq!(bad.text.matches("aria-invalid=\"true\"").count(), 3);
    // Nothing of it was a use.
    let uses = console
        .test
        .engine
        .last_uses(&console.organization, &[key.key.record.id])
        .await;
    assert!(uses.unwrap().is_empty());
}

on_both_databases!(
    members_and_other_organizations_find_nothing,
    a_key_that_ended_stays_readable_and_a_name_is_no_markup,
    advice_that_is_applied_narrows_the_key_and_no_other_than_was_shown,
    a_question_is_answered_as_a_request_would_be,
);
