//! Edit an organization's settings and display name, as those who manage it do.
//!
//! A setting never widens a key and never changes one that is there: a longest life binds keys that are made or edited
//! from then on. What clients of the resource API change is in [`crate::edit_organization`]; stopping and locking decide
//! about keys and go another way.

use std::collections::BTreeMap;

use keyward_core::audit::{Detail, Event};
use keyward_core::contact::SecurityContact;
use keyward_core::environment::Environment;
use keyward_core::field::FieldProblems;
use keyward_core::ids::OrganizationId;
use keyward_core::organization::{OrganizationSettings, RotationRule};
use keyward_core::record::check_name;
use keyward_core::role::Role;
use keyward_store::organizations::Organization;
use serde_json::{Value, json};

use crate::Engine;
use crate::changes::personal_change;
use crate::context::Context;
use crate::error::EngineError;
use crate::notices::SigningSecret;
use crate::standing::{acting_role, require_manager};

/// What is to be changed; absent fields stay, and those that are there take the place of what was.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SettingsEdit {
    /// The display name.
    pub name: Option<String>,
    /// Whether pages offer the pickers.
    pub advanced_access_control: Option<bool>,
    /// The longest life of keys; `Some(None)` lifts it.
    pub max_key_lifetime_ms: Option<Option<i64>>,
    /// What differs from the environments' presets, as a whole.
    pub rotation_policy: Option<BTreeMap<Environment, RotationRule>>,
    /// The security contacts, as a whole.
    pub security_contacts: Option<Vec<SecurityContact>>,
    /// For how many days it is kept who used which key.
    pub usage_retention_days: Option<u32>,
    /// Whether Owners and Admins need a second factor.
    pub second_factor_required: Option<bool>,
}

/// An organization after an edit of its settings.
#[derive(Debug)]
pub struct SettingsEdited {
    /// The organization as it is now.
    pub organization: Organization,
    /// The signing secrets of webhooks that are new, to be shown once.
    pub signing_secrets: Vec<SigningSecret>,
}

impl SettingsEdit {
    /// The settings after the edit.
    fn applied_to(&self, settings: &OrganizationSettings) -> OrganizationSettings {
        let edit = self.clone();
        let was = settings.clone();
        OrganizationSettings {
            advanced_access_control: edit
                .advanced_access_control
                .unwrap_or(was.advanced_access_control),
            max_key_lifetime_ms: edit.max_key_lifetime_ms.unwrap_or(was.max_key_lifetime_ms),
            rotation_policy: edit.rotation_policy.unwrap_or(was.rotation_policy),
            security_contacts: edit.security_contacts.unwrap_or(was.security_contacts),
            usage_retention_days: edit.usage_retention_days.unwrap_or(was.usage_retention_days),
            second_factor_required: edit.second_factor_required.unwrap_or(was.second_factor_required),
        }
    }
}

impl Engine {
    /// Edits settings and name. An edit that changes nothing leaves no trace, not even a version.
    ///
    /// # Errors
    /// [`EngineError::Stale`] if a version is expected and another one is there, [`EngineError::Invalid`] with every
    /// field's problem, [`EngineError::Forbidden`].
    pub async fn edit_settings(
        &self,
        context: &Context,
        id: &OrganizationId,
        expected_version: Option<i64>,
        edit: SettingsEdit,
    ) -> Result<SettingsEdited, EngineError> {
        let now = self.now();
        // A new webhook gets a signing secret.
        let _sealing = self.inner.sealing.read().await;
        let mut tx = self.inner.store.begin().await?;
        let found = tx.lock_organization(id).await?;
        let mut organization = found.ok_or(EngineError::NotFound("organization"))?;
        let acting = acting_role(&mut tx, id, &context.actor).await?;
        require_manager(acting)?;
        if expected_version.is_some_and(|expected| expected != organization.version) {
            return Err(EngineError::Stale {
                current_version: organization.version,
            });
        }
        let settings = edit.applied_to(&organization.settings);
        let is_lifted = organization.settings.second_factor_required && !settings.second_factor_required;
        // Whoever manages may ask more of themselves and the others; less is for whoever answers for the whole.
        if is_lifted && acting != Role::Owner {
            return Err(EngineError::Forbidden(
                "only an Owner may let Owners and Admins sign in without a second factor".to_owned(),
            ));
        }
        let mut problems = FieldProblems::new();
        if let Some(name) = &edit.name {
            problems.keep("name", check_name(name));
        }
        settings.check(&mut problems);
        problems.finish(()).map_err(EngineError::Invalid)?;
        let name = edit.name.unwrap_or_else(|| organization.name.clone());
        if name == organization.name && settings == organization.settings {
            return Ok(SettingsEdited {
                organization,
                signing_secrets: Vec::new(),
            });
        }
        let event = Event {
            actor: context.actor.to_string(),
            action: "organization.edit_settings",
            target: format!("organization/{id}"),
            request_id: context.request_id.to_string(),
            detail: changes(&organization, &name, &settings)?,
        };
        organization.name = name;
        organization.settings = settings;
        organization.updated_at = now;
        tx.update_organization(&organization).await?;
        let contacts = self.keep_contacts(&mut tx, &organization, now).await?;
        tx.append_audit(id.as_str(), &event, now).await?;
        tx.fence(self.inner.right.epoch()).await?;
        tx.commit().await?;
        organization.version += 1;
        Ok(SettingsEdited {
            organization,
            signing_secrets: contacts.signing_secrets,
        })
    }
}

/// What changes, before and after. The addresses of contacts are personal, or a secret of the one who is called.
fn changes(was: &Organization, name: &str, settings: &OrganizationSettings) -> Result<Detail, EngineError> {
    let before = &was.settings;
    let mut detail = Detail::new();
    detail = personal_change(detail, "name", &was.name, name)?;
    let facts = [
        (
            "advanced_access_control",
            json!(before.advanced_access_control),
            json!(settings.advanced_access_control),
        ),
        (
            "max_key_lifetime_ms",
            json!(before.max_key_lifetime_ms),
            json!(settings.max_key_lifetime_ms),
        ),
        (
            "rotation_policy",
            json!(before.rotation_policy),
            json!(settings.rotation_policy),
        ),
        (
            "usage_retention_days",
            json!(before.usage_retention_days),
            json!(settings.usage_retention_days),
        ),
        (
            "second_factor_required",
            json!(before.second_factor_required),
            json!(settings.second_factor_required),
        ),
        (
            "security_contacts",
            kinds(&before.security_contacts),
            kinds(&settings.security_contacts),
        ),
    ];
    for (fact, before, after) in facts {
        if before != after {
            detail = detail.fact(fact, json!({ "before": before, "after": after }));
        }
    }
    if before.security_contacts != settings.security_contacts {
        let contacts = |contacts: &[SecurityContact]| json!(contacts).to_string();
        let (was, now) = (&before.security_contacts, &settings.security_contacts);
        detail = personal_change(detail, "security_contacts", &contacts(was), &contacts(now))?;
    }
    Ok(detail)
}

/// How many contacts there are of each kind, which says nothing of anybody.
fn kinds(contacts: &[SecurityContact]) -> Value {
    let count = |kind: &str| contacts.iter().filter(|contact| contact.kind() == kind).count();
    json!({ "email": count("email"), "webhook": count("webhook") })
}
