//! How a list is shown: as a table, as one JSON value, as CSV or as JSON Lines; a page of it or all.
//!
//! Lines are written page by page, so that the whole of a long list needs no more memory than a page. CSV and JSON Lines are made
//! here from what the server says, by the same writer as the server's.

use anyhow::Result;
use clap::Args;
use http::Method;
use keyward_api::csv::{CsvRow, header, json_lines, lines};
use keyward_api::moment;
use keyward_api::usage::{PointView, SeriesView, TopEntryView};
use keyward_core::time::parse_duration_ms;
use keyward_http::management::ListView;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cli::client::{Target, call};
use crate::cli::{Surroundings, WrongUsage, output};
use crate::clock;

/// Largest page of the management API.
const PAGE: u32 = 1_000;
/// The longest bar of a curve.
const BAR: i64 = 40;

/// In which form.
#[derive(Args, Debug, Clone, Copy, Default)]
pub(super) struct Form {
    /// Print CSV with a header; what a spreadsheet would compute begins with an apostrophe
    #[arg(long, conflicts_with = "jsonl", help_heading = "Output")]
    csv: bool,
    /// Print one JSON object a line
    #[arg(long, help_heading = "Output")]
    jsonl: bool,
}

/// How much of a list.
#[derive(Args, Debug, Clone, Copy)]
pub(super) struct Pages {
    /// All of it, page by page
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// At most so many
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
}

/// The time that is meant; each end as a moment or as a span before now.
#[derive(Args, Debug, Default)]
pub(super) struct Time {
    /// From when on: `30d`, `12h`, or a moment such as 2027-01-31T12:00:00Z
    #[arg(long, value_name = "WHEN", value_parser = when)]
    from: Option<String>,
    /// Until when [default: now]
    #[arg(long, value_name = "WHEN", value_parser = when)]
    to: Option<String>,
}

impl Time {
    pub(super) fn into_pairs(self) -> Vec<(&'static str, String)> {
        let pairs = [("from", self.from), ("to", self.to)];
        pairs
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }
}

fn when(text: &str) -> Result<String, String> {
    if let Ok(span) = parse_duration_ms(text) {
        return Ok(moment::write(clock::now().plus_ms(-span)));
    }
    moment::read(text).map(moment::write).map_err(|_| {
        "is a span before now such as `30d` or `12h`, or a moment such as 2027-01-31T12:00:00Z".to_owned()
    })
}

impl Form {
    /// Whether it is printed line by line, for programs.
    pub(super) fn is_lines(self) -> bool {
        self.csv || self.jsonl
    }

    /// For what is no list.
    pub(super) fn refuse_without_list(self) -> Result<()> {
        if self.is_lines() {
            return Err(WrongUsage(
                "this is no list; use --json, or --series with --csv or --jsonl".to_owned(),
            )
            .into());
        }
        Ok(())
    }

    fn check(self, surroundings: &Surroundings) -> Result<()> {
        if self.is_lines() && surroundings.is_json {
            return Err(WrongUsage("choose one of --json, --csv and --jsonl".to_owned()).into());
        }
        Ok(())
    }

    /// Prints rows; the header of CSV only before the first of them.
    fn print<T: CsvRow + Serialize>(self, rows: &[T], is_first: bool) -> Result<()> {
        if self.csv {
            if is_first {
                output::data(&header::<T>());
            }
            output::data(&lines(rows));
        } else {
            output::data(&json_lines(rows)?);
        }
        Ok(())
    }
}

/// A path with a query.
pub(super) fn path_of<'a>(path: &str, pairs: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(pairs);
    let query = query.finish();
    if query.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{query}")
    }
}

/// A list that has pages: how it is asked for, and how it is shown to people.
pub(super) struct List<'a, T> {
    pub(super) path: String,
    /// What stands above the table.
    pub(super) heading: Option<&'a dyn Fn(&T)>,
    pub(super) columns: &'a [&'a str],
    pub(super) row: &'a dyn Fn(&T) -> Vec<String>,
    /// What is said where there is nothing.
    pub(super) empty: String,
}

/// Prints a list with pages.
pub(super) async fn print_list<T: CsvRow + Serialize + DeserializeOwned>(
    surroundings: &Surroundings,
    list: List<'_, T>,
    (form, pages): (Form, Pages),
) -> Result<()> {
    form.check(surroundings)?;
    let limit = if pages.all { PAGE } else { pages.limit };
    let mut shown: Vec<T> = Vec::new();
    let (mut cursor, mut count) = (String::new(), 0);
    let next = loop {
        let page: ListView<T> = page_of(&surroundings.target, &list.path, limit, &cursor).await?;
        if form.is_lines() {
            form.print(&page.items, count == 0)?;
        }
        count += page.items.len();
        if !form.is_lines() {
            shown.extend(page.items);
        }
        match page.next {
            Some(next) if pages.all => cursor = next,
            next => break next,
        }
    };
    if surroundings.is_json {
        return output::json(&ListView { items: shown, next });
    }
    if count == 0 {
        output::note(&list.empty);
        return Ok(());
    }
    if !form.is_lines() {
        if let (Some(heading), Some(first)) = (list.heading, shown.first()) {
            heading(first);
        }
        output::table(list.columns, shown.iter().map(list.row).collect());
    }
    if next.is_some() {
        output::note("there are more; --all shows them, and --csv or --jsonl take all of a long list");
    }
    Ok(())
}

async fn page_of<T: DeserializeOwned>(
    target: &Target,
    path: &str,
    limit: u32,
    cursor: &str,
) -> Result<ListView<T>> {
    let joint = if path.contains('?') { '&' } else { '?' };
    let page = format!("{path}{joint}limit={limit}&cursor={cursor}");
    call(target, Method::GET, &page, None).await
}

/// Prints a curve.
pub(super) fn print_series(surroundings: &Surroundings, series: &SeriesView, form: Form) -> Result<()> {
    form.check(surroundings)?;
    if surroundings.is_json {
        return output::json(series);
    }
    if form.is_lines() {
        return form.print(&series.points, true);
    }
    let sum = |point: &PointView| point.accepted + point.refused + point.only_id_matched;
    let most = series.points.iter().map(sum).max().unwrap_or(0);
    if most == 0 {
        output::note("nothing happened in this time; --from looks further back");
        return Ok(());
    }
    let rows = series.points.iter().map(|point| {
        let length = (sum(point).saturating_mul(BAR) + most - 1) / most;
        vec![
            point.at.clone(),
            point.accepted.to_string(),
            point.refused.to_string(),
            point.only_id_matched.to_string(),
            "#".repeat(usize::try_from(length).unwrap_or_default()),
        ]
    });
    let first = if series.by == "hour" { "HOUR" } else { "DAY" };
    output::table(
        &[first, "ACCEPTED", "REFUSED", "ONLY ID MATCHED", ""],
        rows.collect(),
    );
    Ok(())
}

/// Prints who used something most.
pub(super) fn print_top(
    surroundings: &Surroundings,
    top: ListView<TopEntryView>,
    (form, what): (Form, &str),
) -> Result<()> {
    form.check(surroundings)?;
    if surroundings.is_json {
        return output::json(&top);
    }
    if form.is_lines() {
        return form.print(&top.items, true);
    }
    if top.items.is_empty() {
        output::note(
            "nobody used or tried a key in this time; --from looks further back, by at most 31 days",
        );
        return Ok(());
    }
    output::data(&top_table(what, &top.items));
    Ok(())
}

/// A table of addresses or clients.
pub(super) fn top_table(what: &str, entries: &[TopEntryView]) -> String {
    let rows = entries.iter().map(|entry| {
        vec![
            entry.name.clone(),
            entry.accepted.to_string(),
            entry.refused.to_string(),
            entry.keys.to_string(),
            entry.last_at.clone(),
        ]
    });
    output::table_text(&[what, "ACCEPTED", "REFUSED", "KEYS", "LAST"], rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_span_before_now_or_a_moment() {
        assert_eq!(
            when("2027-01-31T12:00:00Z"),
            Ok("2027-01-31T12:00:00Z".to_owned())
        );
        let ago = moment::read(&when("30d").unwrap()).unwrap();
        assert!(ago < clock::now());
        assert!(when("yesterday").is_err());
    }

    #[test]
    fn a_path_has_a_query_only_where_something_is_asked() {
        assert_eq!(path_of("/v1/x", []), "/v1/x");
        assert_eq!(
            path_of("/v1/x", [("client", "a b&c".to_owned())]),
            "/v1/x?client=a+b%26c"
        );
    }
}
