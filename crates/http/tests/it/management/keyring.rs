use std::io;

use keyward_core::keyring::Keyring;
use keyward_http::verify::PATH;
use serde_json::json;

use crate::support::{Setup, TestApp};

const ROTATE: &str = "/v1/keyring/rotate";

#[tokio::test]
async fn a_rotation_is_saved_twice_and_no_key_holder_notices() {
    let app = TestApp::new().await;
    let (kept, deleted) = (app.key().await, app.key().await);
    let id = deleted.key.record.id;
    app.test.delete(&app.organization, id).await.unwrap();

    let reply = app.admin().post(ROTATE, &json!({})).await;
    insta::assert_snapshot!(reply.shown());
    let saved: Vec<Keyring> = app
        .saved
        .lock()
        .unwrap()
        .iter()
        .map(|text| Keyring::from_text(text).unwrap())
        .collect();
    let versions: Vec<Vec<u32>> = saved
        .iter()
        .map(|keyring| {
            let versions = keyring.summary().versions;
            versions.iter().map(|(version, _)| *version).collect()
        })
        .collect();
    // First with the new version beside the old one, then, when nothing needs the old one any more, without it.
    assert_eq!(versions, [vec![1, 2], vec![2]]);
    assert_eq!(reply.json()["id"], saved[1].id());

    for round in 0..2 {
        assert_eq!(app.holder(&kept).get(PATH).await.status, 204, "{round}");
        let refused = app.holder(&deleted).get(PATH).await;
        assert_eq!(refused.problem(), (401, "key_deleted".to_owned()));
        app.test.engine.cache().clear();
    }
    let again = app.admin().post(ROTATE, &json!({})).await;
    assert_eq!(again.json()["active"], 3);
    assert_eq!(app.saved.lock().unwrap().len(), 4);
}

#[tokio::test]
async fn a_key_whose_record_was_changed_keeps_the_old_version() {
    let app = TestApp::new().await;
    let (sound, broken) = (app.key().await, app.key().await);
    let id = broken.key.record.id;
    app.test
        .place
        .run(&format!("UPDATE secret_key SET scopes = 1 WHERE id = '{id}'"))
        .await;
    let reply = app.admin().post(ROTATE, &json!({})).await.json();
    assert_eq!((&reply["resealed"], &reply["broken"]), (&json!(1), &json!(1)));
    assert_eq!(app.saved.lock().unwrap().len(), 1, "the old version is needed");
    assert_eq!(app.holder(&sound).get(PATH).await.status, 204);
}

#[tokio::test]
async fn a_keyring_that_cannot_be_saved_is_not_rotated() {
    assert_not_rotated(|| Err(io::Error::other("the disk is full")), (409, "conflict")).await;
}

/// Whatever fails in a handler is answered, and the server goes on.
#[tokio::test]
async fn a_defect_in_a_handler_is_answered() {
    assert_not_rotated(|| panic!("a defect"), (500, "internal")).await;
}

async fn assert_not_rotated(on_save: fn() -> io::Result<()>, (status, code): (u16, &str)) {
    let app = TestApp::with(Setup {
        on_save,
        ..Setup::default()
    })
    .await;
    let key = app.key().await;
    for _ in 0..2 {
        let refused = app.admin().post(ROTATE, &json!({})).await;
        assert_eq!(refused.problem(), (status, code.to_owned()));
        assert_eq!(app.test.engine.keyring().active(), 1);
        app.test.engine.cache().clear();
        assert_eq!(app.holder(&key).get(PATH).await.status, 204);
    }
}
