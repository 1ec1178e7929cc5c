//! What is done to many secret keys: dry run, real run, emergency stop and its end.

use axum::response::Response;
use http::StatusCode;
use keyward_api::key_bulk::{
    LeftOutView, OutcomeView, PreviewBody, PreviewView, RunBody, StopBody, StoppedView, read_preview,
    read_run, read_stop,
};
use keyward_api::moment;
use keyward_api::organizations::OrganizationStateView;
use keyward_core::management_right::ManagementRight;
use keyward_core::time::DAY_MS;
use keyward_engine::EngineError;
use keyward_engine::bulk::BulkAction;

use super::endpoint::{Endpoint, Tag};
use super::keys::with_uses;
use super::organizations::standing;
use super::principal::Grant;
use super::{ManagementCall, ManagementRoutes};
use crate::problem::Problem;
use crate::reply;

pub(super) fn add(routes: ManagementRoutes) -> ManagementRoutes {
    routes
        .add(
            Endpoint::post(
                "/v1/organizations/{organization}/keys/bulk/preview",
                ManagementRight::KeysWrite,
            )
            .named(
                Tag::Keys,
                "preview_bulk",
                "Show what a bulk deletion or pause would end, and change nothing",
            )
            .takes::<PreviewBody>()
            .answers::<PreviewView>(StatusCode::OK),
            preview,
        )
        .add(
            Endpoint::post(
                "/v1/organizations/{organization}/keys/bulk",
                ManagementRight::KeysWrite,
            )
            .named(
                Tag::Keys,
                "run_bulk",
                "Carry out what a dry run showed, and nothing else",
            )
            .takes::<RunBody>()
            .answers::<OutcomeView>(StatusCode::OK)
            .may_refuse(&[409]),
            run,
        )
        .add(
            Endpoint::post(
                "/v1/organizations/{organization}/stop",
                ManagementRight::KeysWrite,
            )
            .named(
                Tag::Keys,
                "emergency_stop",
                "Pause every key that a filter means, or the whole organization, at once",
            )
            .may_take::<StopBody>()
            .answers::<StoppedView>(StatusCode::OK)
            .may_refuse(&[409]),
            stop,
        )
        .add(
            Endpoint::post(
                "/v1/organizations/{organization}/resume",
                ManagementRight::KeysWrite,
            )
            .named(
                Tag::Keys,
                "resume_organization",
                "End the stop of a whole organization; keys that were paused one by one stay so",
            )
            .answers::<OrganizationStateView>(StatusCode::OK)
            .may_refuse(&[409]),
            resume,
        )
        .add(
            Endpoint::post("/v1/stop", ManagementRight::Installation)
                .named(
                    Tag::Installation,
                    "stop_all",
                    "Stop every organization of this installation",
                )
                .answers::<StoppedAllView>(StatusCode::OK)
                .may_refuse(&[409]),
            stop_all,
        )
}

/// What the stop of every organization did.
#[derive(Debug, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[schema(as = StoppedAll)]
pub(super) struct StoppedAllView {
    /// The organizations that are stopped now.
    pub organizations: Vec<OrganizationStateView>,
    /// Those that could not be stopped: try again.
    pub failed: Vec<NotStoppedView>,
}

/// An organization that could not be stopped.
#[derive(Debug, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[schema(as = NotStopped)]
pub(super) struct NotStoppedView {
    /// The organization.
    pub id: String,
    /// Why.
    pub problem: String,
}

async fn preview(grant: Grant, mut call: ManagementCall) -> Result<Response, Problem> {
    let organization = grant.organization()?.clone();
    let asked = read_preview(call.fields().await?, call.engine().now())?;
    let engine = call.engine();
    let action = asked.delete_as.map_or(BulkAction::Pause, BulkAction::Delete);
    let preview = engine
        .preview_bulk(&call.context, &organization, (action, asked.filter))
        .await?;
    let keys = with_uses(engine, &organization, preview.keys).await?;
    let a_day_ago = engine.now().plus_ms(-DAY_MS);
    let is_recent = |used: &Option<String>| {
        used.as_ref()
            .and_then(|used| moment::read(used).ok())
            .is_some_and(|used| used > a_day_ago)
    };
    let shown = PreviewView {
        token: preview.token.reveal().to_owned(),
        token_ends_at: moment::write(preview.token_ends_at),
        count: keys.len(),
        used_within_a_day: keys.iter().filter(|key| is_recent(&key.last_used_at)).count(),
        keys,
    };
    reply::json(StatusCode::OK, &shown)
}

async fn run(grant: Grant, mut call: ManagementCall) -> Result<Response, Problem> {
    let organization = grant.organization()?.clone();
    let token = read_run(call.fields().await?)?;
    let outcome = call
        .engine()
        .run_bulk(call.context.clone(), organization, &token)
        .await?;
    let shown = OutcomeView {
        action: outcome.action.name().to_owned(),
        complete: outcome.stopped_by.is_none(),
        survives_failover: outcome.survives_failover(),
        problem: outcome.stopped_by.map(said),
        done: outcome
            .done
            .iter()
            .map(|written| written.key.record.id.to_string())
            .collect(),
        left_out: outcome
            .left_out
            .iter()
            .map(|(id, why)| LeftOutView {
                id: id.to_string(),
                why: why.name().to_owned(),
            })
            .collect(),
    };
    reply::json(StatusCode::OK, &shown)
}

async fn stop(grant: Grant, mut call: ManagementCall) -> Result<Response, Problem> {
    let organization = grant.organization()?.clone();
    let filter = read_stop(call.optional_fields().await?, call.engine().now())?;
    let engine = call.engine();
    let shown = match filter {
        None => {
            let written = engine
                .stop_organization(call.context.clone(), organization)
                .await?;
            StoppedView {
                survives_failover: written.known.survives_failover,
                organization_stopped: true,
                complete: true,
                problem: None,
                paused: Vec::new(),
                broken: Vec::new(),
            }
        }
        Some(filter) => {
            let stopped = engine
                .stop_keys(call.context.clone(), organization, filter)
                .await?;
            if let (Some(_), true) = (&stopped.stopped_by, stopped.paused.is_empty()) {
                // Nothing was paused: that must not look like a stop.
                return Err(stopped.stopped_by.map_or_else(Problem::busy, Problem::from));
            }
            StoppedView {
                survives_failover: stopped.survives_failover,
                organization_stopped: false,
                complete: stopped.stopped_by.is_none(),
                problem: stopped.stopped_by.map(said),
                paused: stopped.paused.iter().map(ToString::to_string).collect(),
                broken: stopped.broken.iter().map(ToString::to_string).collect(),
            }
        }
    };
    reply::json(StatusCode::OK, &shown)
}

async fn resume(grant: Grant, call: ManagementCall) -> Result<Response, Problem> {
    let organization = grant.organization()?.clone();
    let written = call
        .engine()
        .resume_organization(call.context.clone(), organization)
        .await?;
    reply::json(StatusCode::OK, &standing(&written))
}

async fn stop_all(_: Grant, call: ManagementCall) -> Result<Response, Problem> {
    let engine = call.engine();
    let (mut organizations, mut failed) = (Vec::new(), Vec::new());
    let mut after = String::new();
    loop {
        let page = engine.list_organization_ids(&after, 100).await?;
        for id in page.items {
            // One that can't be stopped keeps no other from being stopped.
            match engine.stop_organization(call.context.clone(), id.clone()).await {
                Ok(written) => organizations.push(standing(&written)),
                Err(error) => failed.push(NotStoppedView {
                    id: id.to_string(),
                    problem: said(error),
                }),
            }
        }
        match page.next {
            Some(next) => after = next,
            None => {
                return reply::json(
                    StatusCode::OK,
                    &StoppedAllView {
                        organizations,
                        failed,
                    },
                );
            }
        }
    }
}

/// What stopped something half-way, as the answer says it.
fn said(error: EngineError) -> String {
    Problem::from(error).message()
}
