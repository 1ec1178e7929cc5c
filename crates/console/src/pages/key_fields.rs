//! The fields of a key's settings as a page shows them: what was typed, beside each its problem, and what the key could do with it.
//!
//! The template `key_fields.html` is included by the pages that make, edit and replace a key; this is what it reads.

use keyward_core::edit_key::Pickers;
use keyward_core::environment::Environment;
use keyward_core::field::FieldProblem;
use keyward_core::level::PermissionLevel;
use keyward_core::new_key::KeyDraft;
use keyward_core::organization::OrganizationSettings;
use keyward_core::scope::Scope;
use keyward_core::time::{Timestamp, duration_words};

use super::key_form::{KeyForm, Reading, Schedule};
use super::key_rules::{Datasets, MAX_DATASETS, RuleView, views};
use super::key_summary::{DatasetNames, Summary};
use crate::words::{day_text, environment_name, level_name, level_sentence, scope_name, scope_sentence};

/// The fields.
pub(super) struct KeyFields {
    pub(super) form: KeyForm,
    problems: Vec<FieldProblem>,
    /// Whether scopes and permission are chosen.
    pub(super) has_pickers: bool,
    /// Whether the key is yet to be made.
    pub(super) is_new: bool,
    /// Whether an environment proposes something when it is chosen.
    pub(super) proposes: bool,
    pub(super) environments: Vec<EnvironmentChoice>,
    pub(super) scopes: Vec<Named>,
    pub(super) levels: Vec<Named>,
    pub(super) rules: Vec<RuleView>,
    pub(super) datasets_note: Option<String>,
    pub(super) expires_hint: String,
    pub(super) tomorrow: String,
    pub(super) latest_day: Option<String>,
    pub(super) summary: Summary,
}

/// One environment of the segments.
pub(super) struct EnvironmentChoice {
    pub(super) value: &'static str,
    pub(super) label: &'static str,
    pub(super) is_on: bool,
    /// What it proposes, for the script.
    pub(super) level: &'static str,
    pub(super) scopes: String,
    /// What it proposes, for people.
    pub(super) hint: String,
}

/// A scope or a level with its sentence.
pub(super) struct Named {
    pub(super) value: &'static str,
    pub(super) label: &'static str,
    pub(super) sentence: &'static str,
    pub(super) is_on: bool,
}

/// What the fields are about.
pub(super) struct About<'a> {
    pub(super) settings: &'a OrganizationSettings,
    pub(super) reading: Reading<'a>,
    pub(super) now: Timestamp,
    pub(super) datasets: &'a Datasets,
}

impl KeyFields {
    pub(super) fn of(
        form: KeyForm,
        draft: &KeyDraft,
        problems: Vec<FieldProblem>,
        about: &About<'_>,
    ) -> Self {
        let told = |field: &str| told(&problems, field);
        let rules = views(&form.rules, about.datasets, told);
        let scopes = Scope::ALL.map(|scope| Named {
            value: scope.name(),
            label: scope_name(scope),
            sentence: scope_sentence(scope),
            is_on: form.scopes.contains(scope),
        });
        let levels = PermissionLevel::ALL.map(|level| Named {
            value: level.name(),
            label: level_name(level),
            sentence: level_sentence(level),
            is_on: form.level == Some(level),
        });
        let days = about.reading.policy.max_lifetime_ms;
        let latest = days.map(|ms| about.reading.begin.plus_ms(ms));
        let proposes = about.reading.key.is_none() && about.reading.pickers == Pickers::Shown;
        Self {
            has_pickers: about.reading.pickers == Pickers::Shown,
            is_new: about.reading.key.is_none(),
            proposes,
            environments: environments(&form, about.settings, proposes),
            scopes: scopes.into(),
            levels: levels.into(),
            rules,
            datasets_note: about.datasets.has_more.then(|| {
                format!("The first {MAX_DATASETS} datasets of the organization are offered; type others by their id.")
            }),
            expires_hint: match days {
                None => "Refused from the beginning of this day (UTC). Empty: it does not end by itself.".to_owned(),
                Some(ms) => format!(
                    "Refused from the beginning of this day (UTC). The organization allows keys to live at most {}; empty is \
                     as long as that.",
                    duration_words(ms)
                ),
            },
            tomorrow: day_text(about.now.plus_ms(keyward_core::time::DAY_MS)),
            latest_day: latest.map(day_text),
            summary: summary_of(draft, about.datasets),
            form,
            problems,
        }
    }

    /// What is wrong with a field, as sentences.
    pub(super) fn problem(&self, field: &str) -> Option<String> {
        told(&self.problems, field)
    }

    /// Whether anything is wrong.
    pub(super) fn has_problems(&self) -> bool {
        !self.problems.is_empty()
    }

    /// Whether `More` holds something that was typed or has a problem, and so is open.
    pub(super) fn is_more_open(&self) -> bool {
        let form = &self.form;
        let texts = [
            &form.description,
            &form.tags,
            &form.expires,
            &form.not_before,
            &form.addresses,
            &form.requests,
        ];
        let fields = [
            "description",
            "tags",
            "expires_at",
            "not_before",
            "allowed_addresses",
            "rate_limit",
            "rotate_every",
        ];
        texts.iter().any(|text| !text.is_empty())
            || form.schedule != Schedule::Proposed
            || fields.iter().any(|field| self.problem(field).is_some())
    }

    pub(super) fn is_schedule(&self, name: &str) -> bool {
        let own = match self.form.schedule {
            Schedule::Proposed => "proposed",
            Schedule::Every => "every",
            Schedule::AsNeeded => "as_needed",
        };
        own == name
    }
}

/// What a key with this draft could do.
pub(super) fn summary_of(draft: &KeyDraft, datasets: &Datasets) -> Summary {
    let names: DatasetNames = datasets.named.iter().cloned().collect();
    Summary::of(draft.scopes, &draft.permission, &draft.conditions, &names)
}

/// The problems of a field, whole sentences in one text.
fn told(problems: &[FieldProblem], field: &str) -> Option<String> {
    // Entries of a list have their place in brackets; the form has one field for them, save for rules.
    let is_of_field = |path: &str| {
        let rest = path.strip_prefix(field);
        rest.is_some_and(|rest| rest.is_empty() || (rest.starts_with('[') && field != "rules"))
    };
    let messages = problems.iter().filter(|problem| is_of_field(&problem.field));
    let sentences: Vec<_> = messages.map(|problem| sentence(&problem.message)).collect();
    (!sentences.is_empty()).then(|| sentences.join(" "))
}

/// A message of a field as a sentence: they are written to follow the field's name.
fn sentence(message: &str) -> String {
    let mut letters = message.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    let end = if message.ends_with(['.', '!', '?']) {
        ""
    } else {
        "."
    };
    format!("{first}{}{end}", letters.as_str())
}

fn environments(form: &KeyForm, settings: &OrganizationSettings, proposes: bool) -> Vec<EnvironmentChoice> {
    let all = std::iter::once(None).chain(Environment::ALL.map(Some));
    let choice = |environment: Option<Environment>| {
        let proposal = KeyForm::new(environment);
        let level = proposal.level.unwrap_or(PermissionLevel::ReadOnly);
        let scopes: Vec<_> = proposal.scopes.iter().map(Scope::name).collect();
        let access = match environment {
            _ if !proposes => String::new(),
            Some(Environment::CiCd) => {
                "Starts with the least: Read Only, and no access until you choose one. ".to_owned()
            }
            _ => format!("Proposes {} on everything. ", level_name(level)),
        };
        let due = environment.and_then(|environment| settings.rotate_every_ms(environment));
        let rotation = match due {
            Some(ms) => format!("Rotation is due every {}.", duration_words(ms)),
            None => "Rotation as needed, without a due date.".to_owned(),
        };
        EnvironmentChoice {
            value: environment.map(Environment::name).unwrap_or_default(),
            label: environment_name(environment),
            is_on: form.environment == environment,
            level: level.name(),
            scopes: scopes.join(" "),
            hint: format!("{access}{rotation}"),
        }
    };
    all.map(choice).collect()
}
