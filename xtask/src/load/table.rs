//! The rounds as one table: for each target the medians over the rounds, and ratios within a round.

use std::fmt::Write as _;

use super::{Figures, Host, Target};

pub(super) type Round = Vec<(&'static str, Figures)>;

/// The printed table.
pub(super) fn of(targets: &[Target], rounds: &[Round]) -> String {
    let mut text = String::from(
        "| target | req/s, median (min-max) | to bare, same round | p50 us | p99 us | p99 to static | server CPU us/req \
         | CPU to bare | errors |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    for target in targets {
        let each = |figure: &dyn Fn(&Figures) -> f64| {
            Spread::of(
                rounds
                    .iter()
                    .filter_map(|round| Some(figure(find(round, target.name)?))),
            )
        };
        let ratio = |other: &str, figure: &dyn Fn(&Figures) -> f64| {
            Spread::of(rounds.iter().filter_map(|round| {
                let to = figure(find(round, other)?);
                (to > 0.0).then_some(figure(find(round, target.name)?) / to)
            }))
        };
        let per_second = each(&Figures::per_second);
        let to_bare = ratio("bare", &Figures::per_second);
        let processor = match target.host {
            // Several processes, and a database: the figure of one of them would mislead.
            Host::Beside(_) => "- | -".to_owned(),
            Host::Keyward | Host::Bare => format!(
                "{:.2} | {:.2}",
                each(&Figures::server_microseconds).median,
                ratio("bare", &Figures::server_microseconds).median
            ),
        };
        // Writing into a text does not fail.
        let _ = writeln!(
            text,
            "| {} | {:.0} ({:.0}-{:.0}) | {:.3} ({:.3}-{:.3}) | {:.0} | {:.0} | {:.2} | {processor} | {:.0} |",
            target.name,
            per_second.median,
            per_second.low,
            per_second.high,
            to_bare.median,
            to_bare.low,
            to_bare.high,
            each(&|figures| figures.run.p50_microseconds as f64).median,
            each(&|figures| figures.run.p99_microseconds as f64).median,
            ratio("static", &|figures| figures.run.p99_microseconds as f64).median,
            each(&|figures| figures.unexpected as f64).high,
        );
    }
    text
}

pub(super) fn find<'a>(round: &'a Round, name: &str) -> Option<&'a Figures> {
    round
        .iter()
        .find(|(target, _)| *target == name)
        .map(|(_, figures)| figures)
}

/// Median, lowest and highest of some numbers; zero without any.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    low: f64,
    high: f64,
}

impl Spread {
    pub(super) fn of(numbers: impl Iterator<Item = f64>) -> Self {
        let mut numbers: Vec<f64> = numbers.collect();
        numbers.sort_by(f64::total_cmp);
        let (Some(low), Some(high)) = (numbers.first(), numbers.last()) else {
            return Self::default();
        };
        let upper = numbers.get(numbers.len() / 2).unwrap_or(high);
        let lower = numbers.get((numbers.len() - 1) / 2).unwrap_or(low);
        Self {
            median: f64::midpoint(*lower, *upper),
            low: *low,
            high: *high,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::generator::Run;

    fn figures(requests: u64) -> Figures {
        let run = Run {
            requests,
            seconds: 1.0,
            p99_microseconds: 10,
            ..Run::default()
        };
        Figures {
            run,
            server_seconds: 1.0,
            unexpected: 0,
        }
    }

    #[test]
    fn ratios_are_within_a_round() {
        let rounds = [(100, 50), (200, 100), (400, 200)]
            .map(|(bare, verify)| vec![("bare", figures(bare)), ("verify", figures(verify))]);
        let text = of(&super::super::TARGETS, &rounds);
        assert!(
            text.contains("| verify | 100 (50-200) | 0.500 (0.500-0.500) |"),
            "{text}"
        );
    }

    #[test]
    fn the_middle_of_an_even_number_lies_between_two() {
        let spread = Spread::of([4.0, 1.0, 2.0, 3.0].into_iter());
        assert_eq!(
            spread,
            Spread {
                median: 2.5,
                low: 1.0,
                high: 4.0
            }
        );
        assert_eq!(Spread::of(std::iter::empty()), Spread::default());
    }
}
