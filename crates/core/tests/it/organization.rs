//! Settings of organizations, and the secrets of invitations.

use keyward_core::contact::SecurityContact;
use keyward_core::environment::Environment;
use keyward_core::field::FieldProblems;
use keyward_core::invitation::{InvitationDigest, InvitationEnd, InvitationOver, new_invitation_secret};
use keyward_core::organization::{LIFETIME_BOUNDS_MS, MAX_CONTACTS, OrganizationSettings, RotationRule};
use keyward_core::time::DAY_MS;

use crate::given::{Broken, NOW, Seeded};

fn problems(settings: &OrganizationSettings) -> Vec<String> {
    let mut problems = FieldProblems::new();
    settings.check(&mut problems);
    let problems = problems.into_inner();
    problems.into_iter().map(|problem| problem.field).collect()
}

fn mail(number: usize) -> SecurityContact {
    SecurityContact::Email(format!("security{number}@example.com").parse().unwrap())
}

#[test]
fn an_organization_that_set_nothing_follows_the_presets() {
    let settings: OrganizationSettings = serde_json::from_str("{}").unwrap();
    assert_eq!(settings, OrganizationSettings::default());
    assert!(settings.advanced_access_control);
    assert_eq!(settings.creation_policy().max_lifetime_ms, None);
    for environment in Environment::ALL {
        assert_eq!(
            settings.rotate_every_ms(environment),
            environment.preset().rotate_every_ms
        );
    }
    assert_eq!(problems(&settings), [""; 0]);
}

#[test]
fn a_rotation_policy_takes_the_place_of_a_preset_and_may_have_no_date() {
    let settings = OrganizationSettings {
        rotation_policy: [
            (Environment::Production, RotationRule::AsNeeded),
            (Environment::Development, RotationRule::EveryDays(30)),
        ]
        .into(),
        ..OrganizationSettings::default()
    };
    assert_eq!(settings.rotate_every_ms(Environment::Production), None);
    assert_eq!(
        settings.rotate_every_ms(Environment::Development),
        Some(30 * DAY_MS)
    );
    assert_eq!(settings.rotate_every_ms(Environment::Staging), Some(180 * DAY_MS));
    let stored = serde_json::to_string(&settings).unwrap();
    assert!(
        stored.contains(r#""rotation_policy":{"production":null,"development":30}"#),
        "{stored}"
    );
    assert_eq!(
        serde_json::from_str::<OrganizationSettings>(&stored).unwrap(),
        settings
    );
}

#[test]
fn every_problem_of_settings_is_reported_at_once() {
    let settings = OrganizationSettings {
        max_key_lifetime_ms: Some(DAY_MS - 1),
        rotation_policy: [
            (Environment::Production, RotationRule::EveryDays(0)),
            (Environment::Staging, RotationRule::EveryDays(3_651)),
            (Environment::CiCd, RotationRule::EveryDays(3_650)),
        ]
        .into(),
        security_contacts: vec![mail(1), mail(2), mail(1)],
        usage_retention_days: 0,
        ..OrganizationSettings::default()
    };
    assert_eq!(
        problems(&settings),
        [
            "max_key_lifetime_ms",
            "rotation_policy.production",
            "rotation_policy.staging",
            "usage_retention_days",
            "security_contacts[2].address"
        ]
    );
}

#[test]
fn bounds_hold_on_both_sides() {
    let with_lifetime = |ms| {
        problems(&OrganizationSettings {
            max_key_lifetime_ms: Some(ms),
            ..OrganizationSettings::default()
        })
    };
    let (shortest, longest) = LIFETIME_BOUNDS_MS;
    for (ms, is_good) in [
        (shortest - 1, false),
        (shortest, true),
        (longest, true),
        (longest + 1, false),
        (i64::MIN, false),
        (i64::MAX, false),
    ] {
        assert_eq!(with_lifetime(ms).is_empty(), is_good, "{ms}");
    }
    let with_contacts = |count| {
        problems(&OrganizationSettings {
            security_contacts: (0..count).map(mail).collect(),
            ..OrganizationSettings::default()
        })
    };
    assert_eq!(with_contacts(MAX_CONTACTS), [""; 0]);
    assert_eq!(with_contacts(MAX_CONTACTS + 1), ["security_contacts"]);
}

#[test]
fn a_stored_contact_is_read_as_strictly_as_a_new_one() {
    let read = |text: &str| serde_json::from_str::<SecurityContact>(text);
    let hook = read(r#"{"kind":"webhook","address":"https://example.com/h"}"#).unwrap();
    assert_eq!(
        (hook.kind(), hook.address()),
        ("webhook", "https://example.com/h")
    );
    assert!(read(r#"{"kind":"webhook","address":"http://example.com/h"}"#).is_err());
    assert!(read(r#"{"kind":"email","address":"nobody"}"#).is_err());
}

#[test]
fn an_invitations_secret_is_drawn_kept_as_a_digest_and_cut_out_of_a_line() {
    let secret = new_invitation_secret(&mut Seeded(1)).unwrap();
    let other = new_invitation_secret(&mut Seeded(2)).unwrap();
    let text = secret.reveal();
    assert_eq!(text.len(), 64);
    let digest = InvitationDigest::of(text).unwrap();
    assert_eq!(InvitationDigest::of(text), Some(digest));
    assert_ne!(InvitationDigest::of(other.reveal()), Some(digest));
    assert!(new_invitation_secret(&mut Broken).is_err());
    let line = format!("GET /invitations/{text}");
    assert!(!keyward_core::mask::mask_keys(&line, "dtvi").contains(&text[8..]));
    for bad in [
        "",
        "abc",
        &text.to_uppercase(),
        &format!("{text}0"),
        &"é".repeat(32),
    ] {
        assert_eq!(InvitationDigest::of(bad), None, "{bad}");
    }
}

#[test]
fn an_invitation_is_good_until_its_millisecond_and_what_ended_it_is_named_first() {
    let end = NOW.plus_ms(10);
    assert_eq!(InvitationOver::at(end.plus_ms(-1), None, end), None);
    assert_eq!(InvitationOver::at(end, None, end), Some(InvitationOver::Expired));
    for (ended, over) in [
        (InvitationEnd::Accepted, InvitationOver::Accepted),
        (InvitationEnd::Revoked, InvitationOver::Revoked),
        (InvitationEnd::Replaced, InvitationOver::Replaced),
    ] {
        for now in [NOW, end] {
            assert_eq!(InvitationOver::at(now, Some(ended), end), Some(over));
        }
        assert_eq!(InvitationEnd::from_name(ended.name()), Some(ended));
    }
}
