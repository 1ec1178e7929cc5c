//! The decision: may this key, with this secret, do this, here, now? A pure function, default-deny.
//!
//! It is asked only after the whole secret matched; what comes before (headers, malformed, unknown) is
//! [`crate::credentials`]. The order of the checks is the order of the answers that callers get, and is tested cell by
//! cell. Nothing here looks anything up, waits, or allocates on the way to an allow.

use crate::access::AccessRefused;
use crate::address::CallerAddress;
use crate::operation::Operation;
use crate::rate::{RateStatus, Spending};
use crate::record::KeyRecord;
use crate::refusal::Refusal;
use crate::resource::Resource;
use crate::state::{KeyState, PauseReason, SecretLife};
use crate::time::Timestamp;

/// How the request names its organization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrganizationClaim<'a> {
    /// The route asks for the key alone (`GET /v1/verify` without the header).
    NotAsked,
    /// The route asks for the header, and its path names an organization or none.
    Asked {
        /// The `Organization-Id` header.
        header: Option<&'a [u8]>,
        /// The organization in the path.
        path: Option<&'a str>,
    },
}

/// What the request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose<'a> {
    /// To learn whether the key is accepted, and whose it is.
    Identify,
    /// To do something.
    Perform {
        /// What.
        operation: Operation,
        /// To what.
        resource: Resource<'a>,
    },
}

/// What is known of the key's organization, beside the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OrganizationState {
    /// Usable.
    Open,
    /// Locked: every operation is refused, last.
    Locked,
    /// Stopped as a whole: every key of it counts as paused.
    Stopped,
    /// Both: resuming leaves it locked, and unlocking leaves it stopped.
    StoppedAndLocked,
}

impl OrganizationState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Open, Self::Locked, Self::Stopped, Self::StoppedAndLocked];

    /// The name in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Locked => "locked",
            Self::Stopped => "stopped",
            Self::StoppedAndLocked => "stopped_and_locked",
        }
    }

    /// The state of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether every key of it counts as paused.
    pub const fn is_stopped(self) -> bool {
        matches!(self, Self::Stopped | Self::StoppedAndLocked)
    }

    /// Whether it is locked, stopped or not.
    pub const fn is_locked(self) -> bool {
        matches!(self, Self::Locked | Self::StoppedAndLocked)
    }

    /// The state after a stop; a lock stays.
    #[must_use]
    pub const fn stopped(self) -> Self {
        if self.is_locked() {
            Self::StoppedAndLocked
        } else {
            Self::Stopped
        }
    }

    /// The state after a stop was taken back; a lock stays.
    #[must_use]
    pub const fn resumed(self) -> Self {
        if self.is_locked() {
            Self::Locked
        } else {
            Self::Open
        }
    }

    /// The state after a lock; a stop stays.
    #[must_use]
    pub const fn locked(self) -> Self {
        if self.is_stopped() {
            Self::StoppedAndLocked
        } else {
            Self::Locked
        }
    }

    /// The state after a lock was taken back; a stop stays.
    #[must_use]
    pub const fn unlocked(self) -> Self {
        if self.is_stopped() {
            Self::Stopped
        } else {
            Self::Open
        }
    }
}

/// One request, as far as the decision needs it.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Which organization it names.
    pub claim: OrganizationClaim<'a>,
    /// What it is for.
    pub purpose: Purpose<'a>,
    /// Where it comes from.
    pub address: CallerAddress,
    /// The latest that the moment of the decision can be: for what ends.
    pub now: Timestamp,
    /// The earliest that it can be: for what begins.
    pub earliest: Timestamp,
}

/// Decides everything but the rate limit, which is spent only by requests that nothing else refuses: ask
/// [`decide_rate`] after this.
///
/// # Errors
/// The first refusal in the order of the answers.
pub fn decide(
    record: &KeyRecord,
    life: SecretLife,
    organization: OrganizationState,
    question: &Question<'_>,
) -> Result<(), Refusal> {
    check_claim(record, question.claim)?;
    check_state(record, life, organization, (question.earliest, question.now))?;
    if !record.conditions.addresses.admits(question.address) {
        return Err(Refusal::AddressNotAllowed);
    }
    if let Purpose::Perform { operation, resource } = question.purpose {
        check_access(record, operation, resource)?;
    }
    match organization {
        OrganizationState::Open => Ok(()),
        OrganizationState::Locked | OrganizationState::Stopped | OrganizationState::StoppedAndLocked => {
            Err(Refusal::OrganizationLocked)
        }
    }
}

/// The last check, of a key with a rate limit: what its bucket said.
///
/// # Errors
/// `rate_limited`.
pub const fn decide_rate(spending: Spending) -> Result<RateStatus, Refusal> {
    match spending {
        Spending::Spent(status) => Ok(status),
        Spending::Exceeded {
            status,
            retry_after_seconds,
        } => Err(Refusal::RateLimited {
            retry_after_seconds,
            status,
        }),
    }
}

fn check_claim(record: &KeyRecord, claim: OrganizationClaim<'_>) -> Result<(), Refusal> {
    let OrganizationClaim::Asked { header, path } = claim else {
        return Ok(());
    };
    let own = record.organization_id.as_str();
    match header {
        None | Some([]) => Err(Refusal::OrganizationMissing),
        Some(header) if header != own.as_bytes() => Err(Refusal::OrganizationMismatch),
        Some(_) if path.is_some_and(|path| path != own) => Err(Refusal::OrganizationMismatch),
        Some(_) => Ok(()),
    }
}

fn check_state(
    record: &KeyRecord,
    life: SecretLife,
    organization: OrganizationState,
    (earliest, now): (Timestamp, Timestamp),
) -> Result<(), Refusal> {
    if let KeyState::Deleted { reason, .. } = record.state {
        return Err(Refusal::KeyDeleted { reason });
    }
    if life.is_superseded(now) {
        return Err(Refusal::KeySuperseded);
    }
    if let KeyState::Paused { reason } = record.state {
        return Err(Refusal::KeyPaused { reason });
    }
    if organization.is_stopped() {
        return Err(Refusal::KeyPaused {
            reason: PauseReason::Requested,
        });
    }
    match record.conditions {
        ref conditions if conditions.is_early(earliest) => Err(Refusal::KeyNotYetValid {
            from: conditions.not_before.unwrap_or(now),
        }),
        ref conditions if conditions.is_over(now) => Err(Refusal::KeyExpired {
            at: conditions.expires_at.unwrap_or(now),
        }),
        _ => Ok(()),
    }
}

fn check_access(record: &KeyRecord, operation: Operation, resource: Resource<'_>) -> Result<(), Refusal> {
    record
        .access
        .permits(operation, resource)
        .map_err(|refused| match refused {
            AccessRefused::Scope => Refusal::ScopeMissing {
                operation,
                held: record.access.scopes(),
            },
            AccessRefused::Operation => Refusal::OperationNotPermitted {
                operation,
                level: record.access.permission().level(),
            },
            AccessRefused::Resource => Refusal::ResourceNotPermitted {
                operation,
                resource_type: match resource {
                    Resource::Organization => None,
                    Resource::Collection(of) | Resource::New(of) | Resource::Item(of, _) => Some(of),
                },
            },
        })
}
