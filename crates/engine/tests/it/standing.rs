//! A role is asked once more where it counts: in the transaction that writes a key.

use std::sync::Arc;
use std::time::Duration;

use keyward_core::access::Permission;
use keyward_core::edit_key::KeyEdit;
use keyward_core::ids::{KeyId, OrganizationId, PersonId};
use keyward_core::key_filter::KeyFilter;
use keyward_core::role::Role;
use keyward_core::rotation::RotationChoice;
use keyward_core::scope::ScopeSet;
use keyward_core::state::{DeleteReason, KeyState};
use keyward_engine::EngineError;
use keyward_engine::bulk::BulkAction;
use keyward_engine::context::Context;
use keyward_engine::remove_member::{KeysOfLeaver, Removal};
use keyward_testkit::engine::{Kind, TestEngine, context, draft};
use keyward_testkit::on_both_databases;

use crate::people::{by, first_owner, is_conflict, key_of, member, trail};

const DELETE: BulkAction = BulkAction::Delete(DeleteReason::Unused);

/// How each write of a key ends, by its name, where `context` came past the check at the door.
async fn each_write(
    test: &TestEngine,
    context: &Context,
    (organization, id): (&OrganizationId, KeyId),
    bulk_token: &str,
) -> Vec<(&'static str, Result<(), EngineError>)> {
    let engine = &test.engine;
    let (by, of) = (|| context.clone(), || organization.clone());
    let edit = || KeyEdit {
        name: Some("Another name".to_owned()),
        ..KeyEdit::default()
    };
    let rotation = (RotationChoice::UsualOverlap, None);
    let new = draft(ScopeSet::ALL, Permission::Full);
    vec![
        ("create", engine.create_key(by(), of(), new).await.map(drop)),
        (
            "edit",
            engine.edit_key(by(), of(), id, (edit(), None)).await.map(drop),
        ),
        ("pause", engine.pause_key(by(), of(), id).await.map(drop)),
        // It is active already, and that is no news for somebody who may not ask.
        ("resume", engine.resume_key(by(), of(), id).await.map(drop)),
        (
            "rotate",
            engine
                .rotate_key(by(), (of(), id), rotation, None)
                .await
                .map(drop),
        ),
        ("finish", engine.finish_rotation(by(), of(), id).await.map(drop)),
        ("cancel", engine.cancel_rotation(by(), of(), id).await.map(drop)),
        (
            "replace",
            engine.replace_key(by(), (of(), id), edit(), None).await.map(drop),
        ),
        ("bulk", engine.run_bulk(by(), of(), bulk_token).await.map(drop)),
        (
            "stop",
            engine.stop_keys(by(), of(), KeyFilter::default()).await.map(drop),
        ),
        (
            "delete",
            engine
                .delete_key(by(), of(), id, DeleteReason::Removed)
                .await
                .map(drop),
        ),
    ]
}

async fn whoever_lost_their_role_since_the_check_writes_no_key(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let admin = member(&test, &organization, "admin@example.com", Role::Admin).await;
    let key = key_of(&test, &organization, &admin).await;
    let id = key.key.record.id;
    let preview = test
        .engine
        .preview_bulk(&by(&admin), &organization, (DELETE, KeyFilter::default()))
        .await
        .unwrap();
    let token = preview.token.reveal().to_owned();
    test.engine
        .change_role(&context(), &organization, &admin, Role::Member)
        .await
        .unwrap();

    let entries = trail(&test, "org-1").await.len();
    for (name, outcome) in each_write(&test, &by(&admin), (&organization, id), &token).await {
        assert!(is_conflict(outcome), "{name} as a Member");
    }
    let removal = test.engine.remove_member(
        context(),
        organization.clone(),
        admin.clone(),
        Some(KeysOfLeaver::Keep),
    );
    assert!(matches!(removal.await, Ok(Removal::Done(_))));
    for (name, outcome) in each_write(&test, &by(&admin), (&organization, id), &token).await {
        let is_refused = matches!(outcome, Err(EngineError::NotFound("organization")));
        assert!(is_refused, "{name} as nobody");
    }
    assert_eq!(
        trail(&test, "org-1").await.len(),
        entries + 1,
        "nothing but the removal stands in the trail"
    );
    assert_eq!(test.verify(key.value.reveal()).await, Ok(()));
    assert_eq!(test.engine.show_key(&organization, id).await.unwrap(), key.key);
}

async fn whoever_is_in_their_role_writes_keys(kind: Kind) {
    for role in [Role::Admin, Role::Owner] {
        let test = TestEngine::new(kind).await;
        let organization = test.organization("org-1").await;
        let person = member(&test, &organization, "person@example.com", role).await;
        let id = key_of(&test, &organization, &person).await.key.record.id;
        let token = "none of theirs";
        for (name, outcome) in each_write(&test, &by(&person), (&organization, id), token).await {
            // What was finished can't be cancelled, and the token is of no dry run.
            match name {
                "cancel" | "bulk" => assert!(is_conflict(outcome), "{name}"),
                _ => assert!(outcome.is_ok(), "{name}: {outcome:?}"),
            }
        }
    }
}

/// Takes the role away in a transaction that ends only when the write has begun.
async fn demote_during<T: Send + 'static>(
    test: &TestEngine,
    (organization, person): (&OrganizationId, &PersonId),
    write: impl Future<Output = Result<T, EngineError>> + Send + 'static,
) -> Result<T, EngineError> {
    let mut tx = test.engine.store().begin().await.unwrap();
    tx.set_role(organization, person, Role::Member).await.unwrap();
    let mut write = tokio::spawn(write);
    let early = tokio::time::timeout(Duration::from_millis(100), &mut write).await;
    assert!(early.is_err(), "the write waits for what becomes of the role");
    tx.commit().await.unwrap();
    write.await.unwrap()
}

async fn a_role_that_is_being_taken_away_is_waited_for(kind: Kind) {
    let test = Arc::new(TestEngine::new(kind).await);
    let organization = test.organization("org-1").await;
    let owner = first_owner(&test, &organization).await;
    let admin = member(&test, &organization, "admin@example.com", Role::Admin).await;
    let key = key_of(&test, &organization, &admin).await;
    let id = key.key.record.id;
    let subject = (&organization, &admin);
    let again = async || {
        let back = test
            .engine
            .change_role(&by(&owner), &organization, &admin, Role::Admin)
            .await;
        back.unwrap();
    };

    let (engine, of, who) = (test.engine.clone(), organization.clone(), by(&admin));
    let write = async move { engine.pause_key(who, of, id).await };
    assert!(is_conflict(demote_during(&test, subject, write).await));
    again().await;
    let (engine, of, who) = (test.engine.clone(), organization.clone(), by(&admin));
    let new = draft(ScopeSet::ALL, Permission::Full);
    let write = async move { engine.create_key(who, of, new).await };
    assert!(is_conflict(demote_during(&test, subject, write).await));
    again().await;
    let (engine, of, who) = (test.engine.clone(), organization.clone(), by(&admin));
    let write = async move { engine.stop_keys(who, of, KeyFilter::default()).await };
    assert!(is_conflict(demote_during(&test, subject, write).await));

    let found = test.engine.show_key(&organization, id).await.unwrap();
    assert_eq!((found.record.state, found.record.version), (KeyState::Active, 1));
    assert_eq!(test.verify(key.value.reveal()).await, Ok(()), "no mark was left");
}

async fn a_person_who_may_write_keys_hands_them_over(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let admin = member(&test, &organization, "admin@example.com", Role::Admin).await;
    let leaver = member(&test, &organization, "leaver@example.com", Role::Admin).await;
    let heir = member(&test, &organization, "heir@example.com", Role::Admin).await;
    let id = key_of(&test, &organization, &leaver).await.key.record.id;
    let remove = || {
        test.engine.remove_member(
            by(&admin),
            organization.clone(),
            leaver.clone(),
            Some(KeysOfLeaver::HandOver(heir.clone())),
        )
    };
    let done = remove().await;
    assert!(matches!(done, Ok(Removal::Done(removed)) if removed.handed_over == 1));
    let key = test.engine.show_key(&organization, id).await.unwrap();
    assert_eq!(key.responsible, Some(heir.clone()));
}

on_both_databases!(
    whoever_lost_their_role_since_the_check_writes_no_key,
    whoever_is_in_their_role_writes_keys,
    a_role_that_is_being_taken_away_is_waited_for,
    a_person_who_may_write_keys_hands_them_over,
);
