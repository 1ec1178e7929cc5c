//! The form of a key's settings, the same for a new key, an edit and a replacement: what was typed, and what it means.
//!
//! Everything that was typed is kept as it was, so that a form that has to be mended is shown as its sender left it. What it means is
//! read here and judged by the rules of `keyward-core`; all problems come at once, each under the name of its field.

use ipnet::IpNet;
use keyward_core::access::Permission;
use keyward_core::condition::{AddressRule, Conditions, MAX_NETWORKS, RateLimit};
use keyward_core::edit_key::{KeyEdit, Pickers};
use keyward_core::environment::Environment;
use keyward_core::field::{FieldProblem, FieldProblems};
use keyward_core::level::PermissionLevel;
use keyward_core::new_key::{CreationPolicy, KeyDraft};
use keyward_core::record::Key;
use keyward_core::rotation::ScheduleChoice;
use keyward_core::scope::{Scope, ScopeSet};
use keyward_core::tag::{MAX_TAGS, Tag};
use keyward_core::time::{DAY_MS, Timestamp, parse_duration_ms, write_duration_ms};

use super::key_rules::{RuleRow, entries};
use crate::values::Values;
use crate::words::{day_text, read_day};

/// What was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyForm {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) environment: Option<Environment>,
    pub(super) scopes: ScopeSet,
    /// None was chosen where it is absent: nothing is taken as Full.
    pub(super) level: Option<PermissionLevel>,
    pub(super) rules: Vec<RuleRow>,
    pub(super) tags: String,
    pub(super) expires: String,
    pub(super) not_before: String,
    pub(super) addresses: String,
    pub(super) requests: String,
    pub(super) seconds: String,
    pub(super) schedule: Schedule,
    pub(super) days: String,
}

/// How often the key is to be rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Schedule {
    /// As the environment proposes.
    Proposed,
    /// Every so many days.
    Every,
    /// No due date.
    AsNeeded,
}

/// The button that sent the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Press {
    /// Do it.
    Do,
    /// Take what the environment proposes.
    Proposal,
    /// Tell what it would do.
    Tell,
    /// One more rule.
    AddRule,
    /// One rule less.
    TakeRule(usize),
}

/// What a form is read against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading<'a> {
    /// The organization's.
    pub(super) policy: CreationPolicy,
    /// Whether scopes and level are chosen at all.
    pub(super) pickers: Pickers,
    /// The key that is edited or replaced.
    pub(super) key: Option<&'a Key>,
    /// From when a new key's life is counted; of an edit the creation.
    pub(super) begin: Timestamp,
}

/// Usual period of a rate limit, in seconds.
const PERIOD: &str = "60";

impl Press {
    /// The button of this form.
    pub(super) fn of(values: &Values) -> Self {
        match values.text("do") {
            Some("proposal") => Self::Proposal,
            Some("tell") => Self::Tell,
            Some("add-rule") => Self::AddRule,
            Some(other) => other
                .strip_prefix("take-rule-")
                .and_then(|index| index.parse().ok())
                .map_or(Self::Do, Self::TakeRule),
            None => Self::Do,
        }
    }
}

impl KeyForm {
    /// The form of a new key, with what its environment proposes.
    pub(super) fn new(environment: Option<Environment>) -> Self {
        let mut form = Self {
            name: String::new(),
            description: String::new(),
            environment,
            scopes: ScopeSet::ALL,
            level: Some(PermissionLevel::Full),
            rules: vec![RuleRow::default()],
            tags: String::new(),
            expires: String::new(),
            not_before: String::new(),
            addresses: String::new(),
            requests: String::new(),
            seconds: PERIOD.to_owned(),
            schedule: Schedule::Proposed,
            days: String::new(),
        };
        form.take_proposal();
        form
    }

    /// The form that was sent.
    pub(super) fn of_values(values: &Values) -> Self {
        let text = |name: &str| values.raw(name).unwrap_or_default().trim().to_owned();
        Self {
            name: text("name"),
            // Browsers send a line's end as two characters.
            description: text("description").replace("\r\n", "\n"),
            environment: values.text("environment").and_then(Environment::from_name),
            scopes: values.all("scope").filter_map(Scope::from_name).collect(),
            level: values.text("level").and_then(PermissionLevel::from_name),
            rules: RuleRow::of_values(values),
            tags: text("tags"),
            expires: text("expires"),
            not_before: text("not_before"),
            addresses: text("addresses"),
            requests: text("requests"),
            seconds: text("seconds"),
            schedule: match values.text("schedule") {
                Some("every") => Schedule::Every,
                Some("as_needed") => Schedule::AsNeeded,
                _ => Schedule::Proposed,
            },
            days: text("days"),
        }
    }

    /// The form of a key that is there.
    pub(super) fn of_key(key: &Key, policy: CreationPolicy) -> Self {
        let access = &key.record.access;
        let conditions = &key.record.conditions;
        let day = |moment: Option<Timestamp>| moment.map(day_text).unwrap_or_default();
        let tags: Vec<_> = key.tags.iter().map(Tag::as_str).collect();
        let proposed = policy
            .rotation
            .rotate_every_ms(ScheduleChoice::Proposed, key.environment);
        let mut rules = RuleRow::of_rules(access.permission().rules());
        if rules.is_empty() {
            rules.push(RuleRow::default());
        }
        Self {
            name: key.name.to_string(),
            description: key.description.clone(),
            environment: key.environment,
            scopes: access.scopes(),
            level: Some(access.permission().level()),
            rules,
            tags: tags.join(", "),
            expires: day(conditions.expires_at),
            not_before: day(conditions.not_before),
            addresses: match &conditions.addresses {
                AddressRule::Anywhere => String::new(),
                AddressRule::Only(networks) => {
                    let networks: Vec<_> = networks.iter().map(ToString::to_string).collect();
                    networks.join("\n")
                }
            },
            requests: conditions
                .rate_limit
                .map(|limit| limit.requests.to_string())
                .unwrap_or_default(),
            seconds: conditions
                .rate_limit
                .map_or_else(|| PERIOD.to_owned(), |limit| (limit.per_ms / 1_000).to_string()),
            schedule: match key.rotate_every_ms {
                own if own == proposed => Schedule::Proposed,
                None => Schedule::AsNeeded,
                Some(_) => Schedule::Every,
            },
            days: match key.rotate_every_ms {
                Some(ms) if ms % DAY_MS == 0 => (ms / DAY_MS).to_string(),
                Some(ms) => write_duration_ms(ms),
                None => String::new(),
            },
        }
    }

    /// Takes what the environment proposes for scopes, level and schedule (R31 to R39).
    pub(super) fn take_proposal(&mut self) {
        let preset = self.environment.map(Environment::preset);
        self.scopes = preset.map_or(ScopeSet::ALL, |preset| preset.scopes);
        self.level = Some(preset.map_or(PermissionLevel::Full, |preset| preset.level));
        self.schedule = Schedule::Proposed;
    }

    /// Does what a button that is not the last one asks for.
    pub(super) fn press(&mut self, press: Press) {
        match press {
            Press::Proposal => self.take_proposal(),
            Press::AddRule => self.rules.push(RuleRow::default()),
            Press::TakeRule(index) if index < self.rules.len() => {
                self.rules.remove(index);
                if self.rules.is_empty() {
                    self.rules.push(RuleRow::default());
                }
            }
            Press::TakeRule(_) | Press::Tell | Press::Do => {}
        }
    }

    /// What it means, as far as it can be read, and what can't.
    pub(super) fn read(&self, reading: Reading<'_>) -> (KeyDraft, FieldProblems) {
        let mut problems = FieldProblems::new();
        let (scopes, permission) = match (reading.pickers, reading.key) {
            (Pickers::Shown, _) => (self.scopes, self.permission(&mut problems)),
            (Pickers::Hidden, Some(key)) => {
                let access = &key.record.access;
                (access.scopes(), access.permission().clone())
            }
            (Pickers::Hidden, None) => unpicked(self.environment),
        };
        let mut tags = Vec::new();
        for entry in entries(&self.tags).take(MAX_TAGS + 1) {
            match entry.parse::<Tag>() {
                Ok(tag) => tags.push(tag),
                Err(problem) => problems.add("tags", format!("`{}`: {problem}", shortened(entry))),
            }
        }
        let draft = KeyDraft {
            name: self.name.clone(),
            description: self.description.clone(),
            environment: self.environment,
            scopes,
            permission,
            conditions: self.conditions(reading, &mut problems),
            tags,
            schedule: self.schedule(&mut problems),
        };
        (draft, problems)
    }

    fn permission(&self, problems: &mut FieldProblems) -> Permission {
        match self.level {
            Some(PermissionLevel::Full) => Permission::Full,
            Some(PermissionLevel::ReadOnly) => Permission::ReadOnly,
            Some(PermissionLevel::LabelerOnly) => Permission::LabelerOnly,
            None => {
                problems.add("level", "choose one");
                Permission::ReadOnly
            }
            Some(PermissionLevel::Restricted) => {
                let mut rules = Vec::new();
                for (index, row) in self.rules.iter().enumerate().filter(|(_, row)| !row.is_empty()) {
                    let (rule, operations, resources) = row.read();
                    for (field, unread) in [("operations", operations), ("resources", resources)] {
                        for message in unread {
                            problems.add(format!("rules[{index}].{field}"), message);
                        }
                    }
                    rules.push(rule);
                }
                Permission::Restricted(rules)
            }
        }
    }

    fn conditions(&self, reading: Reading<'_>, problems: &mut FieldProblems) -> Conditions {
        let was = reading.key.map(|key| &key.record.conditions);
        let mut moment = |field: &str, text: &str, was: Option<Timestamp>| match (text, was) {
            ("", _) => None,
            // A day says less than the moment that is there: it stays as long as its day does.
            (text, Some(was)) if day_text(was) == text => Some(was),
            (text, _) => {
                let read = read_day(text);
                if read.is_none() {
                    problems.add(field, "is a date such as 2026-09-24");
                }
                read
            }
        };
        let had_end = was.and_then(|was| was.expires_at);
        let end = moment("expires_at", &self.expires, had_end);
        let not_before = moment("not_before", &self.not_before, was.and_then(|was| was.not_before));
        let is_left_open = self.expires.is_empty() && (was.is_none() || had_end.is_some());
        let latest = reading.policy.max_lifetime_ms.map(|ms| reading.begin.plus_ms(ms));
        let mut networks = Vec::new();
        for entry in entries(&self.addresses).take(MAX_NETWORKS + 1) {
            let read = entry.parse::<IpNet>();
            match read.or_else(|_| entry.parse::<std::net::IpAddr>().map(IpNet::from)) {
                Ok(network) => networks.push(network),
                Err(_) => problems.add(
                    "allowed_addresses",
                    format!(
                        "`{}` is no address and no network such as 10.0.0.0/8 or 2001:db8::/32",
                        shortened(entry)
                    ),
                ),
            }
        }
        Conditions {
            not_before,
            // An empty field is the longest life that the organization allows.
            expires_at: end.or(latest.filter(|_| is_left_open)),
            addresses: match networks.is_empty() {
                true => AddressRule::Anywhere,
                false => AddressRule::Only(networks),
            },
            rate_limit: self.rate_limit(problems),
        }
    }

    fn rate_limit(&self, problems: &mut FieldProblems) -> Option<RateLimit> {
        if self.requests.is_empty() {
            return None;
        }
        let seconds: Option<u32> = self.seconds.parse().ok();
        let limit = self
            .requests
            .parse()
            .ok()
            .zip(seconds.and_then(|seconds| seconds.checked_mul(1_000)));
        if limit.is_none() {
            problems.add(
                "rate_limit",
                "is whole requests per whole seconds, such as 100 per 60",
            );
        }
        limit.map(|(requests, per_ms)| RateLimit { requests, per_ms })
    }

    fn schedule(&self, problems: &mut FieldProblems) -> ScheduleChoice {
        match self.schedule {
            Schedule::Proposed => ScheduleChoice::Proposed,
            Schedule::AsNeeded => ScheduleChoice::AsNeeded,
            Schedule::Every => {
                let days = self
                    .days
                    .parse::<i64>()
                    .ok()
                    .and_then(|days| days.checked_mul(DAY_MS));
                match days.or_else(|| parse_duration_ms(&self.days).ok()) {
                    Some(ms) => ScheduleChoice::Every(ms),
                    None => {
                        problems.add("rotate_every", "is a number of days such as 90");
                        ScheduleChoice::Proposed
                    }
                }
            }
        }
    }

    /// Problems of the rules by the rows that they are in: rows that are empty make no rule, and are not counted by who judges.
    pub(super) fn place(&self, problems: Vec<FieldProblem>) -> Vec<FieldProblem> {
        let filled: Vec<_> = (0..self.rules.len())
            .filter(|index| self.rules.get(*index).is_some_and(|row| !row.is_empty()))
            .collect();
        let place = |mut problem: FieldProblem| {
            let found = problem
                .field
                .strip_prefix("rules[")
                .and_then(|rest| rest.split_once(']'));
            if let Some((index, rest)) = found
                && let Some(row) = index.parse().ok().and_then(|index: usize| filled.get(index))
            {
                problem.field = format!("rules[{row}]{rest}");
            }
            problem
        };
        problems.into_iter().map(place).collect()
    }
}

/// Scopes and permission of a key for which nothing is picked (R54): everything, or the lower level that its environment proposes.
/// Pipelines get their level on all scopes, because nobody is there to tick one.
pub(super) fn unpicked(environment: Option<Environment>) -> (ScopeSet, Permission) {
    let permission = match environment.map(|environment| environment.preset().level) {
        Some(PermissionLevel::ReadOnly) => Permission::ReadOnly,
        _ => Permission::Full,
    };
    (ScopeSet::ALL, permission)
}

/// What is different between a draft and a key; what is not stays out of the edit.
pub(super) fn edit_of(draft: &KeyDraft, key: &Key, reading: Reading<'_>) -> KeyEdit {
    let access = &key.record.access;
    let conditions = &key.record.conditions;
    let is_shown = reading.pickers == Pickers::Shown;
    let is_other_permission = is_shown && draft.permission != *access.permission();
    let rules = match &draft.permission {
        Permission::Restricted(rules) if is_other_permission => Some(rules.clone()),
        _ => None,
    };
    let mut tags = draft.tags.clone();
    tags.sort_unstable();
    tags.dedup();
    let had_tags: Vec<Tag> = key.tags.iter().cloned().collect();
    let drafted = &draft.conditions;
    let rotation = reading.policy.rotation;
    let every_ms = rotation.rotate_every_ms(draft.schedule, draft.environment);
    KeyEdit {
        name: (draft.name != key.name.as_str()).then(|| draft.name.clone()),
        description: (draft.description != key.description).then(|| draft.description.clone()),
        environment: (draft.environment != key.environment).then_some(draft.environment),
        scopes: (is_shown && draft.scopes != access.scopes()).then_some(draft.scopes),
        level: (is_other_permission && rules.is_none()).then(|| draft.permission.level()),
        rules,
        not_before: (drafted.not_before != conditions.not_before).then_some(drafted.not_before),
        expires_at: (drafted.expires_at != conditions.expires_at).then_some(drafted.expires_at),
        addresses: (drafted.addresses != conditions.addresses).then(|| drafted.addresses.clone()),
        rate_limit: (drafted.rate_limit != conditions.rate_limit).then_some(drafted.rate_limit),
        tags: (tags != had_tags).then_some(tags),
        schedule: (every_ms != key.rotate_every_ms).then_some(draft.schedule),
    }
}

/// All problems of a form: what can't be read, and what is not good of the fields that can.
pub(super) fn joined(unread: FieldProblems, amiss: Vec<FieldProblem>) -> Vec<FieldProblem> {
    let mut problems = unread.into_inner();
    let field = |path: &str| path.split(['[', '.']).next().unwrap_or_default().to_owned();
    let told: Vec<_> = problems.iter().map(|problem| field(&problem.field)).collect();
    problems.extend(
        amiss
            .into_iter()
            .filter(|problem| !told.contains(&field(&problem.field))),
    );
    problems
}

fn shortened(text: &str) -> String {
    text.chars().take(60).collect()
}
