//! An edit of a key on the wire: what is to be different. What is absent stays, and null takes off what can be taken off.

use keyward_core::condition::{AddressRule, MAX_NETWORKS, RateLimit};
use keyward_core::edit_key::KeyEdit;
use keyward_core::environment::Environment;
use keyward_core::field::FieldProblem;
use keyward_core::level::PermissionLevel;
use keyward_core::scope::{Scope, ScopeSet};
use keyward_core::tag::{MAX_TAGS, Tag};
use keyward_core::time::{Timestamp, parse_duration_ms};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::fields::{Fields, kind_of};
use crate::keys::{RateLimitView, RuleView, read_network, read_rate_limit, read_rules, read_schedule};
use crate::moment;
use crate::schema::{EnvironmentName, LevelName, ScopeName};

/// What [`read_edit`] reads, for the API's description.
#[derive(ToSchema, Deserialize)]
#[serde(deny_unknown_fields)]
#[schema(as = KeyEdit)]
pub struct EditKeyBody {
    /// What people call it.
    #[schema(min_length = 1, max_length = 100)]
    pub name: Option<String>,
    /// A longer text.
    #[schema(max_length = 1000)]
    pub description: Option<String>,
    /// Where it is used; null for none. Scopes, level and schedule stay, whatever the environment proposes.
    #[schema(value_type = Option<EnvironmentName>)]
    pub environment: Option<String>,
    /// Which parts of the platform it may enter.
    #[schema(value_type = Option<Vec<ScopeName>>, min_items = 1)]
    pub scopes: Option<Vec<String>>,
    /// How much it may do there; any but `restricted` takes the rules off.
    #[schema(value_type = Option<LevelName>)]
    pub level: Option<String>,
    /// Its rules; they make it a restricted key.
    #[schema(max_items = 50)]
    pub rules: Option<Vec<RuleView>>,
    /// From when on it is accepted; null for its creation.
    #[schema(format = DateTime)]
    pub not_before: Option<String>,
    /// When it ends; null for never, if the organization allows it.
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
    /// When it ends, from now.
    #[schema(pattern = "^[0-9]+(ms|s|m|h|d)$", example = "90d")]
    pub expires_in: Option<String>,
    /// Networks or addresses that it may be used from; null for anywhere.
    #[schema(min_items = 1, max_items = 100)]
    pub allowed_addresses: Option<Vec<String>>,
    /// How often it may be used; null for no limit.
    pub rate_limit: Option<RateLimitView>,
    /// Words to find it by, all of them.
    #[schema(max_items = 40)]
    pub tags: Option<Vec<String>>,
    /// How often its secret is to be replaced; null for no due date.
    #[schema(example = "90d")]
    pub rotate_every: Option<String>,
}

/// Reads an edit. `at` says where it stands in the request; unknown fields are refused.
///
/// # Errors
/// Every problem that shows without the key.
pub fn read_edit(mut fields: Fields, now: Timestamp) -> Result<KeyEdit, Vec<FieldProblem>> {
    let edit = take_edit(&mut fields, now);
    fields.finish_strictly(edit)
}

/// Takes an edit's fields out of a request that has others, too.
pub fn take_edit(fields: &mut Fields, now: Timestamp) -> KeyEdit {
    let ends_in = fields.has("expires_in");
    let expires_at = nullable_text(fields, "expires_at", moment::read);
    let expires_in = fields.parsed("expires_in", parse_duration_ms);
    if ends_in && expires_at.is_some() {
        fields.problem("expires_in", "give either expires_at or expires_in");
    }
    KeyEdit {
        name: fields.text("name"),
        description: fields.text("description"),
        environment: nullable_text(fields, "environment", |text| {
            Environment::from_name(&text.replace(['-', '/'], "_"))
                .ok_or("is one of production, staging, development, ci_cd; null for none")
        }),
        scopes: fields
            .parsed_list("scopes", Scope::ALL.len() * 2, |text| {
                Scope::from_name(text).ok_or("is one of dataset, training, deployment")
            })
            .map(ScopeSet::from_iter),
        level: fields.parsed("level", |text| {
            PermissionLevel::from_name(text).ok_or("is one of full, read_only, labeler_only, restricted")
        }),
        rules: read_rules(fields),
        not_before: nullable_text(fields, "not_before", moment::read),
        expires_at: expires_at.or_else(|| expires_in.map(|span| Some(now.plus_ms(span)))),
        addresses: addresses(fields),
        rate_limit: rate_limit(fields),
        tags: fields.parsed_list("tags", MAX_TAGS * 2, str::parse::<Tag>),
        schedule: read_schedule(fields),
    }
}

/// A text that null takes off.
fn nullable_text<T, E: std::fmt::Display>(
    fields: &mut Fields,
    name: &str,
    read: impl FnOnce(&str) -> Result<T, E>,
) -> Option<Option<T>> {
    match fields.take_nullable(name)? {
        None => Some(None),
        Some(Value::String(text)) => fields.keep(name, read(&text)).map(Some),
        Some(other) => {
            let kind = kind_of(&other);
            fields.problem(name, format!("must be a text or null, not {kind}"));
            None
        }
    }
}

fn rate_limit(fields: &mut Fields) -> Option<Option<RateLimit>> {
    if fields.is_null("rate_limit") {
        fields.take("rate_limit");
        return Some(None);
    }
    read_rate_limit(fields).map(Some)
}

fn addresses(fields: &mut Fields) -> Option<AddressRule> {
    if fields.is_null("allowed_addresses") {
        fields.take("allowed_addresses");
        return Some(AddressRule::Anywhere);
    }
    fields
        .parsed_list("allowed_addresses", MAX_NETWORKS, read_network)
        .map(AddressRule::Only)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_ms(1_767_225_600_000);

    fn read(body: &str) -> Result<KeyEdit, Vec<FieldProblem>> {
        read_edit(Fields::of_body(body.as_bytes()).unwrap(), NOW)
    }

    #[test]
    fn what_is_absent_stays_and_null_takes_off() {
        assert_eq!(read("{}").unwrap(), KeyEdit::default());
        let off = r#"{"environment": null, "not_before": null, "expires_at": null, "allowed_addresses": null, "rotate_every": null}"#;
        let off = read(off).unwrap();
        assert_eq!(
            (off.environment, off.not_before, off.expires_at, off.addresses),
            (Some(None), Some(None), Some(None), Some(AddressRule::Anywhere))
        );
        assert_eq!(
            off.schedule,
            Some(keyward_core::rotation::ScheduleChoice::AsNeeded)
        );
    }

    #[test]
    fn every_problem_comes_at_once() {
        let body = r#"{"name": 1, "environment": "moon", "scopes": ["x"], "level": "god", "expires_at": 5, "expires_in": "1w",
            "allowed_addresses": ["home"], "tags": ["a b"], "rotate_every": 9, "admin": true}"#;
        let fields: Vec<String> = read(body)
            .unwrap_err()
            .into_iter()
            .map(|problem| problem.field)
            .collect();
        let mut sorted = fields.clone();
        sorted.sort();
        assert_eq!(
            sorted,
            [
                "admin",
                "allowed_addresses[0]",
                "environment",
                "expires_at",
                "expires_in",
                "level",
                "name",
                "rotate_every",
                "scopes[0]",
                "tags[0]"
            ]
        );
    }
}
