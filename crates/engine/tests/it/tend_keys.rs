//! What time brings about: each reminder once, at its millisecond, and again only after a rotation.

use keyward_core::new_key::KeyDraft;
use keyward_core::rotation::{RotationChoice, RotationMode, ScheduleChoice};
use keyward_core::scope::ScopeSet;
use keyward_core::time::DAY_MS;
use keyward_testkit::engine::{Kind, Permission, TestEngine, context, draft};
use keyward_testkit::on_both_databases;

async fn every_due_date_is_told_of_three_times(kind: Kind) {
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
    test.clock.advance_ms(14 * DAY_MS - 1);
    assert_eq!(told().await.len(), 1);
    test.clock.advance_ms(1);
    assert_eq!(told().await[1..], ["key.rotation_due"]);
    test.clock.advance_ms(DAY_MS);
    assert_eq!(told().await[2..], ["key.rotation_overdue"]);
    test.engine
        .rotate_key(
            context(),
            (organization.clone(), key.key.record.id),
            (RotationChoice::Mode(RotationMode::Immediate), None),
            None,
        )
        .await
        .unwrap();
    assert_eq!(told().await.len(), 3);
    test.clock.advance_ms(6 * DAY_MS);
    assert_eq!(told().await[3..], ["key.rotation_due_soon"], "of the next date");
    test.delete(&organization, key.key.record.id).await.unwrap();
    test.clock.advance_ms(30 * DAY_MS);
    assert_eq!(told().await.len(), 4, "nothing of a deleted key");
}

on_both_databases!(every_due_date_is_told_of_three_times);
