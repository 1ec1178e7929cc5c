//! Which keys are meant: the flags that a list, a bulk operation and an emergency stop share.

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser};
use keyward_api::key_filter::environment_names;
use keyward_core::level::PermissionLevel;
use keyward_core::record::ShownState;
use keyward_core::rotation::DueStatus;
use keyward_core::scope::Scope;
use keyward_core::time::{DAY_MS, parse_duration_ms};
use serde_json::{Map, Value};

/// The states that are not the end.
pub(super) const LIVING: [ShownState; 3] = [ShownState::Active, ShownState::Paused, ShownState::Expired];

/// Every flag narrows; several values of one flag are alternatives, but for the scopes.
#[derive(Args, Debug, Default)]
pub(in crate::cli) struct Filter {
    /// In one of these states
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_parser = states())]
    state: Vec<String>,
    /// Of one of these environments
    #[arg(long, value_name = "ENVIRONMENT", value_delimiter = ',', value_parser = names(environment_names()))]
    environment: Vec<String>,
    /// With every one of these scopes
    #[arg(long, value_name = "SCOPE", value_delimiter = ',', value_parser = names(Scope::ALL.map(Scope::name)))]
    scope: Vec<String>,
    /// Of one of these levels
    #[arg(long, value_name = "LEVEL", value_delimiter = ',', value_parser = names(PermissionLevel::ALL.map(PermissionLevel::name)))]
    level: Vec<String>,
    /// Made by one of these: `person/ID`, `token/ID`, `local_administrator`
    #[arg(long, value_name = "CREATOR", value_delimiter = ',')]
    creator: Vec<String>,
    /// With one of these tags
    #[arg(long, value_name = "TAG", value_delimiter = ',')]
    tag: Vec<String>,
    /// So far from their next rotation
    #[arg(long, value_name = "STATUS", value_delimiter = ',', value_parser = names(DueStatus::ALL.map(DueStatus::name)))]
    rotation: Vec<String>,
    /// Not used for so long, in days: `30d`; a key that was never used counts from its creation
    #[arg(long, value_name = "DAYS", value_parser = days)]
    unused_for: Option<i64>,
    /// With this in name or description
    #[arg(long, value_name = "TEXT", value_parser = no_value)]
    text: Option<String>,
}

impl Filter {
    /// As the body of a request has it.
    pub(super) fn into_body(self) -> Map<String, Value> {
        let mut body = Map::new();
        let lists = [
            ("state", plain(self.state)),
            ("environment", plain(self.environment)),
            ("scope", plain(self.scope)),
            ("level", plain(self.level)),
            ("creator", self.creator),
            ("tag", self.tag),
            ("rotation", plain(self.rotation)),
        ];
        for (name, values) in lists {
            if !values.is_empty() {
                body.insert(name.to_owned(), values.into());
            }
        }
        body.extend(
            self.unused_for
                .map(|days| ("unused_for_days".to_owned(), days.into())),
        );
        body.extend(self.text.map(|text| ("text".to_owned(), text.into())));
        body
    }

    /// Whether states were named.
    pub(super) fn names_states(&self) -> bool {
        !self.state.is_empty()
    }
}

/// A body as the query of a list has it.
pub(in crate::cli) fn query_of(body: &Map<String, Value>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in body {
        let text = match value {
            Value::Array(entries) => {
                let entries = entries.iter().filter_map(Value::as_str);
                entries.collect::<Vec<_>>().join(",")
            }
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        query.append_pair(name, &text);
    }
    query.finish()
}

/// Names of the API, as a person types them: with hyphens, and as well with underscores.
pub(super) fn names(names: impl IntoIterator<Item = &'static str>) -> PossibleValuesParser {
    let values = names.into_iter().map(|name| {
        let typed = name.replace('_', "-");
        if typed == name {
            PossibleValue::new(name)
        } else {
            PossibleValue::new(typed).alias(name)
        }
    });
    PossibleValuesParser::new(values)
}

fn states() -> PossibleValuesParser {
    let ended = [ShownState::Deleted];
    names(LIVING.into_iter().chain(ended).map(ShownState::name))
}

/// As the API names it.
fn plain(typed: Vec<String>) -> Vec<String> {
    typed.into_iter().map(|name| name.replace('-', "_")).collect()
}

fn days(text: &str) -> Result<i64, String> {
    let ms = parse_duration_ms(text).ok().filter(|ms| ms % DAY_MS == 0);
    ms.map(|ms| ms / DAY_MS)
        .ok_or_else(|| "is a number of whole days, such as `30d`".to_owned())
}

/// A list's filter stands in a URL, where no key may stand.
fn no_value(text: &str) -> Result<String, String> {
    let masked = keyward_core::mask::mask_keys(text, keyward_core::key_text::Prefix::dtvi().as_str());
    if masked == text {
        Ok(text.to_owned())
    } else {
        Err(
            "looks like a key; find it with `keyward keys find -`, which reads it from standard input"
                .to_owned(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_the_same_in_a_body_and_in_a_query() {
        let filter = Filter {
            environment: vec!["ci-cd".to_owned(), "none".to_owned()],
            tag: vec!["team:a-b".to_owned()],
            unused_for: Some(30),
            text: Some("a & b".to_owned()),
            ..Filter::default()
        };
        let body = filter.into_body();
        assert_eq!(
            Value::from(body.clone()),
            serde_json::json!({"environment": ["ci_cd", "none"], "tag": ["team:a-b"], "unused_for_days": 30, "text": "a & b"})
        );
        assert_eq!(
            query_of(&body),
            "environment=ci_cd%2Cnone&tag=team%3Aa-b&text=a+%26+b&unused_for_days=30"
        );
    }

    #[test]
    fn days_are_whole_and_a_key_is_no_search_text() {
        assert_eq!((days("30d"), days("48h")), (Ok(30), Ok(2)));
        assert!(days("36h").is_err() && days("30").is_err());
        assert!(no_value("dtvi_MmQxNzE5Nw_and_more").is_err());
        assert!(no_value("nightly dtvi_ job").is_ok());
    }
}
