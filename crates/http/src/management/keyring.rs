//! Rotate the keyring of the running server.

use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;
use keyward_core::management_right::ManagementRight;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::endpoint::{Endpoint, Tag};
use super::principal::Grant;
use super::{ManagementCall, ManagementRoutes};
use crate::problem::Problem;
use crate::reply;

/// What a rotation did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = KeyringRotated)]
pub struct KeyringRotatedView {
    /// The keyring's id.
    pub id: String,
    /// The version that seals now.
    pub active: u32,
    /// Keys whose records were sealed anew.
    pub resealed: u64,
    /// Management tokens that were sealed anew.
    pub resealed_tokens: u64,
    /// Second factors of people that were sealed anew.
    pub resealed_second_factors: u64,
    /// Keys, tokens, second factors and webhooks whose records do not open; the old versions are kept while there are any.
    pub broken: u64,
}

pub(super) fn add(routes: ManagementRoutes) -> ManagementRoutes {
    routes.add(
        Endpoint::post("/v1/keyring/rotate", ManagementRight::Installation)
            .named(
                Tag::Installation,
                "rotate_keyring",
                "Make a new version of the keyring and seal every record anew",
            )
            .answers::<KeyringRotatedView>(StatusCode::OK)
            .may_refuse(&[409]),
        rotate,
    )
}

async fn rotate(_: Grant, call: ManagementCall) -> Result<Response, Problem> {
    let management = Arc::clone(&call.management);
    // A client that goes away leaves no rotation half done.
    let rotation = call.management.site.engine.run_to_its_end(async move {
        let engine = &management.site.engine;
        engine
            .rotate_keyring(call.context, &*management.save_keyring)
            .await
    });
    let done = rotation.await.map_err(|error| Problem::internal(&error))??;
    let shown = KeyringRotatedView {
        id: done.keyring.id,
        active: done.keyring.active,
        resealed: done.resealed,
        resealed_tokens: done.resealed_tokens,
        resealed_second_factors: done.resealed_second_factors,
        broken: done.broken,
    };
    reply::json(StatusCode::OK, &shown)
}
