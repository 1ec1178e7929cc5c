//! The filters of an activity page and of its export: read from the address, shown again in the form, kept in links.
//!
//! Page and export read the same query, so that what is downloaded is what is shown.

use keyward_core::refusal::Code;
use keyward_core::time::{DAY_MS, Timestamp};
use keyward_core::usage::{Outcome, UsedFor};
use keyward_engine::show_keys::ShownSecret;
use keyward_engine::show_usage::{MAX_DAYS, Span};
use keyward_store::usage_queries::{HistoryFilter, OutcomeFilter};

use super::usage_words::{outcome_words, used_for_words};
use crate::values::Values;
use crate::words::{day_text, read_day};

/// Spans that are offered, in days.
pub(super) const SPANS: [i64; 5] = [1, 7, 30, 90, MAX_DAYS];
/// The usual one.
const DAYS: i64 = 30;
/// Longer than any address or client that is kept.
const MAX_TEXT: usize = 100;

/// What the form holds, and what is wrong with it.
pub(super) struct UsageForm {
    pub(super) outcomes: Vec<Choice>,
    pub(super) operations: Vec<Choice>,
    pub(super) secrets: Vec<Choice>,
    pub(super) spans: Vec<Choice>,
    pub(super) address: String,
    pub(super) client: String,
    pub(super) from: String,
    pub(super) to: String,
    /// What can't be read, of the whole form.
    pub(super) problem: Option<&'static str>,
    /// Whether anything but the span narrows it.
    pub(super) is_narrowed: bool,
}

/// One entry of a select.
pub(super) struct Choice {
    pub(super) value: String,
    pub(super) label: String,
    pub(super) is_chosen: bool,
}

/// What is asked.
pub(super) struct Asked {
    pub(super) filter: HistoryFilter,
    pub(super) span: Span,
}

impl Choice {
    fn new(value: &str, label: impl Into<String>, chosen: &str) -> Self {
        Self {
            value: value.to_owned(),
            label: label.into(),
            is_chosen: value == chosen,
        }
    }
}

/// `24 hours`, `7 days`.
pub(super) fn span_words(days: i64) -> String {
    match days {
        1 => "24 hours".to_owned(),
        days => format!("{days} days"),
    }
}

/// The span that a query names by its days, or the usual one.
pub(super) fn span_of(values: &Values, now: Timestamp) -> (Span, i64) {
    let asked = values.text("span").and_then(|text| text.parse::<i64>().ok());
    let days = asked.filter(|days| SPANS.contains(days)).unwrap_or(DAYS);
    (Span::last_days(days, now), days)
}

/// Reads filter and span; the form with the problems if they can't be.
///
/// # Errors
/// What is wrong, in a sentence.
pub(super) fn read(values: &Values, now: Timestamp) -> Result<Asked, &'static str> {
    let outcome = match values.text("outcome") {
        None => None,
        Some("refused") => Some(OutcomeFilter::Refused),
        Some(name) => Some(OutcomeFilter::One(
            Outcome::from_name(name).ok_or("There is no such result; choose one of the list.")?,
        )),
    };
    let used_for = match values.text("operation") {
        None => None,
        Some(name) => {
            Some(UsedFor::from_name(name).ok_or("There is no such operation; choose one of the list.")?)
        }
    };
    let secret = match values.text("secret") {
        None => None,
        Some(text) => {
            let number = text.parse::<i64>().ok().filter(|number| *number >= 0);
            Some(number.ok_or("There is no such secret; choose one of the list.")?)
        }
    };
    let text = |name: &str| {
        values
            .text(name)
            .map(|text| text.chars().take(MAX_TEXT).collect())
    };
    Ok(Asked {
        filter: HistoryFilter {
            outcome,
            used_for,
            address: text("address"),
            client: text("client"),
            secret,
        },
        span: read_span(values, now)?,
    })
}

/// Two days, both included, or the last so many.
fn read_span(values: &Values, now: Timestamp) -> Result<Span, &'static str> {
    const NO_DAY: &str = "A day is written like 2027-01-31.";
    let day = |name: &str| match values.text(name) {
        None => Ok(None),
        Some(text) => read_day(text).map(Some).ok_or(NO_DAY),
    };
    let (from, to) = (day("from")?, day("to")?);
    if from.is_none() && to.is_none() {
        return Ok(span_of(values, now).0);
    }
    let until = to.map_or(now, |to| to.plus_ms(DAY_MS - 1)).min(now);
    let from = from.unwrap_or(until.plus_ms(-DAYS * DAY_MS));
    if from > until {
        return Err("The first day comes after the last one, or lies ahead.");
    }
    if until.as_unix_ms() - from.as_unix_ms() > MAX_DAYS * DAY_MS {
        return Err("At most 400 days at once; ask in parts.");
    }
    Ok(Span { from, until })
}

impl UsageForm {
    /// The form with what was chosen.
    pub(super) fn of(values: &Values, secrets: &[ShownSecret], problem: Option<&'static str>) -> Self {
        let text = |name: &str| values.text(name).unwrap_or_default().to_owned();
        let (outcome, operation, secret) = (text("outcome"), text("operation"), text("secret"));
        let has_days = values.text("from").or(values.text("to")).is_some();
        let span = if has_days {
            String::new()
        } else {
            span_of(values, Timestamp::from_unix_ms(0)).1.to_string()
        };
        let mut outcomes = vec![
            Choice::new("", "Every result", &outcome),
            Choice::new("ok", "Accepted", &outcome),
            Choice::new("refused", "Refused, for any reason", &outcome),
        ];
        outcomes.extend(
            Code::ALL
                .into_iter()
                .map(|code| Choice::new(code.name(), outcome_words(code.name()), &outcome)),
        );
        let mut operations = vec![Choice::new("", "Every operation", &operation)];
        operations.extend(
            UsedFor::all().map(|one| Choice::new(one.name(), used_for_words(one.name()), &operation)),
        );
        let mut numbers = vec![Choice::new("", "Every secret", &secret)];
        numbers.extend(secrets.iter().map(|one| {
            let number = one.number.to_string();
            Choice::new(&number, format!("{number}: {}", one.hint), &secret)
        }));
        numbers.push(Choice::new("0", "Only the id matched", &secret));
        let mut spans: Vec<Choice> = SPANS
            .into_iter()
            .map(|days| Choice::new(&days.to_string(), format!("Last {}", span_words(days)), &span))
            .collect();
        if has_days {
            spans.insert(0, Choice::new("", "The days below", ""));
        }
        Self {
            is_narrowed: ["outcome", "operation", "secret", "address", "client"]
                .iter()
                .any(|name| values.text(name).is_some()),
            outcomes,
            operations,
            secrets: numbers,
            spans,
            address: text("address"),
            client: text("client"),
            from: text("from"),
            to: text("to"),
            problem,
        }
    }
}

/// The query with some values changed and the place in the list forgotten.
pub(super) fn changed(values: &Values, changes: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    let kept = values.pairs().filter(|(name, value)| {
        let is_place = matches!(*name, "cursor" | "done");
        !is_place && !value.is_empty() && !changes.iter().any(|(other, _)| other == name)
    });
    for (name, value) in kept {
        query.append_pair(name, value);
    }
    for (name, value) in changes.iter().filter(|(_, value)| !value.is_empty()) {
        query.append_pair(name, value);
    }
    query.finish()
}

/// `2026-08-24_2026-09-23`, for the name of a file.
pub(super) fn span_in_name(span: Span) -> String {
    format!("{}_{}", day_text(span.from), day_text(span.until))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_ms(1_790_000_000_000);

    fn values(text: &str) -> Values {
        Values::parse(text.as_bytes())
    }

    #[test]
    fn days_are_whole_and_bounded() {
        let span = read(&values("from=2026-09-01&to=2026-09-02&span=7"), NOW)
            .unwrap()
            .span;
        assert_eq!(span.until.as_unix_ms() - span.from.as_unix_ms(), 2 * DAY_MS - 1);
        for bad in [
            "from=2026-09-02&to=2026-09-01",
            "from=2027-09-02",
            "from=2020-01-01",
            "from=yesterday",
            "outcome=fine",
            "operation=fly",
            "secret=-1",
        ] {
            assert!(read(&values(bad), NOW).is_err(), "{bad}");
        }
        assert_eq!(
            read(&values("span=90"), NOW).unwrap().span,
            Span::last_days(90, NOW)
        );
        assert_eq!(
            read(&values("span=12"), NOW).unwrap().span,
            Span::last_days(30, NOW)
        );
    }

    #[test]
    fn a_link_changes_one_filter_and_begins_at_the_first_page() {
        let values = values("outcome=refused&cursor=abc&address=&client=a%26b");
        assert_eq!(
            changed(&values, &[("address", "::1")]),
            "outcome=refused&client=a%26b&address=%3A%3A1"
        );
        assert_eq!(changed(&values, &[("outcome", "")]), "client=a%26b");
    }
}
