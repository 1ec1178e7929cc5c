//! The rules of a restricted key: operations x resources, matched when a request is decided.
//!
//! A family pattern (`dataset.*`) is kept as written and never expanded, so that an operation that comes later is
//! covered. A pattern that can't be read is refused when the key is made; none is ever taken as "everything".

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::ResourceId;
use crate::operation::{Family, Operation};
use crate::resource::{Resource, ResourceType};
use crate::scope::Scope;

/// Most rules a key can have; a bound on what a decision may cost.
pub const MAX_RULES: usize = 50;
/// Most operations, and most resources, of one rule.
pub const MAX_PATTERNS: usize = 100;

/// Which operations a rule covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum OperationPattern {
    /// One operation by name.
    One(Operation),
    /// Every operation of a family, also those that come later.
    Family(Family),
}

/// Which resources a rule covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ResourcePattern {
    /// `*`: everything.
    Everything,
    /// `type/*`: every resource of a type, and the creation of new ones.
    AllOf(ResourceType),
    /// `type/{id}`: one resource.
    One(ResourceType, ResourceId),
}

/// One rule: any of these operations on any of these resources is allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The operations.
    pub operations: Vec<OperationPattern>,
    /// The resources.
    pub resources: Vec<ResourcePattern>,
}

/// Why a pattern can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternRefused {
    /// No such operation or family.
    #[error("an operation is a name such as `dataset.read`, or a family such as `dataset.*`; got `{0}`")]
    Operation(String),
    /// An operation that no rule can open.
    #[error(
        "`{0}` is not decided by rules: every key may read its organization, and no restricted key may change it"
    )]
    NotByRule(String),
    /// No such resource.
    #[error("a resource is `*`, `dataset/*` or `dataset/{{id}}` (types: {types}); got `{got}`", types = type_names())]
    Resource {
        /// What was written.
        got: String,
    },
}

fn type_names() -> String {
    ResourceType::ALL.map(ResourceType::name).join(", ")
}

fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(64).collect()
}

impl OperationPattern {
    /// Whether the pattern covers `operation`.
    pub fn covers(self, operation: Operation) -> bool {
        match self {
            Self::One(one) => one == operation,
            Self::Family(family) => family == operation.family(),
        }
    }

    /// The scope that the covered operations lie in.
    pub fn scope(self) -> Option<Scope> {
        match self {
            Self::One(operation) => operation.family().scope(),
            Self::Family(family) => family.scope(),
        }
    }

    fn concerns(self, resource_type: ResourceType) -> bool {
        Operation::ALL
            .into_iter()
            .any(|operation| self.covers(operation) && operation.concerns(resource_type))
    }
}

impl FromStr for OperationPattern {
    type Err = PatternRefused;
    fn from_str(text: &str) -> Result<Self, PatternRefused> {
        let pattern = match text.strip_suffix(".*") {
            Some(family) => Family::ALL
                .into_iter()
                .find(|known| known.name() == family)
                .map(Self::Family),
            None => Operation::from_name(text).map(Self::One),
        };
        match pattern {
            None => Err(PatternRefused::Operation(shortened(text))),
            Some(pattern) if pattern.scope().is_none() => Err(PatternRefused::NotByRule(shortened(text))),
            Some(pattern) => Ok(pattern),
        }
    }
}

impl fmt::Display for OperationPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(operation) => formatter.write_str(operation.name()),
            Self::Family(family) => write!(formatter, "{}.*", family.name()),
        }
    }
}

impl ResourcePattern {
    /// Whether the pattern covers `resource`; of a collection it is enough to cover some.
    pub fn covers(&self, resource: Resource<'_>) -> bool {
        match (self, resource) {
            (_, Resource::Organization) => false,
            (Self::Everything, _) => true,
            (
                Self::AllOf(own),
                Resource::Collection(asked) | Resource::New(asked) | Resource::Item(asked, _),
            ) => *own == asked,
            (Self::One(own, _), Resource::Collection(asked)) => *own == asked,
            (Self::One(..), Resource::New(_)) => false,
            (Self::One(own, id), Resource::Item(asked, asked_id)) => *own == asked && id.as_str() == asked_id,
        }
    }
}

impl FromStr for ResourcePattern {
    type Err = PatternRefused;
    fn from_str(text: &str) -> Result<Self, PatternRefused> {
        let refused = || PatternRefused::Resource { got: shortened(text) };
        if text == "*" {
            return Ok(Self::Everything);
        }
        let (type_name, id) = text.split_once('/').ok_or_else(refused)?;
        let resource_type = ResourceType::from_name(type_name).ok_or_else(refused)?;
        match id {
            "*" => Ok(Self::AllOf(resource_type)),
            id => Ok(Self::One(resource_type, id.parse().map_err(|_| refused())?)),
        }
    }
}

impl fmt::Display for ResourcePattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => formatter.write_str("*"),
            Self::AllOf(resource_type) => write!(formatter, "{}/*", resource_type.name()),
            Self::One(resource_type, id) => write!(formatter, "{}/{id}", resource_type.name()),
        }
    }
}

impl Rule {
    /// Whether one of the rule's operations covers `operation`.
    pub fn names(&self, operation: Operation) -> bool {
        self.operations.iter().any(|pattern| pattern.covers(operation))
    }

    /// Whether the rule allows `operation` on `resource`.
    pub fn allows(&self, operation: Operation, resource: Resource<'_>) -> bool {
        let resource = match resource {
            Resource::Collection(whole) if !operation.is_read() => Resource::New(whole),
            other => other,
        };
        self.names(operation) && self.resources.iter().any(|pattern| pattern.covers(resource))
    }

    /// The resources of the rule that none of its operations can ever concern.
    pub fn pointless_resources(&self) -> impl Iterator<Item = (usize, &ResourcePattern)> {
        let concerned =
            ResourceType::ALL.map(|of| (of, self.operations.iter().any(|operation| operation.concerns(of))));
        self.resources
            .iter()
            .enumerate()
            .filter(move |(_, resource)| match resource {
                ResourcePattern::Everything => false,
                ResourcePattern::AllOf(of) | ResourcePattern::One(of, _) => concerned.contains(&(*of, false)),
            })
    }
}

macro_rules! through_text {
    ($type:ty) => {
        impl TryFrom<String> for $type {
            type Error = PatternRefused;
            fn try_from(text: String) -> Result<Self, PatternRefused> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(pattern: $type) -> String {
                pattern.to_string()
            }
        }
    };
}
through_text!(OperationPattern);
through_text!(ResourcePattern);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_read_back_as_they_were_written() {
        for text in ["dataset.read", "dataset.*", "model.download", "inference.*"] {
            assert_eq!(text.parse::<OperationPattern>().unwrap().to_string(), text);
        }
        for text in ["*", "dataset/*", "run/abc-1_2", "deployment_endpoint/*"] {
            assert_eq!(text.parse::<ResourcePattern>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "*",
            "dataset",
            "dataset.",
            "dataset.**",
            "Dataset.read",
            "organization.read",
            "members.*",
        ] {
            assert!(bad.parse::<OperationPattern>().is_err(), "{bad}");
        }
        for bad in [
            "",
            "dataset",
            "dataset/",
            "dataset/a b",
            "asset/*",
            "dataset/../x",
            "*/*",
        ] {
            assert!(bad.parse::<ResourcePattern>().is_err(), "{bad}");
        }
    }

    #[test]
    fn creation_needs_the_whole_type() {
        let one: ResourcePattern = "dataset/d1".parse().unwrap();
        let all: ResourcePattern = "dataset/*".parse().unwrap();
        assert!(!one.covers(Resource::New(ResourceType::Dataset)));
        assert!(all.covers(Resource::New(ResourceType::Dataset)));
        assert!(!all.covers(Resource::New(ResourceType::Run)));
        assert!(one.covers(Resource::Collection(ResourceType::Dataset)));
    }
}
