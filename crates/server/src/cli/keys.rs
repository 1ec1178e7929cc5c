//! `keyward keys`: create, list, show, delete and resume secret keys.

use anyhow::{Context as _, Result};
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand, ValueEnum};
use http::Method;
use keyward_api::keys::{CreatedKeyView, KeyStateView, KeyView, RateLimitView};
use keyward_core::key_text::{KeyText, Prefix};
use keyward_core::state::DeleteReason;
use keyward_core::time::{SECOND_MS, duration_words, parse_duration_ms};
use keyward_http::management::ListView;
use serde_json::{Map, Value, json};

use super::Surroundings;
use super::client::{Target, call, call_for_all};
use super::org::{self, meant, segment};
use super::output;

/// The commands.
#[derive(Subcommand, Debug)]
pub(super) enum Keys {
    /// Create a key and print its value, this once
    Create(Box<Create>),
    /// List an organization's keys, deleted ones included
    List {
        /// The organization [default: the only one there is]
        #[arg(long, short, value_name = "ID")]
        organization: Option<String>,
    },
    /// Show one key
    Show {
        /// Its id
        id: String,
    },
    /// Find a key by its pasted value or its first characters; the value is not sent anywhere
    Find {
        /// The value, its first characters, or a hint such as `dtvi_MmQxNz...E5Nw`; `-` reads it from standard input, so
        /// that it stays out of the shell's history
        text: String,
        /// Only this organization's keys [default: all]
        #[arg(long, short, value_name = "ID")]
        organization: Option<String>,
    },
    /// Delete a key for good; it is refused from the moment this returns
    Delete {
        /// Its id
        id: String,
        /// Why
        #[arg(long, value_parser = reasons(), default_value = DeleteReason::Removed.name())]
        reason: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Resume a paused key, or let go of one that a restore left held
    Resume {
        /// Its id
        id: String,
    },
}

/// What a new key is to be.
#[derive(Args, Debug)]
pub(super) struct Create {
    /// What people call it; need not be unique
    #[arg(long)]
    name: String,
    /// The organization [default: the only one there is]
    #[arg(long, short, value_name = "ID")]
    organization: Option<String>,
    /// Which parts of the platform it may enter, separated by commas [default: all three, or the environment's preset]
    #[arg(long, value_name = "SCOPES", value_delimiter = ',')]
    scopes: Option<Vec<String>>,
    /// How much it may do there: full, read-only, labeler-only or restricted [default: full, or the environment's preset]
    #[arg(long, value_name = "LEVEL")]
    level: Option<String>,
    /// A rule of a restricted key, `OPERATIONS@RESOURCES`: `dataset.read,annotation.*@dataset/abc`; can be given again
    #[arg(long = "rule", value_name = "RULE")]
    rules: Vec<String>,
    /// When it ends, from now: `30m`, `12h`, `90d` [default: never]
    #[arg(long, value_name = "DURATION", conflicts_with = "expires_at")]
    expires_in: Option<String>,
    /// When it ends: `2027-01-31T12:00:00Z`
    #[arg(long, value_name = "MOMENT")]
    expires_at: Option<String>,
    /// From when on it is accepted
    #[arg(long, value_name = "MOMENT")]
    not_before: Option<String>,
    /// Networks that it may be used from, separated by commas [default: anywhere]
    #[arg(long, value_name = "NETWORKS", value_delimiter = ',')]
    allowed_addresses: Option<Vec<String>>,
    /// How often it may be used: so many requests at once, and all of them back after this time [default: unlimited]
    #[arg(long, value_name = "REQUESTS/TIME", value_parser = rate_of)]
    rate_limit: Option<RateLimitView>,
    /// Where it is used: production, staging, development or ci-cd (for which the scopes have to be named) [default: none]
    #[arg(long, value_name = "ENVIRONMENT")]
    environment: Option<String>,
    /// A longer text
    #[arg(long, default_value = "")]
    description: String,
    /// Print only this form of the value
    #[arg(long, value_enum)]
    snippet: Option<Snippet>,
}

/// The forms in which a value is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Snippet {
    /// Lines for a `.env` file
    Env,
    /// `export` lines for a shell
    Shell,
    /// The official client's configuration file
    Json,
}

/// Why a key may be deleted, as a person types it.
fn reasons() -> PossibleValuesParser {
    PossibleValuesParser::new(
        DeleteReason::ALL
            .iter()
            .map(|reason| reason.name().replace('_', "-")),
    )
}

/// `100/60s`, as a person types it; how much is too much, the server says.
fn rate_of(text: &str) -> Result<RateLimitView, String> {
    let parts = text.split_once('/');
    let parts = parts.and_then(|(requests, time)| {
        let ms = parse_duration_ms(time).ok().filter(|ms| ms % SECOND_MS == 0)?;
        Some(RateLimitView {
            requests: requests.parse().ok()?,
            per_seconds: u32::try_from(ms / SECOND_MS).ok()?,
        })
    });
    parts.ok_or_else(|| {
        "is a number of requests and a time in whole seconds, such as `100/60s` or `5000/1h`".to_owned()
    })
}

pub(super) async fn run(surroundings: &Surroundings, command: Keys) -> Result<()> {
    let target = &surroundings.target;
    match command {
        Keys::Create(new) => create(surroundings, *new).await,
        Keys::List { organization } => list(surroundings, organization).await,
        Keys::Show { id } => {
            let key = find(target, &id).await?;
            if surroundings.is_json {
                return output::json(&key);
            }
            show(key);
            Ok(())
        }
        Keys::Find { text, organization } => look_for(surroundings, text, organization).await,
        Keys::Delete { id, reason, yes } => {
            if !yes {
                let key = find(target, &id).await?;
                let question = format!(
                    "Delete `{}` ({}) of {}? Whoever uses it is refused at once, and it never comes back.",
                    key.name, key.hint, key.organization_id
                );
                if !output::confirm(&question)? {
                    output::note("nothing was changed");
                    return Ok(());
                }
            }
            change(surroundings, &id, "delete", json!({"reason": reason})).await
        }
        Keys::Resume { id } => change(surroundings, &id, "resume", json!({})).await,
    }
}

async fn find(target: &Target, id: &str) -> Result<KeyView> {
    call(target, Method::GET, &format!("/v1/keys/{}", segment(id)?), None).await
}

async fn change(surroundings: &Surroundings, id: &str, verb: &str, body: Value) -> Result<()> {
    let path = format!("/v1/keys/{}/{verb}", segment(id)?);
    let done: KeyStateView = call(&surroundings.target, Method::POST, &path, Some(body)).await?;
    if surroundings.is_json {
        return output::json(&done);
    }
    let reason = done
        .state_reason
        .map(|reason| format!(" ({})", reason.replace('_', " ")))
        .unwrap_or_default();
    let already = if done.changed { "" } else { ", as it was before" };
    output::data(&format!("{} {}{reason}\n", done.id, done.state));
    output::note(&format!(
        "the key is {}{reason}{already}; every node knows",
        done.state
    ));
    Ok(())
}

async fn create(surroundings: &Surroundings, new: Create) -> Result<()> {
    let target = &surroundings.target;
    let organization = meant(target, new.organization).await?;
    let mut body = Map::new();
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(name.to_owned(), value);
        }
    };
    set("name", Some(new.name.into()));
    set("description", Some(new.description.into()));
    set("scopes", new.scopes.map(trimmed));
    set("level", new.level.map(Value::from));
    set("environment", new.environment.map(Value::from));
    set("expires_in", new.expires_in.map(Value::from));
    set("expires_at", new.expires_at.map(Value::from));
    set("not_before", new.not_before.map(Value::from));
    set("allowed_addresses", new.allowed_addresses.map(trimmed));
    let rate_limit = new
        .rate_limit
        .map(|limit| json!({"requests": limit.requests, "per_seconds": limit.per_seconds}));
    set("rate_limit", rate_limit);
    let rules = new
        .rules
        .iter()
        .map(|rule| rule_of(rule))
        .collect::<Result<Vec<_>>>()?;
    set("rules", (!rules.is_empty()).then(|| rules.into()));
    let path = format!("/v1/organizations/{organization}/keys");
    let created: CreatedKeyView = call(target, Method::POST, &path, Some(body.into())).await?;
    if surroundings.is_json {
        return output::json(&created);
    }
    match new.snippet {
        Some(form) => output::data(&form.of(&created)),
        None => {
            let headed = [
                ("# for a .env file", Snippet::Env),
                ("\n# for a shell", Snippet::Shell),
                ("\n# for vi.Client(config_file=...)", Snippet::Json),
            ];
            for (heading, form) in headed {
                output::data(&format!("{heading}\n{}", form.of(&created)));
            }
        }
    }
    let key = &created.key;
    output::note(&format!(
        "\ncreated `{}` ({}): {} on {}{}\nThe value is shown this once and kept nowhere: put it where your program reads it, like a password.",
        key.name,
        key.id,
        key.level.replace('_', " "),
        key.scopes.join(", "),
        key.expires_at
            .as_ref()
            .map(|end| format!(", until {end}"))
            .unwrap_or_default(),
    ));
    Ok(())
}

fn trimmed(texts: Vec<String>) -> Value {
    texts.into_iter().map(|text| text.trim().to_owned()).collect()
}

fn rule_of(text: &str) -> Result<Value> {
    let Some((operations, resources)) = text.split_once('@') else {
        anyhow::bail!("the rule `{text}` must be OPERATIONS@RESOURCES, such as `dataset.read@dataset/abc`");
    };
    let list = |text: &str| -> Vec<String> { text.split(',').map(|entry| entry.trim().to_owned()).collect() };
    Ok(json!({"operations": list(operations), "resources": list(resources)}))
}

impl Snippet {
    fn of(self, created: &CreatedKeyView) -> String {
        let lines = [
            ("DATATURE_VI_API_ENDPOINT", created.endpoint.as_str()),
            (
                "DATATURE_VI_ORGANIZATION_ID",
                created.key.organization_id.as_str(),
            ),
            (
                "DATATURE_VI_SECRET_KEY",
                created.value.as_deref().unwrap_or_default(),
            ),
        ];
        let each = |lead: &str| {
            lines
                .map(|(name, value)| format!("{lead}{name}={value}\n"))
                .concat()
        };
        match self {
            Self::Env => each(""),
            Self::Shell => each("export "),
            Self::Json => {
                let file =
                    json!({"secret_key": created.value, "organization_id": created.key.organization_id});
                format!("{file}\n")
            }
        }
    }
}

async fn look_for(surroundings: &Surroundings, text: String, organization: Option<String>) -> Result<()> {
    let target = &surroundings.target;
    let text = if text == "-" {
        let mut line = String::new();
        std::io::stdin()
            .read_line(&mut line)
            .context("could not read standard input")?;
        line
    } else {
        text
    };
    let organizations = match organization {
        Some(id) => vec![segment(&id)?],
        None => org::reachable(target).await?,
    };
    let mut items = Vec::new();
    for organization in organizations {
        let keys = of_organization(target, &organization).await?;
        items.extend(keys.into_iter().filter(|key| is_meant(key, text.trim())));
    }
    if items.is_empty() && !surroundings.is_json {
        anyhow::bail!(
            "no key of this server is meant by that; give the whole value, or at least its first 11 characters"
        );
    }
    show_list(surroundings, items)
}

/// Whether `text` is the key's value, a beginning of it as long as the hint's head, or the hint. A whole value is told by the
/// key's id in it; nothing is said of its secret.
fn is_meant(key: &KeyView, text: &str) -> bool {
    if let Ok(pasted) = KeyText::parse(text, &Prefix::dtvi()) {
        return pasted.id().as_str() == key.id;
    }
    let Some((head, tail)) = key.hint.split_once("...") else {
        return false;
    };
    match text.split_once("...") {
        Some((text, end)) => text == head && (end.is_empty() || end == tail),
        // A value that was cut or damaged further on still begins like itself.
        None => text.starts_with(head),
    }
}

async fn of_organization(target: &Target, organization: &str) -> Result<Vec<KeyView>> {
    call_for_all(target, &format!("/v1/organizations/{organization}/keys")).await
}

async fn list(surroundings: &Surroundings, organization: Option<String>) -> Result<()> {
    let target = &surroundings.target;
    let organization = meant(target, organization).await?;
    let items = of_organization(target, &organization).await?;
    if items.is_empty() && !surroundings.is_json {
        output::note(&format!(
            "{organization} has no keys yet. A key lets a program in without a person: make one with\n  keyward keys \
             create --organization {organization} --name \"My key\""
        ));
        return Ok(());
    }
    show_list(surroundings, items)
}

fn show_list(surroundings: &Surroundings, items: Vec<KeyView>) -> Result<()> {
    if surroundings.is_json {
        return output::json(&ListView { items, next: None });
    }
    let rows = items.into_iter().map(|key| {
        vec![
            key.name,
            key.id,
            state_of(&key.state, key.state_reason.as_deref()),
            key.scopes.join(","),
            key.level.replace('_', " "),
            key.expires_at.unwrap_or_else(|| "never".to_owned()),
            key.hint,
            key.created_at,
        ]
    });
    let header = [
        "NAME",
        "ID",
        "STATE",
        "ACCESS",
        "PERMISSION",
        "EXPIRES",
        "HINT",
        "CREATED",
    ];
    output::table(&header, rows.collect());
    Ok(())
}

fn show(key: KeyView) {
    let rules = key
        .rules
        .iter()
        .map(|rule| format!("{}@{}", rule.operations.join(","), rule.resources.join(",")));
    let rules: Vec<String> = rules.collect();
    let mut facts = vec![
        ("Name", key.name),
        ("Id", key.id),
        ("Organization", key.organization_id),
        ("State", state_of(&key.state, key.state_reason.as_deref())),
        ("Access", key.scopes.join(", ")),
        ("Permission", key.level.replace('_', " ")),
    ];
    facts.extend(rules.into_iter().map(|rule| ("Rule", rule)));
    facts.extend([
        (
            "Environment",
            key.environment.unwrap_or_else(|| "none".to_owned()),
        ),
        (
            "Accepted from",
            key.not_before.unwrap_or_else(|| "its creation".to_owned()),
        ),
        ("Expires", key.expires_at.unwrap_or_else(|| "never".to_owned())),
        (
            "Addresses",
            key.allowed_addresses
                .map_or_else(|| "any".to_owned(), |list| list.join(", ")),
        ),
        (
            "Rate limit",
            key.rate_limit.map_or_else(
                || "none".to_owned(),
                |limit| {
                    let period = duration_words(i64::from(limit.per_seconds) * SECOND_MS);
                    format!("{} requests in {period}", limit.requests)
                },
            ),
        ),
        ("Hint", key.hint),
        ("Created by", key.created_by),
        ("Created", key.created_at),
        ("Changed", key.updated_at),
    ]);
    facts.extend(key.deleted_at.map(|at| ("Deleted", at)));
    if !key.description.is_empty() {
        facts.push(("Description", key.description));
    }
    output::facts(&facts);
}

fn state_of(state: &str, reason: Option<&str>) -> String {
    match reason {
        Some(reason) => format!("{state} ({})", reason.replace('_', " ")),
        None => state.to_owned(),
    }
}
