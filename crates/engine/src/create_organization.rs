//! Create an organization with its Owner.

use std::collections::BTreeMap;

use keyward_core::audit::{Detail, Event};
use keyward_core::decision::OrganizationState;
use keyward_core::email::EmailAddress;
use keyward_core::field::FieldProblems;
use keyward_core::ids::{OrganizationId, PersonId};
use keyward_core::organization::OrganizationSettings;
use keyward_core::random::fill_base36;
use keyward_core::record::check_name;
use keyward_core::role::Role;
use keyward_store::StoreError;
use keyward_store::organizations::Organization;

use crate::Engine;
use crate::clock::SystemRandom;
use crate::context::Context;
use crate::error::EngineError;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct OrganizationDraft {
    /// The display name.
    pub name: String,
    /// The id; one is drawn if none is asked for.
    pub id: Option<OrganizationId>,
    /// The Owner's e-mail address.
    pub owner_email: String,
    /// What whoever asks knows of the Owner.
    pub owner: OwnerClaim,
}

/// What is known of whoever is to be the Owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnerClaim {
    /// Nothing but the address. Somebody who signs in with it already is refused: an Owner of another organization may have let
    /// them in by an invitation, and whether the address is theirs was never proven.
    AddressOnly,
    /// Whoever asks made sure who signs in with this address.
    Known,
}

impl Engine {
    /// Creates an organization and its Owner.
    ///
    /// # Errors
    /// [`EngineError::Invalid`], [`EngineError::Conflict`] if the id is taken.
    pub async fn create_organization(
        &self,
        context: Context,
        draft: OrganizationDraft,
    ) -> Result<Organization, EngineError> {
        let mut problems = FieldProblems::new();
        problems.keep("name", check_name(&draft.name));
        let owner_email = problems.keep("owner_email", draft.owner_email.parse::<EmailAddress>());
        let Some(owner_email) = owner_email.filter(|_| problems.is_empty()) else {
            return Err(EngineError::Invalid(problems.into_inner()));
        };
        let id = match draft.id {
            Some(id) => id,
            None => drawn_id()?,
        };
        let now = self.now();
        let organization = Organization {
            id: id.clone(),
            version: 1,
            state: OrganizationState::Open,
            name: draft.name,
            preference: serde_json::Map::new(),
            attributes: BTreeMap::new(),
            settings: OrganizationSettings::default(),
            deletion: None,
            last_access_at: now,
            created_at: now,
            updated_at: now,
        };
        let person_id = new_person_id()?;
        let mut tx = self.inner.store.begin().await?;
        match tx.insert_organization(&organization).await {
            Err(StoreError::AlreadyExists) => {
                return Err(EngineError::Conflict(format!(
                    "an organization with the id `{id}` exists already"
                )));
            }
            other => other?,
        }
        if tx.was_purged(&id).await? {
            return Err(EngineError::Conflict(format!(
                "an organization with the id `{id}` was deleted, and its id is never given again"
            )));
        }
        let owner = tx.person_with_email(&owner_email, &person_id, now).await?;
        if draft.owner == OwnerClaim::AddressOnly {
            tx.lock_person(&owner).await?;
            if tx.find_passphrase(&owner).await?.is_some() {
                return Err(EngineError::Conflict(format!(
                    "somebody signs in as `{owner_email}` already, let in by an invitation of another organization perhaps; make sure \
                     who that is and say `owner_is_known`, or let them begin anew first"
                )));
            }
        }
        tx.insert_member(&id, &owner, Role::Owner, now).await?;
        let event = Event {
            actor: context.actor.to_string(),
            action: "organization.create",
            target: format!("organization/{id}"),
            request_id: context.request_id.to_string(),
            detail: Detail::new()
                .fact("owner", owner.as_str())
                .personal("name", &organization.name, &mut SystemRandom)?
                .personal("owner_email", owner_email.as_str(), &mut SystemRandom)?,
        };
        tx.append_audit(id.as_str(), &event, now).await?;
        tx.commit().await?;
        Ok(organization)
    }
}

/// The id of a person who may be new.
pub(crate) fn new_person_id() -> Result<PersonId, EngineError> {
    uuid::Uuid::now_v7()
        .to_string()
        .parse()
        .map_err(|_| EngineError::Random(keyward_core::random::RandomUnavailable))
}

fn drawn_id() -> Result<OrganizationId, EngineError> {
    let mut drawn = [0_u8; 12];
    fill_base36(&mut SystemRandom, &mut drawn)?;
    let text = format!("org-{}", String::from_utf8_lossy(&drawn));
    text.parse()
        .map_err(|_| EngineError::Random(keyward_core::random::RandomUnavailable))
}
