//! Show usage: a key's history, sums and curve; an organization's overview; who uses what; unused keys, new addresses, rising
//! refusals.
//!
//! What was counted and is only in memory is written first, so that an answer holds everything up to its question. A deleted
//! key is shown like a living one. How wide a question may be is bounded here: a curve by hours has 31 days, everything else 400.

use keyward_core::field::FieldProblem;
use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::record::Key;
use keyward_core::time::{DAY_MS, Timestamp};
use keyward_core::usage::hour_of;
use keyward_core::usage_rise::{RiseHours, is_rise};
use keyward_store::usage_overview::{
    AddressPlace, KeyAddress, KeyAt, KeysByLastUse, OrganizationSum, RefusedKey, SeenAddress, TopKey, UsedKey,
};
use keyward_store::usage_queries::{
    HistoryFilter, HistoryPlace, Hours, Of, Step, TopEntry, UsagePoint, UsageRow, UsageSum,
};
use keyward_store::uses::SecretUse;

use crate::Engine;
use crate::error::EngineError;
use crate::show_keys::Page;

/// The longest span of a question, in days.
pub const MAX_DAYS: i64 = 400;
/// The longest span of a curve by hours, in days.
pub const MAX_DAYS_BY_HOUR: i64 = 31;
/// The longest span of who used an organization's keys, in days.
pub const MAX_DAYS_OF_TOP: i64 = 31;
/// Most different combinations of secret, operation and outcome that are summed up.
const MAX_SUMS: i64 = 10_000;
/// How many clients and addresses a key's summary names.
const TOP_OF_KEY: i64 = 10;
/// How many keys and addresses an overview names.
const SHOWN: i64 = 10;
/// Most keys whose refusals are compared with their past.
const MAX_COMPARED: i64 = 1_000;
/// Most addresses of one key that are shown.
const MAX_ADDRESSES: i64 = 1_000;
/// Days since which an overview counts keys as used.
pub const USED_WITHIN_DAYS: [i64; 3] = [1, 7, 30];

/// From when until when, both included; whole hours of them are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The begin.
    pub from: Timestamp,
    /// The end.
    pub until: Timestamp,
}

/// Which page of a key's history.
#[derive(Debug, Clone)]
pub struct HistoryPage {
    /// Which rows.
    pub filter: HistoryFilter,
    /// Of which time.
    pub span: Span,
    /// The position after which it begins; empty for the first page.
    pub after: String,
    /// At most so many.
    pub limit: u32,
}

/// What a key was used for, in sums.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageSummary {
    /// The key.
    pub key: Key,
    /// How often each of its secrets was used for what.
    pub sums: Vec<UsageSum>,
    /// The last use of each secret, ever.
    pub last_uses: Vec<SecretUse>,
    /// From where most.
    pub addresses: Vec<TopEntry>,
    /// By which clients most.
    pub clients: Vec<TopEntry>,
}

/// What the keys of an organization were used for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrganizationUsage {
    /// How often for what, with which outcome.
    pub sums: Vec<OrganizationSum>,
    /// How many keys were used within [`USED_WITHIN_DAYS`].
    pub keys: KeysByLastUse,
    /// The keys that were used last.
    pub last_used: Vec<UsedKey>,
    /// Addresses that are new within 7 days.
    pub new_addresses: Vec<SeenAddress>,
    /// Keys whose refusals rise.
    pub rises: Vec<RefusedKey>,
}

impl Span {
    /// The last days before a moment.
    pub const fn last_days(days: i64, now: Timestamp) -> Self {
        Self {
            from: now.plus_ms(-days.saturating_mul(DAY_MS)),
            until: now,
        }
    }

    /// # Errors
    /// [`EngineError::Invalid`] where the end comes first, or more than `most_days` lie between.
    fn hours(self, most_days: i64) -> Result<Hours, EngineError> {
        let problem = |field: &str, message: String| {
            Err(EngineError::Invalid(vec![FieldProblem {
                field: field.to_owned(),
                message,
            }]))
        };
        let hours = Hours {
            from: hour_of(self.from),
            until: hour_of(self.until),
        };
        if hours.until < hours.from {
            return problem(
                "from",
                "comes after the end; `to` is now if it is absent".to_owned(),
            );
        }
        if hours.until.saturating_sub(hours.from) > most_days * 24 {
            return problem(
                "from",
                format!("at most {most_days} days before `to`; ask in parts"),
            );
        }
        Ok(hours)
    }
}

impl Engine {
    /// A page of what happened to a key, newest hour first.
    ///
    /// # Errors
    /// [`EngineError::NotFound`]; [`EngineError::Invalid`] for a span or a position that is none.
    pub async fn usage_history(
        &self,
        organization: &OrganizationId,
        id: KeyId,
        page: &HistoryPage,
    ) -> Result<(Key, Page<UsageRow>), EngineError> {
        let hours = page.span.hours(MAX_DAYS)?;
        let key = self.show_key(organization, id).await?;
        let before = match page.after.as_str() {
            "" => HistoryPlace::after_hour(hours.until),
            position => read_history_place(position).ok_or_else(no_position)?,
        };
        self.settle_usage().await?;
        let limit = i64::from(page.limit) + 1;
        let rows = self
            .inner
            .store
            .usage_history(organization, id, &page.filter, (&before, hours.from), limit)
            .await?;
        let rows = Page::cut(rows, page.limit, |row| write_history_place(&row.place()));
        Ok((key, rows))
    }

    /// A key's usage in sums.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::Invalid`] for the span.
    pub async fn usage_summary(
        &self,
        organization: &OrganizationId,
        id: KeyId,
        span: Span,
    ) -> Result<UsageSummary, EngineError> {
        let hours = span.hours(MAX_DAYS)?;
        let key = self.show_key(organization, id).await?;
        self.settle_usage().await?;
        let store = &self.inner.store;
        let top = |of| store.usage_top(organization, id, of, hours, TOP_OF_KEY);
        Ok(UsageSummary {
            key,
            sums: store.usage_sums(organization, id, hours, MAX_SUMS).await?,
            last_uses: store.list_uses(organization, &[id]).await?,
            addresses: top(Of::Addresses).await?,
            clients: top(Of::Clients).await?,
        })
    }

    /// A key's curve, oldest first, without gaps.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::Invalid`] for the span.
    pub async fn usage_series(
        &self,
        organization: &OrganizationId,
        id: KeyId,
        span: Span,
        step: Step,
    ) -> Result<(Key, Vec<UsagePoint>), EngineError> {
        let hours = whole_steps(span.hours(most_days(step))?, step);
        let key = self.show_key(organization, id).await?;
        self.settle_usage().await?;
        let points = self
            .inner
            .store
            .usage_curve(organization, id, hours, step)
            .await?;
        Ok((key, without_gaps(points, hours, step)))
    }

    /// What the keys of an organization were used for, and what deserves a look.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::Invalid`] for the span.
    pub async fn organization_usage(
        &self,
        organization: &OrganizationId,
        span: Span,
    ) -> Result<OrganizationUsage, EngineError> {
        let hours = span.hours(MAX_DAYS)?;
        self.begin_overview(organization).await?;
        let (store, now) = (&self.inner.store, self.now());
        let since = |days: i64| now.plus_ms(-days * DAY_MS);
        Ok(OrganizationUsage {
            sums: store.organization_sums(organization, hours).await?,
            keys: store
                .count_keys_by_last_use(organization, USED_WITHIN_DAYS.map(since))
                .await?,
            last_used: store.keys_last_used(organization, SHOWN).await?,
            new_addresses: store
                .new_addresses(organization, since(7), &AddressPlace::newest(), SHOWN)
                .await?,
            rises: self.rises(organization).await?,
        })
    }

    /// The keys whose refusals rise by the rule of [`keyward_core::usage_rise`]; those refused most first.
    pub(crate) async fn rises(&self, organization: &OrganizationId) -> Result<Vec<RefusedKey>, EngineError> {
        let hours = RiseHours::at(self.now());
        let refused = self
            .inner
            .store
            .keys_refused_often(organization, hours, MAX_COMPARED)
            .await?;
        let rising = refused
            .into_iter()
            .filter(|key| is_rise(key.recent, key.baseline));
        Ok(rising.collect())
    }

    /// An organization's curve, oldest first, without gaps.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::Invalid`] for the span.
    pub async fn organization_series(
        &self,
        organization: &OrganizationId,
        span: Span,
        step: Step,
    ) -> Result<Vec<UsagePoint>, EngineError> {
        let hours = whole_steps(span.hours(most_days(step))?, step);
        self.begin_overview(organization).await?;
        let points = self
            .inner
            .store
            .organization_curve(organization, hours, step)
            .await?;
        Ok(without_gaps(points, hours, step))
    }

    /// Who used or tried the keys of an organization most.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::Invalid`] for the span.
    pub async fn organization_top(
        &self,
        organization: &OrganizationId,
        of: Of,
        span: Span,
        limit: u32,
    ) -> Result<Vec<TopEntry>, EngineError> {
        let hours = span.hours(MAX_DAYS_OF_TOP)?;
        self.begin_overview(organization).await?;
        let store = &self.inner.store;
        Ok(store
            .organization_top(organization, of, hours, i64::from(limit))
            .await?)
    }

    /// The keys that were used or tried most, deleted ones included.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::Invalid`] for the span.
    pub async fn organization_top_keys(
        &self,
        organization: &OrganizationId,
        span: Span,
        limit: u32,
    ) -> Result<Vec<TopKey>, EngineError> {
        let hours = span.hours(MAX_DAYS_OF_TOP)?;
        self.begin_overview(organization).await?;
        let store = &self.inner.store;
        Ok(store.top_keys(organization, hours, i64::from(limit)).await?)
    }

    /// The addresses that a key was used from with success, those that came last first; at most 1,000.
    ///
    /// # Errors
    /// [`EngineError::NotFound`].
    pub async fn key_addresses(
        &self,
        organization: &OrganizationId,
        id: KeyId,
    ) -> Result<Vec<KeyAddress>, EngineError> {
        self.show_key(organization, id).await?;
        self.settle_usage().await?;
        let store = &self.inner.store;
        Ok(store.addresses_of_key(organization, id, MAX_ADDRESSES).await?)
    }

    /// A page of the living keys that were not used for so many days: the longest unused first, then those that were never used
    /// and are as old, the oldest first.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::Invalid`] for a position that is none.
    pub async fn unused_keys(
        &self,
        organization: &OrganizationId,
        days: i64,
        after: &str,
        limit: u32,
    ) -> Result<Page<Key>, EngineError> {
        let (is_never, mut place) = match after {
            "" => (false, None),
            position => read_unused_place(position).ok_or_else(no_position)?,
        };
        self.begin_overview(organization).await?;
        let store = &self.inner.store;
        let since = self.now().plus_ms(-days.saturating_mul(DAY_MS));
        let wanted = i64::from(limit) + 1;
        let mut found: Vec<(bool, KeyAt)> = Vec::new();
        if !is_never {
            let used = store
                .keys_unused_since(organization, since, place.take(), wanted)
                .await?;
            found.extend(used.into_iter().map(|key| (false, key)));
        }
        let missing = wanted - i64::try_from(found.len()).unwrap_or(wanted);
        if missing > 0 {
            let never = store.keys_never_used(organization, since, place, missing).await?;
            found.extend(never.into_iter().map(|key| (true, key)));
        }
        let page = Page::cut(found, limit, |(is_never, key)| {
            let kind = if *is_never { "never" } else { "used" };
            format!("{kind}.{}.{}", key.at.as_unix_ms(), key.key_id)
        });
        let ids: Vec<KeyId> = page.items.iter().map(|(_, key)| key.key_id).collect();
        Ok(Page {
            items: self.keys_in_order(organization, &ids).await?,
            next: page.next,
        })
    }

    /// A page of the addresses that keys were first used from in the last days, the newest first.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::Invalid`] for a position that is none.
    pub async fn new_addresses(
        &self,
        organization: &OrganizationId,
        days: i64,
        after: &str,
        limit: u32,
    ) -> Result<Page<SeenAddress>, EngineError> {
        let before = match after {
            "" => AddressPlace::newest(),
            position => read_address_place(position).ok_or_else(no_position)?,
        };
        self.begin_overview(organization).await?;
        let since = self.now().plus_ms(-days.saturating_mul(DAY_MS));
        let rows = self
            .inner
            .store
            .new_addresses(organization, since, &before, i64::from(limit) + 1)
            .await?;
        Ok(Page::cut(rows, limit, |seen| {
            format!("{}.{}.{}", seen.first_at.as_unix_ms(), seen.key_id, seen.address)
        }))
    }

    /// An organization that does not exist is said to be none, not to be without usage.
    async fn begin_overview(&self, organization: &OrganizationId) -> Result<(), EngineError> {
        self.show_organization(organization).await?;
        Ok(self.settle_usage().await?)
    }
}

const fn most_days(step: Step) -> i64 {
    match step {
        Step::Hour => MAX_DAYS_BY_HOUR,
        Step::Day => MAX_DAYS,
    }
}

/// From the begin of the first step on, so that no point is of half a step but the last.
fn whole_steps(hours: Hours, step: Step) -> Hours {
    Hours {
        from: hours.from.div_euclid(step.hours()) * step.hours(),
        ..hours
    }
}

/// The same with a point of zeros for every step in which nothing happened.
fn without_gaps(points: Vec<UsagePoint>, hours: Hours, step: Step) -> Vec<UsagePoint> {
    let mut known = points.into_iter().peekable();
    let begins = (hours.from..=hours.until).step_by(usize::try_from(step.hours()).unwrap_or(1));
    let all = begins.map(|hour| {
        let at = keyward_core::usage::start_of_hour(hour);
        known.next_if(|point| point.at == at).unwrap_or(UsagePoint {
            at,
            accepted: 0,
            refused: 0,
            only_id_matched: 0,
        })
    });
    all.collect()
}

/// What tells the row apart, separated by slashes; the client is the last, because it may hold some.
fn write_history_place(place: &HistoryPlace) -> String {
    let client = place.client.replace('%', "%25").replace(' ', "%20");
    format!(
        "{}/{}/{}/{}/{}/{client}",
        place.hour, place.secret, place.operation, place.outcome, place.address
    )
}

fn read_history_place(text: &str) -> Option<HistoryPlace> {
    let mut parts = text.splitn(6, '/');
    Some(HistoryPlace {
        hour: parts.next()?.parse().ok()?,
        secret: parts.next()?.parse().ok()?,
        operation: parts.next()?.to_owned(),
        outcome: parts.next()?.to_owned(),
        address: parts.next()?.to_owned(),
        client: parts.next()?.replace("%20", " ").replace("%25", "%"),
    })
}

fn read_unused_place(text: &str) -> Option<(bool, Option<KeyAt>)> {
    let mut parts = text.splitn(3, '.');
    let is_never = match parts.next()? {
        "used" => false,
        "never" => true,
        _ => return None,
    };
    let at = Timestamp::from_unix_ms(parts.next()?.parse().ok()?);
    let key_id = parts.next()?.parse().ok()?;
    Some((is_never, Some(KeyAt { key_id, at })))
}

fn read_address_place(text: &str) -> Option<AddressPlace> {
    let mut parts = text.splitn(3, '.');
    Some(AddressPlace {
        first_at: Timestamp::from_unix_ms(parts.next()?.parse().ok()?),
        key_id: parts.next()?.parse::<KeyId>().ok()?.to_string(),
        address: parts.next()?.to_owned(),
    })
}

fn no_position() -> EngineError {
    EngineError::Invalid(vec![FieldProblem {
        field: "cursor".to_owned(),
        message: "is no place in this list; begin at its first page".to_owned(),
    }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_back_whatever_the_client_calls_itself() {
        for client in ["curl/8", "a %20 b%25/c", "(none)", ""] {
            let place = HistoryPlace {
                hour: 490_000,
                secret: 2,
                operation: "dataset.read".to_owned(),
                outcome: "ok".to_owned(),
                address: "2001:db8::1".to_owned(),
                client: client.to_owned(),
            };
            let text = write_history_place(&place);
            assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{text}");
            assert_eq!(read_history_place(&text), Some(place));
        }
        assert_eq!(read_history_place("1/2/3"), None);
        assert_eq!(read_unused_place("ever.1.0123456789abcdef"), None);
    }

    #[test]
    fn a_curve_has_no_gaps() {
        let hours = whole_steps(Hours { from: 30, until: 75 }, Step::Day);
        let point = |day: i64, accepted| UsagePoint {
            at: keyward_core::usage::start_of_hour(day * 24),
            accepted,
            refused: 0,
            only_id_matched: 0,
        };
        let filled = without_gaps(vec![point(2, 5)], hours, Step::Day);
        assert_eq!(filled, [point(1, 0), point(2, 5), point(3, 0)]);
    }
}
