//! What security contacts are told, in words for people: which events are told at all, and the text of each.
//!
//! Nothing of a key but its id and name is in a text, never a value. When, to whom and how a notice is sent is the engine's and the
//! channels' business. Whatever others chose (names, clients, addresses) is written without control characters.

use serde_json::Value;

use crate::ids::OrganizationId;
use crate::record::is_disruptive;
use crate::time::Timestamp;

/// Longest text of others that is repeated.
const MAX_FOREIGN: usize = 200;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident => $name:literal),+ $(,)?) => {
        /// What a notice is about.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum NoticeKind { $($(#[$doc])* $kind),+ }

        impl NoticeKind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$kind),+];

            /// The name in the API, the database and a webhook's `type`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name),+ }
            }
        }
    };
}

kinds! {
    /// A rotation is due in 14 days.
    RotationDueSoon => "key.rotation_due_soon",
    /// A rotation is due in 3 days.
    RotationDueIn3Days => "key.rotation_due_in_3_days",
    /// A rotation is due today.
    RotationDue => "key.rotation_due",
    /// A rotation was due yesterday or before.
    RotationOverdue => "key.rotation_overdue",
    /// A key expires in 14 days.
    ExpiresSoon => "key.expires_soon",
    /// A key expires in 3 days.
    ExpiresIn3Days => "key.expires_in_3_days",
    /// A key expired.
    Expired => "key.expired",
    /// A key was used from an address from which it was never used before.
    FirstUseFromAddress => "key.first_use_from_address",
    /// A key is refused much more often than it used to be.
    RefusalsRise => "key.refusals_rise",
    /// A key was ended because it is compromised.
    Compromised => "key.compromised",
    /// A key was replaced by a new one because it is compromised.
    Replaced => "key.replaced",
    /// A key was ended.
    Deleted => "key.deleted",
    /// Keys were stopped in an emergency.
    KeysStopped => "keys.stop",
    /// The organization was stopped in an emergency.
    OrganizationStopped => "organization.stop",
    /// Somebody wants to know whether notices arrive.
    Test => "test",
}

impl NoticeKind {
    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// What an event of the outbox is told as; `None` for those that nobody has to be told of.
    pub fn of_event(kind: &str, payload: &Value) -> Option<Self> {
        match kind {
            "key.delete" if payload.get("replaced_by").is_some() => Some(Self::Replaced),
            "key.delete" if payload.get("reason").and_then(Value::as_str) == Some("compromised") => {
                Some(Self::Compromised)
            }
            "key.delete" => Some(Self::Deleted),
            // Told only by what they are made from.
            "key.compromised" | "key.replaced" | "key.deleted" => None,
            other => Self::from_name(other),
        }
    }
}

/// One notice, before it has words.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// What it is about.
    pub kind: NoticeKind,
    /// The organization.
    pub organization_id: OrganizationId,
    /// The organization's display name.
    pub organization_name: String,
    /// The key's id, if it is about one.
    pub key_id: Option<String>,
    /// The key's name, if it still has one.
    pub key_name: Option<String>,
    /// The event's facts.
    pub facts: Value,
    /// When it happened.
    pub at: Timestamp,
}

/// What the words of a notice need beside it.
#[derive(Clone, Copy)]
pub struct Wording<'a> {
    /// How people reach this server: no slash at the end.
    pub public_url: &'a str,
    /// Writes a moment.
    pub moment: fn(Timestamp) -> String,
}

/// A notice in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticeText {
    /// One line.
    pub subject: String,
    /// What happened, to which key, when, and what to do next.
    pub body: String,
    /// The page where something can be done about it.
    pub link: String,
}

impl Notice {
    /// The notice in words.
    pub fn text(&self, wording: Wording<'_>) -> NoticeText {
        let link = format!(
            "{}/org/{}/settings/secret-keys",
            wording.public_url, self.organization_id
        );
        let key = self.key();
        let (happened, next) = self.sentences(wording.moment);
        let mut lines = vec![happened.clone(), String::new()];
        lines.push(format!(
            "Organization: {} ({})",
            harmless(&self.organization_name),
            self.organization_id
        ));
        if self.key_id.is_some() {
            lines.push(format!("Key: {key}"));
        }
        lines.push(format!("When: {}", (wording.moment)(self.at)));
        lines.push(String::new());
        lines.push(format!("What to do: {next}"));
        lines.push(String::new());
        lines.push(format!("Page: {link}"));
        lines.push(String::new());
        lines.push(
            "You get this because you are a security contact of the organization. Nobody will ever ask you for a key's value."
                .to_owned(),
        );
        NoticeText {
            subject: format!("[Keyward] {}", self.subject()),
            body: lines.join("\n"),
            link,
        }
    }

    fn subject(&self) -> String {
        let key = self.key_name.as_deref().map_or_else(
            || self.key_id.clone().unwrap_or_default(),
            |name| format!("\"{}\"", harmless(name)),
        );
        let organization = harmless(&self.organization_name);
        match self.kind {
            NoticeKind::RotationDueSoon => format!("Rotate the key {key} within 14 days"),
            NoticeKind::RotationDueIn3Days => format!("Rotate the key {key} within 3 days"),
            NoticeKind::RotationDue => format!("The rotation of the key {key} is due"),
            NoticeKind::RotationOverdue => format!("The rotation of the key {key} is overdue"),
            NoticeKind::ExpiresSoon => format!("The key {key} expires within 14 days"),
            NoticeKind::ExpiresIn3Days => format!("The key {key} expires within 3 days"),
            NoticeKind::Expired => format!("The key {key} has expired"),
            NoticeKind::FirstUseFromAddress => format!("The key {key} was used from a new address"),
            NoticeKind::RefusalsRise => format!("The key {key} is refused much more often than usual"),
            NoticeKind::Compromised => format!("The key {key} was ended as compromised"),
            NoticeKind::Replaced => format!("The key {key} was replaced"),
            NoticeKind::Deleted => format!("The key {key} was ended"),
            NoticeKind::KeysStopped => format!("Keys of {organization} were stopped"),
            NoticeKind::OrganizationStopped => format!("All keys of {organization} were stopped"),
            NoticeKind::Test => format!("A test message for {organization}"),
        }
    }

    /// What happened, and what to do next.
    fn sentences(&self, moment: fn(Timestamp) -> String) -> (String, String) {
        let fact = |name: &str| self.facts.get(name).map_or_else(|| "unknown".to_owned(), shown);
        let date = |name: &str| {
            let at = self.facts.get(name).and_then(Value::as_i64);
            at.map_or_else(
                || "an unknown date".to_owned(),
                |ms| moment(Timestamp::from_unix_ms(ms)),
            )
        };
        const ROTATE: &str = "rotate the key and give its new value to whoever uses it. Its old value can stay valid beside it for a \
                              while.";
        const RENEW: &str = "make a new key in time, or move the date if the key is still needed.";
        const CHECK: &str = "find out whether it is you. If it is not, pause or replace the key at once.";
        let (happened, next) = match self.kind {
            NoticeKind::RotationDueSoon | NoticeKind::RotationDueIn3Days => (
                format!("A key is to be rotated until {}.", date("due_at_ms")),
                ROTATE,
            ),
            NoticeKind::RotationDue => (
                format!("A key is to be rotated now; the date was {}.", date("due_at_ms")),
                ROTATE,
            ),
            NoticeKind::RotationOverdue => (
                format!(
                    "A key should have been rotated at {}. It still works.",
                    date("due_at_ms")
                ),
                ROTATE,
            ),
            NoticeKind::ExpiresSoon | NoticeKind::ExpiresIn3Days => (
                format!(
                    "A key expires at {}, and is refused from then on.",
                    date("expires_at_ms")
                ),
                RENEW,
            ),
            NoticeKind::Expired => (
                format!("A key expired at {} and is refused now.", date("expires_at_ms")),
                "if it is still needed, give it a later date or make a new one. If it is not, delete it.",
            ),
            NoticeKind::FirstUseFromAddress => (
                format!(
                    "A key was used from {}, from where it was never used before, by the client {}.",
                    fact("address"),
                    fact("client")
                ),
                CHECK,
            ),
            NoticeKind::RefusalsRise => (
                format!(
                    "Requests with a key were refused {} times within {} hours. Usual are {} a day.",
                    fact("refusals"),
                    fact("in_hours"),
                    fact("usual_per_day")
                ),
                CHECK,
            ),
            NoticeKind::Compromised => (
                "A key was ended because somebody else may have it. It is refused everywhere.".to_owned(),
                "look through what it was used for, and make a new key for those who need one.",
            ),
            NoticeKind::Replaced => (
                format!(
                    "A key was ended because somebody else may have it. The key {} takes its place.",
                    fact("replaced_by")
                ),
                "give the new key's value to whoever used the old one, and look through what that was used for.",
            ),
            NoticeKind::Deleted => (
                "A key was ended and is refused everywhere.".to_owned(),
                "nothing, if this was meant. An ended key can't be brought back; make a new one if it is missed.",
            ),
            NoticeKind::KeysStopped => (
                "The emergency stop was used: the keys that it means are paused and refused.".to_owned(),
                "find out who stopped them and why. Keys are resumed one by one, or ended.",
            ),
            NoticeKind::OrganizationStopped => (
                "The emergency stop was used for the whole organization: every key of it is refused."
                    .to_owned(),
                "find out who stopped it and why. An Owner or Admin can resume the organization.",
            ),
            NoticeKind::Test => (
                "This is a test. Nothing happened.".to_owned(),
                "nothing; notices of this organization arrive here.",
            ),
        };
        (happened, next.to_owned())
    }

    fn key(&self) -> String {
        let id = self.key_id.as_deref().unwrap_or_default();
        match &self.key_name {
            Some(name) => format!("{} ({id})", harmless(name)),
            None => id.to_owned(),
        }
    }
}

/// A text of somebody else's as a single harmless line.
pub fn harmless(text: &str) -> String {
    let shown = text.chars().take(MAX_FOREIGN);
    shown
        .map(|c| {
            if c.is_control() || is_disruptive(c) {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => harmless(text),
        other => harmless(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn notice(kind: NoticeKind, name: &str, facts: Value) -> Notice {
        Notice {
            kind,
            organization_id: "org-1".parse().unwrap(),
            organization_name: "Ours".to_owned(),
            key_id: Some("k1".to_owned()),
            key_name: Some(name.to_owned()),
            facts,
            at: Timestamp::from_unix_ms(7),
        }
    }

    const WORDING: Wording<'_> = Wording {
        public_url: "https://keys.example.com",
        moment: |at| format!("T{}", at.as_unix_ms()),
    };

    #[test]
    fn a_text_says_what_happened_to_which_key_and_what_to_do() {
        for kind in NoticeKind::ALL {
            let text = notice(*kind, "Robot", json!({})).text(WORDING);
            assert_eq!(text.subject.lines().count(), 1, "{kind:?}");
            for part in [
                "Ours (org-1)",
                "Robot (k1)",
                "When: T7",
                "What to do: ",
                &text.link,
            ] {
                assert!(text.body.contains(part), "{kind:?} lacks {part}: {}", text.body);
            }
        }
        let text = notice(NoticeKind::ExpiresIn3Days, "Robot", json!({"expires_at_ms": 99}));
        assert!(text.text(WORDING).body.contains("expires at T99"));
    }

    #[test]
    fn what_others_chose_stays_within_its_line() {
        let facts = json!({"address": "1.2.3.4\r\nBcc: x@y", "client": "curl\u{1b}[31m\u{202e}"});
        let text = notice(NoticeKind::FirstUseFromAddress, "A\r\nBcc: x@y", facts).text(WORDING);
        let other = notice(NoticeKind::FirstUseFromAddress, "A", json!({})).text(WORDING);
        assert_eq!(text.body.lines().count(), other.body.lines().count());
        assert!(!text.subject.contains(['\r', '\n']));
        assert!(!text.body.contains(['\r', '\u{1b}', '\u{202e}']));
        assert_eq!(harmless(&"x".repeat(900)).len(), 200);
    }

    #[test]
    fn an_event_is_told_as_what_it_means() {
        let of = |kind: &str, payload: Value| NoticeKind::of_event(kind, &payload);
        assert_eq!(
            of("key.delete", json!({"reason": "removed"})),
            Some(NoticeKind::Deleted)
        );
        assert_eq!(
            of("key.delete", json!({"reason": "compromised"})),
            Some(NoticeKind::Compromised)
        );
        let replaced = json!({"reason": "compromised", "replaced_by": "k2"});
        assert_eq!(of("key.delete", replaced), Some(NoticeKind::Replaced));
        assert_eq!(of("key.rotation_due", json!({})), Some(NoticeKind::RotationDue));
        for untold in [
            "key.create",
            "key.edit",
            "key.pause",
            "organization.resume",
            "key.deleted",
            "test2",
        ] {
            assert_eq!(of(untold, json!({})), None, "{untold}");
        }
    }
}
