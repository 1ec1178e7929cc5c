//! `keyward stop` and `keyward org resume`: the emergency stop and its end.
//!
//! A stop pauses and ends nothing, so that it can be used before anybody is sure. Of a whole organization it is one change, and
//! every key of it counts as paused; by a filter, each key that fits is paused.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use http::Method;
use keyward_api::key_bulk::StoppedView;
use keyward_api::keys::KeyView;
use keyward_api::organizations::OrganizationStateView;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::client::{call, call_for_all};
use super::keys::{incomplete, key_table, query_of};
use super::org::{meant, segment};
use super::{Surroundings, WrongUsage, output, words};

/// `keyward stop`.
#[derive(Args, Debug)]
#[command(
    after_help = "With --organization alone the whole organization is stopped, until `keyward org resume ID`. With an environment, \
                  tag or creator the keys that fit are paused, each until `keyward keys resume ID`; every flag narrows. Exit \
                  codes: 0 stopped, 1 refused, failed or stopped half-way, 2 wrong usage, 3 no server."
)]
pub(super) struct Stop {
    /// The organization
    #[arg(long, short, value_name = "ID")]
    organization: Option<String>,
    /// Only keys of these environments: production, staging, development, ci-cd, none
    #[arg(long, value_name = "ENVIRONMENT", value_delimiter = ',')]
    environment: Vec<String>,
    /// Only keys with one of these tags
    #[arg(long, value_name = "TAG", value_delimiter = ',')]
    tag: Vec<String>,
    /// Only keys made by one of these: `person/ID`, `token/ID`, `local_administrator`
    #[arg(long, value_name = "CREATOR", value_delimiter = ',')]
    creator: Vec<String>,
    /// Every organization of this installation
    #[arg(long, conflicts_with_all = ["organization", "environment", "tag", "creator"])]
    all: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

/// What the stop of every organization did.
#[derive(Serialize, Deserialize)]
struct StoppedAll {
    organizations: Vec<OrganizationStateView>,
}

pub(super) async fn stop(surroundings: &Surroundings, command: Stop) -> Result<ExitCode> {
    if command.all {
        return stop_all(surroundings, command.yes).await;
    }
    let mut filter = Map::new();
    let environments = command.environment.iter().map(|name| name.replace('-', "_"));
    let parts = [
        ("environment", environments.collect()),
        ("tag", command.tag),
        ("creator", command.creator),
    ];
    for (name, values) in parts {
        let values: Vec<String> = values;
        if !values.is_empty() {
            filter.insert(name.to_owned(), values.into());
        }
    }
    match (command.organization, filter.is_empty()) {
        (None, true) => Err(WrongUsage(
            "say what to stop: --organization ID, --tag, --environment, --creator, or --all for every organization".to_owned(),
        )
        .into()),
        (Some(organization), true) => stop_organization(surroundings, &organization, command.yes).await,
        (organization, false) => stop_keys(surroundings, organization, filter, command.yes).await,
    }
}

async fn stop_all(surroundings: &Surroundings, yes: bool) -> Result<ExitCode> {
    let question = "Every key of every organization of this installation is refused until `keyward org resume ID`. Stop \
                    everything?";
    if !yes && !output::is_confirmed(question)? {
        return Ok(ExitCode::SUCCESS);
    }
    let stopped: StoppedAll = call(&surroundings.target, Method::POST, "/v1/stop", None).await?;
    if surroundings.is_json {
        output::json(&stopped)?;
        return Ok(ExitCode::SUCCESS);
    }
    for organization in &stopped.organizations {
        output::data(&format!("{} {}\n", organization.id, organization.state));
    }
    output::note("no key is accepted any more; each organization goes on with `keyward org resume ID`");
    let mut survive = stopped
        .organizations
        .iter()
        .filter_map(|organization| organization.survives_failover);
    output::note_failover(Some(survive.all(|one| one)));
    Ok(ExitCode::SUCCESS)
}

async fn stop_organization(surroundings: &Surroundings, organization: &str, yes: bool) -> Result<ExitCode> {
    let organization = segment(organization)?;
    let question = format!(
        "Every key of {organization} is refused until `keyward org resume {organization}`. Stop the whole organization?"
    );
    if !yes && !output::is_confirmed(&question)? {
        return Ok(ExitCode::SUCCESS);
    }
    let stopped = send(surroundings, &organization, None).await?;
    if surroundings.is_json {
        output::json(&stopped)?;
    } else {
        output::data(&format!("{organization} stopped\n"));
        output::note(&format!(
            "no key of the organization is accepted any more; it goes on with `keyward org resume {organization}`"
        ));
        output::note_failover(stopped.survives_failover);
    }
    Ok(ExitCode::from(u8::from(!stopped.complete)))
}

async fn stop_keys(
    surroundings: &Surroundings,
    organization: Option<String>,
    filter: Map<String, Value>,
    yes: bool,
) -> Result<ExitCode> {
    let target = &surroundings.target;
    let organization = meant(target, organization).await?;
    if !yes {
        let mut asked = filter.clone();
        asked.insert("state".to_owned(), json!(["active"]));
        let path = format!("/v1/organizations/{organization}/keys?{}", query_of(&asked));
        let meant: Vec<KeyView> = call_for_all(target, &path).await?;
        let question = format!(
            "Whoever uses one is refused until it is resumed. Pause {}?",
            words::keys(meant.len())
        );
        output::note(key_table(meant).trim_end());
        if !output::is_confirmed(&question)? {
            return Ok(ExitCode::SUCCESS);
        }
    }
    let stopped = send(surroundings, &organization, Some(filter)).await?;
    if surroundings.is_json {
        output::json(&stopped)?;
    } else {
        for id in &stopped.paused {
            output::data(&format!("{id} paused\n"));
        }
        output::note(&format!(
            "{} paused now, and no other active key fits; each goes on with `keyward keys resume ID`",
            words::keys(stopped.paused.len())
        ));
    }
    if !stopped.broken.is_empty() {
        output::note(&format!(
            "the seals of {} do not open ({}): no request is accepted with them, and they can only be deleted",
            words::keys(stopped.broken.len()),
            stopped.broken.join(", ")
        ));
    }
    output::note_failover(stopped.survives_failover);
    if let Some(problem) = &stopped.problem {
        output::note(&incomplete(problem));
    }
    Ok(ExitCode::from(u8::from(!stopped.complete)))
}

async fn send(
    surroundings: &Surroundings,
    organization: &str,
    filter: Option<Map<String, Value>>,
) -> Result<StoppedView> {
    let path = format!("/v1/organizations/{organization}/stop");
    let body = filter.map(|filter| json!({"filter": filter}));
    call(&surroundings.target, Method::POST, &path, body).await
}

/// `keyward org resume`: the end of an organization's stop.
pub(super) async fn resume_organization(surroundings: &Surroundings, id: &str) -> Result<()> {
    let path = format!("/v1/organizations/{}/resume", segment(id)?);
    let done: OrganizationStateView = call(&surroundings.target, Method::POST, &path, None).await?;
    if surroundings.is_json {
        return output::json(&done);
    }
    output::data(&format!("{} {}\n", done.id, done.state));
    let already = if done.changed { "" } else { ", as it was before" };
    output::note(&format!(
        "the organization is {}{already}; keys that were paused one by one stay paused",
        done.state
    ));
    output::note_failover(done.survives_failover);
    Ok(())
}
