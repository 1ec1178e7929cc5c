//! Edit an organization through the resource API: display name, preferences, attributes. Its id never changes.

use std::collections::BTreeMap;

use keyward_core::audit::{Detail, Event};
use keyward_core::field::FieldProblem;
use keyward_core::time::Timestamp;
use keyward_store::organizations::Organization;
use serde_json::{Map, Value};

use crate::Engine;
use crate::changes::{fact_change, map_change, personal_change};
use crate::context::Context;
use crate::error::EngineError;
use crate::permit::Permit;

/// Most preferences, and most attributes, that one thing keeps: edits add up, and a row must not grow without an end.
pub const MAX_ENTRIES: usize = 100;

/// What is to be changed; absent fields stay.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OrganizationEdit {
    /// The display name.
    pub name: Option<String>,
    /// When a client says it was last there.
    pub last_access_at: Option<Timestamp>,
    /// Preferences that are added or replaced.
    pub preference: Option<Map<String, Value>>,
    /// Attributes that are added, replaced, or (with `None`) removed.
    pub attributes: BTreeMap<String, Option<String>>,
}

impl Engine {
    /// Edits the permit's organization; an edit of nothing changes nothing, not even its version.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn edit_organization(
        &self,
        permit: &Permit,
        context: &Context,
        edit: OrganizationEdit,
    ) -> Result<Organization, EngineError> {
        if edit == OrganizationEdit::default() {
            return self.show_organization(permit.organization_id()).await;
        }
        let now = self.now();
        let (mut tx, _turn) = self.begin_resource_write().await?;
        self.confirm_permit(&mut tx, permit).await?;
        let found = tx.lock_organization(permit.organization_id()).await?;
        let mut organization = found.ok_or(EngineError::NotFound("organization"))?;
        let mut detail = Detail::new();
        if let Some(name) = edit.name {
            detail = personal_change(detail, "name", &organization.name, &name)?;
            organization.name = name;
        }
        if let Some(at) = edit.last_access_at {
            let before = organization.last_access_at.as_unix_ms();
            detail = fact_change(detail, "last_access_at_ms", before, at.as_unix_ms());
            organization.last_access_at = at;
        }
        if let Some(preference) = edit.preference {
            let before = organization.preference.clone();
            merge_preference(&mut organization.preference, preference)?;
            detail = map_change(detail, "preference", &before, &organization.preference)?;
        }
        if !edit.attributes.is_empty() {
            let before = organization.attributes.clone();
            merge_attributes(&mut organization.attributes, edit.attributes)?;
            detail = map_change(detail, "attributes", &before, &organization.attributes)?;
        }
        organization.updated_at = now;
        tx.update_organization(&organization).await?;
        let event = Event {
            actor: context.actor.to_string(),
            action: "organization.edit",
            target: format!("organization/{}", organization.id),
            request_id: context.request_id.to_string(),
            detail,
        };
        tx.append_audit(organization.id.as_str(), &event, now).await?;
        tx.commit().await?;
        organization.version += 1;
        Ok(organization)
    }
}

/// Adds and replaces preferences.
pub(crate) fn merge_preference(
    preference: &mut Map<String, Value>,
    edits: Map<String, Value>,
) -> Result<(), EngineError> {
    preference.extend(edits);
    check_count("preference", preference.len())
}

/// Adds, replaces and removes attributes.
pub(crate) fn merge_attributes(
    attributes: &mut BTreeMap<String, String>,
    edits: BTreeMap<String, Option<String>>,
) -> Result<(), EngineError> {
    for (name, value) in edits {
        match value {
            Some(value) => attributes.insert(name, value),
            None => attributes.remove(&name),
        };
    }
    check_count("metadata.attributes", attributes.len())
}

fn check_count(field: &str, count: usize) -> Result<(), EngineError> {
    if count <= MAX_ENTRIES {
        return Ok(());
    }
    Err(EngineError::Invalid(vec![FieldProblem {
        field: field.to_owned(),
        message: format!(
            "with those that are there already it would be {count} entries; at most {MAX_ENTRIES}"
        ),
    }]))
}
