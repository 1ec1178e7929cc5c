//! Invitations on the wire of the management API.
//!
//! No type here holds a link's secret but [`CreatedInvitationView`], which is the one reply that does.

use keyward_core::email::EmailAddress;
use keyward_core::field::FieldProblem;
use keyward_core::invitation::MAX_LIFETIME_MS;
use keyward_core::role::Role;
use keyward_core::secret::{InvitationKind, Secret};
use keyward_core::time::{duration_words, parse_duration_ms};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::fields::Fields;
use crate::members::read_role;
use crate::schema::{InvitationStateName, RoleName};

/// The states that an invitation is shown in.
pub const STATES: [&str; 5] = ["open", "accepted", "expired", "replaced", "revoked"];

/// A request for an invitation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewInvitation {
    /// Who is invited.
    pub email: EmailAddress,
    /// In which role.
    pub role: Role,
    /// For how long; `None` for as long as invitations are good for.
    pub lifetime_ms: Option<i64>,
}

impl NewInvitation {
    /// Reads `email`, `role` (`member` if absent) and `expires_in`.
    ///
    /// # Errors
    /// Every problem of the request.
    pub fn read(mut fields: Fields) -> Result<Self, Vec<FieldProblem>> {
        fields.require("email");
        let email = fields.parsed("email", str::parse::<EmailAddress>);
        let role = fields.parsed("role", read_role);
        let lifetime_ms = fields.parsed("expires_in", |text| {
            let ms = parse_duration_ms(text).map_err(|refused| refused.to_string())?;
            if ms <= MAX_LIFETIME_MS {
                Ok(ms)
            } else {
                Err(format!("must be at most {}", duration_words(MAX_LIFETIME_MS)))
            }
        });
        match email {
            Some(email) => fields.finish_strictly(Self {
                email,
                role: role.unwrap_or(Role::Member),
                lifetime_ms,
            }),
            None => Err(fields.finish_strictly(()).err().unwrap_or_default()),
        }
    }
}

/// What [`NewInvitation::read`] reads, for the API's description.
#[derive(ToSchema, Deserialize)]
#[serde(deny_unknown_fields)]
#[schema(as = NewInvitation, description = "A request for an invitation.")]
pub struct NewInvitationBody {
    /// Who is invited. An earlier invitation of this address is replaced.
    #[schema(max_length = 254)]
    pub email: String,
    /// In which role; `member` if absent.
    #[schema(value_type = Option<RoleName>)]
    pub role: Option<String>,
    /// For how long it is good, such as `3d`; 7 days if absent, 30 at most.
    #[schema(example = "7d")]
    pub expires_in: Option<String>,
}

/// An invitation, as those who manage the organization see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Invitation)]
pub struct InvitationView {
    /// Its id, which opens nothing.
    pub id: String,
    /// Who is invited.
    pub email: String,
    /// In which role.
    #[schema(value_type = RoleName)]
    pub role: String,
    /// Whether it can be accepted, and why not.
    #[schema(value_type = InvitationStateName)]
    pub state: String,
    /// By whom.
    pub invited_by: String,
    /// When.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// It is good before this moment.
    #[schema(format = DateTime)]
    pub expires_at: String,
    /// When it was accepted, taken back or replaced.
    #[schema(format = DateTime)]
    pub ended_at: Option<String>,
}

/// A new invitation with its link: the only reply that ever holds one.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = CreatedInvitation)]
pub struct CreatedInvitationView {
    /// The invitation.
    #[serde(flatten)]
    pub invitation: InvitationView,
    /// The link, shown this once. Whoever has it becomes a member.
    pub link: String,
}

impl std::fmt::Debug for CreatedInvitationView {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "CreatedInvitationView({})", self.invitation.id)
    }
}

/// Reads the secret of a link that somebody accepts: `token`.
///
/// # Errors
/// Every problem; the secret is in none.
pub fn read_acceptance(mut fields: Fields) -> Result<Secret<InvitationKind>, Vec<FieldProblem>> {
    let token = fields.required_text("token");
    fields.finish_strictly(Secret::new(token.unwrap_or_default()))
}

/// What [`read_acceptance`] reads, for the API's description.
#[derive(ToSchema, Deserialize)]
#[serde(deny_unknown_fields)]
#[schema(as = AcceptInvitation, description = "The secret of an invitation's link.")]
pub struct AcceptInvitationBody {
    /// What follows the last slash of the link.
    #[schema(max_length = 64)]
    pub token: String,
}

/// Somebody who just became a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = AcceptedInvitation)]
pub struct AcceptedInvitationView {
    /// The organization's id.
    pub organization_id: String,
    /// Its display name.
    pub organization_name: String,
    /// The person's id.
    pub person_id: String,
    /// Their e-mail address.
    pub email: String,
    /// What they may do.
    #[schema(value_type = RoleName)]
    pub role: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(body: &str) -> Fields {
        Fields::of_body(body.as_bytes()).unwrap()
    }

    #[test]
    fn an_invitation_is_into_the_least_role_unless_it_says_otherwise() {
        let new = NewInvitation::read(fields(r#"{"email": "Ada@Example.com"}"#)).unwrap();
        assert_eq!((new.email.as_str(), new.role), ("ada@example.com", Role::Member));
        assert_eq!(new.lifetime_ms, None);
        let new = NewInvitation::read(fields(
            r#"{"email": "a@b", "role": "owner", "expires_in": "30d"}"#,
        ))
        .unwrap();
        assert_eq!((new.role, new.lifetime_ms), (Role::Owner, Some(MAX_LIFETIME_MS)));
    }

    #[test]
    fn every_problem_comes_at_once() {
        let body = r#"{"email": "nobody", "role": "god", "expires_in": "31d", "link": "x"}"#;
        let problems = NewInvitation::read(fields(body)).unwrap_err();
        let found: Vec<_> = problems.iter().map(|problem| problem.field.as_str()).collect();
        assert_eq!(found, ["email", "role", "expires_in", "link"]);
        assert!(NewInvitation::read(fields("{}")).is_err());
        assert!(read_acceptance(fields(r#"{"token": 1}"#)).is_err());
    }
}
