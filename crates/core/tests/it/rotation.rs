//! Rotation at the exact millisecond: overlaps, grace, due dates.

use keyward_core::environment::Environment;
use keyward_core::rotation::{
    DUE_SOON_MS, DueStatus, MAX_OVERLAP_MS, RotationMode, RotationPolicy, ScheduleChoice, ScheduleOverride,
    UNUSED_SECRET_LIFE_MS, end_of_grace,
};
use keyward_core::state::SecretLife;
use keyward_core::time::{DAY_MS, Timestamp};
use proptest::prelude::*;

use crate::given::{NOW, key};

fn refused(mode: RotationMode, key_end: Option<Timestamp>) -> Option<String> {
    let problems = mode.check(key_end, NOW).err()?;
    assert_eq!(problems.len(), 1);
    Some(problems[0].field.clone())
}

#[test]
fn an_overlap_ends_in_the_future_within_thirty_days_and_with_the_key_at_the_latest() {
    let overlap = |ms| RotationMode::Overlap {
        until: NOW.plus_ms(ms),
    };
    let key_end = Some(NOW.plus_ms(1_000));
    for (mode, key_end, is_refused) in [
        (overlap(0), None, true),
        (overlap(1), None, false),
        (overlap(MAX_OVERLAP_MS), None, false),
        (overlap(MAX_OVERLAP_MS + 1), None, true),
        (overlap(1_000), key_end, false),
        (overlap(1_001), key_end, true),
    ] {
        assert_eq!(
            refused(mode, key_end),
            is_refused.then(|| "until".to_owned()),
            "{mode:?}"
        );
    }
    for (grace_ms, is_refused) in [
        (0, true),
        (1, false),
        (MAX_OVERLAP_MS, false),
        (MAX_OVERLAP_MS + 1, true),
    ] {
        let mode = RotationMode::OnFirstUse { grace_ms };
        assert_eq!(
            refused(mode, None),
            is_refused.then(|| "grace".to_owned()),
            "{grace_ms}"
        );
    }
    assert_eq!(refused(RotationMode::Immediate, key_end), None);
}

#[test]
fn a_mode_says_what_both_secrets_become() {
    assert_eq!(
        RotationMode::Immediate.lives(NOW),
        (SecretLife::Current, SecretLife::Ended)
    );
    let until = NOW.plus_ms(5);
    assert_eq!(
        RotationMode::Overlap { until }.lives(NOW),
        (SecretLife::Current, SecretLife::Until(until))
    );
    let pending = SecretLife::Pending {
        until: NOW.plus_ms(UNUSED_SECRET_LIFE_MS),
        grace_ms: 7,
    };
    assert_eq!(
        RotationMode::OnFirstUse { grace_ms: 7 }.lives(NOW),
        (pending, SecretLife::Current)
    );
}

#[test]
fn due_dates_change_their_status_at_the_millisecond() {
    let status = |ms_before: i64| DueStatus::of(Some(NOW.plus_ms(ms_before)), NOW);
    assert_eq!(status(DUE_SOON_MS + 1), DueStatus::NotDue);
    assert_eq!(status(DUE_SOON_MS), DueStatus::DueSoon);
    assert_eq!(status(1), DueStatus::DueSoon);
    assert_eq!(status(0), DueStatus::Due);
    assert_eq!(status(1 - DAY_MS), DueStatus::Due);
    assert_eq!(status(-DAY_MS), DueStatus::Overdue);
    assert_eq!(DueStatus::of(None, NOW), DueStatus::NotDue);
}

#[test]
fn a_key_is_due_a_period_after_its_last_rotation_and_never_once_it_ended() {
    let mut key = key();
    key.rotate_every_ms = Some(2 * DAY_MS);
    assert_eq!(key.rotation_due_at(), Some(NOW.plus_ms(DAY_MS)), "made a day ago");
    key.rotated_at = Some(NOW);
    assert_eq!(key.rotation_due_at(), Some(NOW.plus_ms(2 * DAY_MS)));
    let later = NOW.plus_ms(9 * DAY_MS);
    assert_eq!(key.due_status(later), DueStatus::Overdue);
    key.record.conditions.expires_at = Some(later);
    assert_eq!(key.due_status(later), DueStatus::NotDue);
}

#[test]
fn an_organization_may_propose_other_schedules_than_the_presets() {
    let preset = RotationPolicy::NONE;
    let own = preset
        .with(Environment::Production, Some(ScheduleOverride::Every(DAY_MS)))
        .with(Environment::Staging, Some(ScheduleOverride::AsNeeded));
    let proposed =
        |policy: RotationPolicy, environment| policy.rotate_every_ms(ScheduleChoice::Proposed, environment);
    for (environment, days, own_ms) in [
        (Some(Environment::Production), Some(90), Some(DAY_MS)),
        (Some(Environment::Staging), Some(180), None),
        (Some(Environment::Development), None, None),
        (Some(Environment::CiCd), Some(90), Some(90 * DAY_MS)),
        (None, None, None),
    ] {
        assert_eq!(proposed(preset, environment), days.map(|days: i64| days * DAY_MS));
        assert_eq!(proposed(own, environment), own_ms);
        assert_eq!(own.rotate_every_ms(ScheduleChoice::AsNeeded, environment), None);
        assert_eq!(
            own.rotate_every_ms(ScheduleChoice::Every(5), environment),
            Some(5)
        );
    }
}

proptest! {
    #[test]
    fn grace_never_outlasts_the_key(grace_ms in -10_i64..MAX_OVERLAP_MS * 2, key_ms in prop::option::of(-5_i64..MAX_OVERLAP_MS)) {
        let key_end = key_ms.map(|ms| NOW.plus_ms(ms));
        let end = end_of_grace(NOW, grace_ms, key_end);
        prop_assert!(key_end.is_none_or(|key_end| end <= key_end));
        prop_assert!(end <= NOW.plus_ms(MAX_OVERLAP_MS));
    }

    #[test]
    fn the_dates_of_a_status_are_those_that_have_it(ms in -3 * DAY_MS..20 * DAY_MS, step in -2_i64..=2) {
        for edge in [ms, DUE_SOON_MS + step, step, step - DAY_MS] {
            let due_at = NOW.plus_ms(edge);
            for status in DueStatus::ALL {
                let (from, to) = status.dates(NOW);
                let is_within = from.is_none_or(|from| due_at >= from) && to.is_none_or(|to| due_at < to);
                prop_assert_eq!(is_within, DueStatus::of(Some(due_at), NOW) == status, "{:?} {}", status, edge);
            }
        }
    }
}
