//! Least privilege: what a key was used for against what it may do, and the least that would have done.
//!
//! Two answers are sought. The narrowest *level* is the scopes and level that allow everything that was used and, of those, the
//! fewest operations. Where that still allows more than was used, *rules* name the operations one by one. Neither ever allows
//! what the key may not do now. Which resources were used is not counted, so that rules made here are for whole types; those
//! that a key has already keep the resources that they name. Whoever decides is [`Access`]; nothing here says anew what a level allows.

use crate::access::{Access, Permission};
use crate::level::PermissionLevel;
use crate::operation::{Operation, ScopeNeed};
use crate::resource::{Resource, ResourceType};
use crate::rule::{OperationPattern, ResourcePattern, Rule};
use crate::scope::{Scope, ScopeSet};

/// What is said of a key's access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// What it was used for and may still do.
    pub used: Vec<Operation>,
    /// What it was used for and may not do any more; it counts for nothing else.
    pub no_longer_allowed: Vec<Operation>,
    /// What it may do and was not used for.
    pub unused: Vec<Operation>,
    /// The narrowest scopes and level that would have done; of a restricted key its rules with what was used of them. `None` if
    /// the key has no more than that.
    pub level: Option<Access>,
    /// Rules that allow less than that; `None` where there are none.
    pub rules: Option<Access>,
}

impl Advice {
    /// The least of what was found; `None` if the key is as narrow as it can be.
    pub fn least(&self) -> Option<&Access> {
        self.rules.as_ref().or(self.level.as_ref())
    }
}

/// Advises for a key with this access that was used for these operations; being identified needs no access.
pub fn advise(access: &Access, used: &[Operation]) -> Advice {
    let allowed = allowed_by(access);
    let is_used = |operation: &Operation| used.contains(operation);
    let kept: Vec<Operation> = allowed.iter().copied().filter(is_used).collect();
    let level = narrowest(access, &allowed, &kept);
    let rules = match access.permission() {
        Permission::Restricted(_) => None,
        Permission::Full | Permission::ReadOnly | Permission::LabelerOnly => {
            with_rules(&kept).filter(|rules| allowed_by(rules).len() < allowed_by(&level).len())
        }
    };
    Advice {
        no_longer_allowed: Operation::ALL
            .into_iter()
            .filter(|operation| is_used(operation) && !allowed.contains(operation))
            .collect(),
        unused: allowed
            .iter()
            .copied()
            .filter(|operation| !is_used(operation))
            .collect(),
        used: kept,
        level: (level != *access).then_some(level),
        rules,
    }
}

/// The operations that an access allows on any resource at all.
pub fn allowed_by(access: &Access) -> Vec<Operation> {
    let is_allowed = |operation: &Operation| {
        if access.permits(*operation, Resource::Organization).is_ok() {
            return true;
        }
        let of_types = ResourceType::ALL.into_iter().filter(|of| operation.concerns(*of));
        let rules = access.permission().rules();
        let named = rules.iter().flat_map(|rule| &rule.resources);
        of_types
            .map(Resource::New)
            .chain(named.filter_map(|pattern| match pattern {
                ResourcePattern::One(of, id) => Some(Resource::Item(*of, id.as_str())),
                ResourcePattern::AllOf(_) | ResourcePattern::Everything => None,
            }))
            .any(|resource| access.permits(*operation, resource).is_ok())
    };
    Operation::ALL.into_iter().filter(is_allowed).collect()
}

/// The scopes and level, or rules, with the fewest operations among which all of `used` are, and no other than `allowed`.
fn narrowest(access: &Access, allowed: &[Operation], used: &[Operation]) -> Access {
    if let Permission::Restricted(rules) = access.permission() {
        return narrowed_rules(rules, used).unwrap_or_else(|| access.clone());
    }
    // Of two that allow as much, the one that changes nothing.
    let levels = [Permission::ReadOnly, Permission::LabelerOnly, Permission::Full];
    let candidates = (0..=ScopeSet::ALL.bits())
        .filter_map(ScopeSet::from_bits)
        .filter(|scopes| access.scopes().contains_all(*scopes))
        .flat_map(|scopes| levels.clone().map(|level| Access::new(scopes, level)))
        .filter_map(Result::ok);
    let fitting = candidates.filter_map(|candidate| {
        let would = allowed_by(&candidate);
        let fits = used.iter().all(|operation| would.contains(operation))
            && would.iter().all(|operation| allowed.contains(operation));
        let is_changed = candidate.permission() != access.permission();
        // Of those that allow as much: what the key has, as far as it has it.
        fits.then(|| {
            (
                (would.len(), candidate.scopes().iter().count(), is_changed),
                candidate,
            )
        })
    });
    fitting
        .min_by_key(|(size, _)| *size)
        .map_or_else(|| access.clone(), |(_, candidate)| candidate)
}

/// The rules with the operations that were used and the resources that these can concern; `None` if nothing of them was used.
fn narrowed_rules(rules: &[Rule], used: &[Operation]) -> Option<Access> {
    let narrowed = rules.iter().map(|rule| {
        let is_within = |pattern: &OperationPattern| used.iter().any(|operation| pattern.covers(*operation));
        let covered = |pattern: &OperationPattern| {
            used.iter()
                .copied()
                .filter(|operation| pattern.covers(*operation))
                .collect::<Vec<_>>()
        };
        let mut operations: Vec<OperationPattern> = Vec::new();
        for pattern in rule.operations.iter().filter(|pattern| is_within(pattern)) {
            for operation in covered(pattern) {
                let one = OperationPattern::One(operation);
                if !operations.contains(&one) {
                    operations.push(one);
                }
            }
        }
        let mut narrowed = Rule {
            operations,
            resources: rule.resources.clone(),
        };
        let pointless: Vec<usize> = narrowed.pointless_resources().map(|(at, _)| at).collect();
        let mut at = 0;
        narrowed.resources.retain(|_| {
            at += 1;
            !pointless.contains(&(at - 1))
        });
        narrowed
    });
    let rules: Vec<Rule> = narrowed
        .filter(|rule| !rule.operations.is_empty() && !rule.resources.is_empty())
        .collect();
    let scopes = rules
        .iter()
        .flat_map(|rule| &rule.operations)
        .filter_map(|pattern| pattern.scope());
    Access::new(scopes.collect(), Permission::Restricted(rules)).ok()
}

/// Rules for these operations on every resource of the types that they concern; `None` if rules can't say it.
fn with_rules(used: &[Operation]) -> Option<Access> {
    let mut rules: Vec<Rule> = Vec::new();
    let mut scopes = ScopeSet::NONE;
    for operation in used {
        match operation.scope_need() {
            // Every key may.
            ScopeNeed::Any => continue,
            ScopeNeed::One(scope) => scopes = scopes.with(scope),
            // No rule opens it.
            ScopeNeed::AllThree | ScopeNeed::Nothing => return None,
        }
        let types = ResourceType::ALL.into_iter().filter(|of| operation.concerns(*of));
        let resources: Vec<ResourcePattern> = types.map(ResourcePattern::AllOf).collect();
        match rules.iter_mut().find(|rule| rule.resources == resources) {
            Some(rule) => rule.operations.push(OperationPattern::One(*operation)),
            None => rules.push(Rule {
                operations: vec![OperationPattern::One(*operation)],
                resources,
            }),
        }
    }
    Access::new(scopes, Permission::Restricted(rules)).ok()
}

/// The words for an access: `dataset, Read Only`, and for rules how many there are.
pub fn access_words(access: &Access) -> String {
    let scopes: Vec<&str> = access.scopes().iter().map(Scope::name).collect();
    let level = access.permission().level();
    match access.permission().rules().len() {
        0 => format!("{}, {}", scopes.join(" + "), level.title()),
        1 => format!(
            "{}, {} by 1 rule",
            scopes.join(" + "),
            PermissionLevel::title(level)
        ),
        rules => format!("{}, {} by {rules} rules", scopes.join(" + "), level.title()),
    }
}
