//! The routes whose replies hold a key's value, once: create, rotate, replace.
//!
//! Each takes an `Idempotency-Key`; a repetition is answered like the first request and says so in `Idempotent-Replayed`.

use axum::response::Response;
use http::{HeaderValue, StatusCode};
use keyward_api::key_edit::{EditKeyBody, read_edit};
use keyward_api::key_rotation::{RotatedKeyView, RotationBody, read_rotation};
use keyward_api::keys::{CreatedKeyView, KeyDetailView, KeyView, NewKeyBody, read_draft};
use keyward_core::management_right::ManagementRight;
use keyward_core::record::Key;
use keyward_core::secret::{KeyTextKind, Secret};
use keyward_engine::once::{Once, Repeated};

use super::endpoint::{Endpoint, Tag};
use super::keys::{KEYS, detail, subject};
use super::principal::Grant;
use super::{ManagementCall, ManagementRoutes, REPLAYED};
use crate::problem::Problem;
use crate::reply;

pub(super) fn add(routes: ManagementRoutes) -> ManagementRoutes {
    routes
        .add(
            Endpoint::post(KEYS, ManagementRight::KeysWrite)
                .named(
                    Tag::Keys,
                    "create_key",
                    "Create a secret key and show its value, this once",
                )
                .takes::<NewKeyBody>()
                .repeatable()
                .answers::<CreatedKeyView>(StatusCode::CREATED),
            create,
        )
        .add(
            Endpoint::post("/v1/keys/{key}/rotate", ManagementRight::KeysWrite)
                .named(
                    Tag::Keys,
                    "rotate_key",
                    "Give a secret key a new secret and show its value, this once",
                )
                .may_take::<RotationBody>()
                .repeatable()
                .may_expect_a_version()
                .answers::<RotatedKeyView>(StatusCode::OK),
            rotate,
        )
        .add(
            Endpoint::post("/v1/keys/{key}/replace", ManagementRight::KeysWrite)
                .named(
                    Tag::Keys,
                    "replace_key",
                    "End a secret key as compromised and make a copy of it, in one step",
                )
                .may_take::<EditKeyBody>()
                .repeatable()
                .answers::<CreatedKeyView>(StatusCode::CREATED),
            replace,
        )
}

async fn create(grant: Grant, mut call: ManagementCall) -> Result<Response, Problem> {
    let organization = grant.organization()?.clone();
    let (fields, attempt) = call.fields_once("create_key", organization.as_str()).await?;
    let engine = call.engine();
    let draft = read_draft(fields, engine.now())?;
    let made = engine
        .create_key_once(call.context.clone(), organization, draft, attempt)
        .await?;
    created(&call, made.map(|made| (made.key, made.value, None)))
}

async fn replace(grant: Grant, mut call: ManagementCall) -> Result<Response, Problem> {
    let (organization, id) = subject(&grant, &call).await?;
    let (fields, attempt) = call.fields_once("replace_key", id.as_str()).await?;
    let engine = call.engine();
    let edit = read_edit(fields, engine.now())?;
    let made = engine
        .replace_key(call.context.clone(), (organization, id), edit, attempt)
        .await?;
    let made = made.map(|made| {
        let survives = made.old.known.survives_failover;
        (made.new.key, made.new.value, survives)
    });
    created(&call, made)
}

/// The new key, and whether the end of the one that it replaces outlives the database's primary.
fn created(
    call: &ManagementCall,
    made: Once<(Key, Secret<KeyTextKind>, Option<bool>)>,
) -> Result<Response, Problem> {
    let (key, value, survives_failover, is_repeated) = match made {
        Once::Now((key, value, survives)) => (key, Some(value), survives, false),
        Once::Before(repeated) => {
            let Repeated {
                key, value, known, ..
            } = *repeated;
            (key, value, known.survives_failover, true)
        }
    };
    let shown = CreatedKeyView {
        key: KeyView::of(&key, call.engine().now()),
        // One of the two places where a value leaves the server.
        value: value.map(|value| value.reveal().to_owned()),
        endpoint: call.management.site.public_url.clone(),
        survives_failover,
    };
    let response = reply::json_at_version(StatusCode::CREATED, key.record.version, &shown)?;
    Ok(marked(response, is_repeated))
}

async fn rotate(grant: Grant, mut call: ManagementCall) -> Result<Response, Problem> {
    let (organization, id) = subject(&grant, &call).await?;
    let expected = call.expected_version()?;
    let (fields, attempt) = call.fields_once("rotate_key", id.as_str()).await?;
    let engine = call.engine();
    let choice = read_rotation(fields, engine.now())?;
    let done = engine
        .rotate_key(
            call.context.clone(),
            (organization, id),
            (choice, expected),
            attempt,
        )
        .await?;
    let is_repeated = matches!(done, Once::Before(_));
    let (key, secrets, value, known) = match done {
        Once::Now(rotated) => {
            let written = rotated.written;
            (written.key, written.secrets, Some(rotated.value), written.known)
        }
        Once::Before(repeated) => {
            let Repeated {
                key,
                secrets,
                value,
                known,
            } = *repeated;
            (key, secrets, value, known)
        }
    };
    let shown = RotatedKeyView {
        key: KeyDetailView {
            survives_failover: known.survives_failover,
            ..detail(engine, &key, &secrets).await?
        },
        // The other place where a value leaves the server.
        value: value.map(|value| value.reveal().to_owned()),
        endpoint: call.management.site.public_url.clone(),
    };
    let response = reply::json_at_version(StatusCode::OK, key.record.version, &shown)?;
    Ok(marked(response, is_repeated))
}

fn marked(mut response: Response, is_repeated: bool) -> Response {
    if is_repeated {
        response
            .headers_mut()
            .insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}
