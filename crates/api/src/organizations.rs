//! Organizations on the wire of the management API.

use keyward_core::field::FieldProblem;
use keyward_core::ids::OrganizationId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::fields::Fields;
use crate::schema::{OrganizationStateName, RoleName};

/// A request for an organization, read and not yet checked by the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOrganization {
    /// The display name.
    pub name: String,
    /// The id that is asked for.
    pub id: Option<OrganizationId>,
    /// The Owner's e-mail address.
    pub owner_email: String,
}

impl NewOrganization {
    /// Reads `name`, `id` (drawn if absent) and `owner_email`.
    ///
    /// # Errors
    /// Every problem of the request.
    pub fn read(mut fields: Fields) -> Result<Self, Vec<FieldProblem>> {
        let name = fields.required_text("name");
        let id = fields.parsed("id", str::parse);
        let owner_email = fields.required_text("owner_email");
        fields.finish_strictly(Self {
            name: name.unwrap_or_default(),
            id,
            owner_email: owner_email.unwrap_or_default(),
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
    /// Who belongs to it; only where one organization is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<Vec<MemberView>>,
}

/// A member of an organization.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Member)]
pub struct MemberView {
    /// The person's id.
    pub person_id: String,
    /// Their e-mail address.
    pub email: String,
    /// `owner`, `admin` or `member`.
    #[schema(value_type = RoleName)]
    pub role: String,
}
