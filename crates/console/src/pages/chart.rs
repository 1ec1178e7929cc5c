//! A chart of requests, drawn by the server: accepted ones as bars, refused ones on top, and the figures as a table beneath.
//!
//! For a reader of the screen the picture is one image with a sentence; for everybody the table has what the bars can't say.
//! More points than bars fit are put together, several days in one bar.

use askama::Template;
use askama::filters::HtmlSafe;
use keyward_core::time::{HOUR_MS, Timestamp};
use keyward_store::usage_queries::{Step, UsagePoint};

use crate::words::{counted, date, exact, grouped};

/// The picture in its own units; the stylesheet stretches it. What is written stands beside it, in the size of other small text.
const RIGHT: f64 = 600.0;
const TOP: f64 = 1.0;
const BOTTOM: f64 = 123.0;
/// Most bars.
const BARS: usize = 92;
/// What is there at all is seen.
const LEAST_HEIGHT: f64 = 2.0;

/// A chart with its table.
#[derive(Template)]
#[template(path = "chart.html")]
pub(crate) struct Chart {
    /// The picture in a sentence.
    label: String,
    bars: Vec<Bar>,
    grid: Vec<GridLine>,
    first: String,
    last: String,
    /// The head of the table's first column.
    column: &'static str,
    rows: Vec<Row>,
    is_empty: bool,
}

// Its own template escapes every value of it.
impl HtmlSafe for Chart {}

struct Bar {
    x: String,
    width: String,
    accepted: Option<Part>,
    refused: Option<Part>,
    tip: String,
}

struct Part {
    y: String,
    height: String,
}

struct GridLine {
    y: String,
    text: String,
}

struct Row {
    when: String,
    accepted: String,
    refused: String,
}

impl Chart {
    /// The chart of a curve without gaps, oldest first. `about` goes on after "Requests": `with this key`.
    pub(crate) fn of(points: &[UsagePoint], step: Step, about: &str) -> Self {
        let together = points.len().div_ceil(BARS).max(1);
        let points: Vec<UsagePoint> = points.chunks(together).filter_map(sum).collect();
        let name = |at: Timestamp| match step {
            Step::Day => date(at),
            Step::Hour => exact(at),
        };
        let highest = points.iter().map(|point| point.accepted + point.refused).max();
        let most = round_up(highest.unwrap_or(0));
        let height_of = |value: i64| (BOTTOM - TOP) * value as f64 / most as f64;
        let slot = RIGHT / points.len().max(1) as f64;
        let width = (slot * 0.64).min(22.0);
        let bars = points.iter().enumerate().map(|(at, point)| {
            let seen = |value: i64| (value > 0).then(|| height_of(value).max(LEAST_HEIGHT));
            let accepted = seen(point.accepted);
            // A hair of ground keeps the two apart for who sees no colours.
            let base = accepted.map_or(BOTTOM, |height| BOTTOM - height - 1.0);
            let part = |base: f64, height: f64| Part {
                y: units(base - height),
                height: units(height),
            };
            Bar {
                x: units(slot * at as f64 + (slot - width) / 2.0),
                width: units(width),
                accepted: accepted.map(|height| part(BOTTOM, height)),
                refused: seen(point.refused).map(|height| part(base, height)),
                tip: format!("{}: {}", name(point.at), figures(point.accepted, point.refused)),
            }
        });
        let bars = bars.collect();
        // From the top, in even steps, as the stylesheet spreads their texts.
        let levels = if most % 2 == 1 {
            vec![most, 0]
        } else {
            vec![most, most / 2, 0]
        };
        let grid = levels.into_iter().map(|value| {
            let y = BOTTOM - height_of(value);
            GridLine {
                y: units(y),
                text: shortened(value),
            }
        });
        let total = |of: fn(&UsagePoint) -> i64| points.iter().map(of).sum::<i64>();
        let (accepted, refused) = (total(|point| point.accepted), total(|point| point.refused));
        let ends = points.first().zip(points.last());
        let (first, last) =
            ends.map_or_else(Default::default, |(first, last)| (name(first.at), name(last.at)));
        let each = match (step, together) {
            (Step::Hour, 1) => "an hour".to_owned(),
            (Step::Day, 1) => "a day".to_owned(),
            (Step::Hour, many) => format!("in {many} hours"),
            (Step::Day, many) => format!("in {many} days"),
        };
        Self {
            label: format!(
                "Requests {about} {each} from {first} to {last}: {}. The table beneath has the figures.",
                figures(accepted, refused)
            ),
            bars,
            grid: grid.collect(),
            rows: points
                .iter()
                .rev()
                .map(|point| Row {
                    when: name(point.at),
                    accepted: grouped(point.accepted.unsigned_abs()),
                    refused: grouped(point.refused.unsigned_abs()),
                })
                .collect(),
            first,
            last,
            column: match (step, together) {
                (Step::Hour, 1) => "Hour",
                (Step::Day, 1) => "Day",
                _ => "From",
            },
            is_empty: accepted + refused == 0,
        }
    }
}

/// Which steps a span is drawn in: hours up to two days.
pub(crate) fn step_of(from: Timestamp, until: Timestamp) -> Step {
    let ms = until.as_unix_ms().saturating_sub(from.as_unix_ms());
    if ms <= 49 * HOUR_MS { Step::Hour } else { Step::Day }
}

fn figures(accepted: i64, refused: i64) -> String {
    format!(
        "{} accepted, {} refused",
        grouped(accepted.unsigned_abs()),
        grouped(refused.unsigned_abs())
    )
}

/// Requests in words: `1 request`.
pub(crate) fn requests(count: i64) -> String {
    counted(count.unsigned_abs(), "request", "requests")
}

fn sum(points: &[UsagePoint]) -> Option<UsagePoint> {
    let first = points.first()?;
    Some(UsagePoint {
        at: first.at,
        accepted: points.iter().map(|point| point.accepted).sum(),
        refused: points.iter().map(|point| point.refused).sum(),
        only_id_matched: points.iter().map(|point| point.only_id_matched).sum(),
    })
}

/// The next of 1, 2, 5, 10, 20, 50, ...
fn round_up(value: i64) -> i64 {
    let mut power: i64 = 1;
    loop {
        for step in [1, 2, 5] {
            let candidate = power.saturating_mul(step);
            if candidate >= value || candidate == i64::MAX {
                return candidate;
            }
        }
        power = power.saturating_mul(10);
    }
}

/// `0`, `500`, `2k`, `50M`.
fn shortened(value: i64) -> String {
    const UNITS: [(i64, &str); 3] = [(1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")];
    for (unit, letter) in UNITS {
        if value >= unit {
            let tenths = value / (unit / 10) % 10;
            return match tenths {
                0 => format!("{}{letter}", value / unit),
                _ => format!("{}.{tenths}{letter}", value / unit),
            };
        }
    }
    value.to_string()
}

fn units(value: f64) -> String {
    format!("{value:.1}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyward_core::time::DAY_MS;

    fn points(values: &[(i64, i64)]) -> Vec<UsagePoint> {
        let days = values.iter().zip(0..);
        days.map(|((accepted, refused), day)| UsagePoint {
            at: Timestamp::from_unix_ms(1_790_000_000_000 + day * DAY_MS),
            accepted: *accepted,
            refused: *refused,
            only_id_matched: 0,
        })
        .collect()
    }

    #[test]
    fn what_is_refused_stands_on_what_is_accepted() {
        let chart = Chart::of(&points(&[(50, 0), (25, 25), (0, 1)]), Step::Day, "with this key");
        let refused = chart.bars[1].refused.as_ref().unwrap();
        let accepted = chart.bars[1].accepted.as_ref().unwrap();
        assert_eq!((accepted.y.as_str(), accepted.height.as_str()), ("62.0", "61.0"));
        assert_eq!((refused.y.as_str(), refused.height.as_str()), ("0.0", "61.0"));
        assert!(chart.bars[2].accepted.is_none() && chart.bars[2].refused.is_some());
        assert_eq!(
            chart.label,
            "Requests with this key a day from 21 Sep 2026 to 23 Sep 2026: 75 accepted, 26 refused. The table beneath has the \
             figures."
        );
        let html = chart.to_string();
        assert!(html.contains("role=\"img\"") && html.contains("<details") && !html.contains("style="));
        assert!(
            !html.contains("<text"),
            "what is written would be stretched with the picture"
        );
        assert!(
            html.contains("<span>50</span><span>25</span><span>0</span>"),
            "{html}"
        );
    }

    #[test]
    fn many_days_are_put_together_and_none_is_lost() {
        let chart = Chart::of(&points(&[(1, 2); 400]), Step::Day, "with this key");
        assert!(chart.bars.len() <= BARS, "{}", chart.bars.len());
        assert!(
            chart.label.contains("400 accepted, 800 refused"),
            "{}",
            chart.label
        );
        assert!(Chart::of(&[], Step::Day, "with this key").is_empty);
    }

    #[test]
    fn an_axis_ends_at_a_round_number() {
        for (value, end) in [(0, 1), (3, 5), (5, 5), (51, 100), (101, 200)] {
            assert_eq!(round_up(value), end);
        }
        assert_eq!(
            [0, 999, 1_000, 2_500, 50_000_000].map(shortened).join(" "),
            "0 999 1k 2.5k 50M"
        );
    }
}
