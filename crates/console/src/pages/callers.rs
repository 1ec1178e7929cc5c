//! Who used or tried a key: its history, put together by address, client and secret.
//!
//! Reads so many rows of the history at most; where there were more, [`Callers::is_whole`] says no, and pages say "at least".

use std::collections::BTreeMap;

use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::time::Timestamp;
use keyward_engine::Engine;
use keyward_engine::show_usage::{HistoryPage, Span};
use keyward_store::usage_queries::HistoryFilter;

use super::access_words::enumerated;
use super::usage_words::is_refusal;
use crate::refused::Refused;
use crate::words::{When, grouped, relative};

/// Rows of a page of history, and how many pages are read.
const ROWS: u32 = 1_000;
const PAGES: usize = 4;
/// Callers that a page names.
pub(super) const SHOWN: usize = 25;

/// One address with one client and one secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) address: String,
    pub(super) client: String,
    /// The number of the secret; 0 where only the key's id matched.
    pub(super) secret: i64,
    pub(super) accepted: i64,
    pub(super) refused: i64,
    pub(super) first_at: Timestamp,
    pub(super) last_at: Timestamp,
}

/// Everybody who was found, those who came last first.
#[derive(Debug, Default)]
pub(super) struct Callers {
    pub(super) items: Vec<Caller>,
    pub(super) is_whole: bool,
}

/// A caller in a table.
pub(super) struct CallerRow {
    pub(super) address: String,
    pub(super) client: String,
    pub(super) accepted: String,
    pub(super) refused: String,
    pub(super) first: When,
    pub(super) last: When,
    /// A mark such as `New address`; empty without one.
    pub(super) mark: &'static str,
}

impl Callers {
    /// Those of a span that a filter means, and who came at or after `since`: rows are of whole hours.
    ///
    /// # Errors
    /// What the engine says.
    pub(super) async fn find(
        engine: &Engine,
        (organization, id): (&OrganizationId, KeyId),
        filter: HistoryFilter,
        span: Span,
    ) -> Result<Self, Refused> {
        let mut found: BTreeMap<(String, String, i64), Caller> = BTreeMap::new();
        let mut page = HistoryPage {
            filter,
            span,
            after: String::new(),
            limit: ROWS,
        };
        let mut is_whole = false;
        for _ in 0..PAGES {
            let (_, rows) = engine.usage_history(organization, id, &page).await?;
            for row in rows.items {
                if row.last_at < span.from {
                    continue;
                }
                let place = (row.address.clone(), row.client.clone(), row.secret);
                let caller = found.entry(place).or_insert_with(|| Caller {
                    address: row.address,
                    client: row.client,
                    secret: row.secret,
                    accepted: 0,
                    refused: 0,
                    first_at: row.first_at,
                    last_at: row.last_at,
                });
                if is_refusal(&row.outcome) {
                    caller.refused += row.uses;
                } else {
                    caller.accepted += row.uses;
                }
                caller.first_at = caller.first_at.min(row.first_at);
                caller.last_at = caller.last_at.max(row.last_at);
            }
            match rows.next {
                Some(next) => page.after = next,
                None => {
                    is_whole = true;
                    break;
                }
            }
        }
        let mut items: Vec<Caller> = found.into_values().collect();
        items.sort_by_key(|one| std::cmp::Reverse(one.last_at));
        Ok(Self { items, is_whole })
    }

    /// The same, of one secret, or without it.
    pub(super) fn only(self, keep: impl Fn(&Caller) -> bool) -> Self {
        Self {
            items: self.items.into_iter().filter(keep).collect(),
            ..self
        }
    }

    /// How many, in words: `One client`, `At least 40 clients`.
    pub(super) fn counted(&self) -> String {
        let least = if self.is_whole { "" } else { "At least " };
        match self.items.len() {
            1 if self.is_whole => "One client".to_owned(),
            1 => "At least one client".to_owned(),
            many => format!("{least}{} clients", grouped(many as u64)),
        }
    }

    /// The first few by name: `192.0.2.55 (curl/8.5, 12 minutes ago) and 3 more`.
    pub(super) fn named(&self, now: Timestamp) -> String {
        const NAMED: usize = 3;
        let mut names: Vec<String> = self
            .items
            .iter()
            .take(NAMED)
            .map(|one| format!("{} ({}, {})", one.address, one.client, relative(one.last_at, now)))
            .collect();
        if self.items.len() > NAMED {
            names.push(format!("{} more", self.items.len() - NAMED));
        }
        enumerated(names)
    }

    /// As rows of a table, at most [`SHOWN`]; `mark` says what deserves a mark.
    pub(super) fn rows(&self, now: Timestamp, mark: impl Fn(&Caller) -> &'static str) -> Vec<CallerRow> {
        let rows = self.items.iter().take(SHOWN).map(|caller| CallerRow {
            address: caller.address.clone(),
            client: caller.client.clone(),
            accepted: grouped(caller.accepted.unsigned_abs()),
            refused: grouped(caller.refused.unsigned_abs()),
            first: When::relative(caller.first_at, now),
            last: When::relative(caller.last_at, now),
            mark: mark(caller),
        });
        rows.collect()
    }
}
