//! Edits are true for the next verify, lose nobody's change, and lengthen nothing by themselves.

use keyward_core::edit_key::KeyEdit;
use keyward_core::operation::Operation;
use keyward_core::refusal::Code;
use keyward_core::resource::ResourceType;
use keyward_core::scope::{Scope, ScopeSet};
use keyward_engine::EngineError;
use keyward_engine::clock::Clock as _;
use keyward_engine::permit::OwnedResource;
use keyward_testkit::engine::{Kind, TestEngine, context};
use keyward_testkit::on_both_databases;

fn scopes(scopes: ScopeSet) -> KeyEdit {
    KeyEdit {
        scopes: Some(scopes),
        ..KeyEdit::default()
    }
}

async fn an_edit_holds_for_the_next_request(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let key = test.full_key(&organization).await;
    let (id, value) = (key.key.record.id, key.value.reveal());
    let asks = || {
        let resource = OwnedResource::Collection(ResourceType::Dataset);
        test.permit(value, Operation::DatasetRead, resource)
    };
    assert!(asks().await.is_ok());
    let training = scopes(ScopeSet::NONE.with(Scope::Training));
    let written = test
        .engine
        .edit_key(context(), organization.clone(), id, (training.clone(), Some(1)))
        .await
        .unwrap();
    assert_eq!((written.key.record.version, written.is_changed), (2, true));
    assert_eq!(asks().await.unwrap_err().code(), Code::ScopeMissing);
    test.engine.cache().clear();
    assert_eq!(
        asks().await.unwrap_err().code(),
        Code::ScopeMissing,
        "the seal fits the edited row"
    );

    // The same again is found done, and makes no new version.
    let again = test
        .engine
        .edit_key(context(), organization.clone(), id, (training, None))
        .await
        .unwrap();
    assert_eq!((again.key.record.version, again.is_changed), (2, false));

    // Whoever read version 1 is told.
    let stale = test
        .engine
        .edit_key(
            context(),
            organization.clone(),
            id,
            (scopes(ScopeSet::ALL), Some(1)),
        )
        .await;
    assert!(matches!(stale, Err(EngineError::Stale { current_version: 2 })));
    assert_eq!(asks().await.unwrap_err().code(), Code::ScopeMissing);
}

async fn an_expired_key_comes_back_by_an_explicit_edit_and_a_deleted_one_by_none(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let key = test.full_key(&organization).await;
    let (id, value) = (key.key.record.id, key.value.reveal());
    let edit = |edit: KeyEdit| {
        test.engine
            .edit_key(context(), organization.clone(), id, (edit, None))
    };
    let until = |end| KeyEdit {
        expires_at: Some(Some(end)),
        ..KeyEdit::default()
    };
    let end = test.clock.now().plus_ms(1_000);
    edit(until(end)).await.unwrap();
    test.clock.advance_ms(999);
    assert_eq!(test.verify(value).await, Ok(()));
    test.clock.advance_ms(1);
    assert_eq!(test.verify(value).await, Err(Code::KeyExpired));
    let name = KeyEdit {
        name: Some("Renamed".to_owned()),
        ..KeyEdit::default()
    };
    edit(name.clone()).await.unwrap();
    assert_eq!(
        test.verify(value).await,
        Err(Code::KeyExpired),
        "a new name revives nothing"
    );
    edit(until(end.plus_ms(5))).await.unwrap();
    assert_eq!(test.verify(value).await, Ok(()));
    test.delete(&organization, id).await.unwrap();
    for refused in [name, until(end.plus_ms(9_000))] {
        assert!(matches!(edit(refused).await, Err(EngineError::Conflict(_))));
    }
    assert_eq!(test.verify_afresh(value).await, Err(Code::KeyDeleted));
}

on_both_databases!(
    an_edit_holds_for_the_next_request,
    an_expired_key_comes_back_by_an_explicit_edit_and_a_deleted_one_by_none,
);
