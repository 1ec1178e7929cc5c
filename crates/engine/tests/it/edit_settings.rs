use keyward_core::access::Permission;
use keyward_core::environment::Environment;
use keyward_core::organization::RotationRule;
use keyward_core::record::Actor;
use keyward_core::role::Role;
use keyward_core::scope::ScopeSet;
use keyward_core::time::DAY_MS;
use keyward_engine::EngineError;
use keyward_engine::context::Context;
use keyward_engine::edit_settings::SettingsEdit;
use keyward_testkit::engine::{Kind, TestEngine, context, draft};
use keyward_testkit::on_both_databases;
use serde_json::json;

use crate::people::{acting, by, first_owner, is_forbidden, member, trail};

fn named(name: &str) -> SettingsEdit {
    SettingsEdit {
        name: Some(name.to_owned()),
        ..SettingsEdit::default()
    }
}

fn lifetime(ms: Option<i64>) -> SettingsEdit {
    SettingsEdit {
        max_key_lifetime_ms: Some(ms),
        ..SettingsEdit::default()
    }
}

async fn settings_are_edited_field_by_field_and_told_before_and_after(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let contact = r#"[{"kind":"email","address":"security@example.com"},
        {"kind":"webhook","address":"https://example.com/secret-path"}]"#;
    let edit = SettingsEdit {
        name: Some("Müller & Töchter".to_owned()),
        advanced_access_control: Some(false),
        max_key_lifetime_ms: Some(Some(90 * DAY_MS)),
        rotation_policy: Some([(Environment::Production, RotationRule::EveryDays(30))].into()),
        security_contacts: Some(serde_json::from_str(contact).unwrap()),
        usage_retention_days: None,
        second_factor_required: Some(true),
    };
    let edited = test
        .engine
        .edit_settings(&context(), &organization, Some(1), edit.clone())
        .await
        .unwrap()
        .organization;
    assert_eq!((edited.version, edited.name.as_str()), (2, "Müller & Töchter"));
    assert_eq!(
        test.engine.show_organization(&organization).await.unwrap(),
        edited
    );

    // What is asked for is there: no version, no entry.
    let same = test
        .engine
        .edit_settings(&context(), &organization, None, edit)
        .await;
    assert_eq!(same.unwrap().organization, edited);
    // A field alone leaves the others.
    let lifted = test
        .engine
        .edit_settings(&context(), &organization, None, lifetime(None))
        .await
        .unwrap()
        .organization;
    assert_eq!(lifted.settings.max_key_lifetime_ms, None);
    assert_eq!(
        lifted.settings.security_contacts,
        edited.settings.security_contacts
    );
    assert!(!lifted.settings.advanced_access_control);

    let trail = trail(&test, "org-1").await;
    assert_eq!(trail.len(), 3);
    let (action, _, facts) = &trail[1];
    assert_eq!(action, "organization.edit_settings");
    assert_eq!(
        facts["max_key_lifetime_ms"],
        json!({ "before": null, "after": 90 * DAY_MS })
    );
    assert_eq!(
        facts["advanced_access_control"],
        json!({ "before": true, "after": false })
    );
    assert_eq!(
        facts["security_contacts"]["after"],
        json!({ "email": 1, "webhook": 1 })
    );
    let text = facts.to_string();
    assert!(!text.contains("security@") && !text.contains("secret-path") && !text.contains("ller"));
    let entry = &test.engine.store().list_audit("org-1", 1, 1).await.unwrap()[0];
    assert!(entry.personal.contains("security@example.com") && entry.personal.contains("secret-path"));
    assert_eq!(
        trail[2].2,
        json!({ "max_key_lifetime_ms": { "before": 90 * DAY_MS, "after": null } })
    );
}

async fn an_edit_of_what_somebody_else_changed_is_refused_with_the_version_that_is_there(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let edits = (0..8).map(|number| {
        let (engine, organization) = (test.engine.clone(), organization.clone());
        tokio::spawn(async move {
            engine
                .edit_settings(
                    &context(),
                    &organization,
                    Some(1),
                    named(&format!("name {number}")),
                )
                .await
        })
    });
    let mut won = Vec::new();
    for edit in edits.collect::<Vec<_>>() {
        match edit.await.unwrap() {
            Ok(organization) => won.push(organization),
            Err(EngineError::Stale { current_version }) => assert_eq!(current_version, 2),
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(won.len(), 1, "one of those who read version 1 wins");
    assert_eq!(
        test.engine.show_organization(&organization).await.unwrap(),
        won[0].organization
    );
}

async fn every_problem_comes_at_once_and_nothing_is_changed(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let before = test.engine.show_organization(&organization).await.unwrap();
    let bad = SettingsEdit {
        rotation_policy: Some([(Environment::CiCd, RotationRule::EveryDays(0))].into()),
        ..SettingsEdit {
            name: Some(" ".to_owned()),
            ..lifetime(Some(1))
        }
    };
    let refused = test
        .engine
        .edit_settings(&context(), &organization, None, bad)
        .await;
    let Err(EngineError::Invalid(problems)) = refused else {
        panic!("{refused:?}")
    };
    let fields: Vec<_> = problems.iter().map(|problem| problem.field.as_str()).collect();
    assert_eq!(fields, ["name", "max_key_lifetime_ms", "rotation_policy.ci_cd"]);
    assert_eq!(
        test.engine.show_organization(&organization).await.unwrap(),
        before
    );
    let nowhere = "org-9".parse().unwrap();
    let refused = test
        .engine
        .edit_settings(&context(), &nowhere, None, named("x"))
        .await;
    assert!(matches!(refused, Err(EngineError::NotFound("organization"))));
}

async fn only_whoever_manages_the_organization_edits_its_settings(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let admin = member(&test, &organization, "admin@example.com", Role::Admin).await;
    let plain = member(&test, &organization, "member@example.com", Role::Member).await;
    let other = test.organization("org-2").await;
    let stranger = member(&test, &other, "stranger@example.com", Role::Owner).await;
    let key = test.full_key(&organization).await;

    let edit = |context| {
        let (engine, organization) = (test.engine.clone(), organization.clone());
        async move {
            engine
                .edit_settings(&context, &organization, None, named("x"))
                .await
        }
    };
    assert!(is_forbidden(edit(by(&plain)).await));
    assert!(is_forbidden(edit(acting(Actor::Key(key.key.record.id))).await));
    let refused = edit(by(&stranger)).await;
    assert!(matches!(refused, Err(EngineError::NotFound("organization"))));
    assert_eq!(edit(by(&admin)).await.unwrap().organization.name, "x");
}

/// R54 and the longest life: they bind new keys to the millisecond, and leave those that are there alone.
async fn the_longest_life_binds_new_keys_only(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let endless = test.full_key(&organization).await;
    test.engine
        .edit_settings(&context(), &organization, None, lifetime(Some(DAY_MS)))
        .await
        .unwrap();
    let ending = |after_ms: Option<i64>| {
        let mut draft = draft(ScopeSet::ALL, Permission::Full);
        draft.conditions.expires_at = after_ms.map(|ms| test.engine.now().plus_ms(ms));
        test.engine.create_key(context(), organization.clone(), draft)
    };
    for too_long in [None, Some(DAY_MS + 1)] {
        let refused = ending(too_long).await;
        let Err(EngineError::Invalid(problems)) = refused else {
            panic!("{too_long:?}")
        };
        assert_eq!(problems[0].field, "expires_at");
        assert!(problems[0].message.contains("1 day"));
    }
    let key = ending(Some(DAY_MS)).await.unwrap();
    assert_eq!(test.verify(key.value.reveal()).await, Ok(()));
    assert_eq!(test.verify_afresh(endless.value.reveal()).await, Ok(()));
    test.engine
        .edit_settings(&context(), &organization, None, lifetime(None))
        .await
        .unwrap();
    ending(None).await.unwrap();
}

/// More is asked for by whoever manages; less only by whoever answers for the whole.
async fn only_an_owner_lets_managers_in_without_a_second_factor(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let owner = first_owner(&test, &organization).await;
    let admin = member(&test, &organization, "admin@example.com", Role::Admin).await;
    let edit = async |by: &Context, is_required| {
        let edit = SettingsEdit {
            second_factor_required: Some(is_required),
            ..SettingsEdit::default()
        };
        let edited = test.engine.edit_settings(by, &organization, None, edit).await;
        edited.map(|edited| edited.organization.settings.second_factor_required)
    };
    assert!(edit(&by(&admin), true).await.unwrap());
    assert!(is_forbidden(edit(&by(&admin), false).await));
    assert!(edit(&by(&admin), true).await.unwrap());
    assert!(!edit(&by(&owner), false).await.unwrap());
}

on_both_databases!(
    settings_are_edited_field_by_field_and_told_before_and_after,
    an_edit_of_what_somebody_else_changed_is_refused_with_the_version_that_is_there,
    every_problem_comes_at_once_and_nothing_is_changed,
    only_whoever_manages_the_organization_edits_its_settings,
    the_longest_life_binds_new_keys_only,
    only_an_owner_lets_managers_in_without_a_second_factor,
);
