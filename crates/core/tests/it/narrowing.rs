//! Narrowing never allows more: whatever a narrowed record allows, the wider one allowed.

use keyward_core::access::{Access, Permission, Visible};
use keyward_core::condition::AddressRule;
use keyward_core::decision::{OrganizationClaim, OrganizationState, Purpose, Question, decide};
use keyward_core::operation::Operation;
use keyward_core::record::KeyRecord;
use keyward_core::resource::{Resource, ResourceType};
use keyward_core::rule::{OperationPattern, ResourcePattern, Rule};
use keyward_core::scope::Scope;
use keyward_core::state::{DeleteReason, KeyState, PauseReason, SecretLife};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::given::{self, NOW, only};

/// One way to narrow; the indexes choose the place.
#[derive(Debug, Clone, Copy)]
enum Step {
    RemoveScope,
    LowerLevel,
    RemoveRule,
    RemoveOperation,
    RemoveResource,
    OneOperationOfAFamily,
    OneResourceOfAType,
    OneTypeOfEverything,
    EndEarlier,
    BeginLater,
    FewerAddresses,
    Pause,
    Delete,
}

fn any_step() -> impl Strategy<Value = (Step, Index, Index)> {
    use Step as S;
    let step = prop::sample::select(vec![
        S::RemoveScope,
        S::LowerLevel,
        S::RemoveRule,
        S::RemoveOperation,
        S::RemoveResource,
        S::OneOperationOfAFamily,
        S::OneResourceOfAType,
        S::OneTypeOfEverything,
        S::EndEarlier,
        S::BeginLater,
        S::FewerAddresses,
        S::Pause,
        S::Delete,
    ]);
    (step, any::<Index>(), any::<Index>())
}

/// The record after the step; unchanged where the step finds nothing to narrow, or would leave no valid access.
fn narrowed(record: &KeyRecord, (step, first, second): (Step, Index, Index)) -> KeyRecord {
    let mut next = record.clone();
    let mut scopes = record.access.scopes();
    let mut permission = record.access.permission().clone();
    match step {
        Step::RemoveScope => {
            scopes = scopes.without(Scope::ALL[first.index(3)]);
            if let Permission::Restricted(rules) = &mut permission {
                for rule in rules.iter_mut() {
                    rule.operations
                        .retain(|one| one.scope().is_some_and(|scope| scopes.contains(scope)));
                    let pointless: Vec<usize> = rule.pointless_resources().map(|(at, _)| at).collect();
                    pointless
                        .into_iter()
                        .rev()
                        .for_each(|at| drop(rule.resources.remove(at)));
                }
                rules.retain(|rule| !rule.operations.is_empty() && !rule.resources.is_empty());
            }
        }
        Step::LowerLevel if permission == Permission::Full => {
            permission = if first.index(2) == 0 {
                Permission::ReadOnly
            } else {
                Permission::LabelerOnly
            };
        }
        Step::EndEarlier => {
            let end = NOW.plus_ms(first.index(7) as i64 - 3);
            next.conditions.expires_at = Some(next.conditions.expires_at.map_or(end, |old| old.min(end)));
        }
        Step::BeginLater => {
            let from = NOW.plus_ms(first.index(7) as i64 - 3);
            next.conditions.not_before = Some(next.conditions.not_before.map_or(from, |old| old.max(from)));
        }
        Step::FewerAddresses => match &mut next.conditions.addresses {
            AddressRule::Anywhere => next.conditions.addresses = only(&given::NETWORKS[..first.index(3)]),
            AddressRule::Only(networks) if !networks.is_empty() => {
                networks.remove(first.index(networks.len()));
            }
            AddressRule::Only(_) => {}
        },
        Step::Pause if next.state == KeyState::Active => {
            next.state = KeyState::Paused {
                reason: PauseReason::Requested,
            };
        }
        Step::Delete => {
            next.state = KeyState::Deleted {
                reason: DeleteReason::Other,
                at: NOW,
            }
        }
        _ => {
            if let Permission::Restricted(rules) = &mut permission {
                narrow_rules(rules, step, first, second);
            }
        }
    }
    if let Ok(access) = Access::new(scopes, permission) {
        next.access = access;
    }
    next
}

fn narrow_rules(rules: &mut Vec<Rule>, step: Step, first: Index, second: Index) {
    let at = first.index(rules.len());
    if matches!(step, Step::RemoveRule) {
        rules.remove(at);
        return;
    }
    let rule = &mut rules[at];
    let (operation_at, resource_at) = (
        second.index(rule.operations.len()),
        second.index(rule.resources.len()),
    );
    match step {
        Step::RemoveOperation => drop(rule.operations.remove(operation_at)),
        Step::RemoveResource => drop(rule.resources.remove(resource_at)),
        Step::OneOperationOfAFamily => {
            if let OperationPattern::Family(family) = rule.operations[operation_at] {
                let of: Vec<Operation> = Operation::ALL
                    .into_iter()
                    .filter(|operation| operation.family() == family)
                    .collect();
                rule.operations[operation_at] = OperationPattern::One(of[first.index(of.len())]);
            }
        }
        Step::OneResourceOfAType => {
            if let ResourcePattern::AllOf(of) = rule.resources[resource_at] {
                rule.resources[resource_at] =
                    ResourcePattern::One(of, given::IDS[first.index(3)].parse().unwrap());
            }
        }
        Step::OneTypeOfEverything if rule.resources[resource_at] == ResourcePattern::Everything => {
            rule.resources[resource_at] = ResourcePattern::AllOf(ResourceType::ALL[first.index(7)]);
        }
        _ => {}
    }
}

fn shows(access: &Access, operation: Operation, of: ResourceType, id: &str) -> bool {
    match access.visible(operation, of) {
        Visible::All => true,
        Visible::Only(ids) => ids.iter().any(|visible| visible.as_str() == id),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn whatever_a_narrowed_record_allows_the_wider_one_allowed(
        wide in given::any_record(),
        steps in prop::collection::vec(any_step(), 1..5),
        address in given::any_address(),
        now in given::any_moment(),
    ) {
        let narrow = steps.iter().fold(wide.clone(), |record, step| narrowed(&record, *step));
        let allows = |record: &KeyRecord, purpose| {
            let question = Question { claim: OrganizationClaim::NotAsked, purpose, address, now, earliest: now };
            decide(record, SecretLife::Current, OrganizationState::Open, &question).is_ok()
        };
        prop_assert!(!allows(&narrow, Purpose::Identify) || allows(&wide, Purpose::Identify));
        for operation in Operation::ALL {
            for resource in given::every_resource() {
                let purpose = Purpose::Perform { operation, resource };
                prop_assert!(!allows(&narrow, purpose) || allows(&wide, purpose), "{operation} {resource} {steps:?}");
                if let Resource::Item(of, id) = resource {
                    prop_assert!(!shows(&narrow.access, operation, of, id) || shows(&wide.access, operation, of, id));
                }
            }
        }
    }
}
