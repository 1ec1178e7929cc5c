//! Replacing a compromised key in the console (R46): its settings, editable, in one step with its end.

use http::StatusCode;
use keyward_core::access::Permission;
use keyward_core::refusal::Code;
use keyward_core::scope::{Scope, ScopeSet};
use keyward_core::state::DeleteReason;
use keyward_core::state::KeyState;
use keyward_core::tag::Tag;
use keyward_core::time::DAY_MS;
use keyward_testkit::engine::{Kind, context, draft};
use keyward_testkit::on_both_databases;

use crate::forms::Form;
use crate::support::{TestConsole, between};

async fn a_living_key_ends_as_its_replacement_begins(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    let mut asked = draft(ScopeSet::NONE.with(Scope::Dataset), Permission::ReadOnly);
    asked.name = "nightly".to_owned();
    asked.tags = vec!["team:vision".parse::<Tag>().unwrap()];
    let engine = &console.test.engine;
    let old = engine
        .create_key(context(), console.organization.clone(), asked)
        .await
        .unwrap();
    console.test.verify(old.value.reveal()).await.unwrap();
    let path = console.path(&format!("settings/secret-keys/{}/replace", old.key.record.id));
    let page = owner.page(&path).await;
    assert!(
        page.contains("Address 127.0.0.1: 1 request"),
        "its victims first: {page}"
    );
    let form = Form::of(&page);
    assert_eq!(
        (form.all("name"), form.all("scope"), form.all("level")),
        (vec!["nightly"], vec!["dataset"], vec!["read_only"])
    );
    let form = form.with("scope", &["dataset", "training"]);
    let answer = owner.post(&path, &form.pairs()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let value = between(&answer.text, "<code id=\"key-value\">", "</code>")
        .unwrap()
        .to_owned();
    console.test.verify(&value).await.expect("the new one works");
    assert_eq!(
        console.test.verify(old.value.reveal()).await,
        Err(Code::KeyDeleted)
    );
    let ended = engine
        .show_key(&console.organization, old.key.record.id)
        .await
        .unwrap();
    assert!(matches!(
        ended.record.state,
        KeyState::Deleted {
            reason: DeleteReason::Compromised,
            ..
        }
    ));
    let keys = engine
        .list_keys(&console.organization, "", 10)
        .await
        .unwrap()
        .items;
    let new = keys
        .iter()
        .find(|key| key.record.id != old.key.record.id)
        .unwrap();
    assert_eq!(
        new.record.access.scopes(),
        ScopeSet::NONE.with(Scope::Dataset).with(Scope::Training)
    );
    assert_eq!((new.name.as_str(), new.tags.iter().count()), ("nightly", 1));
    // A reload shows the same value and makes nothing.
    let again = owner.post(&path, &form.pairs()).await;
    assert!(again.text.contains(&value), "{}", again.text);
    assert_eq!(
        engine
            .list_keys(&console.organization, "", 10)
            .await
            .unwrap()
            .items
            .len(),
        2
    );
}

async fn a_key_that_was_deleted_before_gets_its_replacement_too(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    let mut asked = draft(ScopeSet::ALL, Permission::LabelerOnly);
    let engine = &console.test.engine;
    asked.conditions.expires_at = Some(engine.now().plus_ms(DAY_MS));
    let old = engine
        .create_key(context(), console.organization.clone(), asked)
        .await
        .unwrap();
    console
        .test
        .delete(&console.organization, old.key.record.id)
        .await
        .unwrap();
    console.test.clock.advance_ms(2 * DAY_MS);
    let mut owner_again = console.owner().await;
    std::mem::swap(&mut owner, &mut owner_again);
    let path = console.path(&format!("settings/secret-keys/{}/replace", old.key.record.id));
    let page = owner.page(&path).await;
    assert!(page.contains("This key was ended before"), "{page}");
    let form = Form::of(&page);
    assert_eq!(form.all("expires"), [""], "an end that has passed is not copied");
    let mended = owner
        .post(&path, &form.clone().with("scope", &["training"]).pairs())
        .await;
    assert_eq!(mended.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(mended.text.contains("id=\"level-problem\""));
    let answer = owner
        .post(&path, &Form::of(&mended.text).with("scope", &["dataset"]).pairs())
        .await;
    let value = between(&answer.text, "<code id=\"key-value\">", "</code>")
        .expect("a value")
        .to_owned();
    console.test.verify(&value).await.unwrap();
    let again = owner
        .post(&path, &Form::of(&mended.text).with("scope", &["dataset"]).pairs())
        .await;
    assert!(
        again.text.contains(&value),
        "a reload tells the same value: {}",
        again.text
    );
    let keys = engine
        .list_keys(&console.organization, "", 10)
        .await
        .unwrap()
        .items;
    assert_eq!(keys.len(), 2);
}

on_both_databases!(
    a_living_key_ends_as_its_replacement_begins,
    a_key_that_was_deleted_before_gets_its_replacement_too,
);
