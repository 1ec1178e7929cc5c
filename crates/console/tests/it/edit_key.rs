//! Edit Permission in the console: the difference first, the next request after, and who was quicker.

use http::StatusCode;
use keyward_core::access::Permission;
use keyward_core::edit_key::KeyEdit;
use keyward_core::level::PermissionLevel;
use keyward_core::record::Key;
use keyward_core::scope::{Scope, ScopeSet};
use keyward_core::time::DAY_MS;
use keyward_engine::create_key::CreatedKey;
use keyward_engine::edit_settings::SettingsEdit;
use keyward_testkit::engine::{Kind, context, draft};
use keyward_testkit::on_both_databases;

use crate::forms::Form;
use crate::support::TestConsole;

async fn stored(console: &TestConsole, made: &CreatedKey) -> Key {
    let shown = console
        .test
        .engine
        .show_key(&console.organization, made.key.record.id)
        .await;
    shown.unwrap()
}

fn path(console: &TestConsole, made: &CreatedKey, rest: &str) -> String {
    console.path(&format!("settings/secret-keys/{}{rest}", made.key.record.id))
}

async fn an_edit_is_told_before_and_holds_after(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    let made = console.test.full_key(&console.organization).await;
    let edit = path(&console, &made, "/edit");
    let form = Form::of(&owner.page(&edit).await)
        .with("name", &["narrow"])
        .with("scope", &["dataset"])
        .with("level", &["read_only"])
        .with("environment", &["production"])
        .with("tags", &["a, b"]);
    let told = owner
        .post(&edit, &form.clone().with("do", &["tell"]).pairs())
        .await;
    assert_eq!(told.status, StatusCode::OK);
    assert!(told.text.contains("no longer be able to"), "{}", told.text);
    assert!(
        told.text.contains("<td data-label=\"Now\">Full</td>"),
        "{}",
        told.text
    );
    assert_eq!(
        stored(&console, &made).await.record.version,
        made.key.record.version,
        "only told"
    );
    let saved = owner.post(&edit, &form.pairs()).await;
    assert_eq!(
        saved.location(),
        format!("{}?done=edited", path(&console, &made, ""))
    );
    let key = stored(&console, &made).await;
    assert_eq!(key.name.as_str(), "narrow");
    assert_eq!(key.record.access.scopes(), ScopeSet::NONE.with(Scope::Dataset));
    assert_eq!(key.record.access.permission(), &Permission::ReadOnly);
    assert_eq!(key.tags.iter().count(), 2);
    assert_eq!(
        key.rotate_every_ms,
        Some(90 * DAY_MS),
        "the form said: as the environment proposes"
    );
    console
        .test
        .verify(made.value.reveal())
        .await
        .expect("its value stays");
    // A form that changes nothing writes nothing.
    let same = Form::of(&owner.page(&edit).await);
    owner.post(&edit, &same.pairs()).await.location();
    assert_eq!(stored(&console, &made).await, key);
}

async fn who_was_quicker_is_named_and_nothing_typed_is_lost(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    let made = console.test.full_key(&console.organization).await;
    let edit = path(&console, &made, "/edit");
    let form = Form::of(&owner.page(&edit).await).with("name", &["mine"]);
    let quicker = KeyEdit {
        level: Some(PermissionLevel::ReadOnly),
        ..KeyEdit::default()
    };
    let (organization, id) = (console.organization.clone(), made.key.record.id);
    let written = console
        .test
        .engine
        .edit_key(context(), organization, id, (quicker, None))
        .await;
    written.unwrap();
    let stale = owner.post(&edit, &form.pairs()).await;
    assert_eq!(stale.status, StatusCode::CONFLICT);
    assert!(
        stale
            .text
            .contains("The server&#39;s operator changed this key just now"),
        "{}",
        stale.text
    );
    assert!(
        stale.text.contains("<td data-label=\"Now\">Read Only</td>"),
        "{}",
        stale.text
    );
    let key = stored(&console, &made).await;
    assert_eq!(key.name, made.key.name, "nothing was saved");
    let again = Form::of(&stale.text);
    assert_eq!(again.all("name"), ["mine"]);
    assert_eq!(again.all("version"), [key.record.version.to_string().as_str()]);
    owner
        .post(&edit, &again.with("level", &["read_only"]).pairs())
        .await
        .location();
    let key = stored(&console, &made).await;
    assert_eq!(
        (key.name.as_str(), key.record.access.permission()),
        ("mine", &Permission::ReadOnly)
    );
}

async fn problems_of_an_edit_are_beside_their_fields(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    let made = console.test.full_key(&console.organization).await;
    let edit = path(&console, &made, "/edit");
    let form = Form::of(&owner.page(&edit).await)
        .with("scope", &[])
        .with("name", &[" "]);
    let answer = owner.post(&edit, &form.pairs()).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(answer.text.contains("id=\"scopes-problem\"") && answer.text.contains("id=\"name-problem\""));
    assert_eq!(stored(&console, &made).await, made.key);
    console
        .test
        .delete(&console.organization, made.key.record.id)
        .await
        .unwrap();
    assert_eq!(
        owner.get(&edit).await.status,
        StatusCode::CONFLICT,
        "a deleted key is not edited"
    );
}

async fn moments_and_rules_that_a_form_shows_shorter_stay_as_they_are(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    let rules = r#"[{"operations":["dataset.*"],"resources":["dataset/d1","dataset/*"]},{"operations":["inference.run"],"resources":["*"]}]"#;
    let permission = Permission::Restricted(serde_json::from_str(rules).unwrap());
    let mut asked = draft(ScopeSet::ALL, permission);
    asked.conditions.expires_at = Some(console.test.engine.now().plus_ms(40 * DAY_MS + 12_345));
    let made = console
        .test
        .engine
        .create_key(context(), console.organization.clone(), asked)
        .await
        .unwrap();
    let edit = path(&console, &made, "/edit");
    let form = Form::of(&owner.page(&edit).await).with("description", &["new"]);
    owner.post(&edit, &form.pairs()).await.location();
    let key = stored(&console, &made).await;
    assert_eq!(key.description, "new");
    assert_eq!(key.record.conditions, made.key.record.conditions);
    let sorted = |key: &Key| {
        let mut texts: Vec<_> = key
            .record
            .access
            .permission()
            .rules()
            .iter()
            .map(|rule| {
                let mut resources: Vec<_> = rule.resources.iter().map(ToString::to_string).collect();
                resources.sort();
                resources
            })
            .collect();
        texts.sort();
        texts
    };
    assert_eq!(sorted(&key), sorted(&made.key));
}

async fn without_pickers_an_edit_leaves_the_access_alone(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    let made = console
        .test
        .key(
            &console.organization,
            ScopeSet::NONE.with(Scope::Dataset),
            Permission::ReadOnly,
        )
        .await;
    let settings = SettingsEdit {
        advanced_access_control: Some(false),
        ..SettingsEdit::default()
    };
    console
        .test
        .engine
        .edit_settings(&context(), &console.organization, None, settings)
        .await
        .unwrap();
    let edit = path(&console, &made, "/edit");
    let page = owner.page(&edit).await;
    assert!(!page.contains("name=\"level\"") && page.contains("keeps the access"));
    let form = Form::of(&page)
        .with("name", &["renamed"])
        .with("level", &["full"])
        .with("scope", &["training"]);
    owner.post(&edit, &form.pairs()).await.location();
    let key = stored(&console, &made).await;
    assert_eq!(key.name.as_str(), "renamed");
    assert_eq!(key.record.access, made.key.record.access);
}

on_both_databases!(
    an_edit_is_told_before_and_holds_after,
    who_was_quicker_is_named_and_nothing_typed_is_lost,
    problems_of_an_edit_are_beside_their_fields,
    moments_and_rules_that_a_form_shows_shorter_stay_as_they_are,
    without_pickers_an_edit_leaves_the_access_alone,
);
