//! Delete an organization, and take that back while its 30 days run.

use axum::response::Response;
use http::StatusCode;
use keyward_api::moment;
use keyward_api::organizations::{DeletionBody, OrganizationEndView, read_confirmation};
use keyward_core::management_right::ManagementRight;
use keyward_engine::stop_organization::OrganizationWritten;

use super::endpoint::{Endpoint, Tag};
use super::organizations::standing;
use super::principal::Grant;
use super::{ManagementCall, ManagementRoutes};
use crate::problem::Problem;
use crate::reply;

pub(super) fn add(routes: ManagementRoutes) -> ManagementRoutes {
    routes
        .add(
            Endpoint::post(
                "/v1/organizations/{organization}/delete",
                ManagementRight::OrganizationDelete,
            )
            .named(
                Tag::Organizations,
                "delete_organization",
                "Stop an organization at once, and purge it after 30 days",
            )
            .takes::<DeletionBody>()
            .answers::<OrganizationEndView>(StatusCode::OK),
            delete,
        )
        .add(
            Endpoint::post(
                "/v1/organizations/{organization}/restore",
                ManagementRight::OrganizationDelete,
            )
            .named(
                Tag::Organizations,
                "restore_organization",
                "Take the deletion of an organization back; it stays stopped until it is resumed",
            )
            .answers::<OrganizationEndView>(StatusCode::OK)
            .may_refuse(&[409]),
            restore,
        )
}

async fn delete(grant: Grant, mut call: ManagementCall) -> Result<Response, Problem> {
    let organization = grant.organization()?.clone();
    let confirmation = read_confirmation(call.fields().await?)?;
    let engine = call.engine();
    let written = engine
        .delete_organization(call.context.clone(), organization, &confirmation)
        .await?;
    reply::json(StatusCode::OK, &view(&written))
}

async fn restore(grant: Grant, call: ManagementCall) -> Result<Response, Problem> {
    let organization = grant.organization()?.clone();
    let engine = call.engine();
    let written = engine
        .restore_organization(call.context.clone(), organization)
        .await?;
    reply::json(StatusCode::OK, &view(&written))
}

fn view(written: &OrganizationWritten) -> OrganizationEndView {
    let deletion = written.organization.deletion.as_ref();
    OrganizationEndView {
        standing: standing(written),
        purge_at: deletion.map(|deletion| moment::write(deletion.purge_at)),
    }
}
