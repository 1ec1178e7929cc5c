//! "Could this key do that, and why not": the decision, with what decided it.
//!
//! The answer is that of [`crate::decision::decide`], which is asked here and nowhere repeated; tests hold the two
//! together. Nothing is carried out, and nothing is counted.

use crate::access::Access;
use crate::decision::{OrganizationState, Purpose, Question, decide};
use crate::level::PermissionLevel;
use crate::operation::{LevelAnswer, Operation};
use crate::record::KeyRecord;
use crate::refusal::{Code, Refusal};
use crate::resource::Resource;
use crate::state::SecretLife;

/// A decision with what decided it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The refusal; `None` if the key may.
    pub refusal: Option<Refusal>,
    /// The part of the key that decided, as its field is called in the API: `level`, `rules[1]`, `scopes`, `expires_at`,
    /// ... or `organization`.
    pub decided_by: String,
}

/// Explains what [`decide`] answers.
pub fn explain(
    record: &KeyRecord,
    life: SecretLife,
    organization: OrganizationState,
    question: &Question<'_>,
) -> Explanation {
    match decide(record, life, organization, question) {
        Ok(()) => Explanation {
            refusal: None,
            decided_by: match question.purpose {
                Purpose::Identify => "state".to_owned(),
                Purpose::Perform { operation, resource } => allowed_by(&record.access, operation, resource),
            },
        },
        Err(refusal) => Explanation {
            decided_by: refused_by(&refusal, record, organization),
            refusal: Some(refusal),
        },
    }
}

/// The first rule that allows it, or the level.
fn allowed_by(access: &Access, operation: Operation, resource: Resource<'_>) -> String {
    let permission = access.permission();
    if operation.at_level(permission.level()) != LevelAnswer::ByRule {
        return "level".to_owned();
    }
    let position = permission
        .rules()
        .iter()
        .position(|rule| rule.allows(operation, resource));
    position.map_or_else(|| "rules".to_owned(), |at| format!("rules[{at}]"))
}

fn refused_by(refusal: &Refusal, record: &KeyRecord, organization: OrganizationState) -> String {
    let field = match refusal.code() {
        Code::KeyPaused if organization == OrganizationState::Stopped && !is_paused(record) => "organization",
        Code::KeyDeleted | Code::KeyPaused => "state",
        Code::KeySuperseded => "secret",
        Code::KeyNotYetValid => "not_before",
        Code::KeyExpired => "expires_at",
        Code::AddressNotAllowed => "allowed_addresses",
        Code::ScopeMissing => "scopes",
        Code::OperationNotPermitted | Code::ResourceNotPermitted
            if record.access.permission().level() == PermissionLevel::Restricted =>
        {
            "rules"
        }
        Code::OperationNotPermitted | Code::ResourceNotPermitted => "level",
        Code::OrganizationMissing | Code::OrganizationMismatch | Code::OrganizationLocked => "organization",
        Code::RateLimited => "rate_limit",
        Code::BadRequest
        | Code::KeyMissing
        | Code::KeyMalformed
        | Code::KeyUnknown
        | Code::StoreUnavailable => "request",
    };
    field.to_owned()
}

const fn is_paused(record: &KeyRecord) -> bool {
    matches!(record.state, crate::state::KeyState::Paused { .. })
}
