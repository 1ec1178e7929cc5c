//! Downloads of activity, as CSV for spreadsheets and as JSON lines for programs.
//!
//! A key's history is streamed page by page, so that any length needs the memory of one page; before each, whoever downloads is asked
//! for anew: a role that was taken away ends the download, which a browser tells. Cells of CSV are made harmless by
//! [`keyward_api::csv`].

use axum::body::Body;
use axum::response::Response;
use futures_util::stream;
use keyward_api::csv::{CsvRow, header, json_lines, lines};
use keyward_api::moment;
use keyward_api::usage::{PointView, TopEntryView, UsageRowView};
use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::management_right::ManagementRight;
use keyward_core::record::Key;
use keyward_core::usage::start_of_hour;
use keyward_engine::Engine;
use keyward_engine::show_usage::HistoryPage;
use keyward_store::usage_queries::{Of, Step, UsageRow};

use super::activity::span_of_top;
use super::chart::step_of;
use super::key_head::subject;
use super::usage_filter::{read, span_in_name, span_of};
use crate::call::Call;
use crate::refused::Refused;
use crate::reply;
use crate::routes::ConsoleRoutes;
use crate::visit::{Person, Visit};

/// Rows that are read at a time.
const ROWS: u32 = 1_000;
/// Addresses, clients or keys of a download.
const TOP: u32 = 100;

/// In which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Csv,
    JsonLines,
}

/// A download of a key's history that is under way.
struct Export {
    engine: Engine,
    person: Person,
    organization: OrganizationId,
    id: KeyId,
    page: HistoryPage,
    format: Format,
    /// Whether there is more.
    has_next: bool,
    /// What is sent first.
    first: Option<String>,
}

pub(super) fn add(routes: ConsoleRoutes) -> ConsoleRoutes {
    routes
        .page(
            "/org/{organization}/settings/secret-keys/{key}/activity/export",
            ManagementRight::KeysRead,
            of_key,
        )
        .page(
            "/org/{organization}/activity/export",
            ManagementRight::KeysRead,
            of_organization,
        )
}

impl Format {
    fn of(call: &Call) -> Self {
        match call.query.text("format") {
            Some("jsonl") => Self::JsonLines,
            _ => Self::Csv,
        }
    }

    const fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::JsonLines => "jsonl",
        }
    }

    const fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::JsonLines => "application/jsonl",
        }
    }

    fn head<T: CsvRow>(self) -> String {
        match self {
            Self::Csv => header::<T>(),
            Self::JsonLines => String::new(),
        }
    }

    fn rows<T: CsvRow + serde::Serialize>(self, rows: &[T]) -> Result<String, Refused> {
        match self {
            Self::Csv => Ok(lines(rows)),
            Self::JsonLines => json_lines(rows).map_err(|error| Refused::Internal(error.to_string())),
        }
    }

    fn file<T: CsvRow + serde::Serialize>(self, name: &str, rows: &[T]) -> Result<Response, Refused> {
        let text = self.head::<T>() + &self.rows(rows)?;
        Ok(self.answer(name, Body::from(text)))
    }

    fn answer(self, name: &str, body: Body) -> Response {
        reply::file(self.media_type(), &format!("{name}.{}", self.extension()), body)
    }
}

async fn of_key(visit: Visit, call: Call) -> Result<Response, Refused> {
    let id = subject(&call)?;
    let asked = read(&call.query, call.now()).map_err(|why| Refused::Conflict(lower(why)))?;
    let format = Format::of(&call);
    let name = format!("activity-{id}-{}", span_in_name(asked.span));
    let mut export = Export {
        engine: call.engine().clone(),
        organization: visit.organization.id.clone(),
        person: visit.person,
        id,
        page: HistoryPage {
            filter: asked.filter,
            span: asked.span,
            after: String::new(),
            limit: ROWS,
        },
        format,
        has_next: true,
        first: None,
    };
    // The first page before the answer begins: what is not there is said, not cut off.
    let rows = export.next_rows().await?;
    export.first = Some(format.head::<UsageRowView>() + &rows);
    let body = Body::from_stream(stream::try_unfold(export, next_part));
    Ok(format.answer(&name, body))
}

fn lower(sentence: &str) -> String {
    let mut text = sentence.trim_end_matches('.').to_owned();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    text
}

impl Export {
    async fn next_rows(&mut self) -> Result<String, Refused> {
        let (key, rows) = self
            .engine
            .usage_history(&self.organization, self.id, &self.page)
            .await?;
        self.has_next = rows.next.is_some();
        self.page.after = rows.next.unwrap_or_default();
        let views: Vec<UsageRowView> = rows.items.into_iter().map(|row| row_view(&key, row)).collect();
        self.format.rows(&views)
    }
}

async fn next_part(mut export: Export) -> Result<Option<(String, Export)>, std::io::Error> {
    if let Some(first) = export.first.take() {
        return Ok(Some((first, export)));
    }
    if !export.has_next {
        return Ok(None);
    }
    let part = async {
        let (person, organization) = (export.person.clone(), export.organization.clone());
        // The session too: whoever signed out meanwhile is not there any more.
        let session = export.engine.find_session(person.token()).await?;
        session.ok_or(Refused::SignIn)?;
        Visit::check(
            &export.engine,
            person,
            organization.as_str(),
            ManagementRight::KeysRead,
        )
        .await?;
        export.next_rows().await
    };
    match part.await {
        Ok(text) => Ok(Some((text, export))),
        Err(refused) => {
            tracing::warn!(key.id = %export.id, outcome = refused.code(), "a download was cut off");
            Err(std::io::Error::other("the download can't be finished"))
        }
    }
}

async fn of_organization(visit: Visit, call: Call) -> Result<Response, Refused> {
    let (span, _) = span_of(&call.query, call.now());
    let (engine, format) = (call.engine(), Format::of(&call));
    let top_span = span_of_top(span);
    let (of, name) = match call.query.text("of") {
        Some("addresses") => (Some(Of::Addresses), "addresses"),
        Some("clients") => (Some(Of::Clients), "clients"),
        _ => (None, "requests"),
    };
    let span_shown = if of.is_some() { top_span } else { span };
    let name = format!("{name}-{}-{}", visit.id(), span_in_name(span_shown));
    if let Some(of) = of {
        let found = engine.organization_top(visit.id(), of, top_span, TOP).await?;
        let rows: Vec<TopEntryView> = found
            .into_iter()
            .map(|entry| TopEntryView {
                name: entry.name,
                accepted: entry.accepted,
                refused: entry.refused,
                keys: entry.keys,
                last_at: moment::write(entry.last_at),
            })
            .collect();
        return format.file(&name, &rows);
    }
    let step: Step = step_of(span.from, span.until);
    let points = engine.organization_series(visit.id(), span, step).await?;
    let rows: Vec<PointView> = points
        .into_iter()
        .map(|point| PointView {
            at: moment::write(point.at),
            accepted: point.accepted,
            refused: point.refused,
            only_id_matched: point.only_id_matched,
        })
        .collect();
    format.file(&name, &rows)
}

fn row_view(key: &Key, row: UsageRow) -> UsageRowView {
    UsageRowView {
        hour: moment::write(start_of_hour(row.hour)),
        key_id: key.record.id.to_string(),
        key_name: key.name.to_string(),
        secret: row.secret,
        operation: row.operation,
        outcome: row.outcome,
        address: row.address,
        client: row.client,
        uses: row.uses,
        first_at: moment::write(row.first_at),
        last_at: moment::write(row.last_at),
    }
}
