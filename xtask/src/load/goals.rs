//! The goals of the verify path, and what one run measured of each.
//!
//! What runs without HTTP is measured by programs of `keyward-benches`, which print what is read here. What was not
//! measured is named all the same, so that nobody takes the table for more than it is.

use std::fmt::Write as _;

use super::Figures;
use super::beside::Peer;
use super::table::{Round, Spread, find};

/// What was measured beside the rounds; nothing where it was not.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Aside {
    /// Bytes that a process grew by for each key that was put into its cache.
    pub(super) bytes_per_key: Option<f64>,
    /// Verify to bare, in process, and counting to not counting, each with the next key known only from the answer.
    pub(super) in_process: Option<f64>,
    pub(super) counting: Option<f64>,
    /// A verify from the database to a read of the row.
    pub(super) cold_miss: Option<f64>,
}

/// Which side of the bound is good.
#[derive(Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// The printed table, one line a goal.
pub(super) fn of(rounds: &[Round], aside: Aside) -> String {
    let ratio = |name: &str, to: &str, figure: fn(&Figures) -> f64| {
        let each = rounds.iter().filter_map(|round| {
            let (figures, to) = (figure(find(round, name)?), figure(find(round, to)?));
            (to > 0.0).then_some(figures / to)
        });
        let each: Vec<f64> = each.collect();
        (!each.is_empty()).then(|| Spread::of(each.into_iter()).median)
    };
    let p99 = |figures: &Figures| figures.run.p99_microseconds as f64;
    let lines: [(&str, Bound, Option<f64>); 12] = [
        (
            "requests a second, verify to bare",
            Bound::AtLeast(0.95),
            ratio("verify", "bare", Figures::per_second),
        ),
        (
            "server CPU a verify, to bare",
            Bound::AtMost(1.05),
            ratio("verify", "bare", Figures::server_microseconds),
        ),
        (
            "p99, verify to static",
            Bound::AtMost(1.5),
            ratio("verify", "static", p99),
        ),
        ("in process, verify to bare", Bound::AtMost(1.3), aside.in_process),
        (
            "memory per cached key, bytes",
            Bound::AtMost(200.0),
            aside.bytes_per_key,
        ),
        (
            "cold miss, to one read of the database",
            Bound::AtMost(1.3),
            aside.cold_miss,
        ),
        (
            "usage counted, to not counted",
            Bound::AtMost(1.15),
            aside.counting,
        ),
        (
            "requests a second, malformed key to static",
            Bound::AtLeast(0.95),
            ratio("malformed key", "static", Figures::per_second),
        ),
        (
            "requests a second, forged id to static",
            Bound::AtLeast(0.95),
            ratio("forged id", "static", Figures::per_second),
        ),
        (
            "requests a second, verify to PostgreSQL per verify",
            Bound::AtLeast(6.0),
            ratio("verify", Peer::Postgres.name(), Figures::per_second),
        ),
        (
            "requests a second, verify to DRF API key",
            Bound::AtLeast(70.0),
            ratio("verify", Peer::Drf.name(), Figures::per_second),
        ),
        (
            "requests a second, verify to better-auth",
            Bound::AtLeast(100.0),
            ratio("verify", Peer::BetterAuth.name(), Figures::per_second),
        ),
    ];
    let mut text = String::from("| goal | bound | measured | |\n|---|---|---|---|\n");
    for (goal, bound, measured) in lines {
        let (sign, limit) = match bound {
            Bound::AtLeast(limit) => (">=", limit),
            Bound::AtMost(limit) => ("<=", limit),
        };
        let (measured, verdict) = match measured {
            None => ("-".to_owned(), "not measured"),
            Some(figure) => (format!("{figure:.2}"), verdict(bound, figure)),
        };
        // Writing into a text does not fail.
        let _ = writeln!(text, "| {goal} | {sign} {limit} | {measured} | {verdict} |");
    }
    text
}

fn verdict(bound: Bound, figure: f64) -> &'static str {
    let is_good = match bound {
        Bound::AtLeast(limit) => figure >= limit,
        Bound::AtMost(limit) => figure <= limit,
    };
    if is_good { "ok" } else { "not reached" }
}

impl Aside {
    /// Takes in what `crowded` printed.
    pub(super) fn read_crowded(&mut self, printed: &str) {
        let number = |name: &str| -> Option<f64> {
            let line = printed.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().parse().ok()
        };
        let both = number("cold_miss_ns ").zip(number("point_read_ns "));
        self.cold_miss = both.map(|(verify, read)| verify / read.max(1.0));
    }

    /// Takes in what the `ratio` bench printed; the chained figures, which are the last of each kind.
    pub(super) fn read_ratio(&mut self, printed: &str) {
        self.bytes_per_key = printed
            .lines()
            .find_map(|line| line.strip_prefix("memory: "))
            .and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        self.in_process = printed
            .lines()
            // With a comma it is another one, which is not counted.
            .rfind(|line| line.starts_with("verify: whose key "))
            .and_then(|line| line.split_whitespace().next_back()?.parse().ok());
        self.counting = printed
            .lines()
            .filter_map(|line| line.strip_prefix("chained: ")?.split_once("counting costs "))
            .filter_map(|(_, rest)| rest.split_whitespace().next()?.parse().ok())
            .next_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_programs_print_is_read() {
        let mut aside = Aside::default();
        aside.read_crowded("even traffic: 10 %\ncold_miss_ns 130\npoint_read_ns 100\n");
        assert_eq!(aside.cold_miss, Some(1.3));
        aside.read_ratio(
            "free\nverify: whose key    90.0 1.0 2.0 1.51\nchained\nverify: whose key    90.0 1.0 2.0 1.25\n\
             verify: whose key, not counted 80.0 1.0 2.0 1.10\n\
             free: counted 9.0, not counted 8.0; counting costs 1.09 of not counting.\n\
             chained: counted 9.0, not counted 8.0; counting costs 1.07 of not counting. In the background\n\
             memory: 150 bytes a cached key, 60 bytes a key of the bare map\n",
        );
        assert_eq!(aside.bytes_per_key, Some(150.0));
        assert_eq!((aside.in_process, aside.counting), (Some(1.25), Some(1.07)));
    }

    #[test]
    fn a_goal_that_was_not_measured_is_not_reached_by_silence() {
        let text = of(&[], Aside::default());
        assert_eq!(text.matches("not measured").count(), 12, "{text}");
        let aside = Aside {
            bytes_per_key: Some(150.0),
            in_process: Some(1.31),
            ..Aside::default()
        };
        let text = of(&[], aside);
        assert!(text.contains("| <= 200 | 150.00 | ok |"), "{text}");
        assert!(text.contains("| <= 1.3 | 1.31 | not reached |"), "{text}");
    }
}
