//! Which keys are meant, on the wire: in the query of a list, and in the body of what is done to many.

use keyward_core::environment::Environment;
use keyward_core::field::FieldProblem;
use keyward_core::ids::KeyId;
use keyward_core::key_filter::KeyFilter;
use keyward_core::key_text::holds_key;
use keyward_core::level::PermissionLevel;
use keyward_core::record::{Actor, ShownState};
use keyward_core::rotation::DueStatus;
use keyward_core::scope::Scope;
use keyward_core::tag::Tag;
use keyward_core::time::{DAY_MS, Timestamp};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::fields::Fields;
use crate::schema::{DueStatusName, EnvironmentOrNoneName, KeyStateName, LevelName, ScopeName};

/// Most values of one part of a filter.
const MAX_VALUES: usize = 20;
/// Most keys that are named one by one.
pub const MAX_IDS: usize = 1_000;
const MAX_UNUSED_DAYS: i64 = 3_650;
const MAX_TEXT: usize = 200;

/// What [`take_filter`] reads, for the API's description. Every part narrows; values of one part are alternatives.
#[derive(ToSchema, Deserialize)]
#[serde(deny_unknown_fields)]
#[schema(as = KeyFilter)]
pub struct FilterBody {
    /// These keys.
    #[schema(max_items = 1000)]
    pub ids: Option<Vec<String>>,
    /// In one of these states.
    #[schema(value_type = Option<Vec<KeyStateName>>)]
    pub state: Option<Vec<String>>,
    /// Of one of these environments; `none` for keys without one.
    #[schema(value_type = Option<Vec<EnvironmentOrNoneName>>)]
    pub environment: Option<Vec<String>>,
    /// With every one of these scopes.
    #[schema(value_type = Option<Vec<ScopeName>>)]
    pub scope: Option<Vec<String>>,
    /// Of one of these levels.
    #[schema(value_type = Option<Vec<LevelName>>)]
    pub level: Option<Vec<String>>,
    /// Made by one of these: `person/ID`, `token/ID`, `local_administrator`.
    pub creator: Option<Vec<String>>,
    /// With one of these tags.
    pub tag: Option<Vec<String>>,
    /// So far from its next rotation.
    #[schema(value_type = Option<Vec<DueStatusName>>)]
    pub rotation: Option<Vec<String>>,
    /// Not used for so many days; a key that was never used counts from its creation.
    #[schema(minimum = 0, maximum = 3650)]
    pub unused_for_days: Option<i64>,
    /// With this in name or description, whatever the capitals; or with this id.
    #[schema(max_length = 200)]
    pub text: Option<String>,
}

/// The environments that a filter can name.
pub fn environment_names() -> Vec<&'static str> {
    let mut names = Environment::ALL.map(Environment::name).to_vec();
    names.push("none");
    names
}

/// Takes a filter's parts out of `fields`.
pub fn take_filter(fields: &mut Fields, now: Timestamp) -> KeyFilter {
    let states = fields.parsed_list("state", MAX_VALUES, |text| {
        [
            ShownState::Active,
            ShownState::Paused,
            ShownState::Expired,
            ShownState::Deleted,
        ]
        .into_iter()
        .find(|state| state.name() == text)
        .ok_or("is one of active, paused, expired, deleted")
    });
    let environments = fields.parsed_list("environment", MAX_VALUES, |text| {
        if text == "none" {
            return Ok(None);
        }
        Environment::from_name(&text.replace(['-', '/'], "_"))
            .map(Some)
            .ok_or("is one of production, staging, development, ci_cd, none")
    });
    let scopes = fields.parsed_list("scope", MAX_VALUES, |text| {
        Scope::from_name(text).ok_or("is one of dataset, training, deployment")
    });
    let levels = fields.parsed_list("level", MAX_VALUES, |text| {
        PermissionLevel::from_name(text).ok_or("is one of full, read_only, labeler_only, restricted")
    });
    let due = fields.parsed_list("rotation", MAX_VALUES, |text| {
        DueStatus::from_name(text).ok_or("is one of not_due, due_soon, due, overdue")
    });
    let unused_for_days = fields.integer("unused_for_days").filter(|days| {
        let is_good = (0..=MAX_UNUSED_DAYS).contains(days);
        if !is_good {
            fields.problem(
                "unused_for_days",
                format!("is a whole number from 0 to {MAX_UNUSED_DAYS}"),
            );
        }
        is_good
    });
    let text = fields.text("text").filter(|text| {
        let is_good = text.chars().count() <= MAX_TEXT && !text.chars().any(char::is_control);
        if !is_good {
            fields.problem(
                "text",
                format!("at most {MAX_TEXT} characters, without control characters"),
            );
        }
        let is_key = holds_key(text);
        if is_key {
            fields.problem("text", "is a whole key; a filter is kept in the audit trail, so find the key by the look-up and name its id");
        }
        is_good && !is_key && !text.is_empty()
    });
    KeyFilter {
        ids: fields
            .parsed_list("ids", MAX_IDS, str::parse::<KeyId>)
            .unwrap_or_default(),
        states: states.unwrap_or_default(),
        environments: environments.unwrap_or_default(),
        scopes: scopes.unwrap_or_default(),
        levels: levels.unwrap_or_default(),
        creators: fields
            .parsed_list("creator", MAX_VALUES, str::parse::<Actor>)
            .unwrap_or_default(),
        tags: fields
            .parsed_list("tag", MAX_VALUES, str::parse::<Tag>)
            .unwrap_or_default(),
        due: due.unwrap_or_default(),
        // The end of the millisecond counts as unused, so that 0 means every key that was not used just now.
        unused_since: unused_for_days.map(|days| now.plus_ms(1 - days * DAY_MS)),
        text,
        hint_head: None,
        hint_tail: None,
    }
}

/// Reads the filter at `filter` in a request; `{}` there means every key, and leaving it out is a mistake.
pub fn take_required_filter(fields: &mut Fields, now: Timestamp) -> Option<KeyFilter> {
    fields.require("filter");
    let values = fields.object("filter")?;
    let mut inner = Fields::of_object(values, "filter".to_owned());
    let filter = take_filter(&mut inner, now);
    let read: Result<KeyFilter, Vec<FieldProblem>> = inner.finish_strictly(filter);
    match read {
        Ok(filter) => Some(filter),
        Err(problems) => {
            fields.absorb(problems);
            None
        }
    }
}
