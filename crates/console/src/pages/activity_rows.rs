//! Rows of a key's history as tables show them, with their marks: an address that was new, an attempt with only the key's id.

use keyward_store::usage_overview::KeyAddress;
use keyward_store::usage_queries::UsageRow;

use super::key_head::Badge;
use super::usage_words::{is_refusal, outcome_words, used_for_words};
use crate::words::{When, exact, grouped};

/// One row.
pub(super) struct ActivityRow {
    pub(super) last: When,
    /// Since when, where a row is more than one request.
    pub(super) since: String,
    pub(super) operation: String,
    /// The operation's name, for who writes rules.
    pub(super) operation_name: String,
    pub(super) outcome: String,
    pub(super) is_refused: bool,
    pub(super) address: String,
    pub(super) client: String,
    pub(super) secret: String,
    pub(super) uses: String,
    pub(super) marks: Vec<Badge>,
}

/// Since when a row's requests came, where that is not the moment which the row has already. Its day is said if it is another.
fn since_words(row: &UsageRow) -> String {
    let (first, last) = (exact(row.first_at), exact(row.last_at));
    let day_of = |text: &str| text.split_once(", ").map(|(day, _)| day.to_owned());
    match first.split_once(", ") {
        _ if row.uses <= 1 || first == last => String::new(),
        Some((day, time)) if day_of(&last).as_deref() == Some(day) => format!("since {time}"),
        _ => format!("since {first}"),
    }
}

/// Rows of a history, with what is known of the key's addresses.
pub(super) fn rows_of(rows: Vec<UsageRow>, seen: &[KeyAddress]) -> Vec<ActivityRow> {
    let first_ever = seen.iter().map(|one| one.first_at).min();
    let shown = rows.into_iter().map(|row| {
        let is_refused = is_refusal(&row.outcome);
        let of_address = seen.iter().find(|one| one.address == row.address);
        let mut marks = Vec::new();
        match of_address {
            Some(known) if !is_refused && (row.first_at..=row.last_at).contains(&known.first_at) => {
                marks.push(if Some(known.first_at) == first_ever {
                    Badge::new("First use", "ok")
                } else {
                    Badge::new("New address", "warn")
                });
            }
            None if is_refused && row.address.parse::<std::net::IpAddr>().is_ok() => {
                marks.push(Badge::new("Never used it", "warn"));
            }
            _ => {}
        }
        ActivityRow {
            last: When::exact(row.last_at),
            since: since_words(&row),
            operation: used_for_words(&row.operation),
            outcome: outcome_words(&row.outcome).to_owned(),
            operation_name: row.operation,
            is_refused,
            address: row.address,
            client: row.client,
            secret: match row.secret {
                0 => "only the id".to_owned(),
                number => number.to_string(),
            },
            uses: grouped(row.uses.unsigned_abs()),
            marks,
        }
    });
    shown.collect()
}
