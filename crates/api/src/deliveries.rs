//! Security contacts and what was sent to them, on the wire of the management API.
//!
//! No type here holds a signing secret but [`SigningSecretView`].

use keyward_core::field::FieldProblem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::fields::Fields;
use crate::schema::{ContactKindName, DeliveryStatusName, NoticeKindName};

/// The states that a delivery is shown in.
pub const STATUSES: [&str; 4] = ["pending", "failed", "sent", "given_up"];

/// A security contact, as those who manage the organization see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ContactChannel)]
pub struct ContactChannelView {
    /// Its id, which is made from its address.
    pub id: String,
    /// How it is reached.
    #[schema(value_type = ContactKindName)]
    pub kind: String,
    /// Where it is reached.
    pub address: String,
    /// Since when nothing came through; null if the last notice did.
    #[schema(format = DateTime)]
    pub failing_since: Option<String>,
    /// Nothing is sent before, because it asked for that.
    #[schema(format = DateTime)]
    pub retry_at: Option<String>,
    /// Since when it is switched off; null if it is not.
    #[schema(format = DateTime)]
    pub disabled_at: Option<String>,
    /// Why it is switched off.
    pub disabled_reason: Option<String>,
}

/// One notice on its way to one contact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Delivery)]
pub struct DeliveryView {
    /// Its id; a webhook gets it as `webhook-id`, the same with every attempt.
    pub id: String,
    /// What it is about.
    #[schema(value_type = NoticeKindName)]
    pub kind: String,
    /// The key that it is about; null if it is about none.
    pub key_id: Option<String>,
    /// The contact's id.
    pub contact: String,
    /// How the contact is reached.
    #[schema(value_type = ContactKindName)]
    pub contact_kind: String,
    /// What became of it: `failed` is tried again, `given_up` is not.
    #[schema(value_type = DeliveryStatusName)]
    pub status: String,
    /// How often it was tried.
    pub attempts: i64,
    /// When it happened.
    #[schema(format = DateTime)]
    pub happened_at: String,
    /// When it is tried next; null if it is not.
    #[schema(format = DateTime)]
    pub next_attempt_at: Option<String>,
    /// When it was sent or given up.
    #[schema(format = DateTime)]
    pub finished_at: Option<String>,
    /// The status of the last answer: of HTTP, or of the mail server.
    pub last_status: Option<i64>,
    /// Why it did not arrive the last time.
    pub last_error: Option<String>,
}

/// What became of a test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ContactTests)]
pub struct ContactTestsView {
    /// One for each contact that was tried.
    pub items: Vec<DeliveryView>,
}

/// A webhook's new signing secret: shown once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = SigningSecret)]
pub struct SigningSecretView {
    /// The contact's id.
    pub contact: String,
    /// Its URL.
    pub address: String,
    /// The secret (`whsec_...`), with which a receiver checks `webhook-signature`, after Standard Webhooks.
    pub secret: String,
}

impl std::fmt::Debug for SigningSecretView {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "SigningSecretView({})", self.contact)
    }
}

/// Reads whom a test is for: `contact`, or all if it is absent.
///
/// # Errors
/// Every problem.
pub fn read_test(mut fields: Fields) -> Result<Option<String>, Vec<FieldProblem>> {
    let contact = fields.text("contact");
    fields.finish_strictly(contact)
}

/// What [`read_test`] reads, for the API's description.
#[derive(ToSchema, Deserialize)]
#[serde(deny_unknown_fields)]
#[schema(as = ContactTest, description = "Whom a test message is for.")]
pub struct ContactTestBody {
    /// The contact's id; all contacts if absent.
    pub contact: Option<String>,
}
