//! Advise: what a key was used for in the last days against what it may do, and the least that would have done.
//!
//! What is narrower is `core::advice`'s to say; here is what was used, and whether there is enough of it to judge by.

use keyward_core::advice::{Advice, advise};
use keyward_core::field::FieldProblem;
use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::operation::Operation;
use keyward_core::record::Key;
use keyward_core::state::KeyState;
use keyward_core::time::DAY_MS;
use keyward_core::usage::hour_of;
use keyward_store::usage_queries::Hours;

use crate::Engine;
use crate::error::EngineError;
use crate::show_usage::MAX_DAYS;

/// What is advised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Narrow it to what was used.
    Narrow,
    /// Leave it: it may do no more than was used.
    Keep,
    /// Remove it: nobody used it.
    Remove,
    /// Wait: nobody used it, and it has not been there for so long.
    Wait,
    /// Nothing: it was deleted.
    Deleted,
}

impl Verdict {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::Narrow, Self::Keep, Self::Remove, Self::Wait, Self::Deleted];

    /// The name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Narrow => "narrow",
            Self::Keep => "keep",
            Self::Remove => "remove",
            Self::Wait => "wait",
            Self::Deleted => "deleted",
        }
    }
}

/// Advice about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyAdvice {
    /// The key.
    pub key: Key,
    /// What to do.
    pub verdict: Verdict,
    /// How often it was accepted.
    pub uses: i64,
    /// How often for each operation.
    pub uses_by_operation: Vec<(Operation, i64)>,
    /// What that says of its access.
    pub advice: Advice,
}

impl Engine {
    /// Advice by the uses of the last `days`.
    ///
    /// # Errors
    /// [`EngineError::NotFound`]; [`EngineError::Invalid`] for too many days, or none.
    pub async fn advise_key(
        &self,
        organization: &OrganizationId,
        id: KeyId,
        days: i64,
    ) -> Result<KeyAdvice, EngineError> {
        if !(1..=MAX_DAYS).contains(&days) {
            return Err(EngineError::Invalid(vec![FieldProblem {
                field: "days".to_owned(),
                message: format!("is a whole number from 1 to {MAX_DAYS}"),
            }]));
        }
        let key = self.show_key(organization, id).await?;
        self.settle_usage().await?;
        let now = self.now();
        let since = now.plus_ms(-days * DAY_MS);
        let hours = Hours {
            from: hour_of(since),
            until: hour_of(now),
        };
        let used = self.inner.store.accepted_uses(organization, id, hours).await?;
        let uses = used.iter().map(|(_, uses)| *uses).sum();
        // What is no operation is being identified, which needs no access.
        let by_operation = used
            .into_iter()
            .filter_map(|(name, uses)| Some((Operation::from_name(&name)?, uses)));
        let uses_by_operation: Vec<(Operation, i64)> = by_operation.collect();
        let operations: Vec<Operation> = uses_by_operation.iter().map(|(one, _)| *one).collect();
        let advice = advise(&key.record.access, &operations);
        let verdict = match key.record.state {
            KeyState::Deleted { .. } => Verdict::Deleted,
            KeyState::Active | KeyState::Paused { .. } if uses == 0 && key.created_at > since => {
                Verdict::Wait
            }
            KeyState::Active | KeyState::Paused { .. } if uses == 0 => Verdict::Remove,
            KeyState::Active | KeyState::Paused { .. } if advice.least().is_some() => Verdict::Narrow,
            KeyState::Active | KeyState::Paused { .. } => Verdict::Keep,
        };
        Ok(KeyAdvice {
            key,
            verdict,
            uses,
            uses_by_operation,
            advice,
        })
    }
}
