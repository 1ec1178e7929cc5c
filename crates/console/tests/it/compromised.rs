//! A leak from the first look to the report.

use http::StatusCode;
use keyward_core::contact::SecurityContact;
use keyward_core::refusal::Code;
use keyward_core::state::{DeleteReason, KeyState};
use keyward_core::time::{DAY_MS, MINUTE_MS};
use keyward_engine::edit_settings::SettingsEdit;
use keyward_testkit::engine::{Kind, context};
use keyward_testkit::on_both_databases;

use crate::support::{TestConsole, between};
use crate::uses::{READ, use_key};

async fn a_leak_goes_from_revoking_to_a_report_with_who_still_tries(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let (engine, organization) = (&console.test.engine, &console.organization);
    let edit = SettingsEdit {
        security_contacts: Some(vec![SecurityContact::Email(
            "security@example.com".parse().unwrap(),
        )]),
        ..SettingsEdit::default()
    };
    let edited = engine.edit_settings(&context(), organization, None, edit).await;
    edited.unwrap();
    let key = console.test.full_key(organization).await;
    let (id, value) = (key.key.record.id, key.value.reveal());
    use_key(engine, value, READ, (1, "vi-sdk/1")).await.unwrap();
    console.test.clock.advance_ms(DAY_MS / 4);
    use_key(engine, value, READ, (66, "thief/1")).await.unwrap();
    let mut owner = console.owner().await;
    let base = console.path(&format!("settings/secret-keys/{id}"));
    let path = format!("{base}/compromised");
    let before = owner.page(&path).await;
    let victims = between(&before, "id=\"revoke-effect\">", "</p>").unwrap();
    assert!(
        victims.contains("2 clients used it in the last 24 hours"),
        "{victims}"
    );
    assert!(victims.contains("203.0.113.66 (thief/1"), "{victims}");
    assert_eq!(before.matches(">New address<").count(), 1, "{before}");
    assert!(before.contains("Is told when the key is revoked"), "{before}");
    let answer = owner.post(&path, &[]).await;
    assert_eq!(answer.location(), format!("{path}?done=revoked"));
    let ended = engine.show_key(organization, id).await.unwrap().record.state;
    assert!(matches!(
        ended,
        KeyState::Deleted {
            reason: DeleteReason::Compromised,
            ..
        }
    ));
    console.test.clock.advance_ms(MINUTE_MS);
    for _ in 0..3 {
        let refused = use_key(engine, value, READ, (66, "thief/1")).await;
        assert_eq!(refused, Err(Code::KeyDeleted));
    }
    let after = owner.page(&path).await;
    assert!(after.contains("because its value was compromised"), "{after}");
    assert!(
        after.contains("data-refresh=\"") && !after.contains("Revoke this key"),
        "{after}"
    );
    let part = owner.page(&format!("{path}/attempts")).await;
    assert!(
        part.contains("One client tried it since, 3 requests in all"),
        "{part}"
    );
    assert!(
        part.contains("203.0.113.66") && !part.contains("203.0.113.1<"),
        "{part}"
    );
    assert!(!part.contains("<html"), "{part}");
    // Made afterwards, with the same settings and name.
    let replacement = console.test.full_key(organization).await;
    let replaced = owner.page(&path).await;
    assert!(replaced.contains("A key of the same name was made"), "{replaced}");
    assert!(replaced.contains(&format!("secret-keys/{}", replacement.key.record.id)));
    let report = owner.page(&format!("{base}/report")).await;
    for told in [
        "Ended the key (compromised)",
        "thief/1",
        "security@example.com",
        "data-print",
        "Refused attempts after its end",
        "owner@example.com",
    ] {
        assert!(report.contains(told), "{told}: {report}");
    }
    let json = owner.get(&format!("{base}/report/download?format=json")).await;
    let json: serde_json::Value = serde_json::from_str(&json.text).unwrap();
    assert_eq!(json["refused_attempts"][0]["address"], "203.0.113.66");
    assert_eq!(json["refused_attempts"][0]["refused"], "3");
    assert_eq!(json["key_id"], id.to_string());
    let text = owner.get(&format!("{base}/report/download?format=txt")).await;
    assert!(text.text.contains("203.0.113.66 | thief/1"), "{}", text.text);
    for page in [&after, &report, &text.text] {
        assert!(!page.contains(value), "a value is on no page");
    }
    // A second press changes nothing, and says so.
    let again = owner.post(&path, &[]).await;
    assert_eq!(again.location(), format!("{path}?done=already"));
}

async fn a_replacement_in_one_step_is_named_by_the_trail(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let (engine, organization) = (&console.test.engine, &console.organization);
    let key = console.test.full_key(organization).await;
    let edit = keyward_core::edit_key::KeyEdit {
        name: Some("Another name".to_owned()),
        ..Default::default()
    };
    let ids = (organization.clone(), key.key.record.id);
    engine.replace_key(context(), ids, edit, None).await.unwrap();
    let mut owner = console.owner().await;
    let base = console.path(&format!("settings/secret-keys/{}", key.key.record.id));
    let page = owner.page(&format!("{base}/compromised")).await;
    assert!(
        page.contains("Replaced by <a href=") && page.contains(">Another name</a>"),
        "{page}"
    );
    assert!(page.contains("has no security contacts"), "{page}");
    let forged = owner.post_with("", &format!("{base}/compromised"), &[]).await;
    assert_eq!(forged.status, StatusCode::FORBIDDEN);
}

on_both_databases!(
    a_leak_goes_from_revoking_to_a_report_with_who_still_tries,
    a_replacement_in_one_step_is_named_by_the_trail,
);
