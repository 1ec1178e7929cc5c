//! What a key was given: scopes and permission together, with the rules of a restricted key inside.
//!
//! An [`Access`] that exists keeps the refusals of creation: it has a scope, Labeler Only has the dataset scope,
//! Restricted has rules and each lies within the scopes. There is no way to build another one.

use crate::field::{FieldProblem, FieldProblems};
use crate::ids::ResourceId;
use crate::level::PermissionLevel;
use crate::operation::{LevelAnswer, Operation};
use crate::resource::{Resource, ResourceType};
use crate::rule::{MAX_PATTERNS, MAX_RULES, ResourcePattern, Rule};
use crate::scope::{Scope, ScopeSet};

/// A permission level, with what it needs to be decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permission {
    /// Read and write within the scopes.
    Full,
    /// View, no modification.
    ReadOnly,
    /// Create and modify annotations only.
    LabelerOnly,
    /// These rules, and nothing else.
    Restricted(Vec<Rule>),
}

impl Permission {
    /// The level that people see.
    pub const fn level(&self) -> PermissionLevel {
        match self {
            Self::Full => PermissionLevel::Full,
            Self::ReadOnly => PermissionLevel::ReadOnly,
            Self::LabelerOnly => PermissionLevel::LabelerOnly,
            Self::Restricted(_) => PermissionLevel::Restricted,
        }
    }

    /// The rules; empty for every level but Restricted.
    pub fn rules(&self) -> &[Rule] {
        match self {
            Self::Restricted(rules) => rules,
            _ => &[],
        }
    }
}

/// Scopes and permission of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    scopes: ScopeSet,
    permission: Permission,
}

/// Which resources of a type a list may show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Visible<'a> {
    /// All of them.
    All,
    /// Those with these ids, and no other; sorted, each once.
    Only(Vec<&'a ResourceId>),
}

/// Why the permission part refuses, before the request's resource is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessRefused {
    /// The scopes do not hold what the operation needs.
    Scope,
    /// The level, or the rules, do not name the operation.
    Operation,
    /// The rules name the operation, but not for this resource.
    Resource,
}

impl Access {
    /// What a key that nobody narrowed has: all three scopes and Full.
    pub const UNNARROWED: Self = Self {
        scopes: ScopeSet::ALL,
        permission: Permission::Full,
    };

    /// Checks that the parts fit together.
    ///
    /// # Errors
    /// Every problem at once, by field: `scopes`, `level`, `rules[i]...`.
    pub fn new(scopes: ScopeSet, permission: Permission) -> Result<Self, Vec<FieldProblem>> {
        let mut problems = FieldProblems::new();
        if scopes.is_empty() {
            problems.add("scopes", "choose at least one of dataset, training, deployment");
        }
        match &permission {
            Permission::Full | Permission::ReadOnly => {}
            Permission::LabelerOnly if scopes.contains(Scope::Dataset) => {}
            Permission::LabelerOnly => {
                problems.add(
                    "level",
                    "Labeler Only works on datasets: add the dataset scope, or choose another level",
                );
            }
            Permission::Restricted(rules) => check_rules(&mut problems, scopes, rules),
        }
        problems.finish(Self { scopes, permission })
    }

    /// The scopes.
    pub const fn scopes(&self) -> ScopeSet {
        self.scopes
    }

    /// The permission.
    pub const fn permission(&self) -> &Permission {
        &self.permission
    }

    /// Whether nothing was narrowed: Full with all three scopes. People and billing are shown to such keys only.
    pub fn is_unnarrowed(&self) -> bool {
        matches!(self.permission, Permission::Full) && self.scopes == ScopeSet::ALL
    }

    /// Whether this allows nothing that `other` does not. Says no where the two can't be compared.
    pub fn is_within(&self, other: &Self) -> bool {
        let is_within_level = match (&self.permission, &other.permission) {
            (_, Permission::Full) => true,
            (Permission::Restricted(own), Permission::Restricted(theirs)) => {
                own.iter().all(|rule| theirs.contains(rule))
            }
            (own, theirs) => own == theirs,
        };
        other.scopes.contains_all(self.scopes) && is_within_level
    }

    /// Whether `operation` on `resource` is within the access. Default-deny.
    ///
    /// # Errors
    /// The first that fails of scope, operation, resource.
    pub fn permits(&self, operation: Operation, resource: Resource<'_>) -> Result<(), AccessRefused> {
        if !operation.scope_need().is_met_by(self.scopes) {
            return Err(AccessRefused::Scope);
        }
        match operation.at_level(self.permission.level()) {
            LevelAnswer::Yes => Ok(()),
            LevelAnswer::No => Err(AccessRefused::Operation),
            LevelAnswer::ByRule => {
                let rules = self.permission.rules();
                if rules.iter().any(|rule| rule.allows(operation, resource)) {
                    Ok(())
                } else if rules.iter().any(|rule| rule.names(operation)) {
                    Err(AccessRefused::Resource)
                } else {
                    Err(AccessRefused::Operation)
                }
            }
        }
    }

    /// Which resources of `resource_type` a list made by `operation` may show.
    pub fn visible(&self, operation: Operation, resource_type: ResourceType) -> Visible<'_> {
        let Permission::Restricted(rules) = &self.permission else {
            return match self.permits(operation, Resource::Collection(resource_type)) {
                Ok(()) => Visible::All,
                Err(_) => Visible::Only(Vec::new()),
            };
        };
        if self.permits(operation, Resource::New(resource_type)).is_ok() {
            return Visible::All;
        }
        if self
            .permits(operation, Resource::Collection(resource_type))
            .is_err()
        {
            return Visible::Only(Vec::new());
        }
        let named = rules
            .iter()
            .filter(|rule| rule.names(operation))
            .flat_map(|rule| &rule.resources);
        let mut ids: Vec<&ResourceId> = named
            .filter_map(|pattern| match pattern {
                ResourcePattern::One(own, id) if *own == resource_type => Some(id),
                _ => None,
            })
            .collect();
        ids.sort_unstable();
        ids.dedup();
        Visible::Only(ids)
    }
}

fn check_rules(problems: &mut FieldProblems, scopes: ScopeSet, rules: &[Rule]) {
    if rules.is_empty() {
        problems.add(
            "rules",
            "a Restricted key needs at least one rule of operations and resources",
        );
    }
    if rules.len() > MAX_RULES {
        problems.add("rules", format!("at most {MAX_RULES} rules"));
        return;
    }
    for (index, rule) in rules.iter().enumerate() {
        let mut is_bounded = true;
        for (field, count) in [
            ("operations", rule.operations.len()),
            ("resources", rule.resources.len()),
        ] {
            if !(1..=MAX_PATTERNS).contains(&count) {
                problems.add(
                    format!("rules[{index}].{field}"),
                    format!("1 to {MAX_PATTERNS} entries"),
                );
                is_bounded = false;
            }
        }
        // A rule of a million entries must not cost a million comparisons and as many messages.
        if !is_bounded {
            continue;
        }
        for (at, operation) in rule.operations.iter().enumerate() {
            let field = || format!("rules[{index}].operations[{at}]");
            match operation.scope() {
                None => problems.add(
                    field(),
                    format!("`{operation}` is not decided by rules; remove it"),
                ),
                Some(scope) if !scopes.contains(scope) => problems.add(
                    field(),
                    format!(
                        "`{operation}` lies outside the key's scopes: add `{}`, or remove it",
                        scope.name()
                    ),
                ),
                Some(_) => {}
            }
        }
        for (at, resource) in rule.pointless_resources() {
            problems.add(
                format!("rules[{index}].resources[{at}]"),
                format!("none of the rule's operations can concern `{resource}`"),
            );
        }
    }
}
