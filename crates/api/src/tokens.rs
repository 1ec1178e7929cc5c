//! Management tokens on the wire: the request for one, what is shown of one, and who a caller is.
//!
//! No type here holds a token's text but [`CreatedTokenView`], which is the one reply that does.

use keyward_core::field::FieldProblem;
use keyward_core::management_right::{ManagementRight, RightSet};
use keyward_core::management_token::{Token, TokenState};
use keyward_core::new_key::LATEST;
use keyward_core::record::check_name;
use keyward_core::time::{Timestamp, parse_duration_ms};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::fields::Fields;
use crate::moment;
use crate::schema::{RightName, RoleName, TokenRightName, TokenStateName};

/// A request for a token, read and not yet checked by the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    /// The name.
    pub name: String,
    /// The rights.
    pub rights: RightSet,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

/// What [`NewToken::read`] reads, for the API's description.
#[derive(ToSchema, Deserialize)]
#[serde(deny_unknown_fields)]
#[schema(as = NewToken, description = "A request for a management token.")]
pub struct NewTokenBody {
    /// What people call it; need not be unique.
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    /// What it may do; a token never makes one that may do more than itself.
    #[schema(value_type = Vec<TokenRightName>, min_items = 1)]
    pub rights: Vec<String>,
    /// When it ends. Give this or `expires_in`; without either it does not end by itself.
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
    /// When it ends, from now: a whole number and `s`, `m`, `h` or `d`.
    #[schema(pattern = "^[0-9]+(ms|s|m|h|d)$", example = "90d")]
    pub expires_in: Option<String>,
}

impl NewToken {
    /// Reads `name`, `rights`, and `expires_at` or `expires_in`.
    ///
    /// # Errors
    /// Every problem that shows without knowing who asks.
    pub fn read(mut fields: Fields, now: Timestamp) -> Result<Self, Vec<FieldProblem>> {
        let name = fields.required_text("name");
        if let Some(name) = &name {
            fields.keep("name", check_name(name));
        }
        fields.require("rights");
        let rights = fields.parsed_list("rights", ManagementRight::ALL.len() * 2, read_right);
        if rights.as_ref().is_some_and(Vec::is_empty) {
            fields.problem(
                "rights",
                "name at least one right; a token without any may do nothing",
            );
        }
        let expires_at = fields.parsed("expires_at", moment::read);
        let expires_in = fields.parsed("expires_in", parse_duration_ms);
        if expires_at.is_some() && expires_in.is_some() {
            fields.problem("expires_in", "give either expires_at or expires_in");
        }
        if expires_at.is_some_and(|end| end <= now) {
            fields.problem("expires_at", "is in the past; the token would never be accepted");
        }
        let expires_at = expires_at.or_else(|| expires_in.map(|span| now.plus_ms(span)));
        if expires_at.is_some_and(|end| end > LATEST) {
            let field = if expires_in.is_some() {
                "expires_in"
            } else {
                "expires_at"
            };
            fields.problem(field, "must lie before the year 10000");
        }
        fields.finish_strictly(Self {
            name: name.unwrap_or_default(),
            rights: rights.unwrap_or_default().into_iter().collect(),
            expires_at,
        })
    }
}

fn read_right(name: &str) -> Result<ManagementRight, String> {
    match ManagementRight::from_name(name) {
        Some(right) if right.is_for_tokens() => Ok(right),
        Some(right) => Err(format!("`{right}` is held by no token")),
        None => {
            let known: Vec<&str> = RightSet::all_of_tokens()
                .iter()
                .map(ManagementRight::name)
                .collect();
            Err(format!("is one of {}", known.join(", ")))
        }
    }
}

/// A token, as its owners see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Token)]
pub struct TokenView {
    /// Its id.
    pub id: String,
    /// The organization that it manages.
    pub organization_id: String,
    /// What people call it.
    pub name: String,
    /// What it may do.
    #[schema(value_type = Vec<TokenRightName>)]
    pub rights: Vec<String>,
    /// `active`, `expired` or `deleted`.
    #[schema(value_type = TokenStateName)]
    pub state: String,
    /// When it ends; null for never.
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
    /// When it was deleted.
    #[schema(format = DateTime)]
    pub deleted_at: Option<String>,
    /// When it was last accepted, to about a minute; null before the first time.
    #[schema(format = DateTime)]
    pub last_used_at: Option<String>,
    /// Head and tail of its text.
    pub hint: String,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created_at: String,
}

impl TokenView {
    /// What is shown of `token` at `now`.
    pub fn of(token: &Token, now: Timestamp) -> Self {
        let record = &token.record;
        Self {
            id: record.id.to_string(),
            organization_id: record.organization_id.to_string(),
            name: token.name.to_string(),
            rights: names(record.rights),
            state: token.shown_state(now).to_owned(),
            expires_at: record.expires_at.map(moment::write),
            deleted_at: match record.state {
                TokenState::Deleted { at } => Some(moment::write(at)),
                TokenState::Active => None,
            },
            last_used_at: token.last_used_at.map(moment::write),
            hint: token.hint.clone(),
            created_by: token.created_by.to_string(),
            created_at: moment::write(token.created_at),
        }
    }
}

/// The names of rights.
pub fn names(rights: RightSet) -> Vec<String> {
    rights.iter().map(|right| right.name().to_owned()).collect()
}

/// A new token with its text: the only reply that ever holds one.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = CreatedToken, description = "A new management token with its text, which no other reply holds.")]
pub struct CreatedTokenView {
    /// The token.
    #[serde(flatten)]
    pub token: TokenView,
    /// Its text, shown this once.
    pub value: String,
    /// The server's address, to use it with.
    pub endpoint: String,
}

impl std::fmt::Debug for CreatedTokenView {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "CreatedTokenView({})", self.token.id)
    }
}

/// What a token's deletion did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = TokenStateChange)]
pub struct TokenStateView {
    /// The token's id.
    pub id: String,
    /// The state it is in now.
    #[schema(value_type = TokenStateName)]
    pub state: String,
    /// Whether this call changed it, or found it so.
    pub changed: bool,
}

/// Who a caller of the management API is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Me)]
pub struct MeView {
    /// `token`, `person` or `local_administrator`.
    pub kind: String,
    /// As the audit trail names them.
    pub actor: String,
    /// A token's name.
    pub name: Option<String>,
    /// The organization; null for the local administrator, who manages all of them.
    pub organization_id: Option<String>,
    /// A person's role.
    #[schema(value_type = Option<RoleName>)]
    pub role: Option<String>,
    /// What they may do.
    #[schema(value_type = Vec<RightName>)]
    pub rights: Vec<String>,
    /// When a token ends; null for never.
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_ms(1_767_225_600_000);

    fn read(body: &str) -> Result<NewToken, Vec<FieldProblem>> {
        NewToken::read(Fields::of_body(body.as_bytes()).unwrap(), NOW)
    }

    #[test]
    fn a_token_is_asked_for_by_name_rights_and_end() {
        let new = read(r#"{"name": "a", "rights": ["verify", "keys:read"], "expires_in": "2s"}"#).unwrap();
        assert_eq!(new.rights.to_text(), "keys:read,verify");
        assert_eq!(new.expires_at, Some(NOW.plus_ms(2_000)));
        assert_eq!(
            read(r#"{"name": "a", "rights": ["verify"]}"#).unwrap().expires_at,
            None
        );
    }

    #[test]
    fn every_problem_comes_at_once() {
        let problems = read(
            r#"{"rights": ["keys", "installation", 1], "expires_at": "soon", "expires_in": "1w", "scopes": []}"#,
        );
        let fields: Vec<String> = problems.unwrap_err().into_iter().map(|one| one.field).collect();
        let expected = [
            "name",
            "rights[0]",
            "rights[1]",
            "rights[2]",
            "expires_at",
            "expires_in",
            "scopes",
        ];
        assert_eq!(fields, expected);
        assert_eq!(
            read(r#"{"name": "a", "rights": []}"#).unwrap_err()[0].field,
            "rights"
        );
        assert_eq!(read(r#"{"name": "a"}"#).unwrap_err()[0].field, "rights");
        let problems =
            read(r#"{"name": " ", "rights": ["x"], "expires_at": "2020-01-01T00:00:00Z"}"#).unwrap_err();
        let fields: Vec<&str> = problems.iter().map(|one| one.field.as_str()).collect();
        assert_eq!(fields, ["name", "rights[0]", "expires_at"]);
    }
}
