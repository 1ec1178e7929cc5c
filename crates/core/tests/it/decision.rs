//! Every cell of the permission table, the order of the refusals, and the exact milliseconds.

use keyward_core::access::{Access, Permission};
use keyward_core::address::CallerAddress;
use keyward_core::condition::Conditions;
use keyward_core::decision::{OrganizationClaim, OrganizationState, Purpose, Question, decide, decide_rate};
use keyward_core::level::PermissionLevel;
use keyward_core::operation::Operation;
use keyward_core::rate::{RateStatus, Spending};
use keyward_core::record::KeyRecord;
use keyward_core::refusal::{Code, Refusal};
use keyward_core::resource::{Resource, ResourceType};
use keyward_core::rule::Rule;
use keyward_core::scope::{Scope, ScopeSet};
use keyward_core::state::{DeleteReason, KeyState, PauseReason, SecretLife};
use keyward_core::time::Timestamp;
use proptest::prelude::*;

use crate::given::{self, NOW, known, only, record, restricted, rule};

/// The table as people read it. Written down a second time on purpose: a cell that is wrong in `src/operation.rs`
/// fails here. `type` is a resource that the operation can concern, for the rules of a Restricted key.
#[rustfmt::skip]
const TABLE: [[&str; 7]; 17] = [
    // operation            scope         type                  Full   Read Only  Labeler Only  Restricted
    ["organization.read",   "any",        "-",                  "yes", "yes",     "yes",        "yes"],
    ["organization.write",  "all three",  "-",                  "yes", "no",      "no",         "no"],
    ["members.write",       "-",          "-",                  "no",  "no",      "no",         "no"],
    ["dataset.read",        "dataset",    "dataset",            "yes", "yes",     "yes",        "by rule"],
    ["dataset.export",      "dataset",    "dataset",            "yes", "yes",     "no",         "by rule"],
    ["dataset.write",       "dataset",    "dataset",            "yes", "no",      "no",         "by rule"],
    ["dataset.delete",      "dataset",    "dataset",            "yes", "no",      "no",         "by rule"],
    ["annotation.write",    "dataset",    "dataset",            "yes", "no",      "yes",        "by rule"],
    ["annotation.delete",   "dataset",    "dataset",            "yes", "no",      "no",         "by rule"],
    ["training.read",       "training",   "flow",               "yes", "yes",     "no",         "by rule"],
    ["training.write",      "training",   "training_project",   "yes", "no",      "no",         "by rule"],
    ["training.delete",     "training",   "run",                "yes", "no",      "no",         "by rule"],
    ["model.download",      "training",   "run",                "yes", "yes",     "no",         "by rule"],
    ["deployment.read",     "deployment", "deployment_project", "yes", "yes",     "no",         "by rule"],
    ["deployment.write",    "deployment", "deployment",         "yes", "no",      "no",         "by rule"],
    ["deployment.delete",   "deployment", "deployment_endpoint","yes", "no",      "no",         "by rule"],
    ["inference.run",       "deployment", "deployment",         "yes", "no",      "no",         "by rule"],
];

fn every_scope_set() -> impl Iterator<Item = ScopeSet> {
    (0..=7).map(|bits| ScopeSet::from_bits(bits).unwrap())
}

fn has_scope(need: &str, held: ScopeSet) -> bool {
    match need {
        "any" => held != ScopeSet::NONE,
        "all three" => held == ScopeSet::ALL,
        "-" => true,
        one => held.contains(Scope::from_name(one).unwrap()),
    }
}

/// Asks as the key's own organization does, from a known address, at [`NOW`].
fn ask(record: &KeyRecord, operation: Operation, resource: Resource<'_>) -> Result<(), Code> {
    let question = Question {
        claim: OrganizationClaim::Asked {
            header: Some(b"org-a"),
            path: Some("org-a"),
        },
        purpose: Purpose::Perform { operation, resource },
        address: known("192.0.2.1"),
        now: NOW,
        earliest: NOW,
    };
    decide(record, SecretLife::Current, OrganizationState::Open, &question).map_err(|refusal| refusal.code())
}

fn ask_access(access: &Access, operation: &str, resource: Resource<'_>) -> Result<(), Code> {
    let record = KeyRecord {
        access: access.clone(),
        ..record()
    };
    ask(&record, Operation::from_name(operation).unwrap(), resource)
}

fn item(type_name: &str) -> Resource<'static> {
    ResourceType::from_name(type_name).map_or(Resource::Organization, |of| Resource::Item(of, "x"))
}

#[test]
fn the_table_names_every_operation_once_in_its_order() {
    assert_eq!(TABLE.map(|row| row[0]), Operation::ALL.map(Operation::name));
}

#[test]
fn every_cell_of_a_fixed_level_with_every_scope_set() {
    let levels = [
        (3, Permission::Full),
        (4, Permission::ReadOnly),
        (5, Permission::LabelerOnly),
    ];
    let mut cells = 0;
    for (column, permission) in levels {
        for scopes in every_scope_set() {
            let is_possible = scopes != ScopeSet::NONE
                && (permission != Permission::LabelerOnly || scopes.contains(Scope::Dataset));
            let access = Access::new(scopes, permission.clone());
            assert_eq!(access.is_ok(), is_possible, "{permission:?} {scopes:?}");
            let Ok(access) = access else { continue };
            for row in TABLE {
                let expected = match (has_scope(row[1], scopes), row[column]) {
                    (false, _) => Err(Code::ScopeMissing),
                    (true, "yes") => Ok(()),
                    (true, _) => Err(Code::OperationNotPermitted),
                };
                let mut resources = vec![item(row[2])];
                if let Some(of) = ResourceType::from_name(row[2]) {
                    resources.extend([Resource::Collection(of), Resource::New(of)]);
                }
                for resource in resources {
                    let answer = ask_access(&access, row[0], resource);
                    assert_eq!(
                        answer, expected,
                        "{permission:?} {scopes:?} {} {resource}",
                        row[0]
                    );
                    cells += 1;
                }
            }
        }
    }
    assert_eq!(cells, (7 + 7 + 4) * (3 + 14 * 3));
}

#[test]
fn every_cell_of_a_restricted_key_with_every_scope_set() {
    for scopes in every_scope_set().filter(|scopes| *scopes != ScopeSet::NONE) {
        let within: Vec<[&str; 7]> = TABLE
            .into_iter()
            .filter(|row| row[6] == "by rule" && has_scope(row[1], scopes))
            .collect();
        let everything: Vec<Rule> = within.iter().map(|row| rule(&[row[0]], &["*"])).collect();
        for row in TABLE {
            let [operation, need, type_name, ..] = row;
            let all = restricted(scopes, &everything);
            let expected = match (has_scope(need, scopes), row[6]) {
                (false, _) => Err(Code::ScopeMissing),
                (true, "no") => Err(Code::OperationNotPermitted),
                (true, _) => Ok(()),
            };
            assert_eq!(
                ask_access(&all, operation, item(type_name)),
                expected,
                "{scopes:?} {operation}"
            );
            if row[6] != "by rule" || expected.is_err() {
                continue;
            }
            let of = ResourceType::from_name(type_name).unwrap();
            let family = format!("{}.*", operation.split_once('.').unwrap().0);
            let answers = |rule: Rule| {
                let access = restricted(scopes, &[rule]);
                [
                    Resource::Item(of, "x"),
                    Resource::Item(of, "y"),
                    Resource::New(of),
                    Resource::Collection(of),
                ]
                .map(|resource| ask_access(&access, operation, resource))
            };
            let no = Err(Code::ResourceNotPermitted);
            // A list of what is named one by one exists for reading alone.
            let collection = if operation.ends_with(".read") { Ok(()) } else { no };
            for named in [operation, family.as_str()] {
                assert_eq!(answers(rule(&[named], &["*"])), [Ok(()); 4], "{named} *");
                assert_eq!(
                    answers(rule(&[named], &[&format!("{type_name}/*")])),
                    [Ok(()); 4],
                    "{named} type/*"
                );
                let one = answers(rule(&[named], &[&format!("{type_name}/x")]));
                assert_eq!(one, [Ok(()), no, no, collection], "{named} type/x");
            }

            let others: Vec<Rule> = within
                .iter()
                .filter(|other| other[0] != operation)
                .map(|other| rule(&[other[0]], &["*"]))
                .collect();
            let answer = ask_access(&restricted(scopes, &others), operation, item(type_name));
            assert_eq!(
                answer,
                Err(Code::OperationNotPermitted),
                "{scopes:?} {operation} with every other rule"
            );
        }
    }
}

#[test]
fn operation_and_resource_of_different_rules_do_not_add_up() {
    let access = restricted(
        ScopeSet::ALL,
        &[
            rule(&["dataset.read"], &["dataset/a"]),
            rule(&["dataset.write"], &["dataset/b"]),
        ],
    );
    let at = |id| Resource::Item(ResourceType::Dataset, id);
    assert_eq!(ask_access(&access, "dataset.read", at("a")), Ok(()));
    assert_eq!(
        ask_access(&access, "dataset.read", at("b")),
        Err(Code::ResourceNotPermitted)
    );
    assert_eq!(
        ask_access(&access, "dataset.write", at("a")),
        Err(Code::ResourceNotPermitted)
    );
    assert_eq!(ask_access(&access, "dataset.write", at("b")), Ok(()));
}

#[test]
fn an_id_is_compared_whole_and_in_its_case() {
    let access = restricted(ScopeSet::ALL, &[rule(&["dataset.*"], &["dataset/ab"])]);
    for other in ["", "a", "abc", "AB", "ab ", "*", "ab/x", "..", "ab%00"] {
        let answer = ask_access(
            &access,
            "dataset.read",
            Resource::Item(ResourceType::Dataset, other),
        );
        assert_eq!(answer, Err(Code::ResourceNotPermitted), "{other:?}");
    }
    // The same id of another type is another resource.
    assert_eq!(
        ask_access(&access, "dataset.read", Resource::Item(ResourceType::Run, "ab")),
        Err(Code::ResourceNotPermitted)
    );
}

/// Everything that `decide` can refuse for, in the order of the answers.
const FAULTS: [Code; 12] = [
    Code::OrganizationMissing,
    Code::OrganizationMismatch,
    Code::KeyDeleted,
    Code::KeySuperseded,
    Code::KeyPaused,
    Code::KeyNotYetValid,
    Code::KeyExpired,
    Code::AddressNotAllowed,
    Code::ScopeMissing,
    Code::OperationNotPermitted,
    Code::ResourceNotPermitted,
    Code::OrganizationLocked,
];

/// The answer to a request with all of `faults` at once, or `None` where they exclude one another.
fn answer_with(faults: &[Code]) -> Option<Result<(), Code>> {
    let has = |code| faults.contains(&code);
    let header: Option<&[u8]> = if has(Code::OrganizationMissing) {
        None
    } else {
        Some(b"org-a")
    };
    let path = if has(Code::OrganizationMismatch) {
        "org-b"
    } else {
        "org-a"
    };

    let mut state = KeyState::Active;
    let mut organization = if has(Code::OrganizationLocked) {
        OrganizationState::Locked
    } else {
        OrganizationState::Open
    };
    if has(Code::KeyPaused) {
        state = KeyState::Paused {
            reason: PauseReason::Restored,
        };
    }
    if has(Code::KeyDeleted) {
        if has(Code::KeyPaused) {
            // A deleted key has no paused state beside it, but its organization may be stopped.
            organization = OrganizationState::Stopped;
        }
        state = KeyState::Deleted {
            reason: DeleteReason::Removed,
            at: NOW,
        };
    }
    let life = if has(Code::KeySuperseded) {
        SecretLife::Ended
    } else {
        SecretLife::Current
    };
    let conditions = Conditions {
        not_before: has(Code::KeyNotYetValid).then_some(NOW.plus_ms(1)),
        expires_at: has(Code::KeyExpired).then_some(NOW),
        addresses: if has(Code::AddressNotAllowed) {
            only(&["10.0.0.0/8"])
        } else {
            Conditions::NONE.addresses
        },
        rate_limit: None,
    };

    let dataset = ScopeSet::NONE.with(Scope::Dataset);
    let access = match (
        has(Code::ScopeMissing),
        has(Code::OperationNotPermitted),
        has(Code::ResourceNotPermitted),
    ) {
        (false, false, false) => Access::UNNARROWED,
        (true, false, false) => Access::new(dataset, Permission::Full).unwrap(),
        (false, true, false) => Access::new(ScopeSet::ALL, Permission::ReadOnly).unwrap(),
        (true, true, false) => Access::new(dataset, Permission::ReadOnly).unwrap(),
        (false, false, true) => restricted(ScopeSet::ALL, &[rule(&["training.write"], &["run/other"])]),
        // Rules name an operation or do not, and never one outside the scopes.
        (_, _, true) => return None,
    };
    let record = KeyRecord {
        state,
        conditions,
        access,
        ..record()
    };
    let question = Question {
        claim: OrganizationClaim::Asked {
            header,
            path: Some(path),
        },
        purpose: Purpose::Perform {
            operation: Operation::TrainingWrite,
            resource: Resource::Item(ResourceType::Run, "x"),
        },
        address: known("192.0.2.1"),
        now: NOW,
        earliest: NOW,
    };
    Some(decide(&record, life, organization, &question).map_err(|refusal| refusal.code()))
}

#[test]
fn of_everything_that_is_wrong_at_once_the_first_in_the_order_is_the_answer() {
    let mut tried = 0;
    for set in 0_u32..1 << FAULTS.len() {
        let faults: Vec<Code> = FAULTS
            .into_iter()
            .enumerate()
            .filter(|(at, _)| set & (1 << at) != 0)
            .map(|(_, code)| code)
            .collect();
        let Some(answer) = answer_with(&faults) else {
            continue;
        };
        assert_eq!(
            answer,
            faults.first().map_or(Ok(()), |first| Err(*first)),
            "{faults:?}"
        );
        tried += 1;
    }
    assert_eq!(tried, (1 << 9) * 5);
}

#[test]
fn the_codes_stand_in_the_order_of_the_answers() {
    let names = Code::ALL.map(Code::name);
    let order = [
        "bad_request",
        "key_missing",
        "key_malformed",
        "key_unknown",
        "organization_missing",
        "organization_mismatch",
        "key_deleted",
        "key_superseded",
        "key_paused",
        "key_not_yet_valid",
        "key_expired",
        "address_not_allowed",
        "scope_missing",
        "operation_not_permitted",
        "resource_not_permitted",
        "organization_locked",
        "rate_limited",
        "store_unavailable",
    ];
    assert_eq!(names, order);
    assert_eq!(FAULTS.as_slice(), &Code::ALL[4..16]);
}

/// Asks only who the key is, without naming an organization.
fn identify(
    record: &KeyRecord,
    life: SecretLife,
    organization: OrganizationState,
    now: Timestamp,
) -> Result<(), Refusal> {
    let question = Question {
        claim: OrganizationClaim::NotAsked,
        purpose: Purpose::Identify,
        address: CallerAddress::Unknown,
        now,
        earliest: now,
    };
    decide(record, life, organization, &question)
}

fn with_conditions(conditions: Conditions) -> KeyRecord {
    KeyRecord {
        conditions,
        ..record()
    }
}

#[test]
fn a_key_ends_at_the_very_millisecond_of_its_expiry() {
    let key = with_conditions(Conditions {
        expires_at: Some(NOW),
        ..Conditions::NONE
    });
    let at = |now| identify(&key, SecretLife::Current, OrganizationState::Open, now);
    assert_eq!(at(NOW.plus_ms(-1)), Ok(()));
    assert_eq!(at(NOW), Err(Refusal::KeyExpired { at: NOW }));
    assert_eq!(at(NOW.plus_ms(1)), Err(Refusal::KeyExpired { at: NOW }));
}

#[test]
fn a_key_begins_at_the_very_millisecond_of_not_before() {
    let key = with_conditions(Conditions {
        not_before: Some(NOW),
        ..Conditions::NONE
    });
    let at = |now| identify(&key, SecretLife::Current, OrganizationState::Open, now);
    assert_eq!(at(NOW.plus_ms(-1)), Err(Refusal::KeyNotYetValid { from: NOW }));
    assert_eq!(at(NOW), Ok(()));
}

#[test]
fn an_old_secret_ends_at_the_very_millisecond_of_its_overlap() {
    for life in [
        SecretLife::Until(NOW),
        SecretLife::Pending {
            until: NOW,
            grace_ms: 1,
        },
    ] {
        let at = |now| identify(&record(), life, OrganizationState::Open, now);
        assert_eq!(at(NOW.plus_ms(-1)), Ok(()), "the last moment");
        assert_eq!(at(NOW), Err(Refusal::KeySuperseded));
        assert_eq!(at(Timestamp::from_unix_ms(i64::MAX)), Err(Refusal::KeySuperseded));
    }
    let ended = identify(
        &record(),
        SecretLife::Ended,
        OrganizationState::Open,
        Timestamp::from_unix_ms(i64::MIN),
    );
    assert_eq!(ended, Err(Refusal::KeySuperseded));
}

/// Header and path of a request, and what is answered.
type Claimed = (Option<&'static [u8]>, Option<&'static str>, Result<(), Code>);

#[test]
fn the_organization_must_be_the_keys_own_in_header_and_path() {
    let (missing, mismatch) = (Err(Code::OrganizationMissing), Err(Code::OrganizationMismatch));
    #[rustfmt::skip]
    let cases: [Claimed; 15] = [
        // header             path            answer
        (Some(b"org-a"),      Some("org-a"),  Ok(())),
        (Some(b"org-a"),      None,           Ok(())),
        (None,                None,           missing),
        (None,                Some("org-a"),  missing),
        (None,                Some("org-b"),  missing),
        (Some(b""),           Some("org-a"),  missing),
        (Some(b""),           Some("org-b"),  missing),
        (Some(b"org-b"),      Some("org-a"),  mismatch),
        (Some(b"org-a"),      Some("org-b"),  mismatch),
        (Some(b"org-b"),      Some("org-b"),  mismatch),
        (Some(b"org-b"),      None,           mismatch),
        (Some(b"ORG-A"),      Some("org-a"),  mismatch),
        (Some(b"org-a,org-a"),Some("org-a"),  mismatch),
        (Some(b"org-a\xff"),  Some("org-a"),  mismatch),
        (Some(b"org-a"),      Some(""),       mismatch),
    ];
    for (header, path, expected) in cases {
        for purpose in [
            Purpose::Identify,
            Purpose::Perform {
                operation: Operation::OrganizationRead,
                resource: Resource::Organization,
            },
        ] {
            let claim = OrganizationClaim::Asked { header, path };
            let question = Question {
                claim,
                purpose,
                address: CallerAddress::Unknown,
                now: NOW,
                earliest: NOW,
            };
            let answer = decide(&record(), SecretLife::Current, OrganizationState::Open, &question);
            assert_eq!(
                answer.map_err(|refusal| refusal.code()),
                expected,
                "{header:?} {path:?}"
            );
        }
    }
    assert_eq!(
        identify(&record(), SecretLife::Current, OrganizationState::Open, NOW),
        Ok(())
    );
}

#[test]
fn a_refusal_for_the_organization_is_the_same_for_one_that_exists_and_one_that_does_not() {
    let of = |header: &'static [u8]| {
        let claim = OrganizationClaim::Asked {
            header: Some(header),
            path: None,
        };
        let question = Question {
            claim,
            purpose: Purpose::Identify,
            address: CallerAddress::Unknown,
            now: NOW,
            earliest: NOW,
        };
        decide(&record(), SecretLife::Current, OrganizationState::Open, &question)
            .unwrap_err()
            .sentence()
    };
    assert_eq!(of(b"org-b"), of(b"no such organization"));
    assert!(!of(b"org-b").contains("org-a"));
}

#[test]
fn a_locked_organization_refuses_last_and_a_stopped_one_as_if_the_key_were_paused() {
    let locked = identify(&record(), SecretLife::Current, OrganizationState::Locked, NOW);
    assert_eq!(locked, Err(Refusal::OrganizationLocked));
    let stopped = identify(&record(), SecretLife::Current, OrganizationState::Stopped, NOW);
    assert_eq!(
        stopped,
        Err(Refusal::KeyPaused {
            reason: PauseReason::Requested
        })
    );
    let both = identify(
        &record(),
        SecretLife::Current,
        OrganizationState::StoppedAndLocked,
        NOW,
    );
    assert_eq!(both, stopped);
    for state in OrganizationState::ALL {
        assert_eq!(OrganizationState::from_name(state.name()), Some(state));
    }
    assert_eq!(OrganizationState::from_name("Open"), None);
}

#[test]
fn a_stop_and_a_lock_are_taken_back_each_for_itself() {
    for state in OrganizationState::ALL {
        assert!(state.stopped().is_stopped() && state.locked().is_locked());
        assert_eq!(state.stopped().is_locked(), state.is_locked(), "{state:?}");
        assert_eq!(state.locked().is_stopped(), state.is_stopped(), "{state:?}");
        assert!(!state.resumed().is_stopped() && !state.unlocked().is_locked());
        assert_eq!(state.resumed().is_locked(), state.is_locked(), "{state:?}");
        assert_eq!(state.unlocked().is_stopped(), state.is_stopped(), "{state:?}");
    }
    assert_eq!(
        OrganizationState::StoppedAndLocked.resumed().unlocked(),
        OrganizationState::Open
    );
}

#[test]
fn an_address_list_refuses_what_it_does_not_name_and_whom_it_can_not_see() {
    let key = with_conditions(Conditions {
        addresses: only(&["10.0.0.0/8", "2001:db8::/32"]),
        ..Conditions::NONE
    });
    let from = |address| {
        let question = Question {
            claim: OrganizationClaim::NotAsked,
            purpose: Purpose::Identify,
            address,
            now: NOW,
            earliest: NOW,
        };
        decide(&key, SecretLife::Current, OrganizationState::Open, &question)
    };
    assert_eq!(from(known("10.1.2.3")), Ok(()));
    assert_eq!(from(known("2001:db8::9")), Ok(()));
    for outside in [
        known("11.0.0.0"),
        known("9.255.255.255"),
        known("2001:db9::"),
        CallerAddress::Unknown,
    ] {
        assert_eq!(from(outside), Err(Refusal::AddressNotAllowed), "{outside}");
    }
    // Without a list the address is of no concern.
    assert_eq!(
        identify(&record(), SecretLife::Current, OrganizationState::Open, NOW),
        Ok(())
    );
}

#[test]
fn the_reasons_and_moments_of_a_refusal_are_those_of_the_record() {
    for reason in DeleteReason::ALL.iter().copied() {
        let key = KeyRecord {
            state: KeyState::Deleted { reason, at: NOW },
            ..record()
        };
        let answer = identify(&key, SecretLife::Current, OrganizationState::Open, NOW);
        assert_eq!(answer, Err(Refusal::KeyDeleted { reason }));
    }
    for reason in PauseReason::ALL.iter().copied() {
        let key = KeyRecord {
            state: KeyState::Paused { reason },
            ..record()
        };
        let answer = identify(&key, SecretLife::Current, OrganizationState::Open, NOW);
        assert_eq!(answer, Err(Refusal::KeyPaused { reason }));
    }
    let key = KeyRecord {
        access: Access::new(ScopeSet::ALL, Permission::ReadOnly).unwrap(),
        ..record()
    };
    let question = Question {
        claim: OrganizationClaim::NotAsked,
        purpose: Purpose::Perform {
            operation: Operation::DatasetWrite,
            resource: Resource::New(ResourceType::Dataset),
        },
        address: CallerAddress::Unknown,
        now: NOW,
        earliest: NOW,
    };
    let answer = decide(&key, SecretLife::Current, OrganizationState::Open, &question);
    let expected = Refusal::OperationNotPermitted {
        operation: Operation::DatasetWrite,
        level: PermissionLevel::ReadOnly,
    };
    assert_eq!(answer, Err(expected));
}

#[test]
fn the_rate_is_asked_apart_and_says_when_to_come_back() {
    let status = RateStatus {
        limit: 5,
        period_seconds: 60,
        remaining: 0,
        reset_after_seconds: 60,
    };
    assert_eq!(decide_rate(Spending::Spent(status)), Ok(status));
    let exceeded = decide_rate(Spending::Exceeded {
        status,
        retry_after_seconds: 7,
    });
    assert_eq!(
        exceeded,
        Err(Refusal::RateLimited {
            retry_after_seconds: 7,
            status
        })
    );
}

proptest! {
    #[test]
    fn no_record_allows_an_operation_outside_its_scopes(record in given::any_record()) {
        for row in TABLE {
            let operation = Operation::from_name(row[0]).unwrap();
            for resource in given::every_resource() {
                if ask(&record, operation, resource).is_ok() {
                    prop_assert!(row[1] != "-" && has_scope(row[1], record.access.scopes()), "{} {resource}", row[0]);
                }
            }
        }
    }

    #[test]
    fn no_deleted_paused_or_expired_record_allows_anything(
        record in given::any_record(),
        life in given::any_life(),
        now in given::any_moment(),
        address in given::any_address(),
    ) {
        let conditions = &record.conditions;
        let is_dead = record.state != KeyState::Active
            || conditions.expires_at.is_some_and(|end| end <= now)
            || conditions.not_before.is_some_and(|from| from > now)
            || matches!(life, SecretLife::Until(end) | SecretLife::Pending { until: end, .. } if end <= now)
            || life == SecretLife::Ended;
        let mut purposes = vec![Purpose::Identify];
        for operation in Operation::ALL {
            purposes.extend(
                given::every_resource().into_iter().map(|resource| Purpose::Perform { operation, resource }),
            );
        }
        for organization in OrganizationState::ALL {
            for purpose in &purposes {
                let question =
                    Question { claim: OrganizationClaim::NotAsked, purpose: *purpose, address, now, earliest: now };
                let is_allowed = decide(&record, life, organization, &question).is_ok();
                prop_assert!(!is_allowed || (!is_dead && organization == OrganizationState::Open));
            }
        }
    }

    #[test]
    fn no_record_answers_for_another_organization(record in given::any_record(), other in "[a-zA-Z0-9-]{0,8}") {
        prop_assume!(other != record.organization_id.as_str());
        for path in [None, Some(other.as_str()), Some(record.organization_id.as_str())] {
            let claim = OrganizationClaim::Asked { header: Some(other.as_bytes()), path };
            let question =
                Question { claim, purpose: Purpose::Identify, address: known("10.1.2.3"), now: NOW, earliest: NOW };
            prop_assert!(decide(&record, SecretLife::Current, OrganizationState::Open, &question).is_err());
        }
    }
}
