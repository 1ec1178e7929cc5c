//! `cargo xtask bench`: how many instructions each step of the verify path takes, next to what it took before.
//!
//! Counted by valgrind's callgrind, which sees every instruction and no time: the figures of two runs differ by far less
//! than two per cent, whatever else the machine does. Callgrind's processor has no instructions for SHA-256, so that a
//! digest costs there many times what it costs elsewhere; what is compared is each step without it.
//! The baseline is `benches/instructions.txt`; it belongs to one compiler and one lock file, and a change that makes a
//! step dearer on purpose brings a new one (`--accept`).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::system;

/// What a key's digest takes; of the other steps those compute one that look a key up.
const DIGEST: &str = "digest";
/// The steps, and whether each computes a digest.
const STEPS: [(&str, bool); 9] = [
    (DIGEST, false),
    ("verify", true),
    ("not_counted", true),
    ("dataset_read", true),
    ("forged", true),
    ("malformed", false),
    ("reply", true),
    ("reply_forged", true),
    ("reply_malformed", false),
];
/// How often a step is run; counting is by thousands, so that what happens once in a while has its part.
const TIMES: u64 = 5_000;
/// By how much a step may grow, in parts of a thousand.
const TOLERANCE: u64 = 20;
const BASELINE: &str = "benches/instructions.txt";

/// What to do with the counts.
#[derive(Args)]
pub(crate) struct Options {
    /// Store the counts as the new baseline instead of comparing with it
    #[arg(long)]
    accept: bool,

    /// Keep callgrind's files in this folder, for `callgrind_annotate`
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
}

/// Instructions of each step.
type Counts = BTreeMap<String, u64>;

/// Builds, counts, compares. Fails if any step takes more than the baseline and the tolerance.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let valgrind = system::find_or_install("valgrind")?;
    let program = build()?;
    if let Some(folder) = &options.keep {
        fs::create_dir_all(folder).with_context(|| format!("could not make `{}`", folder.display()))?;
    }
    let mut counts = Counts::new();
    for (step, has_digest) in STEPS {
        let whole = count(&valgrind, &program, step, options.keep.as_deref())?;
        let digest = counts.get(DIGEST).copied().unwrap_or_default();
        let beyond = if has_digest {
            whole.saturating_sub(digest)
        } else {
            whole
        };
        counts.insert(step.to_owned(), beyond);
    }
    let file = system::checkout().join(BASELINE);
    if options.accept {
        fs::write(&file, to_text(&counts)).with_context(|| format!("could not write `{BASELINE}`"))?;
        println!("{}stored in `{BASELINE}`", to_text(&counts));
        return Ok(ExitCode::SUCCESS);
    }
    let stored = fs::read_to_string(&file)
        .with_context(|| format!("there is no `{BASELINE}`; `cargo xtask bench --accept` makes it"))?;
    let (table, is_good) = compare(&from_text(&stored)?, &counts);
    println!("{table}");
    if is_good {
        return Ok(ExitCode::SUCCESS);
    }
    println!("a step takes more than before: make it cheaper, or say why in the change and `--accept` it");
    Ok(ExitCode::FAILURE)
}

/// Instructions of one pass through a step.
fn count(valgrind: &Path, program: &Path, step: &str, keep: Option<&Path>) -> Result<u64> {
    println!("== {step}");
    let out = match keep {
        Some(folder) => folder.join(format!("callgrind.{step}")),
        None => PathBuf::from("/dev/null"),
    };
    let output = Command::new(valgrind)
        .args(["--tool=callgrind", "--collect-atstart=no"])
        .arg("--toggle-collect=*measured_part*")
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(program)
        .args([step, &TIMES.to_string()])
        .output()
        .context("could not start `valgrind`")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the step `{step}` failed:\n{said}");
    match collected(&said) {
        Some(all) if all > 0 => Ok(all / TIMES),
        _ => bail!("callgrind counted nothing for `{step}`; it said:\n{said}"),
    }
}

/// The count in callgrind's last words, `==1== Collected : 123`.
fn collected(said: &str) -> Option<u64> {
    let line = said.lines().find_map(|line| line.split_once("Collected :"))?;
    line.1.split_whitespace().next()?.parse().ok()
}

/// The table, and whether every step is within its bound.
fn compare(stored: &Counts, counts: &Counts) -> (String, bool) {
    let mut table =
        String::from("| step, without its digest | baseline | now | change | |\n|---|---|---|---|---|\n");
    let mut is_good = true;
    for (step, now) in counts {
        let Some(before) = stored.get(step) else {
            is_good = false;
            let _ = writeln!(table, "| {step} | none | {now} | | not in the baseline |");
            continue;
        };
        let is_within = now * 1_000 <= before * (1_000 + TOLERANCE);
        is_good &= is_within;
        let change = (*now as f64 / (*before as f64).max(1.0) - 1.0) * 100.0;
        let verdict = if is_within { "ok" } else { "TOO MANY" };
        let _ = writeln!(
            table,
            "| {step} | {before} | {now} | {change:+.1} % | {verdict} |"
        );
    }
    (table, is_good)
}

fn to_text(counts: &Counts) -> String {
    counts
        .iter()
        .map(|(step, count)| format!("{step} {count}\n"))
        .collect()
}

fn from_text(text: &str) -> Result<Counts> {
    let parse = |line: &str| -> Option<(String, u64)> {
        let (step, count) = line.split_once(' ')?;
        Some((step.to_owned(), count.parse().ok()?))
    };
    text.lines()
        .map(|line| parse(line).with_context(|| format!("`{BASELINE}` has a line that is no count: {line}")))
        .collect()
}

fn build() -> Result<PathBuf> {
    println!("== building in release mode");
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--release", "--locked"])
        .args(["--package", "keyward-benches", "--example", "instructions"])
        .current_dir(system::checkout())
        .status()
        .context("could not start `cargo`")?;
    ensure!(status.success(), "the build failed");
    Ok(system::release_folder()?.join("examples/instructions"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(of: &[(&str, u64)]) -> Counts {
        of.iter()
            .map(|(step, count)| ((*step).to_owned(), *count))
            .collect()
    }

    #[test]
    fn two_per_cent_are_allowed_and_no_more() {
        let stored = counts(&[("verify", 1_000)]);
        for (now, is_good) in [(1, true), (1_000, true), (1_020, true), (1_021, false)] {
            assert_eq!(compare(&stored, &counts(&[("verify", now)])).1, is_good, "{now}");
        }
        assert!(!compare(&stored, &counts(&[("another", 1)])).1);
    }

    #[test]
    fn a_baseline_reads_back() {
        let some = counts(&[("digest", 7), ("verify", 1_000)]);
        assert_eq!(from_text(&to_text(&some)).unwrap(), some);
        assert!(from_text("verify many").is_err());
    }

    #[test]
    fn the_count_is_found_in_what_callgrind_says() {
        let said = "==7== Events    : Ir\n==7== Collected : 12345\n==7==\n";
        assert_eq!(collected(said), Some(12_345));
        assert_eq!(collected("==7== nothing"), None);
    }
}
