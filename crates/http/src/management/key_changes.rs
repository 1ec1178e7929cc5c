//! Changes of one secret key that give out no value: edit, pause, resume, the ends of a rotation, delete.

use axum::response::Response;
use http::{Method, StatusCode};
use keyward_api::key_edit::{EditKeyBody, read_edit};
use keyward_api::keys::{DeletionBody, KeyDetailView, KeyStateView, read_reason};
use keyward_core::management_right::ManagementRight;
use keyward_engine::delete_key::Written;

use super::endpoint::{Endpoint, Tag};
use super::keys::{detail, subject};
use super::principal::Grant;
use super::{ManagementCall, ManagementRoutes};
use crate::problem::Problem;
use crate::reply;

pub(super) fn add(routes: ManagementRoutes) -> ManagementRoutes {
    let writes = |path, id, summary| {
        Endpoint::post(path, ManagementRight::KeysWrite)
            .named(Tag::Keys, id, summary)
            .may_refuse(&[409])
    };
    routes
        .add(
            Endpoint::new(Method::PATCH, "/v1/keys/{key}", ManagementRight::KeysWrite.into())
                .named(
                    Tag::Keys,
                    "edit_key",
                    "Edit a secret key; true for its next request",
                )
                .takes::<EditKeyBody>()
                .edits_a_version()
                .answers::<KeyDetailView>(StatusCode::OK)
                .may_refuse(&[409]),
            edit,
        )
        .add(
            writes(
                "/v1/keys/{key}/pause",
                "pause_key",
                "Pause a secret key until it is resumed",
            )
            .answers::<KeyStateView>(StatusCode::OK),
            pause,
        )
        .add(
            writes(
                "/v1/keys/{key}/resume",
                "resume_key",
                "Resume a paused secret key",
            )
            .answers::<KeyStateView>(StatusCode::OK),
            resume,
        )
        .add(
            writes(
                "/v1/keys/{key}/rotation/finish",
                "finish_rotation",
                "End the old secret of a rotation now",
            )
            .answers::<KeyDetailView>(StatusCode::OK),
            finish,
        )
        .add(
            writes(
                "/v1/keys/{key}/rotation/cancel",
                "cancel_rotation",
                "End the new secret of a rotation and go on with the old one",
            )
            .answers::<KeyDetailView>(StatusCode::OK),
            cancel,
        )
        .add(
            Endpoint::post("/v1/keys/{key}/delete", ManagementRight::KeysWrite)
                .named(Tag::Keys, "delete_key", "Delete a secret key for good")
                .may_take::<DeletionBody>()
                .answers::<KeyStateView>(StatusCode::OK),
            delete,
        )
}

async fn edit(grant: Grant, mut call: ManagementCall) -> Result<Response, Problem> {
    let (organization, id) = subject(&grant, &call).await?;
    let expected = call.required_version()?;
    let edit = read_edit(call.fields().await?, call.engine().now())?;
    let written = call
        .engine()
        .edit_key(call.context.clone(), organization, id, (edit, expected))
        .await?;
    shown(&call, &written).await
}

async fn finish(grant: Grant, call: ManagementCall) -> Result<Response, Problem> {
    let (organization, id) = subject(&grant, &call).await?;
    let written = call
        .engine()
        .finish_rotation(call.context.clone(), organization, id)
        .await?;
    shown(&call, &written).await
}

async fn cancel(grant: Grant, call: ManagementCall) -> Result<Response, Problem> {
    let (organization, id) = subject(&grant, &call).await?;
    let written = call
        .engine()
        .cancel_rotation(call.context.clone(), organization, id)
        .await?;
    shown(&call, &written).await
}

async fn pause(grant: Grant, call: ManagementCall) -> Result<Response, Problem> {
    let (organization, id) = subject(&grant, &call).await?;
    let written = call
        .engine()
        .pause_key(call.context.clone(), organization, id)
        .await?;
    reply::json(StatusCode::OK, &state_of(&written))
}

async fn resume(grant: Grant, call: ManagementCall) -> Result<Response, Problem> {
    let (organization, id) = subject(&grant, &call).await?;
    let written = call
        .engine()
        .resume_key(call.context.clone(), organization, id)
        .await?;
    reply::json(StatusCode::OK, &state_of(&written))
}

async fn delete(grant: Grant, mut call: ManagementCall) -> Result<Response, Problem> {
    let reason = read_reason(call.optional_fields().await?)?;
    let (organization, id) = subject(&grant, &call).await?;
    let written = call
        .engine()
        .delete_key(call.context.clone(), organization, id, reason)
        .await?;
    reply::json(StatusCode::OK, &state_of(&written))
}

async fn shown(call: &ManagementCall, written: &Written) -> Result<Response, Problem> {
    let view = KeyDetailView {
        survives_failover: written.known.survives_failover,
        ..detail(call.engine(), &written.key, &written.secrets).await?
    };
    reply::json_at_version(StatusCode::OK, written.key.record.version, &view)
}

fn state_of(written: &Written) -> KeyStateView {
    let record = &written.key.record;
    KeyStateView {
        id: record.id.to_string(),
        state: record.state.name().to_owned(),
        state_reason: record.state.reason().map(str::to_owned),
        changed: written.is_changed,
        confirmed: written.known.confirmed,
        waited_out: written.known.waited_out,
        waited_ms: written.known.waited_ms,
        survives_failover: written.known.survives_failover,
    }
}
