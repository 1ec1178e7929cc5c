//! Whoever can write to the database, and has no keyring, gets no key accepted.

use keyward_core::access::Permission;
use keyward_core::refusal::Code;
use keyward_core::scope::{Scope, ScopeSet};
use keyward_engine::EngineError;
use keyward_testkit::engine::{Kind, TestEngine, context};
use keyward_testkit::on_both_databases;

const CHANGES: [&str; 16] = [
    "UPDATE secret_key SET scopes = 7",
    "UPDATE secret_key SET level = 'full'",
    "UPDATE secret_key SET level = 'restricted', rules = '[{\"operations\":[\"dataset.*\"],\"resources\":[\"*\"]}]'",
    "UPDATE secret_key SET rules = '[{\"operations\":[\"dataset.*\"],\"resources\":[\"*\"]}]'",
    "UPDATE secret_key SET conditions = replace(conditions, 'null', '4102444800000')",
    "UPDATE secret_key SET organization_id = 'org-2'",
    "UPDATE secret_key SET version = version + 1",
    "UPDATE secret_key SET version = 0",
    "UPDATE secret_key SET version = 9223372036854775807",
    "UPDATE secret_key SET state = 'deleted', state_reason = 'removed', deleted_at = 1",
    "UPDATE secret_key SET state = 'asleep'",
    "UPDATE secret SET number = 2",
    "UPDATE secret SET life = 'until', valid_until = 4102444800000",
    "UPDATE secret SET life = 'ended'",
    "UPDATE secret SET keyring_version = 2",
    "UPDATE secret SET sealed = o.sealed FROM (SELECT key_id, sealed FROM secret) o WHERE o.key_id <> secret.key_id",
];

async fn no_changed_row_leads_to_an_allow(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let other = test.organization("org-2").await;
    for change in CHANGES {
        place_is_emptied(&test).await;
        let narrow = test
            .key(
                &organization,
                ScopeSet::NONE.with(Scope::Dataset),
                Permission::ReadOnly,
            )
            .await;
        let neighbour = test
            .key(
                &organization,
                ScopeSet::NONE.with(Scope::Dataset),
                Permission::ReadOnly,
            )
            .await;
        let (id, value) = (narrow.key.record.id, narrow.value.reveal());
        assert!(test.place.run(change).await > 0, "{change}");
        assert_eq!(
            test.verify_afresh(value).await,
            Err(Code::StoreUnavailable),
            "{change}"
        );
        assert_eq!(
            test.verify(neighbour.value.reveal()).await,
            Err(Code::StoreUnavailable),
            "{change}"
        );

        // Nothing but an end can be written over it.
        let owner = if change.contains("organization_id") {
            &other
        } else {
            &organization
        };
        let paused = test.engine.pause_key(context(), owner.clone(), id).await;
        assert!(
            matches!(
                paused,
                Err(EngineError::SealBroken | EngineError::Conflict(_) | EngineError::Unavailable(_))
            ),
            "{change}: {paused:?}"
        );
        let deleted = test
            .delete(owner, id)
            .await
            .unwrap_or_else(|error| panic!("{change}: {error:?}"));
        assert!(
            deleted.is_changed && deleted.key.record.state.is_deleted(),
            "{change}"
        );
        assert_eq!(
            test.verify(value).await,
            Err(Code::KeyUnknown),
            "{change}: ended, its seals wiped"
        );
        assert_eq!(test.verify_afresh(value).await, Err(Code::KeyUnknown), "{change}");

        // Not even when everything but the seal is put back as it was.
        test.place
            .run("UPDATE secret_key SET state = 'active', state_reason = NULL, deleted_at = NULL, version = 1, scopes = 1, level = 'read_only', rules = '[]', organization_id = 'org-1'")
            .await;
        test.place
            .run("UPDATE secret SET life = 'current', valid_until = NULL, number = 1, keyring_version = 1")
            .await;
        let answer = test.verify(value).await;
        // Memory knows of the end; where it has to ask for ended secrets too, the database does not open.
        assert!(
            matches!(answer, Err(Code::KeyUnknown | Code::StoreUnavailable)),
            "{change}: {answer:?}"
        );
        assert_eq!(
            test.verify_afresh(value).await,
            Err(Code::StoreUnavailable),
            "{change}"
        );
        assert!(
            !test
                .delete(&organization, id)
                .await
                .unwrap()
                .key
                .record
                .state
                .name()
                .is_empty()
        );
    }
}

async fn place_is_emptied(test: &TestEngine) {
    for table in ["secret", "secret_key"] {
        test.place.run(&format!("DELETE FROM {table}")).await;
    }
    test.engine.cache().clear();
}

async fn an_ended_or_paused_key_is_not_revived(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let deleted = test.full_key(&organization).await;
    let paused = test.full_key(&organization).await;
    test.delete(&organization, deleted.key.record.id).await.unwrap();
    test.engine
        .pause_key(context(), organization.clone(), paused.key.record.id)
        .await
        .unwrap();
    for and_version in ["", ", version = 1"] {
        test.place
            .run(&format!(
                "UPDATE secret_key SET state = 'active', state_reason = NULL, deleted_at = NULL{and_version}"
            ))
            .await;
        for key in [&deleted, &paused] {
            assert_eq!(
                test.verify_afresh(key.value.reveal()).await,
                Err(Code::StoreUnavailable)
            );
        }
        let resumed = test
            .engine
            .resume_key(context(), organization.clone(), paused.key.record.id)
            .await;
        assert!(
            matches!(resumed, Err(EngineError::SealBroken)),
            "what is found `active` is not taken for it"
        );
    }
    // An older version in the row does not hide the end from memory, which still held the key as accepted.
    let cached = test.full_key(&organization).await;
    let (id, value) = (cached.key.record.id, cached.value.reveal());
    for _ in 0..3 {
        test.engine
            .pause_key(context(), organization.clone(), id)
            .await
            .unwrap();
        test.engine
            .resume_key(context(), organization.clone(), id)
            .await
            .unwrap();
    }
    assert_eq!(test.verify(value).await, Ok(()));
    test.place
        .run(&format!("UPDATE secret_key SET version = 1 WHERE id = '{id}'"))
        .await;
    test.delete(&organization, id).await.unwrap();
    assert_eq!(test.verify(value).await, Err(Code::KeyUnknown));
}

async fn a_row_that_was_taken_away_is_not_served(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let key = test.full_key(&organization).await;
    test.place.run("DELETE FROM secret").await;
    test.place.run("DELETE FROM secret_key").await;
    let deleted = test.delete(&organization, key.key.record.id).await;
    assert!(matches!(deleted, Err(EngineError::NotFound(_))));
    assert_eq!(test.verify(key.value.reveal()).await, Err(Code::KeyUnknown));
}

on_both_databases!(
    no_changed_row_leads_to_an_allow,
    an_ended_or_paused_key_is_not_revived,
    a_row_that_was_taken_away_is_not_served,
);
