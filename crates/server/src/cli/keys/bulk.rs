//! `keyward keys bulk`: delete or pause every key that a filter means, after a look at which these are.
//!
//! The server makes a dry run and then does what it showed and nothing else. A key that appeared or changed in between is left
//! out and named, and the exit code says that not all of it was done.

use std::collections::HashMap;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use http::Method;
use keyward_api::key_bulk::{LeftOutView, OutcomeView, PreviewView};
use keyward_core::state::DeleteReason;
use serde_json::{Map, Value, json};

use super::filter::Filter;
use super::list::key_table;
use super::state::reasons;
use crate::cli::client::{NoAnswer, call};
use crate::cli::org::meant;
use crate::cli::{Surroundings, WrongUsage, output, words};

/// The commands.
#[derive(Subcommand, Debug)]
pub(in crate::cli) enum Bulk {
    /// Delete keys for good
    Delete {
        /// Why
        #[arg(long, value_parser = reasons(), default_value = DeleteReason::Removed.name())]
        reason: String,
        #[command(flatten)]
        which: Box<Which>,
    },
    /// Pause keys until they are resumed
    Pause {
        #[command(flatten)]
        which: Box<Which>,
    },
}

/// To which keys, and how far.
#[derive(Args, Debug)]
#[command(
    after_help = "Every flag narrows; several values of one flag are alternatives, but for --scope. Exit codes: 0 all of it was done, 1 \
                  something was left out or it was stopped half-way (the output says what), 2 wrong usage."
)]
pub(in crate::cli) struct Which {
    /// The organization [default: the only one there is]
    #[arg(long, short, value_name = "ID")]
    organization: Option<String>,
    #[command(flatten)]
    filter: Filter,
    /// These keys
    #[arg(long = "id", value_name = "ID", value_delimiter = ',')]
    ids: Vec<String>,
    /// Every key of the organization
    #[arg(long)]
    every_key: bool,
    /// Show which keys, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long, short, conflicts_with = "dry_run")]
    yes: bool,
}

pub(super) async fn bulk(surroundings: &Surroundings, command: Bulk) -> Result<ExitCode> {
    match command {
        Bulk::Delete { reason, which } => {
            let asked = json!({"action": "delete", "reason": reason.replace('-', "_")});
            run(surroundings, "delete", asked, *which).await
        }
        Bulk::Pause { which } => run(surroundings, "pause", json!({"action": "pause"}), *which).await,
    }
}

async fn run(surroundings: &Surroundings, verb: &str, mut asked: Value, which: Which) -> Result<ExitCode> {
    let target = &surroundings.target;
    let filter = filter_of(which.filter, which.ids, which.every_key)?;
    if let Some(fields) = asked.as_object_mut() {
        fields.insert("filter".to_owned(), filter.into());
    }
    let organization = meant(target, which.organization).await?;
    let path = format!("/v1/organizations/{organization}/keys/bulk");
    let preview: PreviewView = call(target, Method::POST, &format!("{path}/preview"), Some(asked)).await?;
    if which.dry_run && surroundings.is_json {
        output::json(&preview)?;
        return Ok(ExitCode::SUCCESS);
    }
    let named: HashMap<String, String> = preview
        .keys
        .iter()
        .map(|key| (key.id.clone(), key.name.clone()))
        .collect();
    let would = format!(
        "{} would be {verb}d; {} of them used within a day",
        words::keys(preview.count),
        preview.used_within_a_day
    );
    if preview.count > 0 {
        let table = key_table(preview.keys);
        if surroundings.is_json {
            output::note(table.trim_end());
        } else {
            output::data(&table);
        }
    }
    output::note(&would);
    if which.dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    if preview.count > 0 && !which.yes && !output::is_confirmed(&question(verb, preview.count))? {
        return Ok(ExitCode::SUCCESS);
    }
    // Also if there is nothing to do: what fits by now is named then.
    let carried_out = call(target, Method::POST, &path, Some(json!({"token": preview.token}))).await;
    let outcome: OutcomeView = carried_out.map_err(|error: anyhow::Error| {
        if error.is::<NoAnswer>() {
            error.context("what was done shows with the same command and --dry-run: it names what is left")
        } else {
            error
        }
    })?;
    if surroundings.is_json {
        output::json(&outcome)?;
    } else {
        show(&outcome, verb, &named);
    }
    // A key that ended by itself meanwhile needs nothing more.
    let is_done = outcome.complete && outcome.left_out.iter().all(|key| key.why == "ended");
    if let Some(problem) = &outcome.problem {
        output::note(&incomplete(problem));
    }
    Ok(ExitCode::from(u8::from(!is_done)))
}

fn filter_of(filter: Filter, ids: Vec<String>, every_key: bool) -> Result<Map<String, Value>> {
    let mut filter = filter.into_body();
    if !ids.is_empty() {
        filter.insert("ids".to_owned(), ids.into());
    }
    match (filter.is_empty(), every_key) {
        (true, false) => Err(WrongUsage(
            "say which keys, with --tag, --creator, --unused-for or another filter; --every-key means all of the organization"
                .to_owned(),
        )
        .into()),
        (false, true) => Err(WrongUsage(
            "--every-key and a filter do not go together; leave one of them out".to_owned(),
        )
        .into()),
        _ => Ok(filter),
    }
}

fn question(verb: &str, count: usize) -> String {
    let what_follows = if verb == "delete" {
        "Whoever uses one is refused at once, and none comes back."
    } else {
        "Whoever uses one is refused until it is resumed."
    };
    let keys = words::keys(count);
    let act = if verb == "delete" { "Delete" } else { "Pause" };
    format!("{what_follows} {act} these {keys}?")
}

fn show(outcome: &OutcomeView, verb: &str, named: &HashMap<String, String>) {
    output::data(&format!("{} {verb}d\n", words::keys(outcome.done.len())));
    output::note_failover(outcome.survives_failover);
    if outcome.left_out.is_empty() {
        return;
    }
    let rows = outcome.left_out.iter().map(|key| {
        let name = named.get(&key.id).cloned();
        vec![key.id.clone(), name.unwrap_or_default(), why(key).to_owned()]
    });
    output::table(&["LEFT OUT", "NAME", "WHY"], rows.collect());
}

fn why(key: &LeftOutView) -> &str {
    match key.why.as_str() {
        "appeared" => "it fits by now, and was not shown before; run the command again",
        "changed" => "it was changed since it was shown; look at it, and run the command again",
        "ended" => "it ended meanwhile",
        "broken" => "its seals do not open: no request is accepted with it, and it can only be deleted",
        other => other,
    }
}

/// What is said of something that was stopped half-way.
pub(in crate::cli) fn incomplete(problem: &str) -> String {
    format!(
        "it was stopped half-way: {problem}\nWhat was done stays done; run the command again for the rest"
    )
}
