//! Export the audit trail as a file, and how to check that file without this server.
//!
//! The export is an entry of the trail itself, so it is a form and not a link. It streams; if it breaks off, the file lacks its signed
//! last line, and whoever checks it is told so.

use askama::Template;
use axum::body::Body;
use axum::response::Response;
use futures_util::stream::try_unfold;
use keyward_core::ids::OrganizationId;
use keyward_core::management_right::ManagementRight;
use keyward_engine::Engine;
use keyward_engine::export_audit::AuditExport;

use crate::call::Call;
use crate::refused::Refused;
use crate::reply;
use crate::routes::ConsoleRoutes;
use crate::shell::{Section, Shell};
use crate::visit::{Person, Visit};
use crate::words::{When, day_text};

#[derive(Template)]
#[template(path = "audit_export.html")]
struct ExportPage {
    shell: Shell,
    base: String,
    file: String,
    /// The newest public key, and all of them.
    newest_key: Option<String>,
    keys: Vec<KeyRow>,
}

struct KeyRow {
    public_key: String,
    since: When,
}

pub(super) fn add(routes: ConsoleRoutes) -> ConsoleRoutes {
    let read = ManagementRight::AuditRead;
    routes.page("/org/{organization}/audit/export", read, show).form(
        "/org/{organization}/audit/export",
        read,
        export,
    )
}

fn file_name(visit: &Visit, call: &Call) -> String {
    format!("keyward-audit-{}-{}.jsonl", visit.id(), day_text(call.now()))
}

async fn show(visit: Visit, call: Call) -> Result<Response, Refused> {
    let keys = call.engine().audit_public_keys().await?;
    let page = ExportPage {
        shell: Shell::of(&visit, &call, Section::Audit, "Export the audit trail", &[]),
        base: visit.url("audit"),
        file: file_name(&visit, &call),
        newest_key: keys.last().map(|key| key.public_key.to_string()),
        keys: keys
            .iter()
            .map(|key| KeyRow {
                public_key: key.public_key.to_string(),
                since: When::date(key.since_ms),
            })
            .collect(),
    };
    reply::page(&page)
}

async fn export(visit: Visit, call: Call) -> Result<Response, Refused> {
    visit.count_costly(call.engine())?;
    let export = call
        .engine()
        .export_audit(call.context.clone(), visit.id().as_str(), 1)
        .await?;
    let name = file_name(&visit, &call);
    let sending = Sending {
        export,
        engine: call.engine().clone(),
        person: visit.person.clone(),
        organization: visit.id().clone(),
    };
    let lines = Body::from_stream(try_unfold(sending, next_lines));
    Ok(reply::file("application/jsonl", &name, lines))
}

/// An export on its way, and to whom.
struct Sending {
    export: AuditExport,
    engine: Engine,
    person: Person,
    organization: OrganizationId,
}

async fn next_lines(mut sending: Sending) -> Result<Option<(String, Sending)>, std::io::Error> {
    let part = async {
        // Asked again for every part: whoever reads slowly gets nothing after they signed out or were removed.
        let session = sending.engine.find_session(sending.person.token()).await?;
        session.ok_or(Refused::SignIn)?;
        let person = sending.person.clone();
        let right = ManagementRight::AuditRead;
        Visit::check(&sending.engine, person, sending.organization.as_str(), right).await?;
        Ok::<_, Refused>(sending.export.next_lines().await?)
    };
    match part.await {
        Ok(lines) => Ok(lines.map(|lines| (lines, sending))),
        Err(refused) => {
            tracing::warn!(
                outcome = refused.code(),
                "an export of the audit trail was cut off"
            );
            Err(std::io::Error::other("the export can't be finished"))
        }
    }
}
