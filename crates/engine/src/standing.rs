//! In which role somebody acts in an organization, as the transaction that writes finds it.
//!
//! Asked in the transaction, so that nobody acts in a role that was taken away while the request was under way. Whether
//! a caller may come near a route at all is decided before, by rights.

use keyward_core::ids::OrganizationId;
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
