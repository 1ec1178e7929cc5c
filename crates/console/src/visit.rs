//! Who visits: a stranger, somebody who signed in, or a member in one organization.
//!
//! A [`Visit`] is the proof that a member of the organization in the path holds the right that the page asks for; it is made here
//! alone, and the handlers of an organization's pages take one first. The membership is read from the database at each request:
//! a role that was taken away is gone at once. What is not theirs to know of is not found, for members and strangers alike.

use keyward_core::ids::OrganizationId;
use keyward_core::management_right::{ManagementRight, RightSet};
use keyward_core::role::Role;
use keyward_core::secret::{Secret, SessionKind};
use keyward_engine::Engine;
use keyward_engine::create_token::TokenCeiling;
use keyward_engine::sessions::Session;
use keyward_store::organizations::Organization;

use crate::csrf::Csrf;
use crate::refused::Refused;

/// Whoever asks for a page that anybody may open.
pub(crate) struct Stranger {
    /// The proof for its forms.
    pub(crate) csrf: Csrf,
    /// Whom the browser is signed in as, if anybody: the forms' proof is the session's then.
    pub(crate) person: Option<Person>,
}

/// Somebody who signed in.
#[derive(Clone)]
pub(crate) struct Person {
    /// Their session, which is whole.
    pub(crate) session: Session,
    /// The proof for forms.
    pub(crate) csrf: Csrf,
    token: Secret<SessionKind>,
}

/// A member in one of their organizations, who holds what the page asks for.
pub(crate) struct Visit {
    /// Who.
    pub(crate) person: Person,
    /// As what.
    pub(crate) role: Role,
    /// Where.
    pub(crate) organization: Organization,
}

impl Person {
    pub(crate) fn new(session: Session, token: Secret<SessionKind>) -> Self {
        let csrf = Csrf::of(token.reveal(), "session");
        Self { session, csrf, token }
    }

    /// The token of their session.
    pub(crate) fn token(&self) -> &Secret<SessionKind> {
        &self.token
    }
}

impl Visit {
    /// Lets a member in, or not.
    ///
    /// # Errors
    /// [`Refused::NotFound`] for who does not belong there or is not to know of the page; [`Refused::NeedsSecondFactor`].
    pub(crate) async fn check(
        engine: &Engine,
        person: Person,
        organization: &str,
        right: ManagementRight,
    ) -> Result<Self, Refused> {
        let id: OrganizationId = organization.parse().map_err(|_| Refused::NotFound)?;
        let found = engine
            .memberships_of(Some(&id), person.session.person_id.as_str())
            .await?;
        // The engine also looks for e-mail addresses; whoever has this id is meant alone.
        let own = found
            .into_iter()
            .find(|one| one.person_id == person.session.person_id);
        let membership = own.ok_or(Refused::NotFound)?;
        if !RightSet::of_role(membership.role).contains(right) {
            return Err(Refused::NotFound);
        }
        let organization = engine.show_organization(&id).await?;
        let is_demanded = organization.settings.second_factor_required && membership.role.is_manager();
        if is_demanded && !engine.show_second_factor(&person.session.person_id).await?.is_on {
            return Err(Refused::NeedsSecondFactor);
        }
        Ok(Self {
            person,
            role: membership.role,
            organization,
        })
    }

    /// The organization's id.
    pub(crate) fn id(&self) -> &OrganizationId {
        &self.organization.id
    }

    /// Whether they hold a right.
    pub(crate) fn may(&self, right: ManagementRight) -> bool {
        RightSet::of_role(self.role).contains(right)
    }

    /// Counts what they are about to have done that costs much: see [`keyward_engine::costly`].
    ///
    /// # Errors
    /// [`Refused::TooMany`].
    pub(crate) fn count_costly(&self, engine: &Engine) -> Result<(), Refused> {
        Ok(engine.count_costly(&self.person.session.person_id)?)
    }

    /// The most that a token made by them may hold.
    pub(crate) fn ceiling(&self) -> TokenCeiling {
        TokenCeiling {
            rights: RightSet::of_role(self.role),
            ends_at: None,
        }
    }

    /// The address of one of the organization's pages: `/org/{id}/` and `rest`.
    pub(crate) fn url(&self, rest: &str) -> String {
        format!("/org/{}/{rest}", self.organization.id)
    }
}
