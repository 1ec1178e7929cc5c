//! What can be said of a key on the command line, for one that is made and for one that is changed.
//!
//! Values go to the server as they were typed, which names everything that is wrong with them at once.

use anyhow::{Result, bail};
use clap::Args;
use keyward_api::keys::{RateLimitView, RuleView};
use keyward_core::time::{SECOND_MS, parse_duration_ms};
use serde_json::{Map, Value, json};

/// What a key is to be.
#[derive(Args, Debug)]
pub(in crate::cli) struct KeyFields {
    /// Where it is used: production, staging, development or ci-cd
    #[arg(long, value_name = "ENVIRONMENT")]
    pub(super) environment: Option<String>,
    /// Which parts of the platform it may enter, separated by commas: dataset, training, deployment
    #[arg(long, value_name = "SCOPES", value_delimiter = ',')]
    pub(super) scopes: Option<Vec<String>>,
    /// How much it may do there: full, read-only, labeler-only or restricted
    #[arg(long, value_name = "LEVEL")]
    pub(super) level: Option<String>,
    /// A rule of a restricted key, `OPERATIONS@RESOURCES`: `dataset.read,annotation.*@dataset/abc`; can be given again
    #[arg(long = "rule", value_name = "RULE")]
    pub(super) rules: Vec<String>,
    /// When it ends, from now: `30m`, `12h`, `90d`
    #[arg(long, value_name = "DURATION", conflicts_with = "expires_at")]
    pub(super) expires_in: Option<String>,
    /// When it ends: `2027-01-31T12:00:00Z`
    #[arg(long, value_name = "MOMENT")]
    pub(super) expires_at: Option<String>,
    /// From when on it is accepted
    #[arg(long, value_name = "MOMENT")]
    pub(super) not_before: Option<String>,
    /// Networks that it may be used from, separated by commas
    #[arg(long, value_name = "NETWORKS", value_delimiter = ',')]
    pub(super) allowed_addresses: Option<Vec<String>>,
    /// How often it may be used: so many requests at once, and all of them back after this time
    #[arg(long, value_name = "REQUESTS/TIME", value_parser = rate_of)]
    pub(super) rate_limit: Option<RateLimitView>,
    /// How often its secret is to be replaced: `90d`, or `never` for no due date
    #[arg(long, value_name = "DURATION")]
    pub(super) rotate_every: Option<String>,
    /// A word to find it by, and to stop many keys by; can be given again
    #[arg(long = "tag", value_name = "TAG", value_delimiter = ',')]
    pub(super) tags: Vec<String>,
    /// A longer text
    #[arg(long)]
    pub(super) description: Option<String>,
}

impl KeyFields {
    /// The fields of a request that were given.
    pub(super) fn into_body(self) -> Result<Map<String, Value>> {
        let mut body = Map::new();
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                body.insert(name.to_owned(), value);
            }
        };
        set("description", self.description.map(Value::from));
        set("environment", self.environment.map(Value::from));
        set("scopes", self.scopes.map(trimmed));
        set("level", self.level.map(Value::from));
        set("expires_in", self.expires_in.map(Value::from));
        set("expires_at", self.expires_at.map(Value::from));
        set("not_before", self.not_before.map(Value::from));
        set("allowed_addresses", self.allowed_addresses.map(trimmed));
        let rate_limit = self
            .rate_limit
            .map(|limit| json!({"requests": limit.requests, "per_seconds": limit.per_seconds}));
        set("rate_limit", rate_limit);
        let schedule = self.rotate_every.map(|every| match every.as_str() {
            "never" => Value::Null,
            _ => every.into(),
        });
        set("rotate_every", schedule);
        set("tags", (!self.tags.is_empty()).then(|| trimmed(self.tags)));
        let rules = self.rules.iter().map(|rule| rule_of(rule));
        let rules: Vec<Value> = rules.collect::<Result<_>>()?;
        set("rules", (!rules.is_empty()).then(|| rules.into()));
        Ok(body)
    }
}

/// `100/60s`, as a person types it; how much is too much, the server says.
fn rate_of(text: &str) -> Result<RateLimitView, String> {
    let parts = text.split_once('/');
    let parts = parts.and_then(|(requests, time)| {
        let ms = parse_duration_ms(time).ok().filter(|ms| ms % SECOND_MS == 0)?;
        Some(RateLimitView {
            requests: requests.parse().ok()?,
            per_seconds: u32::try_from(ms / SECOND_MS).ok()?,
        })
    });
    parts.ok_or_else(|| {
        "is a number of requests and a time in whole seconds, such as `100/60s` or `5000/1h`".to_owned()
    })
}

fn trimmed(texts: Vec<String>) -> Value {
    texts.into_iter().map(|text| text.trim().to_owned()).collect()
}

fn rule_of(text: &str) -> Result<Value> {
    let Some((operations, resources)) = text.split_once('@') else {
        bail!("the rule `{text}` must be OPERATIONS@RESOURCES, such as `dataset.read@dataset/abc`");
    };
    let list = |text: &str| -> Vec<String> { text.split(',').map(|entry| entry.trim().to_owned()).collect() };
    Ok(json!({"operations": list(operations), "resources": list(resources)}))
}

/// A rule as [`KeyFields`] takes it.
pub(in crate::cli) fn shown_rule(rule: &RuleView) -> String {
    format!("{}@{}", rule.operations.join(","), rule.resources.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_written_as_it_is_read() {
        let text = "dataset.read,annotation.*@dataset/abc";
        let read: RuleView = serde_json::from_value(rule_of(text).unwrap()).unwrap();
        assert_eq!(shown_rule(&read), text);
    }
}
