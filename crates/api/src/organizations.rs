//! Organizations on the wire of the management API.

use keyward_core::field::FieldProblem;
use keyward_core::ids::OrganizationId;
use serde::{Deserialize, Serialize};

use crate::fields::Fields;

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

/// An organization.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrganizationView {
    /// Its id; never changes.
    pub id: String,
    /// The display name.
    pub name: String,
    /// `open`, `locked` or `stopped`.
    pub state: String,
    /// When it was made.
    pub created_at: String,
    /// When it was last changed.
    pub updated_at: String,
    /// Who belongs to it; only where one organization is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<Vec<MemberView>>,
}

/// A member of an organization.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberView {
    /// The person's id.
    pub person_id: String,
    /// Their e-mail address.
    pub email: String,
    /// `owner`, `admin` or `member`.
    pub role: String,
}
