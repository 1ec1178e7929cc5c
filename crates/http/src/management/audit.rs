//! The audit trail: list, export, check, checkpoints, and the erasure of personal values.
//!
//! Each route is there twice: for an organization's own chain, and for what belongs to none, which is the local
//! administrator's. An export streams; what it holds in memory is a page. If it fails on the way, the connection ends
//! without the last line, and whoever checks the file is told so.

use axum::body::Body;
use axum::response::Response;
use futures_util::stream::try_unfold;
use http::{HeaderValue, StatusCode, header};
use keyward_api::audit::{
    AuditCheckView, AuditEntryView, AuditFilter, AuditPublicKeysView, CheckpointView, ErasedView,
    ErasureAsked, ErasureBody, ExportText, read_erasure,
};
use keyward_api::cursor;
use keyward_api::fields::Fields;
use keyward_core::audit::NO_ORGANIZATION;
use keyward_core::field::FieldProblem;
use keyward_core::management_right::ManagementRight;
use keyward_engine::EngineError;
use keyward_engine::erase_personal::Erasure;
use keyward_engine::export_audit::AuditExport;
use keyward_store::audit::AuditQuery;
use keyward_store::audit_checkpoints::CheckpointPlace;
use serde_json::{Map, Value};
use utoipa::PartialSchema as _;

use super::endpoint::{Demand, Endpoint, Tag};
use super::principal::Grant;
use super::{ListView, ManagementCall, ManagementRoutes, paging};
use crate::problem::Problem;
use crate::{reply, routes};

const LIST: &str = "audit";
const CHECKPOINTS: &str = "audit_checkpoints";
/// JSON Lines.
const LINES: &str = "application/jsonl";

/// The two places of a route, with the right that each asks for.
type Places = [(&'static str, ManagementRight, &'static str); 2];

const fn places(
    of_organization: &'static str,
    ids: [&'static str; 2],
    of_none: &'static str,
    right: ManagementRight,
) -> Places {
    let [one, other] = ids;
    [
        (of_organization, right, one),
        (of_none, ManagementRight::Installation, other),
    ]
}

pub(super) fn add(mut routes: ManagementRoutes) -> ManagementRoutes {
    let read = ManagementRight::AuditRead;
    let ids = ["list_audit", "list_installation_audit"];
    for (path, right, id) in places("/v1/organizations/{organization}/audit", ids, "/v1/audit", read) {
        let endpoint = Endpoint::get(path, right)
            .named(Tag::Audit, id, "List entries of the audit trail, newest first")
            .asks(
                "actor",
                "Only what they did: `person/ID`, `token/ID`, ...",
                String::schema,
            )
            .asks("action", "Only this: `key.create`, ...", String::schema)
            .asks(
                "target",
                "Only what was done to this: `key/ID`, ...",
                String::schema,
            )
            .asks("from", "At or after this moment (RFC 3339).", String::schema)
            .asks("to", "Before this moment (RFC 3339).", String::schema)
            .pages()
            .answers::<ListView<AuditEntryView>>(StatusCode::OK);
        routes = routes.add(endpoint, list);
    }
    let ids = ["export_audit", "export_installation_audit"];
    for (path, right, id) in places(
        "/v1/organizations/{organization}/audit/export",
        ids,
        "/v1/audit/export",
        read,
    ) {
        let endpoint = Endpoint::get(path, right)
            .named(
                Tag::Audit,
                id,
                "Export the audit trail for `keyward audit verify`; the export is an entry itself",
            )
            .asks(
                "from_sequence",
                "The number of the first entry; 1 if absent.",
                i64::schema,
            )
            .answers::<ExportText>(StatusCode::OK)
            .in_form(LINES)
            .may_refuse(&[409]);
        routes = routes.add(endpoint, export);
    }
    let ids = ["list_audit_checkpoints", "list_installation_audit_checkpoints"];
    let (of_organization, of_none) = (
        "/v1/organizations/{organization}/audit/checkpoints",
        "/v1/audit/checkpoints",
    );
    for (path, right, id) in places(of_organization, ids, of_none, read) {
        let endpoint = Endpoint::get(path, right)
            .named(Tag::Audit, id, "List the signed checkpoints of the audit trail")
            .pages()
            .answers::<ListView<CheckpointView>>(StatusCode::OK);
        routes = routes.add(endpoint, list_checkpoints);
    }
    let ids = ["checkpoint_audit", "checkpoint_installation_audit"];
    for (path, right, id) in places(of_organization, ids, of_none, read) {
        let endpoint = Endpoint::post(path, right)
            .named(Tag::Audit, id, "Sign now how far the audit trail has come")
            .answers::<CheckpointView>(StatusCode::OK)
            .may_refuse(&[409]);
        routes = routes.add(endpoint, checkpoint);
    }
    let ids = ["check_audit", "check_installation_audit"];
    for (path, right, id) in places(
        "/v1/organizations/{organization}/audit/check",
        ids,
        "/v1/audit/check",
        read,
    ) {
        let endpoint = Endpoint::post(path, right)
            .named(Tag::Audit, id, "Check the audit trail as it lies in the database")
            .answers::<AuditCheckView>(StatusCode::OK);
        routes = routes.add(endpoint, check);
    }
    let ids = ["erase_personal", "erase_installation_personal"];
    let erase_right = ManagementRight::AuditErase;
    for (path, right, id) in places(
        "/v1/organizations/{organization}/audit/erase",
        ids,
        "/v1/audit/erase",
        erase_right,
    ) {
        let endpoint = Endpoint::post(path, right)
            .named(
                Tag::Audit,
                id,
                "Erase personal values from the audit trail, which stays provable",
            )
            .takes::<ErasureBody>()
            .answers::<ErasedView>(StatusCode::OK);
        routes = routes.add(endpoint, erase);
    }
    routes.add(
        Endpoint::get("/v1/audit/public-keys", Demand::Identity)
            .named(
                Tag::Audit,
                "list_audit_public_keys",
                "The keys that checkpoints and exports are signed with",
            )
            .answers::<AuditPublicKeysView>(StatusCode::OK),
        list_public_keys,
    )
}

/// The chain that the path is about.
fn chain_of(grant: &Grant, call: &ManagementCall) -> Result<String, Problem> {
    match routes::find(&call.path, "organization") {
        Some(_) => grant
            .organization()
            .map(|organization| organization.as_str().to_owned()),
        None => Ok(NO_ORGANIZATION.to_owned()),
    }
}

async fn list(grant: Grant, mut call: ManagementCall) -> Result<Response, Problem> {
    let chain = chain_of(&grant, &call)?;
    let mut values = Map::new();
    for name in AuditFilter::NAMES {
        if let Some(text) = call.query.text(name) {
            values.insert(name.to_owned(), Value::from(text));
        }
    }
    let AuditFilter {
        actor,
        action,
        target,
        from,
        to,
    } = AuditFilter::read(Fields::of_object(values, String::new()))?;
    let page = call.page(paging(LIST))?;
    let before = position(&page.after, str::parse)?;
    let query = AuditQuery {
        actor,
        action,
        target,
        from,
        to,
    };
    let found = call
        .engine()
        .list_audit(&chain, &query, before, page.limit)
        .await?;
    let lines: Result<Vec<_>, _> = found
        .items
        .iter()
        .map(|entry| entry.to_line().map(AuditEntryView::of))
        .collect();
    let shown = ListView {
        items: lines.map_err(EngineError::from)?,
        next: found.next.map(|position| cursor::write(LIST, &position)),
    };
    reply::json(StatusCode::OK, &shown)
}

/// A cursor that names no place of this list was made up.
fn position<'a, T, E>(after: &'a str, read: impl Fn(&'a str) -> Result<T, E>) -> Result<Option<T>, Problem> {
    if after.is_empty() {
        return Ok(None);
    }
    let refused = |_| {
        Problem::invalid(vec![FieldProblem {
            field: "cursor".to_owned(),
            message: cursor::CursorRefused.to_string(),
        }])
    };
    read(after).map(Some).map_err(refused)
}

async fn export(grant: Grant, mut call: ManagementCall) -> Result<Response, Problem> {
    let chain = chain_of(&grant, &call)?;
    let from = match call.query.text("from_sequence") {
        None => 1,
        Some(text) => text.parse().ok().filter(|from| *from >= 1).ok_or_else(|| {
            Problem::invalid(vec![FieldProblem {
                field: "from_sequence".to_owned(),
                message: "is the number of an entry, from 1 on".to_owned(),
            }])
        })?,
    };
    std::mem::take(&mut call.query).finish(())?;
    let export = call
        .engine()
        .export_audit(call.context.clone(), &chain, from)
        .await?;
    let lines = try_unfold(export, next_lines);
    let mut response = Response::new(Body::from_stream(lines));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(LINES));
    reply::protect(&mut response);
    Ok(response)
}

async fn next_lines(mut export: AuditExport) -> Result<Option<(String, AuditExport)>, EngineError> {
    match export.next_lines().await {
        Ok(lines) => Ok(lines.map(|lines| (lines, export))),
        Err(error) => {
            tracing::error!(%error, "an export of the audit trail was broken off");
            Err(error)
        }
    }
}

async fn list_checkpoints(grant: Grant, mut call: ManagementCall) -> Result<Response, Problem> {
    let chain = chain_of(&grant, &call)?;
    let page = call.page(paging(CHECKPOINTS))?;
    let place = position(&page.after, |text| {
        let (sequence, public_key) = text.split_once('.').ok_or(())?;
        let sequence = sequence.parse().map_err(drop)?;
        Ok::<_, ()>(CheckpointPlace { sequence, public_key })
    })?;
    let after = place.unwrap_or(CheckpointPlace::after(0));
    let found = call.engine().list_checkpoints(&chain, after, page.limit).await?;
    let shown = ListView {
        items: found.items.iter().map(CheckpointView::of).collect(),
        next: found.next.map(|position| cursor::write(CHECKPOINTS, &position)),
    };
    reply::json(StatusCode::OK, &shown)
}

async fn checkpoint(grant: Grant, call: ManagementCall) -> Result<Response, Problem> {
    let chain = chain_of(&grant, &call)?;
    let made = call
        .engine()
        .checkpoint_audit(call.context.clone(), &chain)
        .await?;
    reply::json(StatusCode::OK, &CheckpointView::of(&made))
}

async fn check(grant: Grant, call: ManagementCall) -> Result<Response, Problem> {
    let chain = chain_of(&grant, &call)?;
    let checked = call.engine().check_audit(&chain).await?;
    let shown = AuditCheckView::of(&chain, checked.head, &checked.summary, &checked.findings);
    reply::json(StatusCode::OK, &shown)
}

async fn erase(grant: Grant, mut call: ManagementCall) -> Result<Response, Problem> {
    let chain = chain_of(&grant, &call)?;
    let erasure = match read_erasure(call.fields().await?)? {
        ErasureAsked::Value(value) => Erasure::Value(value),
        ErasureAsked::Target(target) => Erasure::Target(target),
        ErasureAsked::Sequence(sequence) => Erasure::Entry(sequence),
    };
    let erased = call
        .engine()
        .erase_personal(call.context.clone(), chain, erasure)
        .await?;
    let shown = ErasedView {
        values: erased.values,
        entries: erased.entries,
    };
    reply::json(StatusCode::OK, &shown)
}

async fn list_public_keys(_: Grant, call: ManagementCall) -> Result<Response, Problem> {
    let keys = call.engine().audit_public_keys().await?;
    reply::json(StatusCode::OK, &AuditPublicKeysView::of(&keys))
}
