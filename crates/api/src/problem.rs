//! The problem document (RFC 9457) that every refusal carries, and the names of those that no key is needed for.
//!
//! `message` repeats `detail`, because the official client shows `message` and nothing else. The codes of refusals of a
//! key stand in [`keyward_core::refusal::Code`]; those of requests stand here.

use keyward_core::field::FieldProblem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::members::UndecidedKeysView;

/// The content type of a problem document.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// A problem document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemDocument {
    /// The help page about this code, absolute.
    #[serde(rename = "type")]
    pub type_uri: String,
    /// A few words, the same for every problem of this code.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened and what would help.
    pub detail: String,
    /// The same as `detail`.
    pub message: String,
    /// The machine-readable name.
    pub code: String,
    /// The request's id, as it stands in the log.
    pub trace_id: String,
    /// The problems of single fields, all at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<WireFieldProblem>,
    /// Keys that have to be decided about first (`keys_undecided`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<UndecidedKeysView>,
}

/// One field's problem on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = FieldProblem)]
pub struct WireFieldProblem {
    /// The field's path in the request.
    pub field: String,
    /// What is accepted.
    pub message: String,
}

impl From<FieldProblem> for WireFieldProblem {
    fn from(problem: FieldProblem) -> Self {
        Self {
            field: problem.field,
            message: problem.message,
        }
    }
}

/// The machine-readable name of a problem that is not about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RequestCode {
    /// 400
    MalformedBody,
    /// 403
    Forbidden,
    /// 404
    NotFound,
    /// 404
    NoSuchRoute,
    /// 404
    NotAvailableHere,
    /// 405
    MethodNotAllowed,
    /// 409
    Conflict,
    /// 409
    InProgress,
    /// 409
    IdempotencyMismatch,
    /// 409
    KeysUndecided,
    /// 410
    InvitationExpired,
    /// 410
    InvitationUsed,
    /// 410
    InvitationRevoked,
    /// 410
    InvitationReplaced,
    /// 412
    VersionMismatch,
    /// 413
    BodyTooLarge,
    /// 422
    InvalidFields,
    /// 428
    PreconditionRequired,
    /// 500
    Internal,
    /// 503
    OutcomeUnknown,
    /// 503
    Unavailable,
}

impl RequestCode {
    /// Every code.
    pub const ALL: [Self; 21] = [
        Self::MalformedBody,
        Self::Forbidden,
        Self::NotFound,
        Self::NoSuchRoute,
        Self::NotAvailableHere,
        Self::MethodNotAllowed,
        Self::Conflict,
        Self::InProgress,
        Self::IdempotencyMismatch,
        Self::KeysUndecided,
        Self::InvitationExpired,
        Self::InvitationUsed,
        Self::InvitationRevoked,
        Self::InvitationReplaced,
        Self::VersionMismatch,
        Self::BodyTooLarge,
        Self::InvalidFields,
        Self::PreconditionRequired,
        Self::Internal,
        Self::OutcomeUnknown,
        Self::Unavailable,
    ];

    /// The name in replies and logs.
    pub const fn name(self) -> &'static str {
        self.row().0
    }

    /// The HTTP status.
    pub const fn status(self) -> u16 {
        self.row().1
    }

    /// A few words for the document's title and the help page.
    pub const fn title(self) -> &'static str {
        self.row().2
    }

    /// What whoever meets it can do, for the help page.
    pub const fn remedy(self) -> &'static str {
        self.row().3
    }

    #[rustfmt::skip]
    const fn row(self) -> (&'static str, u16, &'static str, &'static str) {
        match self {
            Self::MalformedBody => ("malformed_body", 400, "Unreadable body", "Send one JSON object, in UTF-8, with the content type application/json."),
            Self::Forbidden => ("forbidden", 403, "Not allowed to you", "The message says whose it is to do: ask one of them."),
            Self::NotFound => ("not_found", 404, "Not found", "Check the id. What was deleted stays deleted, and what belongs to another organization is not shown."),
            Self::NoSuchRoute => ("no_such_route", 404, "No such address", "Check the path. The resource API begins with /workspaces at the root of this server."),
            Self::NotAvailableHere => ("not_available_here", 404, "Not available here", "The key may do this, but this server does not offer it yet."),
            Self::MethodNotAllowed => ("method_not_allowed", 405, "Method not allowed", "The address exists, but not for this HTTP method; the Allow header names those it has."),
            Self::Conflict => ("conflict", 409, "Conflict", "It does not fit the present state; the message says why."),
            Self::InProgress => ("in_progress", 409, "Still in progress", "A request with this Idempotency-Key is being carried out. Ask again in a moment, with the same key and body."),
            Self::IdempotencyMismatch => ("idempotency_mismatch", 409, "Idempotency-Key used before", "The Idempotency-Key belongs to another request. Use a new random one for each thing that is to be made, and the same one only to repeat a request as it was."),
            Self::KeysUndecided => ("keys_undecided", 409, "Keys to decide about", "The person answers for keys. Send `keys`: `keep` leaves them as they are, `hand_over` with `to` makes another Owner or Admin answer for them, `end` ends them for good."),
            Self::InvitationExpired => ("invitation_expired", 410, "Expired invitation", "Ask whoever sent it for a new one."),
            Self::InvitationUsed => ("invitation_used", 410, "Used invitation", "A link is good for one person once. If it was not you who used it, tell whoever sent it."),
            Self::InvitationRevoked => ("invitation_revoked", 410, "Withdrawn invitation", "Whoever manages the organization took it back. Ask them."),
            Self::InvitationReplaced => ("invitation_replaced", 410, "Replaced invitation", "Use the link that came last."),
            Self::VersionMismatch => ("version_mismatch", 412, "Changed meanwhile", "Somebody else changed it since it was read, and nothing was changed now. Read it again, look at what changed, and send If-Match with the ETag that it has now."),
            Self::BodyTooLarge => ("body_too_large", 413, "Body too large", "Send less at once; the message names the limit."),
            Self::InvalidFields => ("invalid_fields", 422, "Invalid fields", "The list `errors` names every field that has to be changed, and what is accepted. Nothing was changed."),
            Self::PreconditionRequired => ("precondition_required", 428, "Version missing", "Send If-Match with the ETag of what you read, so that nobody's change in between is lost."),
            Self::Internal => ("internal", 500, "Defect in the server", "Something is wrong with the server and not with the request. The operator finds the cause in the log by the trace id."),
            Self::OutcomeUnknown => ("outcome_unknown", 503, "Outcome not known yet", "The write was sent to the database, which has not answered. It goes on; ask again, which is safe."),
            Self::Unavailable => ("unavailable", 503, "Not possible just now", "Something that the server needs is away; nothing was changed. Try again."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_written_once_and_never_that_of_a_key_refusal() {
        let mut names: Vec<&str> = RequestCode::ALL.iter().map(|code| code.name()).collect();
        names.extend(keyward_core::refusal::Code::ALL.iter().map(|code| code.name()));
        names.extend(
            keyward_core::management_refusal::ManagementCode::ALL
                .iter()
                .map(|code| code.name()),
        );
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(
            RequestCode::ALL
                .iter()
                .all(|code| (400..600).contains(&code.status()))
        );
    }
}
