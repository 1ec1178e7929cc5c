//! What time brings about: each reminder once, at its millisecond, and again only after a rotation.

use keyward_core::condition::Conditions;
use keyward_core::new_key::KeyDraft;
use keyward_core::rotation::{RotationChoice, RotationMode, ScheduleChoice};
use keyward_core::scope::ScopeSet;
use keyward_core::time::DAY_MS;
use keyward_testkit::engine::{Kind, Permission, TestEngine, context, draft};
use keyward_testkit::on_both_databases;

async fn every_due_date_is_told_of_four_times(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let every_20_days = KeyDraft {
        schedule: ScheduleChoice::Every(20 * DAY_MS),
        ..draft(ScopeSet::ALL, Permission::Full)
    };
    let key = test
        .engine
        .create_key(context(), organization.clone(), every_20_days)
        .await
        .unwrap();
    test.full_key(&organization).await;
    let told = async || {
        test.engine.tend_keys(&context()).await.unwrap();
        let kinds = ["SELECT kind FROM outbox WHERE kind LIKE 'key.rotation%' ORDER BY number"];
        test.place.texts(&kinds).await
    };
    test.clock.advance_ms(6 * DAY_MS - 1);
    assert!(told().await.is_empty());
    test.clock.advance_ms(1);
    assert_eq!(told().await, ["key.rotation_due_soon"]);
    assert_eq!(told().await.len(), 1, "once");
    test.clock.advance_ms(11 * DAY_MS - 1);
    assert_eq!(told().await.len(), 1);
    test.clock.advance_ms(1);
    assert_eq!(told().await[1..], ["key.rotation_due_in_3_days"]);
    test.clock.advance_ms(3 * DAY_MS - 1);
    assert_eq!(told().await.len(), 2);
    test.clock.advance_ms(1);
    assert_eq!(told().await[2..], ["key.rotation_due"]);
    test.clock.advance_ms(DAY_MS);
    assert_eq!(told().await[3..], ["key.rotation_overdue"]);
    test.engine
        .rotate_key(
            context(),
            (organization.clone(), key.key.record.id),
            (RotationChoice::Mode(RotationMode::Immediate), None),
            None,
        )
        .await
        .unwrap();
    assert_eq!(told().await.len(), 4);
    test.clock.advance_ms(6 * DAY_MS);
    assert_eq!(told().await[4..], ["key.rotation_due_soon"], "of the next date");
    test.delete(&organization, key.key.record.id).await.unwrap();
    test.clock.advance_ms(30 * DAY_MS);
    assert_eq!(told().await.len(), 5, "nothing of a deleted key");
}

async fn every_expiry_is_told_of_three_times_and_again_after_it_was_moved(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let ending_in = async |ms: i64| {
        let draft = KeyDraft {
            conditions: Conditions {
                expires_at: Some(test.engine.now().plus_ms(ms)),
                ..Conditions::NONE
            },
            ..draft(ScopeSet::ALL, Permission::Full)
        };
        let made = test
            .engine
            .create_key(context(), organization.clone(), draft)
            .await;
        made.unwrap().key.record
    };
    ending_in(20 * DAY_MS).await;
    let told = async || {
        test.engine.tend_keys(&context()).await.unwrap();
        let kinds = ["SELECT kind FROM outbox WHERE kind LIKE 'key.expire%' ORDER BY number"];
        test.place.texts(&kinds).await
    };
    test.clock.advance_ms(6 * DAY_MS - 1);
    assert!(told().await.is_empty());
    test.clock.advance_ms(1);
    assert_eq!(told().await, ["key.expires_soon"]);
    test.clock.advance_ms(11 * DAY_MS);
    assert_eq!(told().await[1..], ["key.expires_in_3_days"]);
    test.clock.advance_ms(3 * DAY_MS - 1);
    assert_eq!(told().await.len(), 2);
    test.clock.advance_ms(1);
    assert_eq!(told().await[2..], ["key.expired"]);
    assert_eq!(told().await.len(), 3, "once");
    // Somebody moves the date.
    let sql = "UPDATE secret_key SET expires_at = expires_at + 864000000, expiry_told = 0";
    test.place.run(sql).await;
    assert_eq!(told().await[3..], ["key.expires_soon"]);
    ending_in(60_000).await;
    assert_eq!(told().await.len(), 4, "a short life is no news");
    test.clock.advance_ms(60_000);
    assert_eq!(told().await[4..], ["key.expired"]);
}

on_both_databases!(
    every_due_date_is_told_of_four_times,
    every_expiry_is_told_of_three_times_and_again_after_it_was_moved,
);
