//! Who does something and in which request: what every write is told and the trail records.

use keyward_core::ids::RequestId;
use keyward_core::record::Actor;

/// The context of a use case.
#[derive(Debug, Clone)]
pub struct Context {
    /// Who.
    pub actor: Actor,
    /// In which request.
    pub request_id: RequestId,
}

impl Context {
    /// A context.
    pub const fn new(actor: Actor, request_id: RequestId) -> Self {
        Self { actor, request_id }
    }
}
