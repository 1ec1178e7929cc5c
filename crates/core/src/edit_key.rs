//! An edit of a key that exists: what was asked for, laid over what is there, and checked as a whole.
//!
//! What an edit does not name stays as it is. An edit is the one thing that may lengthen an expiry, never beyond what the
//! organization allows counted from the key's creation; it leads out of no stored state, so it revives no deleted key.

use crate::access::{Access, Permission};
use crate::condition::{AddressRule, Conditions, RateLimit};
use crate::environment::Environment;
use crate::field::{FieldProblem, FieldProblems};
use crate::level::PermissionLevel;
use crate::new_key::{
    CreationPolicy, NewKey, check_conditions, check_description, check_end, check_schedule,
};
use crate::record::{Key, KeyName, KeyRecord};
use crate::rotation::ScheduleChoice;
use crate::rule::Rule;
use crate::scope::ScopeSet;
use crate::tag::{Tag, Tags};
use crate::time::Timestamp;

/// What is to be different; `None` stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyEdit {
    /// Its name.
    pub name: Option<String>,
    /// Its description.
    pub description: Option<String>,
    /// Its environment; `Some(None)` takes it off. The schedule stays, whatever the environment proposes.
    pub environment: Option<Option<Environment>>,
    /// Its scopes.
    pub scopes: Option<ScopeSet>,
    /// Its level; any but Restricted takes the rules off.
    pub level: Option<PermissionLevel>,
    /// Its rules; they make the key a Restricted one.
    pub rules: Option<Vec<Rule>>,
    /// From when on it is accepted.
    pub not_before: Option<Option<Timestamp>>,
    /// Until when it is accepted.
    pub expires_at: Option<Option<Timestamp>>,
    /// Where it may be used.
    pub addresses: Option<AddressRule>,
    /// How often it may be used.
    pub rate_limit: Option<Option<RateLimit>>,
    /// Its tags, all of them.
    pub tags: Option<Vec<Tag>>,
    /// How often it is to be rotated.
    pub schedule: Option<ScheduleChoice>,
}

/// Whether the organization shows the pickers of scopes and level (advanced access control, R54).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pickers {
    /// It does.
    Shown,
    /// It does not: nothing is chosen, so nothing gets wider.
    Hidden,
}

fn check_width(problems: &mut FieldProblems, wanted: &Access, held: &Access, pickers: Pickers) {
    if pickers == Pickers::Hidden && !wanted.is_within(held) {
        problems.add(
            "level",
            "with advanced access control off no key gets wider than it is; leave scopes, level and rules out",
        );
    }
}

impl KeyEdit {
    /// `key` as it is after the edit; version and moment of the change are the writer's to set.
    ///
    /// # Errors
    /// Every field's problem.
    pub fn apply(&self, key: &Key, policy: CreationPolicy, now: Timestamp) -> Result<Key, Vec<FieldProblem>> {
        let mut problems = FieldProblems::new();
        let name = match &self.name {
            Some(name) => problems.keep("name", name.parse::<KeyName>()),
            None => Some(key.name.clone()),
        };
        if let Some(description) = &self.description {
            check_description(&mut problems, description);
        }
        let conditions = self.conditions(&key.record.conditions);
        if conditions != key.record.conditions {
            check_conditions(&mut problems, &conditions);
        }
        if conditions.expires_at != key.record.conditions.expires_at {
            check_end(
                &mut problems,
                conditions.expires_at,
                policy,
                (key.created_at, now),
            );
        }
        let access = self.access(&key.record.access, &mut problems);
        let tags = match &self.tags {
            Some(tags) => problems.keep("tags", Tags::try_from(tags.clone())),
            None => Some(key.tags.clone()),
        };
        if let Some(schedule) = self.schedule {
            check_schedule(&mut problems, schedule);
        }
        let environment = self.environment.unwrap_or(key.environment);
        match (name, access, tags) {
            (Some(name), Some(access), Some(tags)) => problems.finish(Key {
                record: KeyRecord {
                    access,
                    conditions,
                    ..key.record.clone()
                },
                name,
                description: self.description.as_ref().unwrap_or(&key.description).clone(),
                environment,
                tags,
                rotate_every_ms: self.schedule.map_or(key.rotate_every_ms, |schedule| {
                    policy.rotation.rotate_every_ms(schedule, environment)
                }),
                ..key.clone()
            }),
            _ => Err(problems.into_inner()),
        }
    }

    /// As [`KeyEdit::apply`], and with `Pickers::Hidden` nothing gets wider (R54).
    ///
    /// # Errors
    /// Every field's problem.
    pub fn apply_within(
        &self,
        key: &Key,
        (policy, pickers): (CreationPolicy, Pickers),
        now: Timestamp,
    ) -> Result<Key, Vec<FieldProblem>> {
        let edited = self.apply(key, policy, now)?;
        let mut problems = FieldProblems::new();
        check_width(&mut problems, &edited.record.access, &key.record.access, pickers);
        problems.finish(edited)
    }

    /// A key that is to take the place of `key`: its settings with this edit laid over them. It is made at `now`, so its life is
    /// counted from there, and an end that it inherits must lie ahead.
    ///
    /// # Errors
    /// Every field's problem; with `Pickers::Hidden` also that it is wider.
    pub fn replacement(
        &self,
        key: &Key,
        (policy, pickers): (CreationPolicy, Pickers),
        now: Timestamp,
    ) -> Result<NewKey, Vec<FieldProblem>> {
        let copied = Key {
            created_at: now,
            ..key.clone()
        };
        let edited = self.apply(&copied, policy, now)?;
        let mut problems = FieldProblems::new();
        if edited.record.conditions.expires_at == key.record.conditions.expires_at {
            check_end(
                &mut problems,
                edited.record.conditions.expires_at,
                policy,
                (now, now),
            );
        }
        check_width(&mut problems, &edited.record.access, &key.record.access, pickers);
        problems.finish(NewKey {
            name: edited.name,
            description: edited.description,
            environment: edited.environment,
            access: edited.record.access,
            conditions: edited.record.conditions,
            tags: edited.tags,
            rotate_every_ms: edited.rotate_every_ms,
        })
    }

    fn conditions(&self, was: &Conditions) -> Conditions {
        Conditions {
            not_before: self.not_before.unwrap_or(was.not_before),
            expires_at: self.expires_at.unwrap_or(was.expires_at),
            addresses: self.addresses.as_ref().unwrap_or(&was.addresses).clone(),
            rate_limit: self.rate_limit.unwrap_or(was.rate_limit),
        }
    }

    fn access(&self, was: &Access, problems: &mut FieldProblems) -> Option<Access> {
        let scopes = self.scopes.unwrap_or(was.scopes());
        let permission = match (self.level, &self.rules) {
            (None | Some(PermissionLevel::Restricted), Some(rules)) => Permission::Restricted(rules.clone()),
            (Some(PermissionLevel::Restricted), None) => {
                Permission::Restricted(was.permission().rules().to_vec())
            }
            (None, None) => was.permission().clone(),
            (Some(level), rules) => {
                if rules.is_some() {
                    problems.add(
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
        match Access::new(scopes, permission) {
            Ok(access) => Some(access),
            Err(found) => {
                problems.extend(found);
                None
            }
        }
    }
}
