use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use keyward_core::keyring::Keyring;
use keyward_core::refusal::Code;
use keyward_engine::clock::SystemRandom;
use keyward_engine::{EngineError, StartError};
use keyward_testkit::clock::START;
use keyward_testkit::engine::{Kind, TestEngine, context, draft, verify};
use keyward_testkit::on_both_databases;

/// A keyring file that can be told to fail.
#[derive(Default)]
struct File {
    text: Mutex<String>,
    saves: AtomicUsize,
    fails_at: Option<usize>,
}

impl File {
    fn save(&self, keyring: &Keyring) -> io::Result<()> {
        if Some(self.saves.fetch_add(1, Ordering::SeqCst) + 1) == self.fails_at {
            return Err(io::Error::other("the disk is full"));
        }
        *self.text.lock().unwrap() = keyring.to_text().to_string();
        Ok(())
    }

    fn text(&self) -> String {
        self.text.lock().unwrap().clone()
    }
}

async fn nobody_notices_a_rotation(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let mut keys = Vec::new();
    for _ in 0..130 {
        keys.push(test.full_key(&organization).await);
    }
    test.delete(&organization, keys[0].key.record.id).await.unwrap();
    let has_ended = Arc::new(AtomicBool::new(false));
    let making = tokio::spawn({
        let (engine, organization, has_ended) =
            (test.engine.clone(), organization.clone(), Arc::clone(&has_ended));
        async move {
            let mut made = Vec::new();
            while !has_ended.load(Ordering::SeqCst) {
                let draft = draft(
                    keyward_core::scope::ScopeSet::ALL,
                    keyward_core::access::Permission::Full,
                );
                made.push(
                    engine
                        .create_key(context(), organization.clone(), draft)
                        .await
                        .unwrap(),
                );
            }
            made
        }
    });
    let values: Vec<String> = keys
        .iter()
        .skip(1)
        .map(|key| key.value.reveal().to_owned())
        .collect();
    let asking = tokio::spawn({
        let (engine, has_ended) = (test.engine.clone(), Arc::clone(&has_ended));
        async move {
            while !has_ended.load(Ordering::SeqCst) {
                for value in &values {
                    engine.cache().clear();
                    assert_eq!(verify(&engine, value).await, Ok(()));
                }
            }
        }
    });
    let file = File::default();
    for round in 2..=4 {
        let rotated = test
            .engine
            .rotate_keyring(context(), &|keyring| file.save(keyring))
            .await
            .unwrap();
        assert_eq!((rotated.keyring.active, rotated.broken), (round, 0));
        assert_eq!(rotated.keyring.versions.len(), 1, "the old version is destroyed");
        assert!(rotated.resealed >= 130);
    }
    has_ended.store(true, Ordering::SeqCst);
    asking.await.unwrap();
    let made = making.await.unwrap();
    assert_eq!(test.engine.store().sealed_under().await.unwrap(), Some((4, 4)));
    let test = test.restart(&file.text()).await;
    for key in keys.iter().skip(1).chain(&made) {
        assert_eq!(test.verify(key.value.reveal()).await, Ok(()));
    }
    assert_eq!(test.verify(keys[0].value.reveal()).await, Err(Code::KeyDeleted));
}

async fn an_interrupted_rotation_is_finished_by_the_next(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let key = test.full_key(&organization).await;
    for fails_at in [1, 2] {
        let file = File {
            fails_at: Some(fails_at),
            ..File::default()
        };
        let stopped = test
            .engine
            .rotate_keyring(context(), &|keyring| file.save(keyring))
            .await;
        assert!(matches!(stopped, Err(EngineError::Conflict(_))));
        assert_eq!(test.verify_afresh(key.value.reveal()).await, Ok(()));
        if fails_at == 2 {
            // What is in the file opens everything.
            let held = Keyring::from_text(&file.text()).unwrap();
            assert_eq!(held.summary().versions.len(), 2);
        }
    }
    let file = File::default();
    let rotated = test
        .engine
        .rotate_keyring(context(), &|keyring| file.save(keyring))
        .await
        .unwrap();
    assert_eq!(rotated.keyring.versions.len(), 1);
    let test = test.restart(&file.text()).await;
    assert_eq!(test.verify(key.value.reveal()).await, Ok(()));
}

async fn a_broken_record_keeps_its_version_until_it_is_deleted(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let (sound, broken, spoilt) = (
        test.full_key(&organization).await,
        test.full_key(&organization).await,
        test.full_key(&organization).await,
    );
    let (broken, spoilt) = (broken.key.record.id, spoilt.key.record.id);
    test.place
        .run(&format!("UPDATE secret_key SET scopes = 1 WHERE id = '{broken}'"))
        .await;
    test.place
        .run(&format!(
            "UPDATE secret_key SET state = 'x' WHERE id = '{spoilt}'"
        ))
        .await;
    let file = File::default();
    let rotated = test
        .engine
        .rotate_keyring(context(), &|keyring| file.save(keyring))
        .await
        .unwrap();
    assert_eq!(
        (rotated.resealed, rotated.broken, rotated.keyring.versions.len()),
        (1, 2, 2)
    );
    test.delete(&organization, broken).await.unwrap();
    test.delete(&organization, spoilt).await.unwrap();
    let rotated = test
        .engine
        .rotate_keyring(context(), &|keyring| file.save(keyring))
        .await
        .unwrap();
    assert_eq!((rotated.broken, rotated.keyring.versions.len()), (0, 1));
    let test = test.restart(&file.text()).await;
    assert_eq!(test.verify(sound.value.reveal()).await, Ok(()));
}

async fn two_rotations_at_once_are_one(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let key = test.full_key(&organization).await;
    let file = File::default();
    let save = |keyring: &Keyring| file.save(keyring);
    let (one, two) = tokio::join!(
        test.engine.rotate_keyring(context(), &save),
        test.engine.rotate_keyring(context(), &save)
    );
    assert!(one.is_ok());
    assert!(matches!(two, Err(EngineError::Conflict(_))));
    let test = test.restart(&file.text()).await;
    assert_eq!(test.verify(key.value.reveal()).await, Ok(()));
}

async fn a_wrong_keyring_is_refused_at_the_start(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    test.full_key(&organization).await;
    let own = test.keyring_text.clone();
    test.engine.shut_down().await;

    let other = Keyring::generate(&mut SystemRandom, START).unwrap();
    let refused = test.start_another(&other.to_text()).await.map(drop);
    assert!(matches!(refused, Err(StartError::OtherKeyring { .. })));

    let other_text = other.to_text().to_string();
    let value = |text: &str| -> serde_json::Value { serde_json::from_str(text).unwrap() };
    let mut changed = value(&other_text);
    changed["id"] = value(&own)["id"].clone();
    let refused = test.start_another(&changed.to_string()).await.map(drop);
    assert!(matches!(refused, Err(StartError::ChangedKeyring(_))));

    let rotated = Keyring::from_text(&own)
        .unwrap()
        .with_new_version(&mut SystemRandom, START)
        .unwrap();
    let without_old = rotated.with_active_only().unwrap();
    let refused = test.start_another(&without_old.to_text()).await.map(drop);
    assert!(matches!(refused, Err(StartError::MissingVersion(1))));
    test.start_another(&own).await.unwrap().shut_down().await;
}

on_both_databases!(
    nobody_notices_a_rotation,
    an_interrupted_rotation_is_finished_by_the_next,
    a_broken_record_keeps_its_version_until_it_is_deleted,
    two_rotations_at_once_are_one,
    a_wrong_keyring_is_refused_at_the_start,
);
