//! The one form of every "no": a problem document made from what the layers below said.
//!
//! Two messages: the public one says what to do and names no table, no host and no key; the internal one goes to the
//! log, with the request's id, here and nowhere else.

use std::error::Error;
use std::fmt::Write as _;

use axum::response::Response;
use http::{HeaderName, HeaderValue, StatusCode, header};
use keyward_api::members::UndecidedKeysView;
use keyward_api::moment;
use keyward_api::problem::{CONTENT_TYPE, ProblemDocument, RequestCode};
use keyward_core::field::FieldProblem;
use keyward_core::ids::{OrganizationId, RequestId};
use keyward_core::invitation::InvitationOver;
use keyward_core::management_refusal::{ManagementCode, ManagementRefusal};
use keyward_core::mask::mask_keys;
use keyward_core::refusal::{Code, Refusal};
use keyward_core::time::Timestamp;
use keyward_engine::EngineError;
use keyward_store::StoreError;

use crate::request::RequestInfo;
use crate::site::Site;
use crate::{rate_limit, reply};

/// The header that the official client shows the trace id of.
pub const TRACE: HeaderName = HeaderName::from_static("x-cloud-trace-context");

/// A refusal on its way out.
#[derive(Debug)]
pub struct Problem {
    kind: Kind,
    /// What the thing's version is, for whoever expected another one.
    current_version: Option<i64>,
    /// Keys that have to be decided about first.
    keys: Option<Box<UndecidedKeysView>>,
    /// For the log only.
    cause: Option<String>,
}

#[derive(Debug)]
enum Kind {
    Key(Refusal),
    Management(ManagementRefusal),
    Request {
        code: RequestCode,
        message: String,
        errors: Vec<FieldProblem>,
    },
}

impl Problem {
    /// A problem of the request.
    pub fn new(code: RequestCode, message: impl Into<String>) -> Self {
        Self {
            kind: Kind::Request {
                code,
                message: message.into(),
                errors: Vec::new(),
            },
            current_version: None,
            keys: None,
            cause: None,
        }
    }

    /// There is no such thing.
    pub fn not_found(what: &str) -> Self {
        Self::new(
            RequestCode::NotFound,
            format!("there is no such {what}; check its id"),
        )
    }

    /// There is nothing that the caller may know of.
    pub fn nothing_here() -> Self {
        Self::new(
            RequestCode::NotFound,
            "there is nothing here that you may see; Owners and Admins manage the organization",
        )
    }

    /// A body that can't be read.
    pub fn unreadable_body(message: impl Into<String>) -> Self {
        Self::new(RequestCode::MalformedBody, message)
    }

    /// A body beyond the bound.
    pub fn body_too_large(most: usize) -> Self {
        Self::new(
            RequestCode::BodyTooLarge,
            format!("the body is larger than {most} bytes, which is the most that is accepted here"),
        )
    }

    /// Fields that have to be changed.
    pub fn invalid(errors: Vec<FieldProblem>) -> Self {
        let mut message = String::from("the request was not accepted and nothing was changed:");
        for (at, error) in errors.iter().enumerate() {
            let separator = if at == 0 { " " } else { "; " };
            // Writing into a text does not fail.
            let _ = write!(message, "{separator}{}: {}", error.field, error.message);
        }
        Self {
            kind: Kind::Request {
                code: RequestCode::InvalidFields,
                message,
                errors,
            },
            current_version: None,
            keys: None,
            cause: None,
        }
    }

    /// It was changed since the caller read it.
    pub fn version_mismatch(current_version: i64) -> Self {
        let mut problem = Self::new(
            RequestCode::VersionMismatch,
            "somebody changed it since you read it, and nothing was changed now; read it again and send its new ETag in \
             If-Match",
        );
        problem.current_version = Some(current_version);
        problem
    }

    /// Somebody leaves who answers for keys, and nobody said what becomes of them.
    pub fn keys_undecided(keys: UndecidedKeysView) -> Self {
        let mut problem = Self::new(
            RequestCode::KeysUndecided,
            format!(
                "the person answers for {} key(s) that did not end, and nothing was changed; say in `keys` what becomes of \
                 them: `keep`, `hand_over` (with the id of an Owner or Admin in `to`) or `end`",
                keys.count
            ),
        );
        problem.keys = Some(Box::new(keys));
        problem
    }

    /// More at once than is taken.
    pub fn busy() -> Self {
        Self::new(
            RequestCode::Unavailable,
            "too much is being written at once just now; nothing was changed, try again shortly",
        )
    }

    /// A defect of ours; the cause goes to the log.
    pub fn internal(cause: &dyn Error) -> Self {
        let mut problem = Self::new(
            RequestCode::Internal,
            "the server has a defect; the operator finds it in the log by the trace id",
        );
        problem.cause = Some(chain(cause));
        problem
    }

    /// The machine-readable name.
    pub fn code(&self) -> &'static str {
        match &self.kind {
            Kind::Key(refusal) => refusal.code().name(),
            Kind::Management(refusal) => refusal.code().name(),
            Kind::Request { code, .. } => code.name(),
        }
    }

    /// What it says, for an answer that has it in a field.
    pub(crate) fn message(&self) -> String {
        match &self.kind {
            Kind::Request { message, .. } => message.clone(),
            Kind::Key(_) | Kind::Management(_) => self.code().to_owned(),
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        match &self.kind {
            Kind::Key(refusal) => refusal.code().status(),
            Kind::Management(refusal) => refusal.code().status(),
            Kind::Request { code, .. } => code.status(),
        }
    }

    /// Writes the internal side to the log.
    fn log(&self, id: &RequestId) {
        if let Some(cause) = &self.cause {
            if self.status() == RequestCode::Internal.status() {
                tracing::error!(request.id = %id, code = self.code(), cause, "a request failed");
            } else {
                tracing::warn!(request.id = %id, code = self.code(), cause, "a request failed");
            }
        }
    }

    /// Renders the reply.
    pub fn into_response(self, site: &Site, request: &RequestInfo) -> Response {
        self.log(&request.id);
        let (status, current_version) = (self.status(), self.current_version);
        let rate = match &self.kind {
            Kind::Key(Refusal::RateLimited { status, .. }) => Some(*status),
            _ => None,
        };
        let (challenge, retry_after) = match &self.kind {
            Kind::Key(refusal) => {
                let retry_after = match refusal {
                    Refusal::RateLimited {
                        retry_after_seconds, ..
                    } => Some(*retry_after_seconds),
                    Refusal::StoreUnavailable => Some(1),
                    _ => None,
                };
                (challenge(refusal.code()), retry_after)
            }
            Kind::Management(refusal) => {
                let retry_after = match refusal {
                    ManagementRefusal::TooManyRequests { retry_after_seconds } => Some(*retry_after_seconds),
                    ManagementRefusal::CheckUnavailable => Some(1),
                    _ => None,
                };
                let challenge = match refusal.code() {
                    ManagementCode::TokenMissing => Some(NO_CREDENTIALS),
                    _ if status == 401 => Some(BAD_CREDENTIALS),
                    _ => None,
                };
                (challenge, retry_after)
            }
            Kind::Request { .. } => (None, (status == 503).then_some(1)),
        };
        let kept = match (&self.kind, &request.organization) {
            (Kind::Key(refusal), None) => site
                .refusal_bodies
                .body(refusal, &request.id, |id| self.body(site, None, id)),
            _ => None,
        };
        let body =
            kept.unwrap_or_else(|| self.body(site, request.organization.as_ref(), request.id.as_str()));
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = reply::with_body(status, CONTENT_TYPE, body);
        let headers = response.headers_mut();
        if let Ok(trace) = HeaderValue::from_str(request.id.as_str()) {
            headers.insert(TRACE, trace);
        }
        if let Some(challenge) = challenge {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(version) = current_version {
            headers.insert(header::ETAG, reply::etag(version));
        }
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(rate) = rate {
            rate_limit::tell(headers, rate_limit::KEY, rate);
        }
        response
    }

    /// The document, for a request that names an organization or none, and has this id.
    fn body(&self, site: &Site, organization: Option<&OrganizationId>, request_id: &str) -> Vec<u8> {
        let (title, message, errors) = match &self.kind {
            Kind::Key(refusal) => {
                let message = key_message(refusal, site, organization);
                (refusal.code().title(), message, [].as_slice())
            }
            Kind::Management(refusal) => {
                let message = with_moment(refusal.sentence(), refusal.moment());
                (refusal.code().title(), message, [].as_slice())
            }
            Kind::Request {
                code,
                message,
                errors,
            } => (code.title(), message.clone(), errors.as_slice()),
        };
        // A message may say back what was sent, and people paste keys into wrong fields.
        let masked = |text: &str| mask_keys(text, site.engine.prefix().as_str()).into_owned();
        let message = masked(&message);
        let errors = errors.iter().map(|error| FieldProblem {
            field: masked(&error.field),
            message: masked(&error.message),
        });
        let document = ProblemDocument {
            type_uri: site.help_url(self.code()),
            title: title.to_owned(),
            status: self.status(),
            detail: message.clone(),
            message,
            code: self.code().to_owned(),
            trace_id: request_id.to_owned(),
            errors: errors.map(Into::into).collect(),
            keys: self.keys.as_deref().cloned(),
        };
        // Texts and numbers always serialise.
        serde_json::to_vec(&document).unwrap_or_default()
    }
}

/// The sentence, its moment, and where this server's keys are managed: the official client appends its vendor's own
/// address to every 401 and 403.
pub(crate) fn key_message(refusal: &Refusal, site: &Site, organization: Option<&OrganizationId>) -> String {
    let mut message = with_moment(refusal.sentence(), refusal.moment());
    if matches!(refusal.code().status(), 401 | 403) {
        // Writing into a text does not fail.
        let _ = write!(
            message,
            " This server's Secret Keys page is {}; it is not vi.datature.com.",
            site.secret_keys_url(organization)
        );
    }
    message
}

fn with_moment(sentence: String, moment: Option<(&'static str, Timestamp)>) -> String {
    match moment {
        None => sentence,
        Some((lead, at)) => format!("{sentence} ({lead} {}).", moment::write(at)),
    }
}

/// RFC 6750, section 3.1: without credentials, no error is named.
const NO_CREDENTIALS: &str = "Bearer realm=\"keyward\"";
/// See [`NO_CREDENTIALS`].
const BAD_CREDENTIALS: &str = "Bearer realm=\"keyward\", error=\"invalid_token\"";

/// RFC 6750, section 3: what a 401 says of how to authenticate.
const fn challenge(code: Code) -> Option<&'static str> {
    match code.status() {
        401 => Some(match code {
            Code::KeyMissing => NO_CREDENTIALS,
            _ => BAD_CREDENTIALS,
        }),
        _ => None,
    }
}

impl From<ManagementRefusal> for Problem {
    fn from(refusal: ManagementRefusal) -> Self {
        Self {
            kind: Kind::Management(refusal),
            current_version: None,
            keys: None,
            cause: None,
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self {
            kind: Kind::Key(refusal),
            current_version: None,
            keys: None,
            cause: None,
        }
    }
}

impl From<Vec<FieldProblem>> for Problem {
    fn from(errors: Vec<FieldProblem>) -> Self {
        Self::invalid(errors)
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        let cause = chain(&error);
        let kept = |mut problem: Self| {
            problem.cause = Some(cause.clone());
            problem
        };
        match error {
            EngineError::NotFound(what) => Self::not_found(what),
            EngineError::Invalid(errors) => Self::invalid(errors),
            EngineError::Conflict(why) => Self::new(RequestCode::Conflict, why),
            EngineError::Stale { current_version } => Self::version_mismatch(current_version),
            EngineError::InProgress => Self::new(
                RequestCode::InProgress,
                "the first request with this Idempotency-Key is still under way; repeat yours in a moment",
            ),
            EngineError::OtherRequest => Self::new(
                RequestCode::IdempotencyMismatch,
                "this Idempotency-Key was sent with another request; nothing was changed",
            ),
            EngineError::Forbidden(why) => Self::new(RequestCode::Forbidden, why),
            EngineError::InvitationOver(over) => {
                let code = match over {
                    InvitationOver::Expired => RequestCode::InvitationExpired,
                    InvitationOver::Accepted => RequestCode::InvitationUsed,
                    InvitationOver::Revoked => RequestCode::InvitationRevoked,
                    InvitationOver::Replaced => RequestCode::InvitationReplaced,
                };
                Self::new(code, over.to_string())
            }
            EngineError::Refused(refusal) => refusal.into(),
            EngineError::OutcomeUnknown => kept(Self::new(
                RequestCode::OutcomeUnknown,
                "the database has not answered yet; the write goes on, and asking again is safe",
            )),
            EngineError::Unavailable(StoreError::NotTheWriter) => kept(Self::new(
                RequestCode::Unavailable,
                "this node has no lease of the database at the moment and may not write; nothing was changed, try again \
                 shortly or at another node",
            )),
            EngineError::Unavailable(_) => kept(Self::new(
                RequestCode::Unavailable,
                "the database does not answer just now; nothing was changed, try again shortly",
            )),
            EngineError::Busy => Self::busy(),
            EngineError::TooMany { retry_after_ms } => {
                let seconds = retry_after_ms.max(0).unsigned_abs().div_ceil(1_000);
                let retry_after_seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
                ManagementRefusal::TooManyRequests { retry_after_seconds }.into()
            }
            EngineError::SealBroken => kept(Self::new(
                RequestCode::Conflict,
                "the key's sealed record does not fit its row: the database was changed by other means, or it belongs \
                 to another keyring; the key can only be deleted",
            )),
            other => kept(Self::internal(&other)),
        }
    }
}

/// An error with all its sources, for the log.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Writing into a text does not fail.
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}
