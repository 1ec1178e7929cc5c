//! What an operation is done to, as far as a permission can tell resources apart.
//!
//! Children (assets, annotations, outputs) count as their parent, so they do not appear here. Whether the resource
//! exists is none of this module's business: the decision precedes the look-up.

use std::fmt;

/// The types of resources that rules can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResourceType {
    /// A dataset with its assets and annotations.
    Dataset,
    /// A training project.
    TrainingProject,
    /// A workflow.
    Flow,
    /// A run with its outputs.
    Run,
    /// A deployment.
    Deployment,
    /// A deployment project.
    DeploymentProject,
    /// A deployment endpoint.
    DeploymentEndpoint,
}

impl ResourceType {
    /// All types.
    pub const ALL: [Self; 7] = [
        Self::Dataset,
        Self::TrainingProject,
        Self::Flow,
        Self::Run,
        Self::Deployment,
        Self::DeploymentProject,
        Self::DeploymentEndpoint,
    ];

    /// The name in rules and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dataset => "dataset",
            Self::TrainingProject => "training_project",
            Self::Flow => "flow",
            Self::Run => "run",
            Self::Deployment => "deployment",
            Self::DeploymentProject => "deployment_project",
            Self::DeploymentEndpoint => "deployment_endpoint",
        }
    }

    /// The type of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|resource_type| resource_type.name() == name)
    }
}

/// The resource of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource<'a> {
    /// The organization itself; rules do not reach it.
    Organization,
    /// A list of a type: allowed if the key may see at least some, and then filtered.
    Collection(ResourceType),
    /// A resource that does not exist yet: only a rule for the whole type covers it.
    New(ResourceType),
    /// One existing (or absent) resource by id.
    Item(ResourceType, &'a str),
}

impl fmt::Display for Resource<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Organization => formatter.write_str("organization"),
            Self::Collection(resource_type) | Self::New(resource_type) => {
                write!(formatter, "{}/*", resource_type.name())
            }
            Self::Item(resource_type, id) => write!(formatter, "{}/{id}", resource_type.name()),
        }
    }
}
