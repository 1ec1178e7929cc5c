//! Security: who needs a second factor, how long keys may live and how often they rotate, whom to tell, and the emergency.
//!
//! The rules are one form, saved by version. Contacts are [`super::contacts`]', a stop is [`super::emergency`]'s.

use std::collections::BTreeMap;

use askama::Template;
use axum::response::Response;
use keyward_core::environment::Environment;
use keyward_core::field::FieldProblems;
use keyward_core::management_right::ManagementRight;
use keyward_core::organization::{LIFETIME_BOUNDS_MS, ROTATION_BOUNDS_DAYS, RotationRule};
use keyward_core::time::DAY_MS;
use keyward_engine::EngineError;
use keyward_engine::edit_settings::SettingsEdit;

use super::contacts::{ContactRow, OnceSecret, contact_rows};
use super::deliveries::{DeliveryRow, latest};
use super::general::version_of;
use crate::call::Call;
use crate::mending::Mending;
use crate::refused::Refused;
use crate::reply;
use crate::routes::{ConsoleRoutes, done};
use crate::shell::{Section, Shell};
use crate::visit::Visit;
use crate::words::{counted, environment_name};

const PAGE: &str = "/org/{organization}/settings/security";
const RULES: &str = "/org/{organization}/settings/security/rules";
/// Deliveries that this page shows; the rest has its own.
const LATEST: u32 = 5;

const DONE: &[(&str, &str)] = &[
    ("saved", "The rules were saved."),
    (
        "contact-added",
        "The contact was added. Send a test to see that it arrives.",
    ),
    (
        "contact-removed",
        "The contact was removed. What was not delivered to it yet is given up.",
    ),
    (
        "contact-enabled",
        "The contact is switched on again. What was given up meanwhile stays so.",
    ),
    (
        "stopped",
        "Every key is stopped: each is refused from now on, until they are resumed here.",
    ),
    (
        "resumed",
        "The keys are resumed: each is accepted again as far as its own state allows.",
    ),
    (
        "locked",
        "The organization is locked: its keys do nothing until it is unlocked here.",
    ),
    ("unlocked", "The organization is unlocked."),
];

#[derive(Template)]
#[template(path = "security.html")]
struct SecurityPage {
    shell: Shell,
    base: String,
    version: i64,
    second_factor: bool,
    /// Whether whoever looks has a second factor themselves.
    has_second_factor: bool,
    lifetime: String,
    rotations: Vec<RotationRow>,
    rules: Mending,
    contacts: Vec<ContactRow>,
    address: String,
    adding: Mending,
    secret: Option<OnceSecret>,
    tested: Option<String>,
    deliveries: Vec<DeliveryRow>,
    is_stopped: bool,
    is_locked: bool,
    is_deleted: bool,
}

struct RotationRow {
    field: String,
    name: &'static str,
    days: String,
    preset: String,
    problem: Option<String>,
}

/// What the page shows beside the settings as they are.
#[derive(Default)]
pub(super) struct Shown {
    /// What is wrong with the form of rules.
    pub(super) rules: Mending,
    /// What is wrong with the form that adds a contact.
    pub(super) adding: Mending,
    /// A signing secret, this once.
    pub(super) secret: Option<OnceSecret>,
    /// What became of a test.
    pub(super) tested: Option<String>,
}

pub(super) fn add(routes: ConsoleRoutes) -> ConsoleRoutes {
    routes.page(PAGE, ManagementRight::OrganizationWrite, show).form(
        RULES,
        ManagementRight::OrganizationWrite,
        save,
    )
}

async fn show(visit: Visit, call: Call) -> Result<Response, Refused> {
    page(&visit, &call, Shown::default()).await
}

async fn save(visit: Visit, call: Call) -> Result<Response, Refused> {
    let with = |rules| Shown {
        rules,
        ..Shown::default()
    };
    let edit = match read(&call) {
        Ok(edit) => edit,
        Err(error) => return page(&visit, &call, with(Mending::after(error)?)).await,
    };
    let edited = call
        .engine()
        .edit_settings(&call.context, visit.id(), Some(version_of(&call)), edit)
        .await;
    match edited {
        Ok(_) => Ok(done(&visit.url("settings/security"), "saved")),
        Err(error) => {
            let rules = Mending::after(error)?.rename("max_key_lifetime_ms", "lifetime");
            page(&visit, &call, with(rules)).await
        }
    }
}

fn read(call: &Call) -> Result<SettingsEdit, EngineError> {
    let mut problems = FieldProblems::new();
    let (shortest, longest) = LIFETIME_BOUNDS_MS;
    let bounds = i64_days(shortest)..=i64_days(longest);
    let lifetime = call.form.text("lifetime").and_then(|text| {
        let days = text.parse().ok().filter(|days: &i64| bounds.contains(days));
        if days.is_none() {
            let (shortest, longest) = (bounds.start(), bounds.end());
            problems.add(
                "lifetime",
                format!("is a whole number of days from {shortest} to {longest}, or empty for no limit"),
            );
        }
        days
    });
    let (fewest, most) = ROTATION_BOUNDS_DAYS;
    let mut rotation_policy = BTreeMap::new();
    for environment in Environment::ALL {
        let field = rotation_field(environment);
        let own = match call.form.text(&field) {
            None => RotationRule::AsNeeded,
            Some(text) => match text.parse().ok().filter(|days| (fewest..=most).contains(days)) {
                Some(days) => RotationRule::EveryDays(days),
                None => {
                    problems.add(
                        field,
                        format!(
                            "is a whole number of days from {fewest} to {most}, or empty for no due date"
                        ),
                    );
                    continue;
                }
            },
        };
        // What is as the preset says stays as the preset says.
        if own != preset_of(environment) {
            rotation_policy.insert(environment, own);
        }
    }
    let edit = SettingsEdit {
        second_factor_required: Some(call.form.is_on("second-factor")),
        max_key_lifetime_ms: Some(lifetime.map(|days| days.saturating_mul(DAY_MS))),
        rotation_policy: Some(rotation_policy),
        ..SettingsEdit::default()
    };
    problems.finish(edit).map_err(EngineError::Invalid)
}

const fn i64_days(ms: i64) -> i64 {
    ms.div_euclid(DAY_MS)
}

fn rotation_field(environment: Environment) -> String {
    format!("rotation-{}", environment.name())
}

fn preset_of(environment: Environment) -> RotationRule {
    let every = environment.preset().rotate_every_ms;
    let days = every.and_then(|ms| u32::try_from(i64_days(ms)).ok());
    days.map_or(RotationRule::AsNeeded, RotationRule::EveryDays)
}

/// The page, with what a form of it brought about.
///
/// # Errors
/// [`Refused`].
pub(super) async fn page(visit: &Visit, call: &Call, shown: Shown) -> Result<Response, Refused> {
    let engine = call.engine();
    // A form may have changed it since the visit began.
    let organization = engine.show_organization(visit.id()).await?;
    let settings = &organization.settings;
    let second_factor = engine.show_second_factor(&visit.person.session.person_id);
    let is_typed = shown.rules.is_needed();
    let typed = |field: &str, now: String| match is_typed {
        true => call.form.raw(field).unwrap_or_default().to_owned(),
        false => now,
    };
    let rotations = Environment::ALL.map(|environment| {
        let field = rotation_field(environment);
        let now = settings.rotate_every_ms(environment).map(i64_days);
        let preset = match preset_of(environment) {
            RotationRule::AsNeeded => "Usual: no due date".to_owned(),
            RotationRule::EveryDays(days) => {
                format!("Usual: every {}", counted(u64::from(days), "day", "days"))
            }
        };
        RotationRow {
            name: environment_name(Some(environment)),
            days: typed(&field, now.map(|days| days.to_string()).unwrap_or_default()),
            preset,
            problem: shown.rules.field(&field).map(str::to_owned),
            field,
        }
    });
    let lifetime = settings.max_key_lifetime_ms.map(i64_days);
    let status = if is_typed {
        shown.rules.status()
    } else {
        shown.adding.status()
    };
    let page = SecurityPage {
        shell: Shell::of(visit, call, Section::Security, "Security", DONE),
        base: visit.url("settings/security"),
        version: organization.version,
        second_factor: if is_typed {
            call.form.is_on("second-factor")
        } else {
            settings.second_factor_required
        },
        has_second_factor: second_factor.await?.is_on,
        lifetime: typed(
            "lifetime",
            lifetime.map(|days| days.to_string()).unwrap_or_default(),
        ),
        rotations: rotations.into_iter().collect(),
        contacts: contact_rows(visit, call).await?,
        address: if shown.adding.is_needed() {
            call.form.raw("address").unwrap_or_default().to_owned()
        } else {
            String::new()
        },
        rules: shown.rules,
        adding: shown.adding,
        secret: shown.secret,
        tested: shown.tested,
        deliveries: latest(visit, call, LATEST).await?,
        is_stopped: organization.state.is_stopped(),
        is_locked: organization.state.is_locked(),
        is_deleted: organization.deletion.is_some(),
    };
    reply::page_with(status, &page)
}
