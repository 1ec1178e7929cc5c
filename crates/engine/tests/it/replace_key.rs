//! A replacement: the old key ends and a copy lives, in one moment.

use keyward_core::edit_key::KeyEdit;
use keyward_core::refusal::Code;
use keyward_core::scope::{Scope, ScopeSet};
use keyward_core::state::{DeleteReason, KeyState};
use keyward_engine::EngineError;
use keyward_engine::once::Once;
use keyward_testkit::engine::{Kind, Permission, TestEngine, context};
use keyward_testkit::on_both_databases;

async fn a_compromised_key_is_replaced_by_a_copy(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let scopes = ScopeSet::NONE.with(Scope::Dataset);
    let key = test.key(&organization, scopes, Permission::ReadOnly).await;
    let subject = || (organization.clone(), key.key.record.id);
    let wrong = KeyEdit {
        name: Some(String::new()),
        ..KeyEdit::default()
    };
    let refused = test.engine.replace_key(context(), subject(), wrong, None).await;
    assert!(matches!(refused, Err(EngineError::Invalid(_))));
    assert_eq!(
        test.verify(key.value.reveal()).await,
        Ok(()),
        "nothing was changed"
    );

    let edit = KeyEdit {
        description: Some("after the leak".to_owned()),
        ..KeyEdit::default()
    };
    let done = test
        .engine
        .replace_key(context(), subject(), edit, None)
        .await
        .unwrap();
    let Once::Now(replaced) = done else { panic!() };
    assert!(matches!(
        replaced.old.key.record.state,
        KeyState::Deleted {
            reason: DeleteReason::Compromised,
            ..
        }
    ));
    let new = &replaced.new.key;
    assert_eq!(
        (&new.name, &new.record.access, new.description.as_str()),
        (&key.key.name, &key.key.record.access, "after the leak")
    );
    assert_ne!(new.record.id, key.key.record.id);
    for _ in 0..2 {
        assert_eq!(test.verify(key.value.reveal()).await, Err(Code::KeyDeleted));
        assert_eq!(test.verify(replaced.new.value.reveal()).await, Ok(()));
        test.engine.cache().clear();
    }
    let again = test
        .engine
        .replace_key(context(), subject(), KeyEdit::default(), None)
        .await;
    assert!(matches!(again, Err(EngineError::Conflict(_))));
    let actions = test
        .place
        .texts(&["SELECT action FROM audit_entry WHERE chain = 'org-1' ORDER BY sequence"])
        .await;
    assert_eq!(actions.len(), 4, "{actions:?}");
    assert!(actions.contains(&"key.delete".to_owned()));
}

on_both_databases!(a_compromised_key_is_replaced_by_a_copy);
