//! What operations, rules and conditions are called in sentences for people.
//!
//! Nothing is decided here; what an access allows is [`keyward_core::advice::allowed_by`]'s to say.

use keyward_core::access::Access;
use keyward_core::condition::{AddressRule, Conditions};
use keyward_core::operation::Operation;
use keyward_core::resource::ResourceType;
use keyward_core::rule::{OperationPattern, ResourcePattern, Rule};
use keyward_core::time::duration_words;

use crate::words::{exact, grouped};

/// What somebody does with an operation, to go on after "may": `view datasets`.
pub(super) const fn operation_words(operation: Operation) -> &'static str {
    match operation {
        Operation::OrganizationRead => "see the organization",
        Operation::OrganizationWrite => "change the organization's name and preferences",
        Operation::MembersWrite => "change who belongs to the organization",
        Operation::DatasetRead => "view datasets and annotations",
        Operation::DatasetExport => "export datasets",
        Operation::DatasetWrite => "create and change datasets",
        Operation::DatasetDelete => "delete datasets",
        Operation::AnnotationWrite => "create and change annotations",
        Operation::AnnotationDelete => "delete annotations",
        Operation::TrainingRead => "view workflows and runs",
        Operation::TrainingWrite => "create workflows and start runs",
        Operation::TrainingDelete => "delete workflows and runs",
        Operation::ModelDownload => "download models",
        Operation::DeploymentRead => "view deployments",
        Operation::DeploymentWrite => "deploy models",
        Operation::DeploymentDelete => "delete deployments",
        Operation::InferenceRun => "run inference",
    }
}

/// A type of resources, in the plural.
pub(super) const fn resource_words(of: ResourceType) -> &'static str {
    match of {
        ResourceType::Dataset => "datasets",
        ResourceType::TrainingProject => "training projects",
        ResourceType::Flow => "workflows",
        ResourceType::Run => "runs",
        ResourceType::Deployment => "deployments",
        ResourceType::DeploymentProject => "deployment projects",
        ResourceType::DeploymentEndpoint => "deployment endpoints",
    }
}

/// Operations as one enumeration; empty if there are none.
pub(super) fn operations_words(operations: &[Operation]) -> String {
    enumerated(
        operations
            .iter()
            .map(|operation| operation_words(*operation).to_owned()),
    )
}

/// Operations of which none: `a, b or c`.
pub(super) fn operations_or(operations: &[Operation]) -> String {
    let words = operations
        .iter()
        .map(|operation| operation_words(*operation).to_owned());
    joined(words, "or")
}

/// `a`, `a and b`, `a, b and c`.
pub(super) fn enumerated(parts: impl IntoIterator<Item = String>) -> String {
    joined(parts, "and")
}

fn joined(parts: impl IntoIterator<Item = String>, word: &str) -> String {
    let mut parts: Vec<String> = parts.into_iter().collect();
    let Some(last) = parts.pop() else {
        return String::new();
    };
    if parts.is_empty() {
        last
    } else {
        format!("{} {word} {last}", parts.join(", "))
    }
}

/// A rule as a sentence: `May view datasets and export datasets: dataset a1, all runs.`
pub(super) fn rule_sentence(rule: &Rule) -> String {
    let operations = rule.operations.iter().map(|pattern| match pattern {
        OperationPattern::One(operation) => operation_words(*operation).to_owned(),
        OperationPattern::Family(family) => format!("do everything of {}", family.name()),
    });
    let resources = rule.resources.iter().map(|pattern| match pattern {
        ResourcePattern::Everything => "everything".to_owned(),
        ResourcePattern::AllOf(of) => format!("all {}", resource_words(*of)),
        ResourcePattern::One(of, id) => format!("{} {id}", of.name().replace('_', " ")),
    });
    format!("May {}, on: {}.", enumerated(operations), enumerated(resources))
}

/// The rules of an access, each a sentence.
pub(super) fn rule_sentences(access: &Access) -> Vec<String> {
    access.permission().rules().iter().map(rule_sentence).collect()
}

/// The conditions, each a sentence; empty where there are none.
pub(super) fn condition_sentences(conditions: &Conditions) -> Vec<String> {
    let mut sentences = Vec::new();
    if let Some(from) = conditions.not_before {
        sentences.push(format!("Accepted from {} on.", exact(from)));
    }
    if let Some(end) = conditions.expires_at {
        sentences.push(format!("Refused from {} on.", exact(end)));
    }
    match &conditions.addresses {
        AddressRule::Anywhere => {}
        AddressRule::Only(networks) if networks.is_empty() => {
            sentences.push("Accepted from no address at all.".to_owned());
        }
        AddressRule::Only(networks) => {
            let networks = networks.iter().map(|network| {
                let is_one = network.prefix_len() == network.max_prefix_len();
                if is_one {
                    network.addr().to_string()
                } else {
                    network.to_string()
                }
            });
            sentences.push(format!("Accepted only from {}.", enumerated(networks)));
        }
    }
    if let Some(limit) = conditions.rate_limit {
        sentences.push(format!(
            "At most {} requests in {}.",
            grouped(u64::from(limit.requests)),
            duration_words(i64::from(limit.per_ms))
        ));
    }
    sentences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_reads_as_a_sentence() {
        let rule = Rule {
            operations: vec!["dataset.read".parse().unwrap(), "training.*".parse().unwrap()],
            resources: vec!["dataset/a1".parse().unwrap(), "run/*".parse().unwrap()],
        };
        assert_eq!(
            rule_sentence(&rule),
            "May view datasets and annotations and do everything of training, on: dataset a1 and all runs."
        );
        assert_eq!(enumerated(Vec::new()), "");
    }
}
