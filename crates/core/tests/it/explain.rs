//! An explanation says what the decision says, and names what decided it.

use keyward_core::decision::{OrganizationClaim, OrganizationState, Purpose, Question, decide};
use keyward_core::explain::explain;
use keyward_core::operation::Operation;
use keyward_core::resource::{Resource, ResourceType};
use keyward_core::scope::{Scope, ScopeSet};
use keyward_core::state::{KeyState, PauseReason, SecretLife};
use proptest::prelude::*;
use proptest::sample::select;

use crate::given::{self, NOW, record, restricted, rule};

fn question<'a>(operation: Operation, resource: Resource<'a>) -> Question<'a> {
    Question {
        claim: OrganizationClaim::NotAsked,
        purpose: Purpose::Perform { operation, resource },
        address: given::known("192.0.2.1"),
        now: NOW,
        earliest: NOW,
    }
}

fn decided_by(
    record: &keyward_core::record::KeyRecord,
    operation: Operation,
    resource: Resource<'_>,
) -> String {
    let asked = question(operation, resource);
    explain(record, SecretLife::Current, OrganizationState::Open, &asked).decided_by
}

#[test]
fn the_part_that_decided_is_named_as_the_field_it_is() {
    let item = Resource::Item(ResourceType::Dataset, "b");
    let mut key = record();
    assert_eq!(decided_by(&key, Operation::DatasetRead, item), "level");
    key.access = restricted(
        ScopeSet::NONE.with(Scope::Dataset),
        &[
            rule(&["dataset.read"], &["dataset/a"]),
            rule(&["dataset.*"], &["dataset/b"]),
        ],
    );
    assert_eq!(decided_by(&key, Operation::DatasetRead, item), "rules[1]");
    assert_eq!(
        decided_by(
            &key,
            Operation::DatasetRead,
            Resource::Item(ResourceType::Dataset, "c")
        ),
        "rules"
    );
    assert_eq!(
        decided_by(
            &key,
            Operation::TrainingRead,
            Resource::Item(ResourceType::Run, "b")
        ),
        "scopes"
    );
    key.conditions.expires_at = Some(NOW);
    assert_eq!(decided_by(&key, Operation::DatasetRead, item), "expires_at");
    key.state = KeyState::Paused {
        reason: PauseReason::Requested,
    };
    assert_eq!(decided_by(&key, Operation::DatasetRead, item), "state");
    let stopped = explain(
        &record(),
        SecretLife::Current,
        OrganizationState::Stopped,
        &question(Operation::DatasetRead, item),
    );
    assert_eq!(stopped.decided_by, "organization");
}

proptest! {
    #[test]
    fn an_explanation_never_says_other_than_the_decision(
        record in given::any_record(),
        life in given::any_life(),
        organization in select(vec![OrganizationState::Open, OrganizationState::Locked, OrganizationState::Stopped]),
        operation in select(Operation::ALL.to_vec()),
        resource in select(given::every_resource()),
        address in given::any_address(),
        now in given::any_moment(),
    ) {
        let asked = Question { address, now, earliest: now, ..question(operation, resource) };
        let explained = explain(&record, life, organization, &asked);
        prop_assert_eq!(explained.refusal, decide(&record, life, organization, &asked).err());
        prop_assert!(!explained.decided_by.is_empty());
    }
}
