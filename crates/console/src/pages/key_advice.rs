//! Least privilege on a key's page: what it was used for, what it may do beside, and the edit that takes that away.
//!
//! What is advised is the engine's; here it is put into words, before and after, and applied when somebody says so. The form names the
//! key's version and a digest of what was shown: neither somebody's edit meanwhile nor a use that came in between is overrun.

use askama::Template;
use askama::filters::HtmlSafe;
use axum::response::Response;
use keyward_api::usage::AccessView;
use keyward_core::access::Access;
use keyward_core::advice::allowed_by;
use keyward_core::edit_key::KeyEdit;
use keyward_core::ids::KeyId;
use keyward_core::management_right::ManagementRight;
use keyward_core::operation::Operation;
use keyward_engine::advise_key::{KeyAdvice, Verdict};
use keyward_engine::show_usage::MAX_DAYS;
use sha2::{Digest as _, Sha256};

use super::access_words::dataset_names;
use super::access_words::{operations_or, operations_words, rule_sentences};
use super::chart::requests;
use super::key_head::subject;
use crate::call::Call;
use crate::refused::Refused;
use crate::routes::{ConsoleRoutes, done};
use crate::visit::Visit;
use crate::words::access_line;

/// Days that advice is about, unless somebody says otherwise.
const DAYS: i64 = 30;
/// Those that are offered.
const CHOICES: [i64; 4] = [7, 30, 90, 400];

/// The part of the key's page.
#[derive(Template)]
#[template(path = "key_advice.html")]
pub(super) struct AdvicePart {
    key_url: String,
    csrf: String,
    title: &'static str,
    /// What was used, in words.
    used: String,
    message: String,
    days: i64,
    choices: Vec<(i64, bool)>,
    version: i64,
    now: String,
    proposals: Vec<Proposal>,
    /// What has to be thought of before.
    caution: Option<String>,
}

// Its own template escapes every value of it.
impl HtmlSafe for AdvicePart {}

/// A narrower access.
struct Proposal {
    /// Its name in the form.
    name: &'static str,
    /// Which of several it is.
    title: &'static str,
    /// What it is, in a line.
    access: String,
    rules: Vec<String>,
    /// What the key would no longer do.
    lost: String,
    /// What it could do still.
    kept: String,
    /// A digest of it.
    digest: String,
}

pub(super) fn add(routes: ConsoleRoutes) -> ConsoleRoutes {
    routes.form(
        "/org/{organization}/settings/secret-keys/{key}/advice",
        ManagementRight::KeysWrite,
        apply,
    )
}

/// The days that the query asks advice for.
pub(super) fn days_of(call: &Call) -> i64 {
    let asked = call.query.text("advice").and_then(|text| text.parse().ok());
    asked.filter(|days| (1..=MAX_DAYS).contains(days)).unwrap_or(DAYS)
}

/// The two proposals of advice: rules, which are the least, and a level.
fn proposed(found: &KeyAdvice) -> Vec<(&'static str, &'static str, &Access)> {
    let rules = found.advice.rules.as_ref();
    let level = found.advice.level.as_ref();
    let is_least = if rules.is_some() {
        "Without rules"
    } else {
        "Narrower"
    };
    [
        rules.map(|access| ("rules", "The least: rules", access)),
        level.map(|access| ("level", is_least, access)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn digest_of(access: &Access) -> Result<String, Refused> {
    let text = serde_json::to_string(&AccessView::of(access))
        .map_err(|error| Refused::Internal(error.to_string()))?;
    let digest = Sha256::digest(text);
    Ok(digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}

impl AdvicePart {
    /// The part about a key; `None` for a deleted one.
    ///
    /// # Errors
    /// What the engine says.
    pub(super) async fn of(visit: &Visit, call: &Call, id: KeyId) -> Result<Option<Self>, Refused> {
        let days = days_of(call);
        let found = call.engine().advise_key(visit.id(), id, days).await?;
        let (title, message) = match found.verdict {
            Verdict::Deleted => return Ok(None),
            Verdict::Remove => (
                "Unused",
                format!("Nobody used this key in the last {days} days. Remove it, or pause it and see who misses it."),
            ),
            Verdict::Wait => (
                "Too early to say",
                format!(
                    "Nobody has used this key yet, and it is younger than {days} days. What it needs shows once it is used."
                ),
            ),
            Verdict::Keep => (
                "As narrow as it can be",
                "It was used for everything that it may do, as far as scopes, levels and rules can tell it apart.".to_owned(),
            ),
            Verdict::Narrow => (
                "Could be narrower",
                format!(
                    "In the last {days} days it was not used to {}.",
                    operations_or(&found.advice.unused)
                ),
            ),
        };
        let datasets = dataset_names(visit, call).await?;
        let may_now = allowed_by(&found.key.record.access);
        let mut proposals = Vec::new();
        if found.verdict == Verdict::Narrow {
            for (name, title, access) in proposed(&found) {
                let then = allowed_by(access);
                let lost: Vec<Operation> = may_now
                    .iter()
                    .copied()
                    .filter(|operation| !then.contains(operation))
                    .collect();
                proposals.push(Proposal {
                    name,
                    title,
                    access: access_line(access),
                    rules: rule_sentences(access, &datasets),
                    lost: operations_words(&lost),
                    kept: operations_words(&then),
                    digest: digest_of(access)?,
                });
            }
        }
        let used = match found.advice.used.as_slice() {
            [] => String::new(),
            used => format!(
                "In the last {days} days: {}, to {}.",
                requests(found.uses),
                operations_words(used)
            ),
        };
        Ok(Some(Self {
            key_url: visit.url(&format!("settings/secret-keys/{id}")),
            csrf: visit.person.csrf.as_str().to_owned(),
            title,
            used,
            message,
            days,
            choices: CHOICES.map(|choice| (choice, choice == days)).to_vec(),
            version: found.key.record.version,
            now: access_line(&found.key.record.access),
            caution: caution(&found),
            proposals,
        }))
    }
}

/// What narrowing takes away beside operations, and what nobody here can know.
fn caution(found: &KeyAdvice) -> Option<String> {
    if found.verdict != Verdict::Narrow {
        return None;
    }
    let mut cautions = vec!["Think of what it does more rarely than that.".to_owned()];
    if found.key.record.access.is_unnarrowed() {
        cautions
            .push("A narrowed key is not shown the organization's people and billing any more.".to_owned());
    }
    let performed: i64 = found.uses_by_operation.iter().map(|(_, uses)| uses).sum();
    if found.uses > performed {
        cautions.push(format!(
            "Services of yours asked {} whose key it is; what they allow by its scopes and level is not known here, so ask them \
             first.",
            match found.uses - performed {
                1 => "once".to_owned(),
                times => format!("{times} times"),
            }
        ));
    }
    Some(cautions.join(" "))
}

async fn apply(visit: Visit, call: Call) -> Result<Response, Refused> {
    let id = subject(&call)?;
    let key_url = visit.url(&format!("settings/secret-keys/{id}"));
    call.engine().show_key(visit.id(), id).await?;
    let number = |name: &str| call.form.text(name).and_then(|text| text.parse::<i64>().ok());
    let days = number("days").filter(|days| (1..=MAX_DAYS).contains(days));
    let (Some(days), Some(version)) = (days, number("version")) else {
        return Ok(done(&key_url, "advice-changed"));
    };
    let found = call.engine().advise_key(visit.id(), id, days).await?;
    let wanted = proposed(&found)
        .into_iter()
        .find(|(name, ..)| call.form.has("which", name))
        .map(|(_, _, access)| access.clone())
        .filter(|_| found.verdict == Verdict::Narrow);
    let Some(access) = wanted else {
        return Ok(done(&key_url, "advice-changed"));
    };
    if call.form.text("proposal") != Some(digest_of(&access)?.as_str()) {
        return Ok(done(&key_url, "advice-changed"));
    }
    let rules = access.permission().rules();
    let edit = KeyEdit {
        scopes: Some(access.scopes()),
        level: Some(access.permission().level()),
        rules: (!rules.is_empty()).then(|| rules.to_vec()),
        ..KeyEdit::default()
    };
    call.engine()
        .edit_key(
            call.context.clone(),
            visit.id().clone(),
            id,
            (edit, Some(version)),
        )
        .await?;
    Ok(done(&key_url, "narrowed"))
}
