//! Edits: what is not named stays, what is named is checked, and nothing gets longer or wider by itself.

use keyward_core::access::{Access, Permission};
use keyward_core::edit_key::{KeyEdit, Pickers};
use keyward_core::environment::Environment;
use keyward_core::level::PermissionLevel;
use keyward_core::new_key::CreationPolicy;
use keyward_core::record::Key;
use keyward_core::rotation::{RotationPolicy, ScheduleChoice};
use keyward_core::scope::{Scope, ScopeSet};
use keyward_core::time::DAY_MS;
use proptest::prelude::*;

use crate::given::{NOW, any_access, any_conditions, key, only, restricted, rule};

const OPEN: CreationPolicy = CreationPolicy {
    max_lifetime_ms: None,
    rotation: RotationPolicy::NONE,
};

fn fields(key: &Key, edit: &KeyEdit, policy: CreationPolicy) -> Vec<String> {
    let problems = edit.apply(key, policy, NOW).err().unwrap_or_default();
    problems.into_iter().map(|problem| problem.field).collect()
}

#[test]
fn every_problem_is_reported_at_once() {
    let edit = KeyEdit {
        name: Some(String::new()),
        description: Some("\u{0}".to_owned()),
        scopes: Some(ScopeSet::NONE),
        expires_at: Some(Some(NOW)),
        addresses: Some(only(&[])),
        schedule: Some(ScheduleChoice::Every(1)),
        ..KeyEdit::default()
    };
    assert_eq!(
        fields(&key(), &edit, OPEN),
        [
            "name",
            "description",
            "allowed_addresses",
            "expires_at",
            "scopes",
            "rotate_every"
        ]
    );
}

#[test]
fn an_expired_key_can_be_renamed_and_lives_on_only_if_somebody_says_so() {
    let mut expired = key();
    expired.record.conditions.expires_at = Some(NOW.plus_ms(-1));
    let rename = KeyEdit {
        name: Some("Another".to_owned()),
        ..KeyEdit::default()
    };
    let renamed = rename.apply(&expired, OPEN, NOW).unwrap();
    assert_eq!(renamed.record, expired.record);
    let revive = KeyEdit {
        expires_at: Some(Some(NOW.plus_ms(1))),
        ..KeyEdit::default()
    };
    let revived = revive.apply(&expired, OPEN, NOW).unwrap();
    assert!(!revived.record.conditions.is_over(NOW));
}

#[test]
fn the_longest_life_counts_from_the_creation() {
    let policy = CreationPolicy {
        max_lifetime_ms: Some(10 * DAY_MS),
        ..OPEN
    };
    let key = key();
    let until = |end| KeyEdit {
        expires_at: Some(end),
        ..KeyEdit::default()
    };
    let latest = key.created_at.plus_ms(10 * DAY_MS);
    assert_eq!(fields(&key, &until(Some(latest)), policy), [""; 0]);
    assert_eq!(
        fields(&key, &until(Some(latest.plus_ms(1))), policy),
        ["expires_at"]
    );
    let mut ending = key.clone();
    ending.record.conditions.expires_at = Some(latest);
    assert_eq!(
        fields(&ending, &until(None), policy),
        ["expires_at"],
        "nor can the end be taken off"
    );
}

#[test]
fn rules_come_and_go_with_the_level() {
    let rules = vec![rule(&["dataset.read"], &["*"])];
    let with_rules = KeyEdit {
        rules: Some(rules.clone()),
        ..KeyEdit::default()
    };
    let narrowed = with_rules.apply(&key(), OPEN, NOW).unwrap();
    assert_eq!(narrowed.record.access, restricted(ScopeSet::ALL, &rules));
    let strand = KeyEdit {
        scopes: Some(ScopeSet::NONE.with(Scope::Training)),
        ..KeyEdit::default()
    };
    assert_eq!(fields(&narrowed, &strand, OPEN), ["rules[0].operations[0]"]);
    let widen = KeyEdit {
        level: Some(PermissionLevel::Full),
        ..KeyEdit::default()
    };
    assert!(
        widen
            .apply(&narrowed, OPEN, NOW)
            .unwrap()
            .record
            .access
            .is_unnarrowed()
    );
    let both = KeyEdit {
        rules: Some(rules),
        ..widen
    };
    assert_eq!(fields(&narrowed, &both, OPEN), ["rules"]);
    let bare = KeyEdit {
        level: Some(PermissionLevel::Restricted),
        ..KeyEdit::default()
    };
    assert_eq!(fields(&key(), &bare, OPEN), ["rules"]);
}

#[test]
fn a_replacement_copies_and_is_not_wider_where_nothing_is_picked() {
    let mut old = key();
    old.environment = Some(Environment::Staging);
    old.record.access = Access::new(ScopeSet::NONE.with(Scope::Dataset), Permission::ReadOnly).unwrap();
    old.record.conditions.expires_at = Some(NOW.plus_ms(DAY_MS));
    let copy = |edit: &KeyEdit, pickers| edit.replacement(&old, (OPEN, pickers), NOW);
    let same = copy(&KeyEdit::default(), Pickers::Hidden).unwrap();
    assert_eq!(
        (&same.access, &same.conditions, same.environment),
        (&old.record.access, &old.record.conditions, old.environment)
    );
    let wider = KeyEdit {
        level: Some(PermissionLevel::Full),
        ..KeyEdit::default()
    };
    assert!(copy(&wider, Pickers::Shown).is_ok());
    assert_eq!(copy(&wider, Pickers::Hidden).unwrap_err()[0].field, "level");
    old.record.conditions.expires_at = Some(NOW);
    let over = KeyEdit::default().replacement(&old, (OPEN, Pickers::Shown), NOW);
    assert_eq!(over.unwrap_err()[0].field, "expires_at");
}

#[test]
fn where_nothing_is_picked_no_edit_widens() {
    let mut narrow = key();
    narrow.record.access = Access::new(ScopeSet::NONE.with(Scope::Dataset), Permission::ReadOnly).unwrap();
    let wider = KeyEdit {
        level: Some(PermissionLevel::Full),
        ..KeyEdit::default()
    };
    let edited = |edit: &KeyEdit, pickers| edit.apply_within(&narrow, (OPEN, pickers), NOW);
    assert!(edited(&wider, Pickers::Shown).is_ok());
    assert_eq!(edited(&wider, Pickers::Hidden).unwrap_err()[0].field, "level");
    let name = KeyEdit {
        name: Some("Another".to_owned()),
        ..KeyEdit::default()
    };
    assert!(edited(&name, Pickers::Hidden).is_ok());
}

proptest! {
    #[test]
    fn an_empty_edit_changes_nothing(access in any_access(), conditions in any_conditions()) {
        let mut key = key();
        key.record.access = access;
        key.record.conditions = conditions;
        prop_assert_eq!(KeyEdit::default().apply(&key, OPEN, NOW).unwrap(), key);
    }

    #[test]
    fn what_is_within_allows_nothing_more(one in any_access(), other in any_access()) {
        use keyward_core::operation::Operation;
        prop_assert!(one.is_within(&one) && one.is_within(&Access::UNNARROWED));
        if one.is_within(&other) {
            for operation in Operation::ALL {
                for resource in crate::given::every_resource() {
                    prop_assert!(one.permits(operation, resource).is_err() || other.permits(operation, resource).is_ok());
                }
            }
        }
    }
}
