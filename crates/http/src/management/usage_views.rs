//! What the engine says of usage, as it is shown: sums are put together by secret, operation and refusal. Nothing is asked here.

use std::collections::BTreeMap;

use keyward_api::moment::write as written;
use keyward_api::usage::{
    KeysByLastUseView, OperationCountView, OrganizationUsageView, PointView, RefusalCountView, RiseView,
    SecretUsageView, SeenAddressView, TopEntryView, TotalsView, UsageRowView, UsageSummaryView, UsedKeyView,
};
use keyward_core::ids::OrganizationId;
use keyward_core::record::Key;
use keyward_core::time::Timestamp;
use keyward_core::usage::{Outcome, start_of_hour};
use keyward_core::usage_rise::RULE;
use keyward_engine::show_usage::{OrganizationUsage, Span, UsageSummary};
use keyward_store::usage_overview::{RefusedKey, SeenAddress};
use keyward_store::usage_queries::{Step, TopEntry, UsagePoint, UsageRow};

use super::usage::last_use_view;

pub(super) fn row_view(key: &Key, row: UsageRow) -> UsageRowView {
    UsageRowView {
        hour: written(start_of_hour(row.hour)),
        key_id: key.record.id.to_string(),
        key_name: key.name.to_string(),
        secret: row.secret,
        operation: row.operation,
        outcome: row.outcome,
        address: row.address,
        client: row.client,
        uses: row.uses,
        first_at: written(row.first_at),
        last_at: written(row.last_at),
    }
}

pub(super) fn point_view(point: UsagePoint) -> PointView {
    PointView {
        at: written(point.at),
        accepted: point.accepted,
        refused: point.refused,
        only_id_matched: point.only_id_matched,
    }
}

pub(super) fn top_view(entry: TopEntry) -> TopEntryView {
    TopEntryView {
        name: entry.name,
        accepted: entry.accepted,
        refused: entry.refused,
        keys: entry.keys,
        last_at: written(entry.last_at),
    }
}

pub(super) fn seen_view(seen: SeenAddress) -> SeenAddressView {
    SeenAddressView {
        first_at: written(seen.first_at),
        last_at: written(seen.last_at),
        address: seen.address,
        key_id: seen.key_id.to_string(),
        key_name: seen.name,
        is_first_of_key: seen.is_first_of_key,
    }
}

fn rise_view(rise: RefusedKey) -> RiseView {
    RiseView {
        key_id: rise.key_id.to_string(),
        key_name: rise.name,
        recent: rise.recent,
        baseline: rise.baseline,
        last_at: written(rise.last_at),
    }
}

pub(super) const fn name_of_step(step: Step) -> &'static str {
    match step {
        Step::Hour => "hour",
        Step::Day => "day",
    }
}

/// How often for what, and how often refused for which reason.
#[derive(Default)]
struct Sums {
    operations: BTreeMap<String, (i64, i64)>,
    refusals: BTreeMap<String, (i64, Option<Timestamp>)>,
}

impl Sums {
    fn add(&mut self, operation: String, outcome: String, uses: i64, last_at: Option<Timestamp>) {
        let (accepted, refused) = self.operations.entry(operation).or_default();
        if outcome == Outcome::Accepted.name() {
            *accepted += uses;
            return;
        }
        *refused += uses;
        let (count, last) = self.refusals.entry(outcome).or_default();
        *count += uses;
        *last = last_at.max(*last);
    }

    fn operations(&self) -> Vec<OperationCountView> {
        let operations = self
            .operations
            .iter()
            .map(|(operation, (accepted, refused))| OperationCountView {
                operation: operation.clone(),
                accepted: *accepted,
                refused: *refused,
            });
        operations.collect()
    }

    fn refusals(&self) -> Vec<RefusalCountView> {
        let refusals = self
            .refusals
            .iter()
            .map(|(code, (uses, last_at))| RefusalCountView {
                code: code.clone(),
                uses: *uses,
                last_at: last_at.map(written),
            });
        let mut refusals: Vec<RefusalCountView> = refusals.collect();
        refusals.sort_by_key(|refusal| std::cmp::Reverse(refusal.uses));
        refusals
    }
}

pub(super) fn summary_view(summary: UsageSummary, span: Span) -> UsageSummaryView {
    let mut totals = TotalsView::default();
    let mut secrets: BTreeMap<i64, SecretUsageView> = BTreeMap::new();
    let secret = |number: i64| SecretUsageView {
        number,
        accepted: 0,
        refused: 0,
        last_tried_at: None,
        last_used_at: None,
        last_use: None,
    };
    for used in &summary.last_uses {
        let shown = secrets.entry(used.number).or_insert_with(|| secret(used.number));
        shown.last_used_at = Some(written(used.last_used_at));
        shown.last_use = last_use_view(used);
    }
    let mut sums = Sums::default();
    let mut tried: BTreeMap<i64, Timestamp> = BTreeMap::new();
    for sum in summary.sums {
        if sum.secret == 0 {
            totals.only_id_matched += sum.uses;
            continue;
        }
        let shown = secrets.entry(sum.secret).or_insert_with(|| secret(sum.secret));
        if sum.outcome == Outcome::Accepted.name() {
            totals.accepted += sum.uses;
            shown.accepted += sum.uses;
        } else {
            totals.refused += sum.uses;
            shown.refused += sum.uses;
        }
        let last = tried.entry(sum.secret).or_insert(sum.last_at);
        *last = sum.last_at.max(*last);
        sums.add(sum.operation, sum.outcome, sum.uses, Some(sum.last_at));
    }
    for (number, shown) in &mut secrets {
        shown.last_tried_at = tried.get(number).copied().map(written);
    }
    UsageSummaryView {
        key_id: summary.key.record.id.to_string(),
        key_name: summary.key.name.to_string(),
        from: written(span.from),
        to: written(span.until),
        totals,
        secrets: secrets.into_values().rev().collect(),
        operations: sums.operations(),
        refusals: sums.refusals(),
        addresses: summary.addresses.into_iter().map(top_view).collect(),
        clients: summary.clients.into_iter().map(top_view).collect(),
    }
}

pub(super) fn overview_view(
    organization: &OrganizationId,
    usage: OrganizationUsage,
    span: Span,
) -> OrganizationUsageView {
    let mut sums = Sums::default();
    for sum in usage.sums {
        sums.add(sum.operation, sum.outcome, sum.uses, None);
    }
    let operations = sums.operations();
    let [within_a_day, within_7_days, within_30_days] = usage.keys.since;
    let last_used = usage.last_used.into_iter().map(|key| UsedKeyView {
        key_id: key.key_id.to_string(),
        key_name: key.name,
        last_used_at: written(key.last_used_at),
    });
    OrganizationUsageView {
        organization_id: organization.to_string(),
        from: written(span.from),
        to: written(span.until),
        totals: TotalsView {
            accepted: operations.iter().map(|one| one.accepted).sum(),
            refused: operations.iter().map(|one| one.refused).sum(),
            only_id_matched: 0,
        },
        operations,
        refusals: sums.refusals(),
        keys: KeysByLastUseView {
            total: usage.keys.keys,
            within_a_day,
            within_7_days,
            within_30_days,
            longer_ago: usage.keys.ever - within_30_days,
            never: usage.keys.keys - usage.keys.ever,
        },
        last_used: last_used.collect(),
        new_addresses: usage.new_addresses.into_iter().map(seen_view).collect(),
        rises: usage.rises.into_iter().map(rise_view).collect(),
        rise_rule: RULE.to_owned(),
    }
}
