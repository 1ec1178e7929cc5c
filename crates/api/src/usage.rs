//! Usage on the wire: rows of a key's history, sums, curves, who used what, new addresses, rising refusals, advice.
//!
//! Moments are RFC 3339, hours and days those of UTC. What callers call themselves is as it was kept: short, printable, never a
//! secret. Rows that can be exported say how they stand in a table (`csv`).

use keyward_core::access::Access;
use keyward_core::operation::Operation;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::csv::CsvRow;
use crate::keys::{KeyView, LastUseView, RuleView};
use crate::schema::{AdviceVerdictName, LevelName, OperationName, ScopeName, StepName};

/// What happened to a key within an hour, and how often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = UsageRow)]
pub struct UsageRowView {
    /// When the hour began.
    #[schema(format = DateTime)]
    pub hour: String,
    /// The key.
    pub key_id: String,
    /// Its name today.
    pub key_name: String,
    /// The number of the secret that was presented; 0 where only the key's id matched, so that anybody may have sent it.
    pub secret: i64,
    /// `identify`, or the operation of the resource API.
    pub operation: String,
    /// `ok`, or the code of the refusal.
    pub outcome: String,
    /// From where: an IP address, `unknown`, or `(other)` beyond the 64 that are told apart in an hour.
    pub address: String,
    /// The beginning of the `User-Agent`; `(none)` without one, `(masked)` where it looked like a secret.
    pub client: String,
    /// How often.
    pub uses: i64,
    /// First in this hour.
    #[schema(format = DateTime)]
    pub first_at: String,
    /// Last in this hour.
    #[schema(format = DateTime)]
    pub last_at: String,
}

impl CsvRow for UsageRowView {
    const COLUMNS: &'static [&'static str] = &[
        "hour",
        "key_id",
        "key_name",
        "secret",
        "operation",
        "outcome",
        "address",
        "client",
        "uses",
        "first_at",
        "last_at",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.hour.clone(),
            self.key_id.clone(),
            self.key_name.clone(),
            self.secret.to_string(),
            self.operation.clone(),
            self.outcome.clone(),
            self.address.clone(),
            self.client.clone(),
            self.uses.to_string(),
            self.first_at.clone(),
            self.last_at.clone(),
        ]
    }
}

/// How often something happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = UsageTotals)]
pub struct TotalsView {
    /// How often keys were accepted.
    pub accepted: i64,
    /// How often they were refused although the secret matched.
    pub refused: i64,
    /// How often only a key's id matched. For a whole organization these are among the refused.
    pub only_id_matched: i64,
}

/// How often there was a refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = RefusalCount)]
pub struct RefusalCountView {
    /// The code of the refusal.
    pub code: String,
    /// How often.
    pub uses: i64,
    /// When last; null for a whole organization.
    #[schema(format = DateTime)]
    pub last_at: Option<String>,
}

/// How often something was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = OperationCount)]
pub struct OperationCountView {
    /// `identify`, or the operation of the resource API.
    pub operation: String,
    /// How often it was accepted.
    pub accepted: i64,
    /// How often it was refused.
    pub refused: i64,
}

/// What a secret was used for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = SecretUsage)]
pub struct SecretUsageView {
    /// Its number.
    pub number: i64,
    /// How often it was accepted.
    pub accepted: i64,
    /// How often it was refused.
    pub refused: i64,
    /// When it was last tried in this time, whether accepted or not; null is never.
    #[schema(format = DateTime)]
    pub last_tried_at: Option<String>,
    /// When it was last accepted, ever; null is never.
    #[schema(format = DateTime)]
    pub last_used_at: Option<String>,
    /// The circumstances of that.
    pub last_use: Option<LastUseView>,
}

/// A client or an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = TopEntry)]
pub struct TopEntryView {
    /// The client's name, or the address.
    pub name: String,
    /// How often it was accepted.
    pub accepted: i64,
    /// How often it was refused.
    pub refused: i64,
    /// How many keys it used or tried.
    pub keys: i64,
    /// When last.
    #[schema(format = DateTime)]
    pub last_at: String,
}

impl CsvRow for TopEntryView {
    const COLUMNS: &'static [&'static str] = &["name", "accepted", "refused", "keys", "last_at"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.accepted.to_string(),
            self.refused.to_string(),
            self.keys.to_string(),
            self.last_at.clone(),
        ]
    }
}

/// A key's usage in sums.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = UsageSummary)]
pub struct UsageSummaryView {
    /// The key.
    pub key_id: String,
    /// Its name.
    pub key_name: String,
    /// From when on.
    #[schema(format = DateTime)]
    pub from: String,
    /// Until when.
    #[schema(format = DateTime)]
    pub to: String,
    /// How often.
    pub totals: TotalsView,
    /// Each secret, the newest first.
    pub secrets: Vec<SecretUsageView>,
    /// For what; attempts where only the id matched are not in it.
    pub operations: Vec<OperationCountView>,
    /// Why it was refused, the most frequent first; attempts where only the id matched are not in it.
    pub refusals: Vec<RefusalCountView>,
    /// From where most.
    pub addresses: Vec<TopEntryView>,
    /// By which clients most.
    pub clients: Vec<TopEntryView>,
}

/// A point of a curve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = UsagePoint)]
pub struct PointView {
    /// When the hour or the day began.
    #[schema(format = DateTime)]
    pub at: String,
    /// How often keys were accepted.
    pub accepted: i64,
    /// How often they were refused.
    pub refused: i64,
    /// How often only the key's id matched. For a whole organization these are among the refused.
    pub only_id_matched: i64,
}

impl CsvRow for PointView {
    const COLUMNS: &'static [&'static str] = &["at", "accepted", "refused", "only_id_matched"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.at.clone(),
            self.accepted.to_string(),
            self.refused.to_string(),
            self.only_id_matched.to_string(),
        ]
    }
}

/// A curve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = UsageSeries)]
pub struct SeriesView {
    /// The key; null for the whole organization.
    pub key_id: Option<String>,
    /// Its name.
    pub key_name: Option<String>,
    /// How long a point is.
    #[schema(value_type = StepName)]
    pub by: String,
    /// The points, the oldest first, without gaps.
    pub points: Vec<PointView>,
}

/// An address that a key was used from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = SeenAddress)]
pub struct SeenAddressView {
    /// When it was first seen.
    #[schema(format = DateTime)]
    pub first_at: String,
    /// When last, exact to an hour.
    #[schema(format = DateTime)]
    pub last_at: String,
    /// The address.
    pub address: String,
    /// The key.
    pub key_id: String,
    /// Its name.
    pub key_name: String,
    /// Whether the key was used from nowhere else before.
    pub is_first_of_key: bool,
}

impl CsvRow for SeenAddressView {
    const COLUMNS: &'static [&'static str] = &[
        "first_at",
        "last_at",
        "address",
        "key_id",
        "key_name",
        "is_first_of_key",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.first_at.clone(),
            self.last_at.clone(),
            self.address.clone(),
            self.key_id.clone(),
            self.key_name.clone(),
            self.is_first_of_key.to_string(),
        ]
    }
}

/// A key that is refused more often than usual.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = RefusalRise)]
pub struct RiseView {
    /// The key.
    pub key_id: String,
    /// Its name.
    pub key_name: String,
    /// How often it was refused in the last 24 hours.
    pub recent: i64,
    /// How often it was refused in all of the 14 days before.
    pub baseline: i64,
    /// When last.
    #[schema(format = DateTime)]
    pub last_at: String,
}

/// A key that was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = UsedKey)]
pub struct UsedKeyView {
    /// The key.
    pub key_id: String,
    /// Its name.
    pub key_name: String,
    /// When it was last used.
    #[schema(format = DateTime)]
    pub last_used_at: String,
}

/// How many living keys there are, by their last use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = KeysByLastUse)]
pub struct KeysByLastUseView {
    /// All living keys.
    pub total: i64,
    /// Those used within a day.
    pub within_a_day: i64,
    /// Those used within 7 days.
    pub within_7_days: i64,
    /// Those used within 30 days.
    pub within_30_days: i64,
    /// Those used before that.
    pub longer_ago: i64,
    /// Those never used.
    pub never: i64,
}

/// What the keys of an organization were used for, and what deserves a look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = OrganizationUsage)]
pub struct OrganizationUsageView {
    /// The organization.
    pub organization_id: String,
    /// From when on.
    #[schema(format = DateTime)]
    pub from: String,
    /// Until when.
    #[schema(format = DateTime)]
    pub to: String,
    /// How often.
    pub totals: TotalsView,
    /// For what.
    pub operations: Vec<OperationCountView>,
    /// Why there were refusals, the most frequent first.
    pub refusals: Vec<RefusalCountView>,
    /// The keys by their last use.
    pub keys: KeysByLastUseView,
    /// The ten that were used last.
    pub last_used: Vec<UsedKeyView>,
    /// The ten newest addresses of the last 7 days.
    pub new_addresses: Vec<SeenAddressView>,
    /// Keys whose refusals rise.
    pub rises: Vec<RiseView>,
    /// What counts as a rise.
    pub rise_rule: String,
}

/// Scopes, level and rules, as a body that edits a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = AdvisedAccess)]
pub struct AccessView {
    /// Its scopes.
    #[schema(value_type = Vec<ScopeName>)]
    pub scopes: Vec<String>,
    /// Its level.
    #[schema(value_type = LevelName)]
    pub level: String,
    /// Its rules; only of a restricted key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<Vec<RuleView>>,
}

impl AccessView {
    /// What is shown of an access.
    pub fn of(access: &Access) -> Self {
        let rules: Vec<RuleView> = access.permission().rules().iter().map(RuleView::of).collect();
        Self {
            scopes: access
                .scopes()
                .iter()
                .map(|scope| scope.name().to_owned())
                .collect(),
            level: access.permission().level().name().to_owned(),
            rules: (!rules.is_empty()).then_some(rules),
        }
    }
}

/// What a key was used for against what it may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = KeyAdvice)]
pub struct AdviceView {
    /// The key.
    pub key_id: String,
    /// Its name.
    pub key_name: String,
    /// By the uses of so many days.
    pub days: i64,
    /// What to do.
    #[schema(value_type = AdviceVerdictName)]
    pub verdict: String,
    /// The same in a sentence.
    pub message: String,
    /// How often it was accepted, being identified included.
    pub uses: i64,
    /// What it may do and was used for.
    #[schema(value_type = Vec<OperationName>)]
    pub used: Vec<String>,
    /// What it may do and was not used for.
    #[schema(value_type = Vec<OperationName>)]
    pub unused: Vec<String>,
    /// What it was used for and may not do any more.
    #[schema(value_type = Vec<OperationName>)]
    pub no_longer_allowed: Vec<String>,
    /// What it has now.
    pub now: AccessView,
    /// The narrowest scopes and level that would have done; null if it has them. Of a restricted key, its rules narrowed.
    pub level: Option<AccessView>,
    /// Rules that allow less than that; null if there are none.
    pub rules: Option<AccessView>,
    /// The body of a PATCH of the key that makes it the least of these; null if there is nothing to narrow.
    pub edit: Option<AccessView>,
}

/// Operations by their names.
pub fn operation_names(operations: &[Operation]) -> Vec<String> {
    operations.iter().map(|one| one.name().to_owned()).collect()
}

impl CsvRow for KeyView {
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "name",
        "state",
        "environment",
        "scopes",
        "level",
        "last_used_at",
        "created_at",
        "created_by",
        "expires_at",
        "tags",
        "hint",
    ];

    fn cells(&self) -> Vec<String> {
        let or_nothing = |text: &Option<String>| text.clone().unwrap_or_default();
        vec![
            self.id.clone(),
            self.name.clone(),
            self.state.clone(),
            or_nothing(&self.environment),
            self.scopes.join(" "),
            self.level.clone(),
            or_nothing(&self.last_used_at),
            self.created_at.clone(),
            self.created_by.clone(),
            or_nothing(&self.expires_at),
            self.tags.join(" "),
            self.hint.clone(),
        ]
    }
}
