//! `keyward keys rotate` and `keyward keys rotation`: a new secret for a key, and the end of the old one.

use anyhow::Result;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{Args, Subcommand};
use http::Method;
use keyward_api::key_rotation::{MODES, RotatedKeyView};
use keyward_api::keys::{KeyDetailView, KeyView, SecretView};
use serde_json::{Map, Value};

use super::filter::names;
use super::show::{find, show_secrets, state_words, told};
use super::value::{NewValue, SHOWN_ONCE, Snippet};
use super::watch::{Lines, watch};
use crate::cli::client::call;
use crate::cli::once::{call_once, idempotency_key};
use crate::cli::org::segment;
use crate::cli::{Surroundings, output, words};
use crate::clock;

/// `keyward keys rotate`.
#[derive(Args, Debug)]
#[command(
    after_help = "Modes: `overlap` accepts both secrets for a time, so that programs can be moved one after the other; \
                  `on-first-use` keeps the old one until the new one is used, and for a grace after that; `immediate` refuses the \
                  old one at once."
)]
pub(in crate::cli) struct Rotate {
    /// The key's id
    id: String,
    /// What becomes of the old secret
    #[arg(long, value_parser = modes(), default_value = "overlap")]
    mode: String,
    /// With overlap: for how long the old secret is accepted [default: 24h]
    #[arg(long, value_name = "DURATION", conflicts_with = "until")]
    overlap: Option<String>,
    /// With overlap: until when the old secret is accepted
    #[arg(long, value_name = "MOMENT")]
    until: Option<String>,
    /// With on-first-use: for how long the old secret is accepted after the first use of the new one [default: 24h]
    #[arg(long, value_name = "DURATION")]
    grace: Option<String>,
    /// Follow who still uses the old secret, until it ended
    #[arg(long)]
    watch: bool,
    /// Print only this form of the new value
    #[arg(long, value_enum)]
    snippet: Option<Snippet>,
    /// Makes a repetition of this command make nothing twice: at least 22 random characters [default: drawn]
    #[arg(long, value_name = "TEXT", value_parser = idempotency_key)]
    idempotency_key: Option<String>,
    /// Do not ask before the old secret ends at once
    #[arg(long, short)]
    yes: bool,
}

/// A rotation that is under way.
#[derive(Subcommand, Debug)]
pub(in crate::cli) enum Rotation {
    /// Follow who still uses the old secret, until it ended
    Watch {
        /// The key's id
        id: String,
    },
    /// End the old secret now
    Finish {
        /// The key's id
        id: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// End the new secret and go on with the old one
    Cancel {
        /// The key's id
        id: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

fn modes() -> impl clap::builder::TypedValueParser<Value = String> {
    let typed: PossibleValuesParser = names(MODES);
    typed.map(|mode| mode.replace('-', "_"))
}

pub(super) async fn rotate(surroundings: &Surroundings, command: Rotate) -> Result<()> {
    let target = &surroundings.target;
    if command.mode == "immediate" && !command.yes {
        let question = format!(
            "Rotate {}\nWhoever uses the secret that it has now is refused at once; with `--mode overlap` both are accepted for a \
             time. Rotate it?",
            told(&find(target, &command.id).await?.key)
        );
        if !output::is_confirmed(&question)? {
            return Ok(());
        }
    }
    let mut body = Map::new();
    body.insert("mode".to_owned(), command.mode.into());
    let spans = [
        ("overlap", command.overlap),
        ("until", command.until),
        ("grace", command.grace),
    ];
    for (field, value) in spans {
        body.extend(value.map(|value| (field.to_owned(), value.into())));
    }
    let path = format!("/v1/keys/{}/rotate", segment(&command.id)?);
    let rotated: RotatedKeyView =
        call_once(target, &path, &Value::from(body), command.idempotency_key).await?;
    let key = &rotated.key.key;
    let value = NewValue {
        endpoint: &rotated.endpoint,
        organization_id: &key.organization_id,
        value: rotated.value.as_deref(),
        key_id: &key.id,
    };
    if surroundings.is_json {
        output::json(&rotated)?;
        value.present()?;
    } else {
        value.print(command.snippet)?;
        output::note(&format!("\n{}\n{SHOWN_ONCE}", what_follows(&rotated.key)));
        output::note_failover(rotated.key.survives_failover);
    }
    if command.watch {
        // What was printed so far may be on its way into a file.
        watch(surroundings, &key.id, Lines::Notes).await?;
    }
    Ok(())
}

/// What becomes of the old secret of a key that was just rotated.
fn what_follows(rotated: &KeyDetailView) -> String {
    let key = &rotated.key;
    let named = format!("rotated `{}` ({})", key.name, key.id);
    let of_state = |state: &str| rotated.secrets.iter().find(|secret| secret.state == state);
    let end_it = format!(
        "Who still uses it: `keyward keys rotation watch {id}`. To end it now: `keyward keys rotation finish {id}`.",
        id = key.id
    );
    if let Some(new) = of_state("pending") {
        let dropped = new.ends_at.as_deref().unwrap_or_default();
        return format!(
            "{named}: the old secret is accepted until the new one is used, and for the grace after that; a new one that nobody \
             uses is dropped at {dropped}. {end_it}"
        );
    }
    match of_state("until").and_then(|old| old.ends_at.as_deref()) {
        Some(end) => format!("{named}: the old secret is accepted until {end}. {end_it}"),
        None => format!("{named}: the old secret is refused from now on."),
    }
}

pub(super) async fn rotation(surroundings: &Surroundings, command: Rotation) -> Result<()> {
    match command {
        Rotation::Watch { id } => {
            let key = watch(surroundings, &id, Lines::of(surroundings)).await?;
            if surroundings.is_json {
                return output::json(&key);
            }
            Ok(())
        }
        Rotation::Finish { id, yes } => end(surroundings, &id, "finish", yes).await,
        Rotation::Cancel { id, yes } => end(surroundings, &id, "cancel", yes).await,
    }
}

async fn end(surroundings: &Surroundings, id: &str, verb: &str, yes: bool) -> Result<()> {
    let target = &surroundings.target;
    if !yes {
        let before = find(target, id).await?;
        if let Some(ending) = ending(&before, verb)
            && !output::is_confirmed(&question(&before.key, ending))?
        {
            return Ok(());
        }
    }
    let path = format!("/v1/keys/{}/rotation/{verb}", segment(id)?);
    let after: KeyDetailView = call(target, Method::POST, &path, None).await?;
    if surroundings.is_json {
        return output::json(&after);
    }
    let current = after.secrets.iter().find(|secret| secret.state == "current");
    let accepted = current.map_or_else(
        || "no secret is accepted".to_owned(),
        |secret| format!("only secret {} ({}) is accepted", secret.number, secret.hint),
    );
    output::note(&format!(
        "`{}` ({}): {accepted} from now on",
        after.key.name, after.key.id
    ));
    show_secrets(after.secrets);
    output::note_failover(after.survives_failover);
    Ok(())
}

/// The secret that a rotation's end refuses: the older of two that live, or with `cancel` the newer.
fn ending<'a>(key: &'a KeyDetailView, verb: &str) -> Option<&'a SecretView> {
    let living = || key.secrets.iter().filter(|secret| secret.state != "ended");
    if living().count() < 2 {
        return None;
    }
    if verb == "cancel" {
        living().max_by_key(|secret| secret.number)
    } else {
        living().min_by_key(|secret| secret.number)
    }
}

fn question(key: &KeyView, ending: &SecretView) -> String {
    let used = match ending.last_used_at.as_deref() {
        None => "It was never used.".to_owned(),
        at => format!("It was last used {}.", words::ago(at, clock::now())),
    };
    format!(
        "End secret {} ({}, {}) of `{}`. {used}\nWhoever uses it is refused at once. End it?",
        ending.number,
        ending.hint,
        state_words(&ending.state),
        key.name
    )
}
