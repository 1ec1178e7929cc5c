//! One-time sign-in links on the wire of the management API.
//!
//! No type here holds a link's secret but [`SignInLinkView`], which is the one reply that does.

use keyward_core::email::EmailAddress;
use keyward_core::field::FieldProblem;
use keyward_core::sign_in_link::LinkPurpose;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::fields::Fields;

/// A request for a sign-in link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSignInLink {
    /// Whom it lets in.
    pub email: EmailAddress,
    /// What for.
    pub purpose: LinkPurpose,
}

impl NewSignInLink {
    /// Reads `email` and `purpose` (`set_passphrase` if absent).
    ///
    /// # Errors
    /// Every problem of the request.
    pub fn read(mut fields: Fields) -> Result<Self, Vec<FieldProblem>> {
        fields.require("email");
        let email = fields.parsed("email", str::parse::<EmailAddress>);
        let purpose = fields.parsed("purpose", |text| {
            LinkPurpose::from_name(text).ok_or("is one of set_passphrase, begin_anew")
        });
        match email {
            Some(email) => fields.finish_strictly(Self {
                email,
                purpose: purpose.unwrap_or(LinkPurpose::SetPassphrase),
            }),
            None => Err(fields.finish_strictly(()).err().unwrap_or_default()),
        }
    }
}

/// What a link is for.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum LinkPurposeName {
    /// Set a passphrase; a second factor stays and is asked for.
    SetPassphrase,
    /// Set a passphrase; the second factor and its recovery codes are removed.
    BeginAnew,
}

/// What [`NewSignInLink::read`] reads, for the API's description.
#[derive(ToSchema, Deserialize)]
#[serde(deny_unknown_fields)]
#[schema(as = NewSignInLink, description = "A request for a one-time link that lets a person in.")]
pub struct NewSignInLinkBody {
    /// Whom it lets in. An earlier link of theirs is good no more.
    #[schema(max_length = 254)]
    pub email: String,
    /// What they can do with it; `set_passphrase` if absent.
    #[schema(value_type = Option<LinkPurposeName>)]
    pub purpose: Option<String>,
}

/// A new sign-in link: the only reply that ever holds one, beside that of a new organization.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = SignInLink)]
pub struct SignInLinkView {
    /// Whom it lets in.
    pub email: String,
    /// What for.
    #[schema(value_type = LinkPurposeName)]
    pub purpose: String,
    /// It is good before this moment, and once.
    #[schema(format = DateTime)]
    pub expires_at: String,
    /// The link, shown this once. Whoever has it can sign in as this person.
    pub link: String,
}

impl std::fmt::Debug for SignInLinkView {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SignInLinkView")
    }
}
