//! `keyward keys replace`: a key whose value leaked ends, and a copy of it takes its place, in one step.

use anyhow::Result;
use clap::Args;
use keyward_api::keys::CreatedKeyView;
use serde_json::Value;

use super::create::show_created;
use super::edit::Changes;
use super::show::{find, told};
use super::value::Snippet;
use crate::cli::once::{call_once, idempotency_key};
use crate::cli::org::segment;
use crate::cli::{Surroundings, output};

/// Which key, and what is to be different about the copy.
#[derive(Args, Debug)]
pub(in crate::cli) struct Replace {
    /// The id of the key that ends
    id: String,
    #[command(flatten)]
    changes: Changes,
    /// Print only this form of the new value
    #[arg(long, value_enum)]
    snippet: Option<Snippet>,
    /// Makes a repetition of this command make nothing twice: at least 22 random characters [default: drawn]
    #[arg(long, value_name = "TEXT", value_parser = idempotency_key)]
    idempotency_key: Option<String>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

pub(super) async fn replace(surroundings: &Surroundings, command: Replace) -> Result<()> {
    let target = &surroundings.target;
    let old = find(target, &command.id).await?.key;
    if !command.yes {
        let question = format!(
            "Replace {}\nIt is deleted as compromised: whoever uses it is refused at once, and it never comes back. A copy with \
             another value takes its place. Replace it?",
            told(&old)
        );
        if !output::is_confirmed(&question)? {
            return Ok(());
        }
    }
    let body = command.changes.into_body(&old)?;
    let path = format!("/v1/keys/{}/replace", segment(&command.id)?);
    let created: CreatedKeyView =
        call_once(target, &path, &Value::from(body), command.idempotency_key).await?;
    show_created(
        surroundings,
        &created,
        command.snippet,
        &format!("deleted {} as compromised, and made", old.id),
    )
}
