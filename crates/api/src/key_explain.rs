//! "Could this key do that, and why not", on the wire.

use keyward_core::address::CallerAddress;
use keyward_core::field::FieldProblem;
use keyward_core::operation::Operation;
use keyward_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::fields::Fields;
use crate::moment;
use crate::schema::OperationName;
use crate::verdicts::{AskedResource, take_resource};

/// What [`read_explain`] reads, for the API's description.
#[derive(ToSchema, Deserialize)]
#[serde(deny_unknown_fields)]
#[schema(as = ExplainQuestion)]
pub struct ExplainBody {
    /// What it would do; absent: whether it is accepted at all.
    #[schema(value_type = Option<OperationName>)]
    pub operation: Option<String>,
    /// To what: `type/id`, `type/*` for a new one, `type` for the list; absent for the organization.
    #[schema(example = "dataset/abc")]
    pub resource: Option<String>,
    /// From which address; absent: an unknown one.
    pub address: Option<String>,
    /// When; absent: now.
    #[schema(format = DateTime)]
    pub at: Option<String>,
}

/// A question about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainRequest {
    /// What and to what.
    pub what: Option<(Operation, AskedResource)>,
    /// From where.
    pub address: CallerAddress,
    /// When; `None` is now.
    pub at: Option<Timestamp>,
}

/// Reads a question about a key.
///
/// # Errors
/// Every problem.
pub fn read_explain(mut fields: Fields) -> Result<ExplainRequest, Vec<FieldProblem>> {
    let has_resource = fields.has("resource");
    let operation = fields.parsed("operation", |text| {
        Operation::from_name(text).ok_or("is no operation; see the list in the API's description")
    });
    let resource = take_resource(&mut fields);
    if has_resource && operation.is_none() {
        fields.problem("resource", "needs an operation beside it");
    }
    let address = fields.parsed("address", |text| {
        text.parse::<std::net::IpAddr>()
            .map_err(|_| "is an address such as 192.0.2.7 or 2001:db8::7")
    });
    let at = fields.parsed("at", moment::read);
    fields.finish_strictly(ExplainRequest {
        what: operation.map(|operation| (operation, resource)),
        address: address.map_or(CallerAddress::Unknown, CallerAddress::Known),
        at,
    })
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Explanation)]
pub struct ExplanationView {
    /// Whether it could.
    pub allowed: bool,
    /// `ok`, or the code that a request would be refused with.
    pub code: String,
    /// What happened and what would help.
    pub message: String,
    /// The part of the key that decided, as its field is called: `level`, `rules[1]`, `scopes`, `expires_at`, `state`, ... or
    /// `organization`.
    pub decided_by: String,
}
