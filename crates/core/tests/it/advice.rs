//! Least privilege: what is advised allows all that was used, nothing new, and no narrower choice would do.

use keyward_core::access::{Access, Permission};
use keyward_core::advice::{advise, allowed_by};
use keyward_core::operation::{Operation, ScopeNeed};
use keyward_core::resource::{Resource, ResourceType};
use keyward_core::rule::Rule;
use keyward_core::scope::{Scope, ScopeSet};
use proptest::prelude::*;

const DATASET: ScopeSet = ScopeSet::NONE.with(Scope::Dataset);

fn rules(json: &str) -> Permission {
    Permission::Restricted(serde_json::from_str::<Vec<Rule>>(json).unwrap())
}

fn access(scopes: ScopeSet, permission: Permission) -> Access {
    Access::new(scopes, permission).unwrap()
}

#[test]
fn a_reader_needs_no_more_than_read_only_on_its_scope() {
    let advice = advise(
        &Access::UNNARROWED,
        &[Operation::DatasetRead, Operation::DatasetExport],
    );
    assert_eq!(advice.level, Some(access(DATASET, Permission::ReadOnly)));
    assert_eq!(advice.rules, None, "the level allows no more than was used");
    assert!(advice.unused.contains(&Operation::InferenceRun));
    assert_eq!(advice.used, [Operation::DatasetRead, Operation::DatasetExport]);
}

#[test]
fn a_labeler_is_found_and_what_a_level_allows_too_much_is_said_by_rules() {
    let labels = [Operation::DatasetRead, Operation::AnnotationWrite];
    let advice = advise(&Access::UNNARROWED, &labels);
    assert_eq!(advice.level, Some(access(DATASET, Permission::LabelerOnly)));
    assert_eq!(advice.rules, None);

    let advice = advise(&Access::UNNARROWED, &[Operation::InferenceRun]);
    let deployment = ScopeSet::NONE.with(Scope::Deployment);
    assert_eq!(advice.level, Some(access(deployment, Permission::Full)));
    let tight =
        rules(r#"[{"operations":["inference.run"],"resources":["deployment/*","deployment_endpoint/*"]}]"#);
    assert_eq!(advice.least(), Some(&access(deployment, tight)));
}

#[test]
fn a_restricted_key_keeps_its_resources() {
    let held = access(
        DATASET.with(Scope::Training),
        rules(
            r#"[{"operations":["dataset.*","training.read"],"resources":["dataset/a_b","run/*"]},
                {"operations":["annotation.write"],"resources":["*"]}]"#,
        ),
    );
    let advice = advise(&held, &[Operation::DatasetRead]);
    let least = access(
        DATASET,
        rules(r#"[{"operations":["dataset.read"],"resources":["dataset/a_b"]}]"#),
    );
    assert_eq!(advice.least(), Some(&least));
    assert_eq!(
        advise(&least, &[Operation::DatasetRead]).least(),
        None,
        "as narrow as it can be"
    );
    assert_eq!(
        advise(&least, &[]).least(),
        None,
        "a restricted key without any rule can't be"
    );
}

#[test]
fn what_may_not_be_done_any_more_widens_nothing() {
    let held = access(DATASET, Permission::ReadOnly);
    let advice = advise(&held, &[Operation::DatasetRead, Operation::DatasetDelete]);
    assert_eq!(advice.no_longer_allowed, [Operation::DatasetDelete]);
    assert_eq!(advice.level, None);
    let least = rules(r#"[{"operations":["dataset.read"],"resources":["dataset/*"]}]"#);
    assert_eq!(advice.rules, Some(access(DATASET, least)));
}

#[test]
fn who_changes_the_organization_needs_everything() {
    let advice = advise(&Access::UNNARROWED, &[Operation::OrganizationWrite]);
    assert_eq!(advice.least(), None);
}

fn any_access() -> impl Strategy<Value = Access> {
    let pattern = prop::sample::select(vec![
        "dataset.read",
        "dataset.*",
        "annotation.write",
        "training.*",
        "model.download",
        "deployment.read",
        "inference.*",
    ]);
    let resource = prop::sample::select(vec![
        "*",
        "dataset/*",
        "dataset/a_b",
        "run/*",
        "run/r_1",
        "deployment/*",
        "deployment_endpoint/e_1",
    ]);
    let rule = (
        prop::collection::vec(pattern, 1..4),
        prop::collection::vec(resource, 1..4),
    );
    let rule = rule.prop_map(|(operations, resources)| Rule {
        operations: operations.into_iter().map(|one| one.parse().unwrap()).collect(),
        resources: resources.into_iter().map(|one| one.parse().unwrap()).collect(),
    });
    let permission = prop_oneof![
        Just(Permission::Full),
        Just(Permission::ReadOnly),
        Just(Permission::LabelerOnly),
        prop::collection::vec(rule, 1..4).prop_map(Permission::Restricted),
    ];
    (0_u8..=7, permission).prop_filter_map("the parts fit together", |(bits, permission)| {
        Access::new(ScopeSet::from_bits(bits)?, permission).ok()
    })
}

fn any_operations() -> impl Strategy<Value = Vec<Operation>> {
    prop::sample::subsequence(Operation::ALL.to_vec(), 0..=Operation::ALL.len())
}

/// Every resource that a rule of these tests can tell from another.
fn resources() -> Vec<Resource<'static>> {
    let of_types = ResourceType::ALL.into_iter().flat_map(|of| {
        let ids = ["a_b", "r_1", "e_1", "other"].map(|id| Resource::Item(of, id));
        [Resource::New(of), Resource::Collection(of)]
            .into_iter()
            .chain(ids)
    });
    std::iter::once(Resource::Organization).chain(of_types).collect()
}

proptest! {
    #[test]
    fn what_is_advised_allows_all_that_was_used_and_nothing_new(held in any_access(), used in any_operations()) {
        let advice = advise(&held, &used);
        let advised: Vec<&Access> = advice.level.iter().chain(&advice.rules).collect();
        for advised in advised {
            for operation in Operation::ALL {
                for resource in resources() {
                    let now = held.permits(operation, resource).is_ok();
                    let then = advised.permits(operation, resource).is_ok();
                    // Resources of a type that the operation can't concern are asked for by nobody.
                    let is_of_it = match resource {
                        Resource::Organization => operation.scope_need() != ScopeNeed::Nothing,
                        Resource::Item(of, _) | Resource::New(of) | Resource::Collection(of) => operation.concerns(of),
                    };
                    if used.contains(&operation) && is_of_it && !matches!(resource, Resource::Organization) {
                        prop_assert_eq!(then, now, "{} on {}", operation, resource);
                    }
                    prop_assert!(now || !then, "{} on {} is new", operation, resource);
                }
            }
            prop_assert!(held.scopes().contains_all(advised.scopes()));
        }
        for operation in &advice.used {
            prop_assert!(used.contains(operation) && !advice.unused.contains(operation));
        }
    }

    #[test]
    fn no_narrower_scopes_and_level_would_do(held in any_access(), used in any_operations()) {
        prop_assume!(!matches!(held.permission(), Permission::Restricted(_)));
        let advice = advise(&held, &used);
        let chosen = allowed_by(advice.level.as_ref().unwrap_or(&held));
        for bits in 0..=7 {
            for permission in [Permission::Full, Permission::ReadOnly, Permission::LabelerOnly] {
                let Ok(other) = Access::new(ScopeSet::from_bits(bits).unwrap(), permission) else { continue };
                let would = allowed_by(&other);
                let is_narrower = would.len() < chosen.len() && would.iter().all(|one| chosen.contains(one));
                if is_narrower && held.scopes().contains_all(other.scopes()) {
                    prop_assert!(advice.used.iter().any(|one| !would.contains(one)), "{:?} would do", other);
                }
            }
        }
        if let Some(rules) = &advice.rules {
            prop_assert!(allowed_by(rules).len() < chosen.len());
        }
    }

    #[test]
    fn advice_that_was_followed_is_advised_no_more(held in any_access(), used in any_operations()) {
        if let Some(least) = advise(&held, &used).least() {
            let again = advise(least, &used);
            prop_assert_eq!(again.least(), None);
        }
    }
}
