//! A key that is about to be made: what was asked for, checked as a whole.
//!
//! A [`NewKey`] that exists passed every refusal of creation; the problems of a request come all at once.

use crate::access::{Access, Permission};
use crate::condition::{
    AddressRule, Conditions, MAX_NETWORKS, MAX_RATE_PERIOD_SECONDS, MAX_RATE_REQUESTS, RateLimit,
};
use crate::environment::Environment;
use crate::field::{FieldProblem, FieldProblems};
use crate::key_text::holds_key;
use crate::record::{KeyName, is_disruptive};
use crate::rotation::{ROTATE_EVERY_MS, RotationPolicy, ScheduleChoice};
use crate::scope::ScopeSet;
use crate::tag::{Tag, Tags};
use crate::time::{Timestamp, duration_words};

/// Longest description, in characters.
pub const MAX_DESCRIPTION: usize = 1_000;

/// The last moment that a date with four digits of a year can name; a later one could not be shown.
pub const LATEST: Timestamp = Timestamp::from_unix_ms(253_402_300_799_999);

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
    /// Its tags.
    pub tags: Vec<Tag>,
    /// How often it is to be rotated.
    pub schedule: ScheduleChoice,
}

/// What the organization prescribes for new keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CreationPolicy {
    /// The longest life of a key in milliseconds; `None` leaves it open.
    pub max_lifetime_ms: Option<i64>,
    /// How often keys of an environment are rotated, where it is not the preset.
    pub rotation: RotationPolicy,
}

impl CreationPolicy {
    /// What is wrong with the end of a key that is, or was, made at `created_at`; `None` if nothing is.
    pub fn problem_of_end(self, expires_at: Option<Timestamp>, created_at: Timestamp) -> Option<String> {
        let longest = self.max_lifetime_ms?;
        let latest = created_at.plus_ms(longest);
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
    /// Its tags.
    pub tags: Tags,
    /// Milliseconds between rotations; `None` as needed.
    pub rotate_every_ms: Option<i64>,
}

impl NewKey {
    /// Checks a draft.
    ///
    /// # Errors
    /// Every field's problem.
    pub fn check(draft: KeyDraft, policy: CreationPolicy, now: Timestamp) -> Result<Self, Vec<FieldProblem>> {
        let mut problems = FieldProblems::new();
        let name = problems.keep("name", draft.name.parse::<KeyName>());
        check_description(&mut problems, &draft.description);
        check_conditions(&mut problems, &draft.conditions);
        check_end(&mut problems, draft.conditions.expires_at, policy, (now, now));
        let tags = problems.keep("tags", Tags::try_from(draft.tags));
        check_schedule(&mut problems, draft.schedule);
        let access = match Access::new(draft.scopes, draft.permission) {
            Ok(access) => Some(access),
            Err(found) => {
                problems.extend(found);
                None
            }
        };
        match (name, access, tags) {
            (Some(name), Some(access), Some(tags)) => problems.finish(Self {
                name,
                description: draft.description,
                environment: draft.environment,
                access,
                conditions: draft.conditions,
                tags,
                rotate_every_ms: policy.rotation.rotate_every_ms(draft.schedule, draft.environment),
            }),
            _ => Err(problems.into_inner()),
        }
    }
}

pub(crate) fn check_description(problems: &mut FieldProblems, description: &str) {
    if description.chars().count() > MAX_DESCRIPTION {
        problems.add("description", format!("at most {MAX_DESCRIPTION} characters"));
    }
    if holds_key(description) {
        problems.add(
            "description",
            "holds a whole key, which must not be kept here; leave it out",
        );
    }
    // PostgreSQL refuses a NUL in a text; without this check a description could turn into a server error.
    if description
        .chars()
        .any(|c| is_disruptive(c) && !matches!(c, '\n' | '\r' | '\t'))
    {
        problems.add(
            "description",
            "no control characters other than line ends and tabs",
        );
    }
}

pub(crate) fn check_schedule(problems: &mut FieldProblems, schedule: ScheduleChoice) {
    if let ScheduleChoice::Every(ms) = schedule
        && !ROTATE_EVERY_MS.contains(&ms)
    {
        problems.add(
            "rotate_every",
            format!(
                "is {} to {}; null for no due date",
                duration_words(*ROTATE_EVERY_MS.start()),
                duration_words(*ROTATE_EVERY_MS.end())
            ),
        );
    }
}

/// What conditions must hold among themselves, whatever the time is.
pub(crate) fn check_conditions(problems: &mut FieldProblems, conditions: &Conditions) {
    for (field, moment) in [
        ("not_before", conditions.not_before),
        ("expires_at", conditions.expires_at),
    ] {
        if moment.is_some_and(|moment| moment > LATEST) {
            problems.add(field, "must lie before the year 10000");
        }
    }
    if let (Some(from), Some(end)) = (conditions.not_before, conditions.expires_at)
        && from >= end
    {
        problems.add("not_before", "must lie before expires_at");
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

/// Checks an end that is asked for at `now` for a key that was, or is, made at `created_at`. The longest life counts from
/// there, so that no chain of edits makes it longer.
pub(crate) fn check_end(
    problems: &mut FieldProblems,
    expires_at: Option<Timestamp>,
    policy: CreationPolicy,
    (created_at, now): (Timestamp, Timestamp),
) {
    if expires_at.is_some_and(|end| end <= now) {
        problems.add("expires_at", "lies in the past; a key must end in the future");
    }
    if let Some(message) = policy.problem_of_end(expires_at, created_at) {
        problems.add("expires_at", message);
    }
}

fn is_fitting(limit: RateLimit) -> bool {
    (1..=MAX_RATE_REQUESTS).contains(&limit.requests)
        && limit.per_ms.is_multiple_of(1_000)
        && (1..=MAX_RATE_PERIOD_SECONDS).contains(&(limit.per_ms / 1_000))
}
