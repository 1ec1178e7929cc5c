//! The three independent switches of a key: Dataset, Training and Deployment Access.
//!
//! A scope is the outer bound of what a key may do; the permission level narrows within it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One of the three parts of the platform that a key can be let into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Datasets, assets and annotations.
    Dataset,
    /// Training projects, workflows, runs and models.
    Training,
    /// Deployments, their projects and endpoints, and inference.
    Deployment,
}

impl Scope {
    /// All three, in the order in which they are shown.
    pub const ALL: [Self; 3] = [Self::Dataset, Self::Training, Self::Deployment];

    /// The name in the API, the CLI and the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dataset => "dataset",
            Self::Training => "training",
            Self::Deployment => "deployment",
        }
    }

    /// The scope of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Dataset => 1,
            Self::Training => 2,
            Self::Deployment => 4,
        }
    }
}

/// A set of scopes. The empty set grants nothing; no value means "all" by being absent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ScopeSet(u8);

impl ScopeSet {
    /// No scope.
    pub const NONE: Self = Self(0);
    /// All three scopes.
    pub const ALL: Self = Self(7);

    /// This set and `scope`.
    #[must_use]
    pub const fn with(self, scope: Scope) -> Self {
        Self(self.0 | scope.bit())
    }

    /// This set without `scope`.
    #[must_use]
    pub const fn without(self, scope: Scope) -> Self {
        Self(self.0 & !scope.bit())
    }

    /// Whether `scope` is in the set.
    pub const fn contains(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    /// Whether every scope of `other` is in the set.
    pub const fn contains_all(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether no scope is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The scopes of the set, in their order.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.contains(*scope))
    }

    /// The number that is stored: bits 1, 2 and 4.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The set of a stored number; `None` if bits beyond the three are set.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits <= 7 { Some(Self(bits)) } else { None }
    }
}

impl FromIterator<Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        scopes.into_iter().fold(Self::NONE, Self::with)
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for scope in self.iter() {
            write!(formatter, "{separator}{}", scope.name())?;
            separator = ",";
        }
        Ok(())
    }
}

impl fmt::Debug for ScopeSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ScopeSet({self})")
    }
}
