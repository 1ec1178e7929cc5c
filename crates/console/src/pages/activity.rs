//! What an organization's keys were used for, all together: the chart, the busiest keys, refusals, addresses that are new.

use std::collections::BTreeMap;

use askama::Template;
use axum::response::Response;
use keyward_core::management_right::ManagementRight;
use keyward_core::time::{DAY_MS, Timestamp};
use keyward_core::usage::Outcome;
use keyward_engine::show_usage::{MAX_DAYS_OF_TOP, OrganizationUsage, Span};
use keyward_store::usage_queries::{Of, TopEntry};

use super::chart::{Chart, step_of};
use super::usage_filter::{SPANS, changed, span_of, span_words};
use super::usage_words::{outcome_words, used_for_words};
use crate::call::Call;
use crate::refused::Refused;
use crate::reply;
use crate::routes::ConsoleRoutes;
use crate::shell::{Section, Shell};
use crate::visit::Visit;
use crate::words::{When, grouped};

/// Rows of each table.
const TOP: u32 = 10;

#[derive(Template)]
#[template(path = "activity.html")]
struct ActivityPage {
    shell: Shell,
    url: String,
    keys_url: String,
    spans: Vec<SpanChip>,
    span_words: String,
    /// The span of tables that look at a month at most.
    top_words: String,
    query: String,
    accepted: String,
    refused: String,
    keys: String,
    never: String,
    chart: Chart,
    rises: Vec<RiseRow>,
    top_keys: Vec<KeyRow>,
    operations: Vec<SumRow>,
    refusals: Vec<SumRow>,
    addresses: Vec<NameRow>,
    clients: Vec<NameRow>,
    new_addresses: Vec<NewAddress>,
}

struct SpanChip {
    label: String,
    query: String,
    is_current: bool,
}

struct RiseRow {
    id: String,
    name: String,
    recent: String,
    before: String,
}

struct KeyRow {
    id: String,
    name: String,
    accepted: String,
    refused: String,
    has_refusals: bool,
    last: When,
}

struct SumRow {
    words: String,
    name: String,
    count: String,
}

struct NameRow {
    name: String,
    accepted: String,
    refused: String,
    keys: String,
    last: When,
}

struct NewAddress {
    address: String,
    id: String,
    key: String,
    first: When,
    is_first_of_key: bool,
}

pub(super) fn add(routes: ConsoleRoutes) -> ConsoleRoutes {
    routes.page("/org/{organization}/activity", ManagementRight::KeysRead, show)
}

/// The part of a span that tables by caller look at.
pub(super) fn span_of_top(span: Span) -> Span {
    let earliest = span.until.plus_ms(-MAX_DAYS_OF_TOP * DAY_MS);
    Span {
        from: span.from.max(earliest),
        ..span
    }
}

async fn show(visit: Visit, call: Call) -> Result<Response, Refused> {
    let (now, engine) = (call.now(), call.engine());
    let (span, days) = span_of(&call.query, now);
    let top_span = span_of_top(span);
    let usage = engine.organization_usage(visit.id(), span).await?;
    let step = step_of(span.from, span.until);
    let points = engine.organization_series(visit.id(), span, step).await?;
    let top_keys = engine.organization_top_keys(visit.id(), top_span, TOP).await?;
    let addresses = engine
        .organization_top(visit.id(), Of::Addresses, top_span, TOP)
        .await?;
    let clients = engine
        .organization_top(visit.id(), Of::Clients, top_span, TOP)
        .await?;
    let sums = Sums::of(&usage);
    let number = |count: i64| grouped(count.unsigned_abs());
    reply::page(&ActivityPage {
        shell: Shell::of(&visit, &call, Section::Activity, "Activity", &[]),
        url: visit.url("activity"),
        keys_url: visit.url("settings/secret-keys"),
        spans: SPANS
            .into_iter()
            .map(|choice| SpanChip {
                label: span_words(choice),
                query: changed(&call.query, &[("span", &choice.to_string())]),
                is_current: choice == days,
            })
            .collect(),
        span_words: span_words(days),
        top_words: span_words(days.min(MAX_DAYS_OF_TOP)),
        query: changed(&call.query, &[]),
        accepted: number(sums.accepted),
        refused: number(sums.refused),
        keys: number(usage.keys.keys),
        never: number(usage.keys.keys - usage.keys.ever),
        chart: Chart::of(&points, step, "with all keys"),
        rises: usage
            .rises
            .iter()
            .take(TOP as usize)
            .map(|rise| RiseRow {
                id: rise.key_id.to_string(),
                name: name_or_id(&rise.name, rise.key_id.as_str()),
                recent: number(rise.recent),
                before: number(rise.baseline),
            })
            .collect(),
        top_keys: top_keys
            .into_iter()
            .map(|key| KeyRow {
                name: name_or_id(&key.name, key.key_id.as_str()),
                id: key.key_id.to_string(),
                accepted: number(key.accepted),
                refused: number(key.refused),
                has_refusals: key.refused > 0,
                last: When::relative(key.last_at, now),
            })
            .collect(),
        operations: sums.operations(),
        refusals: sums.refusals(),
        addresses: name_rows(addresses, now),
        clients: name_rows(clients, now),
        new_addresses: usage
            .new_addresses
            .into_iter()
            .map(|seen| NewAddress {
                key: name_or_id(&seen.name, seen.key_id.as_str()),
                id: seen.key_id.to_string(),
                address: seen.address,
                first: When::relative(seen.first_at, now),
                is_first_of_key: seen.is_first_of_key,
            })
            .collect(),
    })
}

/// A key whose row is gone has no name any more.
fn name_or_id(name: &str, id: &str) -> String {
    if name.is_empty() { id } else { name }.to_owned()
}

fn name_rows(entries: Vec<TopEntry>, now: Timestamp) -> Vec<NameRow> {
    let number = |count: i64| grouped(count.unsigned_abs());
    let rows = entries.into_iter().map(|entry| NameRow {
        name: entry.name,
        accepted: number(entry.accepted),
        refused: number(entry.refused),
        keys: number(entry.keys),
        last: When::relative(entry.last_at, now),
    });
    rows.collect()
}

/// How often for what, and how often refused why.
#[derive(Default)]
struct Sums {
    accepted: i64,
    refused: i64,
    by_operation: BTreeMap<String, i64>,
    by_refusal: BTreeMap<String, i64>,
}

impl Sums {
    fn of(usage: &OrganizationUsage) -> Self {
        let mut sums = Self::default();
        for sum in &usage.sums {
            if sum.outcome == Outcome::Accepted.name() {
                sums.accepted += sum.uses;
                *sums.by_operation.entry(sum.operation.clone()).or_default() += sum.uses;
            } else {
                sums.refused += sum.uses;
                *sums.by_refusal.entry(sum.outcome.clone()).or_default() += sum.uses;
            }
        }
        sums
    }

    fn operations(&self) -> Vec<SumRow> {
        rows_by_count(&self.by_operation, used_for_words)
    }

    fn refusals(&self) -> Vec<SumRow> {
        rows_by_count(&self.by_refusal, |name| outcome_words(name).to_owned())
    }
}

fn rows_by_count(sums: &BTreeMap<String, i64>, words: impl Fn(&str) -> String) -> Vec<SumRow> {
    let mut sums: Vec<_> = sums.iter().collect();
    sums.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    sums.into_iter()
        .map(|(name, count)| SumRow {
            words: words(name),
            name: name.clone(),
            count: grouped(count.unsigned_abs()),
        })
        .collect()
}
