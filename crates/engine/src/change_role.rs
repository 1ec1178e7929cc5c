//! Change a member's role. Owners are an Owner's business, and one Owner always remains.
//!
//! Two parallel changes wait for each other at the organization's row, so that each counts the Owners that the other
//! leaves.

use keyward_core::audit::{Detail, Event};
use keyward_core::ids::{OrganizationId, PersonId};
use keyward_core::record::Actor;
use keyward_core::role::Role;
use keyward_core::time::Timestamp;
use keyward_store::Tx;
use keyward_store::members::Member;

use crate::Engine;
use crate::context::Context;
use crate::error::EngineError;
use crate::standing::{acting_role, require_change};

impl Engine {
    /// Gives a member another role. Invitations that they made and may not make any more are taken back.
    ///
    /// # Errors
    /// [`EngineError::Forbidden`], [`EngineError::Conflict`] for the last Owner, [`EngineError::NotFound`].
    pub async fn change_role(
        &self,
        context: &Context,
        organization: &OrganizationId,
        person: &PersonId,
        role: Role,
    ) -> Result<Member, EngineError> {
        let now = self.now();
        let mut tx = self.inner.store.begin().await?;
        let found = tx.lock_organization(organization).await?;
        found.ok_or(EngineError::NotFound("organization"))?;
        let acting = acting_role(&mut tx, organization, &context.actor).await?;
        let found = tx.find_member(organization, person).await?;
        let member = found.ok_or(EngineError::NotFound("member"))?;
        require_change(acting, member.role)?;
        require_change(acting, role)?;
        if member.role == role {
            return Ok(member);
        }
        if member.role == Role::Owner {
            require_another_owner(&mut tx, organization).await?;
        }
        tx.set_role(organization, person, role).await?;
        let lost = Role::ALL.into_iter().filter(|other| !role.may_change(*other));
        let revoked = revoke_invitations_by(&mut tx, organization, person, lost, now).await?;
        let event = Event {
            actor: context.actor.to_string(),
            action: "member.change_role",
            target: format!("person/{person}"),
            request_id: context.request_id.to_string(),
            detail: Detail::new()
                .fact("was", member.role.name())
                .fact("is", role.name())
                .fact("revoked_invitations", revoked),
        };
        tx.append_audit(organization.as_str(), &event, now).await?;
        tx.commit().await?;
        Ok(Member { role, ..member })
    }
}

/// Refuses to take an Owner away who is the last one. The organization's row must be locked.
///
/// # Errors
/// [`EngineError::Conflict`].
pub(crate) async fn require_another_owner(
    tx: &mut Tx,
    organization: &OrganizationId,
) -> Result<(), EngineError> {
    if tx.count_owners(organization).await? > 1 {
        return Ok(());
    }
    Err(EngineError::Conflict(
        "this is the organization's last Owner, and one always remains: make somebody else an Owner first"
            .to_owned(),
    ))
}

/// Takes back the invitations into these roles that a person made; how many.
///
/// # Errors
/// [`EngineError`].
pub(crate) async fn revoke_invitations_by(
    tx: &mut Tx,
    organization: &OrganizationId,
    person: &PersonId,
    roles: impl IntoIterator<Item = Role>,
    now: Timestamp,
) -> Result<u64, EngineError> {
    let inviter = Actor::Person(person.clone());
    let mut revoked = 0;
    for role in roles {
        revoked += tx
            .revoke_invitations_by(organization, &inviter, role, now)
            .await?;
    }
    Ok(revoked)
}
