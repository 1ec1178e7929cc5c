//! The audit trail's pages: what is listed, found, checked, exported and erased.

use http::StatusCode;
use keyward_core::audit_verify::{ExportCheck, Kept};
use keyward_core::record::Actor;
use keyward_core::role::Role;
use keyward_core::state::DeleteReason;
use keyward_core::time::{DAY_MS, MINUTE_MS};
use keyward_engine::context::Context;
use keyward_engine::create_organization::{OrganizationDraft, OwnerClaim};
use keyward_testkit::engine::{Kind, context};
use keyward_testkit::on_both_databases;

use crate::support::{OWNER, TestConsole, between};

/// The table of a page.
fn table(page: &str) -> &str {
    between(page, "<tbody>", "</tbody>").unwrap_or_default()
}

async fn entries_are_told_in_words_with_names_and_without_what_tells_nothing(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    let engine = &console.test.engine;
    let created = console.test.full_key(&console.organization).await;
    let id = created.key.record.id;
    let person = engine
        .memberships_of(Some(&console.organization), OWNER)
        .await
        .unwrap()
        .remove(0)
        .person_id;
    let as_owner = Context::new(Actor::Person(person.clone()), context().request_id);
    let deleted = engine.delete_key(as_owner, console.organization.clone(), id, DeleteReason::Unused);
    drop(deleted.await.unwrap());

    let page = owner.page(&console.path("audit")).await;
    let rows = table(&page);
    let newest = rows.split("</tr>").next().unwrap();
    assert!(
        newest.contains("Removed a key") && newest.contains(OWNER),
        "newest first, by name: {newest}"
    );
    assert!(newest.contains(created.key.name.as_str()) && newest.contains(&format!("secret-keys/{id}")));
    assert!(newest.contains("Reason: unused"), "{newest}");
    assert!(!rows.contains("none</dd>") && !rows.contains("null"), "{rows}");
    assert!(rows.contains("Created the organization"), "{rows}");
    // Number and hashes are within reach.
    let line = engine
        .list_audit("org-1", &Default::default(), None, 1)
        .await
        .unwrap()
        .items
        .remove(0)
        .to_line()
        .unwrap();
    assert!(newest.contains(&line.hash.to_string()) && newest.contains(&line.previous_hash.to_string()));
}

async fn filters_narrow_and_what_is_mistyped_shows_nothing(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let key = console.test.full_key(&console.organization).await;
    let other = console.test.full_key(&console.organization).await;
    let id = key.key.record.id;
    console.test.clock.advance_ms(2 * DAY_MS);
    drop(console.test.token(&console.organization, "keys:read").await);
    let mut owner = console.owner().await;
    let audit = console.path("audit");

    let page = owner.page(&format!("{audit}?target={id}")).await;
    assert!(table(&page).contains(&format!("key/{id}")));
    assert!(
        !table(&page).contains(&format!("key/{}", other.key.record.id)),
        "a bare id is a key's"
    );
    let page = owner.page(&format!("{audit}?action=token.create")).await;
    assert_eq!(table(&page).matches("<tr>").count(), 1);
    assert!(
        page.contains("<option value=\"token.create\" selected>"),
        "{page}"
    );
    let page = owner.page(&format!("{audit}?actor=system")).await;
    assert!(page.contains("No entry fits"), "{page}");
    for (query, field) in [
        ("from=yesterday", "from-problem"),
        ("to=2026-02-31", "to-problem"),
        ("from=2026-09-24&to=2026-09-01", "to-problem"),
    ] {
        let answer = owner.get(&format!("{audit}?{query}")).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
        assert!(answer.text.contains(&format!("id=\"{field}\"")), "{query}");
        assert_eq!(table(&answer.text), "", "{query}");
    }
    // The day's own entries are in it, on both ends.
    let created = keyward_api::moment::write(key.key.created_at);
    let day = created.split('T').next().unwrap();
    let page = owner.page(&format!("{audit}?from={day}&to={day}")).await;
    assert!(table(&page).contains("Created a secret key") && !table(&page).contains("token.create"));
    assert_eq!(
        owner.get(&format!("{audit}?cursor=made-up")).await.status,
        StatusCode::NOT_FOUND
    );
}

async fn a_long_trail_has_pages_that_keep_the_filter_and_miss_nothing(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    for _ in 0..90 {
        drop(console.test.full_key(&console.organization).await);
    }
    let mut path = format!("{}?action=key.create", console.path("audit"));
    let mut counts = Vec::new();
    loop {
        let page = owner.page(&path).await;
        counts.push(table(&page).matches("<tr>").count());
        assert!(!table(&page).contains("organization.create"));
        let Some(older) = between(&page, "<a class=\"button small\" href=\"", "\"") else {
            break;
        };
        path = older.replace("&amp;", "&").replace("&#38;", "&");
    }
    assert_eq!(counts, [40, 40, 10]);
}

async fn verifying_tells_a_whole_trail_from_one_that_was_changed(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    drop(console.test.full_key(&console.organization).await);
    let verify = console.path("audit/verify");
    let page = owner.page(&verify).await;
    assert!(!page.contains("fits together"), "{page}");
    let answer = owner.post(&verify, &[]).await;
    assert!(answer.text.contains("The trail fits together"), "{}", answer.text);
    assert!(
        answer.text.contains("no checkpoint stands for them"),
        "{}",
        answer.text
    );

    let signed = owner.post(&console.path("audit/checkpoint"), &[]).await;
    let line = between(&signed.text, "<code id=\"line\">", "</code>").unwrap();
    let line = line.replace("&#34;", "\"").replace("&quot;", "\"");
    let kept = keyward_core::checkpoint::SignedCheckpoint::from_line(&line).unwrap();
    assert_eq!(kept.chain, "org-1");
    let answer = owner.post(&verify, &[]).await;
    assert!(
        !answer.text.contains("no checkpoint stands for them"),
        "{}",
        answer.text
    );
    assert!(
        answer.text.contains("taken away together"),
        "what it can't prove: {}",
        answer.text
    );

    let changed = console
        .test
        .place
        .run("UPDATE audit_entry SET action = 'key.edit' WHERE chain = 'org-1' AND action = 'key.create'")
        .await;
    assert_eq!(changed, 1);
    let answer = owner.post(&verify, &[]).await;
    assert!(
        answer.text.contains("This is not the trail that was written")
            && answer.text.contains("was changed: its content has another hash"),
        "{}",
        answer.text
    );
}

async fn an_export_is_what_the_offline_check_accepts_and_an_entry_itself(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    drop(console.test.full_key(&console.organization).await);
    let export = console.path("audit/export");
    let page = owner.page(&export).await;
    let keys = console.test.engine.audit_public_keys().await.unwrap();
    let key = keys.last().unwrap().public_key;
    assert!(
        page.contains("keyward audit verify keyward-audit-org-1-")
            && page.contains(&format!("--public-key {key}")),
        "{page}"
    );
    let before = owner
        .page(&format!("{}?action=audit.export", console.path("audit")))
        .await;
    assert!(before.contains("No entry fits"), "looking exports nothing");
    let answer = owner.post(&export, &[]).await;
    assert_eq!(answer.status, StatusCode::OK);
    let disposition = answer
        .headers
        .get("content-disposition")
        .unwrap()
        .to_str()
        .unwrap();
    assert!(disposition.starts_with("attachment; filename=\"keyward-audit-org-1-"));
    let mut check = ExportCheck::new(Kept {
        public_keys: vec![key],
        ..Kept::default()
    });
    answer.text.lines().for_each(|line| check.line(line));
    let report = check.finish();
    assert!(report.is_whole() && report.is_end_proved, "{report:?}");
    let after = owner
        .page(&format!("{}?action=audit.export", console.path("audit")))
        .await;
    assert_eq!(table(&after).matches("<tr>").count(), 1);
}

async fn an_owner_erases_after_a_second_look_and_the_trail_tells_that_and_stays_whole(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    drop(console.member("leaver@example.com", Role::Member).await);
    let (audit, erase) = (console.path("audit"), console.path("audit/erase"));
    let page = owner.page(&format!("{audit}?action=invitation.accept")).await;
    assert!(table(&page).contains("leaver@example.com</dd>"), "{page}");

    owner.page(&erase).await;
    for (fields, problem) in [
        (&[("what", "value"), ("value", "")][..], "value-problem"),
        (&[("what", "sequence"), ("sequence", "many")], "sequence-problem"),
        (&[("what", "sequence"), ("sequence", "0")], "sequence-problem"),
    ] {
        let answer = owner.post(&erase, fields).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{fields:?}");
        assert!(
            answer.text.contains(&format!("id=\"{problem}\"")),
            "{}",
            answer.text
        );
    }
    let fields = [("what", "value"), ("value", "leaver@example.com")];
    let asked = owner.post(&erase, &fields).await;
    assert!(asked.text.contains("This goes, for good"), "{}", asked.text);
    let page = owner.page(&format!("{audit}?action=invitation.accept")).await;
    assert!(table(&page).contains("leaver@example.com</dd>"), "nothing yet");
    let fields = [
        ("what", "value"),
        ("value", "leaver@example.com"),
        ("confirm", "erase"),
    ];
    let done = owner.post(&erase, &fields).await;
    assert!(done.text.contains("erased. The newest entry"), "{}", done.text);
    let page = owner.page(&format!("{audit}?action=invitation.accept")).await;
    assert!(table(&page).contains("<i>erased</i>"), "{page}");
    let page = owner.page(&audit).await;
    assert!(
        table(&page)
            .split("</tr>")
            .next()
            .unwrap()
            .contains("Erased personal values")
    );
    let answer = owner.post(&console.path("audit/verify"), &[]).await;
    assert!(answer.text.contains("The trail fits together"), "{}", answer.text);

    // An Admin reads and verifies, and erases nothing.
    let mut admin = console.member("admin@example.com", Role::Admin).await;
    assert!(!admin.page(&audit).await.contains("audit/erase"));
    assert_eq!(admin.get(&erase).await.status, StatusCode::NOT_FOUND);
    assert_eq!(admin.post(&erase, &fields).await.status, StatusCode::NOT_FOUND);
}

async fn an_entry_that_cannot_be_read_is_told_and_hides_no_other(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    drop(console.test.full_key(&console.organization).await);
    // Each database has its own name for the type, and takes one byte of text for it.
    let changed =
        "UPDATE audit_entry SET hash = CAST('0' AS TYPE) WHERE chain = 'org-1' AND action = 'key.create'";
    let bytes = match kind {
        Kind::Sqlite => "BLOB",
        Kind::Postgres => "BYTEA",
    };
    let place = &console.test.place;
    assert_eq!(place.run(&changed.replace("TYPE", bytes)).await, 1);
    let page = owner.page(&console.path("audit")).await;
    assert!(
        page.contains("can't be read") && page.contains("Created the organization"),
        "{page}"
    );
}

async fn nobody_is_named_who_never_had_to_do_with_the_organization(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    let engine = &console.test.engine;
    let stranger = "stranger@elsewhere.example";
    let draft = OrganizationDraft {
        name: "Elsewhere".to_owned(),
        owner_email: stranger.to_owned(),
        id: None,
        owner: OwnerClaim::AddressOnly,
    };
    let elsewhere = engine.create_organization(context(), draft).await.unwrap().id;
    let person_of = async |organization, email| {
        let found = engine.memberships_of(Some(organization), email).await.unwrap();
        found.first().unwrap().person_id.clone()
    };
    let id = person_of(&elsewhere, stranger).await;
    for path in ["audit?actor=person%2F", "settings/secret-keys?creator=person%2F"] {
        let page = owner.page(&format!("{}{id}", console.path(path))).await;
        assert!(!page.contains(stranger), "{page}");
        assert!(!page.contains("former member"), "{page}");
    }
    // Somebody who was here is a former member, and no more than that.
    drop(console.member("leaver@example.com", Role::Member).await);
    let leaver = person_of(&console.organization, "leaver@example.com").await;
    engine
        .remove_member(context(), console.organization.clone(), leaver.clone(), None)
        .await
        .unwrap();
    let page = owner
        .page(&format!("{}{leaver}", console.path("audit?actor=person%2F")))
        .await;
    assert!(page.contains("A former member"), "{page}");
}

async fn what_costs_much_has_a_limit_for_each_person_that_fades(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut admin = console.member("admin@example.com", Role::Admin).await;
    let verify = console.path("audit/verify");
    admin.page(&verify).await;
    for _ in 0..12 {
        assert_eq!(admin.post(&verify, &[]).await.status, StatusCode::OK);
    }
    for costly in ["audit/verify", "audit/export", "settings/security/contacts/test"] {
        let answer = admin.post(&console.path(costly), &[]).await;
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{costly}");
        let seconds: i64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=60).contains(&seconds), "{seconds}");
        assert!(answer.text.contains("Too often in a row"), "{}", answer.text);
    }
    // Nobody else waits for it, and what ends a danger is never refused.
    let mut owner = console.owner().await;
    owner.page(&verify).await;
    assert_eq!(owner.post(&verify, &[]).await.status, StatusCode::OK);
    admin.page(&console.path("settings/security/stop")).await;
    let stopped = admin.post(&console.path("settings/security/stop"), &[]).await;
    assert_eq!(stopped.location(), console.path("settings/security?done=stopped"));
    console.test.clock.advance_ms(MINUTE_MS);
    admin.page(&verify).await;
    assert_eq!(admin.post(&verify, &[]).await.status, StatusCode::OK);
    assert_eq!(
        admin.post(&verify, &[]).await.status,
        StatusCode::TOO_MANY_REQUESTS
    );
}

on_both_databases!(
    entries_are_told_in_words_with_names_and_without_what_tells_nothing,
    filters_narrow_and_what_is_mistyped_shows_nothing,
    a_long_trail_has_pages_that_keep_the_filter_and_miss_nothing,
    verifying_tells_a_whole_trail_from_one_that_was_changed,
    an_export_is_what_the_offline_check_accepts_and_an_entry_itself,
    an_owner_erases_after_a_second_look_and_the_trail_tells_that_and_stays_whole,
    an_entry_that_cannot_be_read_is_told_and_hides_no_other,
    nobody_is_named_who_never_had_to_do_with_the_organization,
    what_costs_much_has_a_limit_for_each_person_that_fades,
);
