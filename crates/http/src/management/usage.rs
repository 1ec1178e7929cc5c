//! Usage of keys: history, sums, curves, advice, an organization's overview, who uses what, unused keys, new addresses.
//!
//! All of it asks for the right to read keys, and answers for deleted keys as for living ones. Without `from` and `to` it is about
//! the last 30 days, a curve by hours about the last 2.

use axum::response::Response;
use http::StatusCode;
use keyward_api::keys::{KeyView, LastUseView};
use keyward_api::moment;
use keyward_api::schema::{FormatName, StepName, TopName};
use keyward_api::usage::{
    AccessView, AdviceView, OrganizationUsageView, SeenAddressView, SeriesView, TopEntryView, UsageRowView,
    UsageSummaryView, operation_names,
};
use keyward_core::management_right::ManagementRight;
use keyward_core::usage::{Outcome, UsedFor};
use keyward_engine::advise_key::{KeyAdvice, Verdict};
use keyward_engine::show_usage::{HistoryPage, MAX_DAYS, Span};
use keyward_store::usage_queries::{HistoryFilter, Of, OutcomeFilter, Step};
use utoipa::PartialSchema as _;

use super::endpoint::{Endpoint, Tag};
use super::export::{Format, answer_rows};
use super::keys::{subject, with_uses};
use super::principal::Grant;
use super::usage_views::{
    name_of_step, overview_view, point_view, row_view, seen_view, summary_view, top_view,
};
use super::{ListView, ManagementCall, ManagementRoutes};
use crate::problem::Problem;
use crate::reply;

/// The days that most questions are about, if they do not say.
const DAYS: i64 = 30;
/// Those of a curve by hours.
const DAYS_BY_HOUR: i64 = 2;
/// Those of new addresses and of who used keys most.
const DAYS_OF_NEWS: i64 = 7;
/// How many clients or addresses are named, if it is not said.
const TOP: u32 = 20;
const MAX_TOP: u32 = 100;

pub(super) fn add(routes: ManagementRoutes) -> ManagementRoutes {
    let routes = add_of_key(routes);
    add_of_organization(routes)
}

fn add_of_key(routes: ManagementRoutes) -> ManagementRoutes {
    routes
        .add(
            Endpoint::get("/v1/keys/{key}/usage", ManagementRight::KeysRead)
                .named(
                    Tag::Usage,
                    "list_key_usage",
                    "List what happened to a secret key, living or deleted, hour by hour, the newest first",
                )
                .spans()
                .asks(
                    "outcome",
                    "Only with this outcome: `ok`, `refused` for every refusal, or the code of one.",
                    String::schema,
                )
                .asks(
                    "operation",
                    "Only for this: `identify`, or an operation of the resource API.",
                    String::schema,
                )
                .asks("address", "Only from this address, as it is shown.", String::schema)
                .asks("client", "Only by this client, as it is shown.", String::schema)
                .asks(
                    "secret",
                    "Only with the secret of this number; 0 for attempts where only the key's id matched.",
                    i64::schema,
                )
                .exports()
                .exports_whole()
                .pages()
                .answers::<ListView<UsageRowView>>(StatusCode::OK),
            history,
        )
        .add(
            Endpoint::get("/v1/keys/{key}/usage/summary", ManagementRight::KeysRead)
                .named(
                    Tag::Usage,
                    "summarize_key_usage",
                    "Sum up what a secret key was used for, by secret, operation, refusal, address and client",
                )
                .spans()
                .answers::<UsageSummaryView>(StatusCode::OK),
            summary,
        )
        .add(
            Endpoint::get("/v1/keys/{key}/usage/series", ManagementRight::KeysRead)
                .named(
                    Tag::Usage,
                    "show_key_usage_series",
                    "Show the curve of a secret key's usage by hours or days",
                )
                .asks("by", "How long a point is; `day` if absent.", StepName::schema)
                .spans()
                .exports()
                .answers::<SeriesView>(StatusCode::OK),
            series,
        )
        .add(
            Endpoint::get("/v1/keys/{key}/advice", ManagementRight::KeysRead)
                .named(
                    Tag::Usage,
                    "advise_key",
                    "Compare what a secret key was used for with what it may do, and propose the least that would have done",
                )
                .asks(
                    "days",
                    "By the uses of so many days, from 1 to 400; 30 if absent.",
                    super::openapi::days,
                )
                .answers::<AdviceView>(StatusCode::OK),
            advice,
        )
}

fn add_of_organization(routes: ManagementRoutes) -> ManagementRoutes {
    routes
        .add(
            Endpoint::get(
                "/v1/organizations/{organization}/usage",
                ManagementRight::KeysRead,
            )
            .named(
                Tag::Usage,
                "show_usage",
                "Show what an organization's keys were used for, and what deserves a look. A key's refusals rise when those of the \
                 last 24 hours are at least 20, and at least 3 times the key's own average of a day in the 14 days before",
            )
            .spans()
            .answers::<OrganizationUsageView>(StatusCode::OK),
            overview,
        )
        .add(
            Endpoint::get(
                "/v1/organizations/{organization}/usage/series",
                ManagementRight::KeysRead,
            )
            .named(
                Tag::Usage,
                "show_usage_series",
                "Show the curve of an organization's usage by hours or days",
            )
            .asks("by", "How long a point is; `day` if absent.", StepName::schema)
            .spans()
            .exports()
            .answers::<SeriesView>(StatusCode::OK),
            organization_series,
        )
        .add(
            Endpoint::get(
                "/v1/organizations/{organization}/usage/top",
                ManagementRight::KeysRead,
            )
            .named(
                Tag::Usage,
                "list_top_users",
                "List the clients or addresses that used or tried an organization's keys most, of at most 31 days; of the last 7 \
                 if it is not said",
            )
            .asks("of", "Clients or addresses; `addresses` if absent.", TopName::schema)
            .spans()
            .asks(
                "limit",
                "At most so many, from 1 to 100; 20 if absent.",
                super::openapi::limit_of_top,
            )
            .exports()
            .answers::<ListView<TopEntryView>>(StatusCode::OK),
            top,
        )
        .add(
            Endpoint::get(
                "/v1/organizations/{organization}/usage/unused",
                ManagementRight::KeysRead,
            )
            .named(
                Tag::Usage,
                "list_unused_keys",
                "List living keys that were not used for so many days: the longest unused first, then those that were never used. \
                 To delete or pause them at once, use the bulk routes with `unused_for_days`",
            )
            .asks("days", "For so many days, from 1 to 3650; 30 if absent.", super::openapi::days)
            .exports()
            .exports_whole()
            .pages()
            .answers::<ListView<KeyView>>(StatusCode::OK),
            unused,
        )
        .add(
            Endpoint::get(
                "/v1/organizations/{organization}/usage/addresses",
                ManagementRight::KeysRead,
            )
            .named(
                Tag::Usage,
                "list_new_addresses",
                "List the addresses that keys were first used from in the last days, the newest first",
            )
            .asks("days", "In so many days, from 1 to 3650; 7 if absent.", super::openapi::days)
            .exports()
            .exports_whole()
            .pages()
            .answers::<ListView<SeenAddressView>>(StatusCode::OK),
            addresses,
        )
}

async fn history(grant: Grant, mut call: ManagementCall) -> Result<Response, Problem> {
    let (organization, id) = subject(&grant, &call).await?;
    let span = call.span(DAYS);
    let query = &mut call.query;
    let filter = HistoryFilter {
        outcome: query.parsed("outcome", |text| match text {
            "refused" => Ok(OutcomeFilter::Refused),
            name => Outcome::from_name(name)
                .map(OutcomeFilter::One)
                .ok_or("is `ok`, `refused`, or the code of a refusal such as `key_expired`"),
        }),
        used_for: query.parsed("operation", |text| {
            UsedFor::from_name(text).ok_or("is `identify`, or an operation such as `dataset.read`")
        }),
        address: query.text("address"),
        client: query.text("client"),
        secret: query.parsed("secret", |text| {
            let number = text.parse::<i64>().ok().filter(|number| *number >= 0);
            number.ok_or("is the number of a secret; 0 where only the key's id matched")
        }),
    };
    let wanted = call.wanted("usage")?;
    call.answer_list(wanted, move |engine, page| {
        let (organization, filter) = (organization.clone(), filter.clone());
        async move {
            let page = HistoryPage {
                filter,
                span,
                after: page.after,
                limit: page.limit,
            };
            let (key, rows) = engine.usage_history(&organization, id, &page).await?;
            let items = rows.items.into_iter().map(|row| row_view(&key, row)).collect();
            Ok((items, rows.next))
        }
    })
    .await
}

async fn summary(grant: Grant, mut call: ManagementCall) -> Result<Response, Problem> {
    let (organization, id) = subject(&grant, &call).await?;
    let span = call.span(DAYS);
    call.end_query()?;
    let summary = call.engine().usage_summary(&organization, id, span).await?;
    reply::json(StatusCode::OK, &summary_view(summary, span))
}

async fn series(grant: Grant, mut call: ManagementCall) -> Result<Response, Problem> {
    let (organization, id) = subject(&grant, &call).await?;
    let (step, span, format) = call.curve()?;
    let (key, points) = call.engine().usage_series(&organization, id, span, step).await?;
    let view = SeriesView {
        key_id: Some(key.record.id.to_string()),
        key_name: Some(key.name.to_string()),
        by: name_of_step(step).to_owned(),
        points: points.into_iter().map(point_view).collect(),
    };
    answer_rows(format, &view.points, &view)
}

async fn organization_series(grant: Grant, mut call: ManagementCall) -> Result<Response, Problem> {
    let organization = grant.organization()?.clone();
    let (step, span, format) = call.curve()?;
    let points = call
        .engine()
        .organization_series(&organization, span, step)
        .await?;
    let view = SeriesView {
        key_id: None,
        key_name: None,
        by: name_of_step(step).to_owned(),
        points: points.into_iter().map(point_view).collect(),
    };
    answer_rows(format, &view.points, &view)
}

async fn advice(grant: Grant, mut call: ManagementCall) -> Result<Response, Problem> {
    let (organization, id) = subject(&grant, &call).await?;
    let days = call.days(DAYS, MAX_DAYS);
    call.end_query()?;
    let advice = call.engine().advise_key(&organization, id, days).await?;
    reply::json(StatusCode::OK, &advice_view(advice, days))
}

async fn overview(grant: Grant, mut call: ManagementCall) -> Result<Response, Problem> {
    let organization = grant.organization()?.clone();
    let span = call.span(DAYS);
    call.end_query()?;
    let usage = call.engine().organization_usage(&organization, span).await?;
    reply::json(StatusCode::OK, &overview_view(&organization, usage, span))
}

async fn top(grant: Grant, mut call: ManagementCall) -> Result<Response, Problem> {
    let organization = grant.organization()?.clone();
    let of = call.query.parsed("of", |text| match text {
        "clients" => Ok(Of::Clients),
        "addresses" => Ok(Of::Addresses),
        _ => Err("is clients or addresses"),
    });
    let span = call.span(DAYS_OF_NEWS);
    let limit = call.query.parsed("limit", |text| {
        let number = text.parse().ok().filter(|size| (1..=MAX_TOP).contains(size));
        number.ok_or("is a whole number from 1 to 100")
    });
    let format = call.format();
    call.end_query()?;
    let of = of.unwrap_or(Of::Addresses);
    let found = call
        .engine()
        .organization_top(&organization, of, span, limit.unwrap_or(TOP))
        .await?;
    let items = found.into_iter().map(top_view).collect();
    let view = ListView { items, next: None };
    answer_rows(format, &view.items, &view)
}

async fn unused(grant: Grant, mut call: ManagementCall) -> Result<Response, Problem> {
    let organization = grant.organization()?.clone();
    let days = call.days(DAYS, MAX_LISTED_DAYS);
    let wanted = call.wanted("unused")?;
    call.answer_list(wanted, move |engine, page| {
        let organization = organization.clone();
        async move {
            let found = engine
                .unused_keys(&organization, days, &page.after, page.limit)
                .await?;
            let items = with_uses(&engine, &organization, found.items).await?;
            Ok((items, found.next))
        }
    })
    .await
}

async fn addresses(grant: Grant, mut call: ManagementCall) -> Result<Response, Problem> {
    let organization = grant.organization()?.clone();
    let days = call.days(DAYS_OF_NEWS, MAX_LISTED_DAYS);
    let wanted = call.wanted("addresses")?;
    call.answer_list(wanted, move |engine, page| {
        let organization = organization.clone();
        async move {
            let found = engine
                .new_addresses(&organization, days, &page.after, page.limit)
                .await?;
            Ok((found.items.into_iter().map(seen_view).collect(), found.next))
        }
    })
    .await
}

/// As the filter of a list of keys has it.
const MAX_LISTED_DAYS: i64 = 3_650;

impl ManagementCall {
    /// `from` and `to`; the last `days` without them.
    fn span(&mut self, days: i64) -> Span {
        let now = self.engine().now();
        let from = self.query.parsed("from", moment::read);
        let until = self.query.parsed("to", moment::read).unwrap_or(now);
        Span {
            from: from.unwrap_or_else(|| Span::last_days(days, until).from),
            until,
        }
    }

    fn days(&mut self, otherwise: i64, most: i64) -> i64 {
        let days = self.query.parsed("days", |text| {
            let number = text.parse().ok().filter(|days| (1..=most).contains(days));
            number.ok_or_else(|| format!("is a whole number from 1 to {most}"))
        });
        days.unwrap_or(otherwise)
    }

    /// Step, span and format of a curve: all of its query.
    fn curve(&mut self) -> Result<(Step, Span, Format), Problem> {
        let step = self.query.parsed("by", |text| match text {
            "hour" => Ok(Step::Hour),
            "day" => Ok(Step::Day),
            _ => Err("is hour or day"),
        });
        let step = step.unwrap_or(Step::Day);
        let span = self.span(match step {
            Step::Hour => DAYS_BY_HOUR,
            Step::Day => DAYS,
        });
        let format = self.format();
        self.end_query()?;
        Ok((step, span, format))
    }

    fn end_query(&mut self) -> Result<(), Problem> {
        Ok(std::mem::take(&mut self.query).finish(())?)
    }
}

impl Endpoint {
    /// Reads `from` and `to`.
    fn spans(self) -> Self {
        self.asks(
            "from",
            "From when on, with the whole hour; some days before `to` if absent. At most 400 days are answered at once, 31 of a \
             curve by hours.",
            super::openapi::moment,
        )
        .asks("to", "Until when; now if absent.", super::openapi::moment)
    }

    /// Answers in the format that is asked for.
    fn exports(mut self) -> Self {
        self.is_exported = true;
        self.asks(
            "format",
            "In which format; as `Accept` says if absent.",
            FormatName::schema,
        )
    }

    /// Answers all pages at once, too.
    fn exports_whole(self) -> Self {
        self.asks(
            "all",
            "Whether all pages follow in one answer; for csv and jsonl. Otherwise the header `Link` tells the next page.",
            bool::schema,
        )
    }
}

fn advice_view(found: KeyAdvice, days: i64) -> AdviceView {
    let advice = &found.advice;
    AdviceView {
        key_id: found.key.record.id.to_string(),
        key_name: found.key.name.to_string(),
        days,
        verdict: found.verdict.name().to_owned(),
        message: advice_message(&found, days),
        uses: found.uses,
        used: operation_names(&advice.used),
        unused: operation_names(&advice.unused),
        no_longer_allowed: operation_names(&advice.no_longer_allowed),
        now: AccessView::of(&found.key.record.access),
        level: advice.level.as_ref().map(AccessView::of),
        rules: advice.rules.as_ref().map(AccessView::of),
        edit: (found.verdict == Verdict::Narrow)
            .then(|| advice.least().map(AccessView::of))
            .flatten(),
    }
}

fn advice_message(found: &KeyAdvice, days: i64) -> String {
    let unused = found.advice.unused.len();
    match found.verdict {
        Verdict::Deleted => "The key was deleted; there is nothing left to narrow.".to_owned(),
        Verdict::Remove => {
            format!(
                "Nobody used the key in the last {days} days: delete it, or pause it and see who misses it."
            )
        }
        Verdict::Wait => format!(
            "Nobody has used the key yet, and it is younger than {days} days: ask again later, or for fewer days."
        ),
        Verdict::Keep => format!(
            "In the last {days} days the key was used for all that it may do, as far as its scopes, level and rules can tell it apart."
        ),
        Verdict::Narrow => {
            let hides_people = found.key.record.access.is_unnarrowed();
            let people = if hides_people {
                " A narrowed key is not shown the organization's people and billing any more."
            } else {
                ""
            };
            // A service that asks whose a key is decides for itself, perhaps by the scopes that it is told.
            let performed: i64 = found.uses_by_operation.iter().map(|(_, uses)| uses).sum();
            let elsewhere = match found.uses - performed {
                0 => String::new(),
                asked => format!(
                    " Services asked {asked} times whose key it is; what they allow by its scopes and level is not known here, so ask \
                     them first."
                ),
            };
            format!(
                "In the last {days} days the key was not used for {unused} of the operations that it may do: send `edit` to narrow it, \
                 after a look at what it does more rarely than that.{people}{elsewhere}"
            )
        }
    }
}

/// The circumstances of a last use, as they are shown.
pub(super) fn last_use_view(used: &keyward_store::uses::SecretUse) -> Option<LastUseView> {
    used.last.as_ref().map(|last| LastUseView {
        operation: last.operation.clone(),
        address: last.address.clone(),
        client: last.client.clone(),
    })
}
