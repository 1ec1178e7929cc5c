//! People of an organization on the wire of the management API: their roles, and their leaving.

use keyward_core::field::FieldProblem;
use keyward_core::ids::PersonId;
use keyward_core::record::Key;
use keyward_core::role::Role;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::fields::Fields;
use crate::schema::{EnvironmentName, KeysOfLeaverName, RoleName};

/// What becomes of keys, by name.
pub const KEYS_OF_LEAVER: [&str; 3] = ["keep", "hand_over", "end"];

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
    /// Since when.
    #[schema(format = DateTime)]
    pub member_since: String,
}

/// Reads a role by its name.
///
/// # Errors
/// A sentence with the names.
pub fn read_role(text: &str) -> Result<Role, &'static str> {
    Role::from_name(text).ok_or("is one of member, admin, owner")
}

/// Reads a change of a member: `role`.
///
/// # Errors
/// Every problem.
pub fn read_member_edit(mut fields: Fields) -> Result<Role, Vec<FieldProblem>> {
    fields.require("role");
    let role = fields.parsed("role", read_role);
    fields.finish_strictly(role.unwrap_or(Role::Member))
}

/// What [`read_member_edit`] reads, for the API's description.
#[derive(ToSchema, Deserialize)]
#[serde(deny_unknown_fields)]
#[schema(as = EditMember, description = "A change of a member.")]
pub struct EditMemberBody {
    /// The role from now on.
    #[schema(value_type = RoleName)]
    pub role: String,
}

/// What is said of the keys of somebody who leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeysOfLeaver {
    /// They stay as they are.
    Keep,
    /// This person answers for them.
    HandOver(PersonId),
    /// They end.
    End,
}

/// Reads what becomes of the keys of somebody who leaves: `keys`, and `to` for `hand_over`; `None` where nothing is said.
///
/// # Errors
/// Every problem.
pub fn read_removal(mut fields: Fields) -> Result<Option<KeysOfLeaver>, Vec<FieldProblem>> {
    let keys = fields.parsed("keys", |text| {
        let known = KEYS_OF_LEAVER.into_iter().find(|name| *name == text);
        known.ok_or("is one of keep, hand_over, end")
    });
    if keys == Some("hand_over") {
        fields.require("to");
    } else if fields.has("to") {
        fields.problem("to", "goes with hand_over alone; leave it out");
    }
    let to = fields.parsed("to", str::parse::<PersonId>);
    let read = match (keys, to) {
        (Some("keep"), _) => Some(KeysOfLeaver::Keep),
        (Some("end"), _) => Some(KeysOfLeaver::End),
        (Some("hand_over"), Some(to)) => Some(KeysOfLeaver::HandOver(to)),
        _ => None,
    };
    fields.finish_strictly(read)
}

/// What [`read_removal`] reads, for the API's description.
#[derive(ToSchema, Deserialize)]
#[serde(deny_unknown_fields)]
#[schema(as = RemoveMember, description = "What becomes of the keys of somebody who leaves.")]
pub struct RemoveMemberBody {
    /// Whether their keys stay, another person answers for them, or they end. Without it nothing happens where there are keys.
    #[schema(value_type = Option<KeysOfLeaverName>)]
    pub keys: Option<String>,
    /// Whom the keys are handed over to: the id of an Owner or Admin.
    pub to: Option<String>,
}

/// What a removal did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = MemberRemoved)]
pub struct MemberRemovedView {
    /// Who is gone.
    pub person_id: String,
    /// Keys that were left as they are.
    pub kept: u64,
    /// Keys that were handed over by this call.
    pub handed_over: u64,
    /// Keys that were ended by this call; none of them is accepted any more.
    pub ended: u64,
}

/// Keys that somebody has to decide about first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = UndecidedKeys)]
pub struct UndecidedKeysView {
    /// How many there are.
    pub count: u64,
    /// The first hundred of them; empty for whoever may not see keys.
    pub items: Vec<UndecidedKeyView>,
}

/// A key that somebody has to decide about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = UndecidedKey)]
pub struct UndecidedKeyView {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Where it is used.
    #[schema(value_type = Option<EnvironmentName>)]
    pub environment: Option<String>,
    /// Head and tail of its secret.
    pub hint: String,
}

impl UndecidedKeyView {
    /// What is shown of `key`.
    pub fn of(key: &Key) -> Self {
        Self {
            id: key.record.id.to_string(),
            name: key.name.to_string(),
            environment: key.environment.map(|environment| environment.name().to_owned()),
            hint: key.hint.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(body: &str) -> Fields {
        Fields::of_body(body.as_bytes()).unwrap()
    }

    #[test]
    fn what_becomes_of_keys_is_said_whole_or_not_at_all() {
        assert_eq!(read_removal(fields("{}")), Ok(None));
        assert_eq!(read_removal(fields(r#"{"keys": null, "to": null}"#)), Ok(None));
        assert_eq!(
            read_removal(fields(r#"{"keys": "end"}"#)),
            Ok(Some(KeysOfLeaver::End))
        );
        let heir = "p-1".parse().unwrap();
        assert_eq!(
            read_removal(fields(r#"{"keys": "hand_over", "to": "p-1"}"#)),
            Ok(Some(KeysOfLeaver::HandOver(heir)))
        );
        for (body, expected) in [
            (r#"{"keys": "burn"}"#, vec!["keys"]),
            (r#"{"keys": "hand_over"}"#, vec!["to"]),
            (r#"{"keys": "keep", "to": "p-1"}"#, vec!["to"]),
            (r#"{"to": "p-1"}"#, vec!["to"]),
            (
                r#"{"keys": 1, "to": "a b", "x": 1}"#,
                vec!["to", "to", "keys", "x"],
            ),
        ] {
            let problems = read_removal(fields(body)).unwrap_err();
            let mut found: Vec<_> = problems.iter().map(|problem| problem.field.as_str()).collect();
            let mut expected = expected;
            found.sort_unstable();
            expected.sort_unstable();
            assert_eq!(found, expected, "{body}");
        }
    }

    #[test]
    fn a_role_is_named_exactly() {
        assert_eq!(read_member_edit(fields(r#"{"role": "owner"}"#)), Ok(Role::Owner));
        for body in ["{}", r#"{"role": "Owner"}"#, r#"{"role": null}"#] {
            assert!(read_member_edit(fields(body)).is_err(), "{body}");
        }
    }
}
