//! Create an organization with its Owner.

use std::collections::BTreeMap;

use keyward_core::audit::{Detail, Event};
use keyward_core::decision::OrganizationState;
use keyward_core::field::FieldProblems;
use keyward_core::ids::{OrganizationId, PersonId};
use keyward_core::random::fill_base36;
use keyward_core::record::check_name;
use keyward_store::StoreError;
use keyward_store::organizations::Organization;

use crate::Engine;
use crate::clock::SystemRandom;
use crate::context::Context;
use crate::error::EngineError;

/// Longest e-mail address (RFC 5321, 4.5.3.1.3, without the brackets).
const MAX_EMAIL: usize = 254;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct OrganizationDraft {
    /// The display name.
    pub name: String,
    /// The id; one is drawn if none is asked for.
    pub id: Option<OrganizationId>,
    /// The Owner's e-mail address.
    pub owner_email: String,
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
        check_email(&mut problems, &draft.owner_email);
        problems.finish(()).map_err(EngineError::Invalid)?;
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
            last_access_at: now,
            created_at: now,
            updated_at: now,
        };
        let person_id: PersonId = uuid::Uuid::now_v7()
            .to_string()
            .parse()
            .map_err(|_| EngineError::Random(keyward_core::random::RandomUnavailable))?;
        let mut tx = self.inner.store.begin().await?;
        match tx.insert_organization(&organization).await {
            Err(StoreError::AlreadyExists) => {
                return Err(EngineError::Conflict(format!(
                    "an organization with the id `{id}` exists already"
                )));
            }
            other => other?,
        }
        let owner = tx.person_with_email(&draft.owner_email, &person_id, now).await?;
        tx.insert_member(&id, &owner, "owner", now).await?;
        let event = Event {
            actor: context.actor.to_string(),
            action: "organization.create",
            target: format!("organization/{id}"),
            request_id: context.request_id.to_string(),
            detail: Detail::new()
                .fact("owner", owner.as_str())
                .personal("name", &organization.name, &mut SystemRandom)?
                .personal("owner_email", &draft.owner_email, &mut SystemRandom)?,
        };
        tx.append_audit(id.as_str(), &event, now).await?;
        tx.commit().await?;
        Ok(organization)
    }
}

fn check_email(problems: &mut FieldProblems, email: &str) {
    let is_good = email.len() <= MAX_EMAIL
        && !email.chars().any(|c| c.is_whitespace() || c.is_control())
        && email
            .split_once('@')
            .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
    if !is_good {
        problems.add(
            "owner_email",
            "must be an e-mail address such as owner@example.com",
        );
    }
}

fn drawn_id() -> Result<OrganizationId, EngineError> {
    let mut drawn = [0_u8; 12];
    fill_base36(&mut SystemRandom, &mut drawn)?;
    let text = format!("org-{}", String::from_utf8_lossy(&drawn));
    text.parse()
        .map_err(|_| EngineError::Random(keyward_core::random::RandomUnavailable))
}
