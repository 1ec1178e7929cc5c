//! Organizations on the wire of the management API.

use keyward_core::email::EmailAddress;
use keyward_core::field::FieldProblem;
use keyward_core::ids::OrganizationId;
use keyward_core::record::check_name;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::deliveries::SigningSecretView;
use crate::fields::Fields;
use crate::members::MemberView;
use crate::organization_settings::SettingsView;
use crate::organization_settings::read_bool;
use crate::schema::OrganizationStateName;

/// A request for an organization, read and checked field by field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOrganization {
    /// The display name.
    pub name: String,
    /// The id that is asked for.
    pub id: Option<OrganizationId>,
    /// The Owner's e-mail address.
    pub owner_email: String,
    /// Whether whoever asks made sure who signs in with that address.
    pub is_owner_known: bool,
}

impl NewOrganization {
    /// Reads `name`, `id` (drawn if absent), `owner_email` and `owner_is_known` (no if absent).
    ///
    /// # Errors
    /// Every problem of the request.
    pub fn read(mut fields: Fields) -> Result<Self, Vec<FieldProblem>> {
        let name = fields.required_text("name");
        if let Some(name) = &name {
            fields.keep("name", check_name(name));
        }
        let id = fields.parsed("id", str::parse);
        let owner_email = fields.required_text("owner_email");
        if let Some(email) = &owner_email {
            fields.keep("owner_email", email.parse::<EmailAddress>());
        }
        let is_owner_known = read_bool(&mut fields, "owner_is_known").unwrap_or(false);
        fields.finish_strictly(Self {
            name: name.unwrap_or_default(),
            id,
            owner_email: owner_email.unwrap_or_default(),
            is_owner_known,
        })
    }
}

/// What [`NewOrganization::read`] reads, for the API's description.
#[derive(ToSchema, Deserialize)]
#[serde(deny_unknown_fields)]
#[schema(as = NewOrganization, description = "A request for an organization.")]
pub struct NewOrganizationBody {
    /// The display name.
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    /// The id that is asked for; drawn if absent. It never changes.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9-]{0,63}$")]
    pub id: Option<String>,
    /// The Owner's e-mail address.
    #[schema(max_length = 254)]
    pub owner_email: String,
    /// Needed where somebody signs in with that address already: that you made sure who they are. No if absent.
    pub owner_is_known: Option<bool>,
}

/// An organization.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Organization)]
pub struct OrganizationView {
    /// Its id; never changes.
    pub id: String,
    /// The display name.
    pub name: String,
    /// `open`, `locked` or `stopped`.
    #[schema(value_type = OrganizationStateName)]
    pub state: String,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it was last changed.
    #[schema(format = DateTime)]
    pub updated_at: String,
    /// Raised with every change; the ETag.
    pub version: i64,
    /// When it was deleted; null if it was not.
    #[schema(format = DateTime)]
    pub deleted_at: Option<String>,
    /// From when on a deleted organization is purged and can't be restored.
    #[schema(format = DateTime)]
    pub purge_at: Option<String>,
    /// Its settings; only where one organization is shown, and not to a Member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<SettingsView>,
    /// Who belongs to it; only where one organization is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<Vec<MemberView>>,
    /// The signing secrets of webhooks that this edit added; shown this once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_secrets: Option<Vec<SigningSecretView>>,
    /// The one-time link with which its Owner sets a passphrase, if they have none; only in the reply to its creation, this once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_link: Option<String>,
}

/// What a change of an organization's state did, and who confirmed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = OrganizationStateChange)]
pub struct OrganizationStateView {
    /// Its id.
    pub id: String,
    /// The state it is in now.
    #[schema(value_type = OrganizationStateName)]
    pub state: String,
    /// Whether this call changed it, or found it so.
    pub changed: bool,
    /// Nodes that confirmed the change.
    pub confirmed: u32,
    /// Nodes that were waited out.
    pub waited_out: u32,
    /// How long was waited for them, in milliseconds.
    pub waited_ms: u64,
    /// Whether the change is on a second server too. False: it is true while this primary lives, and not over a failover, since
    /// no commit waits for a standby. Left out where the database is a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub survives_failover: Option<bool>,
}

/// Reads what confirms the end of an organization: `confirm`, its id once more.
///
/// # Errors
/// Every problem.
pub fn read_confirmation(mut fields: Fields) -> Result<String, Vec<FieldProblem>> {
    let confirmation = fields.required_text("confirm");
    fields.finish_strictly(confirmation.unwrap_or_default())
}

/// What [`read_confirmation`] reads, for the API's description.
#[derive(ToSchema, Deserialize)]
#[serde(deny_unknown_fields)]
#[schema(as = OrganizationDeletion, description = "The confirmation of an organization's deletion.")]
pub struct DeletionBody {
    /// The organization's id once more.
    pub confirm: String,
}

/// The end of an organization, or what took it back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = OrganizationEnd)]
pub struct OrganizationEndView {
    /// What became of its state, and who confirmed it.
    #[serde(flatten)]
    pub standing: OrganizationStateView,
    /// From when on it is purged; null if it is not deleted.
    #[schema(format = DateTime)]
    pub purge_at: Option<String>,
}
