//! `cargo xtask test`: every check and every test, in order, with the seconds that each took.
//!
//! It goes on after a failing stage, so that one run shows everything that is wrong. The last line it prints is
//! for programs: `N passed, N failed`, with `, N skipped` where something was, the reasons above it.
//! What a stage does is in `stages`; this file chooses them, times them and adds up.

use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;

use crate::stages::{Stage, Surroundings};
use crate::tally::Tally;

/// What to run.
#[derive(Args)]
pub(crate) struct Options {
    /// Run only this stage, and what it needs; can be given several times
    #[arg(long, value_name = "STAGE")]
    only: Vec<Stage>,

    /// Print the stages, in their order, and run nothing
    #[arg(long)]
    list: bool,
}

/// Runs the chosen stages; the exit code is not zero when anything failed.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let chosen = choose(&options.only);
    if options.list {
        for stage in chosen {
            println!("{:<13} {}", stage.name(), stage.purpose());
        }
        return Ok(ExitCode::SUCCESS);
    }

    let mut surroundings = Surroundings::default();
    let mut total = Tally::default();
    for stage in chosen {
        total.add(run_stage(stage, &mut surroundings));
    }
    // Stops the database server before the last line, which stays the last that way.
    drop(surroundings);

    for reason in &total.skipped {
        println!("skipped: {reason}");
    }
    println!("{total}");
    std::io::stdout().flush().context("could not print the result")?;
    Ok(if total.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn run_stage(stage: Stage, surroundings: &mut Surroundings) -> Tally {
    println!("== {}: {}", stage.name(), stage.purpose());
    let begun = Instant::now();
    let tally = stage.run(surroundings).unwrap_or_else(|error| {
        println!("   {error:#}");
        Tally::one_failed()
    });
    println!(
        "== {}: {tally} in {:.1} s\n",
        stage.name(),
        begun.elapsed().as_secs_f64()
    );
    tally
}

/// All stages, or those asked for with what they need, always in the order of the list.
fn choose(only: &[Stage]) -> Vec<Stage> {
    let is_asked_for = |stage: &Stage| {
        only.is_empty()
            || only
                .iter()
                .any(|asked| asked == stage || asked.needs().contains(stage))
    };
    Stage::ALL.into_iter().filter(is_asked_for).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_choice_everything_runs() {
        assert_eq!(choose(&[]), Stage::ALL);
    }

    #[test]
    fn a_chosen_stage_brings_what_it_needs_first() {
        assert_eq!(
            choose(&[Stage::Test, Stage::Format]),
            [
                Stage::Format,
                Stage::Postgres,
                Stage::Python,
                Stage::Browser,
                Stage::Test
            ]
        );
    }

    #[test]
    fn a_choice_is_run_in_the_order_of_the_list() {
        assert_eq!(choose(&[Stage::Docs, Stage::Lints]), [Stage::Lints, Stage::Docs]);
    }
}
