//! What operations and rules are called in sentences about a key's use, in the words of [`super::key_summary`].
//!
//! Nothing is decided here; what an access allows is [`keyward_core::advice::allowed_by`]'s to say.

use keyward_core::access::Access;
use keyward_core::operation::Operation;
use keyward_core::rule::Rule;
use keyward_core::scope::ScopeSet;

use super::key_rules::Datasets;
use super::key_summary::{DatasetNames, listed, phrase, rule_words};
use crate::call::Call;
use crate::refused::Refused;
use crate::visit::Visit;

/// The names that rules' datasets have, as far as they are among the first of the organization.
///
/// # Errors
/// What the engine says.
pub(super) async fn dataset_names(visit: &Visit, call: &Call) -> Result<DatasetNames, Refused> {
    Ok(Datasets::of(visit, call).await?.named.into_iter().collect())
}

/// Operations as one list, to go on after "can"; empty if there are none.
pub(super) fn operations_words(operations: &[Operation]) -> String {
    listed(&phrases(operations), "and")
}

/// Operations of which none: `a; b; or c`.
pub(super) fn operations_or(operations: &[Operation]) -> String {
    listed(&phrases(operations), "or")
}

fn phrases(operations: &[Operation]) -> Vec<String> {
    operations
        .iter()
        .map(|operation| phrase(*operation).to_owned())
        .collect()
}

/// `a`, `a and b`, `a, b and c`.
pub(super) fn enumerated(parts: impl IntoIterator<Item = String>) -> String {
    let mut parts: Vec<String> = parts.into_iter().collect();
    let Some(last) = parts.pop() else {
        return String::new();
    };
    if parts.is_empty() {
        last
    } else {
        format!("{} and {last}", parts.join(", "))
    }
}

/// A rule as a sentence: `On all datasets, and new ones, it can export datasets.`
pub(super) fn rule_sentence(rule: &Rule, scopes: ScopeSet, datasets: &DatasetNames) -> Option<String> {
    rule_words(rule, scopes, datasets).map(|(on, what)| format!("On {on} it can {what}."))
}

/// The rules of an access, each a sentence.
pub(super) fn rule_sentences(access: &Access, datasets: &DatasetNames) -> Vec<String> {
    let rules = access.permission().rules().iter();
    rules
        .filter_map(|rule| rule_sentence(rule, access.scopes(), datasets))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_reads_as_a_sentence() {
        let rule = Rule {
            operations: vec!["dataset.export".parse().unwrap()],
            resources: vec!["dataset/a1".parse().unwrap()],
        };
        let names = DatasetNames::new();
        let sentence = rule_sentence(&rule, ScopeSet::ALL, &names);
        assert_eq!(
            sentence.as_deref(),
            Some("On the dataset a1 it can export datasets.")
        );
        assert_eq!(rule_sentence(&rule, ScopeSet::NONE, &names), None);
        assert_eq!(enumerated(Vec::new()), "");
        assert_eq!(enumerated(["a", "b", "c"].map(str::to_owned)), "a, b and c");
    }
}
