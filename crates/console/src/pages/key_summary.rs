//! What a key can and cannot do, in plain sentences: before it is made, before it is changed, and on its page.
//!
//! Told from the table that also decides requests (`core/src/operation.rs`), so that no sentence promises what a request is refused.
//! Pure: the same settings make the same sentences, also settings that no key may have, while a form is being filled in.

use std::collections::BTreeMap;

use askama::Template;
use askama::filters::HtmlSafe;
use keyward_core::access::Permission;
use keyward_core::condition::{AddressRule, Conditions};
use keyward_core::level::PermissionLevel;
use keyward_core::operation::{Family, LevelAnswer, Operation, ScopeNeed};
use keyward_core::resource::ResourceType;
use keyward_core::rule::{OperationPattern, ResourcePattern, Rule};
use keyward_core::scope::{Scope, ScopeSet};
use keyward_core::time::duration_words;

use crate::words::{counted, exact, grouped, scope_name};

/// Names of datasets by their ids, as far as they are known.
pub(crate) type DatasetNames = BTreeMap<String, String>;

/// Networks that are named one by one.
const NAMED_NETWORKS: usize = 3;

/// The sentences; shown in a template by its name.
#[derive(Template, Debug, Clone, PartialEq, Eq, Default)]
#[template(path = "key_summary.html")]
pub(crate) struct Summary {
    /// Whether nothing was taken from it (R6).
    pub(crate) is_everything: bool,
    /// What it can do, each a phrase that follows `can`.
    pub(crate) can: Vec<String>,
    /// The same by rule: on what, and what.
    pub(crate) by_rule: Vec<(String, String)>,
    /// What it cannot do, each a phrase that follows `cannot`.
    pub(crate) cannot: Vec<String>,
    /// Conditions, each a sentence.
    pub(crate) conditions: Vec<String>,
}

// Its own template escapes every value of it.
impl HtmlSafe for Summary {}

impl Summary {
    /// Tells what a key with these settings can and cannot do.
    pub(crate) fn of(
        scopes: ScopeSet,
        permission: &Permission,
        conditions: &Conditions,
        datasets: &DatasetNames,
    ) -> Self {
        let is_possible = |operation: Operation| is_possible(operation, scopes, permission);
        let by_rule: Vec<_> = permission
            .rules()
            .iter()
            .filter_map(|rule| rule_words(rule, scopes, datasets))
            .collect();
        let mut can = Vec::new();
        let mut cannot = Vec::new();
        for scope in Scope::ALL {
            let of_scope = || {
                Operation::ALL
                    .into_iter()
                    .filter(move |operation| operation.scope_need() == ScopeNeed::One(scope))
            };
            if of_scope().all(is_possible) {
                can.push(everything_in(scope).to_owned());
            } else if !of_scope().any(is_possible) {
                cannot.push(format!("see or do anything in {}", scope_name(scope)));
            } else {
                can.extend(of_scope().filter(|one| is_possible(*one)).map(phrase_text));
                cannot.extend(of_scope().filter(|one| !is_possible(*one)).map(phrase_text));
            }
        }
        // What rules give is told with what they give it on.
        if !permission.rules().is_empty() {
            can.clear();
        }
        if is_possible(Operation::OrganizationWrite) {
            can.push(phrase_text(Operation::OrganizationWrite));
        }
        cannot.push("manage keys, members or settings".to_owned());
        Self {
            is_everything: permission.level() == PermissionLevel::Full && scopes == ScopeSet::ALL,
            can,
            by_rule,
            cannot,
            conditions: condition_sentences(conditions),
        }
    }

    /// Whether a key with these settings could not do a thing.
    pub(crate) fn is_nothing(&self) -> bool {
        self.can.is_empty() && self.by_rule.is_empty()
    }

    /// What it can do, as one list.
    pub(crate) fn can_text(&self) -> String {
        listed(&self.can, "and")
    }

    /// What it cannot do, as one list.
    pub(crate) fn cannot_text(&self) -> String {
        listed(&self.cannot, "or")
    }
}

/// Whether a key could do this at all, on some resource.
pub(crate) fn is_possible(operation: Operation, scopes: ScopeSet, permission: &Permission) -> bool {
    operation.scope_need().is_met_by(scopes)
        && match operation.at_level(permission.level()) {
            LevelAnswer::Yes => true,
            LevelAnswer::No => false,
            LevelAnswer::ByRule => permission.rules().iter().any(|rule| rule.names(operation)),
        }
}

/// What an operation does, as a phrase that follows `can`.
pub(crate) const fn phrase(operation: Operation) -> &'static str {
    match operation {
        Operation::OrganizationRead => "see the organization",
        Operation::OrganizationWrite => "change the organization's display name and preferences",
        Operation::MembersWrite => "change who belongs to the organization",
        Operation::DatasetRead => "view datasets with their images and annotations",
        Operation::DatasetExport => "export datasets",
        Operation::DatasetWrite => "create and change datasets and images",
        Operation::DatasetDelete => "delete datasets and images",
        Operation::AnnotationWrite => "create and change annotations",
        Operation::AnnotationDelete => "delete annotations",
        Operation::TrainingRead => "view training projects, workflows and runs",
        Operation::TrainingWrite => "create workflows and start runs",
        Operation::TrainingDelete => "delete training projects, workflows and runs",
        Operation::ModelDownload => "download models",
        Operation::DeploymentRead => "view deployments",
        Operation::DeploymentWrite => "create and change deployments",
        Operation::DeploymentDelete => "delete deployments",
        Operation::InferenceRun => "run inference",
    }
}

fn phrase_text(operation: Operation) -> String {
    phrase(operation).to_owned()
}

const fn everything_in(scope: Scope) -> &'static str {
    match scope {
        Scope::Dataset => "view, create, change, export and delete datasets, images and annotations",
        Scope::Training => "view, create and delete trainings, start runs and download models",
        Scope::Deployment => "view, create, change and delete deployments and run inference",
    }
}

/// What a family's operations are about; a pattern of it also covers what the family gets later.
pub(crate) const fn family_words(family: Family) -> &'static str {
    match family {
        Family::Organization => "the organization",
        Family::Members => "members",
        Family::Dataset => "datasets, now and later",
        Family::Annotation => "annotations, now and later",
        Family::Training => "trainings, now and later",
        Family::Model => "models, now and later",
        Family::Deployment => "deployments, now and later",
        Family::Inference => "inference, now and later",
    }
}

/// What a type of resources is called, of one and of all.
pub(crate) const fn type_names(of: ResourceType) -> (&'static str, &'static str) {
    match of {
        ResourceType::Dataset => ("dataset", "datasets"),
        ResourceType::TrainingProject => ("training project", "training projects"),
        ResourceType::Flow => ("workflow", "workflows"),
        ResourceType::Run => ("run", "runs"),
        ResourceType::Deployment => ("deployment", "deployments"),
        ResourceType::DeploymentProject => ("deployment project", "deployment projects"),
        ResourceType::DeploymentEndpoint => ("deployment endpoint", "deployment endpoints"),
    }
}

/// One rule: on what, and what; `None` while it does nothing.
pub(crate) fn rule_words(rule: &Rule, scopes: ScopeSet, datasets: &DatasetNames) -> Option<(String, String)> {
    let is_open = |pattern: &&OperationPattern| pattern.scope().is_some_and(|scope| scopes.contains(scope));
    let operations: Vec<_> = rule
        .operations
        .iter()
        .filter(is_open)
        .map(pattern_words)
        .collect();
    let resources: Vec<_> = rule
        .resources
        .iter()
        .map(|one| resource_words(one, datasets))
        .collect();
    (!operations.is_empty() && !resources.is_empty())
        .then(|| (listed(&resources, "and"), listed(&operations, "and")))
}

fn pattern_words(pattern: &OperationPattern) -> String {
    match pattern {
        OperationPattern::One(operation) => phrase_text(*operation),
        OperationPattern::Family(family) => {
            format!("do everything with {}", family_words(*family))
        }
    }
}

fn resource_words(pattern: &ResourcePattern, datasets: &DatasetNames) -> String {
    match pattern {
        ResourcePattern::Everything => "everything".to_owned(),
        ResourcePattern::AllOf(of) => format!("all {}, and new ones", type_names(*of).1),
        ResourcePattern::One(ResourceType::Dataset, id) if datasets.contains_key(id.as_str()) => {
            let name = datasets.get(id.as_str()).map(String::as_str).unwrap_or_default();
            format!("the dataset \u{201c}{name}\u{201d}")
        }
        ResourcePattern::One(of, id) => format!("the {} {id}", type_names(*of).0),
    }
}

/// The conditions as sentences.
pub(crate) fn condition_sentences(conditions: &Conditions) -> Vec<String> {
    let mut sentences = Vec::new();
    if let Some(from) = conditions.not_before {
        sentences.push(format!("It is accepted from {} on.", exact(from)));
    }
    if let Some(end) = conditions.expires_at {
        sentences.push(format!("It is refused from {} on.", exact(end)));
    }
    if let AddressRule::Only(networks) = &conditions.addresses {
        let named: Vec<_> = networks
            .iter()
            .take(NAMED_NETWORKS)
            .map(ToString::to_string)
            .collect();
        let others = networks.len().saturating_sub(NAMED_NETWORKS);
        let mut text = named.join(", ");
        if others > 0 {
            text = format!("{text} and {others} more");
        }
        sentences.push(format!("It is accepted only from {text}."));
    }
    if let Some(limit) = conditions.rate_limit {
        sentences.push(format!(
            "It is accepted at most {} in {}.",
            counted(u64::from(limit.requests), "time", "times"),
            match limit.per_ms / 1_000 {
                1 => "a second".to_owned(),
                60 => "a minute".to_owned(),
                3_600 => "an hour".to_owned(),
                seconds if seconds % 60 == 0 => duration_words(i64::from(limit.per_ms)),
                seconds => format!("{} seconds", grouped(u64::from(seconds))),
            }
        ));
    }
    sentences
}

/// `a`, `a and b`, `a; b; and c`: semicolons, because the phrases have commas.
pub(crate) fn listed(phrases: &[String], last: &str) -> String {
    match phrases {
        [] => String::new(),
        [one] => one.clone(),
        [one, other] => format!("{one} {last} {other}"),
        [first @ .., end] => format!("{}; {last} {end}", first.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use keyward_core::condition::RateLimit;
    use keyward_core::time::Timestamp;

    use super::*;

    fn summary(scopes: ScopeSet, permission: &Permission) -> Summary {
        Summary::of(scopes, permission, &Conditions::NONE, &DatasetNames::new())
    }

    const DATASET: ScopeSet = ScopeSet::NONE.with(Scope::Dataset);

    #[test]
    fn full_with_all_scopes_is_everything_and_says_so() {
        let all = summary(ScopeSet::ALL, &Permission::Full);
        assert!(all.is_everything);
        assert_eq!(
            all.can.len(),
            4,
            "three scopes and the organization: {:?}",
            all.can
        );
        assert_eq!(all.cannot, ["manage keys, members or settings"]);
        let html = all.render().unwrap();
        assert!(html.contains("everything that a key can"), "{html}");
        let one = summary(DATASET, &Permission::Full);
        assert!(!one.is_everything);
        assert_eq!(one.can, [everything_in(Scope::Dataset)]);
        assert_eq!(one.cannot[0], "see or do anything in Training");
    }

    #[test]
    fn read_only_sees_and_changes_nothing() {
        let read = summary(ScopeSet::ALL, &Permission::ReadOnly);
        let can = read.can_text();
        assert!(
            can.contains("view datasets") && can.contains("download models"),
            "{can}"
        );
        for change in ["create", "delete", "run inference"] {
            assert!(!can.contains(change), "{can}");
            assert!(read.cannot_text().contains(change), "{change}");
        }
    }

    #[test]
    fn labeler_only_annotates() {
        let labeler = summary(ScopeSet::ALL, &Permission::LabelerOnly);
        assert_eq!(
            labeler.can_text(),
            "view datasets with their images and annotations and create and change annotations"
        );
        assert!(
            labeler
                .cannot_text()
                .contains("delete annotations; see or do anything in Training")
        );
    }

    #[test]
    fn restricted_is_told_rule_by_rule_with_the_names_of_datasets() {
        let rule = |operations: &[&str], resources: &[&str]| Rule {
            operations: operations.iter().map(|text| text.parse().unwrap()).collect(),
            resources: resources.iter().map(|text| text.parse().unwrap()).collect(),
        };
        let permission = Permission::Restricted(vec![
            rule(&["dataset.read", "dataset.export"], &["dataset/d1", "dataset/d2"]),
            rule(&["training.*"], &["*"]),
        ]);
        let names = DatasetNames::from([("d1".to_owned(), "Street signs".to_owned())]);
        let told = Summary::of(DATASET, &permission, &Conditions::NONE, &names);
        assert_eq!(
            told.by_rule,
            [(
                "the dataset \u{201c}Street signs\u{201d} and the dataset d2".to_owned(),
                "view datasets with their images and annotations and export datasets".to_owned()
            )],
            "what lies outside of the scopes is promised by no sentence"
        );
        assert!(told.can.is_empty() && !told.is_nothing());
        assert!(told.cannot_text().contains("delete annotations"));
    }

    #[test]
    fn without_scopes_or_rules_it_can_do_nothing() {
        for nothing in [
            summary(ScopeSet::NONE, &Permission::Full),
            summary(ScopeSet::ALL, &Permission::Restricted(Vec::new())),
            summary(ScopeSet::NONE.with(Scope::Training), &Permission::LabelerOnly),
        ] {
            assert!(nothing.is_nothing(), "{nothing:?}");
            assert!(nothing.render().unwrap().contains("nothing yet"));
        }
    }

    #[test]
    fn every_condition_is_a_sentence() {
        let conditions = Conditions {
            not_before: None,
            expires_at: Some(Timestamp::from_unix_ms(1_790_000_000_000)),
            addresses: AddressRule::Only(vec!["10.0.0.0/8".parse().unwrap()]),
            rate_limit: Some(RateLimit {
                requests: 100,
                per_ms: 60_000,
            }),
        };
        assert_eq!(
            condition_sentences(&conditions),
            [
                "It is refused from 21 Sep 2026, 14:13 UTC on.",
                "It is accepted only from 10.0.0.0/8.",
                "It is accepted at most 100 times in a minute."
            ]
        );
    }
}
