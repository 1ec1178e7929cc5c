//! A key's activity: who used or tried it, for what, with which result, from where; of a deleted key like of a living one.
//!
//! Rows are of an hour: the same operation, result, address, client and secret are one row with how often. The filters are in the
//! address, so that a view can be kept and sent; [`super::usage_export`] downloads what they mean.

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use keyward_api::cursor;
use keyward_core::management_right::ManagementRight;
use keyward_core::usage::Outcome;
use keyward_engine::EngineError;
use keyward_engine::show_usage::{HistoryPage, Span, UsageSummary};
use keyward_store::usage_overview::KeyAddress;
use keyward_store::usage_queries::TopEntry;

use super::activity_rows::{ActivityRow, rows_of};
use super::chart::{Chart, step_of};
use super::key::rise_of;
use super::key_head::{KeyHead, subject};
use super::usage_filter::{UsageForm, changed, read};
use crate::call::Call;
use crate::refused::Refused;
use crate::reply;
use crate::routes::ConsoleRoutes;
use crate::shell::{Section, Shell};
use crate::values::Values;
use crate::visit::Visit;
use crate::words::{When, grouped};

/// Rows of a page.
const ROWS: u32 = 60;
/// Its name in cursors.
const LIST: &str = "usage";

#[derive(Template)]
#[template(path = "key_activity.html")]
struct ActivityPage {
    shell: Shell,
    head: KeyHead,
    form: UsageForm,
    rise: Option<String>,
    totals: Totals,
    chart: Option<Chart>,
    rows: Vec<ActivityRow>,
    addresses: Vec<TopRow>,
    clients: Vec<TopRow>,
    /// Queries of the export, and of pages.
    query: String,
    next: Option<String>,
    is_first: bool,
}

/// Sums of the whole span, whatever the filters are.
#[derive(Default)]
pub(super) struct Totals {
    pub(super) accepted: String,
    pub(super) refused: String,
    pub(super) only_id: String,
    pub(super) addresses: String,
}

/// An address or a client, and what it did.
pub(super) struct TopRow {
    pub(super) name: String,
    /// A query that shows its rows alone.
    pub(super) query: String,
    pub(super) accepted: String,
    pub(super) refused: String,
    pub(super) last: When,
    /// Since when the key is used from it.
    pub(super) first: Option<When>,
}

pub(super) fn add(routes: ConsoleRoutes) -> ConsoleRoutes {
    routes.page(
        "/org/{organization}/settings/secret-keys/{key}/activity",
        ManagementRight::KeysRead,
        show,
    )
}

async fn show(visit: Visit, call: Call) -> Result<Response, Refused> {
    let (id, now, engine) = (subject(&call)?, call.now(), call.engine());
    let (key, secrets) = engine.show_key_whole(visit.id(), id).await?;
    let head = KeyHead::of(&visit, &key, &secrets, now);
    let title = format!("Activity of {}", head.name);
    let mut page = ActivityPage {
        shell: Shell::of(&visit, &call, Section::SecretKeys, &title, &[]),
        head,
        form: UsageForm::of(&call.query, &secrets, None),
        rise: rise_of(&visit, &call, &key).await?,
        totals: Totals::default(),
        chart: None,
        rows: Vec::new(),
        addresses: Vec::new(),
        clients: Vec::new(),
        query: changed(&call.query, &[]),
        next: None,
        is_first: call.query.text("cursor").is_none(),
    };
    let asked = match read(&call.query, now) {
        Ok(asked) => asked,
        Err(problem) => {
            page.form.problem = Some(problem);
            return reply::page_with(StatusCode::UNPROCESSABLE_ENTITY, &page);
        }
    };
    let after = match call.query.text("cursor") {
        None => String::new(),
        // A place that is none begins at the first page, as a link without one does.
        Some(text) => cursor::read(LIST, text).unwrap_or_default(),
    };
    let wanted = HistoryPage {
        filter: asked.filter,
        span: asked.span,
        after,
        limit: ROWS,
    };
    let (_, found) = match engine.usage_history(visit.id(), id, &wanted).await {
        Err(EngineError::Invalid(_)) => {
            page.form.problem = Some("The place in the list can't be read; begin at its first page.");
            return reply::page_with(StatusCode::UNPROCESSABLE_ENTITY, &page);
        }
        found => found?,
    };
    let seen = engine.key_addresses(visit.id(), id).await?;
    let summary = engine.usage_summary(visit.id(), id, asked.span).await?;
    page.totals = Totals::of(&summary, &seen, asked.span);
    page.addresses = top_rows(&summary.addresses, "address", &call.query, &seen, now);
    page.clients = top_rows(&summary.clients, "client", &call.query, &[], now);
    if page.is_first {
        let step = step_of(asked.span.from, asked.span.until);
        let (_, points) = engine.usage_series(visit.id(), id, asked.span, step).await?;
        page.chart = Some(Chart::of(&points, step, "with this key"));
    }
    page.rows = rows_of(found.items, &seen);
    page.next = found.next.map(|place| {
        let place = cursor::write(LIST, &place);
        changed(&call.query, &[("cursor", &place)])
    });
    reply::page(&page)
}

impl Totals {
    pub(super) fn of(summary: &UsageSummary, seen: &[KeyAddress], span: Span) -> Self {
        let (mut accepted, mut refused, mut only_id) = (0, 0, 0);
        for sum in &summary.sums {
            if sum.secret == 0 {
                only_id += sum.uses;
            } else if sum.outcome == Outcome::Accepted.name() {
                accepted += sum.uses;
            } else {
                refused += sum.uses;
            }
        }
        let new = seen
            .iter()
            .filter(|one| one.first_at >= span.from && one.first_at <= span.until);
        let number = |count: i64| grouped(count.unsigned_abs());
        Self {
            accepted: number(accepted),
            refused: number(refused),
            only_id: number(only_id),
            addresses: grouped(new.count() as u64),
        }
    }
}

pub(super) fn top_rows(
    entries: &[TopEntry],
    of: &str,
    query: &Values,
    seen: &[KeyAddress],
    now: keyward_core::time::Timestamp,
) -> Vec<TopRow> {
    entries
        .iter()
        .map(|entry| TopRow {
            query: changed(query, &[(of, &entry.name)]),
            name: entry.name.clone(),
            accepted: grouped(entry.accepted.unsigned_abs()),
            refused: grouped(entry.refused.unsigned_abs()),
            last: When::relative(entry.last_at, now),
            first: seen
                .iter()
                .find(|one| one.address == entry.name)
                .map(|one| When::relative(one.first_at, now)),
        })
        .collect()
}
