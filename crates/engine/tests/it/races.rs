//! Fifty edits, rotations, pauses and deletions of one key at once end in one legal history.

use std::sync::Arc;

use keyward_core::edit_key::KeyEdit;
use keyward_core::refusal::Code;
use keyward_core::rotation::{RotationChoice, RotationMode};
use keyward_core::state::DeleteReason;
use keyward_engine::EngineError;
use keyward_engine::once::Once;
use keyward_testkit::engine::{Kind, TestEngine, context};
use keyward_testkit::on_both_databases;

/// What one of the fifty came to: the version that it made, if it made one, and a new value.
struct Came {
    what: usize,
    version: Option<i64>,
    value: Option<String>,
}

async fn fifty_at_once(kind: Kind, kinds: usize) -> (Arc<TestEngine>, Vec<Came>, String) {
    let test = Arc::new(TestEngine::new(kind).await);
    let organization = test.organization("org-1").await;
    let key = test.full_key(&organization).await;
    let id = key.key.record.id;
    let tasks = (0..50_usize).map(|number| {
        let (test, organization) = (Arc::clone(&test), organization.clone());
        tokio::spawn(async move {
            let engine = &test.engine;
            let what = number % kinds;
            let mut value = None;
            let written = match what {
                0 => {
                    let edit = KeyEdit {
                        name: Some(format!("Name {number}")),
                        ..KeyEdit::default()
                    };
                    engine.edit_key(context(), organization, id, (edit, None)).await
                }
                1 => {
                    let choice = (RotationChoice::Mode(RotationMode::Immediate), None);
                    let rotated = engine
                        .rotate_key(context(), (organization, id), choice, None)
                        .await;
                    rotated.map(|rotated| match rotated {
                        Once::Now(rotated) => {
                            value = Some(rotated.value.reveal().to_owned());
                            rotated.written
                        }
                        Once::Before(_) => panic!("there was no idempotency key"),
                    })
                }
                2 => engine.pause_key(context(), organization, id).await,
                3 => engine.resume_key(context(), organization, id).await,
                _ => {
                    engine
                        .delete_key(context(), organization, id, DeleteReason::Removed)
                        .await
                }
            };
            let version = match written {
                Ok(written) => written.is_changed.then_some(written.key.record.version),
                Err(EngineError::Conflict(_)) => None,
                Err(other) => panic!("{what}: {other}"),
            };
            Came { what, version, value }
        })
    });
    let came = futures_util::future::join_all(tasks).await;
    let came = came.into_iter().map(Result::unwrap).collect();
    (test, came, key.value.reveal().to_owned())
}

/// Every change made a version of its own, the row has the highest, and the trail tells each once.
async fn assert_one_history(test: &TestEngine, came: &[Came]) {
    let mut versions: Vec<i64> = came.iter().filter_map(|one| one.version).collect();
    versions.sort_unstable();
    let expected: Vec<i64> = (2..=versions.len() as i64 + 1).collect();
    assert_eq!(versions, expected);
    let row = test
        .place
        .texts(&["SELECT CAST(version AS TEXT) FROM secret_key"])
        .await;
    assert_eq!(row, [(versions.len() + 1).to_string()]);
    let entries = test.engine.store().list_audit("org-1", 0, 1_000).await.unwrap();
    assert!(entries.iter().all(keyward_store::audit::StoredEntry::is_intact));
    assert!(
        entries
            .windows(2)
            .all(|pair| pair[1].previous_hash == pair[0].hash && pair[1].sequence == pair[0].sequence + 1)
    );
    let changes = entries.iter().filter(|entry| entry.target.starts_with("key/"));
    assert_eq!(changes.count(), versions.len() + 1, "and the creation");
    let live = test
        .place
        .texts(&["SELECT CAST(COUNT(*) AS TEXT) FROM secret WHERE life <> 'ended'"])
        .await;
    assert_eq!(live, ["1"]);
}

async fn edits_rotations_and_pauses(kind: Kind) {
    let (test, came, first) = fifty_at_once(kind, 4).await;
    assert_one_history(&test, &came).await;
    let last_rotation = came
        .iter()
        .filter(|one| one.what == 1 && one.version.is_some())
        .max_by_key(|one| one.version)
        .unwrap();
    let organization = "org-1".parse().unwrap();
    let id = keyward_core::key_text::KeyText::parse(&first, test.engine.prefix())
        .unwrap()
        .id();
    test.engine.resume_key(context(), organization, id).await.unwrap();
    for one in &came {
        let Some(value) = &one.value else { continue };
        let is_last = one.version == last_rotation.version;
        let expected = if is_last { Ok(()) } else { Err(Code::KeySuperseded) };
        assert_eq!(test.verify(value).await, expected);
        assert_eq!(test.verify_afresh(value).await, expected);
    }
    assert_eq!(test.verify(&first).await, Err(Code::KeySuperseded));
}

async fn and_deletions(kind: Kind) {
    let (test, came, first) = fifty_at_once(kind, 5).await;
    assert_one_history(&test, &came).await;
    let deletions: Vec<_> = came
        .iter()
        .filter(|one| one.what == 4)
        .filter_map(|one| one.version)
        .collect();
    assert_eq!(deletions.len(), 1, "the others found it done");
    assert!(
        came.iter().all(|one| one.version <= Some(deletions[0])),
        "nothing after the end"
    );
    for value in came.iter().filter_map(|one| one.value.as_ref()).chain([&first]) {
        assert_eq!(test.verify(value).await, Err(Code::KeyDeleted));
        assert_eq!(test.verify_afresh(value).await, Err(Code::KeyDeleted));
    }
}

on_both_databases!(edits_rotations_and_pauses, and_deletions);
