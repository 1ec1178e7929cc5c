//! `keyward keys show`: one key with its settings, its secrets and their last uses.

use anyhow::Result;
use http::Method;
use keyward_api::keys::{KeyDetailView, KeyView, SecretView};
use keyward_core::time::Timestamp;

use super::fields::shown_rule;
use crate::cli::client::{Target, call};
use crate::cli::org::segment;
use crate::cli::{Surroundings, output, words};
use crate::clock;

pub(super) async fn show(surroundings: &Surroundings, id: &str) -> Result<()> {
    let key = find(&surroundings.target, id).await?;
    if surroundings.is_json {
        return output::json(&key);
    }
    show_detail(key);
    Ok(())
}

/// A key by its id.
pub(super) async fn find(target: &Target, id: &str) -> Result<KeyDetailView> {
    call(target, Method::GET, &format!("/v1/keys/{}", segment(id)?), None).await
}

fn show_detail(detail: KeyDetailView) {
    let now = clock::now();
    let key = &detail.key;
    let mut facts = vec![
        ("Name", key.name.clone()),
        ("Id", key.id.clone()),
        ("Organization", key.organization_id.clone()),
        ("State", words::state(&key.state, key.state_reason.as_deref())),
        ("Last used", last_use(key, now)),
    ];
    facts.extend(settings(key));
    let rotated = key.rotated_at.clone();
    facts.extend([
        ("Last rotated", rotated.unwrap_or_else(|| "never".to_owned())),
        ("Rotation", rotation(key, now)),
        ("Hint", key.hint.clone()),
        ("Created by", key.created_by.clone()),
        ("Created", key.created_at.clone()),
        ("Changed", key.updated_at.clone()),
    ]);
    facts.extend(key.deleted_at.clone().map(|at| ("Deleted", at)));
    output::facts(&facts);
    output::data("\n");
    show_secrets(detail.secrets);
}

/// The secrets of a key, each with its uses.
pub(super) fn show_secrets(secrets: Vec<SecretView>) {
    let now = clock::now();
    let rows = secrets.into_iter().map(|secret| row_of(secret, now));
    let header = [
        "SECRET",
        "STATE",
        "HINT",
        "CREATED",
        "FIRST USED",
        "LAST USED",
        "BY",
        "ENDS",
    ];
    output::table(&header, rows.collect());
}

/// What can be edited of a key, as names and values for people.
pub(super) fn settings(key: &KeyView) -> Vec<(&'static str, String)> {
    let or = |value: &Option<String>, without: &str| value.clone().unwrap_or_else(|| without.to_owned());
    let mut settings = vec![
        ("Environment", or(&key.environment, "none").replace('_', "-")),
        ("Access", key.scopes.join(", ")),
        ("Permission", key.level.replace('_', " ")),
    ];
    settings.extend(key.rules.iter().map(|rule| ("Rule", shown_rule(rule))));
    let addresses = key.allowed_addresses.as_ref();
    settings.extend([
        ("Accepted from", or(&key.not_before, "its creation")),
        ("Expires", or(&key.expires_at, "never")),
        (
            "Addresses",
            addresses.map_or_else(|| "any".to_owned(), |list| list.join(", ")),
        ),
        (
            "Rate limit",
            key.rate_limit
                .map_or_else(|| "none".to_owned(), words::rate_limit),
        ),
        ("Rotate every", or(&key.rotate_every, "as needed")),
        (
            "Tags",
            if key.tags.is_empty() {
                "none".to_owned()
            } else {
                key.tags.join(", ")
            },
        ),
    ]);
    if !key.description.is_empty() {
        settings.push(("Description", key.description.clone()));
    }
    settings
}

/// `3 hours ago (2027-01-31T09:00:00Z), dataset.read from 192.0.2.7 by curl/8.5.0`.
fn last_use(key: &KeyView, now: Timestamp) -> String {
    let ago = words::ago(key.last_used_at.as_deref(), now);
    let Some(at) = &key.last_used_at else {
        return ago;
    };
    match &key.last_use {
        Some(last) => format!("{ago} ({at}), {}", words::last_use(last)),
        None => format!("{ago} ({at})"),
    }
}

fn rotation(key: &KeyView, now: Timestamp) -> String {
    let words = words::rotation(key, now);
    match &key.rotation_due_at {
        Some(due) => format!("{words} ({due})"),
        None => words,
    }
}

fn row_of(secret: SecretView, now: Timestamp) -> Vec<String> {
    let ends = secret.ended_at.or(secret.ends_at);
    vec![
        secret.number.to_string(),
        state_words(&secret.state).to_owned(),
        secret.hint,
        secret.created_at,
        words::ago(secret.first_used_at.as_deref(), now),
        words::ago(secret.last_used_at.as_deref(), now),
        secret.last_use.as_ref().map_or_else(String::new, words::last_use),
        ends.unwrap_or_else(|| "with the key".to_owned()),
    ]
}

/// A secret's state for people.
pub(super) fn state_words(state: &str) -> &str {
    match state {
        "until" => "old, accepted",
        "pending" => "new, unused",
        other => other,
    }
}

/// What is said of a key before it ends.
pub(super) fn told(key: &KeyView) -> String {
    let used = match key.last_used_at.as_deref() {
        None => "It was never used.".to_owned(),
        at => format!("It was last used {}.", words::ago(at, clock::now())),
    };
    format!("`{}` ({}) of {}. {used}", key.name, key.hint, key.organization_id)
}
