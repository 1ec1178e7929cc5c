//! Secret keys on the wire of the management API: the request for one, and what is shown of one.
//!
//! No type here holds a key's value but [`CreatedKeyView`], which is the one reply that does.

use ipnet::IpNet;
use keyward_core::access::Permission;
use keyward_core::condition::{
    AddressRule, Conditions, MAX_NETWORKS, MAX_RATE_PERIOD_SECONDS, MAX_RATE_REQUESTS, RateLimit,
};
use keyward_core::environment::Environment;
use keyward_core::field::FieldProblem;
use keyward_core::level::PermissionLevel;
use keyward_core::new_key::{CreationPolicy, KeyDraft, NewKey};
use keyward_core::record::Key;
use keyward_core::rotation::{RotationPolicy, ScheduleChoice};
use keyward_core::rule::{MAX_PATTERNS, MAX_RULES, OperationPattern, ResourcePattern, Rule};
use keyward_core::scope::{Scope, ScopeSet};
use keyward_core::state::{DeleteReason, KeyState, SecretLife};
use keyward_core::tag::{MAX_TAGS, Tag};
use keyward_core::time::{Timestamp, parse_duration_ms, write_duration_ms};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::fields::{Fields, bounded, kind_of};
use crate::moment;
use crate::schema::{
    DeleteReasonName, DueStatusName, EnvironmentName, KeyStateName, LevelName, ScopeName, SecretStateName,
};

/// What [`read_draft`] reads, for the API's description.
#[derive(ToSchema, Deserialize)]
#[serde(deny_unknown_fields)]
#[schema(as = NewKey, description = "A request for a secret key.")]
pub struct NewKeyBody {
    /// What people call it; need not be unique.
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    /// A longer text.
    #[schema(max_length = 1000)]
    pub description: Option<String>,
    /// Where it is used, which proposes scopes and level.
    #[schema(value_type = Option<EnvironmentName>)]
    pub environment: Option<String>,
    /// Which parts of the platform it may enter; absent: the environment's, or all three.
    #[schema(value_type = Option<Vec<ScopeName>>, min_items = 1)]
    pub scopes: Option<Vec<String>>,
    /// How much it may do there; absent: the environment's, `restricted` with rules, else `full`.
    #[schema(value_type = Option<LevelName>)]
    pub level: Option<String>,
    /// The rules of a restricted key.
    #[schema(max_items = 50)]
    pub rules: Option<Vec<RuleView>>,
    /// From when on it is accepted.
    #[schema(format = DateTime)]
    pub not_before: Option<String>,
    /// When it ends. Give this or `expires_in`; without either it does not end by itself.
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
    /// When it ends, from now: a whole number and `s`, `m`, `h` or `d`.
    #[schema(pattern = "^[0-9]+(ms|s|m|h|d)$", example = "90d")]
    pub expires_in: Option<String>,
    /// Networks or addresses that it may be used from; absent: from anywhere.
    #[schema(min_items = 1, max_items = 100, example = json!(["10.0.0.0/8"]))]
    pub allowed_addresses: Option<Vec<String>>,
    /// How often it may be used; absent: without a limit.
    pub rate_limit: Option<RateLimitView>,
    /// Words to find it by, and to stop many keys by.
    #[schema(max_items = 40, example = json!(["team:vision"]))]
    pub tags: Option<Vec<String>>,
    /// How often its secret is to be replaced, such as `90d`; null for no due date, absent for what the environment proposes.
    #[schema(example = "90d")]
    pub rotate_every: Option<String>,
}

/// What [`read_reason`] reads, for the API's description.
#[derive(ToSchema, Deserialize)]
#[serde(deny_unknown_fields)]
#[schema(as = Deletion, description = "Why a secret key is deleted.")]
pub struct DeletionBody {
    /// Why; `removed` if it is absent.
    #[schema(value_type = Option<DeleteReasonName>)]
    pub reason: Option<String>,
}

/// Reads a request for a key: `name`, `description`, `environment`, `scopes`, `level`, `rules`, `not_before`,
/// `expires_at` or `expires_in`, `allowed_addresses`, `rate_limit`. Absent scopes and level are the environment's preset; without an
/// environment all three scopes and Full.
///
/// # Errors
/// Every problem that shows without the organization's policy, whether a field can't be read or holds what no key may
/// have; the engine finds the others.
pub fn read_draft(mut fields: Fields, now: Timestamp) -> Result<KeyDraft, Vec<FieldProblem>> {
    let name = fields.required_text("name").unwrap_or_default();
    let description = fields.text("description").unwrap_or_default();
    let environment = fields.parsed("environment", |text| {
        let known = Environment::from_name(&text.replace(['-', '/'], "_"));
        known.ok_or("is one of production, staging, development, ci_cd; leave it out for none")
    });
    let preset = environment.map(Environment::preset);
    let scopes = fields.parsed_list("scopes", Scope::ALL.len() * 2, |text| {
        Scope::from_name(text).ok_or("is one of dataset, training, deployment")
    });
    let scopes = scopes.map_or_else(
        || preset.map_or(ScopeSet::ALL, |preset| preset.scopes),
        ScopeSet::from_iter,
    );
    let level = fields.parsed("level", |text| {
        PermissionLevel::from_name(text).ok_or("is one of full, read_only, labeler_only, restricted")
    });
    let rules = read_rules(&mut fields);
    let level = level.unwrap_or(match (&rules, preset) {
        (Some(_), _) => PermissionLevel::Restricted,
        (None, Some(preset)) => preset.level,
        (None, None) => PermissionLevel::Full,
    });
    let permission = match (level, rules) {
        (PermissionLevel::Restricted, rules) => Permission::Restricted(rules.unwrap_or_default()),
        (level, rules) => {
            if rules.is_some() {
                fields.problem(
                    "rules",
                    "only a Restricted key has rules; leave them out, or set level to restricted",
                );
            }
            match level {
                PermissionLevel::ReadOnly => Permission::ReadOnly,
                PermissionLevel::LabelerOnly => Permission::LabelerOnly,
                PermissionLevel::Full | PermissionLevel::Restricted => Permission::Full,
            }
        }
    };
    let ends_after_a_span = fields.has("expires_in") && !fields.has("expires_at");
    let conditions = read_conditions(&mut fields, now);
    let tags = fields.parsed_list("tags", MAX_TAGS * 2, str::parse::<Tag>);
    let schedule = read_schedule(&mut fields);
    let draft = KeyDraft {
        name,
        description,
        environment,
        scopes,
        permission,
        conditions,
        tags: tags.unwrap_or_default(),
        schedule: schedule.unwrap_or(ScheduleChoice::Proposed),
    };
    let mut amiss = NewKey::check(draft.clone(), NO_POLICY, now)
        .err()
        .unwrap_or_default();
    for problem in &mut amiss {
        if ends_after_a_span && problem.field == "expires_at" {
            // The field that the request has.
            problem.field = "expires_in".to_owned();
        }
    }
    match fields.finish_strictly(draft) {
        Ok(draft) if amiss.is_empty() => Ok(draft),
        Ok(_) => Err(bounded(amiss)),
        Err(mut unread) => {
            amiss.retain(|problem| !rests_on_any(&unread, &problem.field));
            unread.append(&mut amiss);
            Err(bounded(unread))
        }
    }
}

/// The organization's policy is the engine's to know.
const NO_POLICY: CreationPolicy = CreationPolicy {
    max_lifetime_ms: None,
    rotation: RotationPolicy::NONE,
};

/// Whether what is said of a field was found by what stands in the place of a field that could not be read: of that one
/// enough was said already.
pub(crate) fn rests_on_any(unread: &[FieldProblem], field: &str) -> bool {
    let field = field_of_request(field);
    unread.iter().any(|problem| {
        let unread = field_of_request(&problem.field);
        unread == field || (unread == "scopes" && matches!(field, "level" | "rules"))
    })
}

/// `rules` of `rules[0].operations[1]`.
fn field_of_request(path: &str) -> &str {
    path.split(['[', '.']).next().unwrap_or(path)
}

/// `rotate_every`: a span such as `90d`, or null for no due date; absent leaves it as it is, or as proposed.
pub(crate) fn read_schedule(fields: &mut Fields) -> Option<ScheduleChoice> {
    match fields.take_nullable("rotate_every")? {
        None => Some(ScheduleChoice::AsNeeded),
        Some(serde_json::Value::String(text)) => fields
            .keep("rotate_every", parse_duration_ms(&text))
            .map(ScheduleChoice::Every),
        Some(other) => {
            let kind = kind_of(&other);
            fields.problem(
                "rotate_every",
                format!("must be a text such as `90d`, or null, not {kind}"),
            );
            None
        }
    }
}

fn read_conditions(fields: &mut Fields, now: Timestamp) -> Conditions {
    let not_before = fields.parsed("not_before", moment::read);
    let expires_at = fields.parsed("expires_at", moment::read);
    let expires_in = fields.parsed("expires_in", parse_duration_ms);
    if expires_at.is_some() && expires_in.is_some() {
        fields.problem("expires_in", "give either expires_at or expires_in");
    }
    let addresses = fields.parsed_list("allowed_addresses", MAX_NETWORKS, read_network);
    Conditions {
        not_before,
        expires_at: expires_at.or_else(|| expires_in.map(|span| now.plus_ms(span))),
        addresses: addresses.map_or(AddressRule::Anywhere, AddressRule::Only),
        rate_limit: read_rate_limit(fields),
    }
}

/// `{"requests": 100, "per_seconds": 60}`.
pub(crate) fn read_rate_limit(fields: &mut Fields) -> Option<RateLimit> {
    let mut limit = Fields::of_object(fields.object("rate_limit")?, "rate_limit".to_owned());
    let mut number = |name: &str, most: u32| {
        limit.require(name);
        let number = limit.integer(name)?;
        let number = u32::try_from(number)
            .ok()
            .filter(|number| (1..=most).contains(number));
        if number.is_none() {
            limit.problem(name, format!("must be 1 to {most}"));
        }
        number
    };
    let requests = number("requests", MAX_RATE_REQUESTS);
    let seconds = number("per_seconds", MAX_RATE_PERIOD_SECONDS);
    let read = requests.zip(seconds).map(|(requests, seconds)| RateLimit {
        requests,
        per_ms: seconds * 1_000,
    });
    match limit.finish_strictly(read) {
        Ok(read) => read,
        Err(problems) => {
            fields.absorb(problems);
            None
        }
    }
}

/// A network, or a single address as the network that holds it alone.
pub(crate) fn read_network(text: &str) -> Result<IpNet, &'static str> {
    let network = text
        .parse::<IpNet>()
        .or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from));
    network.map_err(|_| "is an address or a network such as 10.0.0.0/8 or 2001:db8::/32")
}

pub(crate) fn read_rules(fields: &mut Fields) -> Option<Vec<Rule>> {
    let items = fields.list("rules")?;
    if items.len() > MAX_RULES {
        fields.problem("rules", format!("at most {MAX_RULES} rules"));
        return None;
    }
    let mut rules = Vec::with_capacity(items.len());
    for (at, item) in items.into_iter().enumerate() {
        let path = format!("rules[{at}]");
        let serde_json::Value::Object(values) = item else {
            fields.problem(
                &path,
                format!(
                    "must be an object with operations and resources, not {}",
                    kind_of(&item)
                ),
            );
            continue;
        };
        let mut rule = Fields::of_object(values, path);
        rule.require("operations");
        let operations = rule.parsed_list("operations", MAX_PATTERNS, str::parse::<OperationPattern>);
        rule.require("resources");
        let resources = rule.parsed_list("resources", MAX_PATTERNS, str::parse::<ResourcePattern>);
        let read = Rule {
            operations: operations.unwrap_or_default(),
            resources: resources.unwrap_or_default(),
        };
        match rule.finish_strictly(read) {
            Ok(read) => rules.push(read),
            Err(problems) => fields.absorb(problems),
        }
    }
    Some(rules)
}

/// Reads the reason of a deletion: `reason`, `removed` if it is absent.
///
/// # Errors
/// Every problem.
pub fn read_reason(mut fields: Fields) -> Result<DeleteReason, Vec<FieldProblem>> {
    let reason = fields.parsed("reason", |text| {
        DeleteReason::from_name(&text.replace('-', "_"))
            .ok_or("is one of removed, compromised, replaced, creator_left, unused, other")
    });
    fields.finish_strictly(reason.unwrap_or(DeleteReason::Removed))
}

/// A key, as its owners see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Key)]
pub struct KeyView {
    /// Its id.
    pub id: String,
    /// The organization it belongs to.
    pub organization_id: String,
    /// What people call it.
    pub name: String,
    /// A longer text.
    pub description: String,
    /// Where it is used; null is shown as None.
    #[schema(value_type = Option<EnvironmentName>)]
    pub environment: Option<String>,
    /// `active`, `paused`, `expired` or `deleted`.
    #[schema(value_type = KeyStateName)]
    pub state: String,
    /// Why it is paused or deleted.
    pub state_reason: Option<String>,
    /// When it was deleted.
    #[schema(format = DateTime)]
    pub deleted_at: Option<String>,
    /// Its scopes.
    #[schema(value_type = Vec<ScopeName>)]
    pub scopes: Vec<String>,
    /// Its level.
    #[schema(value_type = LevelName)]
    pub level: String,
    /// Its rules, if it is restricted.
    pub rules: Vec<RuleView>,
    /// From when on it is accepted.
    #[schema(format = DateTime)]
    pub not_before: Option<String>,
    /// Until when it is accepted.
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
    /// From where it may be used; null is from anywhere.
    pub allowed_addresses: Option<Vec<String>>,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// How often its secret is to be replaced; null is as needed.
    pub rotate_every: Option<String>,
    /// When its secret was last replaced.
    #[schema(format = DateTime)]
    pub rotated_at: Option<String>,
    /// When its secret is to be replaced next.
    #[schema(format = DateTime)]
    pub rotation_due_at: Option<String>,
    /// How that stands now.
    #[schema(value_type = DueStatusName)]
    pub rotation: String,
    /// When it was last used, to the second; null is never.
    #[schema(format = DateTime)]
    pub last_used_at: Option<String>,
    /// The circumstances of that; null where they are not known.
    pub last_use: Option<LastUseView>,
    /// How often it may be used; null is without a limit.
    pub rate_limit: Option<RateLimitView>,
    /// Head and tail of its current secret.
    pub hint: String,
    /// Who made it.
    pub created_by: String,
    /// The id of the person who answers for it since its creator handed it over; null is the creator still.
    pub responsible: Option<String>,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it was last changed.
    #[schema(format = DateTime)]
    pub updated_at: String,
    /// Raised with every change.
    pub version: i64,
}

/// How often a key may be used: `requests` at once, and all of them back after `per_seconds`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = RateLimit)]
pub struct RateLimitView {
    /// Requests that the full bucket holds.
    pub requests: u32,
    /// The seconds in which an empty bucket refills.
    pub per_seconds: u32,
}

/// The circumstances of a use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = LastUse)]
pub struct LastUseView {
    /// `identify`, or the operation of the resource API.
    pub operation: String,
    /// From where: an IP address, `unknown`, or `(other)`.
    pub address: String,
    /// The beginning of the `User-Agent`; `(none)` without one.
    pub client: String,
}

/// A rule of a restricted key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Rule)]
pub struct RuleView {
    /// Operations or families.
    pub operations: Vec<String>,
    /// Resources.
    pub resources: Vec<String>,
}

impl KeyView {
    /// What is shown of `key` at `now`.
    pub fn of(key: &Key, now: Timestamp) -> Self {
        let record = &key.record;
        let conditions = &record.conditions;
        Self {
            id: record.id.to_string(),
            organization_id: record.organization_id.to_string(),
            name: key.name.to_string(),
            description: key.description.clone(),
            environment: key.environment.map(|environment| environment.name().to_owned()),
            state: key.shown_state(now).name().to_owned(),
            state_reason: record.state.reason().map(str::to_owned),
            deleted_at: match record.state {
                KeyState::Deleted { at, .. } => Some(moment::write(at)),
                KeyState::Active | KeyState::Paused { .. } => None,
            },
            scopes: record
                .access
                .scopes()
                .iter()
                .map(|scope| scope.name().to_owned())
                .collect(),
            level: record.access.permission().level().name().to_owned(),
            rules: record
                .access
                .permission()
                .rules()
                .iter()
                .map(RuleView::of)
                .collect(),
            not_before: conditions.not_before.map(moment::write),
            expires_at: conditions.expires_at.map(moment::write),
            allowed_addresses: match &conditions.addresses {
                AddressRule::Anywhere => None,
                AddressRule::Only(networks) => Some(networks.iter().map(ToString::to_string).collect()),
            },
            tags: key.tags.iter().map(ToString::to_string).collect(),
            rotate_every: key.rotate_every_ms.map(write_duration_ms),
            rotated_at: key.rotated_at.map(moment::write),
            rotation_due_at: key.rotation_due_at().map(moment::write),
            rotation: key.due_status(now).name().to_owned(),
            last_used_at: None,
            last_use: None,
            rate_limit: conditions.rate_limit.map(|limit| RateLimitView {
                requests: limit.requests,
                per_seconds: limit.per_ms.div_ceil(1_000),
            }),
            hint: key.hint.clone(),
            created_by: key.created_by.to_string(),
            responsible: key.responsible.as_ref().map(ToString::to_string),
            created_at: moment::write(key.created_at),
            updated_at: moment::write(key.updated_at),
            version: record.version,
        }
    }
}

impl KeyView {
    /// The same with when the key was last used, and how.
    #[must_use]
    pub fn used(self, last_used_at: Option<Timestamp>, last_use: Option<LastUseView>) -> Self {
        Self {
            last_used_at: last_used_at.map(moment::write),
            last_use,
            ..self
        }
    }
}

/// A key with its secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = KeyDetail)]
pub struct KeyDetailView {
    /// The key.
    #[serde(flatten)]
    pub key: KeyView,
    /// Its secrets, the newest first: at most two that live, and those of the past that are kept.
    pub secrets: Vec<SecretView>,
    /// In the reply to a change: whether it is on a second server too. False: it is true while this primary lives, and not over a
    /// failover, since no commit waits for a standby. Left out where the database is a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub survives_failover: Option<bool>,
}

/// One secret of a key; never its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = KeySecret)]
pub struct SecretView {
    /// Counted from 1 within its key.
    pub number: i64,
    /// What it is now.
    #[schema(value_type = SecretStateName)]
    pub state: String,
    /// Head and tail of its text.
    pub hint: String,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it ends by itself.
    #[schema(format = DateTime)]
    pub ends_at: Option<String>,
    /// When it was ended.
    #[schema(format = DateTime)]
    pub ended_at: Option<String>,
    /// When it was first used; null is never.
    #[schema(format = DateTime)]
    pub first_used_at: Option<String>,
    /// When it was last used, to the second; null is never.
    #[schema(format = DateTime)]
    pub last_used_at: Option<String>,
    /// The circumstances of that; null where they are not known.
    pub last_use: Option<LastUseView>,
}

/// The states of a secret at a moment.
pub const SECRET_STATES: [&str; 4] = ["current", "until", "pending", "ended"];

/// The name of a secret's state at `now`: what is over is ended, whether somebody noted it or not.
pub fn secret_state(life: SecretLife, now: Timestamp) -> &'static str {
    if life.is_superseded(now) {
        SecretLife::Ended.name()
    } else {
        life.name()
    }
}

impl RuleView {
    pub(crate) fn of(rule: &Rule) -> Self {
        Self {
            operations: rule.operations.iter().map(ToString::to_string).collect(),
            resources: rule.resources.iter().map(ToString::to_string).collect(),
        }
    }
}

/// A new key with its value: the only reply that ever holds one.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = CreatedKey, description = "A new secret key with its value, which no other reply holds.")]
pub struct CreatedKeyView {
    /// The key.
    #[serde(flatten)]
    pub key: KeyView,
    /// Its value, shown this once. Null where a request with an Idempotency-Key is repeated later than ten minutes after the first, or
    /// after the end of the key.
    pub value: Option<String>,
    /// The address of the resource API, for the snippets beside the value.
    pub endpoint: String,
    /// In the reply to a change: whether it is on a second server too. False: it is true while this primary lives, and not over a
    /// failover, since no commit waits for a standby. Left out where the database is a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub survives_failover: Option<bool>,
}

impl std::fmt::Debug for CreatedKeyView {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "CreatedKeyView({})", self.key.id)
    }
}

/// What a change of a key's state did, and who confirmed it (see docs/ARCHITECTURE.md, "Delete").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = KeyStateChange, description = "What a change of a key's state did, and which nodes know of it.")]
pub struct KeyStateView {
    /// The key's id.
    pub id: String,
    /// The state it is in now.
    #[schema(value_type = KeyStateName)]
    pub state: String,
    /// Why.
    pub state_reason: Option<String>,
    /// Whether this call changed it, or found it so.
    pub changed: bool,
    /// Nodes that confirmed the change.
    pub confirmed: u32,
    /// Nodes that were waited out.
    pub waited_out: u32,
    /// How long was waited for them, in milliseconds.
    pub waited_ms: u64,
    /// Whether the change is on a second server too. False: it is true while this primary lives, and not over a failover, since
    /// no commit waits for a standby. Left out where the database is a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub survives_failover: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_ms(1_767_225_600_000);

    fn read(body: &str) -> Result<KeyDraft, Vec<FieldProblem>> {
        read_draft(Fields::of_body(body.as_bytes()).unwrap(), NOW)
    }

    fn problems(body: &str) -> Vec<String> {
        let problems = read(body).unwrap_err();
        problems.into_iter().map(|problem| problem.field).collect()
    }

    #[test]
    fn a_key_that_nobody_narrowed_has_everything() {
        let draft = read(r#"{"name": "a"}"#).unwrap();
        assert_eq!(
            (draft.scopes, draft.permission),
            (ScopeSet::ALL, Permission::Full)
        );
        assert_eq!(draft.conditions, Conditions::NONE);
    }

    #[test]
    fn an_environment_proposes_and_what_is_asked_for_wins() {
        let draft = read(r#"{"name": "a", "environment": "development"}"#).unwrap();
        assert_eq!(
            (draft.scopes, draft.permission),
            (ScopeSet::ALL, Permission::ReadOnly)
        );
        assert_eq!(
            problems(r#"{"name": "a", "environment": "ci-cd"}"#),
            ["scopes"],
            "somebody has to choose"
        );
        let draft =
            read(r#"{"name": "a", "environment": "ci_cd", "scopes": ["dataset"], "level": "full"}"#).unwrap();
        assert_eq!(draft.scopes, ScopeSet::NONE.with(Scope::Dataset));
        assert_eq!(draft.permission, Permission::Full);
    }

    #[test]
    fn rules_make_a_key_restricted_and_fit_no_other_level() {
        let rules = r#""rules": [{"operations": ["dataset.read"], "resources": ["dataset/d1"]}]"#;
        let draft = read(&format!(r#"{{"name": "a", {rules}}}"#)).unwrap();
        assert_eq!(draft.permission.rules().len(), 1);
        assert_eq!(
            problems(&format!(r#"{{"name": "a", "level": "full", {rules}}}"#)),
            ["rules"]
        );
    }

    #[test]
    fn every_problem_of_a_request_comes_at_once() {
        let body = r#"{"scopes": ["dataset", "root"], "level": "god", "expires_at": "soon", "expires_in": "1w",
            "allowed_addresses": ["10.0.0.0/8", "home"], "rules": [{"operations": ["x"]}, 3], "environment": "moon",
            "admin": true}"#;
        assert_eq!(
            problems(body),
            [
                "name",
                "environment",
                "scopes[1]",
                "level",
                "rules[0].operations[0]",
                "rules[0].resources",
                "rules[1]",
                "expires_at",
                "expires_in",
                "allowed_addresses[1]",
                "admin"
            ]
        );
    }

    #[test]
    fn what_is_not_good_comes_together_with_what_can_not_be_read() {
        let body = r#"{"name": "", "level": "god", "scopes": [], "allowed_addresses": [], "admin": true}"#;
        assert_eq!(
            problems(body),
            ["level", "admin", "name", "allowed_addresses", "scopes"]
        );
        // Nothing is said of what stands in for a field that could not be read.
        let rules = r#""rules": [{"operations": ["dataset.read"], "resources": ["*"]}]"#;
        let body = format!(r#"{{"name": 1, "environment": "ci_cd", "scopes": ["root"], {rules}}}"#);
        assert_eq!(problems(&body), ["name", "scopes[0]"]);
        // A rule is refused entry by entry, but not without end.
        let entries = vec![r#""training.read""#; MAX_PATTERNS].join(",");
        let rule = format!(r#"{{"operations": [{entries}], "resources": ["*"]}}"#);
        let rules = vec![rule; MAX_RULES].join(",");
        let body = format!(r#"{{"name": "a", "scopes": ["dataset"], "rules": [{rules}]}}"#);
        assert_eq!(problems(&body).len(), 100);
    }

    #[test]
    fn a_rate_limit_is_requests_in_whole_seconds() {
        let limit = |limit: &str| read(&format!(r#"{{"name": "a", "rate_limit": {limit}}}"#));
        let draft = limit(r#"{"requests": 100, "per_seconds": 60}"#).unwrap();
        assert_eq!(
            draft.conditions.rate_limit,
            Some(RateLimit {
                requests: 100,
                per_ms: 60_000
            })
        );
        assert_eq!(limit("null").unwrap().conditions.rate_limit, None);
        for (wrong, expected) in [
            (
                r#"{"requests": 0, "per_seconds": 0}"#,
                &["rate_limit.requests", "rate_limit.per_seconds"][..],
            ),
            (
                r#"{"requests": 1000001, "per_seconds": 86401}"#,
                &["rate_limit.requests", "rate_limit.per_seconds"],
            ),
            (
                r#"{"requests": "1", "per_seconds": 1.5}"#,
                &["rate_limit.requests", "rate_limit.per_seconds"],
            ),
            (
                r#"{"requests": 1, "per_seconds": 4294967297}"#,
                &["rate_limit.per_seconds"],
            ),
            (
                r#"{"per_seconds": 1, "burst": 2}"#,
                &["rate_limit.requests", "rate_limit.burst"],
            ),
            (r#""100/60s""#, &["rate_limit"]),
        ] {
            let found: Vec<_> = limit(wrong)
                .unwrap_err()
                .into_iter()
                .map(|problem| problem.field)
                .collect();
            assert_eq!(found, expected, "{wrong}");
        }
    }

    #[test]
    fn an_expiry_is_a_moment_or_a_span_from_now() {
        let draft = read(r#"{"name": "a", "expires_in": "2s"}"#).unwrap();
        assert_eq!(draft.conditions.expires_at, Some(NOW.plus_ms(2_000)));
        assert_eq!(
            problems(r#"{"name": "a", "expires_in": "2s", "expires_at": "2027-01-01T00:00:00Z"}"#),
            ["expires_in"]
        );
        assert_eq!(
            problems(r#"{"name": "a", "expires_in": "99999999999d"}"#),
            ["expires_in"],
            "too far away, and named as it was asked for"
        );
    }
}
