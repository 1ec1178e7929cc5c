//! The shortcut of plain keys says yes where the decision does, and never where it does not.

use keyward_core::condition::{AddressRule, Conditions};
use keyward_core::decision::{OrganizationClaim, OrganizationState, Purpose, Question, decide};
use keyward_core::level::PermissionLevel;
use keyward_core::operation::Operation;
use keyward_core::plain::PlainKey;
use keyward_core::record::KeyRecord;
use keyward_core::state::SecretLife;
use keyward_core::time::Timestamp;
use proptest::prelude::*;
use proptest::sample::select;

use crate::given::{self, NOW, known, record};

fn every_purpose() -> Vec<Purpose<'static>> {
    let of = |operation| {
        let resources = given::every_resource().into_iter();
        resources.map(move |resource| Purpose::Perform { operation, resource })
    };
    Operation::ALL
        .into_iter()
        .flat_map(of)
        .chain([Purpose::Identify])
        .collect()
}

fn every_claim() -> Vec<OrganizationClaim<'static>> {
    let names = ["org-a", "org-b", ""];
    let headers = names.iter().map(|name| Some(name.as_bytes())).chain([None]);
    headers
        .flat_map(|header| {
            let paths = names.iter().map(|name| Some(*name)).chain([None]);
            paths.map(move |path| OrganizationClaim::Asked { header, path })
        })
        .chain([OrganizationClaim::NotAsked])
        .collect()
}

fn surely(record: &KeyRecord, life: SecretLife, state: OrganizationState, question: &Question<'_>) -> bool {
    PlainKey::of(record, life)
        .is_some_and(|plain| plain.surely_accepts((&record.organization_id, state), question))
}

proptest! {
    #[test]
    fn whoever_is_surely_accepted_is_accepted(
        record in given::any_record(),
        life in given::any_life(),
        state in select(OrganizationState::ALL.to_vec()),
        claim in select(every_claim()),
        now in given::any_moment(),
        address in given::any_address(),
    ) {
        for purpose in every_purpose() {
            let question = Question { claim, purpose, address, now, earliest: now };
            if surely(&record, life, state, &question) {
                prop_assert_eq!(decide(&record, life, state, &question), Ok(()), "{:?}", question);
            }
        }
    }

    #[test]
    fn a_plain_key_gives_its_record_back(record in given::any_record(), life in given::any_life(), more in 0_u64..1 << 18) {
        if let Some(plain) = PlainKey::of(&record, life) {
            let bits = plain.to_bits() | (more << PlainKey::BITS);
            let again = PlainKey::from_bits(bits);
            prop_assert_eq!(again, plain);
            let again = again.record(record.id, record.organization_id.clone(), record.version);
            prop_assert_eq!(again, Some(record));
        }
    }

    #[test]
    fn a_plain_key_is_surely_accepted_wherever_it_is_accepted(
        access in given::any_access(),
        claim in select(every_claim()),
        ms_left in 1_i64..1_000,
    ) {
        prop_assume!(access.permission().level() != PermissionLevel::Restricted);
        let conditions = Conditions {
            expires_at: Some(NOW.plus_ms(ms_left)),
            ..Conditions::NONE
        };
        let record = KeyRecord { access, conditions, organization_id: "org-a".parse().unwrap(), ..record() };
        for purpose in every_purpose() {
            let question = Question { claim, purpose, address: known("8.8.8.8"), now: NOW, earliest: NOW };
            let is_accepted = decide(&record, SecretLife::Current, OrganizationState::Open, &question).is_ok();
            prop_assert_eq!(
                surely(&record, SecretLife::Current, OrganizationState::Open, &question),
                is_accepted,
                "{:?}",
                question
            );
        }
    }
}

#[test]
fn an_expiry_is_held_to_the_millisecond() {
    let asked_at = |now: i64, end: i64| {
        let conditions = Conditions {
            expires_at: Some(Timestamp::from_unix_ms(end)),
            ..Conditions::NONE
        };
        let record = KeyRecord {
            conditions,
            ..record()
        };
        let now = Timestamp::from_unix_ms(now);
        let question = Question {
            claim: OrganizationClaim::NotAsked,
            purpose: Purpose::Identify,
            address: known("8.8.8.8"),
            now,
            earliest: now,
        };
        surely(&record, SecretLife::Current, OrganizationState::Open, &question)
    };
    let end = NOW.as_unix_ms() + 999;
    assert!(asked_at(end - 1, end));
    assert!(!asked_at(end, end));
    // Before 2020 and from 2089 on: the record decides.
    let (base, beyond) = (1_577_836_800_000, 1_577_836_800_000 + (1 << 41) - 1);
    assert!(asked_at(base - 1, base) && !asked_at(base - 2, base - 1));
    assert!(asked_at(beyond - 2, beyond - 1) && !asked_at(beyond - 2, beyond));
    for end in [i64::MIN, -1, 0, i64::MAX] {
        assert!(!asked_at(end.saturating_sub(1), end), "{end}");
    }
}

#[test]
fn a_condition_that_can_refuse_makes_a_key_not_plain() {
    let plain = |conditions: Conditions| {
        let record = KeyRecord {
            conditions,
            ..record()
        };
        PlainKey::of(&record, SecretLife::Current).is_some()
    };
    assert!(plain(Conditions::NONE));
    assert!(!plain(Conditions {
        not_before: Some(NOW),
        ..Conditions::NONE
    }));
    assert!(!plain(Conditions {
        addresses: AddressRule::Only(Vec::new()),
        ..Conditions::NONE
    }));
    assert!(!plain(Conditions {
        addresses: given::only(&["0.0.0.0/0"]),
        ..Conditions::NONE
    }));
}
