//! Rotating in the browser: once for a form that is sent twice, with who still uses the old secret before it is ended.

use http::StatusCode;
use keyward_core::refusal::Code;
use keyward_core::time::HOUR_MS;
use keyward_testkit::engine::Kind;
use keyward_testkit::on_both_databases;

use crate::support::{Browser, TestConsole, between};
use crate::uses::{READ, use_key};

/// The hidden fields of the form, as the page has them.
async fn hidden(owner: &mut Browser, base: &str) -> (String, String) {
    let page = owner.page(&format!("{base}/rotate")).await;
    let field = |name: &str| {
        let before = format!("name=\"{name}\" value=\"");
        between(&page, &before, "\"").expect("the form has it").to_owned()
    };
    (field("once"), field("version"))
}

fn value_in(page: &str) -> String {
    let value = between(page, "<code id=\"key-value\">", "</code>");
    value.unwrap_or_else(|| panic!("no value in {page}")).to_owned()
}

async fn a_rotation_names_who_still_uses_the_old_secret_and_ends_it_when_told(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let (engine, organization) = (&console.test.engine, &console.organization);
    let key = console.test.full_key(organization).await;
    let old = key.value.reveal();
    let mut owner = console.owner().await;
    let base = console.path(&format!("settings/secret-keys/{}", key.key.record.id));
    use_key(engine, old, READ, (55, "curl/8.5")).await.unwrap();
    use_key(engine, old, READ, (4, "vi/0.1")).await.unwrap();
    let (once, version) = hidden(&mut owner, &base).await;
    let fields = [
        ("mode", "overlap"),
        ("overlap", "1d"),
        ("once", once.as_str()),
        ("version", version.as_str()),
    ];
    let path = format!("{base}/rotate");
    let first = owner.post(&path, &fields).await;
    assert_eq!(first.status, StatusCode::OK, "{}", first.text);
    let new = value_in(&first.text);
    // The form is sent twice: the same value, and no second rotation.
    let again = owner.post(&path, &fields).await;
    assert_eq!(value_in(&again.text), new);
    let (_, secrets) = engine
        .show_key_whole(organization, key.key.record.id)
        .await
        .unwrap();
    assert_eq!(secrets.len(), 2);
    // Later the value is not told any more.
    console.test.clock.advance_ms(HOUR_MS / 2);
    let late = owner.post(&path, &fields).await;
    assert!(!late.text.contains(&new), "{}", late.text);
    use_key(engine, old, READ, (55, "curl/8.5")).await.unwrap();
    use_key(engine, old, READ, (4, "vi/0.1")).await.unwrap();
    console.test.clock.advance_ms(60_000);
    use_key(engine, &new, READ, (4, "vi/0.1")).await.unwrap();
    let page = owner.page(&base).await;
    let sentence = between(&page, "id=\"rotation-effect\"", "</p>").unwrap();
    assert!(
        sentence.contains("One client still uses the old secret: 203.0.113.55 (curl/8.5"),
        "{sentence}"
    );
    assert!(
        sentence.contains("Ending it now would refuse that client."),
        "{sentence}"
    );
    assert!(!sentence.contains("203.0.113.4"), "{sentence}");
    let answer = owner.post(&format!("{base}/rotation/finish"), &[]).await;
    assert_eq!(answer.location(), format!("{base}?done=rotation-finished"));
    let refused = use_key(engine, old, READ, (55, "curl/8.5")).await;
    assert_eq!(refused, Err(Code::KeySuperseded));
    use_key(engine, &new, READ, (4, "vi/0.1")).await.unwrap();
    assert!(!owner.page(&base).await.contains("Rotation in progress"));
}

async fn a_new_secret_that_waits_can_be_made_the_current_one_or_dropped(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let engine = &console.test.engine;
    let key = console.test.full_key(&console.organization).await;
    let old = key.value.reveal();
    let mut owner = console.owner().await;
    let base = console.path(&format!("settings/secret-keys/{}", key.key.record.id));
    let path = format!("{base}/rotate");
    let mut values = Vec::new();
    for end in ["rotation/cancel", "rotation/activate"] {
        let (once, version) = hidden(&mut owner, &base).await;
        let fields = [
            ("mode", "on_first_use"),
            ("grace", "1h"),
            ("once", once.as_str()),
            ("version", version.as_str()),
        ];
        values.push(value_in(&owner.post(&path, &fields).await.text));
        let page = owner.page(&base).await;
        assert!(page.contains("waits for its first use"), "{page}");
        assert!(
            owner
                .page(&path)
                .await
                .contains("A rotation of this key is under way")
        );
        let answer = owner.post(&format!("{base}/{end}"), &[]).await;
        assert!(answer.location().contains("?done=rotation-"));
    }
    let refused = use_key(engine, &values[0], READ, (1, "a")).await;
    assert_eq!(refused, Err(Code::KeySuperseded));
    use_key(engine, &values[1], READ, (1, "a")).await.unwrap();
    use_key(engine, old, READ, (1, "a")).await.unwrap();
    console.test.clock.advance_ms(HOUR_MS);
    assert_eq!(
        use_key(engine, old, READ, (1, "a")).await,
        Err(Code::KeySuperseded)
    );
    // There is nothing to make current any more.
    let answer = owner.post(&format!("{base}/rotation/activate"), &[]).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
}

async fn a_form_that_can_not_be_read_keeps_what_was_typed(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let key = console.test.full_key(&console.organization).await;
    let mut owner = console.owner().await;
    let base = console.path(&format!("settings/secret-keys/{}", key.key.record.id));
    let (once, version) = hidden(&mut owner, &base).await;
    for until in ["next week", "2020-01-01 12:00", "2036-01-01"] {
        let fields = [
            ("mode", "overlap"),
            ("until", until),
            ("once", once.as_str()),
            ("version", version.as_str()),
        ];
        let answer = owner.post(&format!("{base}/rotate"), &fields).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{until}");
        assert!(
            answer.text.contains(&format!("value=\"{until}\"")),
            "{}",
            answer.text
        );
        assert!(answer.text.contains("id=\"until-problem\"") && answer.text.contains(&once));
    }
    // Somebody else's change is not overrun.
    let fields = [("mode", "immediate"), ("once", once.as_str()), ("version", "0")];
    let answer = owner.post(&format!("{base}/rotate"), &fields).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    console.test.verify(key.value.reveal()).await.unwrap();
}

on_both_databases!(
    a_rotation_names_who_still_uses_the_old_secret_and_ends_it_when_told,
    a_new_secret_that_waits_can_be_made_the_current_one_or_dropped,
    a_form_that_can_not_be_read_keeps_what_was_typed,
);
