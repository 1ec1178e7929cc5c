//! The permit: what a request holds after its key was verified for one operation on one resource.
//!
//! A use case of the resource API takes a permit, so that it can't be called without the check, and a write asks again
//! in its own transaction. Only [`crate::verify`] makes permits.

use std::sync::Arc;

use keyward_core::access::Visible;
use keyward_core::address::CallerAddress;
use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::operation::Operation;
use keyward_core::rate::RateStatus;
use keyward_core::record::Actor;
use keyward_core::resource::{Resource, ResourceType};

use crate::cache::CachedKey;

/// What is identified by a verified key.
#[derive(Debug, Clone)]
pub struct Identity {
    pub(crate) key: Arc<CachedKey>,
    pub(crate) secret_number: i64,
    pub(crate) rate: Option<RateStatus>,
}

impl Identity {
    /// The key.
    pub fn key_id(&self) -> KeyId {
        self.key.record.id
    }

    /// Its organization.
    pub fn organization_id(&self) -> &OrganizationId {
        &self.key.record.organization_id
    }

    /// How the bucket of its rate limit stands after this request; `None` for a key without one.
    pub const fn rate(&self) -> Option<RateStatus> {
        self.rate
    }

    /// What the key was given.
    pub fn access(&self) -> &keyward_core::access::Access {
        &self.key.record.access
    }
}

/// A resource with its id owned, so that a permit outlives the request's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnedResource {
    /// See [`Resource::Organization`].
    Organization,
    /// See [`Resource::Collection`].
    Collection(ResourceType),
    /// See [`Resource::New`].
    New(ResourceType),
    /// See [`Resource::Item`].
    Item(ResourceType, String),
}

impl OwnedResource {
    /// The borrowed form that decisions take.
    pub fn as_resource(&self) -> Resource<'_> {
        match self {
            Self::Organization => Resource::Organization,
            Self::Collection(of) => Resource::Collection(*of),
            Self::New(of) => Resource::New(*of),
            Self::Item(of, id) => Resource::Item(*of, id),
        }
    }
}

/// A key's permission for one operation on one resource, as it was when the request was decided.
#[derive(Debug, Clone)]
pub struct Permit {
    pub(crate) identity: Identity,
    pub(crate) operation: Operation,
    pub(crate) resource: OwnedResource,
    pub(crate) address: CallerAddress,
}

impl Permit {
    /// Whose key.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The organization that everything happens in.
    pub fn organization_id(&self) -> &OrganizationId {
        self.identity.organization_id()
    }

    /// What is permitted.
    pub const fn operation(&self) -> Operation {
        self.operation
    }

    /// On what.
    pub const fn resource(&self) -> &OwnedResource {
        &self.resource
    }

    /// The key as the one who acts.
    pub fn actor(&self) -> Actor {
        Actor::Key(self.identity.key_id())
    }

    /// Which resources of a type a list made under this permit may show.
    pub fn visible(&self, resource_type: ResourceType) -> Visible<'_> {
        self.identity.access().visible(self.operation, resource_type)
    }

    /// Whether people and billing may be shown: only to a Full key with all three scopes.
    pub fn sees_people(&self) -> bool {
        self.identity.access().is_unnarrowed()
    }
}
