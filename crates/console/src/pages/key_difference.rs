//! What is different between two states of a key, in words: before an edit, and when somebody else was quicker.
//!
//! Pure, and told field by field as people read them; what is the same is not told.

use askama::Template;
use askama::filters::HtmlSafe;
use keyward_core::access::Permission;
use keyward_core::condition::AddressRule;
use keyward_core::operation::Operation;
use keyward_core::record::Key;
use keyward_core::scope::ScopeSet;
use keyward_core::tag::Tag;
use keyward_core::time::{Timestamp, duration_words};

use super::key_summary::{DatasetNames, is_possible, listed, phrase, rule_words};
use crate::words::{access_text, counted, environment_name, exact, level_name};

/// The differences; shown in a template by its name.
#[derive(Template, Debug, Clone, PartialEq, Eq)]
#[template(path = "key_difference.html")]
pub(super) struct Differences {
    /// The heads of the columns.
    pub(super) heads: (&'static str, &'static str),
    pub(super) rows: Vec<Difference>,
    /// What it can do that it could not, as phrases after `can`.
    pub(super) gains: Vec<String>,
    /// What it could do and can no longer.
    pub(super) losses: Vec<String>,
}

// Its own template escapes every value of it.
impl HtmlSafe for Differences {}

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) what: &'static str,
    pub(super) before: String,
    pub(super) after: String,
}

impl Differences {
    /// What `now` has that `was` has not.
    pub(super) fn between(
        was: &Key,
        now: &Key,
        heads: (&'static str, &'static str),
        datasets: &DatasetNames,
    ) -> Self {
        let texts = [texts_of(was, datasets), texts_of(now, datasets)];
        let [before, after] = texts;
        let rows = before.into_iter().zip(after);
        let can = |key: &Key, operation: &Operation| {
            let access = &key.record.access;
            is_possible(*operation, access.scopes(), access.permission())
        };
        let only = |own: &Key, other: &Key| {
            let all = Operation::ALL.into_iter();
            let only = all.filter(|operation| can(own, operation) && !can(other, operation));
            only.map(|operation| phrase(operation).to_owned()).collect()
        };
        Self {
            heads,
            rows: rows
                .filter(|((_, before), (_, after))| before != after)
                .map(|((what, before), (_, after))| Difference { what, before, after })
                .collect(),
            gains: only(now, was),
            losses: only(was, now),
        }
    }

    pub(super) fn gains_text(&self) -> String {
        listed(&self.gains, "and")
    }

    pub(super) fn losses_text(&self) -> String {
        listed(&self.losses, "or")
    }
}

fn texts_of(key: &Key, datasets: &DatasetNames) -> Vec<(&'static str, String)> {
    let access = &key.record.access;
    let conditions = &key.record.conditions;
    let moment = |moment: Option<Timestamp>| moment.map_or_else(|| "None".to_owned(), exact);
    let tags: Vec<_> = key.tags.iter().map(Tag::as_str).collect();
    vec![
        ("Name", key.name.to_string()),
        ("Environment", environment_name(key.environment).to_owned()),
        ("Access", access_text(access.scopes())),
        ("Permission", level_name(access.permission().level()).to_owned()),
        ("Rules", rules_text(access.permission(), datasets)),
        ("Expires", moment(conditions.expires_at)),
        ("Not before", moment(conditions.not_before)),
        (
            "Allowed addresses",
            match &conditions.addresses {
                AddressRule::Anywhere => "Any".to_owned(),
                AddressRule::Only(networks) => {
                    let networks: Vec<_> = networks.iter().map(ToString::to_string).collect();
                    networks.join(", ")
                }
            },
        ),
        (
            "Rate limit",
            conditions.rate_limit.map_or_else(
                || "None".to_owned(),
                |limit| {
                    format!(
                        "{} per {} s",
                        counted(u64::from(limit.requests), "request", "requests"),
                        limit.per_ms / 1_000
                    )
                },
            ),
        ),
        (
            "Rotation",
            key.rotate_every_ms.map_or_else(
                || "As needed".to_owned(),
                |ms| format!("Every {}", duration_words(ms)),
            ),
        ),
        (
            "Tags",
            match tags.is_empty() {
                true => "None".to_owned(),
                false => tags.join(", "),
            },
        ),
        (
            "Description",
            match key.description.is_empty() {
                true => "None".to_owned(),
                false => key.description.clone(),
            },
        ),
    ]
}

fn rules_text(permission: &Permission, datasets: &DatasetNames) -> String {
    let rules = permission.rules().iter();
    // All scopes: the rules are compared as they are written.
    let told: Vec<_> = rules
        .filter_map(|rule| rule_words(rule, ScopeSet::ALL, datasets))
        .map(|(resources, operations)| format!("on {resources}: {operations}"))
        .collect();
    match told.is_empty() {
        true => "None".to_owned(),
        false => told.join(" / "),
    }
}
