//! `keyward explain`: could this key do that, and what decides it. Nothing is done, and nothing counts as a use of the key.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use http::Method;
use keyward_api::key_explain::ExplanationView;
use serde_json::{Map, Value};

use super::client::call;
use super::keys::{id_of, pasted};
use super::{REFUSED_EXIT_CODE, Surroundings, output};

/// The question.
#[derive(Args, Debug)]
#[command(
    after_help = "Exit codes: 0 answered, whatever the answer is, 1 refused or failed, 2 wrong usage, 3 no server; with --exit-code \
                  4 if the key could not do it."
)]
pub(super) struct Explain {
    /// The key's id, or its value, of which only the id is sent; `-` reads it from standard input
    key: String,
    /// What it would do, such as `dataset.read` [default: whether it is accepted at all]
    #[arg(long)]
    operation: Option<String>,
    /// To what: `dataset/abc`, `dataset/*` for a new one, `dataset` for the list [default: the organization]
    #[arg(long, requires = "operation")]
    resource: Option<String>,
    /// From which address [default: an unknown one]
    #[arg(long, value_name = "IP")]
    address: Option<String>,
    /// When: `2027-01-31T12:00:00Z` [default: now]
    #[arg(long, value_name = "MOMENT")]
    at: Option<String>,
    /// End with the exit code 4 if the key could not do it
    #[arg(long)]
    exit_code: bool,
}

pub(super) async fn explain(surroundings: &Surroundings, command: Explain) -> Result<ExitCode> {
    let Some(id) = id_of(&pasted(command.key)?) else {
        bail!(
            "that is no id of a key and no value; `keyward keys find` looks for the key of a part of a value"
        );
    };
    let asked = [
        ("operation", command.operation),
        ("resource", command.resource),
        ("address", command.address),
        ("at", command.at),
    ];
    let asked = asked
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.into())));
    let body = Value::from(asked.collect::<Map<_, _>>());
    let path = format!("/v1/keys/{id}/explain");
    let answer: ExplanationView = call(&surroundings.target, Method::POST, &path, Some(body)).await?;
    let is_refused = !answer.allowed;
    if surroundings.is_json {
        output::json(&answer)?;
    } else {
        output::facts(&[
            (
                "Answer",
                if is_refused { "refused" } else { "allowed" }.to_owned(),
            ),
            ("Code", answer.code),
            ("Decided by", answer.decided_by),
            ("Why", answer.message),
        ]);
    }
    Ok(if is_refused && command.exit_code {
        ExitCode::from(REFUSED_EXIT_CODE)
    } else {
        ExitCode::SUCCESS
    })
}
