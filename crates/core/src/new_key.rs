//! A key that is about to be made: what was asked for, checked as a whole.
//!
//! A [`NewKey`] that exists passed every refusal of creation; the problems of a request come all at once.

use crate::access::{Access, Permission};
use crate::condition::{
    AddressRule, Conditions, MAX_NETWORKS, MAX_RATE_PERIOD_SECONDS, MAX_RATE_REQUESTS, RateLimit,
};
use crate::environment::Environment;
use crate::field::{FieldProblem, FieldProblems};
use crate::record::{KeyName, is_disruptive};
use crate::scope::ScopeSet;
use crate::time::{Timestamp, duration_words};

/// Longest description, in characters.
pub const MAX_DESCRIPTION: usize = 1_000;

/// The last moment that a date with four digits of a year can name; a later one could not be shown.
const LATEST: Timestamp = Timestamp::from_unix_ms(253_402_300_799_999);

/// What somebody asked for, field by field, unchecked.
#[derive(Debug, Clone)]
pub struct KeyDraft {
    /// Its name.
    pub name: String,
    /// Its description.
    pub description: String,
    /// Its environment.
    pub environment: Option<Environment>,
    /// Its scopes.
    pub scopes: ScopeSet,
    /// Its permission.
    pub permission: Permission,
    /// Its conditions.
    pub conditions: Conditions,
}

/// What the organization prescribes for new keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreationPolicy {
    /// The longest life of a key in milliseconds; `None` leaves it open.
    pub max_lifetime_ms: Option<i64>,
}

impl CreationPolicy {
    /// What is wrong with the end of a key that is made or edited at `now`; `None` if nothing is.
    pub fn problem_of_end(self, expires_at: Option<Timestamp>, now: Timestamp) -> Option<String> {
        let longest = self.max_lifetime_ms?;
        let latest = now.plus_ms(longest);
        expires_at.is_none_or(|end| end > latest).then(|| {
            format!(
                "the organization allows keys to live at most {}",
                duration_words(longest)
            )
        })
    }
}

/// A checked request for a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// Its name.
    pub name: KeyName,
    /// Its description.
    pub description: String,
    /// Its environment.
    pub environment: Option<Environment>,
    /// Scopes and permission.
    pub access: Access,
    /// Its conditions.
    pub conditions: Conditions,
}

impl NewKey {
    /// Checks a draft.
    ///
    /// # Errors
    /// Every field's problem.
    pub fn check(draft: KeyDraft, policy: CreationPolicy, now: Timestamp) -> Result<Self, Vec<FieldProblem>> {
        let mut problems = FieldProblems::new();
        let name = problems.keep("name", draft.name.parse::<KeyName>());
        if draft.description.chars().count() > MAX_DESCRIPTION {
            problems.add("description", format!("at most {MAX_DESCRIPTION} characters"));
        }
        // PostgreSQL refuses a NUL in a text; without this check a description could turn into a server error.
        if draft
            .description
            .chars()
            .any(|c| is_disruptive(c) && !matches!(c, '\n' | '\r' | '\t'))
        {
            problems.add(
                "description",
                "no control characters other than line ends and tabs",
            );
        }
        check_conditions(&mut problems, &draft.conditions, policy, now);
        let access = match Access::new(draft.scopes, draft.permission) {
            Ok(access) => Some(access),
            Err(found) => {
                problems.extend(found);
                None
            }
        };
        match (name, access) {
            (Some(name), Some(access)) => problems.finish(Self {
                name,
                description: draft.description,
                environment: draft.environment,
                access,
                conditions: draft.conditions,
            }),
            _ => Err(problems.into_inner()),
        }
    }
}

fn check_conditions(
    problems: &mut FieldProblems,
    conditions: &Conditions,
    policy: CreationPolicy,
    now: Timestamp,
) {
    for (field, moment) in [
        ("not_before", conditions.not_before),
        ("expires_at", conditions.expires_at),
    ] {
        if moment.is_some_and(|moment| moment > LATEST) {
            problems.add(field, "must lie before the year 10000");
        }
    }
    if let Some(end) = conditions.expires_at {
        if end <= now {
            problems.add("expires_at", "lies in the past; a key must end in the future");
        }
        if conditions.not_before.is_some_and(|from| from >= end) {
            problems.add("not_before", "must lie before expires_at");
        }
    }
    if let Some(message) = policy.problem_of_end(conditions.expires_at, now) {
        problems.add("expires_at", message);
    }
    if let AddressRule::Only(networks) = &conditions.addresses
        && !(1..=MAX_NETWORKS).contains(&networks.len())
    {
        problems.add(
            "allowed_addresses",
            format!("1 to {MAX_NETWORKS} networks; leave it out to allow any address"),
        );
    }
    if conditions.rate_limit.is_some_and(|limit| !is_fitting(limit)) {
        problems.add(
            "rate_limit",
            format!(
                "1 to {MAX_RATE_REQUESTS} requests per 1 to {MAX_RATE_PERIOD_SECONDS} whole seconds; leave it out for none"
            ),
        );
    }
}

fn is_fitting(limit: RateLimit) -> bool {
    (1..=MAX_RATE_REQUESTS).contains(&limit.requests)
        && limit.per_ms.is_multiple_of(1_000)
        && (1..=MAX_RATE_PERIOD_SECONDS).contains(&(limit.per_ms / 1_000))
}
