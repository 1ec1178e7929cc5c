//! `cargo xtask`: the commands that developers and the continuous integration run.
//!
//! One file per command; this one only chooses among them. Nothing here is part of the product, and
//! nothing of the product is linked into it, so that it builds in seconds on a machine that has nothing yet.
//! A new command is a module with an `Options` struct and a `run` function, and one arm in `main`.

#![expect(
    clippy::print_stdout,
    reason = "printing what it does is what this program is for"
)]

mod bench;
mod browser;
mod load;
mod postgres;
mod python;
mod screenshots;
mod stages;
mod system;
mod tally;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The project's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Find or install what the tests need, then run every check and every test
    Test(test::Options),
    /// Measure the verify route under load, next to a bare server that does the least possible
    Load(load::Options),
    /// Count the instructions of the verify path, and compare them with the stored baseline
    Bench(bench::Options),
    /// Take a picture of every page of the console, light and dark, wide and narrow
    Screenshots(screenshots::Options),
}

fn main() -> anyhow::Result<ExitCode> {
    match CommandLine::parse().command {
        Command::Test(options) => test::run(&options),
        Command::Load(options) => load::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Screenshots(options) => screenshots::run(&options),
    }
}
