//! Why a use case did not happen, as far as callers answer differently.

use keyward_core::field::FieldProblem;
use keyward_core::invitation::InvitationOver;
use keyward_core::random::RandomUnavailable;
use keyward_core::refusal::Refusal;
use keyward_store::StoreError;

/// A use case failed; nothing was changed, unless it says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// There is no such thing, as far as the caller may know.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// The request has problems.
    #[error("the request has {} problem(s)", .0.len())]
    Invalid(Vec<FieldProblem>),
    /// It does not fit the present state.
    #[error("{0}")]
    Conflict(String),
    /// Somebody else changed it since the caller read it; nothing was changed.
    #[error("it was changed meanwhile and is at version {current_version} now")]
    Stale {
        /// The version that it has.
        current_version: i64,
    },
    /// The first attempt with this idempotency key is still under way.
    #[error("the first attempt with this idempotency key is under way")]
    InProgress,
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used for another request")]
    OtherRequest,
    /// The caller may know of it, and may not do this; the text says who may.
    #[error("{0}")]
    Forbidden(String),
    /// The invitation can't be accepted any more.
    #[error("{0}")]
    InvitationOver(InvitationOver),
    /// The caller's key does not allow it any more.
    #[error("the key was refused when the write was about to commit")]
    Refused(Refusal),
    /// Something that is needed is away.
    #[error("the store is unavailable")]
    Unavailable(#[source] StoreError),
    /// Too much is being done at once; nothing was changed.
    #[error("too much is being done at once")]
    Busy,
    /// Too often; nothing was changed, or looked at.
    #[error("too many attempts")]
    TooMany {
        /// When it is worth to try again.
        retry_after_ms: i64,
    },
    /// The write was sent and its outcome is not known yet; asking again is safe.
    #[error("the outcome of the write is not known yet")]
    OutcomeUnknown,
    /// A sealed record does not open: the database was changed by other means, or the keyring is wrong.
    #[error("a sealed record does not fit its row")]
    SealBroken,
    /// The operating system gives no random bytes.
    #[error(transparent)]
    Random(#[from] RandomUnavailable),
}

impl From<StoreError> for EngineError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::OutcomeUnknown(_) => Self::OutcomeUnknown,
            other => Self::Unavailable(other),
        }
    }
}
