//! Looking up by what people have of a key: its value, the beginning, a hint, the end, the id.

use keyward_core::ids::KeyId;
use keyward_core::rotation::{RotationChoice, RotationMode};
use keyward_engine::once::Once;
use keyward_testkit::engine::{Kind, TestEngine, context};
use keyward_testkit::forgery::with_other_secret;
use keyward_testkit::on_both_databases;

async fn a_key_is_found_by_what_people_have_of_it(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let other = test.organization("org-2").await;
    let key = test.full_key(&organization).await;
    let neighbour = test.full_key(&organization).await;
    test.full_key(&other).await;
    let (id, value) = (key.key.record.id, key.value.reveal());
    let found = async |text: &str| {
        let found = test.engine.look_up_keys(&organization, text).await.unwrap();
        found.iter().map(|key| key.record.id).collect::<Vec<KeyId>>()
    };
    let tail = format!("...{}", &value[99..]);
    for text in [
        value,
        &format!("\n'{value}' "),
        &with_other_secret(value),
        &value[..11],
        &value[..12],
        &key.key.hint,
        id.as_str(),
        &id.as_str().to_uppercase(),
    ] {
        assert_eq!(found(text).await, [id], "{} characters", text.len());
    }
    assert!(found(&tail).await.contains(&id));
    // Capitals are told apart, on either database.
    let (lead, body) = value[..11].split_at(5);
    let swapped: String = body
        .chars()
        .map(|c| {
            if c.is_ascii_lowercase() {
                c.to_ascii_uppercase()
            } else {
                c.to_ascii_lowercase()
            }
        })
        .collect();
    let crossed = format!("{}{tail}", &neighbour.value.reveal()[..11]);
    for text in [
        &format!("{lead}{swapped}"),
        &crossed,
        "",
        "...",
        "dtvi_",
        &value[..10],
        "%",
        "_",
    ] {
        assert_eq!(found(text).await, [], "{text}");
    }
    let elsewhere = test.engine.look_up_keys(&other, value).await.unwrap();
    assert!(elsewhere.is_empty());
    let nowhere = test.engine.look_up_keys(&"org-9".parse().unwrap(), value).await;
    assert!(nowhere.is_err());
}

async fn after_a_rotation_and_after_its_end_it_is_still_found(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let key = test.full_key(&organization).await;
    let id = key.key.record.id;
    let choice = (RotationChoice::Mode(RotationMode::Immediate), None);
    let rotating = test
        .engine
        .rotate_key(context(), (organization.clone(), id), choice, None);
    let Once::Now(rotated) = rotating.await.unwrap() else {
        panic!("there was no idempotency key")
    };
    test.delete(&organization, id).await.unwrap();
    for text in [
        key.value.reveal(),
        rotated.value.reveal(),
        &key.value.reveal()[..11],
        &rotated.written.key.hint,
    ] {
        let found = test.engine.look_up_keys(&organization, text).await.unwrap();
        assert_eq!(found.len(), 1, "{} characters", text.len());
        assert!(found[0].record.state.is_deleted());
    }
}

on_both_databases!(
    a_key_is_found_by_what_people_have_of_it,
    after_a_rotation_and_after_its_end_it_is_still_found,
);
