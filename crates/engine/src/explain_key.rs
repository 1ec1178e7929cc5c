//! Explain: could this key do that, from there, and why not. Nothing is carried out, and nothing counts as a use.

use keyward_core::address::CallerAddress;
use keyward_core::decision::{OrganizationClaim, Purpose, Question};
use keyward_core::explain::{Explanation, explain};
use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::operation::Operation;
use keyward_core::state::SecretLife;
use keyward_core::time::Timestamp;

use crate::Engine;
use crate::error::EngineError;
use crate::permit::OwnedResource;

/// What is asked of a key.
#[derive(Debug, Clone)]
pub struct ExplainQuestion {
    /// What and on what; `None` asks whether the key is accepted at all.
    pub what: Option<(Operation, OwnedResource)>,
    /// From where.
    pub address: CallerAddress,
    /// When; `None` is now.
    pub at: Option<Timestamp>,
}

impl Engine {
    /// Answers as a verify with the key's current secret would.
    ///
    /// # Errors
    /// [`EngineError::NotFound`].
    pub async fn explain_key(
        &self,
        organization: &OrganizationId,
        id: KeyId,
        question: &ExplainQuestion,
    ) -> Result<Explanation, EngineError> {
        let key = self.show_key(organization, id).await?;
        let state = self.show_organization(organization).await?.state;
        let purpose = match &question.what {
            None => Purpose::Identify,
            Some((operation, resource)) => Purpose::Perform {
                operation: *operation,
                resource: resource.as_resource(),
            },
        };
        let (now, earliest) = match question.at {
            Some(at) => (at, at),
            None => self.inner.time.moment(),
        };
        let asked = Question {
            claim: OrganizationClaim::NotAsked,
            purpose,
            address: question.address,
            now,
            earliest,
        };
        Ok(explain(&key.record, SecretLife::Current, state, &asked))
    }
}
