//! Counting: what passed, what failed, what was skipped and why; and reading those numbers from `cargo test`.
//!
//! INVARIANT: a run that did not end well never counts as only passed. Where the output cannot say how many
//! tests were lost (a crash, a compile error), at least one failure is counted.
//! It prints nothing and starts nothing.

use std::fmt;

/// The result of a stage, or of all of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    /// One sentence for each thing that was not run.
    pub(crate) skipped: Vec<String>,
}

impl Tally {
    pub(crate) fn one_passed() -> Self {
        Self {
            passed: 1,
            ..Self::default()
        }
    }

    pub(crate) fn one_failed() -> Self {
        Self {
            failed: 1,
            ..Self::default()
        }
    }

    pub(crate) fn one_skipped(reason: impl Into<String>) -> Self {
        Self {
            skipped: vec![reason.into()],
            ..Self::default()
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped.extend(other.skipped);
    }
}

/// The form that other programs read: `3 passed, 1 failed`, and `, 2 skipped` only where something was.
impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} passed, {} failed", self.passed, self.failed)?;
        if !self.skipped.is_empty() {
            write!(formatter, ", {} skipped", self.skipped.len())?;
        }
        Ok(())
    }
}

/// Reads the standard output of `cargo test`, line by line, while it runs.
#[derive(Default)]
pub(crate) struct TestOutput {
    tally: Tally,
    begun: u64,
    ended: u64,
    ignored: u64,
    /// What a test itself says that it left out.
    left_out: Vec<String>,
}

impl TestOutput {
    pub(crate) fn line(&mut self, line: &str) {
        let line = line.trim_end();
        if is_beginning(line) {
            self.begun += 1;
        } else if let Some(result) = line.strip_prefix("test result: ") {
            self.ended += 1;
            self.tally.passed += number_before(result, " passed");
            self.tally.failed += number_before(result, " failed");
            self.ignored += number_before(result, " ignored");
        } else if let Some(sentence) = ignored_test(line) {
            self.tally.skipped.push(sentence);
        } else if let Some(sentence) = line.strip_prefix("skipped: ") {
            self.left_out.push(sentence.to_owned());
        }
    }

    /// The numbers of the whole run, given whether `cargo test` itself ended well.
    pub(crate) fn finish(mut self, ended_well: bool) -> Tally {
        // A test program that dies says "running 9 tests" and then no result: nobody knows which test it was,
        // and the others of that program were not run.
        self.tally.failed += self.begun.saturating_sub(self.ended);
        if !ended_well && self.tally.failed == 0 {
            self.tally.failed = 1;
        }
        // The result line is the authority on how many; the lines above it only tell the names.
        while (self.tally.skipped.len() as u64) < self.ignored {
            self.tally
                .skipped
                .push("a test that is marked as ignored".to_owned());
        }
        self.tally.skipped.append(&mut self.left_out);
        self.tally
    }
}

fn is_beginning(line: &str) -> bool {
    line.strip_prefix("running ")
        .and_then(|rest| rest.strip_suffix(" tests").or_else(|| rest.strip_suffix(" test")))
        .is_some_and(|count| count.parse::<u64>().is_ok())
}

fn number_before(result: &str, label: &str) -> u64 {
    let count = || {
        result
            .split_once(label)?
            .0
            .rsplit([' ', ';'])
            .next()?
            .parse()
            .ok()
    };
    count().unwrap_or(0)
}

fn ignored_test(line: &str) -> Option<String> {
    let (name, outcome) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let reason = outcome.strip_prefix("ignored")?;
    Some(match reason.strip_prefix(", ") {
        Some(reason) => format!("{name}: {reason}"),
        None => format!("{name}: marked as ignored"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(output: &str, ended_well: bool) -> Tally {
        let mut reader = TestOutput::default();
        output.lines().for_each(|line| reader.line(line));
        reader.finish(ended_well)
    }

    #[test]
    fn results_of_several_programs_are_summed() {
        let output = "
running 2 tests
test a ... ok
test b ... ok

test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s

running 1 test
test c ... FAILED

test result: FAILED. 10 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.23s
";
        assert_eq!(
            read(output, false),
            Tally {
                passed: 12,
                failed: 1,
                skipped: vec![]
            }
        );
    }

    #[test]
    fn ignored_tests_are_skipped_with_their_reasons() {
        let output = "
running 3 tests
test slow ... ignored, takes an hour
test old ... ignored
test new ... ok
test result: ok. 1 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.00s
";
        let tally = read(output, true);
        assert_eq!(tally.skipped, ["slow: takes an hour", "old: marked as ignored"]);
        assert_eq!(tally.to_string(), "1 passed, 0 failed, 2 skipped");
    }

    #[test]
    fn a_program_that_dies_is_a_failure_beside_those_that_were_counted() {
        let output = "
running 3 tests
test a ... ok

running 1 test
test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";
        assert_eq!(
            read(output, false),
            Tally {
                passed: 0,
                failed: 2,
                skipped: vec![]
            }
        );
    }

    #[test]
    fn a_run_that_did_not_compile_is_a_failure() {
        assert_eq!(
            read("", false),
            Tally {
                passed: 0,
                failed: 1,
                skipped: vec![]
            }
        );
    }

    #[test]
    fn a_bad_end_is_never_only_passed() {
        let output = "running 1 test\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured";
        assert_eq!(read(output, false).to_string(), "1 passed, 1 failed");
    }

    #[test]
    fn text_that_only_resembles_a_result_is_not_counted() {
        let output = "running late\nthe test result: 5 passed\ntest a ... ok\nrunning many tests";
        assert_eq!(read(output, true), Tally::default());
    }

    #[test]
    fn what_a_test_leaves_out_is_counted_beside_the_ignored_ones() {
        let mut output = TestOutput::default();
        for line in [
            "running 2 tests",
            "skipped: clocks: there is no `faketime`",
            "test result: ok. 1 passed; 0 failed; 1 ignored",
        ] {
            output.line(line);
        }
        assert_eq!(output.finish(true).to_string(), "1 passed, 0 failed, 2 skipped");
    }

    #[test]
    fn the_last_line_leaves_out_skipped_when_nothing_was() {
        assert_eq!(Tally::one_passed().to_string(), "1 passed, 0 failed");
    }
}
