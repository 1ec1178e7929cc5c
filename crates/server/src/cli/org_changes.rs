//! `keyward org edit`, `lock`, `unlock`, `delete`, `restore`: what changes an organization.
//!
//! An edit says what differs from what is there, so it reads first, and is refused if somebody else was quicker.

use anyhow::{Context as _, Result, bail};
use clap::Args;
use http::{Method, header};
use keyward_api::organization_settings::{ContactView, RotationPolicyView, SettingsView};
use keyward_api::organizations::{OrganizationEndView, OrganizationStateView, OrganizationView};
use keyward_core::environment::Environment;
use keyward_core::time::{DAY_MS, duration_words, parse_duration_ms};
use serde_json::{Map, Value, json};

use super::Surroundings;
use super::client::{Client, call};
use super::org::segment;
use super::output;

/// What is to be changed.
#[derive(Args, Debug)]
pub(super) struct Edit {
    /// Its id
    id: String,
    /// The display name
    #[arg(long)]
    name: Option<String>,
    /// Whether pages offer the pickers of scopes and levels; widens no key
    #[arg(long, value_name = "ON|OFF", value_parser = on_or_off)]
    advanced_access_control: Option<bool>,
    /// The longest life of keys that are made from now on: `90d`, or `none`
    #[arg(long, value_name = "DURATION", value_parser = lifetime)]
    max_key_lifetime: Option<Lifetime>,
    /// When keys of an environment are due for rotation: `production=30d`, `staging=none`, or `ci_cd=preset`
    #[arg(long = "rotation", value_name = "ENVIRONMENT=DAYS", value_parser = rotation)]
    rotations: Vec<Rotation>,
    /// For how many days it is kept who used which key
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3650))]
    usage_retention_days: Option<u32>,
    /// Whether Owners and Admins need a second factor to use the console; only an Owner switches it off
    #[arg(long, value_name = "ON|OFF", value_parser = on_or_off)]
    second_factor_required: Option<bool>,
    /// Tell this one when a key is compromised: `email:security@example.com`, `webhook:https://example.com/hook`
    #[arg(long = "add-contact", value_name = "KIND:ADDRESS", value_parser = contact)]
    add_contacts: Vec<ContactView>,
    /// Tell this address no more
    #[arg(long = "remove-contact", value_name = "ADDRESS")]
    remove_contacts: Vec<String>,
}

/// A longest life, or none.
#[derive(Debug, Clone, Copy)]
struct Lifetime(Option<i64>);

/// The policy of one environment: `None` goes back to the preset, `Some(None)` is no due date.
#[derive(Debug, Clone, Copy)]
struct Rotation(Environment, Option<Option<u32>>);

fn on_or_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("is on or off".to_owned()),
    }
}

fn lifetime(text: &str) -> Result<Lifetime, String> {
    match text {
        "none" => Ok(Lifetime(None)),
        text => parse_duration_ms(text)
            .map(|ms| Lifetime(Some(ms)))
            .map_err(|refused| format!("{refused}, or `none`")),
    }
}

fn rotation(text: &str) -> Result<Rotation, String> {
    let expected = "is an environment and days: production=30d, staging=none, ci_cd=preset";
    let (name, days) = text.split_once('=').ok_or(expected)?;
    let environment = Environment::from_name(&name.replace(['-', '/'], "_"))
        .ok_or("the environment is one of production, staging, development, ci_cd")?;
    let policy = match days {
        "preset" => None,
        "none" => Some(None),
        text => {
            let ms = parse_duration_ms(text).map_err(|_| expected)?;
            let days = u32::try_from(ms / DAY_MS).map_err(|_| expected)?;
            if ms % DAY_MS != 0 {
                return Err("a due date is whole days away: 30d".to_owned());
            }
            Some(Some(days))
        }
    };
    Ok(Rotation(environment, policy))
}

fn contact(text: &str) -> Result<ContactView, String> {
    let read = text
        .split_once(':')
        .filter(|(kind, _)| matches!(*kind, "email" | "webhook"));
    let (kind, address) = read.ok_or("is email:ADDRESS or webhook:URL")?;
    Ok(ContactView {
        kind: kind.to_owned(),
        address: address.to_owned(),
    })
}

pub(super) async fn edit(surroundings: &Surroundings, edit: Edit) -> Result<()> {
    let target = &surroundings.target;
    let path = format!("/v1/organizations/{}", segment(&edit.id)?);
    let found: OrganizationView = call(target, Method::GET, &path, None).await?;
    let settings = found
        .settings
        .context("a Member neither sees nor edits an organization's settings")?;
    let body = changes(edit, settings)?;
    if body.is_empty() {
        bail!("say what is to be changed; `keyward org edit --help` lists it");
    }
    let client = Client::connect(target).await?;
    let client = client.with(header::IF_MATCH, &format!("\"{}\"", found.version))?;
    let edited: OrganizationView = client.call(Method::PATCH, &path, Some(body.into())).await?;
    if surroundings.is_json {
        return output::json(&edited);
    }
    let mut facts = vec![("Id", edited.id), ("Name", edited.name)];
    facts.extend(edited.settings.iter().flat_map(setting_facts));
    output::facts(&facts);
    for one in edited.signing_secrets.unwrap_or_default() {
        output::data(&format!("{}\n", one.secret));
        output::note(&format!(
            "this secret signs the calls of {} (Standard Webhooks); it is shown this once. `keyward notices rotate-secret {}` makes another",
            one.address, one.contact
        ));
    }
    let already = if edited.version == found.version {
        "nothing was changed: it is so already"
    } else {
        "edited the organization"
    };
    output::note(already);
    Ok(())
}

/// The fields of the request.
fn changes(edit: Edit, settings: SettingsView) -> Result<Map<String, Value>> {
    let mut body = Map::new();
    let mut set = |name: &str, value: Value| body.insert(name.to_owned(), value);
    if let Some(name) = edit.name {
        set("name", name.into());
    }
    if let Some(is_on) = edit.advanced_access_control {
        set("advanced_access_control", is_on.into());
    }
    if let Some(Lifetime(ms)) = edit.max_key_lifetime {
        set("max_key_lifetime_ms", ms.into());
    }
    if let Some(days) = edit.usage_retention_days {
        set("usage_retention_days", days.into());
    }
    if let Some(is_on) = edit.second_factor_required {
        set("second_factor_required", is_on.into());
    }
    if !edit.rotations.is_empty() {
        let mut policy: RotationPolicyView = settings.rotation_policy;
        for Rotation(environment, days) in edit.rotations {
            *policy.slot(environment) = days;
        }
        set("rotation_policy", json!(policy));
    }
    if !edit.add_contacts.is_empty() || !edit.remove_contacts.is_empty() {
        let mut contacts = settings
            .security_contacts
            .context("to change contacts the right `organization:write` is needed")?;
        for address in &edit.remove_contacts {
            let before = contacts.len();
            contacts.retain(|contact| contact.address != *address);
            if contacts.len() == before {
                bail!("`{address}` is none of the contacts; `keyward org show` lists them");
            }
        }
        contacts.extend(edit.add_contacts);
        set("security_contacts", json!(contacts));
    }
    Ok(body)
}

/// Settings as people read them.
pub(super) fn setting_facts(settings: &SettingsView) -> Vec<(&'static str, String)> {
    let mut policy = settings.rotation_policy.clone();
    let mut rotations = Vec::new();
    for environment in Environment::ALL {
        let days = match *policy.slot(environment) {
            Some(Some(days)) => format!("{days} days"),
            Some(None) => "as needed".to_owned(),
            None => match environment.preset().rotate_every_ms {
                Some(ms) => format!("{} (preset)", duration_words(ms)),
                None => "as needed (preset)".to_owned(),
            },
        };
        rotations.push(format!("{} {days}", environment.name()));
    }
    let on_off = |is_on: bool| if is_on { "on" } else { "off" }.to_owned();
    let mut facts = vec![
        (
            "Advanced access control",
            on_off(settings.advanced_access_control),
        ),
        (
            "Longest life of keys",
            settings
                .max_key_lifetime_ms
                .map_or_else(|| "no limit".to_owned(), duration_words),
        ),
        ("Rotation", rotations.join(", ")),
        ("Uses are kept", format!("{} days", settings.usage_retention_days)),
        (
            "Second factor of Owners and Admins",
            if settings.second_factor_required {
                "required".to_owned()
            } else {
                "as they like".to_owned()
            },
        ),
    ];
    for contact in settings.security_contacts.iter().flatten() {
        facts.push((
            "Security contact",
            format!("{} {}", contact.kind, contact.address),
        ));
    }
    facts
}

pub(super) async fn set_lock(surroundings: &Surroundings, id: &str, action: &str) -> Result<()> {
    let path = format!("/v1/organizations/{}/{action}", segment(id)?);
    let done: OrganizationStateView = call(&surroundings.target, Method::POST, &path, None).await?;
    if surroundings.is_json {
        return output::json(&done);
    }
    output::data(&format!("{} {}\n", done.id, done.state));
    let already = if done.changed { "" } else { ", as it was before" };
    output::note(&format!(
        "the organization is {}{already}",
        done.state.replace('_', " ")
    ));
    output::note_failover(done.survives_failover);
    Ok(())
}

pub(super) async fn delete(surroundings: &Surroundings, id: &str, yes: bool) -> Result<()> {
    let target = &surroundings.target;
    let path = format!("/v1/organizations/{}", segment(id)?);
    if !yes {
        let found: OrganizationView = call(target, Method::GET, &path, None).await?;
        let question = format!(
            "Delete the organization `{}` ({})? Every key of it is refused at once, and after 30 days everything in it but its \
             audit trail is gone for good.",
            found.name, found.id
        );
        if !output::confirm(&question)? {
            output::note("nothing was changed");
            return Ok(());
        }
    }
    let body = json!({ "confirm": id });
    let done: OrganizationEndView = call(target, Method::POST, &format!("{path}/delete"), Some(body)).await?;
    if surroundings.is_json {
        return output::json(&done);
    }
    output::data(&format!("{} {}\n", done.standing.id, done.standing.state));
    output::note(&format!(
        "every key of it is refused; it is purged at {}. Until then `keyward org restore {}` takes that back",
        done.purge_at.unwrap_or_default(),
        done.standing.id
    ));
    output::note_failover(done.standing.survives_failover);
    Ok(())
}

pub(super) async fn restore(surroundings: &Surroundings, id: &str) -> Result<()> {
    let path = format!("/v1/organizations/{}/restore", segment(id)?);
    let done: OrganizationEndView = call(&surroundings.target, Method::POST, &path, None).await?;
    if surroundings.is_json {
        return output::json(&done);
    }
    output::data(&format!("{} {}\n", done.standing.id, done.standing.state));
    let note = if done.standing.changed {
        "the deletion is taken back; the organization stays stopped until it is resumed"
    } else {
        "the organization was not deleted"
    };
    output::note(note);
    output::note_failover(done.standing.survives_failover);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> SettingsView {
        serde_json::from_value(json!({
            "advanced_access_control": true, "max_key_lifetime_ms": null,
            "rotation_policy": { "production": 30, "ci_cd": null }, "usage_retention_days": 400, "second_factor_required": false,
            "security_contacts": [{ "kind": "email", "address": "a@b" }],
        }))
        .unwrap()
    }

    fn nothing() -> Edit {
        Edit {
            id: "org-1".to_owned(),
            name: None,
            advanced_access_control: None,
            max_key_lifetime: None,
            rotations: Vec::new(),
            usage_retention_days: None,
            second_factor_required: None,
            add_contacts: Vec::new(),
            remove_contacts: Vec::new(),
        }
    }

    #[test]
    fn an_edit_changes_what_it_names_and_keeps_the_rest() {
        assert!(changes(nothing(), settings()).unwrap().is_empty());
        let edit = Edit {
            max_key_lifetime: Some(lifetime("none").unwrap()),
            usage_retention_days: Some(30),
            second_factor_required: Some(true),
            rotations: vec![
                rotation("production=preset").unwrap(),
                rotation("staging=7d").unwrap(),
            ],
            add_contacts: vec![contact("webhook:https://example.com/h").unwrap()],
            ..nothing()
        };
        let body = Value::from(changes(edit, settings()).unwrap());
        assert_eq!(
            body,
            json!({
                "max_key_lifetime_ms": null,
                "usage_retention_days": 30,
                "second_factor_required": true,
                "rotation_policy": { "staging": 7, "ci_cd": null },
                "security_contacts": [{ "kind": "email", "address": "a@b" },
                    { "kind": "webhook", "address": "https://example.com/h" }],
            })
        );
        let edit = Edit {
            remove_contacts: vec!["nobody@b".to_owned()],
            ..nothing()
        };
        assert!(changes(edit, settings()).is_err());
    }

    #[test]
    fn what_is_no_setting_is_told_before_a_request() {
        for bad in [
            "production",
            "moon=3d",
            "production=36h",
            "production=often",
            "=3d",
        ] {
            assert!(rotation(bad).is_err(), "{bad}");
        }
        for bad in ["", "a@b", "pigeon:x"] {
            assert!(contact(bad).is_err(), "{bad}");
        }
        assert!(lifetime("soon").is_err() && on_or_off("yes").is_err());
    }
}
