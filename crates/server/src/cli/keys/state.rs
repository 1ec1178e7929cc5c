//! `keyward keys pause`, `resume` and `delete`: whether a key is accepted at all, from the moment the command returns.

use anyhow::Result;
use clap::Args;
use clap::builder::PossibleValuesParser;
use http::Method;
use keyward_api::keys::KeyStateView;
use keyward_core::state::DeleteReason;
use serde_json::{Value, json};

use super::filter::names;
use super::show::{find, told};
use crate::cli::client::call;
use crate::cli::org::segment;
use crate::cli::{Surroundings, output, words};

/// `keyward keys delete`.
#[derive(Args, Debug)]
pub(in crate::cli) struct Delete {
    /// Its id
    id: String,
    /// Why
    #[arg(long, value_parser = reasons(), default_value = DeleteReason::Removed.name())]
    reason: String,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

/// Why a key may be deleted, as a person types it.
pub(super) fn reasons() -> PossibleValuesParser {
    names(DeleteReason::ALL.iter().map(|reason| reason.name()))
}

pub(super) async fn delete(surroundings: &Surroundings, command: Delete) -> Result<()> {
    let Delete { id, reason, yes } = command;
    if !yes {
        let key = find(&surroundings.target, &id).await?.key;
        let question = format!(
            "Delete {}\nWhoever uses it is refused at once, and it never comes back. Delete it?",
            told(&key)
        );
        if !output::is_confirmed(&question)? {
            return Ok(());
        }
    }
    let body = json!({"reason": reason.replace('-', "_")});
    change(surroundings, &id, "delete", Some(body)).await
}

/// Without a question: nothing ends by it, and it may be urgent.
pub(super) async fn pause(surroundings: &Surroundings, id: &str) -> Result<()> {
    change(surroundings, id, "pause", None).await
}

pub(super) async fn resume(surroundings: &Surroundings, id: &str) -> Result<()> {
    change(surroundings, id, "resume", None).await
}

async fn change(surroundings: &Surroundings, id: &str, verb: &str, body: Option<Value>) -> Result<()> {
    let path = format!("/v1/keys/{}/{verb}", segment(id)?);
    let done: KeyStateView = call(&surroundings.target, Method::POST, &path, body).await?;
    if surroundings.is_json {
        return output::json(&done);
    }
    let state = words::state(&done.state, done.state_reason.as_deref());
    let already = if done.changed { "" } else { ", as it was before" };
    output::data(&format!("{} {state}\n", done.id));
    output::note(&format!("the key is {state}{already}; every node knows"));
    output::note_failover(done.survives_failover);
    Ok(())
}
