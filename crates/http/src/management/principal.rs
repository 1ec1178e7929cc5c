//! Who wants to manage, and what they were let in for.
//!
//! The socket in the data folder is the local administrator's, who may act as a member of an organization by the header
//! `Keyward-Act-As`; over the network a management token says who it is, and nothing else does. A [`Grant`] is the proof
//! that a caller holds what a route asks for, in the organization that the request is about: it is made here alone, and a
//! handler's first argument is one. What is another organization's, or not a Member's to know of, is not found.

use http::request::Parts;
use http::{HeaderName, HeaderValue, header};
use keyward_core::credentials;
use keyward_core::ids::{OrganizationId, TokenId};
use keyward_core::key_text::{KeyText, Malformed, Prefix};
use keyward_core::management_refusal::ManagementRefusal;
use keyward_core::management_right::{ManagementRight, RightSet};
use keyward_core::record::Actor;
use keyward_core::refusal::Refusal;
use keyward_core::role::Role;
use keyward_engine::context::Context;
use keyward_engine::create_token::TokenCeiling;
use keyward_engine::verify_token::VerifiedToken;
use keyward_store::members::Membership;

use super::Door;
use super::endpoint::Demand;
use crate::credentials::refuse_key_in_query;
use crate::problem::Problem;
use crate::request::{RequestInfo, Who};
use crate::routes::find;
use crate::site::Site;

/// The header in which the local administrator names the member to act as: an e-mail address or a person's id.
pub const ACT_AS: HeaderName = HeaderName::from_static("keyward-act-as");
/// The header in which the local administrator names that member's organization, where the path does not.
pub const ORGANIZATION: HeaderName = HeaderName::from_static("keyward-organization");

/// Who calls.
#[derive(Debug, Clone)]
pub enum Principal {
    /// Whoever reaches the socket.
    LocalAdministrator,
    /// A member, in whose place the local administrator acts.
    Person(Membership),
    /// A management token.
    Token(VerifiedToken),
}

impl Principal {
    fn rights(&self) -> RightSet {
        match self {
            Self::LocalAdministrator => RightSet::all(),
            Self::Person(membership) => RightSet::of_role(membership.role),
            Self::Token(token) => token.rights,
        }
    }

    /// The one organization that they belong to; the local administrator belongs to none and reaches all.
    fn organization(&self) -> Option<&OrganizationId> {
        match self {
            Self::LocalAdministrator => None,
            Self::Person(membership) => Some(&membership.organization_id),
            Self::Token(token) => Some(&token.organization_id),
        }
    }

    fn actor(&self) -> Actor {
        match self {
            Self::LocalAdministrator => Actor::LocalAdministrator,
            Self::Person(membership) => Actor::Person(membership.person_id.clone()),
            Self::Token(token) => Actor::Token(token.id),
        }
    }

    /// For the log.
    pub(super) fn who(&self) -> Who {
        match self {
            Self::LocalAdministrator => Who::Administrator,
            Self::Person(membership) => Who::Person(membership.person_id.clone()),
            Self::Token(token) => Who::Token(token.id),
        }
    }
}

/// Proof that the caller holds what the route asks for, in the organization that the request is about.
#[derive(Debug)]
pub struct Grant {
    principal: Principal,
    /// The path's, which is the caller's own; or the caller's own.
    organization: Option<OrganizationId>,
}

impl Grant {
    /// Lets a caller in, or not.
    ///
    /// # Errors
    /// `not_found`, `right_missing`.
    pub(super) fn check(
        principal: Principal,
        demand: Demand,
        path: &[(String, String)],
    ) -> Result<Self, Problem> {
        let none = || Problem::not_found("organization");
        let named = match find(path, "organization") {
            None => None,
            Some(text) => Some(text.parse::<OrganizationId>().map_err(|_| none())?),
        };
        let organization = match (principal.organization(), named) {
            (Some(own), Some(named)) if *own != named => return Err(none()),
            (own, named) => named.or_else(|| own.cloned()),
        };
        if let Demand::Right(right) = demand
            && !principal.rights().contains(right)
        {
            return Err(lacking(&principal, right));
        }
        Ok(Self {
            principal,
            organization,
        })
    }

    /// Who acts.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Who acts, for the trail.
    pub fn actor(&self) -> Actor {
        self.principal.actor()
    }

    /// What they hold.
    pub fn rights(&self) -> RightSet {
        self.principal.rights()
    }

    /// The organization that the request is about: the path's, which they may touch, or their own.
    ///
    /// # Errors
    /// `not_found` where neither is there: the local administrator on a path that names none.
    pub fn organization(&self) -> Result<&OrganizationId, Problem> {
        self.organization
            .as_ref()
            .ok_or_else(|| Problem::not_found("organization"))
    }

    /// The only organization that they may touch; `None` for the local administrator, who reaches all of them and has to
    /// find out which one a thing belongs to.
    pub fn only_organization(&self) -> Option<&OrganizationId> {
        self.principal.organization()
    }

    /// The most that a token made by them may hold.
    pub(super) fn ceiling(&self) -> TokenCeiling {
        TokenCeiling {
            rights: self.rights(),
            ends_at: match &self.principal {
                Principal::Token(token) => token.expires_at,
                Principal::LocalAdministrator | Principal::Person(_) => None,
            },
        }
    }
}

/// A Member does not learn what there is to manage; whoever manages is told what is missing.
fn lacking(principal: &Principal, right: ManagementRight) -> Problem {
    match principal {
        Principal::Person(membership) if membership.role == Role::Member => Problem::nothing_here(),
        _ => ManagementRefusal::RightMissing(right).into(),
    }
}

/// Finds out who calls. What is found of a caller who is refused is put into `who`, for the log.
///
/// # Errors
/// `bad_request`, and the refusals of [`ManagementRefusal`] but for those of rights.
pub(super) async fn sign_in(
    site: &Site,
    door: Door,
    (parts, info): (&Parts, &RequestInfo),
    path: &[(String, String)],
    who: &mut Who,
) -> Result<Principal, Problem> {
    match door {
        Door::Network => by_token(site, (parts, info), who).await.map(Principal::Token),
        Door::Socket => {
            refuse_key_in_query(site, parts)?;
            // Whoever can open the socket has passed the data folder's and the socket's file modes.
            match one_value(parts, &ACT_AS)? {
                None => Ok(Principal::LocalAdministrator),
                Some(person) => {
                    let membership = acting_as(site, parts, path, person).await?;
                    let context = Context::new(Actor::LocalAdministrator, info.id.clone());
                    site.engine.begin_acting_as(&context, &membership).await?;
                    Ok(Principal::Person(membership))
                }
            }
        }
    }
}

async fn by_token(
    site: &Site,
    (parts, info): (&Parts, &RequestInfo),
    who: &mut Who,
) -> Result<VerifiedToken, Problem> {
    if parts.headers.contains_key(ACT_AS) {
        let why = "The header Keyward-Act-As is believed on the socket in the data folder alone; send a management token.";
        return Err(ManagementRefusal::ActingNotAccepted(why).into());
    }
    let authorizations = parts.headers.get_all(header::AUTHORIZATION);
    let prefix = site.engine.prefix();
    let sent = credentials::read_token(
        authorizations.iter().map(HeaderValue::as_bytes),
        parts.uri.query(),
        prefix,
    );
    let counted = |refusal: ManagementRefusal| {
        site.engine.count_management_refusal(&refusal);
        Problem::from(refusal)
    };
    let sent = match sent {
        Ok(sent) => sent,
        Err(Refusal::KeyMissing) => return Err(counted(ManagementRefusal::TokenMissing)),
        Err(other) => return Err(other.into()),
    };
    let token_prefix = Prefix::management_token();
    // What is no UTF-8 has a defect in every case.
    let text = String::from_utf8_lossy(sent);
    let text =
        KeyText::parse(&text, &token_prefix).map_err(|defect| counted(malformed(defect, &text, prefix)))?;
    let verified = site.engine.verify_token(&text, &info.arrival()).await;
    verified.map_err(|refusal| {
        if matches!(
            refusal,
            ManagementRefusal::TokenDeleted { .. } | ManagementRefusal::TokenExpired { .. }
        ) {
            *who = Who::RefusedToken(TokenId::of_text(text.id()));
        }
        refusal.into()
    })
}

/// A secret key, whole or not, is told apart from other texts: whoever sends one has to learn that it never manages.
fn malformed(defect: Malformed, text: &str, prefix: &Prefix) -> ManagementRefusal {
    let is_key = text
        .trim_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`'))
        .strip_prefix(prefix.as_str())
        .is_some_and(|rest| rest.starts_with('_'));
    if is_key {
        ManagementRefusal::SecretKeySent
    } else {
        ManagementRefusal::TokenMalformed(defect)
    }
}

async fn acting_as(
    site: &Site,
    parts: &Parts,
    path: &[(String, String)],
    person: &str,
) -> Result<Membership, Problem> {
    let unknown = |why| Problem::from(ManagementRefusal::ActorUnknown(why));
    let named = one_value(parts, &ORGANIZATION)?.or_else(|| find(path, "organization"));
    let organization = match named {
        None => None,
        Some(text) => {
            let id = text.parse::<OrganizationId>();
            Some(id.map_err(|_| {
                unknown("The organization that Keyward-Organization or the path names is none.")
            })?)
        }
    };
    let found = site.engine.memberships_of(organization.as_ref(), person).await?;
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] if organization.is_some() => Err(unknown(
            "Nobody of that e-mail address or id belongs to this organization; `keyward org show` lists its people.",
        )),
        [] => Err(unknown(
            "Nobody of that e-mail address or id belongs to any organization here.",
        )),
        _ => Err(unknown(
            "Whoever you act as belongs to several organizations; name one in the header Keyward-Organization.",
        )),
    }
}

/// The value of a header that must not be there twice.
fn one_value<'a>(parts: &'a Parts, name: &HeaderName) -> Result<Option<&'a str>, Problem> {
    let mut values = parts.headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let value = std::str::from_utf8(value.as_bytes()).ok();
    match (value, values.next()) {
        (Some(value), None) => Ok(Some(value)),
        _ => Err(ManagementRefusal::ActingNotAccepted(
            "The headers Keyward-Act-As and Keyward-Organization are sent once, in UTF-8.",
        )
        .into()),
    }
}
