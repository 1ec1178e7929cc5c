//! `keyward keys create`: a new key and its value.

use anyhow::Result;
use clap::Args;
use keyward_api::keys::{CreatedKeyView, KeyView};
use serde_json::Value;

use super::fields::KeyFields;
use super::value::{NewValue, SHOWN_ONCE, Snippet};
use crate::cli::once::{call_once, idempotency_key};
use crate::cli::org::meant;
use crate::cli::{Surroundings, output};

/// What a new key is to be.
#[derive(Args, Debug)]
#[command(
    after_help = "What is left out: scopes, level and schedule are what the environment proposes; without an environment the key \
                  may enter all three scopes with the level full, or restricted with rules. With ci-cd the scopes have to be \
                  named. Without an expiry it does not end by itself."
)]
pub(in crate::cli) struct Create {
    /// What people call it; need not be unique
    #[arg(long)]
    name: String,
    /// The organization [default: the only one there is]
    #[arg(long, short, value_name = "ID")]
    organization: Option<String>,
    #[command(flatten)]
    fields: KeyFields,
    /// Print only this form of the value
    #[arg(long, value_enum)]
    snippet: Option<Snippet>,
    /// Makes a repetition of this command make nothing twice: at least 22 random characters [default: drawn]
    #[arg(long, value_name = "TEXT", value_parser = idempotency_key)]
    idempotency_key: Option<String>,
}

pub(super) async fn create(surroundings: &Surroundings, new: Create) -> Result<()> {
    let target = &surroundings.target;
    let mut body = new.fields.into_body()?;
    body.insert("name".to_owned(), new.name.into());
    let organization = meant(target, new.organization).await?;
    let path = format!("/v1/organizations/{organization}/keys");
    let created: CreatedKeyView = call_once(target, &path, &Value::from(body), new.idempotency_key).await?;
    show_created(surroundings, &created, new.snippet, "created")
}

/// A key that was made, with its value.
pub(super) fn show_created(
    surroundings: &Surroundings,
    created: &CreatedKeyView,
    form: Option<Snippet>,
    verb: &str,
) -> Result<()> {
    let key = &created.key;
    let value = NewValue {
        endpoint: &created.endpoint,
        organization_id: &key.organization_id,
        value: created.value.as_deref(),
        key_id: &key.id,
    };
    if surroundings.is_json {
        output::json(created)?;
        return value.present().map(|_| ());
    }
    value.print(form)?;
    output::note(&format!(
        "\n{verb} `{}` ({}): {}\n{SHOWN_ONCE}",
        key.name,
        key.id,
        summary(key)
    ));
    output::note_failover(created.survives_failover);
    Ok(())
}

/// What a key may do and until when, in a line.
fn summary(key: &KeyView) -> String {
    let mut words = format!("{} on {}", key.level.replace('_', " "), key.scopes.join(", "));
    if let Some(end) = &key.expires_at {
        words.push_str(&format!(", until {end}"));
    }
    if let (Some(every), Some(due)) = (&key.rotate_every, &key.rotation_due_at) {
        words.push_str(&format!(", to be rotated every {every}, first by {due}"));
    }
    words
}
