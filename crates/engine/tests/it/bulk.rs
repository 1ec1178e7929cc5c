//! Many keys at once: what the dry run showed is done and nothing else, and every key is accounted for.

use std::collections::{BTreeMap, BTreeSet};

use keyward_core::edit_key::KeyEdit;
use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::key_filter::KeyFilter;
use keyward_core::record::{Actor, ShownState};
use keyward_core::refusal::Code;
use keyward_core::state::{DeleteReason, KeyState};
use keyward_core::time::DAY_MS;
use keyward_engine::EngineError;
use keyward_engine::bulk::{BulkAction, BulkOutcome, BulkPreview, LeftOut, MAX_BULK, PREVIEW_LIFE_MS};
use keyward_engine::clock::Clock as _;
use keyward_engine::context::Context;
use keyward_engine::create_key::CreatedKey;
use keyward_testkit::engine::{Kind, TestEngine, context};
use keyward_testkit::on_both_databases;

const DELETE: BulkAction = BulkAction::Delete(DeleteReason::Unused);

/// More keys than one transaction takes.
pub(crate) const MORE_THAN_A_CHUNK: usize = 1_010;

pub(crate) async fn keys(test: &TestEngine, organization: &OrganizationId, count: usize) -> Vec<CreatedKey> {
    let mut made = Vec::new();
    while made.len() < count {
        let some = (count - made.len()).min(50);
        let making = (0..some).map(|_| test.full_key(organization));
        made.extend(futures_util::future::join_all(making).await);
    }
    made
}

async fn preview(test: &TestEngine, organization: &OrganizationId, action: BulkAction) -> BulkPreview {
    let asked = (action, KeyFilter::default());
    test.engine
        .preview_bulk(&context(), organization, asked)
        .await
        .unwrap()
}

async fn run(
    test: &TestEngine,
    organization: &OrganizationId,
    token: &str,
) -> Result<BulkOutcome, EngineError> {
    test.engine.run_bulk(context(), organization.clone(), token).await
}

fn done(outcome: &BulkOutcome) -> BTreeSet<KeyId> {
    let ids: BTreeSet<KeyId> = outcome.done.iter().map(|written| written.key.record.id).collect();
    assert_eq!(ids.len(), outcome.done.len(), "each is named once");
    ids
}

fn ids(keys: &[CreatedKey]) -> BTreeSet<KeyId> {
    keys.iter().map(|key| key.key.record.id).collect()
}

async fn more_keys_than_a_chunk_are_ended_and_each_is_named(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let keys = keys(&test, &organization, MORE_THAN_A_CHUNK).await;
    let preview = preview(&test, &organization, DELETE).await;
    let shown: BTreeSet<KeyId> = preview.keys.iter().map(|key| key.record.id).collect();
    assert_eq!(shown, ids(&keys));
    for key in &keys {
        assert_eq!(test.verify(key.value.reveal()).await, Ok(()));
    }
    let outcome = run(&test, &organization, preview.token.reveal()).await.unwrap();
    assert!(outcome.stopped_by.is_none() && outcome.left_out.is_empty());
    assert_eq!(done(&outcome), ids(&keys));
    for written in &outcome.done {
        assert_eq!((written.is_changed, written.known.confirmed), (true, 1));
    }
    for key in &keys {
        assert_eq!(test.verify(key.value.reveal()).await, Err(Code::KeyDeleted));
    }
    test.engine.cache().clear();
    for key in keys.iter().step_by(97) {
        assert_eq!(test.verify(key.value.reveal()).await, Err(Code::KeyDeleted));
    }
    // Each has its entry in the trail, its row in the feed and its event.
    for count in [
        "SELECT CAST(COUNT(DISTINCT target) AS TEXT) FROM audit_entry WHERE action = 'key.delete'",
        "SELECT CAST(COUNT(DISTINCT key_id) AS TEXT) FROM change_feed WHERE version = 2",
        "SELECT CAST(COUNT(DISTINCT key_id) AS TEXT) FROM outbox WHERE kind = 'key.delete'",
    ] {
        assert_eq!(
            test.place.texts(&[count]).await,
            [MORE_THAN_A_CHUNK.to_string()],
            "{count}"
        );
    }
}

async fn what_changed_since_the_dry_run_is_left_out_and_named(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let keys = keys(&test, &organization, 6).await;
    let [plain, edited, paused, deleted, used, expired] = keys.as_slice() else {
        unreachable!()
    };
    test.clock.advance_ms(10 * DAY_MS);
    let unused = KeyFilter {
        unused_since: Some(test.clock.now().plus_ms(-DAY_MS)),
        ..KeyFilter::default()
    };
    let engine = &test.engine;
    let preview = engine
        .preview_bulk(&context(), &organization, (DELETE, unused))
        .await
        .unwrap();
    assert_eq!(preview.keys.len(), 6);
    let edit = |edit: KeyEdit| (edit, None);
    let id = |key: &CreatedKey| key.key.record.id;
    let named = KeyEdit {
        name: Some("Edited since".to_owned()),
        ..KeyEdit::default()
    };
    let ending = KeyEdit {
        expires_at: Some(Some(test.clock.now().plus_ms(1))),
        ..KeyEdit::default()
    };
    for (key, change) in [(edited, named), (expired, ending)] {
        engine
            .edit_key(context(), organization.clone(), id(key), edit(change))
            .await
            .unwrap();
    }
    engine
        .pause_key(context(), organization.clone(), id(paused))
        .await
        .unwrap();
    test.delete(&organization, id(deleted)).await.unwrap();
    assert_eq!(test.verify(used.value.reveal()).await, Ok(()));
    engine.flush_uses().await.unwrap();
    test.clock.advance_ms(1);
    let appeared = test.full_key(&organization).await;
    let outcome = run(&test, &organization, preview.token.reveal()).await.unwrap();
    assert!(outcome.stopped_by.is_none());
    assert_eq!(done(&outcome), BTreeSet::from([id(plain)]));
    let left_out: BTreeMap<KeyId, LeftOut> = outcome.left_out.iter().copied().collect();
    let expected = BTreeMap::from([
        (id(edited), LeftOut::Changed),
        (id(expired), LeftOut::Changed),
        (id(paused), LeftOut::Changed),
        (id(deleted), LeftOut::Ended),
        (id(used), LeftOut::Changed),
    ]);
    assert_eq!((left_out, outcome.left_out.len()), (expected, 5));
    assert_eq!(test.verify(edited.value.reveal()).await, Ok(()));
    assert_eq!(test.verify(used.value.reveal()).await, Ok(()));
    assert_eq!(test.verify(appeared.value.reveal()).await, Ok(()));
    assert_eq!(test.verify(plain.value.reveal()).await, Err(Code::KeyDeleted));
}

async fn while_others_write_every_key_is_done_or_named(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let keys = keys(&test, &organization, 40).await;
    let preview = preview(&test, &organization, DELETE).await;
    let writes = keys
        .iter()
        .enumerate()
        .filter(|(at, _)| at % 2 == 0)
        .map(|(at, key)| {
            let (engine, organization, id) = (&test.engine, organization.clone(), key.key.record.id);
            async move {
                if at % 4 == 0 {
                    let reason = DeleteReason::Compromised;
                    engine
                        .delete_key(context(), organization, id, reason)
                        .await
                        .map(drop)
                } else {
                    engine.pause_key(context(), organization, id).await.map(drop)
                }
            }
        });
    let writing = futures_util::future::join_all(writes);
    let (outcome, written) = tokio::join!(run(&test, &organization, preview.token.reveal()), writing);
    let outcome = outcome.unwrap();
    assert!(outcome.stopped_by.is_none());
    for one in written {
        assert!(matches!(one, Ok(()) | Err(EngineError::Conflict(_))), "{one:?}");
    }
    let (done, left_out) = (done(&outcome), outcome.left_out.iter().map(|(id, _)| *id));
    let left_out: BTreeSet<KeyId> = left_out.collect();
    assert!(done.is_disjoint(&left_out));
    assert_eq!(&done | &left_out, ids(&keys));
    for key in &keys {
        let (id, now) = (key.key.record.id, test.verify_afresh(key.value.reveal()).await);
        let row = test.engine.show_key(&organization, id).await.unwrap();
        if done.contains(&id) {
            assert_eq!(now, Err(Code::KeyDeleted));
        }
        if let KeyState::Deleted { reason, .. } = row.record.state {
            assert_eq!(
                reason == DeleteReason::Unused,
                done.contains(&id),
                "who ended it is told so"
            );
        }
    }
}

async fn a_token_is_good_once_for_its_principal_and_for_a_quarter_of_an_hour(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let other = test.organization("org-2").await;
    let key = test.full_key(&organization).await;
    let first = preview(&test, &organization, DELETE).await;
    let token = first.token.reveal();
    assert_eq!(first.token_ends_at, test.clock.now().plus_ms(PREVIEW_LIFE_MS));
    let is_refused =
        |outcome: Result<BulkOutcome, EngineError>| matches!(outcome, Err(EngineError::Conflict(_)));
    let somebody = Context::new(Actor::System, "r-2".parse().unwrap());
    let theirs = test.engine.run_bulk(somebody, organization.clone(), token).await;
    assert!(is_refused(theirs), "of another principal");
    assert!(
        is_refused(run(&test, &other, token).await),
        "in another organization"
    );
    test.clock.advance_ms(PREVIEW_LIFE_MS);
    assert!(is_refused(run(&test, &organization, token).await), "too late");
    assert_eq!(test.verify(key.value.reveal()).await, Ok(()));
    test.clock.advance_ms(-1);
    assert!(
        is_refused(run(&test, &organization, token).await),
        "whoever came too late took it all the same"
    );
    let second = preview(&test, &organization, DELETE).await;
    test.clock.advance_ms(PREVIEW_LIFE_MS - 1);
    // Two at once: one carries it out.
    let token = second.token.reveal();
    let (one, two) = tokio::join!(run(&test, &organization, token), run(&test, &organization, token));
    assert_eq!(u8::from(is_refused(one)) + u8::from(is_refused(two)), 1);
    assert!(is_refused(run(&test, &organization, token).await));
    assert_eq!(test.verify(key.value.reveal()).await, Err(Code::KeyDeleted));
    // What is kept of it is a digest, and the time brings it away.
    let third = preview(&test, &organization, DELETE).await;
    let kept = "SELECT principal || request || items FROM bulk_preview";
    assert!(
        !test
            .place
            .texts(&[kept])
            .await
            .concat()
            .contains(third.token.reveal())
    );
    test.clock.advance_ms(PREVIEW_LIFE_MS);
    test.engine.tend_keys(&context()).await.unwrap();
    assert!(test.place.texts(&[kept]).await.is_empty());
}

async fn an_action_shows_only_the_keys_that_it_does_something_to(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let keys = keys(&test, &organization, 3).await;
    let paused = keys[1].key.record.id;
    test.engine
        .pause_key(context(), organization.clone(), paused)
        .await
        .unwrap();
    test.delete(&organization, keys[2].key.record.id).await.unwrap();
    let engine = &test.engine;
    for (action, states, count) in [
        (DELETE, vec![], 2),
        (DELETE, vec![ShownState::Paused, ShownState::Deleted], 1),
        (DELETE, vec![ShownState::Deleted], 0),
        (BulkAction::Pause, vec![], 1),
        (BulkAction::Pause, vec![ShownState::Paused], 0),
    ] {
        let filter = KeyFilter {
            states: states.clone(),
            ..KeyFilter::default()
        };
        let preview = engine
            .preview_bulk(&context(), &organization, (action, filter))
            .await
            .unwrap();
        assert_eq!(preview.keys.len(), count, "{action:?} {states:?}");
    }
}

async fn a_broken_seal_is_named_and_can_be_ended(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let keys = keys(&test, &organization, 2).await;
    let broken = keys[0].key.record.id;
    let spoil = format!("UPDATE secret_key SET scopes = 1 WHERE id = '{broken}'");
    assert_eq!(test.place.run(&spoil).await, 1);
    test.engine.cache().clear();
    let pause = preview(&test, &organization, BulkAction::Pause).await;
    let outcome = run(&test, &organization, pause.token.reveal()).await.unwrap();
    assert_eq!(outcome.left_out, [(broken, LeftOut::Broken)]);
    assert_eq!(done(&outcome), BTreeSet::from([keys[1].key.record.id]));
    assert_eq!(
        test.verify(keys[0].value.reveal()).await,
        Err(Code::StoreUnavailable)
    );
    let delete = preview(&test, &organization, DELETE).await;
    let outcome = run(&test, &organization, delete.token.reveal()).await.unwrap();
    assert_eq!((done(&outcome), outcome.left_out), (ids(&keys), Vec::new()));
    for key in &keys {
        assert!(test.verify_afresh(key.value.reveal()).await.is_err());
    }
}

/// Copies of the one key of the organization, as many as wanted, without any secret.
async fn copies(test: &TestEngine, from: usize, to: usize) {
    let columns = "organization_id, version, name, description, environment, state, state_reason, deleted_at, scopes, level, \
                   rules, conditions, created_by, created_at, updated_at, tags, search";
    let insert = format!(
        "WITH RECURSIVE counted (at) AS (SELECT {from} UNION ALL SELECT at + 1 FROM counted WHERE at + 1 < {to}) \
         INSERT INTO secret_key (id, {columns}) SELECT CAST(1000000000000000 + c.at AS TEXT), {columns} \
         FROM secret_key k, counted c WHERE k.name = 'A key of a test' AND k.id NOT LIKE '10000000000%'"
    );
    assert_eq!(test.place.run(&insert).await, (to - from) as u64);
}

async fn there_is_a_most_of_what_is_shown_and_none_of_what_appears(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let key = test.full_key(&organization).await;
    copies(&test, 1, MAX_BULK).await;
    let shown = preview(&test, &organization, BulkAction::Pause).await;
    assert_eq!(shown.keys.len(), MAX_BULK);
    // So many writes would take a while, and what they do is shown elsewhere.
    let edited = "UPDATE secret_key SET version = version + 1 WHERE id LIKE '10000000000%'";
    assert_eq!(test.place.run(edited).await, MAX_BULK as u64 - 1);
    copies(&test, MAX_BULK, MAX_BULK + 2).await;
    let all = KeyFilter::default();
    let engine = &test.engine;
    let too_many = engine
        .preview_bulk(&context(), &organization, (BulkAction::Pause, all))
        .await;
    assert!(matches!(too_many, Err(EngineError::Invalid(problems)) if problems[0].field == "filter"));
    let outcome = run(&test, &organization, shown.token.reveal()).await.unwrap();
    assert!(outcome.stopped_by.is_none());
    assert_eq!(done(&outcome), BTreeSet::from([key.key.record.id]));
    let named = |why: LeftOut| outcome.left_out.iter().filter(|(_, other)| *other == why).count();
    assert_eq!(
        (named(LeftOut::Appeared), named(LeftOut::Changed)),
        (2, MAX_BULK - 1)
    );
}

on_both_databases!(
    more_keys_than_a_chunk_are_ended_and_each_is_named,
    what_changed_since_the_dry_run_is_left_out_and_named,
    while_others_write_every_key_is_done_or_named,
    a_token_is_good_once_for_its_principal_and_for_a_quarter_of_an_hour,
    an_action_shows_only_the_keys_that_it_does_something_to,
    a_broken_seal_is_named_and_can_be_ended,
    there_is_a_most_of_what_is_shown_and_none_of_what_appears,
);
