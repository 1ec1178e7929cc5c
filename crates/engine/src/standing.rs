//! In which role somebody acts in an organization, as the transaction that writes finds it.
//!
//! Asked in the transaction, so that nobody acts in a role that was taken away while the request was under way. Whether
//! a caller may come near a route at all is decided before, by rights.

use keyward_core::ids::OrganizationId;
use keyward_core::management_right::{ManagementRight, RightSet};
use keyward_core::record::Actor;
use keyward_core::role::Role;
use keyward_store::Tx;

use crate::error::EngineError;

/// The role in which `actor` acts. The operator on the machine acts as an Owner, a
/// management token as an Admin.
///
/// # Errors
/// [`EngineError::NotFound`] for a person who does not belong to the organization; [`EngineError::Forbidden`] for a key,
/// which never manages anything.
pub(crate) async fn acting_role(
    tx: &mut Tx,
    organization: &OrganizationId,
    actor: &Actor,
) -> Result<Role, EngineError> {
    match actor {
        Actor::LocalAdministrator | Actor::System => Ok(Role::Owner),
        Actor::Person(person) => {
            let role = tx.lock_member(organization, person).await?;
            role.ok_or(EngineError::NotFound("organization"))
        }
        // A token holds what it was given and is nobody; what has to do with Owners is given to none.
        Actor::Token(_) => Ok(Role::Admin),
        Actor::Key(_) => Err(EngineError::Forbidden(
            "no secret key manages people or settings; an Owner or Admin does that".to_owned(),
        )),
    }
}

/// Refuses a person who may not write keys any more, and keeps their role from being taken away until this transaction ends. To be
/// asked once the keys' rows are locked: whoever hands a key over locks in this order too.
///
/// Only people are asked. A token's rights are its own, and what ends it is told before the route's work begins.
///
/// # Errors
/// [`EngineError::NotFound`] for a person who does not belong to the organization, [`EngineError::Conflict`] for one in a role
/// without that right.
pub(crate) async fn confirm_key_writer(
    tx: &mut Tx,
    organization: &OrganizationId,
    actor: &Actor,
) -> Result<(), EngineError> {
    match actor {
        Actor::Person(person) => require_key_writer(tx.lock_member(organization, person).await?),
        Actor::LocalAdministrator | Actor::System | Actor::Token(_) | Actor::Key(_) => Ok(()),
    }
}

/// Refuses whoever may not write keys in this role; `None` is no member.
///
/// # Errors
/// As [`confirm_key_writer`].
pub(crate) fn require_key_writer(role: Option<Role>) -> Result<(), EngineError> {
    let role = role.ok_or(EngineError::NotFound("organization"))?;
    if RightSet::of_role(role).contains(ManagementRight::KeysWrite) {
        Ok(())
    } else {
        Err(EngineError::Conflict(
            "your role changed meanwhile; nothing was changed".to_owned(),
        ))
    }
}

/// Refuses whoever does not manage the organization.
///
/// # Errors
/// [`EngineError::Forbidden`].
pub(crate) fn require_manager(role: Role) -> Result<(), EngineError> {
    if role.is_manager() {
        Ok(())
    } else {
        Err(EngineError::Forbidden(
            "only an Owner or Admin may do that".to_owned(),
        ))
    }
}

/// Refuses whoever may not give or take `role`.
///
/// # Errors
/// [`EngineError::Forbidden`].
pub(crate) fn require_change(acting: Role, role: Role) -> Result<(), EngineError> {
    require_manager(acting)?;
    if acting.may_change(role) {
        Ok(())
    } else {
        Err(EngineError::Forbidden(
            "only an Owner may make somebody an Owner, or change or remove one".to_owned(),
        ))
    }
}
