//! The operations of the resource API, and the table of who may do them.
//!
//! An operation belongs to a route, never to an HTTP verb: a PUT creates runs, some POSTs only compute. The table
//! here is the only place that says which level may do what; [`crate::decision`] asks it.

use std::fmt;

use crate::level::PermissionLevel;
use crate::resource::ResourceType;
use crate::scope::{Scope, ScopeSet};

/// What a request wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// View the organization.
    OrganizationRead,
    /// Change the organization's display name and preferences.
    OrganizationWrite,
    /// Change who belongs to the organization; no key may.
    MembersWrite,
    /// View datasets, assets, annotations.
    DatasetRead,
    /// Export a dataset.
    DatasetExport,
    /// Create and change datasets and assets.
    DatasetWrite,
    /// Delete datasets and assets.
    DatasetDelete,
    /// Create and change annotations.
    AnnotationWrite,
    /// Delete annotations.
    AnnotationDelete,
    /// View training projects, workflows and runs.
    TrainingRead,
    /// Create and change training projects, workflows and runs.
    TrainingWrite,
    /// Delete training projects, workflows and runs.
    TrainingDelete,
    /// Download a trained model.
    ModelDownload,
    /// View deployments.
    DeploymentRead,
    /// Create and change deployments.
    DeploymentWrite,
    /// Delete deployments.
    DeploymentDelete,
    /// Run inference.
    InferenceRun,
}

/// What the scopes of a key must hold for an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScopeNeed {
    /// At least one scope, whichever.
    Any,
    /// This one.
    One(Scope),
    /// All three.
    AllThree,
    /// None: no scope opens it, the operation is refused whatever they are.
    Nothing,
}

/// What a level says of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LevelAnswer {
    /// Allowed at this level.
    Yes,
    /// Refused at this level.
    No,
    /// The key's rules decide.
    ByRule,
}

impl Operation {
    /// Every operation, in the order of the table.
    pub const ALL: [Self; 17] = [
        Self::OrganizationRead,
        Self::OrganizationWrite,
        Self::MembersWrite,
        Self::DatasetRead,
        Self::DatasetExport,
        Self::DatasetWrite,
        Self::DatasetDelete,
        Self::AnnotationWrite,
        Self::AnnotationDelete,
        Self::TrainingRead,
        Self::TrainingWrite,
        Self::TrainingDelete,
        Self::ModelDownload,
        Self::DeploymentRead,
        Self::DeploymentWrite,
        Self::DeploymentDelete,
        Self::InferenceRun,
    ];

    /// `family.verb`, as rules, messages and the trail write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OrganizationRead => "organization.read",
            Self::OrganizationWrite => "organization.write",
            Self::MembersWrite => "members.write",
            Self::DatasetRead => "dataset.read",
            Self::DatasetExport => "dataset.export",
            Self::DatasetWrite => "dataset.write",
            Self::DatasetDelete => "dataset.delete",
            Self::AnnotationWrite => "annotation.write",
            Self::AnnotationDelete => "annotation.delete",
            Self::TrainingRead => "training.read",
            Self::TrainingWrite => "training.write",
            Self::TrainingDelete => "training.delete",
            Self::ModelDownload => "model.download",
            Self::DeploymentRead => "deployment.read",
            Self::DeploymentWrite => "deployment.write",
            Self::DeploymentDelete => "deployment.delete",
            Self::InferenceRun => "inference.run",
        }
    }

    /// The operation of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.name() == name)
    }

    /// The family: what stands before the dot.
    pub const fn family(self) -> Family {
        match self {
            Self::OrganizationRead | Self::OrganizationWrite => Family::Organization,
            Self::MembersWrite => Family::Members,
            Self::DatasetRead | Self::DatasetExport | Self::DatasetWrite | Self::DatasetDelete => {
                Family::Dataset
            }
            Self::AnnotationWrite | Self::AnnotationDelete => Family::Annotation,
            Self::TrainingRead | Self::TrainingWrite | Self::TrainingDelete => Family::Training,
            Self::ModelDownload => Family::Model,
            Self::DeploymentRead | Self::DeploymentWrite | Self::DeploymentDelete => Family::Deployment,
            Self::InferenceRun => Family::Inference,
        }
    }

    /// What the key's scopes must hold.
    pub const fn scope_need(self) -> ScopeNeed {
        match self {
            Self::OrganizationRead => ScopeNeed::Any,
            Self::OrganizationWrite => ScopeNeed::AllThree,
            Self::MembersWrite => ScopeNeed::Nothing,
            _ => match self.family().scope() {
                Some(scope) => ScopeNeed::One(scope),
                None => ScopeNeed::Nothing,
            },
        }
    }

    /// What the table says for `level`. Anything that is not written here is refused.
    pub const fn at_level(self, level: PermissionLevel) -> LevelAnswer {
        use LevelAnswer::{ByRule, No, Yes};
        use Operation as O;
        match level {
            PermissionLevel::Full => match self {
                O::MembersWrite => No,
                _ => Yes,
            },
            PermissionLevel::ReadOnly => match self {
                O::OrganizationRead
                | O::DatasetRead
                | O::DatasetExport
                | O::TrainingRead
                | O::ModelDownload
                | O::DeploymentRead => Yes,
                _ => No,
            },
            PermissionLevel::LabelerOnly => match self {
                O::OrganizationRead | O::DatasetRead | O::AnnotationWrite => Yes,
                _ => No,
            },
            PermissionLevel::Restricted => match self {
                O::OrganizationRead => Yes,
                O::OrganizationWrite | O::MembersWrite => No,
                _ => ByRule,
            },
        }
    }

    /// Whether the operation only views. A list of the resources that a rule names one by one makes sense for these
    /// alone: its answer is filtered, while a change of "the collection" would reach resources that no rule names.
    pub const fn is_read(self) -> bool {
        matches!(
            self,
            Self::OrganizationRead | Self::DatasetRead | Self::TrainingRead | Self::DeploymentRead
        )
    }

    /// Whether the operation can concern resources of this type at all.
    pub fn concerns(self, resource_type: ResourceType) -> bool {
        use ResourceType as T;
        match self.family() {
            Family::Organization | Family::Members => false,
            Family::Dataset | Family::Annotation => resource_type == T::Dataset,
            Family::Training => matches!(resource_type, T::TrainingProject | T::Flow | T::Run),
            Family::Model => resource_type == T::Run,
            Family::Deployment => {
                matches!(
                    resource_type,
                    T::Deployment | T::DeploymentProject | T::DeploymentEndpoint
                )
            }
            Family::Inference => matches!(resource_type, T::Deployment | T::DeploymentEndpoint),
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A family of operations: a rule that names one also covers operations that come later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// `organization.*`
    Organization,
    /// `members.*`
    Members,
    /// `dataset.*`
    Dataset,
    /// `annotation.*`
    Annotation,
    /// `training.*`
    Training,
    /// `model.*`
    Model,
    /// `deployment.*`
    Deployment,
    /// `inference.*`
    Inference,
}

impl Family {
    /// All families.
    pub const ALL: [Self; 8] = [
        Self::Organization,
        Self::Members,
        Self::Dataset,
        Self::Annotation,
        Self::Training,
        Self::Model,
        Self::Deployment,
        Self::Inference,
    ];

    /// The name before the dot.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Organization => "organization",
            Self::Members => "members",
            Self::Dataset => "dataset",
            Self::Annotation => "annotation",
            Self::Training => "training",
            Self::Model => "model",
            Self::Deployment => "deployment",
            Self::Inference => "inference",
        }
    }

    /// The scope that bounds the family; `None` where no rule can open it.
    pub const fn scope(self) -> Option<Scope> {
        match self {
            Self::Organization | Self::Members => None,
            Self::Dataset | Self::Annotation => Some(Scope::Dataset),
            Self::Training | Self::Model => Some(Scope::Training),
            Self::Deployment | Self::Inference => Some(Scope::Deployment),
        }
    }
}

impl ScopeNeed {
    /// Whether `held` is enough.
    pub const fn is_met_by(self, held: ScopeSet) -> bool {
        match self {
            Self::Any => !held.is_empty(),
            Self::One(scope) => held.contains(scope),
            Self::AllThree => held.contains_all(ScopeSet::ALL),
            // No scope is missing for what no scope opens; the level refuses it.
            Self::Nothing => true,
        }
    }
}
