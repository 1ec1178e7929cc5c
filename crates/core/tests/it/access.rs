//! What an access can be made of, and what it lets a list show.

use keyward_core::access::{Access, AccessRefused, Permission, Visible};
use keyward_core::operation::{Family, Operation};
use keyward_core::resource::{Resource, ResourceType};
use keyward_core::rule::{MAX_PATTERNS, MAX_RULES, OperationPattern, Rule};
use keyward_core::scope::{Scope, ScopeSet};
use proptest::prelude::*;

use crate::given::{self, restricted, rule};

fn problems(scopes: ScopeSet, permission: Permission) -> Vec<(String, String)> {
    let problems = Access::new(scopes, permission).unwrap_err();
    problems
        .into_iter()
        .map(|problem| (problem.field, problem.message))
        .collect()
}

fn fields(scopes: ScopeSet, permission: Permission) -> Vec<String> {
    problems(scopes, permission)
        .into_iter()
        .map(|(field, _)| field)
        .collect()
}

const DATASET: ScopeSet = ScopeSet::NONE.with(Scope::Dataset);

#[test]
fn what_nobody_narrowed_is_full_with_all_three_scopes() {
    assert_eq!(
        Access::new(ScopeSet::ALL, Permission::Full),
        Ok(Access::UNNARROWED)
    );
    assert!(Access::UNNARROWED.is_unnarrowed());
    assert!(!Access::new(DATASET, Permission::Full).unwrap().is_unnarrowed());
    assert!(
        !Access::new(ScopeSet::ALL, Permission::ReadOnly)
            .unwrap()
            .is_unnarrowed()
    );
    assert!(!restricted(ScopeSet::ALL, &[rule(&["dataset.*"], &["*"])]).is_unnarrowed());
}

#[test]
fn a_key_without_a_scope_is_refused_at_every_level() {
    for permission in [Permission::Full, Permission::ReadOnly] {
        assert_eq!(fields(ScopeSet::NONE, permission), ["scopes"]);
    }
    assert_eq!(
        fields(ScopeSet::NONE, Permission::LabelerOnly),
        ["scopes", "level"]
    );
    assert_eq!(
        fields(ScopeSet::NONE, Permission::Restricted(Vec::new())),
        ["scopes", "rules"]
    );
}

#[test]
fn rules_that_lie_outside_the_scopes_or_concern_nothing_are_named_one_by_one() {
    let rules = vec![
        rule(
            &["dataset.read", "training.*"],
            &["dataset/a", "run/r", "deployment/d"],
        ),
        rule(&["inference.run"], &["*"]),
    ];
    let found = problems(DATASET, Permission::Restricted(rules));
    let expected = [
        (
            "rules[0].operations[1]",
            "`training.*` lies outside the key's scopes: add `training`, or remove it",
        ),
        (
            "rules[0].resources[2]",
            "none of the rule's operations can concern `deployment/d`",
        ),
        (
            "rules[1].operations[0]",
            "`inference.run` lies outside the key's scopes: add `deployment`, or remove it",
        ),
    ];
    assert_eq!(
        found,
        expected.map(|(field, message)| (field.to_owned(), message.to_owned()))
    );
}

#[test]
fn an_edit_of_the_scopes_that_strands_a_rule_is_refused() {
    let access = restricted(ScopeSet::ALL, &[rule(&["training.read"], &["run/*"])]);
    for scope in [Scope::Dataset, Scope::Deployment] {
        assert!(Access::new(ScopeSet::ALL.without(scope), access.permission().clone()).is_ok());
    }
    let stranded = fields(
        ScopeSet::ALL.without(Scope::Training),
        access.permission().clone(),
    );
    assert_eq!(stranded, ["rules[0].operations[0]"]);
}

#[test]
fn the_number_of_rules_and_of_their_entries_is_bounded() {
    let one = rule(&["dataset.read"], &["dataset/a"]);
    let with_rules = |count| Permission::Restricted(vec![one.clone(); count]);
    assert!(Access::new(ScopeSet::ALL, with_rules(MAX_RULES)).is_ok());
    assert_eq!(fields(ScopeSet::ALL, with_rules(MAX_RULES + 1)), ["rules"]);
    assert_eq!(fields(ScopeSet::ALL, with_rules(0)), ["rules"]);

    let with_entries = |operations, resources| {
        Permission::Restricted(vec![Rule {
            operations: vec![one.operations[0]; operations],
            resources: vec![one.resources[0].clone(); resources],
        }])
    };
    assert!(Access::new(ScopeSet::ALL, with_entries(MAX_PATTERNS, MAX_PATTERNS)).is_ok());
    assert_eq!(
        fields(ScopeSet::ALL, with_entries(MAX_PATTERNS + 1, 1)),
        ["rules[0].operations"]
    );
    assert_eq!(
        fields(ScopeSet::ALL, with_entries(1, MAX_PATTERNS + 1)),
        ["rules[0].resources"]
    );
    assert_eq!(
        fields(ScopeSet::ALL, with_entries(0, 0)),
        ["rules[0].operations", "rules[0].resources"]
    );
    // As much as a ten-megabyte body can hold costs two messages, not as many comparisons as there are pairs.
    let huge = with_entries(300_000, 300_000);
    assert_eq!(
        fields(DATASET, huge),
        ["rules[0].operations", "rules[0].resources"]
    );
}

#[test]
fn no_rule_reaches_what_is_not_decided_by_rules() {
    let unreachable = [
        OperationPattern::One(Operation::OrganizationRead),
        OperationPattern::One(Operation::OrganizationWrite),
        OperationPattern::One(Operation::MembersWrite),
        OperationPattern::Family(Family::Organization),
        OperationPattern::Family(Family::Members),
    ];
    for pattern in unreachable {
        let rule = Rule {
            operations: vec![pattern],
            resources: vec!["*".parse().unwrap()],
        };
        assert_eq!(
            fields(ScopeSet::ALL, Permission::Restricted(vec![rule])),
            ["rules[0].operations[0]"]
        );
    }
}

#[test]
fn a_list_shows_what_the_rules_name_each_once() {
    let access = restricted(
        ScopeSet::ALL,
        &[
            rule(&["dataset.read"], &["dataset/b", "dataset/a", "dataset/b"]),
            rule(&["dataset.*"], &["dataset/a"]),
            rule(&["dataset.write"], &["dataset/c"]),
            rule(&["training.read"], &["run/*", "flow/f"]),
        ],
    );
    let ids = |operation, of| match access.visible(operation, of) {
        Visible::All => vec!["all of them"],
        Visible::Only(ids) => ids.into_iter().map(|id| id.as_str()).collect(),
    };
    assert_eq!(ids(Operation::DatasetRead, ResourceType::Dataset), ["a", "b"]);
    assert_eq!(ids(Operation::TrainingRead, ResourceType::Run), ["all of them"]);
    assert_eq!(ids(Operation::TrainingRead, ResourceType::Flow), ["f"]);
    assert_eq!(
        ids(Operation::TrainingRead, ResourceType::TrainingProject),
        [""; 0]
    );
    assert_eq!(ids(Operation::DeploymentRead, ResourceType::Deployment), [""; 0]);
}

#[test]
fn a_change_of_a_whole_collection_needs_a_rule_for_the_whole_type() {
    let all = Resource::Collection(ResourceType::Dataset);
    let one = restricted(ScopeSet::ALL, &[rule(&["dataset.*"], &["dataset/a"])]);
    assert_eq!(one.permits(Operation::DatasetRead, all), Ok(()));
    for operation in [
        Operation::DatasetWrite,
        Operation::DatasetDelete,
        Operation::DatasetExport,
    ] {
        assert_eq!(one.permits(operation, all), Err(AccessRefused::Resource));
    }
    let every = restricted(ScopeSet::ALL, &[rule(&["dataset.*"], &["dataset/*"])]);
    assert_eq!(every.permits(Operation::DatasetDelete, all), Ok(()));
}

proptest! {
    #[test]
    fn what_a_list_shows_is_what_may_be_read_one_by_one(access in given::any_access()) {
        let reads = Operation::ALL.into_iter().filter(|operation| operation.is_read());
        for operation in reads.filter(|operation| *operation != Operation::OrganizationRead) {
            for of in ResourceType::ALL {
                let visible = access.visible(operation, of);
                // "zz" stands for every id that no rule names.
                for id in given::IDS.into_iter().chain(["zz"]) {
                    let is_shown = match &visible {
                        Visible::All => true,
                        Visible::Only(ids) => ids.iter().any(|shown| shown.as_str() == id),
                    };
                    let is_permitted = access.permits(operation, Resource::Item(of, id)).is_ok();
                    prop_assert_eq!(is_shown, is_permitted, "{} {}/{}", operation, of.name(), id);
                }
                let is_list_permitted = access.permits(operation, Resource::Collection(of)).is_ok();
                prop_assert_eq!(is_list_permitted, visible != Visible::Only(Vec::new()));
            }
        }
    }

    #[test]
    fn who_may_create_may_do_it_to_every_id(access in given::any_access()) {
        for operation in Operation::ALL {
            for of in ResourceType::ALL {
                if access.permits(operation, Resource::New(of)).is_ok() {
                    for id in ["a", "zz"] {
                        prop_assert!(access.permits(operation, Resource::Item(of, id)).is_ok());
                    }
                }
            }
        }
    }
}
