//! Every way of saying no: its code, its HTTP status, and the sentence that tells what would help.
//!
//! One table for the whole product. The sentences name nothing that the caller may not know; whose key it is, and
//! whether another organization exists, is never said. The pointer to this server's pages is added at the edge,
//! which knows its public URL.

use crate::key_text::Malformed;
use crate::level::PermissionLevel;
use crate::operation::{LevelAnswer, Operation, ScopeNeed};
use crate::rate::RateStatus;
use crate::resource::ResourceType;
use crate::scope::{Scope, ScopeSet};
use crate::state::{DeleteReason, PauseReason};
use crate::time::Timestamp;

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The request contradicts itself.
    BadRequest(BadRequest),
    /// No key came.
    KeyMissing,
    /// What came is no key.
    KeyMalformed(Malformed),
    /// Well formed, but not one of ours.
    KeyUnknown,
    /// The organization was not named.
    OrganizationMissing,
    /// The organization is not the key's, or path and header differ.
    OrganizationMismatch,
    /// The key was deleted.
    KeyDeleted {
        /// Why.
        reason: DeleteReason,
    },
    /// The key was rotated, and this is its old secret.
    KeySuperseded,
    /// The key is paused.
    KeyPaused {
        /// Why.
        reason: PauseReason,
    },
    /// The key's time has not come.
    KeyNotYetValid {
        /// From when on it is accepted.
        from: Timestamp,
    },
    /// The key's time is over.
    KeyExpired {
        /// Since when.
        at: Timestamp,
    },
    /// The caller's address is outside the key's list.
    AddressNotAllowed,
    /// The key lacks a scope.
    ScopeMissing {
        /// What was asked.
        operation: Operation,
        /// What the key holds.
        held: ScopeSet,
    },
    /// The key's level or rules do not allow the operation.
    OperationNotPermitted {
        /// What was asked.
        operation: Operation,
        /// The key's level.
        level: PermissionLevel,
    },
    /// The key's rules allow the operation, but not here.
    ResourceNotPermitted {
        /// What was asked.
        operation: Operation,
        /// On what type.
        resource_type: Option<ResourceType>,
    },
    /// The organization is locked.
    OrganizationLocked,
    /// Too many requests.
    RateLimited {
        /// When it is worth trying again.
        retry_after_seconds: u32,
        /// How the key's bucket stands.
        status: RateStatus,
    },
    /// The check could not be made.
    StoreUnavailable,
}

/// How a request contradicts itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadRequest {
    /// More than one `Authorization` header.
    TwoAuthorizations,
    /// More than one `Organization-Id` header.
    TwoOrganizations,
    /// A key in the query string, where proxies and histories keep it.
    KeyInQuery,
}

/// The machine-readable name of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    /// 400
    BadRequest,
    /// 401
    KeyMissing,
    /// 401
    KeyMalformed,
    /// 401
    KeyUnknown,
    /// 401
    OrganizationMissing,
    /// 401
    OrganizationMismatch,
    /// 401
    KeyDeleted,
    /// 401
    KeySuperseded,
    /// 401
    KeyPaused,
    /// 401
    KeyNotYetValid,
    /// 401
    KeyExpired,
    /// 403
    AddressNotAllowed,
    /// 403
    ScopeMissing,
    /// 403
    OperationNotPermitted,
    /// 403
    ResourceNotPermitted,
    /// 403
    OrganizationLocked,
    /// 429
    RateLimited,
    /// 503
    StoreUnavailable,
}

impl Code {
    /// Every code, in the order in which they are checked.
    pub const ALL: [Self; 18] = [
        Self::BadRequest,
        Self::KeyMissing,
        Self::KeyMalformed,
        Self::KeyUnknown,
        Self::OrganizationMissing,
        Self::OrganizationMismatch,
        Self::KeyDeleted,
        Self::KeySuperseded,
        Self::KeyPaused,
        Self::KeyNotYetValid,
        Self::KeyExpired,
        Self::AddressNotAllowed,
        Self::ScopeMissing,
        Self::OperationNotPermitted,
        Self::ResourceNotPermitted,
        Self::OrganizationLocked,
        Self::RateLimited,
        Self::StoreUnavailable,
    ];

    /// The name in replies, logs and metrics.
    pub const fn name(self) -> &'static str {
        self.row().0
    }

    /// The HTTP status.
    pub const fn status(self) -> u16 {
        self.row().1
    }

    /// A few words for the problem document's title and the help page.
    pub const fn title(self) -> &'static str {
        self.row().2
    }

    /// What the person who meets the refusal can do, for the help page.
    pub const fn remedy(self) -> &'static str {
        self.row().3
    }

    #[rustfmt::skip]
    const fn row(self) -> (&'static str, u16, &'static str, &'static str) {
        match self {
            Self::BadRequest => ("bad_request", 400, "Contradictory request", "Send one Authorization header and one Organization-Id header, and never put a key into the URL."),
            Self::KeyMissing => ("key_missing", 401, "No key", "Send the key in the header `Authorization: Bearer <secret key>`. With the official client, set DATATURE_VI_SECRET_KEY."),
            Self::KeyMalformed => ("key_malformed", 401, "Incomplete key", "The key was cut, changed or wrapped in spaces or quotes on its way. Copy it again as one line; if it is lost, make a new one."),
            Self::KeyUnknown => ("key_unknown", 401, "Unknown key", "The key is complete but was not issued by this server. Check that the endpoint is the server that made the key."),
            Self::OrganizationMissing => ("organization_missing", 401, "No organization id", "Send the header `Organization-Id`. With the official client, set DATATURE_VI_ORGANIZATION_ID."),
            Self::OrganizationMismatch => ("organization_mismatch", 401, "Wrong organization id", "The key does not belong to the organization that the request names, or path and header name different ones. The id stands beside the key on the Secret Keys page."),
            Self::KeyDeleted => ("key_deleted", 401, "Deleted key", "The key was deleted and never comes back. Make a new one and put it where the old one was."),
            Self::KeySuperseded => ("key_superseded", 401, "Rotated key", "The key was rotated and this is its old secret. Use the new one."),
            Self::KeyPaused => ("key_paused", 401, "Paused key", "An Owner or Admin paused the key, or it came back with a restored backup and is held. They can resume it."),
            Self::KeyNotYetValid => ("key_not_yet_valid", 401, "Key not valid yet", "The key is accepted only from a later moment on."),
            Self::KeyExpired => ("key_expired", 401, "Expired key", "The key reached the end that it was given. Make a new one."),
            Self::AddressNotAllowed => ("address_not_allowed", 403, "Address not allowed", "The key is accepted only from certain networks. Call from one of them, or have the list changed. Behind a proxy, the operator sets KEYWARD_TRUSTED_PROXIES."),
            Self::ScopeMissing => ("scope_missing", 403, "Scope missing", "The key was not given access to this part of the platform. Use another key, or have its scopes changed."),
            Self::OperationNotPermitted => ("operation_not_permitted", 403, "Operation not permitted", "The key's permission level, or its rules, do not include this operation. Use another key, or have its permission changed."),
            Self::ResourceNotPermitted => ("resource_not_permitted", 403, "Resource not permitted", "The key's rules include this operation, but not for this resource. Whether the resource exists is not said."),
            Self::OrganizationLocked => ("organization_locked", 403, "Organization locked", "The organization is locked. Its Owner can say why."),
            Self::RateLimited => ("rate_limited", 429, "Too many requests", "Wait as long as Retry-After says."),
            Self::StoreUnavailable => ("store_unavailable", 503, "Check not possible", "The server could not check the key just now. Nothing is wrong with the key; try again. If it lasts, the operator finds the cause in the log by the trace id."),
        }
    }
}

impl Refusal {
    /// The code.
    pub const fn code(&self) -> Code {
        match self {
            Self::BadRequest(_) => Code::BadRequest,
            Self::KeyMissing => Code::KeyMissing,
            Self::KeyMalformed(_) => Code::KeyMalformed,
            Self::KeyUnknown => Code::KeyUnknown,
            Self::OrganizationMissing => Code::OrganizationMissing,
            Self::OrganizationMismatch => Code::OrganizationMismatch,
            Self::KeyDeleted { .. } => Code::KeyDeleted,
            Self::KeySuperseded => Code::KeySuperseded,
            Self::KeyPaused { .. } => Code::KeyPaused,
            Self::KeyNotYetValid { .. } => Code::KeyNotYetValid,
            Self::KeyExpired { .. } => Code::KeyExpired,
            Self::AddressNotAllowed => Code::AddressNotAllowed,
            Self::ScopeMissing { .. } => Code::ScopeMissing,
            Self::OperationNotPermitted { .. } => Code::OperationNotPermitted,
            Self::ResourceNotPermitted { .. } => Code::ResourceNotPermitted,
            Self::OrganizationLocked => Code::OrganizationLocked,
            Self::RateLimited { .. } => Code::RateLimited,
            Self::StoreUnavailable => Code::StoreUnavailable,
        }
    }

    /// Whether the whole secret matched before this was found: then the key's id is known to be the caller's.
    pub const fn is_of_holder(&self) -> bool {
        !matches!(
            self,
            Self::BadRequest(_)
                | Self::KeyMissing
                | Self::KeyMalformed(_)
                | Self::KeyUnknown
                | Self::StoreUnavailable
        )
    }

    /// What happened and what would help, in one or two sentences. Times are left to the edge, which knows how to
    /// write them (see [`Refusal::moment`]).
    pub fn sentence(&self) -> String {
        match self {
            Self::BadRequest(BadRequest::TwoAuthorizations) => {
                "The request has more than one Authorization header; send exactly one.".to_owned()
            }
            Self::BadRequest(BadRequest::TwoOrganizations) => {
                "The request has more than one Organization-Id header; send exactly one.".to_owned()
            }
            Self::BadRequest(BadRequest::KeyInQuery) => {
                "A secret key must not stand in a URL, where proxies and histories keep it; send it in the header \
                 `Authorization: Bearer <secret key>`, and treat a key that was in a URL as leaked."
                    .to_owned()
            }
            Self::KeyMissing => "No secret key came with the request; send it in the header \
                 `Authorization: Bearer <secret key>` (DATATURE_VI_SECRET_KEY for the official client)."
                .to_owned(),
            Self::KeyMalformed(Malformed::ManagementToken) => "What came is a management token, which manages keys and opens \
                 nothing that they open; send a secret key here."
                .to_owned(),
            Self::KeyMalformed(defect) => format!("The secret key is incomplete, or something was added to it: {defect}."),
            Self::KeyUnknown => "The secret key is well formed, but this server does not know it; check that the \
                 endpoint is the server that made the key."
                .to_owned(),
            Self::OrganizationMissing => "The organization id is missing; send it in the header `Organization-Id` \
                 (DATATURE_VI_ORGANIZATION_ID for the official client)."
                .to_owned(),
            Self::OrganizationMismatch => "The organization id does not fit the secret key; use the id that is shown \
                 beside the key, the same in the path and in the header `Organization-Id`."
                .to_owned(),
            Self::KeyDeleted { reason } => format!(
                "The secret key was deleted (reason: {}) and does not come back; make a new one.",
                reason.name().replace('_', " ")
            ),
            Self::KeySuperseded => {
                "The secret key was rotated and this is its old secret; use the new one.".to_owned()
            }
            Self::KeyPaused { reason: PauseReason::Requested } => {
                "The secret key is paused; an Owner or Admin can resume it.".to_owned()
            }
            Self::KeyPaused { reason: PauseReason::Restored } => {
                "The secret key came back with a restored backup and is held; the operator can resume it with \
                 `keyward keys resume`."
                    .to_owned()
            }
            Self::KeyNotYetValid { .. } => "The secret key is not valid yet".to_owned(),
            Self::KeyExpired { .. } => "The secret key has expired; make a new one".to_owned(),
            Self::AddressNotAllowed => {
                "The secret key may not be used from this address; an Owner or Admin can change its list.".to_owned()
            }
            Self::ScopeMissing { operation, held } => match operation.scope_need() {
                ScopeNeed::One(scope) => format!(
                    "`{operation}` needs the scope `{}`; the secret key has {}.",
                    scope.name(),
                    listed(*held)
                ),
                ScopeNeed::AllThree => format!(
                    "`{operation}` needs all three scopes (dataset, training, deployment); the secret key has {}.",
                    listed(*held)
                ),
                ScopeNeed::Any | ScopeNeed::Nothing => format!("`{operation}` needs a scope; the secret key has none."),
            },
            Self::OperationNotPermitted { operation, level } => match operation {
                Operation::MembersWrite => {
                    "No secret key may change who belongs to an organization; an Owner or Admin does that.".to_owned()
                }
                _ if operation.at_level(*level) == LevelAnswer::ByRule => format!(
                    "`{operation}` is not in the rules of this Restricted key; it needs a rule that names \
                     `{operation}` or `{}.*`.",
                    operation.family().name()
                ),
                _ => format!("`{operation}` is not permitted to a {} key{}.", level.title(), needed(*operation)),
            },
            Self::ResourceNotPermitted { operation, resource_type: None } => {
                format!("The key's rules name `{operation}`, but not for what was asked; a rule must name it.")
            }
            Self::ResourceNotPermitted { operation, resource_type: Some(of) } => {
                let name = of.name();
                let creates = matches!(
                    operation,
                    Operation::DatasetWrite | Operation::TrainingWrite | Operation::DeploymentWrite
                );
                format!(
                    "The key's rules name `{operation}`, but not for this {}; it needs a rule for `{name}/<id>` or \
                     `{name}/*`{}.",
                    name.replace('_', " "),
                    if creates { " (to create one, `*` in place of the id)" } else { "" }
                )
            }
            Self::OrganizationLocked => "The organization is locked; its Owner can say why.".to_owned(),
            Self::RateLimited {
                retry_after_seconds, ..
            } => {
                format!("Too many requests with this key; try again in {retry_after_seconds} s.")
            }
            Self::StoreUnavailable => {
                "The key could not be checked just now; nothing is wrong with it. Try again shortly.".to_owned()
            }
        }
    }

    /// The moment that belongs to the sentence, with the word that leads to it.
    pub const fn moment(&self) -> Option<(&'static str, Timestamp)> {
        match self {
            Self::KeyNotYetValid { from } => Some(("it is accepted from", *from)),
            Self::KeyExpired { at } => Some(("it ended at", *at)),
            _ => None,
        }
    }
}

fn listed(held: ScopeSet) -> String {
    if held.is_empty() {
        "none".to_owned()
    } else {
        held.iter().map(Scope::name).collect::<Vec<_>>().join(", ")
    }
}

/// Which levels would do, for the sentence.
fn needed(operation: Operation) -> String {
    let levels: Vec<&str> = PermissionLevel::ALL
        .into_iter()
        .filter(|level| operation.at_level(*level) == LevelAnswer::Yes)
        .map(PermissionLevel::title)
        .collect();
    if levels.is_empty() {
        String::new()
    } else {
        format!("; it needs {}", levels.join(" or "))
    }
}
