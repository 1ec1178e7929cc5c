//! The page that shows a key's value, once: after a creation, a rotation, a replacement.
//!
//! It is the answer of the form that made the value, never a page of its own: a value belongs in no address. Reloading sends that
//! form again, which makes nothing twice. Beside the value are the snippets that put it to use, and a line that waits for the
//! first use. Where a form is repeated too late to be told the value, [`show_over`] says so.

use askama::Template;
use askama::filters::HtmlSafe;
use axum::response::Response;
use keyward_core::ids::KeyId;
use keyward_core::management_right::ManagementRight;
use keyward_core::record::Key;
use keyward_core::secret::{KeyTextKind, Secret};
use keyward_core::state::SecretLife;
use keyward_core::time::{MINUTE_MS, SECOND_MS, Timestamp, duration_words};
use keyward_engine::show_keys::ShownSecret;

use crate::call::Call;
use crate::refused::Refused;
use crate::reply;
use crate::routes::ConsoleRoutes;
use crate::shell::{Section, Shell};
use crate::visit::Visit;
use crate::words::{access_line, counted, exact, relative};

/// What made the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// The key is new.
    Created,
    /// The key has a new secret.
    Rotated,
    /// The key is new and takes the place of one that ended.
    Replaced,
}

#[derive(Template)]
#[template(path = "key_value.html")]
struct ValuePage {
    shell: Shell,
    name: String,
    /// Scopes and level.
    access: String,
    /// The value; absent on a page that comes too late for it.
    snippets: Option<Snippets>,
    /// What becomes of the old secret, or of the old key.
    old: Option<String>,
    organization_id: String,
    key_url: String,
    /// Where the line of the first use is asked for.
    first_use_url: String,
    first_use: FirstUsePart,
    keys_url: String,
    help_url: String,
}

/// A value, in the forms in which it is put to use.
struct Snippets {
    value: String,
    env: String,
    shell: String,
    json: String,
    python: &'static str,
}

/// The line that waits for the first use.
#[derive(Template)]
#[template(path = "key_first_use.html")]
struct FirstUsePart {
    /// What is known of it, once it came.
    came: Option<Came>,
}

// Its own template escapes every value of it.
impl HtmlSafe for FirstUsePart {}

struct Came {
    /// `3 seconds ago`.
    when: String,
    /// The exact moment.
    at: String,
    address: String,
    client: String,
}

/// What the official client (vi-sdk 0.1.0b7) does with the three variables; it has no other check of a connection.
const PYTHON: &str = "import vi

client = vi.Client()  # reads the variables of the .env or shell tab
print(client.organizations.get().organization_id)
";

pub(super) fn add(routes: ConsoleRoutes) -> ConsoleRoutes {
    routes.page(
        "/org/{organization}/settings/secret-keys/{key}/first-use",
        ManagementRight::KeysRead,
        first_use,
    )
}

/// The page with a value that was just made.
///
/// # Errors
/// What reading the key's secrets says.
pub(crate) async fn show(
    visit: &Visit,
    call: &Call,
    key: &Key,
    value: &Secret<KeyTextKind>,
    told: Told,
) -> Result<Response, Refused> {
    let organization = visit.organization.id.as_str();
    // This page and the replies of the management API are where a value leaves the server.
    let snippets = Snippets::of(&call.site.public_url, organization, value.reveal());
    page(visit, call, key, Some(snippets), told).await
}

/// The page for a form that is repeated after the time in which it is told the value.
///
/// # Errors
/// As [`show`].
pub(crate) async fn show_over(
    visit: &Visit,
    call: &Call,
    key: &Key,
    told: Told,
) -> Result<Response, Refused> {
    page(visit, call, key, None, told).await
}

async fn page(
    visit: &Visit,
    call: &Call,
    key: &Key,
    snippets: Option<Snippets>,
    told: Told,
) -> Result<Response, Refused> {
    let id = key.record.id;
    let (_, secrets) = call.engine().show_key_whole(visit.id(), id).await?;
    let newest = secrets.first().map_or(1, |secret| secret.number);
    let old = match told {
        Told::Created => None,
        Told::Replaced => Some(
            "The key that this one replaces is refused from now on. Its activity stays readable, and shows who still tries it."
                .to_owned(),
        ),
        Told::Rotated => old_secret(&secrets, call.now()),
    };
    let key_url = visit.url(&format!("settings/secret-keys/{id}"));
    let title = match told {
        Told::Created | Told::Replaced => format!("{} is ready", key.name),
        Told::Rotated => format!("{} has a new secret", key.name),
    };
    reply::page(&ValuePage {
        shell: Shell::of(visit, call, Section::SecretKeys, &title, &[]),
        name: key.name.to_string(),
        access: access_line(&key.record.access),
        snippets,
        old,
        organization_id: visit.organization.id.to_string(),
        first_use_url: format!("{key_url}/first-use?secret={newest}"),
        first_use: part(visit, call, id, newest).await?,
        key_url,
        keys_url: visit.url("settings/secret-keys"),
        help_url: visit.url("settings/help"),
    })
}

impl Snippets {
    fn of(endpoint: &str, organization: &str, value: &str) -> Self {
        let variables = [
            ("DATATURE_VI_API_ENDPOINT", endpoint),
            ("DATATURE_VI_ORGANIZATION_ID", organization),
            ("DATATURE_VI_SECRET_KEY", value),
        ];
        let lines = |line: fn(&str, &str) -> String| {
            let lines: Vec<_> = variables.iter().map(|(name, value)| line(name, value)).collect();
            lines.join("\n")
        };
        let fields = lines(|name, value| format!("  \"{name}\": {}", serde_json::json!(value)));
        Self {
            value: value.to_owned(),
            env: lines(|name, value| format!("{name}={value}")),
            shell: lines(|name, value| format!("export {name}='{}'", value.replace('\'', "'\\''"))),
            json: format!("{{\n{}\n}}", fields.replace('\n', ",\n")),
            python: PYTHON,
        }
    }
}

/// What becomes of the secret before the newest.
fn old_secret(secrets: &[ShownSecret], now: Timestamp) -> Option<String> {
    let (newest, before) = (secrets.first()?, secrets.get(1)?);
    let hint = &before.hint;
    Some(match (newest.life, before.life) {
        (SecretLife::Pending { until, grace_ms }, SecretLife::Current) => format!(
            "The old secret {hint} stays accepted until the new one is used for the first time, and for {} after that. If the \
             new one is not used before {}, it is dropped and the old one stays.",
            duration_words(grace_ms),
            exact(until)
        ),
        (_, SecretLife::Until(end)) if end > now => format!(
            "The old secret {hint} is accepted until {}, and refused from then on. Give the new one to everything that uses \
             this key before that.",
            exact(end)
        ),
        _ => format!("The old secret {hint} is refused from now on, with the very next request."),
    })
}

async fn first_use(visit: Visit, call: Call) -> Result<Response, Refused> {
    let id: KeyId = call.path("key").parse().map_err(|_| Refused::NotFound)?;
    // Keys of other organizations are not found, used or not.
    let (_, secrets) = call.engine().show_key_whole(visit.id(), id).await?;
    let newest = secrets.first().map_or(1, |secret| secret.number);
    let asked = call.query.text("secret").and_then(|text| text.parse().ok());
    reply::page(&part(&visit, &call, id, asked.unwrap_or(newest)).await?)
}

async fn part(visit: &Visit, call: &Call, id: KeyId, number: i64) -> Result<FirstUsePart, Refused> {
    let uses = call.engine().last_uses(visit.id(), &[id]).await;
    let uses = uses.map_err(|error| Refused::from(keyward_engine::EngineError::from(error)))?;
    let secrets = uses
        .get(&id)
        .map(|key| key.secrets.as_slice())
        .unwrap_or_default();
    let found = secrets.iter().find(|secret| secret.number == number);
    Ok(FirstUsePart {
        came: found.map(|found| Came {
            when: since(found.first_used_at, call.now()),
            at: exact(found.first_used_at),
            address: found
                .last
                .as_ref()
                .map_or_else(|| "an unknown address".to_owned(), |last| last.address.clone()),
            client: match &found.last {
                Some(last) if last.client != "(none)" => last.client.clone(),
                _ => "a client without a name".to_owned(),
            },
        }),
    })
}

/// As [`relative`], to the second: whoever waits in front of the page looks at seconds.
fn since(at: Timestamp, now: Timestamp) -> String {
    let ms = now.as_unix_ms().saturating_sub(at.as_unix_ms());
    if !(SECOND_MS..MINUTE_MS).contains(&ms) {
        return relative(at, now);
    }
    let seconds = u64::try_from(ms / SECOND_MS).unwrap_or_default();
    format!("{} ago", counted(seconds, "second", "seconds"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snippets_hold_what_the_client_reads_and_survive_their_shells() {
        let snippets = Snippets::of("https://keys.example.com/it's", "org-1", "dtvi_x");
        assert_eq!(
            snippets.env,
            "DATATURE_VI_API_ENDPOINT=https://keys.example.com/it's\nDATATURE_VI_ORGANIZATION_ID=org-1\nDATATURE_VI_SECRET_KEY=dtvi_x"
        );
        assert!(
            snippets
                .shell
                .contains("DATATURE_VI_API_ENDPOINT='https://keys.example.com/it'\\''s'")
        );
        let json: serde_json::Value = serde_json::from_str(&snippets.json).unwrap();
        assert_eq!(json["DATATURE_VI_SECRET_KEY"], "dtvi_x");
        assert!(!snippets.python.contains("dtvi_"), "no key in code");
    }

    #[test]
    fn it_is_said_what_becomes_of_the_old_secret() {
        let now = Timestamp::from_unix_ms(1_790_000_000_000);
        let secret = |number, life| ShownSecret {
            number,
            life,
            hint: format!("dtvi_{number}"),
            created_at: now,
            ended_at: None,
        };
        let told = |newest, before| old_secret(&[secret(2, newest), secret(1, before)], now).unwrap();
        let ends = now.plus_ms(60 * MINUTE_MS);
        assert!(told(SecretLife::Current, SecretLife::Ended).contains("dtvi_1 is refused from now on"));
        assert!(told(SecretLife::Current, SecretLife::Until(ends)).contains("until 21 Sep 2026, 15:13 UTC"));
        let pending = SecretLife::Pending {
            until: ends,
            grace_ms: MINUTE_MS,
        };
        assert!(told(pending, SecretLife::Current).contains("first time, and for 1 minute after"));
        assert_eq!(old_secret(&[secret(1, SecretLife::Current)], now), None);
    }

    #[test]
    fn whoever_waits_reads_seconds() {
        let now = Timestamp::from_unix_ms(1_790_000_000_000);
        assert_eq!(since(now.plus_ms(-3_100), now), "3 seconds ago");
        assert_eq!(since(now, now), "just now");
        assert_eq!(since(now.plus_ms(-MINUTE_MS), now), "1 minute ago");
    }
}
