use keyward_core::management_right::{ManagementRight, RightSet};
use keyward_core::operation::Operation;
use keyward_core::record::Actor;
use keyward_core::refusal::Code;
use keyward_core::resource::ResourceType::Dataset;
use keyward_core::role::Role;
use keyward_engine::EngineError;
use keyward_engine::create_organization::OrganizationDraft;
use keyward_engine::create_token::{TokenCeiling, TokenDraft};
use keyward_engine::datasets::NewDataset;
use keyward_engine::delete_organization::RESTORABLE_MS;
use keyward_engine::permit::OwnedResource;
use keyward_engine::remove_member::KeysOfLeaver;
use keyward_testkit::engine::{Kind, TestEngine, arrival, context};
use keyward_testkit::on_both_databases;

use crate::people::{acting, by, first_owner, invite, is_conflict, is_forbidden, key_of, member, trail};

async fn a_deletion_refuses_every_key_at_once_and_is_taken_back_stopped(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let neighbour = test.organization("org-2").await;
    let (key, other) = (
        test.full_key(&organization).await,
        test.full_key(&neighbour).await,
    );
    test.verify(key.value.reveal()).await.unwrap();
    let engine = &test.engine;

    let unconfirmed = engine
        .delete_organization(context(), organization.clone(), "org-2")
        .await;
    assert!(matches!(unconfirmed, Err(EngineError::Invalid(problems)) if problems[0].field == "confirm"));
    let deleted = engine
        .delete_organization(context(), organization.clone(), "org-1")
        .await
        .unwrap();
    let deletion = deleted.organization.deletion.clone().unwrap();
    assert_eq!(deletion.purge_at, engine.now().plus_ms(RESTORABLE_MS));
    assert!(deleted.is_changed && deleted.known.confirmed == 1);
    assert_eq!(test.verify(key.value.reveal()).await, Err(Code::KeyPaused));
    assert_eq!(test.verify_afresh(key.value.reveal()).await, Err(Code::KeyPaused));
    assert_eq!(test.verify(other.value.reveal()).await, Ok(()));

    // Once more: the date stays. Nothing grows in it, and nobody opens it.
    test.clock.advance_ms(5);
    let again = engine
        .delete_organization(context(), organization.clone(), "org-1")
        .await
        .unwrap();
    assert!(!again.is_changed);
    assert_eq!(again.organization.deletion, Some(deletion));
    assert!(is_conflict(
        engine.resume_organization(context(), organization.clone()).await
    ));
    let draft = keyward_testkit::engine::draft(
        keyward_core::scope::ScopeSet::ALL,
        keyward_core::access::Permission::Full,
    );
    assert!(is_conflict(
        engine.create_key(context(), organization.clone(), draft).await
    ));
    assert!(is_conflict(
        invite(&test, &context(), &organization, ("a@x", Role::Member)).await
    ));
    let again = OrganizationDraft {
        name: "x".to_owned(),
        id: Some(organization.clone()),
        owner_email: "a@x".to_owned(),
        owner: keyward_engine::create_organization::OwnerClaim::AddressOnly,
    };
    assert!(is_conflict(engine.create_organization(context(), again).await));

    let restored = engine
        .restore_organization(context(), organization.clone())
        .await
        .unwrap();
    assert_eq!(restored.organization.deletion, None);
    assert_eq!(
        test.verify(key.value.reveal()).await,
        Err(Code::KeyPaused),
        "until it is resumed"
    );
    let again = engine
        .restore_organization(context(), organization.clone())
        .await
        .unwrap();
    assert!(!again.is_changed);
    engine
        .resume_organization(context(), organization.clone())
        .await
        .unwrap();
    assert_eq!(test.verify(key.value.reveal()).await, Ok(()));
    let actions: Vec<_> = trail(&test, "org-1")
        .await
        .into_iter()
        .map(|(action, ..)| action)
        .collect();
    assert_eq!(
        actions[2..],
        [
            "organization.delete",
            "organization.restore",
            "organization.resume"
        ]
    );
}

async fn a_lock_outlives_a_deletion_that_was_taken_back(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let key = test.full_key(&organization).await;
    let engine = &test.engine;
    engine
        .lock_organization(context(), organization.clone())
        .await
        .unwrap();
    engine
        .delete_organization(context(), organization.clone(), "org-1")
        .await
        .unwrap();
    engine
        .unlock_organization(context(), organization.clone())
        .await
        .unwrap();
    assert_eq!(
        test.verify(key.value.reveal()).await,
        Err(Code::KeyPaused),
        "an unlock opens nothing"
    );
    engine
        .lock_organization(context(), organization.clone())
        .await
        .unwrap();
    engine
        .restore_organization(context(), organization.clone())
        .await
        .unwrap();
    engine
        .resume_organization(context(), organization.clone())
        .await
        .unwrap();
    assert_eq!(
        test.verify(key.value.reveal()).await,
        Err(Code::OrganizationLocked)
    );
}

async fn only_an_owner_deletes_and_restores(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let owner = first_owner(&test, &organization).await;
    let admin = member(&test, &organization, "admin@example.com", Role::Admin).await;
    let plain = member(&test, &organization, "member@example.com", Role::Member).await;
    let other = test.organization("org-2").await;
    let stranger = member(&test, &other, "stranger@example.com", Role::Owner).await;
    let key = test.full_key(&organization).await;
    let delete = |by| {
        let (engine, organization) = (test.engine.clone(), organization.clone());
        async move { engine.delete_organization(by, organization, "org-1").await }
    };
    let restore = |by| {
        let (engine, organization) = (test.engine.clone(), organization.clone());
        async move { engine.restore_organization(by, organization).await }
    };
    for refused in [by(&admin), by(&plain), acting(Actor::Key(key.key.record.id))] {
        assert!(is_forbidden(delete(refused).await));
    }
    assert!(matches!(
        delete(by(&stranger)).await,
        Err(EngineError::NotFound("organization"))
    ));
    delete(by(&owner)).await.unwrap();
    assert!(is_forbidden(restore(by(&admin)).await));
    restore(by(&owner)).await.unwrap();
}

/// An organization with something in every table, and its key's value.
async fn full(test: &TestEngine, id: &str) -> String {
    let organization = test.organization(id).await;
    let engine = &test.engine;
    let key = test.full_key(&organization).await;
    let value = key.value.reveal().to_owned();
    let write = test
        .permit(&value, Operation::DatasetWrite, OwnedResource::New(Dataset))
        .await
        .unwrap();
    for name in ["kept", "deleted"] {
        let new = NewDataset {
            name: name.to_owned(),
            description: None,
            kind: "vqa".to_owned(),
            content: "Image".to_owned(),
            owner: id.to_owned(),
            status: 0,
            localization: None,
            data_localization: None,
            tags: std::collections::BTreeMap::new(),
            attributes: std::collections::BTreeMap::new(),
        };
        let made = engine.create_dataset(&write, &context(), new).await.unwrap();
        if name == "deleted" {
            let delete = test
                .permit(
                    &value,
                    Operation::DatasetDelete,
                    OwnedResource::Item(Dataset, made.id.to_string()),
                )
                .await
                .unwrap();
            engine
                .delete_dataset(&delete, &context(), &made.id)
                .await
                .unwrap();
        }
    }
    engine.flush_uses().await.unwrap();
    let admin = member(test, &organization, &format!("admin@{id}"), Role::Admin).await;
    key_of(test, &organization, &admin).await;
    invite(test, &context(), &organization, ("waiting@x", Role::Member))
        .await
        .unwrap();
    let token = TokenDraft {
        name: "t".to_owned(),
        rights: RightSet::NONE.with(ManagementRight::KeysRead),
        expires_at: None,
    };
    let ceiling = TokenCeiling {
        rights: RightSet::all(),
        ends_at: None,
    };
    engine
        .create_token(context(), organization.clone(), token, ceiling)
        .await
        .unwrap();
    let ended = test.full_key(&organization).await;
    test.delete(&organization, ended.key.record.id).await.unwrap();
    value
}

const OWN_TABLES: [&str; 8] = [
    "secret_key",
    "dataset",
    "dataset_deletion",
    "membership",
    "invitation",
    "management_token",
    "key_use",
    "secret_use",
];

/// How many rows of an organization each table has.
async fn rows(test: &TestEngine, table: &str, organization: &str) -> i64 {
    let sql = format!("SELECT CAST(COUNT(*) AS TEXT) FROM {table} WHERE organization_id = '{organization}'");
    test.place.texts(&[&sql]).await[0].parse().unwrap()
}

async fn an_organization_is_purged_at_its_millisecond_and_its_trail_stays(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let value = full(&test, "org-1").await;
    let neighbours = full(&test, "org-2").await;
    for table in OWN_TABLES {
        assert!(rows(&test, table, "org-1").await > 0, "{table}");
    }
    let organization: keyward_core::ids::OrganizationId = "org-1".parse().unwrap();
    let engine = &test.engine;
    engine
        .delete_organization(context(), organization.clone(), "org-1")
        .await
        .unwrap();
    test.clock.advance_ms(RESTORABLE_MS - 1);
    assert!(engine.run_due_purges(engine.now()).await.unwrap().is_empty());
    engine
        .restore_organization(context(), organization.clone())
        .await
        .unwrap();
    engine
        .delete_organization(context(), organization.clone(), "org-1")
        .await
        .unwrap();
    test.clock.advance_ms(RESTORABLE_MS);
    // At that millisecond it is too late, whether or not somebody purged it yet.
    let late = engine.restore_organization(context(), organization.clone()).await;
    assert!(is_conflict(late));
    let feed_before = rows(&test, "change_feed", "org-1").await;
    assert_eq!(
        engine.run_due_purges(engine.now()).await.unwrap(),
        std::slice::from_ref(&organization)
    );
    assert!(engine.run_due_purges(engine.now()).await.unwrap().is_empty());

    for table in OWN_TABLES {
        assert_eq!(rows(&test, table, "org-1").await, 0, "{table}");
    }
    assert_eq!(
        test.place
            .texts(&["SELECT key_id FROM secret WHERE key_id NOT IN (SELECT id FROM secret_key)"])
            .await,
        [""; 0]
    );
    assert!(matches!(
        engine.show_organization(&organization).await,
        Err(EngineError::NotFound("organization"))
    ));
    assert_eq!(test.verify(&value).await, Err(Code::KeyUnknown));
    assert_eq!(test.verify(&neighbours).await, Ok(()));
    assert_eq!(test.verify_afresh(&neighbours).await, Ok(()));
    // Whoever follows the feed hears of the end of each key, and finds no hole in it.
    assert_eq!(rows(&test, "change_feed", "org-1").await, feed_before + 2);
    let trail = trail(&test, "org-1").await;
    let last: Vec<_> = trail
        .iter()
        .rev()
        .take(4)
        .map(|(action, actor, _)| (action.as_str(), actor.as_str()))
        .collect();
    assert_eq!(
        last,
        [
            ("organization.purge", "system"),
            ("key.delete", "system"),
            ("key.delete", "system"),
            ("organization.begin_purge", "system")
        ]
    );
    let again = OrganizationDraft {
        name: "x".to_owned(),
        id: Some(organization.clone()),
        owner_email: "a@x".to_owned(),
        owner: keyward_engine::create_organization::OwnerClaim::AddressOnly,
    };
    assert!(
        is_conflict(engine.create_organization(context(), again).await),
        "its id is never given again"
    );
    // What is written next has its place in the feed and in the chain.
    let key = test.full_key(&"org-2".parse().unwrap()).await;
    assert_eq!(test.verify(key.value.reveal()).await, Ok(()));
    let mut copy = Vec::new();
    engine.store().dump(&mut copy, "k", 0).await.unwrap();
}

/// Whatever a clock says afterwards: a purge that has begun is not taken back, and the next one finishes it.
async fn a_purge_that_was_interrupted_is_finished(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let value = full(&test, "org-1").await;
    let organization: keyward_core::ids::OrganizationId = "org-1".parse().unwrap();
    let deletion = test
        .engine
        .delete_organization(context(), organization.clone(), "org-1")
        .await
        .unwrap();
    let due = deletion.organization.deletion.unwrap().purge_at;
    // A row that somebody spoiled is purged like the others.
    test.place
        .run("UPDATE secret_key SET level = 'god' WHERE organization_id = 'org-1' AND state = 'active'")
        .await;
    let mut steps: u64 = 1;
    while rows(&test, "secret_key", "org-1").await == 3 && steps < 10_000_000 {
        let mut purging = Box::pin(test.engine.run_due_purges(due));
        for _ in 0..steps {
            if futures_util::poll!(&mut purging).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(purging);
        steps *= 2;
    }
    if test.engine.show_organization(&organization).await.is_ok() {
        let begun = test
            .engine
            .show_organization(&organization)
            .await
            .unwrap()
            .deletion
            .unwrap();
        assert!(begun.purge_begun_at.is_some());
        // By the engine's clock the 30 days are not over.
        let refused = test
            .engine
            .restore_organization(context(), organization.clone())
            .await;
        assert!(is_conflict(refused));
        test.engine.run_due_purges(due).await.unwrap();
    }
    assert_eq!(test.verify(&value).await, Err(Code::KeyUnknown));
    for table in OWN_TABLES {
        assert_eq!(rows(&test, table, "org-1").await, 0, "{table}");
    }
}

/// Restored, deleted and purged at once: one of them comes last, and the organization is whole or gone.
async fn a_restore_and_a_purge_at_once_leave_all_or_nothing(kind: Kind) {
    let test = TestEngine::new(kind).await;
    for round in 0..6 {
        let id = format!("org-{round}");
        let organization = test.organization(&id).await;
        let key = test.full_key(&organization).await;
        let engine = test.engine.clone();
        let deleted = engine
            .delete_organization(context(), organization.clone(), &id)
            .await
            .unwrap();
        let due = deleted.organization.deletion.unwrap().purge_at;
        let purging = tokio::spawn({
            let engine = engine.clone();
            async move { engine.run_due_purges(due).await }
        });
        let restored = engine.restore_organization(context(), organization.clone()).await;
        let purged = purging.await.unwrap().unwrap();
        match (restored, purged.as_slice()) {
            (Ok(_), []) => {
                engine.resume_organization(context(), organization).await.unwrap();
                assert_eq!(test.verify(key.value.reveal()).await, Ok(()));
            }
            (Err(EngineError::Conflict(_) | EngineError::NotFound(_)), [gone]) => {
                assert_eq!(*gone, organization);
                assert_eq!(test.verify(key.value.reveal()).await, Err(Code::KeyUnknown));
            }
            other => panic!("{other:?}"),
        }
    }
}

async fn members_of_a_deleted_organization_can_still_leave_it(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let admin = member(&test, &organization, "admin@example.com", Role::Admin).await;
    let waiting = invite(&test, &context(), &organization, ("w@x", Role::Member))
        .await
        .unwrap();
    test.engine
        .delete_organization(context(), organization.clone(), "org-1")
        .await
        .unwrap();
    let refused = test.engine.accept_invitation(&arrival(), &waiting.secret).await;
    assert!(matches!(refused, Err(EngineError::InvitationOver(_))));
    test.engine
        .remove_member(
            by(&admin),
            organization.clone(),
            admin.clone(),
            Some(KeysOfLeaver::Keep),
        )
        .await
        .unwrap();
}

on_both_databases!(
    a_deletion_refuses_every_key_at_once_and_is_taken_back_stopped,
    a_lock_outlives_a_deletion_that_was_taken_back,
    only_an_owner_deletes_and_restores,
    an_organization_is_purged_at_its_millisecond_and_its_trail_stays,
    a_purge_that_was_interrupted_is_finished,
    a_restore_and_a_purge_at_once_leave_all_or_nothing,
    members_of_a_deleted_organization_can_still_leave_it,
);
