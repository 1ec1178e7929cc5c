//! Edit a key: name, access, conditions, tags, schedule. True for the next request when the call returns.
//!
//! Whoever read the key before says which version that was; an edit of another version is refused, so that nobody's change is
//! lost. A deleted key is not edited.

use keyward_core::audit::Detail;
use keyward_core::edit_key::{KeyEdit, Pickers};
use keyward_core::environment::Environment;
use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::new_key::CreationPolicy;
use keyward_core::random::RandomUnavailable;
use keyward_core::record::Key;
use keyward_core::time::Timestamp;
use serde_json::json;

use crate::Engine;
use crate::changes::{condition_changes, fact_change, personal_change};
use crate::context::Context;
use crate::error::EngineError;
use crate::key_write::{BrokenSeals, Change, Plan, Written};

impl Engine {
    /// Edits a key that is at `expected_version`, or at any if that is `None`.
    ///
    /// # Errors
    /// [`EngineError::Invalid`] with every field's problem, [`EngineError::Stale`], [`EngineError::Conflict`] for a deleted key.
    pub async fn edit_key(
        &self,
        context: Context,
        organization: OrganizationId,
        id: KeyId,
        (edit, expected_version): (KeyEdit, Option<i64>),
    ) -> Result<Written, EngineError> {
        let settings = self.undeleted_organization(&organization).await?.settings;
        let (policy, pickers) = (settings.creation_policy(), settings.pickers());
        self.write_key(
            context,
            (organization, id),
            BrokenSeals::Refuse,
            move |stored, _, now| plan(&stored.key, &edit, expected_version, (policy, pickers, now)),
        )
        .await
    }
}

fn plan(
    key: &Key,
    edit: &KeyEdit,
    expected_version: Option<i64>,
    (policy, pickers, now): (CreationPolicy, Pickers, Timestamp),
) -> Plan {
    if key.record.state.is_deleted() {
        return Plan::Refuse(EngineError::Conflict(
            "the key was deleted and never comes back; make a new one".to_owned(),
        ));
    }
    if let Err(stale) = check_version(key, expected_version) {
        return Plan::Refuse(stale);
    }
    let edited = match edit.apply_within(key, (policy, pickers), now) {
        Ok(edited) => edited,
        Err(problems) => return Plan::Refuse(EngineError::Invalid(problems)),
    };
    if edited == *key {
        return Plan::Reached;
    }
    match changes(key, &edited) {
        Ok(detail) => Plan::Change(Box::new(Change::of_key(edited, "key.edit", detail))),
        Err(error) => Plan::Refuse(error.into()),
    }
}

/// Refuses a key that is not at the version that the caller read.
pub(crate) fn check_version(key: &Key, expected: Option<i64>) -> Result<(), EngineError> {
    let current_version = key.record.version;
    if expected.is_none_or(|expected| expected == current_version) {
        Ok(())
    } else {
        Err(EngineError::Stale { current_version })
    }
}

/// Before and after of every field that an edit changed.
fn changes(was: &Key, now: &Key) -> Result<Detail, RandomUnavailable> {
    let (access_was, access_now) = (&was.record.access, &now.record.access);
    let mut detail = fact_change(
        Detail::new(),
        "scopes",
        access_was.scopes().to_string(),
        access_now.scopes().to_string(),
    );
    let (permission_was, permission_now) = (access_was.permission(), access_now.permission());
    let (level_was, level_now) = (permission_was.level().name(), permission_now.level().name());
    detail = fact_change(detail, "level", level_was, level_now);
    detail = fact_change(
        detail,
        "rules",
        json!(permission_was.rules()),
        json!(permission_now.rules()),
    );
    detail = fact_change(
        detail,
        "environment",
        was.environment.map(Environment::name),
        now.environment.map(Environment::name),
    );
    detail = fact_change(
        detail,
        "rotate_every_ms",
        was.rotate_every_ms,
        now.rotate_every_ms,
    );
    detail = condition_changes(detail, &was.record.conditions, &now.record.conditions)?;
    detail = personal_change(detail, "name", was.name.as_str(), now.name.as_str())?;
    detail = personal_change(detail, "description", &was.description, &now.description)?;
    let (tags_was, tags_now) = (json!(was.tags).to_string(), json!(now.tags).to_string());
    personal_change(detail, "tags", &tags_was, &tags_now)
}
