//! When keys were last used: noted by accepted requests alone, durable after a flush, and never moved back.

use keyward_core::decision::{OrganizationClaim, Purpose};
use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::key_text::KeyText;
use keyward_core::operation::Operation;
use keyward_core::refusal::Code;
use keyward_core::scope::ScopeSet;
use keyward_core::time::Timestamp;
use keyward_core::usage::ClientName;
use keyward_engine::create_key::CreatedKey;
use keyward_engine::permit::OwnedResource;
use keyward_engine::verify::VerifyQuestion;
use keyward_testkit::clock::START;
use keyward_testkit::engine::{Kind, Permission, TestEngine, context, draft, here, start};
use keyward_testkit::on_both_databases;

/// Last use of the key, and number, first and last use of its secrets; `None` is never.
async fn used(
    test: &TestEngine,
    organization: &OrganizationId,
    id: KeyId,
) -> Option<(Timestamp, Vec<(i64, Timestamp, Timestamp)>)> {
    let uses = test.engine.last_uses(organization, &[id]).await.unwrap();
    uses.get(&id).map(|key| {
        let secrets = key
            .secrets
            .iter()
            .map(|one| (one.number, one.first_used_at, one.last_used_at));
        (key.last_used_at, secrets.collect())
    })
}

fn id_of(key: &CreatedKey) -> KeyId {
    key.key.record.id
}

async fn a_use_is_known_at_once_and_after_a_restart(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let other = test.organization("org-2").await;
    let (key, unused) = (
        test.full_key(&organization).await,
        test.full_key(&organization).await,
    );
    assert_eq!(used(&test, &organization, id_of(&key)).await, None, "never");

    test.verify(key.value.reveal()).await.unwrap();
    let first = Some((START, vec![(1, START, START)]));
    assert_eq!(
        used(&test, &organization, id_of(&key)).await,
        first,
        "before any flush"
    );
    test.engine.flush_uses().await.unwrap();
    assert_eq!(used(&test, &organization, id_of(&key)).await, first);
    assert_eq!(used(&test, &other, id_of(&key)).await, None, "it is not theirs");

    test.clock.advance_ms(5_000);
    test.verify(key.value.reveal()).await.unwrap();
    let text = test.keyring_text.clone();
    let test = test.restart(&text).await;
    let later = START.plus_ms(5_000);
    assert_eq!(
        used(&test, &organization, id_of(&key)).await,
        Some((later, vec![(1, START, later)]))
    );
    assert_eq!(used(&test, &organization, id_of(&unused)).await, None);
}

async fn every_way_of_accepting_notes_the_use(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let from_memory = test.full_key(&organization).await;
    test.verify(from_memory.value.reveal()).await.unwrap();
    let from_the_store = test.full_key(&organization).await;
    test.verify_afresh(from_the_store.value.reveal()).await.unwrap();
    let by_a_permit = test.full_key(&organization).await;
    let value = by_a_permit.value.reveal();
    let whole = OwnedResource::Organization;
    test.permit(value, Operation::OrganizationRead, whole)
        .await
        .unwrap();
    let mut draft = draft(ScopeSet::ALL, Permission::Full);
    draft.conditions.not_before = Some(START);
    let not_plain = test.engine.create_key(context(), organization.clone(), draft);
    let not_plain = not_plain.await.unwrap();
    test.verify(not_plain.value.reveal()).await.unwrap();
    for (way, key) in [from_memory, from_the_store, by_a_permit, not_plain]
        .iter()
        .enumerate()
    {
        let found = used(&test, &organization, id_of(key)).await;
        assert_eq!(found, Some((START, vec![(1, START, START)])), "way {way}");
    }
}

async fn refused_and_dry_questions_note_nothing(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let key = test.full_key(&organization).await;
    let text = KeyText::parse(key.value.reveal(), test.engine.prefix()).unwrap();
    let question = VerifyQuestion {
        credentials: keyward_core::credentials::Credentials {
            key: text,
            organization: None,
        },
        claim: OrganizationClaim::NotAsked,
        purpose: Purpose::Identify,
        address: here(),
        client: ClientName::NONE,
    };
    let identity = test.engine.identify_without_use(&question).await.unwrap();
    assert_eq!(identity.key_id(), id_of(&key));
    test.engine.cache().clear();
    test.engine.identify_without_use(&question).await.unwrap();
    test.engine
        .stop_organization(context(), organization.clone())
        .await
        .unwrap();
    assert_eq!(test.verify(key.value.reveal()).await, Err(Code::KeyPaused));
    assert_eq!(test.verify_afresh(key.value.reveal()).await, Err(Code::KeyPaused));
    let refused = test.engine.identify_without_use(&question).await;
    assert_eq!(refused.unwrap_err().code(), Code::KeyPaused);
    assert_eq!(used(&test, &organization, id_of(&key)).await, None);
}

async fn a_last_use_never_goes_back(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let key = test.full_key(&organization).await;
    let mut latest = START;
    for ms in [0, 700, -3_000, 1_000, 4_000, -1] {
        test.clock.advance_ms(ms);
        latest = latest.max(test.engine.now());
        test.verify(key.value.reveal()).await.unwrap();
        test.engine.flush_uses().await.unwrap();
        assert_eq!(
            used(&test, &organization, id_of(&key)).await,
            Some((latest, vec![(1, START, latest)]))
        );
    }
    let stored = test
        .place
        .texts(&["SELECT CAST(last_used_at AS TEXT) FROM key_use"])
        .await;
    assert_eq!(
        stored,
        [latest.as_unix_ms().to_string()],
        "what lists are sorted by"
    );
}

/// An engine that is dropped writes nothing any more, as a process that is killed.
async fn what_was_written_survives_a_process_that_is_killed(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let key = test.full_key(&organization).await;
    test.verify(key.value.reveal()).await.unwrap();
    test.engine.flush_uses().await.unwrap();
    let (place, clock, keyring_text) = (test.place, test.clock, test.keyring_text);
    drop(test.engine);
    let deadline = std::time::Instant::now() + keyward_testkit::deadline::PATIENCE;
    let engine = loop {
        match start(&place.database(), &keyring_text, &clock, 10).await {
            Ok(engine) => break engine,
            Err(error) => assert!(std::time::Instant::now() < deadline, "{error}"),
        }
    };
    let found = engine.last_uses(&organization, &[id_of(&key)]).await.unwrap();
    assert_eq!(found[&id_of(&key)].last_used_at, START);
}

async fn uses_that_could_not_be_written_are_written_later(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let key = test.full_key(&organization).await;
    test.verify(key.value.reveal()).await.unwrap();
    test.place.run("ALTER TABLE secret_use RENAME TO elsewhere").await;
    assert!(test.engine.flush_uses().await.is_err());
    test.clock.advance_ms(3_000);
    test.verify(key.value.reveal()).await.unwrap();
    assert!(test.engine.flush_uses().await.is_err());
    test.place.run("ALTER TABLE elsewhere RENAME TO secret_use").await;
    test.engine.flush_uses().await.unwrap();
    let later = START.plus_ms(3_000);
    let found = test
        .engine
        .store()
        .list_uses(&organization, &[id_of(&key)])
        .await
        .unwrap();
    assert_eq!((found[0].first_used_at, found[0].last_used_at), (START, later));
}

/// More keys than a statement and a transaction take.
async fn a_great_many_uses_are_written(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let uses: Vec<_> = (0..2_501)
        .map(|number| keyward_store::uses::SecretUse {
            organization_id: organization.clone(),
            key_id: format!("{:016}", number / 2).parse().unwrap(),
            number: number % 2 + 1,
            first_used_at: START,
            last_used_at: START.plus_ms(number),
            last: None,
        })
        .collect();
    let store = test.engine.store();
    for _ in 0..2 {
        let mut tx = store.begin().await.unwrap();
        tx.record_uses(&uses).await.unwrap();
        tx.commit().await.unwrap();
    }
    let keys: Vec<KeyId> = uses.iter().step_by(2).map(|one| one.key_id).collect();
    let found = test.engine.last_uses(&organization, &keys).await.unwrap();
    assert_eq!(found.len(), keys.len());
    assert_eq!(found[&keys[3]].last_used_at, START.plus_ms(7));
    assert_eq!(found[&keys[3]].secrets, uses[6..8]);
}

/// Uses are written while keys are: neither waits for the other, and none is lost.
async fn uses_and_writes_of_keys_do_not_disturb_each_other(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let mut keys = Vec::new();
    for _ in 0..12 {
        keys.push(test.full_key(&organization).await);
    }
    if kind == Kind::Postgres {
        // The key's row is locked by a write that takes its time.
        let mut tx = test.engine.store().begin().await.unwrap();
        tx.lock_key(&organization, id_of(&keys[0]))
            .await
            .unwrap()
            .unwrap();
        let permitted = test.permit(
            keys[0].value.reveal(),
            Operation::OrganizationRead,
            OwnedResource::Organization,
        );
        permitted.await.unwrap();
        test.engine.flush_uses().await.unwrap();
        tx.rollback().await.unwrap();
        assert!(used(&test, &organization, id_of(&keys[0])).await.is_some());
    }
    let working: Vec<_> = keys
        .iter()
        .map(|key| {
            let (engine, organization) = (test.engine.clone(), organization.clone());
            let (id, value) = (id_of(key), key.value.reveal().to_owned());
            tokio::spawn(async move {
                for _ in 0..5 {
                    keyward_testkit::engine::verify(&engine, &value).await.unwrap();
                    engine.flush_uses().await.unwrap();
                    engine
                        .pause_key(context(), organization.clone(), id)
                        .await
                        .unwrap();
                    engine
                        .resume_key(context(), organization.clone(), id)
                        .await
                        .unwrap();
                }
            })
        })
        .collect();
    for one in working {
        one.await.unwrap();
    }
    test.engine.flush_uses().await.unwrap();
    let ids: Vec<KeyId> = keys.iter().map(id_of).collect();
    let written = test.engine.store().list_uses(&organization, &ids).await.unwrap();
    assert_eq!(written.len(), keys.len());
}

on_both_databases!(
    a_use_is_known_at_once_and_after_a_restart,
    every_way_of_accepting_notes_the_use,
    refused_and_dry_questions_note_nothing,
    a_last_use_never_goes_back,
    what_was_written_survives_a_process_that_is_killed,
    uses_that_could_not_be_written_are_written_later,
    a_great_many_uses_are_written,
    uses_and_writes_of_keys_do_not_disturb_each_other,
);
