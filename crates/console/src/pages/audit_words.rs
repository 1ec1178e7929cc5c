//! Entries of the audit trail in words: who, what, to what, and the facts as short pairs.
//!
//! Names are looked up as they are now, and stand beside the ids that the trail holds; a person who left has none. What an entry says
//! of nothing (`none`, zero, an empty list) is left out here and is in the export. A personal value that was erased is told as erased.

use std::collections::BTreeMap;

use keyward_core::audit_export::EntryLine;
use keyward_core::ids::{KeyId, PersonId};
use keyward_core::record::Actor;
use keyward_core::time::{Timestamp, duration_words};
use keyward_engine::EngineError;
use keyward_engine::describe_keys::ActorName;
use serde_json::Value;

use super::usage_words::capitalized;
use crate::call::Call;
use crate::refused::Refused;
use crate::visit::Visit;
use crate::words::exact;

/// Longest text of a fact that a row shows; the export has it whole.
const MAX_FACT: usize = 240;
/// The end of a fact's name that holds a commitment to a personal value.
const COMMITMENT: &str = "_commitment";

/// An action of the trail in the three ways in which pages speak of it.
pub(super) struct Deed {
    pub(super) name: &'static str,
    /// Of an entry, and of all of its kind: `Created a secret key`.
    pub(super) words: &'static str,
    /// After who did it; what it was done to may follow: `created the key`.
    done: &'static str,
    /// Among the deeds of one key: `Made the key`.
    on_key: &'static str,
}

/// Every action that an organization's trail knows, in the order in which they are offered.
pub(super) const DEEDS: &[Deed] = &[
    deed_on_key(
        "key.create",
        "Created a secret key",
        "created the key",
        "Made the key",
    ),
    deed_on_key(
        "key.edit",
        "Edited a key's permission or settings",
        "edited the key",
        "Edited its settings",
    ),
    deed_on_key("key.pause", "Paused a key", "paused the key", "Paused the key"),
    deed_on_key(
        "key.resume",
        "Resumed a key",
        "resumed the key",
        "Resumed the key",
    ),
    deed_on_key("key.delete", "Removed a key", "removed the key", "Ended the key"),
    deed_on_key(
        "key.rotate",
        "Rotated a key",
        "rotated the key",
        "Rotated: a new secret was made",
    ),
    deed_on_key(
        "key.rotation_first_use",
        "A key's new secret was used first",
        "saw the first use of the new secret of",
        "The new secret was used for the first time",
    ),
    deed_on_key(
        "key.rotation_activate",
        "Made a key's new secret the current one",
        "put the new secret in place for",
        "Made the new secret the current one",
    ),
    deed_on_key(
        "key.rotation_finish",
        "Finished a rotation",
        "ended the old secret of",
        "Ended the old secret",
    ),
    deed_on_key(
        "key.rotation_cancel",
        "Cancelled a rotation",
        "cancelled the rotation of",
        "Cancelled the rotation",
    ),
    deed_on_key(
        "key.rotation_end",
        "A key's old secret ended",
        "let the old secret end of",
        "The old secret came to its end",
    ),
    deed_on_key(
        "key.rotation_dropped",
        "A rotation was dropped",
        "dropped the unused new secret of",
        "The new secret was never used and was dropped",
    ),
    deed_on_key(
        "key.hand_over",
        "Handed a key over",
        "handed over the key",
        "Handed the key over",
    ),
    deed_on_key(
        "key.repeat_value",
        "Showed a new key's value once more",
        "was shown once more the value of",
        "Was shown the value once more, for a repeated form or request",
    ),
    deed(
        "keys.bulk",
        "Changed several keys at once",
        "changed several keys at once",
    ),
    deed(
        "keys.stop",
        "Stopped keys in an emergency",
        "stopped keys in an emergency",
    ),
    deed(
        "member.change_role",
        "Changed a member's role",
        "changed the role of",
    ),
    deed("member.remove", "Removed a member", "removed the member"),
    deed("invitation.create", "Invited somebody", "invited somebody"),
    deed(
        "invitation.accept",
        "Accepted an invitation",
        "accepted an invitation",
    ),
    deed(
        "invitation.revoke",
        "Took an invitation back",
        "took an invitation back",
    ),
    deed(
        "invitation.refused",
        "Refused an invitation's link",
        "was refused with an invitation that is over",
    ),
    deed("person.sign_in", "Signed in", "signed in"),
    deed(
        "person.act_as",
        "The server's operator acted as a member",
        "acted as",
    ),
    deed("token.create", "Created a management token", "created the token"),
    deed("token.delete", "Removed a management token", "removed the token"),
    deed(
        "token.sign_in",
        "Used a management token",
        "called the management API",
    ),
    deed("token.refused", "Refused a management token", "was refused"),
    deed(
        "organization.create",
        "Created the organization",
        "created the organization",
    ),
    deed(
        "organization.edit",
        "Edited the organization",
        "edited the organization",
    ),
    deed(
        "organization.edit_settings",
        "Changed security settings",
        "changed security settings",
    ),
    deed(
        "organization.lock",
        "Locked the organization",
        "locked the organization",
    ),
    deed(
        "organization.unlock",
        "Unlocked the organization",
        "unlocked the organization",
    ),
    deed("organization.stop", "Stopped every key", "stopped every key"),
    deed(
        "organization.resume",
        "Resumed the organization's keys",
        "resumed the organization's keys",
    ),
    deed(
        "organization.delete",
        "Deleted the organization",
        "deleted the organization",
    ),
    deed(
        "organization.restore",
        "Took the organization's deletion back",
        "took the organization's deletion back",
    ),
    deed(
        "organization.postpone_purge",
        "Put the organization's purge off",
        "put the organization's purge off",
    ),
    deed(
        "contact.test",
        "Sent a test to security contacts",
        "sent a test to the security contacts",
    ),
    deed(
        "contact.enable",
        "Enabled a security contact",
        "enabled a security contact",
    ),
    deed(
        "contact.disable",
        "A security contact was disabled",
        "disabled a security contact",
    ),
    deed(
        "contact.rotate_secret",
        "Rotated a security contact's secret",
        "gave a webhook a new signing secret",
    ),
    deed("dataset.create", "Created a dataset", "created a dataset"),
    deed("dataset.edit", "Edited a dataset", "edited a dataset"),
    deed("dataset.delete", "Deleted a dataset", "deleted a dataset"),
    deed(
        "audit.export",
        "Exported the audit trail",
        "exported the audit trail",
    ),
    deed(
        "audit.checkpoint",
        "Signed a checkpoint",
        "signed a checkpoint of the audit trail",
    ),
    deed(
        "audit.erase",
        "Erased personal values",
        "erased personal values from the audit trail",
    ),
];

const fn deed(name: &'static str, words: &'static str, done: &'static str) -> Deed {
    deed_on_key(name, words, done, words)
}

const fn deed_on_key(
    name: &'static str,
    words: &'static str,
    done: &'static str,
    on_key: &'static str,
) -> Deed {
    Deed {
        name,
        words,
        done,
        on_key,
    }
}

fn find(action: &str) -> Option<&'static Deed> {
    DEEDS.iter().find(|deed| deed.name == action)
}

/// An action in words; its own name for one that is not in the table.
pub(super) fn action_words(action: &str) -> String {
    find(action).map_or_else(
        || capitalized(&action.replace(['.', '_'], " ")),
        |deed| deed.words.to_owned(),
    )
}

/// What somebody did, after their name.
pub(super) fn done_words(action: &str) -> String {
    // What a newer version recorded is not known here: who did it and to what is told all the same.
    find(action).map_or_else(
        || format!("did \u{201c}{}\u{201d}:", action.replace(['.', '_'], " ")),
        |deed| deed.done.to_owned(),
    )
}

/// What was done to the key that a page is about.
pub(super) fn words_on_key(action: &str) -> String {
    find(action).map_or_else(|| action_words(action), |deed| deed.on_key.to_owned())
}

/// Names of what entries speak of, as they are now.
#[derive(Default)]
pub(super) struct Names(BTreeMap<String, String>);

impl Names {
    /// Looks up what the entries of a page name, each once.
    ///
    /// # Errors
    /// [`Refused`]; what is not there any more is no error.
    pub(super) async fn find(visit: &Visit, call: &Call, lines: &[EntryLine]) -> Result<Self, Refused> {
        let mut names = Self::default();
        for line in lines {
            names.look_up(visit, call, &line.actor).await?;
            names.look_up(visit, call, &line.target).await?;
            for (name, value) in line.read_facts() {
                if let (true, Some(id)) = (is_person_fact(&name), value.as_str()) {
                    names.look_up(visit, call, &format!("person/{id}")).await?;
                }
            }
        }
        Ok(names)
    }

    /// Looks one up, unless that was done before.
    pub(super) async fn look_up(&mut self, visit: &Visit, call: &Call, what: &str) -> Result<(), Refused> {
        if self.0.contains_key(what) {
            return Ok(());
        }
        let engine = call.engine();
        let organization = visit.id();
        let found = match what.parse() {
            Ok(person @ Actor::Person(_)) => {
                let named = engine.name_actors(organization, &[person]).await?;
                match named.into_iter().next() {
                    Some((_, ActorName::Member(email))) => Ok(email),
                    Some((_, ActorName::Left(_))) => Ok(String::new()),
                    // Nobody who ever had to do with the organization: not even that they exist is told.
                    _ => return Ok(()),
                }
            }
            Ok(Actor::Key(id)) => engine
                .show_key(organization, id)
                .await
                .map(|key| key.name.to_string()),
            Ok(Actor::Token(id)) => engine
                .show_token(organization, id)
                .await
                .map(|token| token.name.to_string()),
            _ => return Ok(()),
        };
        match found {
            Ok(name) => {
                self.0.insert(what.to_owned(), name);
            }
            Err(EngineError::NotFound(_)) => {
                self.0.insert(what.to_owned(), String::new());
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    pub(super) fn of(&self, what: &str) -> Option<&str> {
        self.0
            .get(what)
            .map(String::as_str)
            .filter(|name| !name.is_empty())
    }

    /// Who or what, in words: its name, or what kind it is.
    pub(super) fn words(&self, what: &str) -> String {
        if let Some(name) = self.of(what) {
            return name.to_owned();
        }
        let (kind, id) = what.split_once('/').unwrap_or((what, ""));
        match kind {
            "local_administrator" => "The server's operator".to_owned(),
            "system" => "Keyward itself".to_owned(),
            "person" if self.0.contains_key(what) => "A former member".to_owned(),
            "person" => "A person".to_owned(),
            "key" => "A secret key".to_owned(),
            "token" => "A management token".to_owned(),
            "invitation" => "An invitation".to_owned(),
            "organization" => "The organization".to_owned(),
            "dataset" => format!("Dataset {id}"),
            "contact" => "A security contact".to_owned(),
            "audit" => "The audit trail".to_owned(),
            "session" => "A session".to_owned(),
            "stranger" => "Somebody unknown".to_owned(),
            _ => what.to_owned(),
        }
    }
}

/// The key that a target names.
pub(super) fn key_of(target: &str) -> Option<KeyId> {
    target.strip_prefix("key/")?.parse().ok()
}

/// A fact as a row shows it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fact {
    pub(super) name: String,
    /// `None` for a personal value that was erased.
    pub(super) value: Option<String>,
}

/// Facts that hold a person's bare id.
fn is_person_fact(name: &str) -> bool {
    matches!(name, "person" | "owner" | "from" | "to")
}

/// What an entry tells, without what tells nothing.
pub(super) fn facts_of(line: &EntryLine, names: &Names) -> Vec<Fact> {
    let facts = line.read_facts();
    let told = facts.iter().filter_map(|(name, value)| {
        if let Some(personal) = name.strip_suffix(COMMITMENT) {
            let value = line.personal.get(personal).map(|kept| {
                let told = structured_words(personal, &kept.value, names);
                cut(told.as_deref().unwrap_or(&kept.value))
            });
            let is_empty = value.as_deref() == Some("");
            return (!is_empty).then_some((personal, value));
        }
        let value = value_words(name, value, names)?;
        Some((name.as_str(), Some(cut(&value))))
    });
    in_one_line(told.collect())
}

/// What was before and what is after as one fact; one that has only one side, or whose value was erased, stays as it is.
fn in_one_line(told: Vec<(&str, Option<String>)>) -> Vec<Fact> {
    let side_of = |fact: &str, end: &str| {
        let other = told.iter().find(|(name, _)| name.strip_suffix(end) == Some(fact));
        other.and_then(|(_, value)| value.clone())
    };
    let facts = told.iter().filter_map(|(name, value)| {
        let fact = name.strip_suffix("_before").or(name.strip_suffix("_after"));
        let sides = fact.and_then(|fact| Some((fact, side_of(fact, "_before")?, side_of(fact, "_after")?)));
        match sides {
            Some(_) if name.ends_with("_before") => None,
            Some((fact, before, after)) => Some(Fact {
                name: title_of(fact),
                value: Some(format!("{before} \u{2192} {after}")),
            }),
            None => Some(Fact {
                name: title_of(name),
                value: value.clone(),
            }),
        }
    });
    facts.collect()
}

fn title_of(name: &str) -> String {
    // Names that are clear to whoever wrote the entry, and not to whoever reads it.
    match name {
        "why_told" => return "Noted because".to_owned(),
        "by" => return "Chosen by".to_owned(),
        "is" => return "Now".to_owned(),
        "was" => return "Before".to_owned(),
        "does" => return "Step".to_owned(),
        "email" => return "E-mail".to_owned(),
        "owner_email" => return "Owner's e-mail".to_owned(),
        "expires_at_ms" => return "Expires".to_owned(),
        _ => {}
    }
    let name = name.strip_suffix("_ms").unwrap_or(name).replace("_ms_", "_");
    let name = name.replace('_', " ").replace("email", "e-mail");
    capitalized(&name)
}

/// A value in words; `None` where it says nothing.
fn value_words(name: &str, value: &Value, names: &Names) -> Option<String> {
    let is_side = name.ends_with("_before") || name.ends_with("_after");
    match value {
        Value::Null | Value::Bool(false) if is_side => Some("none".to_owned()),
        Value::Null | Value::Bool(false) => None,
        Value::Bool(true) => Some("yes".to_owned()),
        Value::Number(number) => match number.as_i64() {
            Some(0) if !is_side => None,
            Some(ms) => Some(number_words(name, ms)),
            None => Some(number.to_string()),
        },
        Value::String(text) if text.is_empty() || text == "none" => is_side.then(|| "none".to_owned()),
        Value::String(text) if is_person_fact(name) => {
            let id: Option<PersonId> = text.parse().ok();
            let known = id.map(|_| names.words(&format!("person/{text}")));
            Some(known.unwrap_or_else(|| text.clone()))
        }
        Value::String(text) if text.starts_with(['{', '[']) => {
            structured_words(name, text, names).or_else(|| Some(text.clone()))
        }
        Value::String(text) if text.contains('/') => Some(text.clone()),
        Value::String(text) => Some(text_words(name, text)),
        Value::Array(items) if items.is_empty() => is_side.then(|| "none".to_owned()),
        Value::Array(items) => {
            let told = items.iter().map(|item| rule_words(item, names));
            Some(told.collect::<Vec<_>>().join("; "))
        }
        Value::Object(fields) if fields.is_empty() => None,
        Value::Object(fields) => match (fields.get("before"), fields.get("after")) {
            (Some(before), Some(after)) => {
                let side = |value| value_words(&format!("{name}_before"), value, names);
                let side = |value| side(value).unwrap_or_else(|| "none".to_owned());
                Some(format!("{} \u{2192} {}", side(before), side(after)))
            }
            // Named parts: `email 1, webhook 0`.
            _ => {
                let told = fields.iter().map(|(name, value)| {
                    let value = value_words(&format!("{name}_before"), value, names);
                    format!("{} {}", name.replace('_', " "), value.unwrap_or_default())
                });
                Some(told.collect::<Vec<_>>().join(", "))
            }
        },
    }
}

/// A name of something, as people write it.
fn text_words(name: &str, text: &str) -> String {
    match (name, text) {
        ("why_told", "first_of_day") => "the first of this day".to_owned(),
        ("why_told", "other_address") => "another address on this day".to_owned(),
        (_, "ci_cd") => "CI/CD".to_owned(),
        // A secret's life; its end is told beside it.
        (_, "until") => "accepted until its end".to_owned(),
        // Several names that were kept as one text: `dataset,training`.
        _ if !text.contains(' ') => text.replace(',', ", ").replace('_', " "),
        _ => text.replace('_', " "),
    }
}

/// A list or an object that was kept as a text.
fn structured_words(name: &str, text: &str, names: &Names) -> Option<String> {
    let value: Value = serde_json::from_str(text).ok()?;
    matches!(value, Value::Array(_) | Value::Object(_)).then(|| value_words(name, &value, names))?
}

fn number_words(name: &str, number: i64) -> String {
    let base = name.trim_end_matches("_before").trim_end_matches("_after");
    if base.ends_with("_at_ms") || base == "not_before_ms" {
        exact(Timestamp::from_unix_ms(number))
    } else if base.ends_with("_ms") {
        duration_words(number)
    } else {
        number.to_string()
    }
}

/// One rule, or whatever else a list holds.
fn rule_words(item: &Value, names: &Names) -> String {
    let list = |name: &str| {
        let items = item.get(name)?.as_array()?;
        let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
        texts.map(|texts| texts.join(", "))
    };
    match (list("operations"), list("resources")) {
        (Some(operations), Some(resources)) => format!("{operations} on {resources}"),
        _ => value_words("", item, names).unwrap_or_else(|| "none".to_owned()),
    }
}

fn cut(text: &str) -> String {
    if text.chars().count() <= MAX_FACT {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(MAX_FACT).collect();
    short.push('\u{2026}');
    short
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn words(name: &str, value: Value) -> Option<String> {
        value_words(name, &value, &Names::default())
    }

    #[test]
    fn facts_are_told_in_words_and_what_tells_nothing_is_left_out() {
        for nothing in [
            json!(null),
            json!("none"),
            json!(""),
            json!([]),
            json!(0),
            json!(false),
        ] {
            assert_eq!(words("reason", nothing.clone()), None, "{nothing}");
        }
        for (name, value, told) in [
            ("level", json!("read_only"), "read only"),
            (
                "contacts",
                json!({"email": 1, "webhook": 0}),
                "email 1, webhook 0",
            ),
            ("addresses", json!({"only": ["10.0.0.0/8"]}), "only 10.0.0.0/8"),
            (
                "addresses",
                json!("{\"only\":[\"10.0.0.0/8\"]}"),
                "only 10.0.0.0/8",
            ),
            ("rotate_every_ms", json!(7_776_000_000_i64), "90 days"),
            (
                "expires_at_ms_after",
                json!(1_790_000_000_000_i64),
                "21 Sep 2026, 14:13 UTC",
            ),
            ("expires_at_ms_before", json!(null), "none"),
            ("environment", json!("ci_cd"), "CI/CD"),
            ("scopes", json!("dataset,training"), "dataset, training"),
            ("why_told", json!("first_of_day"), "the first of this day"),
            (
                "max_key_lifetime_ms",
                json!({ "before": null, "after": 86_400_000 }),
                "none \u{2192} 1 day",
            ),
            (
                "rules",
                json!([{ "operations": ["dataset.read"], "resources": ["dataset/*"] }]),
                "dataset.read on dataset/*",
            ),
        ] {
            assert_eq!(words(name, value).as_deref(), Some(told), "{name}");
        }
        assert_eq!(title_of("expires_at_ms_after"), "Expires at after");
        assert_eq!(action_words("person.new_thing"), "Person new thing");
    }

    #[test]
    fn what_was_and_what_is_are_one_fact_unless_one_side_is_gone() {
        let some = |text: &str| Some(text.to_owned());
        let facts = in_one_line(vec![
            ("name_after", some("new")),
            ("name_before", some("old")),
            ("owner_email_after", some("a@b.example")),
            ("owner_email_before", None),
            ("role", some("admin")),
        ]);
        let told: Vec<(&str, Option<&str>)> = facts
            .iter()
            .map(|fact| (fact.name.as_str(), fact.value.as_deref()))
            .collect();
        assert_eq!(
            told,
            [
                ("Name", Some("old \u{2192} new")),
                ("Owner e-mail after", Some("a@b.example")),
                ("Owner e-mail before", None),
                ("Role", Some("admin")),
            ]
        );
    }

    #[test]
    fn no_action_is_offered_twice() {
        let mut names: Vec<_> = DEEDS.iter().map(|deed| deed.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), DEEDS.len());
    }

    /// Texts of the engine that look like actions of an organization's trail and are none: entries of the server's own trail, which
    /// no page shows, kinds of notices, fields.
    const OTHERS: &[&str] = &[
        "database.accept_old_state",
        "database.replay_deletions",
        "dataset.read",
        "key.expired",
        "key.expires_soon",
        "key.prefix",
        "key.rotation_due",
        "key.rotation_due_soon",
        "key.rotation_overdue",
        "keyring.add_version",
        "keyring.check",
        "keyring.id",
        "keyring.rotate",
        "metadata.attributes",
        "organization.begin_purge",
        "organization.purge",
        "passphrase.change",
        "person.begin_sign_in",
        "person.refused",
        "recovery_code.renew",
        "recovery_code.use",
        "second_factor.begin",
        "second_factor.confirm",
        "second_factor.remove",
        "session.end",
        "session.end_others",
        "sign_in_link.create",
        "sign_in_link.redeem",
        "sign_ins.refused_others",
    ];

    /// Texts like `key.create` in a source file.
    fn dotted(source: &str) -> impl Iterator<Item = &str> {
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        };
        source.split('"').filter(move |text| {
            text.split_once('.')
                .is_some_and(|(of, what)| is_name(of) && is_name(what))
        })
    }

    #[test]
    fn every_action_that_the_engine_writes_has_words() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../engine/src");
        let mut found = std::collections::BTreeSet::new();
        for file in std::fs::read_dir(folder).unwrap() {
            let source = std::fs::read_to_string(file.unwrap().path()).unwrap();
            found.extend(dotted(&source).map(str::to_owned));
        }
        assert!(found.contains("key.rotation_activate"), "{found:?}");
        for name in &found {
            let is_known = find(name).is_some();
            assert!(
                is_known != OTHERS.contains(&name.as_str()),
                "{name} needs its words, or to be told apart from an action"
            );
        }
        for deed in DEEDS {
            assert!(found.contains(deed.name), "{} is written by nothing", deed.name);
        }
    }

    #[test]
    fn an_action_is_told_in_three_ways() {
        assert_eq!(action_words("key.rotation_finish"), "Finished a rotation");
        assert_eq!(done_words("key.rotation_finish"), "ended the old secret of");
        assert_eq!(words_on_key("key.rotation_finish"), "Ended the old secret");
        assert_eq!(words_on_key("keys.stop"), "Stopped keys in an emergency");
        assert_eq!(done_words("key.new_thing"), "did \u{201c}key new thing\u{201d}:");
    }
}
