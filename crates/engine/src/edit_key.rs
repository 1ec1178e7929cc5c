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

use crate::Engine;
use crate::clock::SystemRandom;
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

/// Before and after of every field that an edit changed; names and descriptions are personal.
fn changes(was: &Key, now: &Key) -> Result<Detail, RandomUnavailable> {
    let mut detail = Detail::new();
    for (name, before, after) in [
        (
            "scopes",
            was.record.access.scopes().to_string(),
            now.record.access.scopes().to_string(),
        ),
        ("level", level(was), level(now)),
        ("rules", rules(was), rules(now)),
        ("environment", environment(was), environment(now)),
        ("conditions", conditions(was), conditions(now)),
        ("tags", tags(was), tags(now)),
        (
            "rotate_every_ms",
            number(was.rotate_every_ms),
            number(now.rotate_every_ms),
        ),
    ] {
        if before != after {
            detail = detail
                .fact(&format!("{name}_before"), before)
                .fact(&format!("{name}_after"), after);
        }
    }
    let random = &mut SystemRandom;
    for (name, before, after) in [
        ("name", was.name.as_str(), now.name.as_str()),
        ("description", was.description.as_str(), now.description.as_str()),
    ] {
        if before != after {
            detail = detail
                .personal(&format!("{name}_before"), before, random)?
                .personal(&format!("{name}_after"), after, random)?;
        }
    }
    Ok(detail)
}

fn level(key: &Key) -> String {
    key.record.access.permission().level().name().to_owned()
}

fn rules(key: &Key) -> String {
    serde_json::to_string(key.record.access.permission().rules()).unwrap_or_default()
}

fn environment(key: &Key) -> String {
    key.environment.map_or("none", Environment::name).to_owned()
}

fn conditions(key: &Key) -> String {
    serde_json::to_string(&key.record.conditions).unwrap_or_default()
}

fn tags(key: &Key) -> String {
    serde_json::to_string(&key.tags).unwrap_or_default()
}

fn number(value: Option<i64>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| value.to_string())
}
